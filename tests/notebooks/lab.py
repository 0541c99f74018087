"""A real Jupyter server and a real browser; one server shows a notebook in JupyterLab, Notebook 7 and Voila."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import httpx
import kernels
import wanted

nbformat = wanted.module("nbformat")
wanted.module("jupyterlab")

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ELSEWHERE = "jupyter.test"
"""A name of this machine by which a browser does not know that it is this machine."""

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
]
STARTS_WITHIN_S = 60
SHOWS_WITHIN_MS = 60_000
PAGES = {"lab": "/doc/tree/{}?reset", "notebook": "/notebooks/{}", "voila": "/voila/render/{}"}
_READY = """() => {
  const widget = window.jupyterapp?.shell?.currentWidget;
  return widget?.context?.isReady && widget?.sessionContext?.session?.kernel?.connectionStatus == 'connected';
}"""


# A widget's messages go to the main shell until the page has a subshell for them. No person is quick enough to press in
# between, a test is: on a busy machine its press waited for the cell to end.
_ROUTED = """() => {
  const kernel = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel;
  return !kernel?.supportsSubshells || [...kernel._comms.values()].every((comm) => comm.subshellId);
}"""


class Jupyter:
    """A running Jupyter server and the directory that it serves."""

    def __init__(self, url, root):
        self.url = url
        self.root = root

    def elsewhere(self):
        """Return the same server by a name that does not tell a browser that it is this machine."""
        return Jupyter(self.url.replace("127.0.0.1", ELSEWHERE), self.root)

    def write(self, name, *cells, kernel="python3"):
        """Write a notebook of code cells into the served directory."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        return path

    def kernels(self):
        """Return what the server says of its kernels."""
        return httpx.get(f"{self.url}/api/kernels", timeout=10).json()

    def end_kernels(self):
        """End every kernel: a test leaves none to the next."""
        for one in self.kernels():
            httpx.delete(f"{self.url}/api/kernels/{one['id']}", timeout=30)


class Page:
    """A notebook on the screen.

    ``page`` is Playwright's, for whatever is not here.
    """

    def __init__(self, page):
        self.page = page

    def run_all(self):
        """Start all cells, and return at once."""
        self.command("notebook:run-all-cells")

    def command(self, name):
        """Give a command of JupyterLab or Notebook 7, without waiting for its end."""
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name) }", name)

    def run_cell(self, index):
        """Start one cell, counted from 0, and return at once."""
        self.page.evaluate("i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i }", index)
        self.command("notebook:run-cell")

    def kernel_status(self):
        """Return the kernel's state as the front end knows it."""
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status")

    def button(self, name):
        """Return a button as soon as it can be seen, and pressed while a cell blocks."""
        found = self.page.get_by_role("button", name=name, exact=True)
        found.wait_for(timeout=SHOWS_WITHIN_MS)
        self.page.wait_for_function(_ROUTED, timeout=SHOWS_WITHIN_MS)
        return found


@contextlib.contextmanager
def jupyter(directory, base_url="/"):
    """Run a Jupyter server on loopback, all its files in ``directory``; with a ``base_url`` as a hub would run it.

    Besides the installed ipykernel, the others of `kernels.VERSIONS` that there are have a kernelspec of their own,
    named ``ipykernel-VERSION``.
    """
    root = directory / "root"
    root.mkdir()
    _write_settings(directory, base_url)
    env = {
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_CONFIG_DIR": str(directory / "config"),
        "JUPYTER_DATA_DIR": str(directory / "data"),
        "JUPYTER_RUNTIME_DIR": str(directory / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(directory / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(directory / "workspaces"),
        "IPYTHONDIR": str(directory / "ipython"),
    }
    if base_url != "/":
        env["JUPYTERHUB_SERVICE_PREFIX"] = base_url
    port = _free_port()
    url = f"http://127.0.0.1:{port}{base_url.rstrip('/')}"
    with (directory / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for(url, server, directory / "server.log")
            yield Jupyter(url, root)
        finally:
            _end(server)


@contextlib.contextmanager
def chromium():
    """Run Debian's Chromium, driven by Playwright. No async test can run meanwhile in this process."""
    playwright = wanted.module("playwright.sync_api")
    executable = wanted.needs(
        next(filter(None, map(shutil.which, CHROMIUM)), None), "no chromium; apt-get install chromium"
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()


def agent_page(context, service):
    """Return the service's page, logged in, with its only agent open; its service is ``service``."""
    page = context.new_page()
    page.service = service
    page.said = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.set_default_timeout(SHOWS_WITHIN_MS)
    page.goto(service.url)
    page.get_by_label("Key").fill(service.server.api_key)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Open").click()
    return page


def serious(page, where=None):
    """Return what axe-core finds wrong for people who cannot see or point, of the page or of a selector's part."""
    axe = wanted.module("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, context=where).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:150]) for one in found if one["impact"] in ("serious", "critical")]


@contextlib.contextmanager
def opened(browser, server, name, front_end="lab", missing=None, **context):
    """Open a notebook in a browser context of its own: ``lab``, ``notebook`` or ``voila``.

    The server answers 404 to what matches ``missing``.
    """
    with contextlib.closing(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})) as own:
        page = own.new_page()
        # JupyterLab's word that a kernel died, or its server is away, which covers the page until somebody has read it
        page.add_locator_handler(page.locator(".jp-Dialog-footer .jp-Dialog-button").last, lambda one: one.click())
        if missing is not None:
            page.route(missing, lambda route: route.fulfill(status=404))
        page.goto(server.url + PAGES[front_end].format(name))
        if front_end != "voila":
            page.wait_for_function(_READY, timeout=SHOWS_WITHIN_MS)
        yield Page(page)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _write_settings(directory, base_url):
    config = {
        "ServerApp": {
            "ip": "127.0.0.1",
            "port_retries": 0,
            "root_dir": str(directory / "root"),
            "base_url": base_url,
            "allow_remote_access": True,  # also by another name than localhost
            "disable_check_xsrf": True,
        },
        "IdentityProvider": {"token": ""},
        "LabApp": {"expose_app_in_browser": True, "news_url": None, "extension_manager": "readonly"},
        "JupyterNotebookApp": {"expose_app_in_browser": True},
    }
    no_news = directory / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    no_news.parent.mkdir(parents=True)
    no_news.write_text('{"fetchNews": "false"}')
    (directory / "config").mkdir()
    (directory / "config" / "jupyter_server_config.json").write_text(json.dumps(config))
    for version in (None, *kernels.VERSIONS):
        if version is None or kernels.directory_of(version).is_dir():
            name = "python3" if version is None else f"ipykernel-{version}"
            spec = {
                "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": name,
                "language": "python",
                "env": {"PYTHONPATH": kernels.python_path(version), "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
            }
            there = directory / "data" / "kernels" / name
            there.mkdir(parents=True)
            (there / "kernel.json").write_text(json.dumps(spec))


def _wait_for(url, server, log):
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/api", timeout=5).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the Jupyter server did not start:\n{log.read_text()}")


def _end(server):
    """End the server and, by it, its kernels; by force what is left of its process group."""
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(20)
