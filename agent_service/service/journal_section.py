"""``[journal]``: where facts are kept, if not in the state directory; and who stands by."""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field, SecretStr, field_validator, model_validator

from agent_service.service.source_sections import Section

_URL: Final = re.compile(r"postgresql(\+psycopg)?://[^/]*/[^/?]+(\?.*)?")


class JournalSection(Section):
    """``[journal]``: a database in the place of the file in the state directory."""

    url: SecretStr | None = Field(
        default=None,
        description="a PostgreSQL database, as postgresql+psycopg://agents@db.example.org/beamline7; its password is "
        "in PGPASSWORD or ~/.pgpass; default: SQLite, in the state directory",
    )
    standby: bool = Field(
        default=False,
        description="true: wait while another service writes this journal, and take over when that one ends or says "
        "nothing for lease_s",
    )
    lease_s: float = Field(
        default=3, ge=1, le=60, description="how long a service that says nothing still leads, in seconds"
    )

    @field_validator("url")
    @classmethod
    def _is_postgresql(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None and not _URL.fullmatch(given.get_secret_value()):
            raise ValueError("must look like postgresql+psycopg://USER@HOST/DATABASE")
        return given

    @model_validator(mode="after")
    def _stands_by_a_database(self) -> JournalSection:
        if self.standby and self.url is None:
            raise ValueError("standby = true needs a url: nobody can take over a file in a state directory")
        return self


def refuse_standby(*, own_engine: bool, catalog: str) -> None:
    """Raise ValueError for what only this machine has, where another is to take over."""
    if own_engine:
        raise ValueError(
            "[journal] standby = true does not go with the service's own RunEngine: its devices are connected to this "
            'machine, and another cannot go on with them; take [sink] kind = "queueserver", "blueapi" or "claim"'
        )
    if catalog == "embedded":
        raise ValueError(
            '[journal] standby = true does not go with catalog = "embedded": that catalogue is on the disk of this '
            'machine; take catalog = "none", or the address of a Tiled server'
        )
