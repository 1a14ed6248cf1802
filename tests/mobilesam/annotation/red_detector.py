"""A detector that finds what is red: a true graph in each of YOLO's output layouts.

It computes the box around every pixel whose red exceeds its green by more than a half, so that a
test knows what a right letterbox must give. Beside that box it tells four more candidates, of which
a right suppression keeps one.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2
"""Of the three grids of a picture of 64 x 64."""

NAMES = {0: "square", 1: "round", 2: "flat"}

CANDIDATES = ((0.0, 1, 0.8), (1.0, 1, 0.7), (0.0, 2, 0.6), (-1.0, 1, 0.5), (0.0, 0, 0.2))
"""How far to the right of the box each lies, its class, and its confidence."""

FOUND = ((1, 0.8), (2, 0.6))
"""Class and confidence of those that stay: the others are less sure, or overlap with the first."""

FINAL = ((0.0, 1, 0.8), (0.0, 2, 0.6), (0.0, 0, 0.2))
"""Candidates of the layout in which nothing overlaps."""


class _Graph:
    """Nodes and constants, named by counting."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name


def write_detector(
    path: Path,
    layout: str,
    *,
    sides: Sequence[int | str] = (SIDE, SIDE),
    batch: int | str = 1,
    half: bool = False,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write the detector.

    Args:
        path: of the file.
        layout: ``columns``, ``rows`` or ``final``.
        sides: H, W of its picture; names where they are open.
        batch: pictures at once; a name where that is open.
        half: float16 in and out.
        metadata: what the file says of itself; as Ultralytics writes it unless given.
    """
    graph = _Graph()
    picture = "images"
    if half:
        picture = graph.node("Cast", picture, to=TensorProto.FLOAT)
    red, green = (
        graph.node("Gather", picture, graph.constant([channel], np.int64), axis=1)
        for channel in (0, 1)
    )
    over = graph.node("Greater", graph.node("Sub", red, green), graph.constant(0.5))
    mask = graph.node("Cast", over, to=TensorProto.FLOAT)
    ends = {}
    for low, high, axes in (("x1", "x2", [1, 2]), ("y1", "y2", [1, 3])):
        line = graph.node("ReduceMax", mask, axes=axes, keepdims=0)
        for end, last in ((low, 0), (high, 1)):
            at = graph.node("ArgMax", line, axis=1, keepdims=1, select_last_index=last)
            ends[end] = graph.node("Cast", at, to=TensorProto.FLOAT)
        ends[high] = graph.node("Add", ends[high], graph.constant(1))
        any_red = graph.node("ReduceMax", line, axes=[1], keepdims=1)
    rows = [
        _row(graph, layout, ends, any_red, *candidate)
        for candidate in (FINAL if layout == "final" else CANDIDATES)
    ]
    axis = 2 if layout == "columns" else 1
    stacked = graph.node(
        "Concat",
        *(graph.node("Unsqueeze", row, graph.constant([axis], np.int64)) for row in rows),
        axis=axis,
    )
    length = {"columns": CELLS, "rows": 3 * CELLS, "final": 300}[layout]
    pads = [0, 0, 0, 0, 0, 0]
    pads[3 + axis] = length - len(rows)
    output = graph.node("Pad", stacked, graph.constant(pads, np.int64))
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    if half:
        output = graph.node("Cast", output, to=kind)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "red",
            [helper.make_tensor_value_info("images", kind, [batch, 3, *sides])],
            [helper.make_tensor_value_info(output, kind, None)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    if metadata is None:
        metadata = {"task": "detect", "stride": "32", "batch": "1", "names": str(NAMES)}
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def _row(
    graph: _Graph,
    layout: str,
    ends: dict[str, str],
    any_red: str,
    right: float,
    which: int,
    score: float,
) -> str:
    """One candidate, [B, its numbers]; its score is 0 where nothing is red."""
    x1, x2 = (graph.node("Add", ends[x], graph.constant(right)) for x in ("x1", "x2"))
    y1, y2 = ends["y1"], ends["y2"]

    def times(value: float) -> str:
        return graph.node("Mul", any_red, graph.constant(value))

    if layout == "final":
        numbers = [x1, y1, x2, y2, times(score), times(which)]
    else:
        numbers = [
            graph.node("Mul", graph.node("Add", low, high), graph.constant(0.5))
            for low, high in ((x1, x2), (y1, y2))
        ]
        numbers += [graph.node("Sub", high, low) for low, high in ((x1, x2), (y1, y2))]
        of_class = [score if each == which else 0.1 for each in NAMES]
        if layout == "rows":
            numbers.append(times(0.9))
            of_class = [each / 0.9 for each in of_class]
        numbers += [times(each) for each in of_class]
    return graph.node("Concat", *numbers, axis=1)
