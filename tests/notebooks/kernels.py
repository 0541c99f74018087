"""Real kernels of several ipykernel versions, spoken to as a front end does, without one."""

import contextlib
import os
import pathlib
import sys
import time

import wanted

jupyter_client = wanted.module("jupyter_client")

VERSIONS = ("6.31.0", "7.3.0")
"""Those besides the one that is installed; `make` puts them into the environment's kernels directory."""

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
WITHIN_S = 30.0


def directory_of(version):
    """Return where this ipykernel is installed, by itself."""
    return pathlib.Path(sys.prefix) / "kernels" / f"ipykernel-{version}"


def python_path(version):
    """Return the PYTHONPATH with which a kernel has this ipykernel, None for the installed one; or skip."""
    path = [str(ROOT), str(ROOT / "tests" / "support")]
    if version is not None:
        there = directory_of(version)
        wanted.needs(there.is_dir(), f"ipykernel {version} is not in {there}; `make venv` puts it there")
        path.insert(0, str(there))
    return os.pathsep.join(path)


class Kernel:
    """A running kernel and its one client."""

    def __init__(self, manager, directory):
        self.manager = manager
        self.log = directory / "log.txt"
        self.log.write_text("")
        self.go = directory / "go"
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WITHIN_S)
        self.run(f"import pathlib, time\nLOG, GO = pathlib.Path({str(self.log)!r}), pathlib.Path({str(self.go)!r})")
        self.run((HERE / "busy_cells.py").read_text())

    def run(self, code):
        """Run a cell to its end, and return its reply; fail when it fails."""
        reply = self.client.execute_interactive(code, timeout=WITHIN_S, output_hook=lambda _: None, allow_stdin=False)
        assert reply["content"]["status"] == "ok", "\n".join(reply["content"].get("traceback", []))
        return reply

    def start(self, code):
        """Send a cell and return the id of the request."""
        return self.client.execute(code, allow_stdin=False)

    def value(self, expression):
        """Return the text of an expression's value."""
        status = "aborted"  # as what comes too soon after a cell that failed
        while status == "aborted":
            request = self.client.execute("", silent=True, user_expressions={"value": expression}, allow_stdin=False)
            content = self.reply(request)["content"]
            status = content["status"]
        value = content["user_expressions"]["value"]
        assert value["status"] == "ok", value
        return value["data"]["text/plain"].strip("'")

    def reply(self, request):
        """Wait for the reply to a request on the shell channel."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            message = self.client.get_shell_msg(timeout=WITHIN_S)
            if message["parent_header"].get("msg_id") == request:
                return message
        raise AssertionError(f"no reply to {request}")

    def ask(self, kind, content=None):
        """Send a request on the control channel and return the content of its reply."""
        message = self.client.session.msg(kind, content or {})
        self.client.control_channel.send(message)
        while True:
            reply = self.client.get_control_msg(timeout=WITHIN_S)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return reply["content"]

    def subshell(self):
        """Ask for a subshell, as JupyterLab does; None where the kernel has none."""
        return self.ask("create_subshell_request").get("subshell_id") if self.supports_subshells() else None

    def supports_subshells(self):
        return "kernel subshells" in self.ask("kernel_info_request").get("supported_features", [])

    def send(self, kind, content, subshell=None):
        """Send a message on the shell channel and return its id."""
        message = self.client.session.msg(kind, content)
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def press(self, comm_id, subshell=None):
        """Press a button."""
        data = {"method": "custom", "content": {"event": "click"}}
        return self.send("comm_msg", {"comm_id": comm_id, "data": data}, subshell)

    def lines(self):
        return self.log.read_text().split()

    def until(self, line, times=1):
        """Wait until the kernel wrote this line so often, and return all so far."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            if (lines := self.lines()).count(line) >= times:
                return lines
            time.sleep(0.01)
        raise AssertionError(f"no {line!r} ({times}) within {WITHIN_S:g} s, only {self.lines()}")

    def statuses(self):
        """Take what the kernel published so far: (state, id of the message it is about)."""
        found = []
        with contextlib.suppress(Exception):
            while True:
                message = self.client.get_iopub_msg(timeout=0.5)
                if message["msg_type"] == "status":
                    found.append((message["content"]["execution_state"], message["parent_header"].get("msg_id")))
        return found


@contextlib.contextmanager
def kernel(directory, version=None):
    """Run a kernel whose files are all in a directory of the test."""
    env = {
        **os.environ,
        "PYTHONPATH": python_path(version),
        "IPYTHONDIR": str(directory / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    manager = jupyter_client.KernelManager(connection_file=str(directory / "connection.json"))
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.start_kernel(env=env, cwd=str(directory))
    running = None
    try:
        running = Kernel(manager, directory)
        yield running
    finally:
        if running is not None:
            running.client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
