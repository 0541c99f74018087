"""Panels: what they show of a service, how they follow it, and their page in static/.

Not here: the magics that show a panel (`magics`), and button presses while a cell runs (`kernel`).
"""
