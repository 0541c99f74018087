"""Runs a site's start-up script for bluesky-adaptive 0.x's server unchanged: its names, its tasks, its agents.

That library is never imported, and need not be installed. docs/from-0x.md says what moves where.
"""
