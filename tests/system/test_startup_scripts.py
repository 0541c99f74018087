"""``agent-service serve --legacy``: start-up scripts of bluesky-adaptive 0.x, run as they stand."""

from __future__ import annotations

import signal
import textwrap

import httpx
import pytest
from services import wait_until

SCRIPT = """
    import sys
    import threading
    from bluesky_adaptive.server import register_variable, shutdown_decorator, start_task, startup_decorator

    class Model:
        def __init__(self):
            self._depth = 10

    model, table = Model(), {"x": 100}
    _v = 600
    ran = []

    def width_setter(value):
        status, *_ = start_task(lambda: ran.append((value, threading.current_thread() is threading.main_thread())),
                                run_in_background=False)
        return value if status == "accepted" else status

    @startup_decorator
    def first():
        model._depth = 20
        ran.append(start_task(print, 1)[0])

    @startup_decorator
    def second():
        ran.append(["second", model._depth, sys.__stdin__.isatty(), __name__])

    @shutdown_decorator
    def third():
        print("the end begins", flush=True)
        raise RuntimeError("and fails")

    @shutdown_decorator
    def fourth():
        print("the end", _v, flush=True)

    register_variable("depth", model, "_depth", pv_type="float")
    register_variable("x", table, "x", pv_type="int", pv_max_length=1000)
    register_variable("v", globals(), "_v")
    register_variable("width", None, None, getter=lambda: 1, setter=width_setter)
    register_variable("ran", getter=lambda: ran)
    if __name__ == "__main__":
        raise SystemExit("never as the main module")
"""


class Site:
    """A folder with scripts, and the service of one of them."""

    def __init__(self, command) -> None:
        self.command = command
        self.http = None

    def close(self):
        if self.http is not None:
            self.http.close()

    def write(self, name, text):
        path = self.command.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def serve(self, *arguments):
        self.close()
        self.process, said = self.command.serve(*arguments)
        url = said.split("Serving at ")[1].strip()
        state = next(path.parent for path in self.command.folder.rglob("api_key"))
        key = (state / "api_key").read_text().strip()
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Apikey {key}"}, timeout=30)
        return said

    def get(self, name):
        answer = self.http.get(f"/api/variable/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()[name]

    def set(self, name, value):
        answer = self.http.post(f"/api/variable/{name}", json={"value": value})
        assert answer.status_code == 200, answer.text
        return answer.json()[name]

    def fails(self, *arguments):
        """Expect that serving fails, and return its last line."""
        done = self.command.run("serve", "--port", "0", *arguments)
        assert done.returncode in (1, 2), (done.stdout, done.stderr)
        return done.stderr.splitlines()[-1]


@pytest.fixture
def site(command):
    made = Site(command)
    yield made
    made.close()


def test_a_script_is_served_as_it_stands(site):
    site.write("site.py", SCRIPT)
    site.serve("--legacy", "site.py")
    assert site.http.get("/api/").json() == {"message": "The HTTP server is alive!!!"}
    assert site.http.get("/api/variables/names").json() == {"names": ["depth", "x", "v", "width", "ran"]}
    assert site.get("ran") == ["rejected", ["second", 20, False, "startup_script"]]
    assert (site.get("depth"), site.get("x"), site.get("v")) == (20, 100, 600)
    assert site.set("v", 7) == 7
    for number in range(20):
        assert site.set("width", number) == number
    wait_until(lambda: len(site.get("ran")) == 22)
    assert site.get("ran")[2:] == [[number, True] for number in range(20)]
    code, out, err = site.command.stop(site.process)
    assert code == 0
    assert out.endswith("the end begins\nthe end 7\n")
    assert "third, at the end of site.py, failed" in err
    assert site.command.left() == []


def test_the_environment_of_0_4_0_names_the_script(site):
    path = site.write("elsewhere/site.py", "import beside\n" + textwrap.dedent(SCRIPT))
    site.write("elsewhere/beside.py", "")
    site.command.environment["BS_AGENT_STARTUP_SCRIPT_PATH"] = str(path)
    site.serve()
    assert site.get("depth") == 20
    site.command.stop(site.process)
    site.command.environment["BS_AGENT_STARTUP_MODULE_NAME"] = "site_module"
    assert "unset one of them" in site.fails()


def test_the_environment_of_0_4_0_names_a_module(site):
    site.write(
        "package/agent.py", "from bluesky_adaptive.server import register_variable as r\nr('n', globals(), 'n')\nn = 3"
    )
    site.write("package/__init__.py", "")
    site.command.environment["BS_AGENT_STARTUP_MODULE_NAME"] = "package.agent"
    site.serve()
    assert site.get("n") == 3
    assert site.set("n", 4) == 4
    site.command.stop(site.process)


def test_a_service_toml_beside_it_says_what_service_it_is(site):
    site.write("site.py", SCRIPT)
    site.write("service.toml", '[service]\nport = 0\nstate = "mine"\n[security]\nvariables = "loopback"\n')
    site.serve("service.toml", "--legacy", "site.py")
    assert (site.command.folder / "mine").is_dir()
    assert httpx.get(f"{site.http.base_url}/api/variable/x").json() == {"x": 100}
    site.command.stop(site.process)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nraise ValueError('no beam')", "site.py, line 2: ValueError: no beam"),
        ("import sys\nprint('talks')\nsys.exit(3)", "site.py ended with exit code 3"),
        ("def (", "invalid syntax"),
        (
            "from bluesky_adaptive.server import startup_decorator\n@startup_decorator\ndef f():\n    1 / 0",
            "site.py, line 4: ZeroDivisionError: division by zero",
        ),
        ("from bluesky_adaptive.server import register_variable\nregister_variable(3)", "name of variable 3 is a text"),
        (
            "from bluesky_adaptive.server import register_variable\nregister_variable('a', getter=3)",
            "getter of variable 'a' is a function, not a int",
        ),
    ],
)
def test_a_script_that_fails_ends_the_service_and_says_where(site, text, said):
    site.write("site.py", text)
    assert said in site.fails("--legacy", "site.py")
    assert site.command.left() == []


def test_one_script_a_process(site):
    site.write("a.py", SCRIPT)
    site.write("b.py", SCRIPT)
    assert "serve each in a process of its own" in site.fails("--legacy", "a.py", "--legacy", "b.py")
    assert "serve them apart" in site.fails("--legacy", "a.py", "b.py")
    assert "is not there" in site.fails("--legacy", "c.py")


def test_a_script_that_exits_without_a_fault_is_served(site):
    site.write("site.py", textwrap.dedent(SCRIPT) + "\nimport sys\nsys.exit(0)\n")
    site.serve("--legacy", "site.py")
    assert site.get("v") == 600
    site.command.stop(site.process)


def test_a_task_that_fails_or_exits_keeps_nobody_from_the_next(site):
    site.write(
        "site.py",
        """
        import sys
        from bluesky_adaptive.server import register_variable, start_task
        done = []
        def go(value):
            for background in (False, True):
                for target in (lambda: 1 / 0, lambda: sys.exit(5), lambda: done.append(value)):
                    start_task(target, run_in_background=background)
            return [start_task(None)[0], start_task(go, 1, task_uid="mine")[2] if value == 2 else None]
        register_variable("go", setter=go)
        register_variable("done", getter=lambda: done)
        """,
    )
    site.serve("--legacy", "site.py")
    assert site.set("go", 3) == ["error", None]
    wait_until(lambda: site.get("done") == [3, 3])
    assert site.set("go", 2) == ["error", "mine"]
    site.command.stop(site.process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_a_task_a_getter_and_a_setter_that_never_end(site, number):
    site.write(
        "site.py",
        """
        import time
        from bluesky_adaptive.server import register_variable, shutdown_decorator, start_task
        def forever():
            while True:
                time.sleep(0.05)
        begun = []
        def begin(value):
            start_task(lambda: (begun.append(1), forever()), run_in_background=False)
        register_variable("begin", setter=begin)
        register_variable("begun", getter=lambda: begun)
        register_variable("never", getter=forever, setter=lambda value: forever())
        shutdown_decorator(lambda: print("ended", flush=True))
        """,
    )
    site.serve("--legacy", "site.py")
    site.set("begin", 1)
    wait_until(lambda: site.get("begun"))
    for method, body in (("GET", None), ("POST", {"value": 1})):
        with pytest.raises(httpx.TimeoutException):
            site.http.request(method, "/api/variable/never", json=body, timeout=0.2)
    code, out, _ = site.command.stop(site.process, number)
    assert code == 0
    assert out.endswith("ended\n")
    assert site.command.left() == []


def test_nothing_of_an_installed_1_x_is_hidden_but_what_it_does_not_have(site):
    site.write("lib/bluesky_adaptive/__init__.py", "version = '1.0.0'")
    site.write("lib/bluesky_adaptive/ax.py", "kind = 'ax of 1.x'")
    site.command.environment["PYTHONPATH"] = str(site.command.folder / "lib")
    site.write("lib/bluesky_adaptive/agents/__init__.py", "")
    site.write("lib/bluesky_adaptive/agents/botorch.py", "from bluesky_adaptive.agents.base import Agent\nkind = Agent")
    site.write(
        "site.py",
        """
        import bluesky_adaptive
        from bluesky_adaptive import ax
        from bluesky_adaptive.agents.botorch import kind
        from bluesky_adaptive.server import register_variable
        register_variable("told", getter=lambda: [bluesky_adaptive.version, ax.kind, kind.__module__])
        """,
    )
    site.serve("--legacy", "site.py")
    assert site.get("told") == ["1.0.0", "ax of 1.x", "agent_service.launch.legacy.agents"]
    site.command.stop(site.process)


def test_a_restart_runs_the_script_again(site):
    site.write("site.py", SCRIPT)
    site.serve("--legacy", "site.py")
    site.set("v", 7)
    site.process.kill()
    site.process.communicate()
    site.serve("--legacy", "site.py")
    assert site.get("v") == 600
    site.command.stop(site.process)
