"""The two state machines are closed, and say what is legal."""

import pytest

from agent_service.agents.ingestion import TAKES_LATE_RUN
from agent_service.errors import IllegalTransition
from agent_service.models.state_machines import (
    AGENT_TRANSITIONS,
    LEGAL,
    OPEN,
    SUGGESTION_TRANSITIONS,
    AgentState,
    Command,
    SuggestionState,
    check_agent,
    check_suggestion,
    legal_commands,
    require,
)


def test_the_tables_know_every_state_and_command():
    assert set(AGENT_TRANSITIONS) == set(AgentState)
    assert set(SUGGESTION_TRANSITIONS) == set(SuggestionState)
    assert set(LEGAL) == set(Command)


def test_any_agent_can_fail_and_none_is_stuck():
    for state in AgentState:
        assert AgentState.FAILED in AGENT_TRANSITIONS[state]
        assert AGENT_TRANSITIONS[state] - {AgentState.FAILED}


def test_every_open_fate_can_end_and_closed_ones_are_measured_by_a_late_run_only():
    ends = {SuggestionState.INGESTED, SuggestionState.FAILED, SuggestionState.ABANDONED}
    for state in SuggestionState:
        if state in OPEN:
            assert ends <= SUGGESTION_TRANSITIONS[state]
        else:
            late = {SuggestionState.MEASURED, SuggestionState.INGESTED} if state in TAKES_LATE_RUN else set()
            assert SUGGESTION_TRANSITIONS[state] == late


@pytest.mark.parametrize("state", AgentState)
@pytest.mark.parametrize("command", Command)
def test_a_command_is_legal_or_says_what_is(state, command):
    if command in legal_commands(state):
        require(command, state, name="a")
        return
    with pytest.raises(IllegalTransition) as caught:
        require(command, state, name="a")
    assert caught.value.legal == legal_commands(state)
    assert str(state) in caught.value.detail


def test_illegal_transitions_name_what_could_follow():
    with pytest.raises(IllegalTransition, match="from stopped to running"):
        check_agent(AgentState.STOPPED, AgentState.RUNNING)
    with pytest.raises(IllegalTransition, match="its fate is final"):
        check_suggestion(SuggestionState.INGESTED, SuggestionState.APPROVED)
    check_agent(AgentState.RUNNING, AgentState.PAUSED)
    check_suggestion(SuggestionState.EXPIRED, SuggestionState.INGESTED)
