"""Documents of the RunEngine's process, as the service takes them."""

import asyncio

import pytest

from agent_service.documents.sources.engine_process import EngineProcessSource


class Intake:
    """Takes documents, and refuses those of one kind."""

    def __init__(self) -> None:
        self.taken = []

    def put(self, name, document, stored=None) -> None:
        if name == "refused":
            raise ValueError(name)
        self.taken.append(document)


@pytest.mark.parametrize("odd", [None, 3, ["uid"]])
async def test_an_odd_document_keeps_nobody_from_the_next_one(odd, caplog):
    intake, source = Intake(), EngineProcessSource(asyncio.get_running_loop(), says_stored=False)
    source.start(intake)
    behind = {"uid": "a", "time": 1.0}
    for seq, (name, document) in enumerate([("start", odd), ("refused", {}), ("start", behind)]):
        source.take(seq, name, document)
    assert intake.taken == [odd, behind], "what is odd is for who routes it to judge"
    assert "an odd start document was not looked at" in caplog.text
    assert "a refused document was not taken" in caplog.text
    assert source.interrupt("it ended") == ["a"]
