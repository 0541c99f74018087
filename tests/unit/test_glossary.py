"""docs/glossary.md is short, and nobody uses the words that were given up."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_WORDS = 40

RETIRED = {
    r"\bRecipes?\b": "BrainFactory",
    r"[Nn]urser(y|ies)": "ForkServerClient",
    r"\b_?bury\b": "reap",
    r"last_words": "output",
    r"[Ff]arewell": "stop_signals",
    r"\bPicture\b": "AgentView",
    r"\bAgentHandle\b": "BrainHandle",
    r"perilous": "crashing",
    r"\bAgentLife\b": "AgentLifecycle",
    r"\bhurr(y|ied)": "cancel_pending_outcomes",
    r"mourn": "_on_process_death",
    r"\bRevival\b": "LoopRunner",
    r"\b(class|import) Restarts\b": "RestartPolicy",
    r"\bStanding\b": "RunHistory",
    r"\b(class|import) Flight\b": "Submission",
    r"\b(class|import) Ahead\b": "Lookahead",
    r"\b(class|import) Turn\b": "CallLock",
    r"\b(class|import) Door\b": "StartingApp",
    r"\b(class|import) Patience\b": "PreferWait",
    r"\b(class|import) Home\b": "ProcessService",
    r"\b(class|import) Host\b": "LiveAgents",
    r"\b(class|import) Hosted\b": "HostResult",
    r"_see_through": "_await_run",
    r"\bSqlJournal\b": "JournalLog",
    r"\bTimedExecutor\b": "an observer of calls",
    r"\b(class|import) Outbox\b": "CatalogWriter",
    r"\bAgentGuardrails\b": "GuardrailsInForce",
}
"""What was given up, as a regular expression, and what is said instead."""

KEEPS_HISTORY = ("docs/adr/", "CHANGELOG.md")
PATHS = [
    *sorted(
        path
        for folder in ("agent_service", "notebook_widgets", "tests", "docs", "notebooks")
        for suffix in ("*.py", "*.md", "*.js", "*.ipynb")
        for path in (ROOT / folder).rglob(suffix)
        if path != Path(__file__) and not str(path.relative_to(ROOT)).startswith(KEEPS_HISTORY)
    ),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]


def words():
    page = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^\| ([a-z ]+) \| (.+) \|$", page, re.MULTILINE)[1:]


def test_the_glossary_is_short_and_in_order():
    found = [word for word, _ in words()]
    assert 20 < len(found) <= MOST_WORDS
    assert found == sorted(set(found))


@pytest.fixture(scope="module")
def lines():
    """Every line of ours, with its place."""
    return [
        (f"{path.relative_to(ROOT)}:{number}", line)
        for path in PATHS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]


@pytest.mark.parametrize(("retired", "instead"), RETIRED.items())
def test_nobody_uses_a_word_that_was_given_up(lines, retired, instead):
    pattern = re.compile(retired)
    found = [f"{place}: say {instead}: {line.strip()[:80]}" for place, line in lines if pattern.search(line)]
    assert not found, "\n".join(found)
