"""Calls with more than 2**31 elements, all of which are the same few in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lossfast._loss import REGISTRY

from ..cases import Case, Form
from .calls import Call

if TYPE_CHECKING:
    from .calls import World

#: Rows or elements, a few more than an int counts.
GIANT = 2**31 + 5


def giant_call(world: World) -> Call:
    """The mean of a loss over more elements than an int counts, which is that over one of them."""
    dice = world.dice
    cls = dice.pick(
        [c for c in REGISTRY.values() if not Case(c, {}, Form()).sequences and not Case(c, {}, Form()).linear]
    )
    case = Case(cls, {}, Form(length=1 if dice.chance(0.5) or Case(cls, {}, Form()).lists else 2))
    one = {name: case.draw(name, world.rng, shape) for name, shape in case.shapes_of(1).items()}
    one = {
        name: a.astype(np.float32) if a.dtype.kind == "f" else np.clip(a, 0, 0).astype(np.uint8)
        for name, a in one.items()
    }
    call = Call(f"{cls.__name__} of {GIANT} rows", words=cls.arrays)
    loss = case.reduced("mean")
    expected = loss(*one.values())

    def function(*arrays: Any) -> Any:
        value = loss(*arrays)
        assert np.isclose(value, expected, rtol=1e-6, equal_nan=True), (value, expected)
        return value

    call.function = function
    call.arguments = [np.broadcast_to(a, (GIANT, *a.shape[1:])) for a in one.values()]
    return call
