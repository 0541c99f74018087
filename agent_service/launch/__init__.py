"""Starts a service from a file or a notebook: in this process, headless, or exported for another machine.

Not here: the command line (`cli`), and the application itself (`server`).
"""
