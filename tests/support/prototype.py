"""A prototype in a notebook, as an analyst would write it."""

from __future__ import annotations

import json

WALK = """
class Walk:
    def __init__(self):
        self.n = 0
    def suggest(self, num_points=None):
        self.n += 1
        return [{"mirror_x": (self.n % 40) * 0.1}]
    def ingest(self, points):
        pass
"""
SERVE = "%agent_serve Walk --name walk --actuators mirror_x --outcome flux --max-runs 500"


def notebook(path, *cells):
    """Write a notebook of code cells; a cell that is a pair has tags."""
    pairs = [one if isinstance(one, tuple) else (one, []) for one in cells]
    found = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {"tags": tags}, "source": source, "outputs": []}
        for n, (source, tags) in enumerate(pairs)
    ]
    text = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": "# A prototype"}
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [text, *found]}))
