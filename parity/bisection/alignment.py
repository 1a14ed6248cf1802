"""Which node of the captured model each value of a file is.

By name: converters call a value after its node (:mod:`converters.layer_names`). What passes of a
converter rename is told by how they do it, or by what reads the value. Numbers are never compared:
a wrong value must not be taken for another.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from converters.layer_names import computing_nodes
from parity.bisection.engine import Engine, Operation, Value


class Match(NamedTuple):
    """A value of the file and the node it is.

    Attributes:
        permutation: of the node's dimensions, where the file has them in another order.
        shape: of the file's value.
    """

    node: Node
    shape: tuple[int, ...]
    permutation: tuple[int, ...] | None = None

    def arrange(self, value: Tensor) -> Tensor:
        """The node's value as the file lays it out."""
        if self.permutation is not None:
            value = value.permute(self.permutation)
        if value.numel() == math.prod(self.shape):
            return value.reshape(self.shape)
        return value.expand(self.shape)


Matches = dict[str, Match]
"""Matches by the name that a value has in the file."""


class Aligned(NamedTuple):
    """An opened file beside the model.

    Attributes:
        program: the captured model whose nodes are matched.
    """

    engine: Engine
    matches: Matches
    program: ExportedProgram


def shape_of(node: Node) -> tuple[int, ...] | None:
    """Shape of a node's value; None where it is not a single tensor."""
    value = node.meta.get("val")
    return tuple(int(side) for side in value.shape) if isinstance(value, Tensor) else None


def match(node: Node, value: Value) -> Match | None:
    """Take a value for a node's if the shapes agree but for sides of 1, or after broadcasting.

    A side that the file leaves open is the node's, where both have as many.
    """
    shape = shape_of(node)
    if shape is None or (None in value.shape and len(shape) != len(value.shape)):
        return None
    sides = tuple(shape[axis] if side is None else side for axis, side in enumerate(value.shape))
    equal = [side for side in shape if side != 1] == [side for side in sides if side != 1]
    broadcast = len(shape) == len(sides) and all(
        side in (1, wanted) for side, wanted in zip(shape, sides, strict=True)
    )
    return Match(node, sides) if equal or broadcast else None


def input_output_nodes(program: ExportedProgram, outputs: Iterable[str]) -> dict[str, Node]:
    """The nodes of the program's inputs and outputs, by contract name.

    Args:
        outputs: names of the outputs, in the contract's order, which is the program's.
    """
    named = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    results = next(node for node in program.graph.nodes if node.op == "output").args[0]
    assert isinstance(results, tuple | list)
    return named | {
        name: node for name, node in zip(outputs, results, strict=True) if isinstance(node, Node)
    }


def layer_nodes(program: ExportedProgram) -> dict[str, Node]:
    """Nodes of a named program by layer name; part i of an op with several is ``name_i``."""
    named = {}
    for node in computing_nodes(program):
        if shape_of(node) is not None:
            named[node.name] = node
        for part in node.users:
            if shape_of(node) is None and isinstance(part.args[-1], int):
                named[f"{node.name}_{part.args[-1]}"] = part
                if part.args[-1] == 0:  # of a batch norm a file has the first output alone
                    named.setdefault(node.name, part)
    return named


_MARKS = re.compile(
    r"(_cast|_to)_(fp16|fp32|bool|int32)|_has_output_shape|_after_broadcast|^_inversed_"
)
"""What coremltools' passes add to the name of a value that stays the same."""


def align_by_layer(engine: Engine, program: ExportedProgram, outputs: Sequence[str]) -> Matches:
    """The matches of a file whose values are named after layers.

    The arguments are those of :func:`input_output_nodes`, besides the engine.
    """
    nodes = layer_nodes(program) | input_output_nodes(program, outputs)
    return align(engine, lambda value, _: nodes.get(_MARKS.sub("", value.name)))


def align(engine: Engine, node_of: Callable[[Value, Operation | None], Node | None]) -> Matches:
    """Matches by a rule for names, then of copies of matched values, then by their neighbours."""
    found: Matches = {}

    def add(value: Value, node: Node | None) -> None:
        made = None if node is None else match(node, value)
        if made is not None:
            found[value.name] = made

    for value in engine.inputs:
        add(value, node_of(value, None))
    for operation in engine.operations:
        for value in operation.outputs:
            add(value, node_of(value, operation))
    _align_copies(engine, found)
    for value, node in _by_readers(engine, found):
        add(value, node)
    _align_copies(engine, found)
    return found


def _align_copies(engine: Engine, found: Matches) -> None:
    for operation in engine.operations:
        if operation.op_type in engine.copying and operation.outputs[0].name not in found:
            source = found.get(operation.inputs[0].value.name)
            if source is not None:
                found[operation.outputs[0].name] = source


def _read_by(node: Node, moved: bool) -> list[Node]:
    """What a node reads; for an op that only moves values, also one node further up.

    A converter makes one transposition of two in a row.
    """
    nearest = node.all_input_nodes
    further = [source for each in nearest for source in each.all_input_nodes] if moved else []
    return [*nearest, *further]


def _by_readers(engine: Engine, found: Matches) -> Iterator[tuple[Value, Node]]:
    """Unmatched values that can be only one node: it reads what their op reads, and is read by
    what a reader of theirs computes."""
    readers: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in engine.operations:
        for operand in operation.inputs:
            readers[operand.value.name].append(operation)
    taken = {each.node for each in found.values()}
    for operation in engine.operations:
        for value in operation.outputs:
            if value.name in found:
                continue
            sources = {
                found[operand.value.name].node
                for operand in operation.inputs
                if operand.value.name in found
            }
            candidates = {
                node
                for reader in readers[value.name]
                for output in reader.outputs
                if output.name in found
                for node in found[output.name].node.all_input_nodes
                if node not in taken
                and shape_of(node) == value.shape
                and not sources.isdisjoint(_read_by(node, operation.op_type in engine.moving))
            }
            rivals = {
                operand.value.name
                for reader in readers[value.name]
                for operand in reader.inputs
                if not operand.constant
                and operand.value.name not in found
                and operand.value.shape == value.shape
            }
            if len(candidates) == 1 and rivals == {value.name}:
                yield value, candidates.pop()
