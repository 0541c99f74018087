"""``[executors.dask]``: the cluster for agents with ``executor = "dask"``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads annotations at run time
from typing import Final

from pydantic import ConfigDict, Field, field_validator, model_validator

from agent_service.models.strict_numbers import StrictNumbers

LOCAL: Final = "local"
"""The address of a cluster that the service starts for itself, on this machine."""

_FILES: Final = ("tls_ca_file", "tls_cert", "tls_key")


class DaskSection(StrictNumbers):
    """``[executors.dask]``.

    Examples
    --------
    >>> DaskSection(address="tcp://127.0.0.1:8786").lost_after_s
    30
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(
        description="address of the scheduler, for example tls://scheduler:8786; local: the service starts a cluster "
        "of two workers on this machine, to try it"
    )
    tls_ca_file: Path | None = Field(default=None, description="certificate that signs those of the cluster")
    tls_cert: Path | None = Field(default=None, description="this service's own certificate")
    tls_key: Path | None = Field(default=None, description="the key of that certificate")
    lost_after_s: float = Field(
        default=30,
        ge=1,
        le=3600,
        description="a worker that is silent for so long, in seconds, is given up, its agents begin again elsewhere",
    )

    @field_validator("address")
    @classmethod
    def _is_scheduler(cls, given: str) -> str:
        scheme, _, rest = given.partition("://")
        if given != LOCAL and (scheme not in ("tcp", "tls") or not rest.rpartition(":")[2].isdigit()):
            raise ValueError("must be tcp://host:port or tls://host:port of a scheduler, or local")
        return given

    @model_validator(mode="after")
    def _is_whole(self) -> DaskSection:
        missing = [name for name in _FILES if getattr(self, name) is None]
        if self.address.startswith("tls://") and missing:
            raise ValueError(f"an address with tls:// needs {', '.join(missing)}")
        if not self.address.startswith("tls://") and len(missing) < len(_FILES):
            raise ValueError("certificates are used with an address that begins with tls:// only")
        for name in () if missing else _FILES:
            if not (path := getattr(self, name)).is_file():
                raise ValueError(f"{name}: there is no file {path}")
        return self
