"""A saved ``.mlpackage`` read back and run."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from coreml_evaluator.arguments import Argument, Arguments, Op, Value
from coreml_evaluator.errors import ProgramError, ProgramInputError, UnknownOpError
from coreml_evaluator.memory import address, addresses, can_hold_result
from coreml_evaluator.ops import OPS
from coreml_evaluator.ops.elementwise import STORED_AS
from coreml_evaluator.precision import round_to_half, round_to_half_
from coreml_evaluator.reading import dtype_name, read_function
from coreml_evaluator.records import Evaluation, Operand, OpInfo, TensorType

_HALF = "fp16"
_CONSTANT = "constexpr_"  # begins the type of an op whose inputs are constants: compressed weights


class _Step(NamedTuple):
    """One op, with the slots its arguments are in and those its outputs go to."""

    op: Op
    op_type: str
    name: str
    arguments: dict[str, int | list[int]]
    outputs: list[tuple[int, TensorType]]
    freed: list[int]


class CoreMLProgram:
    """One function of an ML Program.

    Compressed weights are decompressed here, once. Float32 programs are computed in float32. What
    happens to float16 ones is in :mod:`coreml_evaluator.precision`.

    Args:
        path: an ``.mlpackage``.
        function: name of the function in a package that has several; None takes its default.

    Raises:
        ProgramError: the package is missing, damaged, or not an ML Program of tensors and images;
            it has no such function, or several and no default.
        UnknownOpError: it has an op that the evaluator does not know, named.

    Attributes:
        function: its name.
        inputs, outputs: of the function, in its order.
        images: names of the inputs that an app gives as images: 8-bit RGB pixel buffers.
        spec_version: version of Core ML's file format; 7 is iOS 16, 8 iOS 17, 9 iOS 18.
    """

    def __init__(self, path: str | Path, function: str | None = None) -> None:
        self.path = Path(path)
        self.function, found, self.spec_version, interface = read_function(self.path, function, OPS)
        self._flexible, self.images = interface
        self._opset = int(found.opset_version.value)
        self.inputs = tuple(_type_of(var) for var in found.inputs.values())
        self.outputs = tuple(_type_of(var) for var in found.outputs)
        self._constants: dict[int, Value] = {}
        self._steps: list[_Step] = []
        self._types: dict[int, TensorType] = {}
        slots = {id(var): slot for slot, var in enumerate(found.inputs.values())}
        self._types.update(enumerate(self.inputs))
        self._compressed: Counter[str] = Counter()
        for operation in found.operations:
            if operation.op_type.startswith(_CONSTANT):
                self._compressed[operation.op_type] += 1
                self._evaluate(self._step(operation, slots), self._constants)
            elif operation.op_type != "const":
                self._steps.append(self._step(operation, slots))
        self._output_slots = [self._slot(var, slots) for var in found.outputs]
        self._plan_freeing()

    @property
    def op_types(self) -> dict[str, int]:
        """How many ops of each type the program has, constants left out, the commonest first."""
        counted = self._compressed + Counter(step.op_type for step in self._steps)
        return dict(counted.most_common())

    @property
    def precision(self) -> str:
        """``fp16`` if any op computes in float16, else ``fp32``."""
        rounded = any(
            tensor.dtype == _HALF and not step.op.exact and step.op_type != "cast"
            for step in self._steps
            for _, tensor in step.outputs
        )
        return _HALF if rounded else "fp32"

    def takes(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether an input of this name may have a shape."""
        flexible = self._flexible.get(name)
        if flexible is not None:
            return flexible.allows(shape)
        return any((name, shape) == (tensor.name, tensor.shape) for tensor in self.inputs)

    @cached_property
    def ops(self) -> tuple[OpInfo, ...]:
        """The ops that a run evaluates, in its order; constants and what computes them left out."""
        return tuple(
            OpInfo(
                step.name,
                step.op_type,
                tuple(
                    Operand(self._types[slot], slot in self._constants)
                    for slot in self._tensors_read(step)
                ),
                tuple(tensor for _, tensor in step.outputs),
            )
            for step in self._steps
        )

    @torch.inference_mode()
    def run(
        self,
        inputs: Mapping[str, np.ndarray | Tensor],
        observe: Callable[[Evaluation], None] | None = None,
    ) -> dict[str, Tensor]:
        """Evaluate.

        Args:
            inputs: exactly the program's inputs, in its shapes; converted to its dtypes as
                ``MLModel.predict`` does. An image is the tensor that the program sees, [1, 3, H, W]
                in RGB order, with the whole numbers of 0 to 255 that an 8-bit pixel has.
            observe: called after each op.

        Returns:
            The program's outputs, floats in the width that it declares.

        Raises:
            ProgramInputError: a missing, unknown or misshapen input, or an image of other values.
            UnknownOpError: a form of an op that the evaluator does not know.
            ProgramError: an op whose arguments do not fit together.
        """
        values: dict[int, Value] = {**self._constants, **dict(self._take(inputs))}
        lent = addresses(values.values())
        for place, step in enumerate(self._steps):
            if observe is None:
                self._evaluate(step, values, self._may_overwrite(step, values, lent))
            else:
                self._evaluate(step, values)
                observe(self._evaluation(place, step, values))
            for slot in step.freed:
                del values[slot]
        results: dict[str, Tensor] = {}
        for tensor, slot in zip(self.outputs, self._output_slots, strict=True):
            value = values[slot]
            assert isinstance(value, Tensor)
            # Values of float16 are kept as float32 between ops.
            results[tensor.name] = (value.half() if tensor.dtype == "fp16" else value).contiguous()
        return results

    def _take(self, inputs: Mapping[str, np.ndarray | Tensor]) -> Iterator[tuple[int, Tensor]]:
        names = [tensor.name for tensor in self.inputs]
        unknown = [name for name in inputs if name not in names]
        if unknown:
            raise ProgramInputError(
                f"{self.path} has no input '{unknown[0]}', only {', '.join(names)}"
            )
        for slot, tensor in enumerate(self.inputs):
            if tensor.name not in inputs:
                raise ProgramInputError(f"{self.path} needs the input '{tensor.name}'")
            given = inputs[tensor.name]
            # PyTorch has no tensors that cannot be written: of such an array it takes a copy.
            value = torch.as_tensor(
                given if isinstance(given, Tensor) else np.require(given, requirements="W")
            )
            shape = tuple(value.shape)
            if not self.takes(tensor.name, shape):
                raise ProgramInputError(
                    f"input '{tensor.name}' of {self.path} has shape "
                    f"{self._flexible.get(tensor.name) or list(tensor.shape)}, not {list(shape)}"
                )
            value = value.to(STORED_AS[tensor.dtype])
            if tensor.name in self.images and not _are_pixels(value):
                raise ProgramInputError(
                    f"input '{tensor.name}' of {self.path} is an image and has values that no "
                    "8-bit pixel has, give whole numbers of 0 to 255"
                )
            if tensor.dtype == _HALF:
                value = round_to_half(value)
            yield slot, value

    def _evaluation(self, place: int, step: _Step, values: Mapping[int, Value]) -> Evaluation:
        """What an observer is told of a step."""
        read = self._tensors_read(step)
        written = [slot for slot, _ in step.outputs]

        def again(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            changed = {**values, **dict(zip(read, inputs, strict=True))}
            self._evaluate(step, changed)
            return _tensors(changed, written)

        return Evaluation(place, _tensors(values, read), _tensors(values, written), again)

    def _tensors_read(self, step: _Step) -> list[int]:
        return [slot for slot in _slots_read(step) if slot in self._types]

    def _may_overwrite(self, step: _Step, values: Mapping[int, Value], lent: set[int]) -> bool:
        """Whether an op may write over its argument ``x``, which no step and no caller needs."""
        slot = step.arguments.get("x")
        if step.op.overwriting is None or not isinstance(slot, int) or slot not in step.freed:
            return False
        others = (v for s, v in values.items() if s != slot and s not in self._constants)
        return can_hold_result(values[slot], _gathered(step, values), lent | addresses(others))

    def _evaluate(self, step: _Step, values: dict[int, Value], overwrite: bool = False) -> None:
        """Put an op's outputs among the values; ``overwrite`` if ``x`` may be lost."""
        arguments = _gathered(step, values)
        function = step.op.overwriting if overwrite else step.op.function
        assert function is not None
        try:
            result = function(Arguments(step.op_type, step.name, arguments, self._opset))
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            raise ProgramError(
                f"{self.path}: Core ML op '{step.op_type}' named '{step.name}' cannot be "
                f"evaluated ({str(error).splitlines()[0]})"
            ) from error
        parts = result if isinstance(result, tuple) else (result,)
        for (slot, tensor), part in zip(step.outputs, parts, strict=True):
            if not _fits(part, tensor):
                raise ProgramError(
                    f"{self.path}: Core ML op '{step.op_type}' named '{step.name}' gave "
                    f"'{tensor.name}' the shape {list(part.shape)} and {part.dtype}, the program "
                    f"says {list(tensor.shape)} and {tensor.dtype}"
                )
            if tensor.dtype == _HALF and not step.op.exact:
                own = overwrite or address(part) not in addresses(arguments.values())
                part = round_to_half_(part) if own else round_to_half(part)
            values[slot] = part

    def _step(self, operation: Any, slots: dict[int, int]) -> _Step:
        """Plan one op of coremltools' program; ``slots`` is by identity of its variables."""
        arguments = {
            name: [self._slot(var, slots) for var in given]
            if isinstance(given, list | tuple)
            else self._slot(given, slots)
            for name, given in operation.inputs.items()
            if given is not None
        }
        outputs = []
        for var in operation.outputs:
            slots[id(var)] = len(slots)
            self._types[slots[id(var)]] = _type_of(var)
            outputs.append((slots[id(var)], self._types[slots[id(var)]]))
        op_type = operation.op_type
        return _Step(OPS[op_type], op_type, operation.name, arguments, outputs, [])

    def _slot(self, var: Any, slots: dict[int, int]) -> int:
        """Where a variable's value will be; a constant's is put there on its first use."""
        if id(var) not in slots:
            slots[id(var)] = len(slots)
            self._constants[slots[id(var)]] = _constant(var)
            if not isinstance(var.val, str):
                self._types[slots[id(var)]] = _type_of(var)
        return slots[id(var)]

    def _plan_freeing(self) -> None:
        """Let each step free the values that no later one reads, and forget unused constants."""
        read = {slot for step in self._steps for slot in _slots_read(step)} | {*self._output_slots}
        self._constants = {slot: value for slot, value in self._constants.items() if slot in read}
        kept = {*self._constants, *self._output_slots}
        for step in reversed(self._steps):
            used = [*(slot for slot, _ in step.outputs), *_slots_read(step)]
            step.freed.extend(slot for slot in dict.fromkeys(used) if slot not in kept)
            kept.update(used)


def _gathered(step: _Step, values: Mapping[int, Value]) -> dict[str, Argument]:
    """The values of an op's arguments."""
    return {
        name: values[slot] if isinstance(slot, int) else [values[item] for item in slot]
        for name, slot in step.arguments.items()
    }


def _slots_read(step: _Step) -> Iterator[int]:
    for slot in step.arguments.values():
        yield from [slot] if isinstance(slot, int) else slot


def _tensors(values: Mapping[int, Value], slots: Sequence[int]) -> tuple[Tensor, ...]:
    return tuple(value for slot in slots if isinstance(value := values[slot], Tensor))


def _type_of(var: Any) -> TensorType:
    shape = tuple(int(side) if isinstance(side, int | np.integer) else None for side in var.shape)
    tensor = TensorType(var.name, shape, dtype_name(var))
    if tensor.dtype not in STORED_AS:
        raise UnknownOpError(
            f"Core ML tensor '{tensor.name}' is of type {tensor.dtype}, which the evaluator does "
            "not know: check this program on a Mac"
        )
    return tensor


def _constant(var: Any) -> Value:
    """Value of a constant, in memory of its own."""
    if isinstance(var.val, str):
        return var.val
    dtype = STORED_AS[_type_of(var).dtype]
    return torch.from_numpy(np.array(var.val)).to(dtype, copy=True)


def _are_pixels(values: Tensor) -> bool:
    # Not a number fails the comparisons too.
    return bool(((values >= 0) & (values <= 255) & (values == values.round())).all())


def _fits(value: Tensor, declared: TensorType) -> bool:
    sides = zip(value.shape, declared.shape, strict=False)
    same = value.dim() == len(declared.shape) and all(d is None or s == d for s, d in sides)
    return same and value.dtype == STORED_AS[declared.dtype]
