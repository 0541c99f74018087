"""Which libraries a type needs is found without importing any."""

import subprocess
import sys

import pytest

from agent_service.brains.libraries import libraries_of


@pytest.mark.parametrize("type_", ["bayes", "sobol", "pool", "no-such-type", "live:x", "no_such_module:Thing"])
def test_most_types_need_no_process_of_their_own_to_start_from(type_):
    assert libraries_of(type_) == ()


def test_code_of_the_users_own_is_never_imported_but_what_it_imports_is(tmp_path, monkeypatch):
    source = "import os, networkx\nfrom bluesky import plans\nfrom numpy import array\nraise SystemExit\n"
    (tmp_path / "my_agents.py").write_text(source.replace("networkx", "cloudpickle.cloudpickle"))
    (tmp_path / "broken.py").write_text("def")
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit")
    (package / "inner.py").write_text("def make():\n    import pydantic_core, not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert libraries_of("my_agents:Brain") == ("cloudpickle.cloudpickle",)
    assert libraries_of("my_package.inner:make") == ("pydantic_core",)
    assert libraries_of("broken:Brain") == ()


def test_an_installed_module_is_itself_one_and_is_not_imported():
    code = (
        "import sys; from agent_service.brains.libraries import libraries_of; "
        "print(libraries_of('sqlalchemy.orm:Session'), 'sqlalchemy' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "('sqlalchemy.orm',) False"
