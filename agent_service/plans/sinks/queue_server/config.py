"""``[sink]`` of kind ``queueserver``."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from agent_service.models.addresses import CurveKey, ManagerAddress, WebAddress  # noqa: TC001 - read at run time
from agent_service.models.strict_numbers import StrictNumbers


class QueueServerSection(StrictNumbers):
    """``[sink]`` of kind ``queueserver``: plans go to the queue server that owns the RunEngine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["queueserver"] = Field(description="queueserver: the facility's queue server")
    control: ManagerAddress | None = Field(
        default=None,
        description="0MQ address of the RE Manager; default, where there is no url: QSERVER_ZMQ_CONTROL_ADDRESS, else "
        "the HTTP server of QSERVER_HTTP_SERVER_URI, else tcp://127.0.0.1:60615",
    )
    public_key: CurveKey | None = Field(
        default=None,
        description="public key of the RE Manager, where it encrypts (CURVE); default: QSERVER_ZMQ_PUBLIC_KEY",
    )
    encoding: Literal["json", "msgpack"] | None = Field(
        default=None,
        description="what the RE Manager speaks over 0MQ, as it was started with --zmq-encoding; default: "
        "QSERVER_ZMQ_ENCODING, else json",
    )
    url: WebAddress | None = Field(
        default=None,
        description="address of the HTTP server, in place of control; its API key is in QSERVER_HTTP_SERVER_API_KEY",
    )
    user: str = Field(
        default="agent-service", pattern=r"\S", description="name that its items bear; over HTTP the key decides"
    )
    user_group: str = Field(
        default="primary",
        pattern=r"\S",
        description="group whose plans and devices are allowed; over HTTP the key decides",
    )
    per_item: Literal["run", "session"] = Field(
        default="run",
        description="run: each suggestion is an item of its own, between the items of people; session: an item "
        "measures many suggestions of one agent, which its worker claims from this service",
    )
    gives_way: bool = Field(
        default=True,
        description="whether people have 5 s, after the run under way, to start what they put into the queue; a "
        "session ends for that, and for a lock in any case",
    )
    idle_s: float = Field(
        default=2,
        gt=0,
        le=30,
        description="session: how long it waits for its agent's next suggestion before it ends, in seconds",
    )
    poll_s: float = Field(
        default=0.25,
        ge=0.02,
        le=60,
        description="how often the manager is asked while there is something to do, in seconds",
    )

    @property
    def own_engine(self) -> bool:
        """Whether the service has a RunEngine of its own."""
        return False

    @field_validator("url", mode="before")
    @classmethod
    def _of_http(cls, given: object) -> object:
        if isinstance(given, str) and given.startswith(("tcp://", "ipc://")):
            raise ValueError("must begin with http:// or https://: an address of 0MQ is given as control")
        return given

    @model_validator(mode="after")
    def _one_way(self) -> QueueServerSection:
        if self.url is not None and (self.control is not None or self.public_key is not None):
            raise ValueError("url and control are two ways to one manager; give one of them")
        if self.url is not None and self.encoding is not None:
            raise ValueError("encoding is for 0MQ (control): the HTTP server at url has its own; leave encoding out")
        return self
