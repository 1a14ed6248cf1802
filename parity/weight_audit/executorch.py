"""Constants of an ExecuTorch program: those of its own operations and those of XNNPACK's graphs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mobilesam.errors import BundleError
from mobilesam.runtimes.checked import first_line
from parity.weight_audit.constants import Constant, half_ulp
from parity.weight_audit.xnnpack import Node, Tensor, XNNPACKGraph, read_graph

_DTYPES = {1: np.int8, 3: np.int32, 4: np.int64, 5: np.float16, 6: np.float32, 11: np.bool_}
"""By torch's ScalarType."""

_MOVING = ("dim_order_ops::_to_dim_order_copy", "aten::expand_copy", "aten::unsqueeze_copy")
"""Operations that keep the values of what they read first, as far as they keep their number."""


class Known(NamedTuple):
    """A constant, and the largest error that its storage may have caused."""

    values: np.ndarray
    rounding: np.ndarray


def read_constants(path: Path) -> list[Constant]:
    """The floating-point constants that a program's operations compute with.

    The bias of a layer that computes in integers is what XNNPACK takes it for: a multiple of the
    product of the input's scale and the weight's, whatever scale the bias itself claims.

    Raises:
        BundleError: the file cannot be read.
    """
    try:
        return _Reader(path).read()
    except Exception as error:  # whatever a damaged flatbuffer makes of its reader
        raise BundleError(
            f"the constants of {path} cannot be read ({first_line(error)}), export the bundle again"
        ) from error


def read_program(path: Path) -> tuple[Any, list[XNNPACKGraph]]:
    """The program as ExecuTorch's own classes have it, and the graph of each delegate."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    file = deserialize_pte_binary(path.read_bytes())
    named = {}
    if file.named_data is not None:
        named = {
            key: bytes(file.named_data.buffers[entry.buffer_index])
            for key, entry in file.named_data.pte_data.items()
        }
    plan, *_ = file.program.execution_plan
    blobs = [file.program.backend_delegate_data[d.processed.index].data for d in plan.delegates]
    return file.program, [read_graph(bytes(blob), named) for blob in blobs]


class _Reader:
    def __init__(self, path: Path) -> None:
        self._program, self._graphs = read_program(path)
        self._plan = self._program.execution_plan[0]
        self._known = {
            number: known
            for number, value in enumerate(self._plan.values)
            if (known := self._stored(value.val)) is not None
        }
        self._found: dict[str, Constant] = {}
        self._place = 0

    def read(self) -> list[Constant]:
        for instruction in self._plan.chains[0].instructions:
            call = instruction.instr_args
            self._place += 1
            if hasattr(call, "op_index"):
                self._call(self._plan.operators[call.op_index].name, call.args)
            elif hasattr(call, "delegate_index"):
                self._delegate(call.delegate_index, call.args)
        return list(self._found.values())

    def _stored(self, tensor: Any) -> Known | None:
        """A tensor of the program that is a constant."""
        buffer = getattr(tensor, "data_buffer_idx", 0)
        if not buffer or tensor.allocation_info is not None:
            return None
        content = bytes(self._program.constant_buffer[buffer].storage)
        dtype = np.dtype(_DTYPES[int(tensor.scalar_type)])
        count = int(np.prod(tensor.sizes, dtype=np.int64))
        return _known(np.frombuffer(content, dtype, count).reshape(tensor.sizes))

    def _call(self, name: str, arguments: Sequence[int]) -> None:
        first = self._known.get(arguments[0])
        made = self._plan.values[arguments[-1]].val
        sizes = getattr(made, "sizes", None)
        if name in _MOVING and first is not None and sizes is not None:
            if np.prod(sizes) == first.values.size and int(made.scalar_type) in _DTYPES:
                values: np.ndarray = first.values.reshape(sizes).astype(
                    _DTYPES[int(made.scalar_type)]
                )
                self._known[arguments[-1]] = Known(values, first.rounding)
                return
        for number in arguments:
            if number in self._known:
                self._collect(f"value {number}", self._known[number])

    def _delegate(self, index: int, arguments: Sequence[int]) -> None:
        graph = self._graphs[index]
        known = {
            number: _known(tensor.content, tensor.scale)
            if tensor.content is not None
            else self._known[arguments[tensor.external]]
            for number, tensor in graph.tensors.items()
            if tensor.content is not None
            or (tensor.external >= 0 and arguments[tensor.external] in self._known)
        }
        for node in graph.nodes:
            self._place += 1
            given = [known[number] for number in node.inputs if number in known]
            moves = node.multiplies or node.reshapes or bool(node.order)
            if moves and len(given) == len(node.inputs):
                made = _product(*given) if node.multiplies else _transposed(given[0], node.order)
                known[node.output] = made
                external = graph.tensors[node.output].external
                if external >= 0:  # another call reads it
                    self._known[arguments[external]] = made
                continue
            for number in node.inputs:
                if number in known:
                    read = self._read(node, number, graph, known)
                    reader = f"{node.kind} {node.inputs.index(number)}"
                    self._collect(f"delegate {index}, value {number}", read, reader)

    def _read(self, node: Node, number: int, graph: XNNPACKGraph, known: dict[int, Known]) -> Known:
        """What a node takes a constant for."""
        tensor = graph.tensors[number]
        if not (node.layer and number == node.inputs[2] and tensor.content is not None):
            return known[number]
        if tensor.content.dtype.kind != "i":
            return known[number]
        steps = [_scale(graph.tensors[each]).reshape(-1) for each in node.inputs[:2]]
        scale = np.broadcast_to(steps[0] * steps[1], tensor.content.shape)
        return Known((tensor.content * scale).astype(np.float32), scale / 2)

    def _collect(self, name: str, known: Known, reader: str = "") -> None:
        if known.values.dtype.kind == "f":
            made = Constant(name, known.values, known.rounding, self._place, reader=reader)
            self._found.setdefault(name, made)


def _scale(tensor: Tensor) -> np.ndarray:
    if tensor.scale is None:
        raise ValueError("an integer bias is of a layer without scales")
    return tensor.scale


def _known(values: np.ndarray, scale: np.ndarray | None = None) -> Known:
    """A constant as it is stored; an int8 without a scale is multiplied by one later."""
    if values.dtype == np.float16:
        return Known(values.astype(np.float32), half_ulp(values))
    if scale is not None:
        return Known((values * scale).astype(np.float32), scale / 2)
    error = 0.5 if values.dtype == np.int8 else 0.0
    return Known(values, np.full((1,) * values.ndim, error, np.float32))


def _transposed(known: Known, order: tuple[int, ...]) -> Known:
    """With the axes in another order; as it is without one, or if a reshape came before it."""
    if len(order) != known.values.ndim:
        return known
    rounding = np.broadcast_to(known.rounding, known.values.shape)
    return Known(known.values.transpose(order), rounding.transpose(order))


def _product(left: Known, right: Known) -> Known:
    error = left.rounding * np.abs(right.values) + right.rounding * np.abs(left.values)
    return Known(left.values * right.values, np.asarray(error, np.float32))
