"""The magics of ``%load_ext agent_service``: they serve agents in this kernel, show them, and stop them.

The files: `_options` splits a line into words, `_namespace` and `_target` find what they mean, `_session` keeps the
kernel's one service and its panels, `_completion` completes, `_waiting` waits for awaitables, and `_export` writes the
notebook for another machine.
"""

from notebook_widgets.magics._magics import AgentMagics, load, unload

__all__ = ["AgentMagics", "load", "unload"]
