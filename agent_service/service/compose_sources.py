"""What makes the sources of documents that service.toml names: a function for each kind, in one table."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agent_service.archive import tiled_profiles
from agent_service.archive.tiled_profiles import TiledProfile
from agent_service.documents.gate import DocumentGate
from agent_service.documents.origin import Origin
from agent_service.documents.sources import presence
from agent_service.documents.sources.engine_process import EngineProcessSource
from agent_service.documents.sources.heard import HeardSource
from agent_service.documents.sources.kafka import KafkaSource
from agent_service.documents.sources.nats import NatsSource
from agent_service.documents.sources.nats_client import NatsClient
from agent_service.documents.sources.posted import PostedSource
from agent_service.documents.sources.run_engine import RunEngineSource
from agent_service.documents.sources.stomp import StompSource
from agent_service.documents.sources.tiled import TiledSource
from agent_service.documents.sources.tiled_catalogue import TiledCatalogue
from agent_service.documents.sources.zmq import ZmqSource
from agent_service.errors import FieldError, UsageError
from agent_service.models import SourceState
from agent_service.protocols import DocumentSource
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_service.service.config import ServiceConfig
    from agent_service.service.source_sections import (
        KafkaSourceSection,
        NatsSourceSection,
        StompSourceSection,
        TiledSourceSection,
        ZmqSourceSection,
    )

_ASKED: Final = ("zmq", "tiled", "stomp")
"""Kinds that may be asked beside a service: a broker of Kafka or NATS would count the one who asks as a consumer."""

_THERE_WITHIN_S: Final = 5.0
"""How long one that is asked may take."""


class SourceParts(NamedTuple):
    """What of the service sources are made with."""

    engine: Any  # the RunEngine that is its own or that it was given, or the source of one in a process, if any
    posted: PostedSource
    gate: DocumentGate
    folder: Path  # where sources remember what they heard
    needed_since: Callable[[], float | None] = lambda: None  # time (s) of the oldest document of a plan under way
    again: bool = False  # whether what a broker counts as heard is needed: others heard it, or nothing was kept


class SourceKind(NamedTuple):
    """A kind of source: what makes one of its section of service.toml, and where its documents come from."""

    make: Callable[[Any, SourceParts], DocumentSource | None]
    origin: Origin


def _run_engine(_: object, parts: SourceParts) -> DocumentSource | None:
    if isinstance(parts.engine, EngineProcessSource):
        return parts.engine
    return None if parts.engine is None else RunEngineSource(parts.engine)


def _posted(_: object, parts: SourceParts) -> PostedSource:
    return parts.posted


def _zmq(section: ZmqSourceSection, _: SourceParts) -> ZmqSource:
    return ZmqSource(
        section.address, prefix=section.prefix, public_key=section.public_key, secret_file=section.secret_file
    )


def _tiled(section: TiledSourceSection, parts: SourceParts) -> TiledSource:
    server = TiledProfile(section.uri) if section.uri is not None else tiled_profiles.read(section.profile)
    name = hashlib.sha256(f"{server.uri} {section.path}".encode()).hexdigest()[:12]
    key, cursor = os.environ.get(section.api_key_from), parts.folder / f"tiled-{name}.json"
    catalogue = partial(
        TiledCatalogue, server.uri, path=section.path, api_key=key, headers=server.headers, verify=server.verify
    )
    return TiledSource(catalogue, where=server.uri, has_ended=parts.gate.has_ended, cursor=cursor)


def _stomp(section: StompSourceSection, _: SourceParts) -> StompSource:
    return StompSource(section.host, section.port, destination=section.destination, username=section.username)


def _kafka(section: KafkaSourceSection, parts: SourceParts) -> KafkaSource:
    group = section.group or own_name(parts.folder)
    return KafkaSource(
        section.topics,
        servers=section.servers,
        group=group,
        options=section.options,
        needed_since=parts.needed_since,
        again=parts.again,
    )


def _nats(section: NatsSourceSection, parts: SourceParts) -> NatsSource:
    client = NatsClient(
        section.servers,
        credentials=section.credentials,
        tls_ca_file=section.tls_ca_file,
        tls_cert=section.tls_cert,
        tls_key=section.tls_key,
    )
    return NatsSource(
        client,
        stream=section.stream,
        subject=section.subject,
        durable=section.durable,
        own="" if section.durable else own_name(parts.folder),
        needed_since=parts.needed_since,
        again=parts.again,
    )


def own_name(folder: Path) -> str:
    """Return what a broker shall know this service by: no other service's, and its state directory's for good.

    A machine or a folder may be called another name after a restart, as in a container.
    """
    file = folder / "name"
    with contextlib.suppress(FileNotFoundError):
        return private_files.read(file)
    where = f"{socket.gethostname()} {folder.resolve()}"
    name = f"agent-service-{hashlib.sha256(where.encode()).hexdigest()[:12]}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    private_files.write(file, name)
    return name


SOURCES: Final[Mapping[str, SourceKind]] = {
    "run_engine": SourceKind(_run_engine, Origin.HERE),
    "posted": SourceKind(_posted, Origin.HERE),
    "zmq": SourceKind(_zmq, Origin.ELSEWHERE),
    "kafka": SourceKind(_kafka, Origin.ELSEWHERE),
    "nats": SourceKind(_nats, Origin.ELSEWHERE),
    "tiled": SourceKind(_tiled, Origin.CATALOGUE),
    "stomp": SourceKind(_stomp, Origin.ELSEWHERE),
}
"""Each kind of source, by its name in service.toml."""


def hears_elsewhere(config: ServiceConfig) -> bool:
    """Return whether a source hears another machine."""
    return any(SOURCES[section.kind].origin is not Origin.HERE for section in config.heard)


def unheard(config: ServiceConfig) -> list[FieldError]:
    """Return what is wrong where plans go to a facility and nobody said where its documents come from.

    What its plans measure would not be heard, and each suggestion cost time at the beamline for nothing.
    """
    said = config.sources is not None or "source" in config.model_fields_set
    if config.sink.kind not in ("queueserver", "blueapi") or (
        said and any(s.kind != "run_engine" for s in config.heard)
    ):
        return []
    example = "stomp" if config.sink.kind == "blueapi" else "zmq"
    why = (
        f"where do the documents of the {config.sink.kind} come from? Without them no outcome is known: write "
        f'[[sources]] with kind = "{example}", or another of docs/beamline.md; "posted" where somebody posts them'
    )
    return [FieldError("sources", why)]


def _may(suggestion_id: str, by: str) -> None:
    """Admit every run: nothing is posted to a source that is only made."""


class _Nobody:
    """An intake that keeps nothing."""

    def put(self, name: str, document: object, stored: object = None) -> None:
        """Leave a document to the service."""


def wrong_sources(config: ServiceConfig, *, ask: bool = False) -> list[FieldError]:
    """Return which sources cannot be made, and why; with ``ask``, which are not there, where asking leaves no trace."""
    wrong, made = unheard(config), dict[str, DocumentSource]()
    with tempfile.TemporaryDirectory() as folder:
        parts = SourceParts(None, PostedSource(_may), DocumentGate(), Path(folder))
        for number, section in enumerate(config.heard):
            try:
                source = SOURCES[section.kind].make(section, parts)
            except UsageError as error:
                field = "profile" if getattr(section, "profile", "") else ""
                wrong.append(FieldError(".".join(filter(None, ("sources", str(number), field))), error.detail))
                continue
            if ask and source is not None and section.kind in _ASKED:
                made[f"sources.{number}"] = source
        return wrong + _away(made)


def _away(sources: Mapping[str, DocumentSource]) -> list[FieldError]:
    """Return which do not get there; what they log meanwhile, as that they try again, is for a service."""
    logger = logging.getLogger(presence.__name__)
    level = logger.level
    logger.setLevel(logging.ERROR)
    for source in sources.values():
        source.start(_Nobody())
    deadline = time.monotonic() + _THERE_WITHIN_S
    away = dict(sources)
    while away and time.monotonic() < deadline:
        time.sleep(0.05)
        away = {field: source for field, source in away.items() if source.status.state is not SourceState.CONNECTED}
    wrong = [FieldError(field, f"{(s := source.status).where}: {s.reason}") for field, source in away.items()]
    for source in sources.values():
        source.stop()
    logger.setLevel(level)
    return wrong


def sources_of(config: ServiceConfig, parts: SourceParts) -> list[HeardSource]:
    """Return the sources that a configuration names; raises `UsageError` where one cannot be made."""
    if wrong := unheard(config):
        raise UsageError(f"{wrong[0].field}: {wrong[0].message}", errors=wrong)
    made = [(SOURCES[section.kind], section) for section in config.heard]
    sources = [(kind.make(section, parts), kind.origin) for kind, section in made]
    return [HeardSource(source, origin) for source, origin in sources if source is not None]
