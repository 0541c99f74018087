"""Hosted agents: their lifecycle, their loop, their facts, and the limits of what they move.

Not here: the objects that suggest (`brains`), and where they live (`executors`).
"""
