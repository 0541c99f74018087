"""``%agent_export`` in a shell of its own: the folder, and what is refused in one line."""

import re

import pytest
from cells import Shell
from prototype import SERVE, WALK, notebook
from services import wait_until

from agent_service.launch import default_state, local_config
from agent_service.launch.process_service import ProcessService


@pytest.fixture
def shell(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    notebook(tmp_path / "my proto.ipynb", "%load_ext agent_service", WALK, SERVE, "%agent_export out")
    one = Shell(capsys)
    yield one
    one.shell.run_line_magic("unload_ext", "agent_service")


def test_the_notebook_that_runs_with_what_it_measured(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "my proto.ipynb"))
    shell.run(f"{WALK}\n{SERVE} --catalog none --no-panel")
    assert shell.names["service"].state == default_state.state_of(tmp_path / "my proto.ipynb")
    shell.client.start("walk")
    wait_until(lambda: shell.client.agent("walk").progress.done >= 1)
    said = shell.run("%agent_export site/{'proto'} --with-state --catalog none")
    written = sorted(str(one.relative_to(tmp_path / "site/proto")) for one in (tmp_path / "site/proto").rglob("*"))
    assert {"README.md", "my proto.ipynb", "service.toml", "state/arrived", "state/journal.db"} <= set(written)
    assert 'catalog = "none"' in (tmp_path / "site/proto/service.toml").read_text()
    assert not [one for one in written if "key" in one]
    assert re.fullmatch(
        r"exported my proto\.ipynb, as it was saved at [\d:]{8} on [\d-]{10}, to site/proto: \d+ files, what was "
        r"measured so far among them; its README\.md says how to serve it\n",
        said,
    )
    assert shell.refused("%agent_export site/proto").endswith("is there already and not empty; give another folder")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "say where to: %agent_export FOLDER; it must be new, or empty"),
        ("out", "this kernel was not told which notebook it runs; name it: --notebook FILE.ipynb"),
        ("out --notebook gone.ipynb", "gone.ipynb is not there; save the notebook, or name the file"),
        ("out --notebook 'my proto.ipynb' --with-state", "there is no journal in"),
        ("out --with-stat", "there is no option --with-stat; did you mean --with-state?"),
        ("out more", "'more' is a word too many after 'out'; %agent_export? shows how to write it"),
    ],
)
def test_what_cannot_be_exported(shell, tmp_path, line, said):
    before = sorted(tmp_path.rglob("*"))
    assert said in shell.refused(f"%agent_export {line}")
    assert sorted(tmp_path.rglob("*")) == before


def test_where_it_is_served_without_jupyter_nothing_is_written(shell, tmp_path):
    process_service = ProcessService(
        local_config.local_config(state=tmp_path / "state", catalog="none", port=0), name="proto"
    )
    try:
        assert shell.run("%agent_export out") == "not exported: this notebook is served without Jupyter here\n"
    finally:
        process_service.close()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%agent_exp", ["%agent_export"]),
        ("%agent_export si", ["site/"]),
        ("%agent_export site --w", ["--with-state"]),
        ("%agent_export site --notebook proto", ["proto.ipynb"]),
        ("%agent_export site --catalog n", ["none"]),
    ],
)
def test_completion(shell, tmp_path, line, offered):
    (tmp_path / "site").mkdir()
    (tmp_path / "proto.ipynb").touch()
    assert sorted(one for one in shell.complete(line) if offered) == offered


def test_help_names_each_option(shell):
    said = shell.shell.object_inspect("agent_export", detail_level=0)["docstring"]
    assert len(re.findall(r"^ *%agent_export \S+", said, re.MULTILINE)) == 3
    for option in ("--with-state", "--notebook FILE", "--catalog URI"):
        assert option in said
