"""Hosted agents: their lifecycle, their loop, their facts, the limits that hold for what they move.

Not here: the objects that suggest (`brains`) and where these live (`executors`).
"""
