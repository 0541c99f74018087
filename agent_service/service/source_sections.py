"""``[[sources]]`` of service.toml: a class for each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Section(BaseModel):
    """A section of service.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunEngineSourceSection(Section):
    """``[[sources]]`` of kind ``run_engine``."""

    kind: Literal["run_engine"] = Field(
        description="run_engine: the service's own RunEngine, or the one it was given in Python"
    )


class PostedSourceSection(Section):
    """``[[sources]]`` of kind ``posted``."""

    kind: Literal["posted"] = Field(description="posted: those who post documents over HTTP")


class ZmqSourceSection(Section):
    """``[[sources]]`` of kind ``zmq``."""

    kind: Literal["zmq"] = Field(description="zmq: a 0MQ proxy of Bluesky's, with documents as msgpack")
    address: str = Field(pattern=r"^(\w+://\S+|[^/\s]+:\d+)$", description="host:port of the proxy's out port")
    prefix: str = Field(
        default="", pattern=r"^[^ ]*$", description="that of the publishers to hear, exactly; default: all"
    )
    public_key: str = Field(
        default="", description="the proxy's public key, or the file with it, where it asks for CURVE"
    )
    secret_file: Path | None = Field(
        default=None,
        description="this service's own certificate (*.key_secret), where the proxy knows its clients; default: a new "
        "one each time",
    )


class TiledSourceSection(Section):
    """``[[sources]]`` of kind ``tiled``."""

    kind: Literal["tiled"] = Field(description="tiled: a catalogue of runs that somebody else writes; it is only read")
    uri: str = Field(pattern=r"^https?://[^/\s]+", description="address of the Tiled server")
    path: str = Field(default="", description="of the catalogue of runs within the server's tree")
    api_key_from: str = Field(
        default="TILED_API_KEY", description="environment variable that holds the key, which belongs in no file"
    )


class StompSourceSection(Section):
    """``[[sources]]`` of kind ``stomp``."""

    kind: Literal["stomp"] = Field(description="stomp: the STOMP broker of a blueapi")
    host: str = Field(default="127.0.0.1", pattern=r"^[^/\s]+$", description="of the broker")
    port: int = Field(default=61613, ge=1, le=65535, description="of the broker")
    destination: str = Field(default="/topic/public.worker.event", description="topic that blueapi sends to")
    username: str = Field(
        default="",
        description="as whom to connect; the password is in AGENT_SERVICE_STOMP_PASSWORD; default: as nobody",
    )


class KafkaSourceSection(Section):
    """``[[sources]]`` of kind ``kafka``."""

    kind: Literal["kafka"] = Field(description="kafka: topics that a beamline's documents are published to, as msgpack")
    topics: list[str] = Field(min_length=1, description="such as bl.bluesky.runengine.documents")
    servers: str = Field(
        default="",
        description="host:port,...; default: those of the site's file, which BLUESKY_KAFKA_CONFIG_PATH names, or "
        "/etc/bluesky/kafka.yml",
    )
    group: str = Field(
        default="", description="consumer group, of this service alone; default: one for its state directory"
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue],
        description="more of librdkafka's configuration, security.protocol and such",
    )


class NatsSourceSection(Section):
    """``[[sources]]`` of kind ``nats``."""

    kind: Literal["nats"] = Field(description="nats: a JetStream stream that documents are published to, as msgpack")
    servers: str = Field(min_length=1, description="nats://host:port, or several with commas")
    stream: str = Field(default="bluesky", description="name of the stream")
    subject: str = Field(default="events.>", description="its subjects to hear; the last word is a document's kind")
    durable: str = Field(
        default="", description="name of the consumer, of this service alone; default: one for its state directory"
    )
    credentials: str = Field(default="", description="file with credentials; default: none are needed")


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
