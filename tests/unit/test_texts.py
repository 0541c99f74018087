"""Texts that come from elsewhere: no controls, no keys, of sensible length."""

import json
import logging
import unicodedata

import pytest
from hypothesis import given, strategies as st

from agent_service.errors import MAX_DETAIL, MAX_ERRORS, AgentFault, FieldError, InvalidInput
from agent_service.errors.log_lines import JsonFormatter, TextFormatter
from agent_service.errors.texts import MAX_LINE, MAX_TRACE, cut_middle, one_line, printable, without_keys
from agent_service.executors.handle import fault

NASTY = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\r\x00\u2028\udc80"


def controls(text):
    return [one for one in text if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in "\n\t"]


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_steers_a_terminal(text):
    assert not controls(printable(text))
    assert not controls(one_line(text))
    assert "\n" not in one_line(text)
    assert len(one_line(text, most=10)) <= 10


def record(message, *args, exc_info=None):
    return logging.LogRecord("x", logging.ERROR, __file__, 1, message, args, exc_info)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_log_line_neither_steers_a_terminal_nor_feigns_another(formatter):
    feigned = "\n2026-01-01 00:00:00,000 agent_service ERROR all is well"
    try:
        raise ValueError(NASTY + feigned)  # noqa: TRY301
    except ValueError as error:
        said = formatter.format(record("it failed: %s", NASTY + feigned, exc_info=(ValueError, error, None)))
    assert not controls(said)
    assert "2026-01-01" in said
    assert not any(line.startswith("2026-01-01") for line in said.splitlines())


@pytest.mark.parametrize(
    "said",
    [
        "Authorization: Apikey ◆",
        "authorization: Bearer ◆",
        "Authorization: Basic ◆",
        "Authorization: Token ◆",
        "Authorization: ◆",
        'Authorization: Digest username="bob", response="◆"',
        "Proxy-Authorization: Basic ◆",
        "{'authorization': 'Apikey ◆'}",
        '{"Authorization": "Bearer ◆"}',
        "[(b'host', b'x'), (b'authorization', b'Basic ◆')]",
        "X-API-Key: ◆",
        "{'x-api-key': '◆'}",
        "[(b'x-api-key', b'◆')]",
        "GET /api/v1/agents?api_key=◆&limit=3",
        "GET /api/v1/agents?token=◆",
        "GET /x?key=◆",
        "access_token=◆",
        "client_secret='◆'",
        "TILED_API_KEY=◆",
        "password: ◆",
        "http://bob:◆@tiled.example.org/api",
        "Cookie: session=◆",
        "sent Bearer ◆ to it",
        "sent Basic ◆ to it",
    ],
)
def test_a_key_of_any_form_is_hidden(said):
    key = "dXNlcjpwYXNz3D"
    shown = without_keys(said.replace("◆", key))
    assert key not in shown
    assert "***" in shown
    assert key not in TextFormatter().format(record(said.replace("◆", key)))
    assert key not in JsonFormatter().format(record(said.replace("◆", key)))


@pytest.mark.parametrize(
    "said", ["the key of alice", '{"key": "alice"}', "basic settings", "a token expired", "no key"]
)
def test_words_stay(said):
    assert without_keys(said) == said


@pytest.mark.parametrize(
    "key", ["bas_" + "ab12" * 12, "basp_" + "ab12" * 12, "ab12" * 12, "ab12" * 16, "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln"]
)
def test_a_key_is_known_by_its_form(key):
    assert key not in without_keys(f"it said {key} and left")


def test_what_looks_like_the_beginning_of_keys_costs_little_however_long_it_is():
    """Each search begins where the last one ended: nothing is gone through again for each word in it."""

    from agent_service.errors import texts

    [token] = [one for one in texts._SECRETS if one.pattern.startswith(r"\beyJ")]
    found = token.fullmatch("eyJ-" * 10_000)
    assert found is not None, "one match takes all of it"
    assert without_keys("eyJ-" * 10_000) == "***"


def test_what_an_agent_raises_is_cut_and_cleaned():
    try:
        raise ValueError(NASTY + "x" * 10_000_000)  # noqa: TRY301
    except ValueError as error:
        told = fault(error)
    assert told.detail.startswith("ValueError: ")
    assert len(told.detail) <= MAX_LINE + 20
    assert len(told.traceback) <= MAX_TRACE + 2000
    assert told.traceback.startswith("Traceback")
    assert not controls(told.detail + told.traceback)
    assert len(AgentFault("y" * 10_000_000, traceback="z" * 10_000_000).traceback) <= MAX_TRACE + 100


def test_any_error_is_of_sensible_size():
    many = (FieldError("config." + "k" * 1_000_000, "m" * 1_000_000) for _ in range(10_000))
    error = InvalidInput("d" * 1_000_000, errors=many)
    assert len(error.detail) == len(str(error)) == MAX_DETAIL
    assert len(error.errors) == MAX_ERRORS
    assert len(json.dumps([[one.field, one.message] for one in error.errors])) < 200_000


def test_of_a_long_traceback_both_ends_stay():
    shown = cut_middle("begin" + "x" * 100_000 + "end")
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "65015" not in shown
    assert "80008 characters are left out" in shown
