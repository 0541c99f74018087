"""``[sink]`` of kind ``blueapi``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads annotations at run time
from typing import Literal

from pydantic import ConfigDict, Field, field_validator

from agent_service.models.addresses import WebAddress  # noqa: TC001 - as above
from agent_service.models.strict_numbers import StrictNumbers


class BlueapiSection(StrictNumbers):
    """``[sink]`` of kind ``blueapi``: plans go to the blueapi that owns the RunEngine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["blueapi"] = Field(description="blueapi: the beamline's blueapi")
    url: WebAddress = Field(
        default="http://127.0.0.1:8000",
        description="address of blueapi; where it asks for a token, that is in AGENT_SERVICE_BLUEAPI_TOKEN",
    )
    instrument_session: str = Field(
        pattern=r"^\S+$", description="session (visit) that each plan is measured in, for example cm12345-1"
    )
    token_file: Path | None = Field(
        default=None, description="file that holds the token, in place of the variable; read anew for each request"
    )

    @field_validator("token_file")
    @classmethod
    def _is_file(cls, given: Path | None) -> Path | None:
        if given is not None and given.is_dir():
            raise ValueError(f"must be a file that holds the token, and {given} is a folder")
        return given

    @property
    def own_engine(self) -> bool:
        """Whether the service has a RunEngine of its own."""
        return False
