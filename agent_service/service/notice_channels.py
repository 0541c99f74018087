"""The ways by which a notice leaves, a webhook and a mail server; and whether they would take one."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import httpx

from agent_service.errors import FieldError, texts
from agent_service.executors.detached import run_detached

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.service.notify_section import NotifySection

TAKES_S: Final = 10.0
"""How long a webhook or a mail server may take for a notice, in seconds."""

REFUSALS: Final = (OSError, TimeoutError, httpx.HTTPError, smtplib.SMTPException)
"""What is raised by a channel that does not take a notice."""

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_FINE: Final = 400


class Channel(Protocol):
    """A way by which notices leave; ``name`` says which without its secrets, ``field`` where it is configured."""

    name: str
    field: str

    async def send(self, text: str, body: dict[str, Any]) -> None:
        """Send a notice, or raise one of `REFUSALS`."""
        ...

    async def ask(self) -> None:
        """Find out whether it would take a notice, without sending one; or raise one of `REFUSALS`."""
        ...


def channels(section: NotifySection) -> list[Channel]:
    """Return the ways that a configuration names."""
    named: list[Channel] = []
    if section.webhook is not None:
        named.append(_Webhook(section.webhook.get_secret_value()))
    if section.smtp_host is not None:
        named.append(_MailServer(section))
    return named


def why(error: Exception) -> str:
    """Say what a channel did instead of taking a notice; the error's own text may hold the address and its password."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"it refused {', '.join(error.recipients)}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"it answered {error.smtp_code}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return type(error).__name__


async def untaken(section: NotifySection) -> list[FieldError]:
    """Return what would not take a notice now, and why."""
    wrong: list[FieldError] = []
    for channel in channels(section):
        try:
            async with asyncio.timeout(TAKES_S):
                await channel.ask()
        except REFUSALS as error:
            message = f"the {channel.name} takes no notices: {why(error)}; see that it is right, and reached from here"
            wrong.append(FieldError(f"notify.{channel.field}", message))
    return wrong


class _Webhook:
    field = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = f"webhook at {urlsplit(url).hostname}"

    async def send(self, text: str, body: dict[str, Any]) -> None:
        async with self._http() as http:
            (await http.post(self._url, json=body)).raise_for_status()

    async def ask(self) -> None:
        """Ask for nothing: many know POST alone, and say so; only that it answers is known then."""
        async with self._http() as http:
            answer = await http.head(self._url)
        if answer.is_server_error and answer.status_code != HTTPStatus.NOT_IMPLEMENTED:
            answer.raise_for_status()

    def _http(self) -> httpx.AsyncClient:
        trusts = urlsplit(self._url).hostname not in _LOOPBACK  # a laboratory's web proxy cannot reach this machine
        return httpx.AsyncClient(timeout=TAKES_S, trust_env=trusts)


class _MailServer:
    field = "smtp_host"

    def __init__(self, section: NotifySection) -> None:
        self._section = section
        self.name = f"mail server {section.smtp_host}"

    async def send(self, text: str, body: dict[str, Any]) -> None:
        message = EmailMessage()
        message["Subject"], message["From"] = texts.cut(text, most=150), self._section.sender
        message["To"] = ", ".join(self._section.to)
        message.set_content("\n\n".join(filter(None, [text, body["link"], f"at {body['time']}"])))
        await run_detached(lambda: self._with_server(lambda server: server.send_message(message)), name="mail")

    async def ask(self) -> None:
        """Log in, and name sender and recipients, and leave no message."""
        await run_detached(lambda: self._with_server(self._offer), name="mail")

    def _offer(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        answers = {"sender": server.mail(self._section.sender or "")}
        answers |= {address: server.rcpt(address) for address in self._section.to}
        server.rset()
        refused = {name: answer for name, answer in answers.items() if answer[0] >= _FINE}
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)

    def _with_server(self, use: Callable[[smtplib.SMTP], object]) -> None:
        section = self._section
        where = (section.smtp_host or "", section.smtp_port)
        trusted = ssl.create_default_context()  # smtplib's own believes any certificate
        with (
            smtplib.SMTP_SSL(*where, timeout=TAKES_S, context=trusted)
            if section.smtp_security == "tls"
            else smtplib.SMTP(*where, timeout=TAKES_S)
        ) as server:
            if section.smtp_security == "starttls":
                server.starttls(context=trusted)
            if section.smtp_user is not None and section.smtp_password is not None:
                server.login(section.smtp_user, section.smtp_password.get_secret_value())
            use(server)
