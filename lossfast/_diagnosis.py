"""What may be wrong with the arrays that a loss is given."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from lossfast import _arrays
from lossfast._arguments import by_name, leaves, title
from lossfast._elementwise import ElementwiseLoss
from lossfast._loss import Interval, Loss
from lossfast._norms import joint_norm, norm
from lossfast.composition import WeightedSum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lossfast._arrays import Array, Shape

#: From here on a float32 sigmoid is 1, and so is a probability whose logit leads all others by as much.
_SATURATED = 25 * math.log(2)
#: Shares and sizes from which on something is worth a word.
_FEW, _MOST, _IMBALANCED, _EXPLODING = 0.01, 0.9, 10.0, 1e3
#: Findings that chance explains more often than so are none.
_CHANCE = 1e-4


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong: a stable code, what it means here, and the numbers that say so."""

    code: str
    message: str
    evidence: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True)
class Report:
    """What `diagnose` found; prints as a list."""

    loss: Loss
    findings: tuple[Finding, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the findings, in their order."""
        return tuple(finding.code for finding in self.findings)

    def __str__(self) -> str:
        if not self.findings:
            return f"{title(self.loss)}: nothing found"
        return "\n".join([f"{title(self.loss)}:", *(f"  {finding}" for finding in self.findings)])


def diagnose(loss: Loss, *arrays: Any) -> Report:
    """Look for the usual mistakes in the arrays that a loss is given.

    Parameters
    ----------
    loss : Loss
        Any loss, also a sum.
    *arrays : array_like
        Its arrays. What is wrong with them becomes a finding, never an error.

    Returns
    -------
    Report
        With ``findings``, each with a ``code``, a ``message`` and ``evidence``, a dictionary; ``codes``; and the whole
        as text: ``print(lossfast.diagnose(loss, logits, labels))``.

    Notes
    -----
    ================================== ================================================================================
    code                               found
    ================================== ================================================================================
    unreadable                         an array that is none, or not of real numbers
    nan                                NaN: how many, and the first
    infinite                           infinities: how many, and the first (log-probabilities may be -inf)
    empty                              no elements, whose mean is NaN
    shape-mismatch                     shapes that do not fit
    broadcast                          a target or a prediction that is stretched to the shape of the other
    column-labels                      labels of shape (N, 1)
    one-hot-labels                     one-hot labels where class indices are wanted
    float-labels                       class indices of a floating dtype
    label-out-of-range                 labels that are no class
    one-based-labels                   … because they count from 1
    ignored-labels                     at least 90 % of the labels are the `ignore_index`
    class-imbalance                    a class at least 10 times as frequent as another, more than chance explains
    missing-classes                    classes without a label, more than chance explains
    probabilities-as-logits            outputs of a softmax or a sigmoid, where the loss applies one itself
    logits-as-probabilities            values outside of [0, 1] where probabilities are wanted
    logits-as-log-probabilities        values above 0, or rows whose probabilities do not add up to 1
    probabilities-as-log-probabilities outputs of a softmax without their logarithm
    out-of-domain                      other values outside of what the loss is defined for or usually takes
    zero-one-signs                     labels 0 and 1 where -1 and 1 are wanted
    not-signs                          other labels than -1 and 1 where those are wanted
    saturated-logits                   at least 1 % of the probabilities are 0 or 1 in float32
    nonfinite-loss                     finite arrays with an infinite or NaN loss
    nonfinite-gradient                 finite arrays with an infinite or NaN gradient
    exploding-gradient                 a gradient of the mean loss of a norm above 1000
    zero-gradient                      a gradient of zeros where the loss is not 0
    refused                            another error of the loss
    ================================== ================================================================================

    Examples
    --------
    >>> import numpy as np, lossfast as lf
    >>> logits = np.array([[1.5, 2.0, 0.5], [0.5, 1.0, 1.5]])
    >>> print(lf.diagnose(lf.CrossEntropyLoss(), lf.softmax(logits), [[1], [2]]))
    CrossEntropyLoss():
      probabilities-as-logits: input holds the outputs of a softmax, and the loss applies one itself: give it the logits
      column-labels: target has shape (2, 1); expected (2,), one label for each row of classes: use target.squeeze(1)
    """
    if not isinstance(loss, Loss):
        raise TypeError(f"{loss!r} is of type {type(loss).__name__}; expected a loss, or one task of several")
    examination = _Examination(loss, by_name(loss, arrays))
    examination.look()
    return Report(loss, tuple(examination.findings))


class _Examination:
    """One set of arrays under examination."""

    def __init__(self, loss: Loss, given: dict[str, Any]) -> None:
        self.loss, self.given = loss, given
        self.findings: list[Finding] = []
        #: those that can be read
        self.arrays: dict[str, Array] = {}

    def found(self, code: str, message: str, **evidence: Any) -> None:
        """Note a finding; the members of a sum find the same."""
        finding = Finding(code, message, evidence)
        if str(finding) not in map(str, self.findings):
            self.findings.append(finding)

    def look(self) -> None:
        for name, given in self.given.items():
            self._read(name, given)
        finite = not self.findings
        for member in _members(self.loss):
            if isinstance(member, ElementwiseLoss):
                self._look_at_shapes(member)
            for name, array in self.arrays.items():
                self._look_at_contents(member, name, array)
        self._look_at_result(finite)

    # ---- the arrays by themselves ----------------------------------------------------------------------------------

    def _read(self, name: str, given: Any) -> None:
        nested = list(leaves(given, name))
        try:
            if given is not None:
                self.arrays[name] = _arrays.as_operand(given, name)
                nested = [(name, self.arrays[name])]
        except TypeError as error:
            if not all(isinstance(leaf, np.ndarray) for _, leaf in nested) or not isinstance(given, list | tuple):
                self.found("unreadable", str(error), argument=name)
                return
        for path, leaf in nested:
            array = np.asarray(leaf)
            if not array.size:
                self.found("empty", f"{path} has shape {array.shape}: a mean of nothing is NaN", argument=path)
            elif array.dtype.kind not in "biu":
                self._look_for_nonfinite(name, path, array)

    def _look_for_nonfinite(self, name: str, path: str, array: Array) -> None:
        logs = any(_meaning(member, name) == "log-probabilities" for member in _members(self.loss))
        infinite = np.isposinf(array) if logs else np.isinf(array)
        for code, what, where in (("nan", "NaN", np.isnan(array)), ("infinite", "infinite", infinite)):
            if where.any():
                self._found_elements(code, path, array, where, what=f"are {what}")

    def _found_elements(self, code: str, name: str, array: Array, where: Array, *, what: str, mend: str = "") -> None:
        """Note some elements of an array: how many, and the first."""
        first, count = int(np.argmax(where)), int(np.count_nonzero(where))
        self.found(
            code,
            f"{count} of {array.size} elements of {name} {what}, first {_arrays.locate(name, array, first)}{mend}",
            argument=name,
            count=count,
            index=tuple(map(int, np.unravel_index(first, array.shape))),
        )

    def _look_at_shapes(self, loss: ElementwiseLoss) -> None:
        """Of the predictions and the target; constants such as a variance have rules of their own."""
        (first, lead), *others = ((name, a) for name, a in self.arrays.items() if name.startswith(("input", "target")))
        for name, other in others:
            mismatch = _shape_error(name, other.shape, lead.shape, f"that of {first}")
            if not mismatch:
                continue
            joint = _arrays.broadcast_shape(lead.shape, other.shape)
            shapes = {"argument": name, "shape": other.shape, "expected": lead.shape}
            if joint in (lead.shape, other.shape) and loss.broadcasts:
                stretched = name if joint == lead.shape else first
                self.found("broadcast", f"{mismatch}; {stretched} is repeated to fill {joint}", **shapes)
            else:
                outer = f"; broadcasting would make it {joint}" if joint is not None else ""
                self.found("shape-mismatch", mismatch + outer, **shapes)

    # ---- what they hold --------------------------------------------------------------------------------------------

    def _look_at_contents(self, loss: Loss, name: str, array: Array) -> None:
        looks = {
            "labels": self._look_at_labels,
            "logits": self._look_at_logits,
            "binary logits": self._look_at_binary_logits,
            "log-probabilities": self._look_at_log_probabilities,
            "signs": self._look_at_signs,
        }
        if array.size:
            with np.errstate(invalid="ignore", over="ignore"):
                looks.get(_meaning(loss, name), self._look_at_domain)(loss, name, array)

    def _look_at_domain(self, loss: Loss, name: str, array: Array) -> None:
        shares = _meaning(loss, name) in ("probabilities", "shares")
        domain = Interval(0.0, 1.0) if shares else loss.domains.get(name)
        if domain is None:
            return
        values = array.astype(np.float64)
        outside = (values < domain.low) | (values > domain.high)
        if outside.any():
            logits = shares and name in loss.predictions
            self._found_elements(
                "logits-as-probabilities" if logits else "out-of-domain",
                name,
                array,
                outside,
                what=f"are outside of [{domain.low:g}, {domain.high:g}]",
                mend=": they look like logits, whose probabilities lossfast.sigmoid gives" if logits else "",
            )
        elif name not in loss.predictions and np.isin(values, (0, 1)).all() and shares:
            positives = int(np.count_nonzero(values))
            self._look_at_balance(name, np.array([values.size - positives, positives]))

    def _look_at_logits(self, loss: Loss, name: str, array: Array) -> None:
        rows = _class_rows(array)
        if rows is None:
            return
        if _hold_probabilities(rows):
            self._found_probabilities(name, "softmax")
        ahead = rows - rows.max(-1, keepdims=True)
        rest = np.exp(ahead).sum(-1) - 1
        self._look_at_saturation(name, rest < math.exp(-_SATURATED), "rows")

    def _look_at_binary_logits(self, loss: Loss, name: str, array: Array) -> None:
        values = array.astype(np.float64)
        # a few logits are between 0 and 1 by chance; alike ones are those of a model that has not learned yet
        if values.size >= 4 and np.all((values >= 0) & (values <= 1)) and np.ptp(values) > 0:
            self._found_probabilities(name, "sigmoid")
        self._look_at_saturation(name, np.abs(values) > _SATURATED, "elements")

    def _found_probabilities(self, name: str, of: str) -> None:
        self.found(
            "probabilities-as-logits",
            f"{name} holds the outputs of a {of}, and the loss applies one itself: give it the logits",
            argument=name,
            outputs_of=of,
        )

    def _look_at_saturation(self, name: str, saturated: Array, what: str) -> None:
        share = float(np.mean(saturated))
        if share >= _FEW:
            self.found(
                "saturated-logits",
                f"{share:.0%} of the {what} of {name} have probabilities of 0 and 1 in float32: a model learns nothing "
                "where they are right, and takes the longest steps where they are wrong",
                argument=name,
                share=share,
            )

    def _look_at_log_probabilities(self, loss: Loss, name: str, array: Array) -> None:
        rows = _class_rows(array)
        values = array.astype(np.float64)
        if rows is not None and _hold_probabilities(rows):
            self.found(
                "probabilities-as-log-probabilities",
                f"{name} holds the outputs of a softmax: give the loss their logarithm, from lossfast.log_softmax",
                argument=name,
            )
        elif np.any(positive := values > 1e-6):
            mend = ": lossfast.log_softmax makes log-probabilities of logits"
            code = "logits-as-log-probabilities"
            self._found_elements(code, name, array, positive, what="are above 0", mend=mend)
        elif rows is not None and not any(_add_up(np.exp(r)).all() for r in (rows, values)):
            wrong = int(np.argmin(_add_up(np.exp(rows))))
            self.found(
                "logits-as-log-probabilities",
                f"the probabilities of row {wrong} of {name} do not add up to 1: lossfast.log_softmax makes "
                "log-probabilities of logits",
                argument=name,
                row=wrong,
            )

    def _look_at_signs(self, loss: Loss, name: str, array: Array) -> None:
        signs, binary = np.abs(array.astype(np.float64)) == 1, np.isin(array, (0, 1))
        if binary.all() and not signs.all():
            mend = f"2 * {name} - 1"
            self.found("zero-one-signs", f"{name} holds 0 and 1; the loss wants -1 and 1: use {mend}", argument=name)
        elif not signs.all():
            strangers = ~signs & ~np.isnan(array)
            self._found_elements("not-signs", name, array, strangers, what="are neither -1 nor 1")

    # ---- class indices ---------------------------------------------------------------------------------------------

    def _look_at_labels(self, loss: Loss, name: str, array: Array) -> None:
        input = self.arrays.get("input")
        if input is None or not input.ndim:
            return
        # a linear layer's weights say how many classes there are, the scores of the others do by their class axis
        weight = self.arrays.get("linear_weight")
        axis = input.ndim - 1 if "input" not in loss.meaning else min(1, input.ndim - 1)
        scores = input.shape[axis] if weight is None or not weight.ndim else weight.shape[0]
        classes = int(getattr(loss, "n_classes", scores))
        expected = input.shape[:axis] + input.shape[axis + 1 :]
        if array.shape == (*input.shape[:axis], classes, *input.shape[axis + 1 :]):
            if classes > 1 and np.isin(array, (0, 1)).all() and np.all(array.sum(axis, dtype=np.float64) == 1):
                self.found(
                    "one-hot-labels",
                    f"{name} has shape {array.shape} and is one-hot; class indices have shape {expected}: use "
                    f"{name}.argmax({axis})",
                    argument=name,
                    shape=array.shape,
                )
                return
            if name in loss.differentiable and array.dtype.kind not in "biu":
                outside = (array < 0) | (array > 1)
                if outside.any():
                    self._found_elements("out-of-domain", name, array, outside, what="are no probabilities")
                return
        if mismatch := _shape_error(name, array.shape, expected, "one label for each row of classes"):
            column = array.size == math.prod(expected) and array.shape[-1:] == (1,)
            self.found("column-labels" if column else "shape-mismatch", mismatch, argument=name, shape=array.shape)
        if array.dtype.kind not in "biu":
            self.found(
                "float-labels",
                f"{name} has dtype {array.dtype}: use {name}.astype(np.int64)",
                argument=name,
                dtype=str(array.dtype),
            )
            if not np.all(np.rint(array) == array):
                return
        self._look_at_classes(name, array.astype(np.int64), classes, getattr(loss, "ignore_index", None))

    def _look_at_classes(self, name: str, labels: Array, classes: int, ignore_index: int | None) -> None:
        """Labels that are integers, whatever their shape."""
        kept = np.ones(labels.shape, bool) if ignore_index is None else labels != ignore_index
        share = 1 - float(np.mean(kept))
        if share >= _MOST:
            self.found(
                "ignored-labels",
                f"{share:.0%} of {name} are the ignore_index {ignore_index}{': the mean is NaN' if share == 1 else ''}",
                argument=name,
                share=share,
            )
        outside = kept & ((labels < 0) | (labels >= classes))
        if not outside.any():
            counts = np.bincount(labels[kept], minlength=classes)
            if ignore_index is not None and 0 <= ignore_index < classes:
                counts = np.delete(counts, ignore_index)
            self._look_at_balance(name, counts)
            return
        low, high = int(labels[kept].min()), int(labels[kept].max())
        if low >= 1 and high == classes:
            self.found(
                "one-based-labels",
                f"{name} counts the {classes} classes from 1; labels count from 0: use {name} - 1",
                argument=name,
                min=low,
                max=high,
            )
            return
        strangers = np.unique(labels[outside])
        mend = f": ignore_index={strangers[0]} leaves these labels out" if strangers.size == 1 and low < 0 else ""
        mend += f"; labels are between {low} and {high}"
        what = f"are outside [0, {classes})"
        self._found_elements("label-out-of-range", name, labels, outside, what=what, mend=mend)

    def _look_at_balance(self, name: str, counts: Array) -> None:
        """Of classes that would be alike if nothing but chance told them apart."""
        total, classes = int(counts.sum()), counts.size
        if classes < 2 or not total:
            return
        even = total / classes
        missing = np.flatnonzero(counts == 0)
        if missing.size and classes * math.exp(-even) < _CHANCE:
            self.found(
                "missing-classes",
                f"{missing.size} of {classes} classes are not in {name}, first {missing[0]}",
                argument=name,
                classes=missing.tolist(),
            )
        most, least = int(counts.max()), int(counts.min())
        by_chance = special.chdtrc(classes - 1, float(np.sum((counts - even) ** 2)) / even)
        if most >= _IMBALANCED * least and by_chance < _CHANCE:
            self.found(
                "class-imbalance",
                f"the classes of {name} have from {least} to {most} elements: class weights or a focal loss keep the "
                "frequent ones from deciding alone",
                argument=name,
                most=most,
                least=least,
                ratio=most / least if least else math.inf,
            )

    # ---- what the loss makes of them -------------------------------------------------------------------------------

    def _look_at_result(self, finite: bool) -> None:
        changes: dict[str, Any] = {"reduction": "mean"}
        loss: Any = dataclasses.replace(self.loss, **changes)
        try:
            value, grads = loss.value_and_grad(**self.given)
        except Exception as error:  # whatever it is, also in a body of the user's: it is what was to be found
            if not _REFUSED & {finding.code for finding in self.findings}:
                self.found("refused", str(error), error=type(error).__name__)
            return
        parts = [(path, np.asarray(grad)) for path, grad in leaves(grads, "grad")]
        size = joint_norm([norm(grad, 2.0) for _, grad in parts], 2.0)
        ignored = any(finding.code == "ignored-labels" for finding in self.findings)
        if finite and not math.isfinite(value) and not ignored:
            self.found("nonfinite-loss", f"the mean loss of finite arrays is {value}", value=value)
        if not math.isfinite(size):
            for path, grad in parts:
                where = ~np.isfinite(grad)
                if finite and where.any():
                    self._found_elements("nonfinite-gradient", path, grad, where, what="are not finite")
        elif size > _EXPLODING:
            self.found(
                "exploding-gradient",
                f"the gradient of the mean loss has norm {size:.3g}: lossfast.clip_grad_norm(grads, 1.0) and a lower "
                "learning rate keep the next step in bounds",
                norm=size,
            )
        elif size == 0 and math.isfinite(value) and value > 0:
            self.found("zero-gradient", f"the gradient is zero, and the mean loss is {value:.6g}", value=value)


#: Findings for which a loss raises an error.
_REFUSED = {
    *("unreadable", "shape-mismatch", "column-labels", "one-hot-labels", "float-labels", "label-out-of-range"),
    *("one-based-labels", "logits-as-probabilities", "out-of-domain"),
}


def _members(loss: Loss) -> tuple[Loss, ...]:
    """The losses that a sum adds up, or the loss itself."""
    return tuple(member for _, member in WeightedSum.terms_of(loss))


def _meaning(loss: Loss, name: str) -> str:
    """What an argument usually holds, as the loss is made."""
    meaning = loss.meaning.get(name, "")
    return "log-probabilities" if meaning == "probabilities" and getattr(loss, "log_target", False) else meaning


def _shape_error(name: str, shape: Shape, expected: Shape, of: str) -> str:
    """What a loss would say of this shape; nothing if it is the expected one."""
    try:
        _arrays.same_shape(name, shape, expected, of)
    except ValueError as error:
        return str(error)
    return ""


def _class_rows(array: Array) -> Array | None:
    """The classes on the last axis, in float64; None where there are fewer than two."""
    axis = min(1, array.ndim - 1)
    if not array.ndim or array.shape[axis] < 2:
        return None
    return np.moveaxis(array, axis, -1).astype(np.float64)


def _hold_probabilities(rows: Array) -> bool:
    return bool(np.all((rows >= 0) & (rows <= 1)) and _add_up(rows).all())


def _add_up(rows: Array) -> Array:
    """Whether rows add up to 1, for all that half precision leaves of them."""
    near: Array = np.abs(rows.sum(-1) - 1) < 5e-3
    return near
