"""What a service runs its agents under: startup, sink, guardrails. One that has others does not run them on unasked."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from agent_service.agents import guardrail_checks
from agent_service.models import ServiceGuardrails, by_hand
from agent_service.state_dir import last_served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_service.service.config import ServiceConfig
    from agent_service.state_dir import StateDir

_ADDRESS = ("url", "control")
"""Keys of ``[sink]`` that say which facility it is."""

_log = logging.getLogger(__name__)


class StartupPart(BaseModel):
    """One part of a startup: where it is, and what its code was, so that one that was moved is known again."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str | None = None


class ServedWith(BaseModel):
    """What agents run under; ``guardrails`` are those of the service, with the own names of devices.

    ``conditions`` has a digest of each, by its name. What an earlier version did not write is not compared.
    """

    model_config = ConfigDict(frozen=True)

    startup: tuple[StartupPart, ...] = ()
    configure: str | None = None
    sink: dict[str, str]
    guardrails: ServiceGuardrails
    conditions: dict[str, str] | None = None

    @classmethod
    def of(cls, config: ServiceConfig, guardrails: ServiceGuardrails) -> Self:
        """Return what a configuration says; reads the files of its startup, to know them again."""
        own = config.sink.own_engine
        address = {key: str(value) for key in _ADDRESS if (value := getattr(config.sink, key, None)) is not None}
        return cls(
            startup=startup_parts(config) if own else (),
            configure=config.run_engine.configure if own else None,
            sink={"kind": config.sink.kind, **address},
            guardrails=guardrails,
            conditions={name: _digest(spec.model_dump_json().encode()) for name, spec in config.conditions.items()},
        )

    def differences(self, before: ServedWith) -> list[str]:
        """Return in what this is another, or allows more, than what was ``before``, each in a few words."""
        differences: list[str] = []
        if self.sink != before.sink:
            differences.append(f"plans went to {_shown(before.sink)} and go to {_shown(self.sink)} now")
        elif not _same(self.startup, before.startup):
            differences.append(f"the startup was {_named(before.startup)} and is {_named(self.startup)} now")
        if "configure" in before.model_fields_set and self.configure != before.configure:
            was, now = (configure or "what the startup has" for configure in (before.configure, self.configure))
            differences.append(f"[run_engine] configure was {was} and is {now} now")
        now_here = self.conditions or {}
        gone = [name for name in before.conditions or {} if name not in now_here]
        other = [name for name, digest in (before.conditions or {}).items() if now_here.get(name, digest) != digest]
        differences += [f"[conditions] {', '.join(gone)} held agents before, and nothing does now"] if gone else []
        differences += [f"[conditions] {', '.join(other)} had another rule or other times"] if other else []
        loose = guardrail_checks.loosened(before.guardrails, self.guardrails)
        if by_hand(self.guardrails.approval) < by_hand(before.guardrails.approval):
            loose.append("approval")
        if loose:
            differences.append(f"[guardrails] {', '.join(loose)} forbade more than now")
        return differences


def edited(state: StateDir, now: ServedWith) -> str | None:
    """Return which parts of the startup hold other code than when the directory was served last; None: none does."""
    try:
        before = ServedWith.model_validate(last_served.recall_or_nothing(state))
    except ValidationError:  # nobody knows
        return None
    parts = [part for part, earlier in zip(now.startup, before.startup, strict=False) if _edited(part, earlier)]
    return _named(parts) if parts else None


def differences(state: StateDir, now: ServedWith) -> list[str]:
    """Return in what a service is another than the one that served a directory last; nothing where none is known."""
    try:
        before = last_served.recall(state)
        return [] if before is None else now.differences(ServedWith.model_validate(before))
    except (ValueError, ValidationError):
        return [f"nobody can say under what they ran, for {state.served_file} cannot be read"]


def said(agents: Sequence[str], differs: Sequence[str], command: str) -> str:
    """Return the line that says why agents came back paused, and how to go on."""
    return (
        f"{', '.join(agents)} come back paused, for this is not what ran before: {'; '.join(differs)}. To go on as "
        f"before, end this service and run `{command}`; to go on under what holds now, resume them"
    )


def remember(state: StateDir, config: ServiceConfig, now: ServedWith) -> None:
    """Write what agents run under from now on; where that fails, what stands there stays, and is compared with."""
    try:
        last_served.remember(
            state,
            now.model_dump(mode="json", exclude_unset=True),
            files=config.files,
            state_named=config.service.state != config.state_in_file,
        )
    except OSError as error:
        _log.warning("%s cannot be written: %s", state.served_file, error.strerror)


def _same(startup: Sequence[StartupPart], before: Sequence[StartupPart]) -> bool:
    return len(startup) == len(before) and all(
        part.name == earlier.name or (part.digest is not None and part.digest == earlier.digest)
        for part, earlier in zip(startup, before, strict=True)
    )


def _edited(part: StartupPart, before: StartupPart) -> bool:
    return part.name == before.name and None not in (part.digest, before.digest) and part.digest != before.digest


def startup_parts(config: ServiceConfig) -> tuple[StartupPart, ...]:
    """Return the parts of the startup of a configuration, with what is in them by now."""
    written = config.run_engine.startup
    parts = [written] if isinstance(written, str) else written or []
    return tuple(_part(part, config.import_from) for part in parts)


def _digest(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()


def _part(written: str, folders: Sequence[Path]) -> StartupPart:
    """Return a part of a startup by the file or folder that it is, a module that nobody finds here by its name."""
    module = written.replace(".", "/")
    inside = [folder / name for folder in folders for name in (f"{module}.py", module)]
    for path in (Path(written), *inside):
        try:
            files = sorted(path.glob("**/*.py")) if path.is_dir() else [path] if path.is_file() else []
            if files:
                code = b"\0".join(file.read_bytes() for file in files)
                return StartupPart(name=str(path.resolve()), digest=_digest(code))
        except OSError:
            continue
    return StartupPart(name=written)


def _named(startup: Sequence[StartupPart]) -> str:
    return ", ".join(part.name for part in startup) or "the simulated beamline"


def _shown(sink: dict[str, str]) -> str:
    kind, *where = sink.values()
    return " at ".join(
        [{"run_engine": "the service's own RunEngine", "claim": "whoever claims them"}.get(kind, kind), *where]
    )
