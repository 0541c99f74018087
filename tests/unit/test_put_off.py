"""An import that is put off: it costs nothing until it is used, and is then what it always was."""

import subprocess
import sys

SLOW = """
import sys
sys.loaded = getattr(sys, "loaded", 0) + 1
LIMIT = 3
def fits(value, *, limit=LIMIT):
    return value < limit
"""


def run(folder, code):
    (folder / "slow_grammar").mkdir(exist_ok=True)
    (folder / "slow_grammar" / "__init__.py").write_text(SLOW)
    (folder / "slow_grammar" / "part.py").write_text("import slow_grammar\nHALF = slow_grammar.LIMIT / 2\n")
    before = "import sys; sys.loaded = 0; from agent_service.references import put_off\n"
    done = subprocess.run(
        [sys.executable, "-c", before + code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_is_loaded_when_its_function_is_called_and_once(tmp_path):
    code = """
put_off("slow_grammar", "fits")
from slow_grammar import fits
import slow_grammar
print(sys.loaded, hasattr(slow_grammar, "__wrapped__"), sys.loaded)
print(fits(2), fits(2, limit=1), sys.loaded)
import slow_grammar as anew
print(anew.LIMIT, slow_grammar.LIMIT, anew.fits(3), sys.loaded)
"""
    assert run(tmp_path, code) == ["0", "False", "0", "True", "False", "1", "3", "3", "False", "1"]


def test_another_of_its_names_or_a_module_within_it_loads_it_too(tmp_path):
    assert run(tmp_path, 'put_off("slow_grammar", "fits")\nfrom slow_grammar import LIMIT\nprint(LIMIT)') == ["3"]
    code = 'put_off("slow_grammar", "fits")\nimport slow_grammar.part\nprint(slow_grammar.part.HALF, sys.loaded)'
    assert run(tmp_path, code) == ["1.5", "1"]


def test_what_was_imported_before_or_is_not_installed_stays_as_it_is(tmp_path):
    code = 'import slow_grammar\nput_off("slow_grammar", "fits")\nprint(sys.modules["slow_grammar"] is slow_grammar)'
    assert run(tmp_path, code) == ["True"]
    assert run(tmp_path, 'put_off("no_such_module", "f")\nprint("no_such_module" in sys.modules)') == ["False"]


def test_bluesky_is_imported_without_the_grammar_of_jsonschema(tmp_path):
    code = """
import agent_service, bluesky
print("rfc3987_syntax.syntax_helpers" in sys.modules)
from jsonschema import Draft7Validator
print(*[Draft7Validator.FORMAT_CHECKER.conforms(one, "iri") for one in ("http://example.org/\\u00fc", "no iri")])
"""
    assert run(tmp_path, code) == ["False", "True", "False"]
