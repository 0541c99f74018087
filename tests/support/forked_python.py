"""Processes of Python without their imports: forked from one that has imported all they need, whoever starts them.

Where many lives of a process are short, as when it is killed again and again, its imports are nearly all that it does.
`fork_from_here` makes `subprocess.Popen` fork what is to run this interpreter with ``-c`` or ``-m``, and `forked_from`
returns such a class; all else of a process is as it was: its parent, its descriptors, its environment, its working
directory and its exit status.
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path

QUIET = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS"), "1"),
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Environment in which libraries start no threads when they are imported: a fork would not have them."""

_SET_NAME, _SET_SUBREAPER = 15, 36  # of prctl
_MOST_BYTES, _MOST_DESCRIPTORS = 1 << 18, 32
_HIGH = 256  # no descriptor that somebody passes on has a higher number
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def require_one_thread() -> None:
    """Fail where this process has another thread, which a fork would not have."""
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a thread would not survive the fork"


def fork_from_here() -> None:
    """Fork what is started from here on; call it while there is one thread."""
    require_one_thread()
    gc.freeze()  # else each fork writes to every page
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _prctl(_SET_NAME, b"template", 0, 0, 0)
        _serve(theirs)
    theirs.close()
    _ForkedPopen.template = ours
    subprocess.Popen = _ForkedPopen


@contextlib.contextmanager
def forked_from(*imports, **environment):
    """Yield a class that starts processes as `subprocess.Popen` does, forked from one that has imported modules.

    ``environment`` is what some of the modules look for when they are imported.
    """
    program = "import sys, forked_python; forked_python.serve(int(sys.argv[1]), sys.argv[2:])"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        template = subprocess.Popen(
            [sys.executable, "-c", program, str(theirs.fileno()), *imports],
            env={**os.environ, **QUIET, **environment, "PYTHONPATH": str(Path(__file__).parent)},
            pass_fds=[theirs.fileno()],
        )
    try:
        yield type("Forked", (_ForkedPopen,), {"template": ours})
    finally:
        ours.close()
        template.wait(120)


def serve(number, imports):
    """Import modules, and fork as is asked on a socket until that is closed."""
    for module in imports:
        importlib.import_module(module)
    require_one_thread()
    gc.freeze()
    _serve(socket.socket(fileno=number))


class _ForkedPopen(subprocess.Popen):
    """A process, forked where it can be."""

    template: socket.socket
    _asking = threading.Lock()

    def _execute_child(self, args, *given):
        _, _, _, pass_fds, cwd, env, *rest = given
        pipes, start_new_session = rest[3:9], rest[14]
        if not (isinstance(args, list) and args[0] == sys.executable and {"-c", "-m"} & set(args[1:3])):
            super()._execute_child(args, *given)
            return
        request = {
            "args": [str(one) for one in args[1:] if one != "-P"],
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "numbers": [0, 1, 2, *pass_fds],
            "session": bool(start_new_session),
        }
        standard = [own if given == -1 else given for own, given in enumerate((pipes[0], pipes[3], pipes[5]))]
        with self._asking:
            _prctl(_SET_SUBREAPER, 1, 0, 0, 0)  # so that it becomes a child of this process
            socket.send_fds(self.template, [json.dumps(request).encode()], [*standard, *pass_fds])
            answer = self.template.recv(64)
            _prctl(_SET_SUBREAPER, 0, 0, 0, 0)
        if not answer:
            raise OSError("the template of processes ended")
        self.pid, self._child_created = int(answer), True
        self._close_pipe_fds(*pipes)


def _serve(asked):
    """Fork as asked, until whoever asks has ended."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(asked, _MOST_BYTES, _MOST_DESCRIPTORS)
        if not request:
            os._exit(0)
        reads, writes = os.pipe()
        middle = os.fork()
        if middle == 0:  # its end makes what it forks a child of whoever asked
            pid = os.fork()
            if pid == 0:
                _begin(json.loads(request), descriptors)
            os.write(writes, str(pid).encode())
            os._exit(0)
        os.waitpid(middle, 0)
        asked.send(os.read(reads, 64))
        for number in (reads, writes, *descriptors):
            os.close(number)


def _begin(request, descriptors):
    """Become what was asked for."""
    moved = [fcntl.fcntl(number, fcntl.F_DUPFD, _HIGH) for number in descriptors]
    os.closerange(0, _HIGH)
    for number, wanted in zip(moved, request["numbers"], strict=True):
        os.dup2(number, wanted)
    os.closerange(_HIGH, max(moved) + 1)
    if request["session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - as long as it lives
    with ends_process():
        kind, what, *arguments = request["args"]
        sys.argv = [kind, *arguments]
        if kind == "-m":
            _name_it(what)
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            _name_it(next(iter(re.findall(r"from ([\w.]+) import", what)), kind))
            exec(what, {"__name__": "__main__"})


def _name_it(module):
    """Name this process by the end of its module's name, as /proc/PID/comm has room for."""
    _prctl(_SET_NAME, module[-15:].encode(), 0, 0, 0)


@contextlib.contextmanager
def ends_process():
    """End this process with what is done within, as an interpreter does."""
    code = 1
    try:
        yield
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - said, and its exit code is 1
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)
