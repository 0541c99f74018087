"""Brains: how they are found, made, adapted and asked, and those that are built in (`builtin`).

Not here: where they live (`executors`), and who calls them (`agents`).
"""
