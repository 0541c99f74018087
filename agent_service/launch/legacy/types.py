"""The names that scripts use in annotations."""

from __future__ import annotations

from agent_service.launch.legacy.runs import RunView

BlueskyRunLike = RunView
ContainerLike = object
