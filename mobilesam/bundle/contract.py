"""The one I/O contract of every exported file: names, shapes, dtypes and meaning.

Converters build to it, manifests record it, runners feed by it, documents are generated from it.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from mobilesam.bundle.sam_interface import SHOWN, sam_image, sam_prompt, sam_signature
from mobilesam.bundle.tensors import SLOT_AXIS, Signature, TensorSpec
from mobilesam.errors import ImageError, PromptError
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import (
    ChannelOrder,
    Frame,
    in_order,
    normalized_input,
    pixels_input,
    uint8_input,
)
from mobilesam.model.point_labels import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, PADDING_POINT, UNUSED_SLOT

if TYPE_CHECKING:  # a process that runs exported files has no need of torch
    from mobilesam.model.sam import MobileSAM

CONTRACT_VERSION = "1.5"
"""Major version changes break readers; a reader accepts its own major version only. Minor ones add
promises: since 1.1 a scheme's meaning is word for word that of the table; since 1.2 what is not to
be read, a mask input without its flag and the coordinates of unused slots, may be infinite; since
1.3 there are the variant ``uint8`` and channel orders, and decoders that give one full mask; since
1.4 there are encoders that take photos of one size and scale them themselves; since 1.5 an
embedding may be float16."""

InputVariant = Literal["pixels", "normalized", "uint8"]
INPUT_VARIANTS: tuple[InputVariant, ...] = ("pixels", "normalized", "uint8")
Interface = Literal["mobilesam", "sam"]
Masks = Literal["low_res", "full"]
MASKS: tuple[Masks, ...] = ("low_res", "full")
EmbeddingType = Literal["float32", "float16"]
EMBEDDING_TYPES: tuple[EmbeddingType, ...] = ("float32", "float16")
Component = Literal["encoder", "decoder"]
COMPONENTS: tuple[Component, ...] = ("encoder", "decoder")

MASK_VALUE = 255
"""Of a pixel of a full mask, which can be drawn as it is, as transparency."""

DEFAULT_SLOTS = 8
"""K, the number of point slots of a fixed-shape decoder."""

LABELS = {
    1: "foreground",
    0: "background",
    BOX_TOP_LEFT: "box top-left",
    BOX_BOTTOM_RIGHT: "box bottom-right",
    PADDING_POINT: "SAM's own padding point, given once whenever there is no box",
    UNUSED_SLOT: "unused slot",
}


@dataclass(frozen=True)
class Contract:
    """The contract of one export.

    Attributes:
        image_size: S. grid: S/16. channels: of the embedding.
        input_variant: how the encoder takes the photo: ``pixels``, float planes that the graph
            normalises; ``normalized``, float planes that the app has normalised; ``uint8``, the
            pixels as they lie in memory, which the graph turns into planes and normalises.
        slots: K.
        slot_counts: numbers of slots that the decoder accepts, ascending up to K; empty: K alone.
        interface: whose tensors they are; ``sam``: those of SAM's own ONNX export
            (:mod:`mobilesam.bundle.sam_interface`).
        masks: ``low_res``: logits of four masks, of which the app chooses one and scales it;
            ``full``: the decoder does, and gives one mask of S x S beside its logits.
        channel_order: of a pixel in variant ``uint8``; the others have RGB planes.
        photo_size: H, W of the photos that the encoder takes, which it scales and pads itself;
            None: the app scales photos of any size.
        embedding_type: dtype of the image embedding, which an app hands from the encoder to the
            decoder.
    """

    image_size: int
    stride: int
    channels: int
    input_variant: InputVariant
    slots: int
    slot_counts: tuple[int, ...] = ()
    interface: Interface = "mobilesam"
    channel_order: ChannelOrder = "rgb"
    masks: Masks = "low_res"
    photo_size: tuple[int, int] | None = None
    embedding_type: EmbeddingType = "float32"

    @classmethod
    def of(
        cls,
        model: "MobileSAM",
        *,
        input_variant: InputVariant = "pixels",
        slots: int = DEFAULT_SLOTS,
        channel_order: ChannelOrder = "rgb",
        masks: Masks = "low_res",
        photo_size: tuple[int, int] | None = None,
        embedding_type: EmbeddingType = "float32",
    ) -> "Contract":
        """The contract of an export of this model."""
        return cls(
            model.image_size,
            model.stride,
            model.channels,
            input_variant,
            slots,
            channel_order=channel_order,
            masks=masks,
            photo_size=photo_size,
            embedding_type=embedding_type,
        )

    @property
    def graph_normalises(self) -> bool:
        """Whether the encoder takes a photo's values of 0 to 255."""
        return self.input_variant != "normalized"

    @property
    def takes_valid_size(self) -> bool:
        """Whether the encoder has to be told how much of its frame is photo."""
        return self.graph_normalises and self.photo_size is None

    @property
    def low_res_size(self) -> int:
        """Side of the low-res logits, S/4."""
        return 4 * self.image_size // self.stride

    def slots_for(self, used: int) -> int:
        """The fewest slots of which the decoder can be given that hold so many points."""
        return next((count for count in self.slot_counts if count >= used), self.slots)

    def signature(self, component: Component) -> Signature:
        """The encoder as ``encode`` or the decoder as ``decode``."""
        own = self._encode() if component == "encoder" else self._decode()
        return sam_signature(own, self.image_size) if self.interface == "sam" else own

    @property
    def own(self) -> "Contract":
        """The same with this project's own tensors: what the network inside a file computes."""
        return replace(self, interface="mobilesam")

    def _embedding(self, meaning: str) -> TensorSpec:
        grid = self.image_size // self.stride
        axes = ("batch", "channel", "grid_row", "grid_column")
        shape = (1, self.channels, grid, grid)
        return TensorSpec("image_embeddings", shape, self.embedding_type, axes, meaning)

    def _encode(self) -> Signature:
        size, order = self.image_size, self.channel_order
        dtype = "float32"
        axes: tuple[str, ...] = ("batch", "rgb", "row", "column")
        values = {
            "pixels": "0 to 255; black where the image does not reach, the graph normalises",
            "normalized": "mean subtracted, divided by std, then zero where the image does not "
            "reach",
            "uint8": "0 to 255; anything where the image does not reach, the graph normalises",
        }[self.input_variant]
        height, width = self.photo_size or (size, size)
        shape = (1, 3, height, width)
        if self.input_variant == "uint8":
            shape, dtype = (1, height, width, len(order)), "uint8"
            axes = ("batch", "row", "column", order)
        scaled = f"resized so that its longest side is {size} (bilinear, antialiased)"
        meaning = f"{order.upper()} image, {scaled}, placed top-left; values {values}"
        if self.photo_size is not None:
            meaning = (
                f"{order.upper()} photo of {width} x {height} pixels, values 0 to 255; {scaled}, "
                "normalised and padded by the graph"
            )
        image = TensorSpec("image", shape, dtype, axes, meaning)
        valid = TensorSpec(
            "valid_size",
            (2,),
            "float32",
            ("height_width",),
            "height and width of the part of the frame that is image, in whole pixels",
        )
        inputs = (image, valid) if self.takes_valid_size else (image,)
        return Signature("encode", inputs, (self._embedding("image embedding"),))

    def _decode(self) -> Signature:
        k, low = self.slots, self.low_res_size
        rows = ("row", "column")
        labels = ", ".join(f"{value} {meaning}" for value, meaning in LABELS.items())
        inputs = (
            self._embedding("image embedding, as the encoder returns it"),
            TensorSpec(
                "point_coords",
                (1, k, 2),
                "float32",
                ("batch", "slot", "xy"),
                f"x, y in pixels of the {self.image_size} x {self.image_size} frame, (0, 0) its "
                "top-left corner; the graph adds the half pixel",
                self.slot_counts,
            ),
            TensorSpec(
                "point_labels", (1, k), "float32", ("batch", SLOT_AXIS), labels, self.slot_counts
            ),
            TensorSpec(
                "mask_input",
                (1, 1, low, low),
                "float32",
                ("batch", "mask", *rows),
                "low-res logits of an earlier pass; ignored when has_mask_input is 0",
            ),
            TensorSpec(
                "has_mask_input", (1,), "float32", ("batch",), "1 if mask_input counts, else 0"
            ),
        )
        outputs: tuple[TensorSpec, ...] = (
            TensorSpec(
                "low_res_masks",
                (1, 4, low, low),
                "float32",
                ("batch", "mask", *rows),
                "logits; mask 0 is the single-mask output, 1 to 3 the alternatives",
            ),
            TensorSpec(
                "iou_predictions",
                (1, 4),
                "float32",
                ("batch", "mask"),
                "predicted IoU of each mask",
            ),
        )
        if self.masks == "full":
            outputs = self._full(*outputs)
        return Signature("decode", inputs, outputs)

    def _full(self, low_res: TensorSpec, iou: TensorSpec) -> tuple[TensorSpec, ...]:
        """Outputs of a decoder that chooses the mask, of those of one that does not."""
        size, low = self.image_size, self.low_res_size
        mask = TensorSpec(
            "masks",
            (1, 1, size, size),
            "uint8",
            ("batch", "mask", "row", "column"),
            f"{MASK_VALUE} in the mask, else 0, in the frame: the photo is its top-left part",
        )
        return (
            mask,
            replace(iou, shape=(1, 1), meaning=f"predicted IoU {SHOWN}"),
            replace(low_res, shape=(1, 1, low, low), meaning=f"logits {SHOWN}"),
        )


def pack_image(image: np.ndarray, contract: Contract) -> dict[str, np.ndarray]:
    """The encoder's inputs for an image HxWx3 uint8 RGB, by the contract's input variant.

    Raises:
        ImageError: the encoder takes photos of another size.
    """
    if contract.photo_size is not None:
        return {"image": _photo(image, contract, contract.photo_size)}
    if contract.interface == "sam":
        return sam_image(image, contract.image_size)
    if contract.input_variant == "uint8":
        values, valid_size = uint8_input(image, contract.image_size, contract.channel_order)
        return {"image": values, "valid_size": valid_size}
    if contract.input_variant == "pixels":
        pixels, valid_size = pixels_input(image, contract.image_size)
        return {"image": pixels, "valid_size": valid_size}
    return {"image": normalized_input(image, contract.image_size)}


def _photo(image: np.ndarray, contract: Contract, size: tuple[int, int]) -> np.ndarray:
    """A photo as it is, uint8 [1, H, W, C] or float32 planes [1, 3, H, W]."""
    height, width = image.shape[:2]
    if (height, width) != size:
        raise ImageError(
            f"this encoder takes photos of {size[1]} x {size[0]} pixels (width x height), which it "
            f"scales itself, and not of {width} x {height}: give it such a photo, or export "
            "without --resize"
        )
    if contract.input_variant != "uint8":
        return image.transpose(2, 0, 1)[None].astype(np.float32)
    return in_order(image, contract.channel_order)[None]


def pack_prompt(prompt: Prompt, frame: Frame, contract: Contract) -> dict[str, np.ndarray]:
    """The decoder's inputs for a prompt, but for the image embedding: what the host app does.

    Points come first, then either the box's two corners or SAM's one padding point, then unused
    slots.

    Raises:
        PromptError: the prompt needs more slots than the decoder has.
    """
    corners = 0 if prompt.box is None else 2
    padding = 1 if len(prompt.point_coords) and not corners else 0
    used = len(prompt.point_coords) + corners + padding
    if used > contract.slots:
        raise PromptError(
            f"{len(prompt.point_coords)} point(s){' and a box' if corners else ''} need {used} "
            f"slots but this decoder has {contract.slots}: use fewer points or export "
            "with more slots"
        )
    slots = contract.slots_for(used)
    coords = np.zeros((1, slots, 2), np.float32)
    labels = np.full((1, slots), UNUSED_SLOT, np.float32)
    end = len(prompt.point_coords)
    coords[0, :end] = frame.coords_to_frame(prompt.point_coords)
    labels[0, :end] = prompt.point_labels
    if prompt.box is not None:
        coords[0, end : end + 2] = frame.boxes_to_frame(prompt.box).reshape(2, 2)
        labels[0, end : end + 2] = BOX_TOP_LEFT, BOX_BOTTOM_RIGHT
    elif padding:
        labels[0, end] = PADDING_POINT
    mask = np.zeros((1, 1, contract.low_res_size, contract.low_res_size), np.float32)
    if prompt.mask_input is not None:
        mask[0, 0] = prompt.mask_input
    inputs = {
        "point_coords": coords,
        "point_labels": labels,
        "mask_input": mask,
        "has_mask_input": np.array([prompt.mask_input is not None], np.float32),
    }
    return sam_prompt(inputs, frame) if contract.interface == "sam" else inputs
