"""How wrong each op of a file is: on its own, and with all that came before it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mobilesam.progress import Step
from parity.bisection.alignment import Aligned, Matches
from parity.bisection.engine import Engine, EvaluatedOp, Operation, Value
from parity.bisection.noise import Jitter, rounding_of
from parity.bisection.reference import Reference
from parity.headroom import largest_of


class Measured(NamedTuple):
    """One op, or one of its outputs.

    Attributes:
        aligned: all its outputs are nodes of the model.
        finite: no value is infinite or not a number that is not so in PyTorch.
        largest: the largest |value| of the run; see :func:`parity.headroom.largest_of`.
        before, after: relative L2 of what it reads and of what it gives, in the run.
        local: relative L2 of what it gives when it is fed PyTorch's own values.
        rounding: relative L2 that rounding alone may cause there.
        excess: local error over rounding, the larger of that in L2 and that of the worst element.
    """

    aligned: bool
    finite: bool
    largest: float | None
    before: float | None
    after: float | None
    local: float | None
    rounding: float | None
    excess: float | None


class _Forced(NamedTuple):
    """A value in the run that is fed PyTorch's: as it is, and with the rounding moved."""

    value: Tensor
    moved: Tensor


class Sweep:
    """Watches one run of a file and measures each of its ops.

    Beside the run, every op is evaluated with PyTorch's values for whatever it reads that is a
    node of the model; for what is none, with what the op before it made of such values. So an
    error shows at the op that makes it, and nowhere later.
    """

    def __init__(self, engine: Engine, matches: Matches, reference: Reference, step: Step) -> None:
        self._step = step
        self._engine = engine
        self._matches = matches
        self._reference = reference
        self._jitter = Jitter()
        halves = any(v.dtype == "float16" for op in engine.operations for v in _values(op))
        self._constant_unit = rounding_of("float16" if halves else "float32").unit
        self._errors: dict[str, float] = {}
        self._forced: dict[str, _Forced] = {}
        self.measured: list[Measured] = []

    def observe(self, evaluated: EvaluatedOp) -> None:
        """Measure one op; they come in the engine's order."""
        operation = self._engine.operations[evaluated.place]
        self._step(operation.name)
        read = [o.value.name for o in operation.inputs if not o.constant]
        before = max((self._errors.get(name, 0.0) for name in read), default=0.0)
        forced = self._force(operation, evaluated)
        parts = []
        for place, output in enumerate(operation.outputs):
            own = evaluated.outputs[place]
            fed = None if forced is None else _Forced(forced[0][place], forced[1][place])
            parts.append(self._measure(output, own, fed, before))
        self.measured.append(_together(parts))
        for name in read:
            if name in self._matches:
                self._reference.release(self._matches[name].node)

    def _measure(self, output: Value, own: Tensor, fed: _Forced | None, before: float) -> Measured:
        largest = largest_of(own)
        found = self._matches.get(output.name)
        if found is None:
            if fed is not None:
                self._forced[output.name] = fed
            self._errors[output.name] = before
            return Measured(False, True, largest, before, None, None, None, None)
        wanted = found.arrange(self._reference.value(found.node)).to(own.dtype)
        after = relative(own, wanted)
        self._errors[output.name] = after
        finite = bool((torch.isfinite(own) | ~torch.isfinite(wanted)).all())
        self._reference.release(found.node)
        if fed is None:
            return Measured(True, finite, largest, before, after, None, None, None)
        finite = finite and bool((torch.isfinite(fed.value) | ~torch.isfinite(wanted)).all())
        return Measured(True, finite, largest, before, after, *_excess(fed, wanted, output))

    def _force(
        self, operation: Operation, evaluated: EvaluatedOp
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]] | None:
        """The outputs for PyTorch's values, and for such values moved by their rounding."""
        if evaluated.again is None:
            return None
        values, moved = [], []
        for operand, given in zip(operation.inputs, evaluated.inputs, strict=True):
            name, rounding = operand.value.name, rounding_of(operand.value.dtype)
            fed = _Forced(given, given)
            if not operand.constant and name in self._matches:
                found = self._matches[name]
                value = found.arrange(self._reference.value(found.node)).to(given.dtype)
                fed = _Forced(stored(value, operand.value.dtype), value)
            elif name in self._forced:
                fed = self._forced[name]
            values.append(fed.value)
            # In a float16 file a constant may be one that is kept in float32.
            unit = max(rounding.unit, self._constant_unit) if operand.constant else rounding.unit
            moved.append(self._jitter.moved(fed.moved, unit))
        return evaluated.again(values), evaluated.again(moved)


def measure(
    opened: Aligned,
    inputs: Mapping[str, np.ndarray],
    step: Step = lambda _: None,
) -> list[Measured]:
    """Run a file and the model side by side; one entry for each op of the file.

    Args:
        opened: the file beside the model.
        inputs: of both, by contract name.
        step: called with each op's name.

    Raises:
        BundleError: the file cannot be evaluated.
    """
    engine, matches, program = opened
    needed = [
        matches[value.name].node
        for operation in engine.operations
        for value in (*(o.value for o in operation.inputs if not o.constant), *operation.outputs)
        if value.name in matches
    ]
    tensors = {name: torch.as_tensor(array) for name, array in inputs.items()}
    sweep = Sweep(engine, matches, Reference(program, tensors, needed), step)
    with torch.inference_mode():
        engine.run(inputs, sweep.observe)
    return sweep.measured


def _values(operation: Operation) -> Iterator[Value]:
    yield from (operand.value for operand in operation.inputs)
    yield from operation.outputs


def stored(value: Tensor, dtype: str) -> Tensor:
    """A float32 tensor as it is after storing it in a dtype."""
    return value.half().float() if dtype == "float16" else value


def relative(value: Tensor, wanted: Tensor, least: float = 0.0) -> float:
    """Relative L2; for integers and booleans the share of elements that differ.

    Args:
        least: size of an element below which nothing precise is expected of it.
    """
    if not wanted.is_floating_point():
        return float((value != wanted).double().mean())
    size = max(_norm(wanted), least * math.sqrt(wanted.numel()))
    difference = _norm(value - wanted)
    return difference / size if size > 0 else float(difference > 0)


def _excess(fed: _Forced, wanted: Tensor, output: Value) -> tuple[float, float, float]:
    """Local error, what rounding explains of it, and the one over the other."""
    value, moved, right = (x.float() for x in (*fed, wanted))
    error = (value - right).abs()
    spread = (moved - value).abs().nan_to_num(0, 0, 0)
    unit, smallest, normal = rounding_of(output.dtype)
    size = right.abs()
    own = unit * size + smallest
    allowed = math.hypot(_norm(spread), _norm(own))
    worst = math.hypot(float(spread.max()), float(own.max()))
    total = _norm(size)
    return (
        relative(fed.value, wanted, normal),
        allowed / total if total > 0 else 0.0,
        max(_ratio(_norm(error), allowed), _ratio(float(error.max()), worst)),
    )


def _ratio(error: float, scale: float) -> float:
    if error == 0:
        return 0.0
    return error / scale if scale > 0 and math.isfinite(error) else math.inf


def _norm(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))


def _together(parts: Sequence[Measured]) -> Measured:
    """The measure of an op with several outputs: that of its worst output."""
    if len(parts) == 1:
        return parts[0]

    def most(values: Sequence[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    first, *rest = (most([part[place] for part in parts]) for place in range(2, len(parts[0])))
    return Measured(
        all(part.aligned for part in parts), all(part.finite for part in parts), first, *rest
    )
