"""Forms from JSON Schema: fields for the page, what was filled in back into a configuration, messages back to fields.

Pure: no I/O, no widgets. A field's path is the one that the service's errors use, as in ``config.bounds.mirror_x``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, cast

from agent_service.errors import FieldError, InvalidInput
from agent_service.models import LoopSpec
from agent_service.models.validation_messages import sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent_service.models import AgentStatus

    Schema = Mapping[str, Any]

Kind = Literal["number", "integer", "boolean", "text", "choice", "range", "json"]

_PAIR: Final = 2
_PLAIN: Final[dict[str, Kind]] = {"number": "number", "integer": "integer", "boolean": "boolean", "string": "text"}


class Field(TypedDict):
    """One field of a form: plain JSON, as the page gets it.

    ``keys`` leads to its place in the part of the agent; ``value`` is a number, text or bool, ``[low, high]`` for a
    range (either None where it is ``open_ended``), JSON text for ``json``, or None for nothing.
    """

    path: str
    keys: list[str]
    label: str
    kind: Kind
    description: str
    value: Any
    required: bool
    nullable: bool
    open_ended: bool
    default: Any
    minimum: float | None
    maximum: float | None
    choices: list[Any]


class Group(TypedDict):
    """Fields under one heading; ``name`` is the part of the agent they belong to."""

    name: str
    title: str
    fields: list[Field]


def agent_form(status: AgentStatus, schema: Schema | None) -> list[Group]:
    """Return the form of an agent: its configuration, its loop, and the region it may measure in.

    ``schema`` is the JSON Schema of its type's configuration; None for a type that the service does not list: its
    present configuration then says what fields there are.
    """
    spec = status.spec
    known = schema if schema and schema.get("properties") else _schema_of(spec.config)
    bounds = {name: list(pair) for name, pair in spec.guardrails.bounds.items()}
    allowed = {"properties": {name: {**_RANGE, "description": _allowed(status, name)} for name in spec.actuators}}
    loop = LoopSpec.model_json_schema()
    groups: list[Group] = [
        {"name": "config", "title": status.type, "fields": fields(known, spec.config, "config", spec.actuators)},
        {"name": "loop", "title": "Loop", "fields": fields(loop, spec.loop.model_dump(mode="json"), "loop")},
        {"name": "guardrails", "title": "Allowed region", "fields": fields(allowed, bounds, "guardrails.bounds")},
    ]
    return [group for group in groups if group["fields"]]


_END: Final[dict[str, Any]] = {"anyOf": [{"type": "number"}, {"type": "null"}]}
_RANGE: Final[dict[str, Any]] = {"type": "array", "items": _END, "minItems": _PAIR, "maxItems": _PAIR}


def _allowed(status: AgentStatus, name: str) -> str:
    """Return what to say of the region that an actuator may be in: what holds now, whoever says it."""
    low, high = status.limits.get(name, (None, None))
    if low is None and high is None:
        return "no limits; an empty end is none" if name in status.no_limits else "an empty end is no limit"
    ends = " to ".join("" if end is None else f"{end:g}" for end in (low, high)).strip()
    return f"with what device and service allow: {ends}; an empty end is no limit of this agent's own"


def fields(schema: Schema, values: Mapping[str, Any], path: str, keys: Sequence[str] = ()) -> list[Field]:
    """Return the fields of an object of JSON Schema ``schema`` that stands at ``path`` and holds ``values`` now.

    ``keys`` are names that a mapping from names to ranges or numbers offers beside those it has, as the actuators.
    """
    return list(_fields(schema, values, tuple(path.split(".")), keys))


def _fields(schema: Schema, values: Mapping[str, Any], path: tuple[str, ...], keys: Sequence[str]) -> Iterator[Field]:
    required = cast("list[str]", schema.get("required", []))
    defs: Schema = schema.get("$defs", {})
    for name, member in cast("dict[str, Any]", schema.get("properties", {})).items():
        settled, nullable = _settled(member, defs)
        value = values.get(name, settled.get("default"))
        inner = settled.get("additionalProperties")
        here = (*path, name)
        if settled.get("properties"):
            yield from _fields({**settled, "$defs": defs}, value or {}, here, keys)
        elif isinstance(inner, dict) and _kind(_settled(cast("Schema", inner), defs)[0]) in ("range", "number"):
            each = {**_settled(cast("Schema", inner), defs)[0]}
            held = cast("dict[str, Any]", value or {})
            for i, key in enumerate(dict.fromkeys([*held, *keys])):
                each["description"] = "" if i else settled.get("description", "")  # once, for all of them
                yield _field((*here, key), f"{name} {key}", each, held.get(key), required=False, nullable=False)
        else:
            yield _field(here, name, settled, value, required=name in required, nullable=nullable)


def assemble(group: Group, filled: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object from what was filled in, by path; what the form does not show stays as it is.

    Raises `InvalidInput`, with ``errors``, when a field cannot be read.
    """
    out: dict[str, Any] = json.loads(json.dumps(dict(present)))
    wrong: list[FieldError] = []
    for field in group["fields"]:
        if field["path"] not in filled:
            continue
        try:
            value = _read(field, filled[field["path"]])
        except ValueError as error:
            wrong.append(FieldError(field["path"], str(error)))
            continue
        _put(out, field, value)
    if wrong:
        raise InvalidInput(sentence(wrong), errors=wrong)
    return out


def messages(errors: Iterable[FieldError], groups: Iterable[Group]) -> dict[str, str]:
    """Return messages by the path of the field they belong to; under ``""`` those that belong to none."""
    paths = [field["path"] for group in groups for field in group["fields"]]
    by_path: dict[str, str] = {}
    for error in errors:
        above = [path for path in paths if f"{error.field}.".startswith(f"{path}.")]
        below = [path for path in paths if path.startswith(f"{error.field}.")]
        path = max(above, key=len) if above else (below[0] if below else "")
        message = error.message if path else f"{error.field}: {error.message}"
        by_path[path] = f"{by_path[path]}; {message}" if path in by_path else message
    return by_path


def _field(  # noqa: PLR0913 - what a field is made of
    path: tuple[str, ...], label: str, schema: Schema, value: Any, *, required: bool, nullable: bool
) -> Field:
    kind = _kind(schema)
    return {
        "path": ".".join(path),
        "keys": list(path[1:]),
        "label": label,
        "kind": kind,
        "description": str(schema.get("description", "")).replace("null:", "empty:"),  # as the page shows it
        "value": json.dumps(value) if kind == "json" and value is not None else value,
        "required": required,
        "nullable": nullable,
        "open_ended": kind == "range" and any(open_ for _, open_ in _ends(schema)),
        "default": schema.get("default"),
        "minimum": schema.get("minimum"),
        "maximum": schema.get("maximum"),
        "choices": list(schema.get("enum", [])),
    }


def _kind(schema: Schema) -> Kind:
    if "enum" in schema:
        return "choice"
    if schema.get("type") == "array" and schema.get("minItems") == _PAIR and schema.get("maxItems") == _PAIR:
        ends = _ends(schema)
        if ends and all(end.get("type") in ("number", "integer") for end, _ in ends):
            return "range"
    return _PLAIN.get(str(schema.get("type")), "json")


def _ends(schema: Schema) -> list[tuple[Schema, bool]]:
    """Return the schema of each end of a range, and whether that end may be left open."""
    items = [*schema.get("prefixItems", []), *([schema["items"]] if isinstance(schema.get("items"), dict) else [])]
    return [_settled(cast("Schema", item), {}) for item in items]


def _settled(schema: Schema, defs: Schema) -> tuple[Schema, bool]:
    """Return a schema without references and without the null in it, and whether there was one."""
    settled = dict(schema)
    while "$ref" in settled or len(settled.get("allOf", [])) == 1:
        target: Schema = settled["allOf"][0] if "allOf" in settled else defs.get(settled["$ref"].rpartition("/")[2], {})
        settled = {**target, **{key: value for key, value in settled.items() if key not in ("$ref", "allOf")}}
    options = cast("list[dict[str, Any]]", settled.get("anyOf", []))
    other = [option for option in options if option.get("type") != "null"]
    if options and len(other) == 1 < len(options):
        rest = {key: value for key, value in settled.items() if key != "anyOf"}
        return _settled({**other[0], **rest}, defs)[0], True
    return settled, False


def _schema_of(config: Mapping[str, Any]) -> Schema:
    """Return a schema that fits a configuration, for want of a better one."""

    def of(value: object) -> Schema:
        if isinstance(value, bool):
            return {"type": "boolean"}
        if isinstance(value, int | float):
            return {"type": "number"}
        return {"type": "string"} if isinstance(value, str) else {}

    return {"properties": {name: of(value) for name, value in config.items()}}


def _read(field: Field, value: Any) -> Any:
    if value is None or value == "":
        return None
    kind = field["kind"]
    if kind == "json":
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('is no JSON; text stands in quotes, a list is [1, 2], a mapping is {"x": 1}') from None
    if kind == "range":
        low, high = (_number(end) for end in cast("list[Any]", value))
        if (low is None) != (high is None) and not field["open_ended"]:
            raise ValueError("needs both ends")
        return None if low is None and high is None else [low, high]
    if kind == "integer":
        number = _number(value)
        return int(number) if number is not None and number.is_integer() else number
    return _number(value) if kind == "number" else value


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError("is no number") from None


def _put(out: dict[str, Any], field: Field, value: Any) -> None:
    *above, last = field["keys"]
    for part in above:
        out = out.setdefault(part, {})
    if value is None and not field["nullable"]:
        out.pop(last, None)
    else:
        out[last] = value
