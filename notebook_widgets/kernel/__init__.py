"""Widget callbacks that run while a cell blocks: Pause and Stop work during ``RE(long_plan)`` or ``time.sleep``.

A kernel handles one shell message at a time. A pressed button is a comm message: it waits until the cell ends, unless
something handles it before. What does so depends on ipykernel and on what the cell waits in:

============  ==================================  ==============================================================
ipykernel     the cell blocks in anything         the cell blocks in ``RE(plan)``
============  ==================================  ==============================================================
6.x           not possible, there is one thread   `CommPump`: the main thread handles comm messages as it waits
7.0 to 7.3    nothing of ours: the subshell that  as in the column to the left; `CommPump` for front ends that
              the front end asks for has its own  ask for no subshell (JupyterLab before 4.4, Voila)
              thread
7.4           `SubshellRouting`: the subshell     as for 7.3
              that the front end asked for is
              honoured, but only while the main
              thread is blocked
============  ==================================  ==============================================================

JupyterLab 4.4 and Notebook 7.4, and newer ones, ask for a subshell by themselves.

All of it uses attributes that ipykernel does not promise. Each is checked first; if one is missing, nothing is
overridden, a line in the log says so, and the kernel behaves as without this package. Callbacks run in the thread of a
subshell or in the main thread, as the table says; a callback must be ready for both.
"""

from notebook_widgets.kernel._control import KernelControl, install, uninstall
from notebook_widgets.kernel._pump import CommPump
from notebook_widgets.kernel._subshells import SubshellRouting

__all__ = ["CommPump", "KernelControl", "SubshellRouting", "install", "uninstall"]
