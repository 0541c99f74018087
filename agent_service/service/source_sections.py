"""``[[sources]]`` of service.toml: a class for each kind."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, field_validator, model_validator

from agent_service.models.addresses import MachineName, ProxyAddress, WebAddress, is_curve_key, split_address
from agent_service.models.strict_numbers import StrictNumbers

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

_TOPIC: Final = re.compile(r"\^.+|[A-Za-z0-9._-]{1,249}")
_KAFKA_SERVER: Final = re.compile(r"((?:PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)://)?", re.IGNORECASE)
_OURS: Final = {
    "group.id": "write group",
    "bootstrap.servers": "write servers",
    "enable.auto.commit": "an offset is committed when its document is on disk",
    "enable.auto.offset.store": "an offset is committed when its document is on disk",
    "auto.offset.reset": "the first start begins with what is published from then on",
}
"""Of librdkafka's options those that cannot be given, and what there is in their place."""


def _named(text: str) -> str:
    """Refuse what no stream or consumer of NATS may be called."""
    if re.search(r"[\s.*>/\\]", text):
        raise ValueError("must be a name without spaces, dots, '*', '>' and slashes")
    return text


def _not_blank(text: str) -> str:
    if text and not text.strip():
        raise ValueError("must be a name, or be left out")
    return text


def _check_key(path: str | Path, holds: str, message: str) -> None:
    """Raise `ValueError` with a message unless there is a file that holds a word."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError) as error:
        raise ValueError(f"{message}; {path}: {getattr(error, 'strerror', None) or 'is no path'}") from None
    if holds not in text:
        raise ValueError(f"{message}; there is none in {path}")


class Section(StrictNumbers):
    """A section of service.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunEngineSourceSection(Section):
    """``[[sources]]`` of kind ``run_engine``."""

    kind: Literal["run_engine"] = Field(
        description="run_engine: the service's own RunEngine, or the one given in Python"
    )

    @property
    def hears(self) -> Hashable:
        """What it hears: two sources that hear the same are one too many."""
        return self.kind


class PostedSourceSection(Section):
    """``[[sources]]`` of kind ``posted``."""

    kind: Literal["posted"] = Field(description="posted: documents posted over HTTP")

    @property
    def hears(self) -> Hashable:
        """See `RunEngineSourceSection.hears`."""
        return self.kind


class ZmqSourceSection(Section):
    """``[[sources]]`` of kind ``zmq``."""

    kind: Literal["zmq"] = Field(description="zmq: Bluesky's 0MQ proxy, with documents as msgpack")
    address: ProxyAddress = Field(description="host:port of the proxy's out port")
    prefix: str = Field(
        default="", pattern=r"^[^ ]*$", description="the exact prefix of the wanted publishers; default: all"
    )
    public_key: str = Field(default="", description="the proxy's public key, or the file with it, if it needs CURVE")
    secret_file: Path | None = Field(
        default=None,
        description="this service's own certificate (*.key_secret), if the proxy knows its clients; default: a new one "
        "each time",
    )

    @field_validator("public_key")
    @classmethod
    def _is_key(cls, given: str) -> str:
        if given and not is_curve_key(given):
            _check_key(
                given, "public-key", "must be the 40 letters of a public key of CURVE, or the file with it (*.key)"
            )
        return given

    @field_validator("secret_file")
    @classmethod
    def _is_secret(cls, given: Path | None) -> Path | None:
        if given is not None:
            _check_key(given, "secret-key", "must be the file with this service's secret key (*.key_secret)")
        return given

    @property
    def hears(self) -> Hashable:
        """See `RunEngineSourceSection.hears`."""
        return self.kind, self.address.removeprefix("tcp://"), self.prefix


class TiledSourceSection(Section):
    """``[[sources]]`` of kind ``tiled``."""

    kind: Literal["tiled"] = Field(
        description="tiled: a catalogue of runs that others write; the service only reads it"
    )
    uri: WebAddress | None = Field(default=None, description="address of the Tiled server")
    profile: Annotated[str, AfterValidator(_not_blank)] = Field(
        default="", description="in place of uri: a Tiled profile of the site or the user (tiled profile list)"
    )
    path: str = Field(
        default="", description="path of the catalogue of runs in the server's tree, or below the profile's"
    )
    api_key_from: str = Field(
        default="TILED_API_KEY", description="environment variable with the key, which belongs in no file"
    )

    @field_validator("path")
    @classmethod
    def _is_path(cls, given: str) -> str:
        if re.search(r"[?#\s]", given) or ".." in given.split("/"):
            raise ValueError("must be the way to a catalogue in the server's tree, as beamline/raw")
        return given

    @field_validator("api_key_from")
    @classmethod
    def _is_variable(cls, given: str) -> str:
        if not re.fullmatch(r"[A-Za-z_]\w*", given):
            raise ValueError("must be the name of an environment variable, as TILED_API_KEY; the key is its value")
        return given

    @model_validator(mode="after")
    def _somewhere(self) -> TiledSourceSection:
        if (self.uri is None) == (not self.profile):
            raise ValueError(
                "give one of uri, the address of the Tiled server, and profile, the name of a Tiled profile"
            )
        return self

    @property
    def hears(self) -> Hashable:
        """See `RunEngineSourceSection.hears`."""
        where = None if self.uri is None else self.uri.rstrip("/").removesuffix("/api/v1")
        return self.kind, where, self.profile, self.path.strip("/")


class StompSourceSection(Section):
    """``[[sources]]`` of kind ``stomp``."""

    kind: Literal["stomp"] = Field(description="stomp: the STOMP broker of a blueapi")
    host: MachineName = Field(default="127.0.0.1", description="of the broker")
    port: int = Field(default=61613, ge=1, le=65535, description="of the broker")
    destination: str = Field(
        default="/topic/public.worker.event", pattern=r"^\S+$", description="topic that blueapi sends to"
    )
    username: str = Field(
        default="",
        description="user name; the password is in AGENT_SERVICE_STOMP_PASSWORD; default: none",
    )

    @property
    def hears(self) -> Hashable:
        """See `RunEngineSourceSection.hears`."""
        return self.kind, self.host, self.port, self.destination


class KafkaSourceSection(Section):
    """``[[sources]]`` of kind ``kafka``."""

    kind: Literal["kafka"] = Field(description="kafka: topics with a beamline's documents, as msgpack")
    topics: list[str] = Field(min_length=1, description="for example bl.bluesky.runengine.documents")
    servers: str = Field(
        default="",
        description="host:port,...; default: those of the site's file, which BLUESKY_KAFKA_CONFIG_PATH names, or "
        "/etc/bluesky/kafka.yml",
    )
    group: Annotated[str, AfterValidator(_not_blank)] = Field(
        default="", description="consumer group, only for this service; default: one for its state directory"
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue],
        description="more options of librdkafka, for example security.protocol",
    )

    @field_validator("topics")
    @classmethod
    def _are_topics(cls, given: list[str]) -> list[str]:
        for topic in given:
            if not _TOPIC.fullmatch(topic):
                raise ValueError(f"{topic!r} is no topic: letters, digits, '.', '_' and '-', or a pattern from ^ on")
        if len(set(given)) < len(given):
            raise ValueError("must name each topic once")
        return given

    @field_validator("servers")
    @classmethod
    def _are_servers(cls, given: str) -> str:
        for server in given.split(",") if given else ():
            machine = _KAFKA_SERVER.sub("", server.strip(), count=1)
            if "://" in machine:
                raise ValueError("must be host:port, or several with commas, without a scheme")
            split_address(f"kafka://{machine}", example="kafka1:9092,kafka2:9092")
        return given

    @field_validator("options")
    @classmethod
    def _are_options(cls, given: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key, value in given.items():
            if key in _OURS:
                raise ValueError(f"{key} cannot be given here: {_OURS[key]}")
            if not isinstance(value, str | int | float):
                raise ValueError(f"{key} must be a text, a number, true or false")  # noqa: TRY004 - as pydantic has it
        return given

    @property
    def hears(self) -> Hashable:
        """See `RunEngineSourceSection.hears`."""
        return self.kind, self.servers, self.group, tuple(sorted(self.topics))


class NatsSourceSection(Section):
    """``[[sources]]`` of kind ``nats``."""

    kind: Literal["nats"] = Field(description="nats: a JetStream stream with documents as msgpack")
    servers: str = Field(min_length=1, description="nats://host:port, or several with commas")
    stream: Annotated[str, AfterValidator(_named)] = Field(
        default="bluesky", min_length=1, description="name of the stream"
    )
    subject: str = Field(default="events.>", description="the wanted subjects; the last word is a document's kind")
    durable: Annotated[str, AfterValidator(_named)] = Field(
        default="", description="name of the consumer, only for this service; default: one for its state directory"
    )
    credentials: str = Field(default="", description="file with credentials; default: none")
    tls_ca_file: Path | None = Field(
        default=None, description="certificate that signs those of the servers; default: what the machine trusts"
    )
    tls_cert: Path | None = Field(default=None, description="this service's own certificate, if the servers want one")
    tls_key: Path | None = Field(default=None, description="the key of that certificate, if it is in another file")

    @field_validator("servers")
    @classmethod
    def _are_servers(cls, given: str) -> str:
        for server in given.split(","):
            scheme, _, machine = server.strip().rpartition("://")
            if scheme not in ("", "nats", "tls", "ws", "wss"):
                raise ValueError("must begin with nats:// or tls://, as nats://127.0.0.1:4222")
            split_address(f"nats://{machine}", example="nats://127.0.0.1:4222")
        return given

    @field_validator("subject")
    @classmethod
    def _is_subject(cls, given: str) -> str:
        words = given.split(".")
        odd = [word for word in words if not word or re.search(r"\s|.[*>]|[*>].", word)]
        if odd or ">" in words[:-1]:
            raise ValueError("must be words with dots between them, '*' for any word and '>' for all from there on")
        return given

    @field_validator("credentials")
    @classmethod
    def _are_credentials(cls, given: str) -> str:
        if given:
            _check_key(given, "", "must be a file with credentials")
        return given

    @field_validator("tls_ca_file", "tls_cert", "tls_key")
    @classmethod
    def _are_pem(cls, given: Path | None) -> Path | None:
        if given is not None:
            _check_key(given, "-----BEGIN", "must be a file with a certificate or key (PEM)")
        return given

    @property
    def hears(self) -> Hashable:
        """See `RunEngineSourceSection.hears`: a stream knows a consumer by its name, whatever it hears."""
        return self.kind, self.servers, self.stream, self.durable


AnySource = Annotated[
    RunEngineSourceSection
    | PostedSourceSection
    | ZmqSourceSection
    | KafkaSourceSection
    | NatsSourceSection
    | TiledSourceSection
    | StompSourceSection,
    Field(discriminator="kind"),
]
"""One of them, by its ``kind``."""


def check_once(sources: Sequence[AnySource]) -> None:
    """Raise `ValueError` where two sources hear the same."""
    for (i, section), (j, other) in combinations(enumerate(sources), 2):
        if section.hears == other.hears:
            but = ", or give it a durable of its own" if section.kind == "nats" else ""
            raise ValueError(
                f"sources.{j}: of kind {section.kind}, is named once; leave it out, as sources.{i} hears that{but}"
            )


class EpicsSection(Section):
    """``[epics]``: the variables of a start-up script of bluesky-adaptive 0.x as PVs."""

    prefix: str | None = Field(default=None, min_length=1, description="prefix of the names of the PVs; null: no PVs")
    interfaces: list[str] = Field(
        default=["127.0.0.1"],
        min_length=1,
        description="addresses that serve them; anybody there can set them",
    )
