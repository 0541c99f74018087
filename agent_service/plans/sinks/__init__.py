"""Where plans go: the service's own RunEngine, or whoever claims them.

Each is a `PlanSink` (`protocols`).
"""
