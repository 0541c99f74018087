"""The magics of ``%load_ext agent_service``: serve agents in this kernel, look at them, stop them.

The files: `_options` tells the words of a line apart, `_namespace` and `_target` find what they mean, `_session` keeps
the kernel's one service and its panels, `_completion` completes, `_waiting` waits for what must be awaited, and
`_export` takes the notebook elsewhere.
"""

from notebook_widgets.magics._magics import AgentMagics, load, unload

__all__ = ["AgentMagics", "load", "unload"]
