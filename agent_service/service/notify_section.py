"""``[notify]`` of a service.toml: whom the service tells when a person is wanted, and of what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from agent_service.models.addresses import split_address
from agent_service.service.source_sections import Section

Occasion = Literal["approval", "failed", "held", "done", "archive"]
"""``approval``: a suggestion waits for a person; ``failed``: an agent; ``held``: the queue, or a condition is not met;
``done``: an agent stopped by itself; ``archive``: the catalogue lags, or cannot be written."""


class NotifySection(Section):
    """``[notify]``: a webhook, e-mail, or both."""

    webhook: SecretStr | None = Field(
        default=None, description="URL that each notice is posted to, as JSON with a text: what chat services take"
    )
    smtp_host: str | None = Field(default=None, pattern=r"^[^/\s:]+$", description="server that takes e-mail")
    smtp_port: int = Field(default=25, ge=1, le=65535)
    smtp_security: Literal["none", "starttls", "tls"] = "none"
    smtp_user: str | None = None
    smtp_password: SecretStr | None = Field(
        default=None, description="better in AGENT_SERVICE_NOTIFY__SMTP_PASSWORD than in a file"
    )
    sender: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$", description="address that e-mail is from")
    to: list[str] = Field(default_factory=list[str], max_length=50, description="addresses that e-mail goes to")
    public_url: str | None = Field(
        default=None,
        description="address of the service's page for people, which each notice links to; it holds no key",
    )
    on: list[Occasion] = Field(
        default=["approval", "failed", "held", "done", "archive"], description="what a notice is sent of"
    )
    archive_behind: int = Field(default=20, ge=1, description="runs by which the catalogue lags when that is told")

    @field_validator("webhook")
    @classmethod
    def _is_address(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            split_address(given.get_secret_value(), example="https://chat.example.org/hooks/abc")
        return given

    @field_validator("public_url")
    @classmethod
    def _is_page(cls, given: str | None) -> str | None:
        if given is None:
            return None
        split_address(given, example="https://agents.example.org")
        if "?" in given or "#" in given or "@" in given:
            raise ValueError("must be an address alone, without a query, a fragment or a password")
        return given.rstrip("/")

    @field_validator("to")
    @classmethod
    def _are_addresses(cls, given: list[str]) -> list[str]:
        if wrong := [
            address for address in given if address.count("@") != 1 or any(letter.isspace() for letter in address)
        ]:
            raise ValueError(f"holds {wrong[0]!r}, which is no e-mail address")
        return given

    @model_validator(mode="after")
    def _whole(self) -> NotifySection:
        parts = {"smtp_host": self.smtp_host, "sender": self.sender, "to": self.to}
        missing = [name for name, part in parts.items() if not part]
        if 0 < len(missing) < len(parts):
            raise ValueError(f"e-mail needs smtp_host, sender and to; {' and '.join(missing)} is missing")
        if (self.smtp_user is None) is not (self.smtp_password is None):
            raise ValueError("smtp_user and smtp_password go together")
        return self
