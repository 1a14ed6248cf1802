"""The reference model wrapped to the contract: what every converter is given."""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.kept import Keep, selected
from converters.schemes import TARGETS
from mobilesam.bundle.contract import MASK_VALUE, Component, Contract
from mobilesam.errors import ExportError
from mobilesam.inference.resampling import PRECISION, pillow_axes, taps
from mobilesam.inference.transforms import MASK_THRESHOLD, PIXEL_MEAN, PIXEL_STD, Frame
from mobilesam.model.layers import bake
from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.point_labels import PADDING_POINT
from mobilesam.model.sam import MobileSAM
from mobilesam.model.short_decoder import MOST_SLOTS, ShortMaskDecoder

HIDDEN = -8192.0
"""Added to the attention score of an unused slot. As long as scores lie within half of it of each
other its exponential is exactly zero in float32 and float16, and unlike infinity it leaves float16
three bits of headroom; a power of two, it is added without rounding itself."""


HALF = PRECISION // 2
"""Bits of each half of a weight of :class:`Resampling`."""


class EncoderModule(nn.Module):
    """The image encoder as ``encode``; it also normalises and pads, unless the app does."""

    mean: Tensor
    std: Tensor
    position: Tensor

    def __init__(self, model: MobileSAM, contract: Contract) -> None:
        super().__init__()
        self.normalizes = contract.graph_normalises
        self.image_encoder = copy.deepcopy(model.image_encoder)
        bake(self.image_encoder, contract.image_size // contract.stride)
        if self.normalizes:
            self.register_buffer("mean", torch.tensor(PIXEL_MEAN).reshape(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(PIXEL_STD).reshape(1, 3, 1, 1))
        if contract.takes_valid_size:
            self.register_buffer("position", torch.arange(contract.image_size).float())

    def forward(self, image: Tensor, valid_size: Tensor | None = None) -> Tensor:
        """[1, 3, S, S] (and [2] where the graph normalises) to [1, 256, S/16, S/16].

        Raises:
            ExportError: the graph normalises and ``valid_size`` is None.
        """
        if self.normalizes:
            if valid_size is None:
                raise ExportError("an encoder that normalises needs valid_size")
            # SAM pads after normalising: the padding must be exact zeros, not black normalised.
            rows = self._inside(valid_size[0:1], (1, 1, -1, 1))
            columns = self._inside(valid_size[1:2], (1, 1, 1, -1))
            image = (image - self.mean) / self.std * (rows * columns)
        return self.image_encoder(image)

    def _inside(self, side: Tensor, axes: tuple[int, ...]) -> Tensor:
        """[1], a number of pixels, to [S] along ``axes``: exactly one inside, zero for others.

        GPU delegates take a difference of two ReLUs where they refuse a clamp; and LiteRT's reads
        the first of S constants only where one number of one axis meets them, but of four axes all.
        """
        left = side.reshape(1, 1, 1, 1) - self.position.reshape(axes)
        return torch.relu(left) - torch.relu(left - 1)


class PhotoEncoderModule(EncoderModule):
    """The image encoder as ``encode`` in variant ``uint8``: it takes an app's own pixels."""

    def __init__(self, model: MobileSAM, contract: Contract) -> None:
        super().__init__(model, contract)
        self.channels = len(contract.channel_order)
        self.places = [contract.channel_order.index(channel) for channel in "rgb"]

    def forward(self, image: Tensor, valid_size: Tensor | None = None) -> Tensor:
        """[1, S, S, C] uint8 and [2] to [1, 256, S/16, S/16]."""
        # Made floats first, since delegates have few ops for bytes.
        return super().forward(self.planes(image.float()), valid_size)

    def planes(self, image: Tensor) -> Tensor:
        """[1, H, W, C] to [1, 3, H, W], red first."""
        planes = image.permute(0, 3, 1, 2)
        if self.places != [0, 1, 2]:
            return torch.cat([planes[:, place : place + 1] for place in self.places], dim=1)
        return planes[:, :3] if self.channels > 3 else planes


class Resampling(nn.Module):
    """One axis of planes scaled as Pillow does it, bit for bit.

    Pillow sums whole numbers of 30 bits. Here each weight is split into its upper and lower eleven
    bits: both sums, and all that is made of them, are whole numbers that float32 holds exactly, in
    whatever order a runtime adds; and float16 holds the halves of the weights.

    Args:
        old, new: pixels of the axis before and after.
        axis: of [1, 3, H, W]; 2 is rows, 3 columns.
    """

    def __init__(self, old: int, new: int, axis: int) -> None:
        super().__init__()
        made = taps(old, new)
        self.axis, self.count = axis, len(made.index)
        shape = [-1 if place == axis else 1 for place in range(4)]
        upper, lower = np.divmod(made.weight, 1 << HALF)
        assert 255 * lower.sum(axis=0).max() + (1 << (PRECISION - 1)) < 1 << 24
        for number, index in enumerate(made.index):
            self.register_buffer(f"index{number}", torch.from_numpy(index))
            for name, part in (("upper", upper), ("lower", lower)):
                weights = torch.from_numpy(part[number]).float().reshape(shape)
                self.register_buffer(f"{name}{number}", weights)

    def forward(self, planes: Tensor) -> Tensor:
        """Float planes of whole numbers, 0 to 255, to such planes."""
        upper, lower = self._sums(planes)
        carried = torch.floor((lower + (1 << (PRECISION - 1))) * 2.0**-HALF)
        return torch.floor((upper + carried) * 2.0 ** (HALF - PRECISION))

    def _sums(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sums with the upper and with the lower halves of the weights."""
        upper: Tensor | None = None
        lower: Tensor | None = None
        for number in range(self.count):
            chosen = planes.index_select(self.axis, self.get_buffer(f"index{number}"))
            more = chosen * self.get_buffer(f"upper{number}")
            rest = chosen * self.get_buffer(f"lower{number}")
            upper = more if upper is None else upper + more
            lower = rest if lower is None else lower + rest
        assert upper is not None and lower is not None
        return upper, lower


class ResizingEncoderModule(PhotoEncoderModule):
    """The image encoder as ``encode`` where it takes photos of one size and scales them itself."""

    def __init__(self, model: MobileSAM, contract: Contract) -> None:
        super().__init__(model, contract)
        assert contract.photo_size is not None
        old, size = contract.photo_size, contract.image_size
        new = Frame(old, size).valid_size
        self.takes_bytes = contract.input_variant == "uint8"
        self.padding = (0, size - new[1], 0, size - new[0])
        self.steps = nn.ModuleList(
            Resampling(old[axis], new[axis], 2 + axis)
            for axis in pillow_axes(old, new)
            if old[axis] != new[axis]
        )

    def forward(self, image: Tensor, valid_size: Tensor | None = None) -> Tensor:
        """[1, H, W, C] uint8, or float32 planes [1, 3, H, W], to [1, 256, S/16, S/16]."""
        planes = self.planes(image.float()) if self.takes_bytes else image
        for step in self.steps:
            planes = step(planes)
        return self.image_encoder(F.pad((planes - self.mean) / self.std, self.padding))


class DecoderModule(nn.Module):
    """Prompt encoder and mask decoder as ``decode``, with K slots of which any may be unused.

    What lies in an unused slot's coordinates, or in a mask input that does not count, reaches no
    layer: it is replaced by zeros first.

    Attributes:
        keep: how; a converter may choose another way of :mod:`converters.kept`.
        slots: K, the most of them.
    """

    image_position: Tensor

    def __init__(self, model: MobileSAM, contract: Contract) -> None:
        super().__init__()
        self.keep: Keep = selected
        self.slots = contract.slots
        self.prompt_encoder = copy.deepcopy(model.prompt_encoder)
        self.mask_decoder = copy.deepcopy(model.mask_decoder)
        with torch.no_grad():
            # In memory order: ExecuTorch writes a constant's bytes without heed of its strides,
            # and the decoder then draws other masks.
            position = self.prompt_encoder.image_position()
            self.register_buffer("image_position", position.contiguous().clone())

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, ...]:
        """[1, 256, S/16, S/16], [1, K, 2], [1, K], [1, 1, S/4, S/4], [1] to masks and IoUs."""
        # Without a boolean in the graph: one from label 0 on, zero for -1 and -2, ...
        placed = torch.relu(point_labels + 1) - torch.relu(point_labels)
        # ... and one for label -2, zero for every other one.
        unused = torch.relu(PADDING_POINT - point_labels)
        coords = self.keep(point_coords, placed)
        tokens = self.prompt_encoder.embed_points(coords, point_labels)
        sparse = tokens * (1 - unused).unsqueeze(-1)

        logits = self.keep(mask_input.reshape(1, 1, -1), has_mask_input.reshape(1, 1))
        given = has_mask_input.reshape(1, 1, 1, 1)
        dense = (
            given * self.prompt_encoder.embed_mask(logits.reshape(mask_input.shape))
            + (1 - given) * self.prompt_encoder.embed_no_mask()
        )
        found: tuple[Tensor, Tensor] = self.mask_decoder(
            image_embeddings, self.image_position, sparse, dense, unused * HIDDEN
        )
        return found


class FullMaskDecoderModule(DecoderModule):
    """The decoder as ``decode`` where the graph chooses the mask, and scales and thresholds it."""

    def __init__(self, model: MobileSAM, contract: Contract) -> None:
        super().__init__(model, contract)
        self.image_size = contract.image_size

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, ...]:
        """Inputs as of :class:`DecoderModule` to a mask, its predicted IoU and its logits.

        [1, 1, S, S] uint8, [1, 1] and [1, 1, S/4, S/4] float32.
        """
        four, iou = super().forward(
            image_embeddings, point_coords, point_labels, mask_input, has_mask_input
        )
        # One of the four is one, the others are zero: exact, and every delegate has the product.
        taken = self._taken(iou, point_labels, has_mask_input)
        low_res = (four * taken.reshape(1, 4, 1, 1)).sum(1, keepdim=True)
        side = (self.image_size, self.image_size)
        full = F.interpolate(low_res, side, mode="bilinear", align_corners=False)
        mask = ((full > MASK_THRESHOLD).float() * MASK_VALUE).to(torch.uint8)
        return mask, (iou * taken).sum(1, keepdim=True), low_res

    def _taken(self, iou: Tensor, point_labels: Tensor, has_mask_input: Tensor) -> Tensor:
        """Which of four masks is shown, [1, 4], as ``mobilesam.inference.predictor.choose_mask``.

        The best of masks 1 to 3 for a lone point, else mask 0.
        """
        # A point counts one, a corner of a box two, a mask input two.
        points = torch.relu(point_labels + 1) - torch.relu(point_labels)
        corners = torch.relu(point_labels - 1) - torch.relu(point_labels - 2)
        asked = (points + corners).sum(1, keepdim=True) + 2 * has_mask_input.reshape(1, 1)
        lone = torch.relu(1 - (asked - 1).abs())
        one, two, three = iou[:, 1:2], iou[:, 2:3], iou[:, 3:4]
        first = (one >= two).float() * (one >= three).float()
        second = (1 - first) * (two >= three).float()
        third = (1 - first) * (1 - second)
        return torch.cat([1 - lone, lone * first, lone * second, lone * third], dim=1)


def shorten(module: nn.Module, target: str, scheme: str) -> None:
    """Compute a decoder in fewer multiplications, in place.

    Where the target's row says so, and the slots are so few that they are fewer.
    """
    if isinstance(module, DecoderModule) and scheme in TARGETS[target].short_decoder:
        if type(module.mask_decoder) is MaskDecoder and module.slots <= MOST_SLOTS:
            module.mask_decoder = ShortMaskDecoder(module.mask_decoder)


def refuse_train_mode(model: nn.Module) -> None:
    """Refuse a model in train mode: batch norm would use the batch's statistics.

    Raises:
        ExportError: the model, or a module in it, is in train mode.
    """
    for name, module in model.named_modules():
        if module.training:
            raise ExportError(
                f"the model is in train mode (module '{name or 'model'}'): call model.eval() first"
            )


def build_module(model: MobileSAM, component: Component, contract: Contract) -> nn.Module:
    """Wrap a component to the contract, in eval mode, with frozen parameters.

    Raises:
        ExportError: the model is in train mode.
    """
    refuse_train_mode(model)
    wrapper: type[EncoderModule | DecoderModule]
    if component == "encoder" and contract.photo_size is not None:
        wrapper = ResizingEncoderModule
    elif component == "encoder":
        wrapper = PhotoEncoderModule if contract.input_variant == "uint8" else EncoderModule
    else:
        wrapper = FullMaskDecoderModule if contract.masks == "full" else DecoderModule
    return wrapper(model, contract).eval().requires_grad_(False)


def example_inputs(contract: Contract, component: Component) -> dict[str, Tensor]:
    """Seeded inputs by contract name that exercise every branch of the component."""
    generator = torch.Generator().manual_seed(0)
    size, slots = contract.image_size, contract.slots
    takes_bytes = contract.input_variant == "uint8"

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    if component == "encoder":
        shape = contract.signature("encoder").inputs[0].shape
        if contract.photo_size is not None:
            values = (random(*shape) * 255).round()
            return {"image": values.to(torch.uint8 if takes_bytes else torch.float32)}
        image = torch.zeros(1, 3, size, size)
        height, width = size, size * 3 // 4
        valid_size = torch.tensor([float(height), float(width)])
        if takes_bytes:
            values = (random(*shape) * 255).round().to(torch.uint8)
            return {"image": values, "valid_size": valid_size}
        if contract.input_variant == "pixels":
            image[..., :width] = (random(1, 3, height, width) * 255).round()
            return {"image": image, "valid_size": valid_size}
        image[..., :width] = random(1, 3, height, width) * 4 - 2
        return {"image": image}
    labels = torch.full((1, slots), -2.0)
    used = torch.tensor([1.0, 0.0, 2.0, 3.0])[: min(slots, 4)]
    labels[0, : len(used)] = used
    embedding = contract.signature("encoder").outputs[0]
    shape, dtype = embedding.shape, embedding.dtype
    low = contract.low_res_size
    return {
        "image_embeddings": (random(*shape) * 2 - 1).to(getattr(torch, dtype)),
        "point_coords": random(1, slots, 2) * size,
        "point_labels": labels,
        "mask_input": random(1, 1, low, low) * 16 - 8,
        "has_mask_input": torch.ones(1),
    }
