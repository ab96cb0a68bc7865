"""The losses as functions under PyTorch's names: ``F.huber_loss(input, target, delta=2.0)``.

Each is one callable with the methods of its class: ``F.huber_loss.value_and_grad(input, target, delta=2.0)``.
Made from the registry; `functional.pyi` states the same for type checkers and editors.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import lossfast.classification
import lossfast.distribution
import lossfast.embedding
import lossfast.focal
import lossfast.large_output
import lossfast.margin
import lossfast.regression
import lossfast.sequence  # noqa: F401  # declares its losses
from lossfast._loss import REGISTRY, Loss

#: Losses kept for the parameters that functions were called with lately.
_KEPT = 64
#: Types of parameters that cannot change.
_PLAIN = frozenset({bool, float, int, str, type(None)})


class LossFunction:
    """A loss as a function: arrays first, parameters of the loss and of its methods as keywords."""

    def __init__(self, cls: type[Loss]) -> None:
        self.loss = cls
        self.__name__ = self.__qualname__ = cls.function
        self.__doc__ = cls.__doc__
        self._names = frozenset(field.name for field in dataclasses.fields(cls))
        self._default: Any = cls()
        self._recent: dict[tuple[Any, ...], Any] = {}
        self.__signature__ = _signature(cls, "__call__")

    def __repr__(self) -> str:
        return f"<function lossfast.functional.{self.__name__}>"

    def __reduce__(self) -> str:
        return self.__name__

    def _split(self, keywords: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The loss with these parameters, and what is left for its method."""
        parameters = {name: value for name, value in keywords.items() if name in self._names}
        if not parameters:
            return self._default, keywords
        rest = {name: value for name, value in keywords.items() if name not in self._names}
        if not _PLAIN.issuperset(map(type, parameters.values())):  # an array, say, which may change
            return self.loss(**parameters), rest
        # the types too: True == 1 == 1.0, but not every one of them is a valid parameter
        key = tuple((name, type(value), value) for name, value in parameters.items())
        loss = self._recent.get(key)
        if loss is None:
            if len(self._recent) >= _KEPT:
                self._recent.clear()
            loss = self._recent[key] = self.loss(**parameters)
        return loss, rest

    def __call__(self, *arrays: Any, **keywords: Any) -> Any:
        if not keywords:
            return self._default(*arrays)
        loss, rest = self._split(keywords)
        return loss(*arrays, **rest)

    def value_and_grad(self, *arrays: Any, **keywords: Any) -> Any:
        """See the method of the class."""
        loss, rest = self._split(keywords)
        return loss.value_and_grad(*arrays, **rest)

    def grad(self, *arrays: Any, **keywords: Any) -> Any:
        """See the method of the class."""
        loss, rest = self._split(keywords)
        return loss.grad(*arrays, **rest)

    def grad_hess(self, *arrays: Any, **keywords: Any) -> Any:
        """See the method of the class."""
        loss, rest = self._split(keywords)
        return loss.grad_hess(*arrays, **rest)

    def value_grad_hess(self, *arrays: Any, **keywords: Any) -> Any:
        """See the method of the class."""
        loss, rest = self._split(keywords)
        return loss.value_grad_hess(*arrays, **rest)

    def reference(self, *arrays: Any, **keywords: Any) -> Any:
        """See the method of the class."""
        loss, rest = self._split(keywords)
        return loss.reference(*arrays, **rest)


def _signature(cls: type[Loss], method: str) -> inspect.Signature:
    """The arrays of the method, then the parameters of the loss, then the keywords of the method."""
    _, *own = inspect.signature(getattr(cls, method)).parameters.values()
    arrays = [p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in own if p.kind != p.KEYWORD_ONLY]
    keywords = [p for p in own if p.kind == p.KEYWORD_ONLY]
    parameters = sorted(inspect.signature(cls).parameters.values(), key=lambda p: p.name == "reduction")
    return inspect.Signature([*arrays, *parameters, *keywords])


_FUNCTIONS = {cls.function: LossFunction(cls) for cls in REGISTRY.values()}
globals().update(_FUNCTIONS)
__all__ = sorted(_FUNCTIONS)  # noqa: PLE0605  # a list of the registry's names
