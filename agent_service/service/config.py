"""The service's configuration: flags > ``AGENT_SERVICE_*`` > service.toml > defaults. Reads files, touches no network.

An environment variable names its section and key: ``AGENT_SERVICE_SERVICE__PORT=8000``,
``AGENT_SERVICE_RUN_ENGINE__STARTUP=my_beamline.startup``. ``AGENT_SERVICE_CONFIG`` names the file for
``uvicorn --factory agent_service:create_app``, ``AGENT_SERVICE_API_KEY`` is the key.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, cast

from pydantic import (
    AliasChoices,
    Field,
    JsonValue,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent_service.archive import tiled_profiles
from agent_service.errors import UsageError
from agent_service.executors.dask.config import DaskSection  # noqa: TC001 - pydantic reads annotations at run time
from agent_service.models import AgentSpec, ConditionSpec, ServiceGuardrails
from agent_service.models.addresses import is_curve_key, split_address
from agent_service.models.spelling import near
from agent_service.models.validation_messages import validation_errors
from agent_service.plans.sinks.blueapi.config import BlueapiSection
from agent_service.plans.sinks.queue_server.config import QueueServerSection
from agent_service.service.file_mistakes import in_quotes, said_of_file
from agent_service.service.journal_section import JournalSection, refuse_standby
from agent_service.service.notify_section import NotifySection
from agent_service.service.source_sections import (
    AnySource,
    EpicsSection,
    PostedSourceSection,
    RunEngineSourceSection,
    Section,
    check_once,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_TLS: Final = ("tls_ca_file", "tls_cert", "tls_key")


class ServiceSection(Section):
    """``[service]``: its address, its state directory and its journal."""

    host: str = Field(
        default="127.0.0.1",
        pattern=r"^[^/\s]+$",
        description="address to listen on; 0.0.0.0: all addresses of this machine",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    root_path: str = Field(default="", description="path prefix that a reverse proxy strips, for example /proxy/8000")
    state: Path = Field(
        default=Path("agent-service.state"), description="state directory; never on a network file system"
    )
    require_state: bool = Field(
        default=False,
        description="true: the service starts only if its state directory holds a journal, for example one exported "
        "with it",
    )
    journal: Literal["sqlite"] = Field(default="sqlite", description="sqlite: a file in the state directory")
    durability: Literal["process", "power"] = Field(
        default="process",
        description="process: acknowledged facts survive kill -9; power: also a power cut (slower)",
    )
    keep_days: float = Field(
        default=90,
        gt=0,
        le=36_525,
        description="older facts of the journal, in days, are compacted into a snapshot",
    )
    keep_facts: int = Field(default=100_000, ge=1000, description="most facts in the journal; older ones are compacted")
    recover: Literal["resume", "paused"] = Field(
        default="resume",
        description="what live agents do after a restart, unless their own recover says; in a notebook the "
        "default is paused, for there nothing moves unasked",
    )
    catalog: str = Field(
        default="embedded",
        description="embedded, none, the URI of a Tiled server's catalogue of runs, or profile:NAME, a Tiled profile",
    )
    grace_s: float = Field(
        default=10,
        ge=0,
        le=3600,
        description="how long a stop may take, in seconds: calls and the plan under way have the first half to end; "
        "then the plan is aborted, and has the other half to clean up",
    )

    @field_validator("catalog")
    @classmethod
    def _is_catalogue(cls, given: str) -> str:
        if given not in ("embedded", "none") and not tiled_profiles.named(given):
            if not given.startswith(("http://", "https://")):
                hint = near(given, ("embedded", "none"))
                raise ValueError(
                    f"must be embedded, none, the address of a Tiled server, or profile:NAME; {hint}".rstrip("; ")
                )
            split_address(given, example="http://127.0.0.1:8000/api/v1")
        return given

    @field_validator("root_path")
    @classmethod
    def _is_prefix(cls, given: str) -> str:
        if given and not given.startswith("/"):
            raise ValueError("must begin with a slash, as /proxy/8000")
        return given


class RunEngineSection(Section):
    """``[run_engine]``: the service's own RunEngine."""

    startup: str | list[str] | None = Field(
        default=None,
        description="makes devices and plans: a module, a script (.py), a folder of scripts, which run in order and in "
        "one namespace as an IPython profile's, or a list of these; default: the simulated beamline",
    )
    configure: str | None = Field(
        default=None,
        description="module:function, called with the service's RunEngine when it is made: suspenders, baseline, "
        "preprocessors, RE.md, subscriptions; default: configure_run_engine of the startup, if it has one",
    )
    process: Literal["auto"] | bool = Field(
        default="auto",
        description="true: in a process of its own, which outlives a killed service; false: in a thread of the "
        "service; auto: true if the service has its process to itself, as with agent-service serve, false in a "
        "notebook",
    )
    waits_s: float = Field(
        default=86400,
        gt=0,
        le=31_536_000,
        description="how long that process keeps measurements for the next service after the service was killed, "
        "in seconds",
    )
    cpu_affinity: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=list[int],
        description="processors that this process, and what it starts, may use, as [1]; default: all. One alone makes "
        "runs of a few milliseconds faster, and leaves the devices' own threads no other",
    )
    seed: int = Field(default=0, ge=0, description="seed of the simulated beamline")
    md: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue], description="metadata for every start document"
    )

    @model_validator(mode="after")
    def _has_a_process(self) -> Self:
        if self.cpu_affinity and self.process is False:
            raise ValueError(
                "cpu_affinity is for a RunEngine in a process of its own; leave it out, or process = false"
            )
        return self

    @field_validator("startup")
    @classmethod
    def _is_named(cls, given: str | list[str] | None) -> str | list[str] | None:
        parts = given if isinstance(given, list) else [given]
        if not parts or any(part is not None and not part.strip() for part in parts):
            raise ValueError("must name a module, a script or a folder, or be left out")
        return given

    @field_validator("configure")
    @classmethod
    def _is_function(cls, given: str | None) -> str | None:
        if given is not None and not re.fullmatch(r"[\w.]+:[\w.]+", given):
            raise ValueError("must be module:function, as my_beamline.startup:configure")
        return given

    @field_validator("md")
    @classmethod
    def _is_free(cls, given: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in ("uid", "time", "agent_suggestion_uid"):
            if key in given:
                raise ValueError(f"{key} is of each run its own, and cannot be the same in all")
        return given


class SourceSection(Section):
    """``[source]``, used before ``[[sources]]``: where documents come from, besides those posted."""

    kind: Literal["run_engine", "none"] = Field(
        default="run_engine",
        description="run_engine: same as [[sources]] of kinds run_engine and posted; none: posted alone",
    )


class SinkSection(Section):
    """``[sink]``: where plans go."""

    kind: Literal["run_engine", "claim"] = Field(
        default="run_engine",
        description="run_engine: the service's own RunEngine; claim: whoever claims over HTTP, as run_agent does",
    )

    @property
    def own_engine(self) -> bool:
        """Whether the service has its own RunEngine, with the startup's devices and plans."""
        return self.kind == "run_engine"


AnySink = Annotated[SinkSection | QueueServerSection | BlueapiSection, Field(discriminator="kind")]


class ExecutorsSection(Section):
    """``[executors]``: where brains may live, besides threads and processes of the service."""

    dask: DaskSection | None = Field(default=None, description='for agents with executor = "dask"')


class SecuritySection(Section):
    """``[security]``: who may use it, besides those who have a key."""

    allowed_hosts: list[str] = Field(
        default_factory=list[str],
        description="its host names, for example behind a proxy, besides localhost, this machine's name and any "
        "address; *.example.org for all below one, * for any",
    )
    cors_origins: list[str] = Field(
        default_factory=list[str],
        description="origins of other web pages that may use it, for example https://portal.example.org",
    )
    modules: list[str] | None = Field(
        default=None,
        description="modules from which an agent's type, evaluate and plan may be imported, with their submodules; "
        "default: any",
    )
    metrics: Literal["read", "open"] = Field(
        default="read", description="read: /metrics needs a key with that scope; open: it needs none"
    )
    variables: Literal["key", "loopback"] = Field(
        default="key",
        description="what the routes of bluesky-adaptive 0.x, /api/variable/NAME, need. key: a key with the scope "
        "read or control; loopback: nothing from programs of this machine",
    )


class ServiceConfig(BaseSettings):
    """Everything that a service needs before it starts.

    Examples
    --------
    >>> ServiceConfig(service={"catalog": "none", "port": 0}).service.port
    0
    """

    model_config = SettingsConfigDict(
        env_prefix="AGENT_SERVICE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    service: ServiceSection = ServiceSection()
    journal: JournalSection = JournalSection()
    run_engine: RunEngineSection = RunEngineSection()
    source: SourceSection = SourceSection()
    sources: list[AnySource] | None = Field(
        default=None, description="where documents come from, in place of [source]; default: run_engine and posted"
    )
    sink: AnySink = SinkSection()
    executors: ExecutorsSection = ExecutorsSection()
    security: SecuritySection = SecuritySection()
    epics: EpicsSection = EpicsSection()
    notify: NotifySection = NotifySection()
    guardrails: ServiceGuardrails = Field(
        default=ServiceGuardrails(),
        description="limits of each agent besides its own; nobody can change them over HTTP",
    )
    conditions: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")], ConditionSpec] = Field(
        default_factory=dict[str, ConditionSpec],
        description="conditions for a measurement, by name: a rule of signals of the startup, as "
        '"ring_current > 100", or a table with one',
    )
    agents: list[AgentSpec] = Field(default_factory=list[AgentSpec])
    import_from: list[Path] = Field(
        default_factory=list[Path],
        description="folders searched first for modules named in this configuration; default: the folder of the file",
    )
    api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("api_key", "AGENT_SERVICE_API_KEY"), description="never in a file"
    )

    _files: tuple[Path, ...] = PrivateAttr(default=())
    _state_in_file: Path | None = PrivateAttr(default=None)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that were served: a service.toml, notebooks, scripts; none if it was made otherwise."""
        return self._files

    @property
    def state_in_file(self) -> Path | None:
        """The state directory that the service.toml names, or has by default."""
        return self._state_in_file

    def of_files(self, files: Iterable[Path], *, state: Path | None = None) -> ServiceConfig:
        """Return a copy with the files that it is served from, and the state directory that these name."""
        copied = self.model_copy()
        copied._files, copied._state_in_file = tuple(files), state  # noqa: SLF001 - of this class
        return copied

    @field_validator("api_key", mode="before")
    @classmethod
    def _empty_is_none(cls, given: object) -> object:
        """Treat an empty variable as none, and strip spaces from a key, which no header can hold."""
        return (given.strip() or None) if isinstance(given, str) else given

    @field_validator("source", "sources", mode="before")
    @classmethod
    def _each_of_its_own(cls, given: object, info: ValidationInfo) -> object:
        """Refuse one table for the list; ``[source]``, of 0.1.0, has no kinds but its own."""
        kinds = ("posted", "zmq", "kafka", "nats", "tiled", "stomp")
        table = cast("dict[str, Any]", given) if isinstance(given, dict) else None
        if table is not None and (info.field_name == "sources" or table.get("kind") in kinds):
            raise ValueError("must be written [[sources]], in double brackets, once for each")
        return cast("object", given)

    @field_validator("sink", mode="before")
    @classmethod
    def _kind_of_sink(cls, given: object) -> object:
        """Use the service's own RunEngine if no kind is given."""
        return {"kind": "run_engine", **cast("dict[str, Any]", given)} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _heard(self) -> ServiceConfig:
        if self.sources is not None and "source" in self.model_fields_set:
            raise ValueError("[source] and [[sources]] say the same; leave [source] out")
        check_once(self.sources or ())
        if self.journal.standby:
            refuse_standby(own_engine=self.sink.own_engine, catalog=self.service.catalog)
        if self.sink.own_engine and not self.hears("run_engine"):
            key = 'source.kind = "none"' if self.sources is None else 'sources without kind = "run_engine"'
            msg = f'{key} would leave the runs of sink.kind = "run_engine" unheard; take sink "claim"'
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _housed(self) -> ServiceConfig:
        if self.executors.dask is None and (on_dask := [spec.name for spec in self.agents if spec.executor == "dask"]):
            raise ValueError(f'agent {on_dask[0]} has executor = "dask"; add [executors.dask] with an address')
        return self

    def hears(self, kind: str) -> bool:
        """Return whether documents come from sources of a kind."""
        return any(source.kind == kind for source in self.heard)

    @property
    def heard(self) -> list[AnySource]:
        """The sources, from either section."""
        if self.sources is not None:
            return self.sources
        posted = PostedSourceSection(kind="posted")
        return [RunEngineSourceSection(kind="run_engine"), posted] if self.source.kind == "run_engine" else [posted]

    @classmethod
    def file_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of a service.toml: all but the key, which does not belong in a file."""
        schema = cls.model_json_schema()
        del schema["properties"]["api_key"]
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "service.toml"}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments first, then the environment; `load` puts the file underneath."""
        return (init_settings, env_settings)


def load(path: str | Path | None = None, *, flags: dict[str, Any] | None = None) -> ServiceConfig:
    """Read a configuration.

    Parameters
    ----------
    path
        A service.toml, or None for the defaults. Its state directory defaults to ``NAME.state`` beside the file, and
        relative paths in it are relative to the file.
    flags
        Values of ``[service]`` that override everything, for example ``{"port": 0}``; None values are ignored.

    Raises
    ------
    UsageError
        When the file cannot be read, is not TOML, or has a wrong key or value; says which.
    """
    data = {} if path is None else _read(Path(path))
    where = "the configuration" if path is None else str(path)
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    try:
        env = ServiceConfig().model_dump(exclude_unset=True)
        merged = _merge(_merge(data, env), {"service": given} if given else {})
        config = ServiceConfig.model_validate(merged)
    except ValidationError as error:
        wrong = validation_errors(error, ServiceConfig)
        raise UsageError(f"{where} is not valid: {said_of_file(wrong, data.get('agents'))}", errors=wrong) from None
    if quoted := list(in_quotes(data, config)):
        raise UsageError(f"{where} is not valid: {said_of_file(quoted, data.get('agents'))}", errors=quoted)
    return config if path is None else config.of_files([Path(path).absolute()], state=data["service"]["state"])


def config_from_environment() -> ServiceConfig:
    """Read the file that ``AGENT_SERVICE_CONFIG`` names, or the defaults when it names none."""
    return load(os.environ.get("AGENT_SERVICE_CONFIG") or None)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; give the path of a service.toml") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; give the path of a service.toml") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8, so it is no TOML") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    if "api_key" in data:
        raise UsageError(f"{path} holds api_key; a key does not belong in a file: set AGENT_SERVICE_API_KEY")
    _place(data, path.resolve())
    return data


def _place(data: dict[str, Any], path: Path) -> None:
    """Make the paths in a file relative to it; a wrong type is refused later."""
    folders = data.setdefault("import_from", ["."])
    if isinstance(folders, list):
        data["import_from"] = [
            path.parent / folder if isinstance(folder, str) else folder for folder in cast("list[Any]", folders)
        ]
    service = data.setdefault("service", {})
    if isinstance(service, dict):
        section = cast("dict[str, Any]", service)
        state = section.get("state", f"{path.stem}.state")
        section["state"] = path.parent / state if isinstance(state, str) else state
    sources = data.get("sources")
    executors = data.get("executors")
    dask = cast("dict[str, Any]", executors).get("dask") if isinstance(executors, dict) else None
    for source in cast("list[Any]", sources) if isinstance(sources, list) else ():
        _place_keys(source, path.parent, "public_key", "secret_file", "credentials", *_TLS)
    _place_keys(data.get("sink"), path.parent, "token_file")
    _place_keys(dask, path.parent, *_TLS)
    engine = data.get("run_engine")
    if isinstance(engine, dict):
        section = cast("dict[str, Any]", engine)
        startup = section.get("startup")
        if isinstance(startup, list):
            section["startup"] = [_placed(part, path.parent) for part in cast("list[Any]", startup)]
        elif startup is not None:
            section["startup"] = _placed(startup, path.parent)


def _place_keys(source: Any, folder: Path, *keys: str) -> None:
    """Make the key files of a source, a sink or a cluster relative to a folder."""
    if not isinstance(source, dict):
        return
    section = cast("dict[str, Any]", source)
    for key in keys:
        given = section.get(key)
        if isinstance(given, str) and given and not (key == "public_key" and is_curve_key(given)):
            section[key] = str(folder / Path(given).expanduser())


def _placed(startup: Any, folder: Path) -> Any:
    """Return a startup; a path in it is made absolute, a module's name stays."""
    if not isinstance(startup, str) or not startup.strip():
        return startup
    inner = folder / Path(startup).expanduser()
    is_path = startup.endswith(".py") or "/" in startup or (inner.is_dir() and not (inner / "__init__.py").exists())
    return str(inner) if is_path else startup


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge(cast("dict[str, Any]", old), cast("dict[str, Any]", value))
        else:
            merged[key] = value
    return merged
