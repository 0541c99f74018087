"""Bluesky documents from their source to the spool, and the runs and outcomes made of them.

Not here: what moves devices (`plans`), and the catalogue (`archive`).
"""
