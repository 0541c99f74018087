"""Methods that a brain declares."""

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from agent_service import method
from agent_service.brains import declared
from agent_service.brains.coroutines import awaited
from agent_service.errors import InvalidInput, NotFound


class Model(BaseModel):
    size: int


class Opaque:
    pass


class Base:
    @method
    def plain(self, a, *rest, b=2, **more):
        """First line.

        And more.
        """
        return [a, rest, b, more]

    @method(replay=True)
    def typed(self, n: int, names: list[str] = (), scale: float | None = None) -> int:
        return n

    @method
    def opaque(self, one: Opaque = None) -> str:
        return "ok"

    @method
    def own_validation(self):
        return Model.model_validate({"size": "large"})

    @classmethod
    @method
    def of_the_class(cls):
        return cls.__name__

    def hidden(self):
        pass


class Derived(Base):
    def typed(self, n: int) -> int:
        return -n


def test_what_is_declared():
    found = {one.name: one for one in declared.described(Derived())}
    assert list(found) == ["of_the_class", "opaque", "own_validation", "plain", "typed"]
    assert found["plain"].doc.startswith("First line.")
    assert found["plain"].parameters["required"] == ["a"]
    assert found["plain"].parameters["properties"]["b"]["default"] == 2
    assert found["typed"].replay
    assert declared.replayed(Base(), "typed")
    assert not declared.replayed(Base(), "plain")
    assert not declared.replayed(Base(), "hidden")
    typed = {one.name: one for one in declared.described(Base())}["typed"].parameters["properties"]
    assert typed["n"] == {"title": "n", "type": "integer"}
    assert typed["scale"]["default"] is None
    assert found["opaque"].parameters["properties"]["one"]["description"] == "as opaque takes it"


def test_calls():
    assert declared.call(Base(), "plain", [1, 9], {"c": 3}) == [1, (9,), 2, {"c": 3}]
    assert declared.call(Derived(), "typed", [5], {}) == -5
    assert declared.call(Base(), "opaque", [], {}) == "ok"
    assert declared.call(Base(), "of_the_class", [], {}) == "Base"


def test_what_does_not_fit():
    with pytest.raises(InvalidInput, match=r"typed\(n: 'int'|typed\(n: int") as caught:
        declared.call(Base(), "typed", ["x"], {"names": [1]})
    assert [one.field for one in caught.value.errors] == ["args.0", "kwargs.names.0"]
    with pytest.raises(NotFound, match="no method 'tped'; did you mean 'typed'"):
        declared.call(Base(), "tped", [], {})
    with pytest.raises(NotFound, match="it has none"):
        declared.call(object(), "any", [], {})


def test_a_validation_of_its_own_is_no_wrong_argument():
    with pytest.raises(ValidationError, match="size"):
        declared.call(Base(), "own_validation", [], {})


def test_a_coroutine_is_declared_and_checked_like_any_other():
    class Own:
        @method
        async def later(self, n: int) -> int:
            return n + 1

    assert [one.name for one in declared.described(Own())] == ["later"]
    assert awaited(declared.call(Own(), "later", ["2"], {})) == 3
    with pytest.raises(InvalidInput, match=r"do not fit later\(n: int\)"):
        declared.call(Own(), "later", ["two"], {})


def test_the_decorated_function_is_itself():
    assert Base().plain(1) == [1, (), 2, {}]
    assert np.isfinite(Base().typed(1))
