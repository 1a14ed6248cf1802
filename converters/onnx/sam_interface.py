"""SAM's own interface around an ONNX program: the photo before it, the photo's masks after it.

The program is this project's; nodes before the encoder and after the decoder speak the interface
(:mod:`mobilesam.bundle.sam_interface`). They are the same in every scheme, and in float32.

Source: ONNX operator sets 18 to 21.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mobilesam.bundle.contract import Component, Contract
from mobilesam.bundle.tensors import SLOT_AXIS, Signature, declared_shape

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

PREFIX = "sam_"
"""Begins the names of what is added."""


def speak_sam(model: "ModelProto", component: Component, contract: Contract) -> None:
    """Give a program SAM's interface, in place.

    Args:
        model: a component with this project's own inputs and outputs.
        contract: of interface ``sam``.
    """
    if component == "encoder":
        _take_photo(_Nodes(model), contract)
    else:
        _give_photo_masks(_Nodes(model), contract)
    _declare(model, contract.signature(component))


class _Nodes:
    """Adds nodes and constants to a program; each method returns the name of a value."""

    def __init__(self, model: "ModelProto") -> None:
        self.graph = model.graph
        self.made: list[NodeProto] = []

    def constant(self, name: str, value: object, dtype: type) -> str:
        from onnx import numpy_helper

        name = f"{PREFIX}{name}"
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def add(self, kind: str, name: str, inputs: Sequence[str], **attributes: object) -> str:
        """A node of one output; an empty name leaves an optional input out."""
        from onnx import helper

        own = f"{PREFIX}{name}"
        self.made.append(helper.make_node(kind, inputs, [own], own, **attributes))
        return own

    def cast(self, name: str, value: str, dtype: type) -> str:
        from onnx import helper

        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", name, [value], to=to)

    def bilinear(self, name: str, image: str, size: str) -> str:
        """An image [1, 1, h, w] at a size int64 [4], align_corners false, not antialiased."""
        return self.add(
            "Resize",
            name,
            [image, "", "", size],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def rename(self, change: Callable[[str], str]) -> None:
        """Change the names of values wherever the program has them."""
        for node in (*self.graph.node, *self.made):
            for names in (node.input, node.output):
                names[:] = [change(name) for name in names]


def _take_photo(nodes: _Nodes, contract: Contract) -> None:
    """``input_image`` [h, w, 3] to ``image`` [1, 3, S, S] and ``valid_size``."""
    side = contract.image_size
    size = nodes.add("Shape", "size", ["input_image"], start=0, end=2)
    valid = nodes.cast("valid_size", size, np.float32)
    # Less than nothing would cut off a photo that is too large; so Reshape refuses it.
    whole = nodes.constant("frame_size", [side, side], np.int64)
    missing = nodes.add("Sub", "missing", [whole, size])
    added = nodes.add("Max", "added", [missing, nodes.constant("none", [0, 0], np.int64)])
    # Rows and columns are added at the end of the last two of three axes.
    before = nodes.constant("before", [0, 0, 0, 0], np.int64)
    pads = nodes.add("Concat", "pads", [before, added], axis=0)
    planes = nodes.add("Transpose", "planes", ["input_image"], perm=[2, 0, 1])
    padded = nodes.add("Pad", "padded", [planes, pads])
    shape = nodes.constant("image_shape", [1, 3, side, side], np.int64)
    image = nodes.add("Reshape", "image", [padded, shape])
    given = {"image": image, "valid_size": valid}
    nodes.rename(lambda name: given.get(name, name))
    _put_first(nodes)


def _give_photo_masks(nodes: _Nodes, contract: Contract) -> None:
    """Four ``low_res_masks`` and ``iou_predictions`` to the one that SAM shows, at two sizes."""
    four = {name: f"{PREFIX}four_{name}" for name in ("low_res_masks", "iou_predictions")}
    nodes.rename(lambda name: four.get(name, name))
    chosen = _chosen(nodes, four["iou_predictions"])
    iou = nodes.add("Gather", "iou", [four["iou_predictions"], chosen], axis=1)
    low_res = nodes.add("Gather", "low_res", [four["low_res_masks"], chosen], axis=1)
    masks = _at_photo_size(nodes, low_res, contract.image_size)
    given = {iou: "iou_predictions", low_res: "low_res_masks", masks: "masks"}
    nodes.rename(lambda name: given.get(name, name))
    nodes.graph.node.extend(nodes.made)


def _chosen(nodes: _Nodes, iou: str) -> str:
    """Index int64 [1] of the mask that SAM shows.

    The best predicted of masks 1 to 3 for a lone point, which is ambiguous, else 0: as
    :func:`mobilesam.inference.predictor.choose_mask`.
    """
    best = nodes.add(
        "ArgMax",
        "best",
        [
            nodes.add(
                "Slice",
                "alternatives",
                [
                    iou,
                    nodes.constant("first", [1], np.int64),
                    nodes.constant("last", [4], np.int64),
                    nodes.constant("axis", [1], np.int64),
                ],
            )
        ],
        axis=1,
        keepdims=0,
    )
    best = nodes.add("Add", "best_mask", [best, nodes.constant("one", [1], np.int64)])
    # A point counts one, a corner of a box two, a mask input two: one is a point and nothing else.
    at_least = {"point": -0.5, "corner": 1.5}
    counts = [
        nodes.cast(
            f"is_{kind}",
            nodes.add(
                "Greater",
                f"at_least_{kind}",
                ["point_labels", nodes.constant(f"below_{kind}", bound, np.float32)],
            ),
            np.float32,
        )
        for kind, bound in at_least.items()
    ]
    weights = nodes.add("Add", "weights", counts)
    slots = nodes.constant("slot_axis", [1], np.int64)
    points = nodes.add("ReduceSum", "points", [weights, slots], keepdims=0)
    asked = nodes.add("Add", "prompts", ["has_mask_input", "has_mask_input"])
    asked = nodes.add("Add", "asked", [points, asked])
    lone = nodes.add(
        "Equal",
        "is_lone",
        [nodes.cast("count", asked, np.int64), nodes.constant("lone", [1], np.int64)],
    )
    return nodes.add("Mul", "chosen", [best, nodes.cast("lone_point", lone, np.int64)])


def _at_photo_size(nodes: _Nodes, low_res: str, side: int) -> str:
    """Logits [1, 1, S/4, S/4] to [1, 1, H, W]: up to S x S, cropped, to ``orig_im_size``.

    The size of the photo in the frame is rounded in float64, as
    :attr:`mobilesam.inference.transforms.Frame.valid_size` does.
    """
    frame = nodes.constant("frame_shape", [1, 1, side, side], np.int64)
    full = nodes.bilinear("frame", low_res, frame)
    exact = nodes.cast("exact_size", "orig_im_size", np.float64)
    longest = nodes.add("ReduceMax", "longest", [exact], keepdims=1)
    scale = nodes.add("Div", "scale", [nodes.constant("side", [side], np.float64), longest])
    scaled = nodes.add("Mul", "scaled", [exact, scale])
    half = nodes.constant("half", [0.5], np.float64)
    rounded = nodes.add("Floor", "rounded", [nodes.add("Add", "upper", [scaled, half])])
    valid = nodes.cast("valid_size", rounded, np.int64)
    start = nodes.constant("top_left", [0, 0], np.int64)
    axes = nodes.constant("image_axes", [2, 3], np.int64)
    inside = nodes.add("Slice", "inside", [full, start, valid, axes])
    whole = nodes.cast("photo_size", "orig_im_size", np.int64)
    single = nodes.constant("single", [1, 1], np.int64)
    size = nodes.add("Concat", "masks_shape", [single, whole], axis=0)
    return nodes.bilinear("masks", inside, size)


def _put_first(nodes: _Nodes) -> None:
    after = list(nodes.graph.node)
    del nodes.graph.node[:]
    nodes.graph.node.extend([*nodes.made, *after])


def _declare(model: "ModelProto", signature: Signature) -> None:
    """Inputs and outputs of the interface, a name for each side that may vary."""
    from onnx import helper

    names = {SLOT_AXIS: "num_points"}
    for declared, specs in (
        (model.graph.input, signature.inputs),
        (model.graph.output, signature.outputs),
    ):
        del declared[:]
        for spec in specs:
            sides = [
                names.get(axis, axis) if side is None else side
                for axis, side in zip(spec.axes, declared_shape(spec), strict=True)
            ]
            dtype = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
            declared.append(helper.make_tensor_value_info(spec.name, dtype, sides))
