"""What the service and its archive child say to each other: one JSON object a line, told apart by ``kind``."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

CATALOG: Final = "AGENT_SERVICE_ARCHIVE_CATALOG"
"""Variable of the child's environment that says which catalogue: ``embedded``, ``none`` or a URI."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> bytes:
        """Return the message as a line of UTF-8."""
        return self.model_dump_json().encode() + b"\n"


class WaitFor(_Line):
    """To the child: answer when the run ``uid`` is in the catalogue."""

    kind: Literal["wait_for"] = "wait_for"
    token: int
    uid: str


class Drain(_Line):
    """To the child: answer when the runs that are complete now, and the facts up to ``seq``, are written or refused."""

    kind: Literal["drain"] = "drain"
    token: int
    seq: int


class Fetch(_Line):
    """To the child: write the documents of the run ``uid``, from the spool or the catalogue, to the file ``path``."""

    kind: Literal["fetch"] = "fetch"
    token: int
    uid: str
    path: str


class Forget(_Line):
    """To the child: nobody waits for the answer ``token`` any more."""

    kind: Literal["forget"] = "forget"
    token: int


class Stop(_Line):
    """To the child: finish the run or the batch that is being written, close, and exit."""

    kind: Literal["stop"] = "stop"


class State(_Line):
    """From the child: whether the catalogue can be written, and where it is."""

    kind: Literal["state"] = "state"
    ready: bool
    uri: str | None = None
    reason: str | None = None


class Lag(_Line):
    """From the child: what is still to be written, and how many runs and decisions were refused.

    ``written`` is the number of the last fact that is written, ``facts`` how many more the child knows of.
    """

    kind: Literal["lag"] = "lag"
    runs: int
    facts: int
    written: int
    refused: int
    decisions_refused: int


class Done(_Line):
    """From the child: the answer to `WaitFor`, `Drain` or `Fetch`; with an error, it will never come true."""

    kind: Literal["done"] = "done"
    token: int
    error: str | None = None


Question = WaitFor | Drain | Fetch
ToChild = Question | Forget | Stop
FromChild = State | Lag | Done

to_child: TypeAdapter[ToChild] = TypeAdapter(Annotated[ToChild, Field(discriminator="kind")])
from_child: TypeAdapter[FromChild] = TypeAdapter(Annotated[FromChild, Field(discriminator="kind")])
