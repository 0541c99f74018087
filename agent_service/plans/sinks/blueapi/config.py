"""``[sink]`` of kind ``blueapi``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class BlueapiSection(BaseModel):
    """``[sink]`` of kind ``blueapi``: plans go to the blueapi that owns the RunEngine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["blueapi"] = Field(description="blueapi: the beamline's blueapi")
    url: str = Field(
        default="http://127.0.0.1:8000",
        pattern=r"^https?://[^/\s]+",
        description="address of blueapi; where it asks for a token, that is in AGENT_SERVICE_BLUEAPI_TOKEN",
    )
    instrument_session: str = Field(
        min_length=1, description="session (visit) that each plan is measured in, for example cm12345-1"
    )
    token_file: Path | None = Field(
        default=None, description="file that holds the token, in place of the variable; read anew for each request"
    )

    @property
    def own_engine(self) -> bool:
        """Whether the service has a RunEngine of its own."""
        return False
