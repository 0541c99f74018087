"""What makes an agent's brain, wherever it is to live: a callable that can be pickled for a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from agent_service import references
from agent_service.brains import types
from agent_service.brains.adapter import BrainAdapter, adapter_for
from agent_service.brains.allowed_modules import ANY, Listed
from agent_service.brains.evaluate import load_function
from agent_service.brains.libraries import libraries_of
from agent_service.models.own_names import for_brain

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.models import AgentSpec


@dataclass(frozen=True, slots=True)
class BrainFactory:
    """Makes an agent's brain, in its adapter. Called in the agent's executor; so is `check`.

    What the agent names by ``module:callable`` is imported where this is called. ``live_type`` and ``live_evaluate``
    are what its ``type`` and ``evaluate`` stand for where these are live objects, known in the service's process only;
    ``registration`` tells that type from others of its name (see `references.Registered`).
    """

    spec: AgentSpec
    listed: Listed = ANY
    live_type: Callable[..., object] | None = None
    live_evaluate: Callable[..., Any] | None = None
    registration: str | None = None

    @classmethod
    def of(cls, spec: AgentSpec, listed: Listed = ANY) -> Self:
        """Return the factory of an agent's brain.

        Raises `UnknownType` or `InvalidInput` when a live object that it names is not in this process, or a module that
        it names is not allowed.
        """
        listed.refuse_named(spec)
        live_type, registration = references.registered(spec.type) if references.is_live(spec.type) else (None, None)
        return cls(
            spec,
            listed,
            live_type=live_type,
            registration=registration,
            live_evaluate=load_function(spec.evaluate) if spec.evaluate and references.is_live(spec.evaluate) else None,
        )

    @property
    def has_live_objects(self) -> bool:
        """Whether it holds objects of this process, which may not pickle."""
        return self.live_type is not None or self.live_evaluate is not None

    def __call__(self) -> BrainAdapter:
        """Make the brain."""
        agent_type = self._type()
        brain = agent_type.build(for_brain(self.spec))
        return adapter_for(brain, spec=self.spec, evaluate=self._evaluate(), type_name=agent_type.called)

    def libraries(self) -> tuple[str, ...]:
        """Return the modules that take long to import and can be imported ahead of it. See `libraries_of`."""
        return () if self.live_type is not None else libraries_of(self.spec.type)

    def check(self) -> None:
        """Find out whether it can be called, without making the brain; raise what says which field is wrong and why."""
        self._type().validate(for_brain(self.spec))
        self._evaluate()

    def _type(self) -> types.AgentType:
        if self.live_type is not None:
            return types.AgentType(self.spec.type, self.live_type)
        return types.resolve(self.spec.type, self.listed)

    def _evaluate(self) -> Callable[..., Any] | None:
        if self.live_evaluate is not None or self.spec.evaluate is None:
            return self.live_evaluate
        return load_function(self.spec.evaluate, self.listed)
