"""A site's start-up script for bluesky-adaptive 0.x's server, run as it stands: its names, its tasks, its agents.

That library is never imported: who has the script need not have it. docs/from-0x.md says what moves where.
"""
