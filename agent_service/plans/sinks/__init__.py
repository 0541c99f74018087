"""Where plans go: the service's RunEngine, here or in a process of its own, a queue server, blueapi, or claimers.

Each is a `PlanSink` (`protocols`) with a section of service.toml, and a line in the table of `service.compose`. Not
here: what plans are (`plans`), and their documents (`documents`).
"""
