"""From a file or a notebook to a running service: in this process, headless, or exported for another machine.

Not here: the command line (`cli`), and the application itself (`server`).
"""
