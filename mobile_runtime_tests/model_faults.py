"""Modules that compute wrongly inside or give tensors of another form, to be converted as others.

Each is a file of its own: what is wrong lies between layers, where no gate of ``gates.py`` can.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import converters.modules
from converters.modules import build_module
from mobilesam.bundle.contract import Component, Contract
from mobilesam.model.layers import LayerNorm2d, bake
from mobilesam.model.sam import MobileSAM
from mobilesam.model.tiny_vit import WindowAttention
from mobilesam.model.transformer import Attention

Change = Callable[[Any], object]
"""Changes a contract's module in place."""


class _Around(nn.Module):
    """A module with something done to one of its inputs or outputs."""

    def __init__(self, inner: nn.Module, run: Callable[..., object]) -> None:
        super().__init__()
        self.inner = inner
        self.run = run


class _Encoder(_Around):
    def forward(self, image: Tensor, valid_size: Tensor) -> object:
        return self.run(self.inner, image, valid_size)


class _Decoder(_Around):
    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> object:
        given = (image_embeddings, point_coords, point_labels, mask_input, has_mask_input)
        return self.run(self.inner, *given)


def _input(place: int, change: Callable[[Tensor], Tensor]) -> Callable[..., object]:
    def run(inner: nn.Module, *given: Tensor) -> object:
        read = list(given)
        read[place] = change(read[place])
        return inner(*read)

    return run


def _output(change: Callable[..., object]) -> Callable[..., object]:
    def run(inner: nn.Module, *given: Tensor) -> object:
        answer = inner(*given)
        return change(*answer) if isinstance(answer, tuple) else change(answer)

    return run


def _patched(place: object, name: str, value: object) -> Callable[..., object]:
    """Run with another function or constant in place of a name's."""

    def run(inner: nn.Module, *given: Tensor) -> object:
        with patch.object(place, name, value):
            return inner(*given)

    return run


def _every(kind: type[nn.Module], **values: object) -> Change:
    """Set attributes of every module of a kind."""

    def change(module: nn.Module) -> None:
        for each in module.modules():
            if isinstance(each, kind):
                for name, value in values.items():
                    setattr(each, name, value)

    return change


def _scaled_attention(kind: type[nn.Module], factor: float) -> Change:
    """The scores of one attention, the last, times a factor."""

    def change(module: nn.Module) -> None:
        last: Any
        *_, last = (each for each in module.modules() if isinstance(each, kind))
        last.scale *= factor

    return change


def _biases_turned(module: nn.Module) -> None:
    for each in module.modules():
        if isinstance(each, WindowAttention):
            table = each.attention_biases.reshape(-1, each.window, each.window)
            turned = copy.deepcopy(each)
            turned.attention_biases.data = table.transpose(1, 2).flatten(1).contiguous()
            bake(turned, 0)  # for a grid of any size
            each.baked_attention_biases = turned.baked_attention_biases


def _position(change: Callable[[Tensor], Tensor]) -> Change:
    def changed(module: Any) -> None:
        module.image_position = change(module.image_position)

    return changed


def _matrix_off(module: Any) -> None:
    module.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix *= 1.001


def _reflecting(module: Any) -> None:
    module.image_encoder.neck[2].padding_mode = "reflect"


def _multiplying(module: Any) -> None:
    module.keep = lambda values, wanted: values * wanted.unsqueeze(-1)


def _half(values: Tensor) -> Tensor:
    return values.half().float()


_TANH = partial(F.gelu, approximate="tanh")

MODEL_FAULTS: Mapping[str, tuple[Component, Change | None, Callable[..., object] | None]] = {
    "the encoder's GELU by its tanh": ("encoder", None, _patched(F, "gelu", _TANH)),
    "the decoder's GELU by its tanh": ("decoder", _every(nn.GELU, approximate="tanh"), None),
    "attention scores of the encoder 5 % too large": (
        "encoder",
        _scaled_attention(WindowAttention, 1.05),
        None,
    ),
    "attention scores of the decoder 5 % too large": (
        "decoder",
        _scaled_attention(Attention, 1.05),
        None,
    ),
    "layer norms of the encoder with an epsilon of 1e-3": (
        "encoder",
        _every(nn.LayerNorm, eps=1e-3),
        None,
    ),
    "layer norms of the decoder with an epsilon of 1e-3": (
        "decoder",
        _every(nn.LayerNorm, eps=1e-3),
        None,
    ),
    "the neck's norms with an epsilon of 1e-5": ("encoder", _every(LayerNorm2d, eps=1e-5), None),
    "attention biases by columns and rows": ("encoder", _biases_turned, None),
    "a convolution of the neck padded by reflection": ("encoder", _reflecting, None),
    "the image's position a thousandth too large": (
        "decoder",
        _position(lambda p: p * 1.001),
        None,
    ),
    "rows and columns of the image's position exchanged": (
        "decoder",
        _position(lambda p: p.transpose(2, 3).contiguous()),
        None,
    ),
    "the positions' matrix a thousandth too large": ("decoder", _matrix_off, None),
    "unused slots hidden by a score of -8": (
        "decoder",
        None,
        _patched(converters.modules, "HIDDEN", -8.0),
    ),
    # Wrapped, so that no converter gives it a right way of keeping inputs.
    "inputs that are not to be read multiplied by zero": (
        "decoder",
        _multiplying,
        _output(lambda masks, iou: (masks, iou)),
    ),
    "coordinates in float16": ("decoder", None, _input(1, _half)),
    "the embedding in float16": ("decoder", None, _input(0, _half)),
    "the embedding in bfloat16": ("decoder", None, _input(0, lambda e: e.bfloat16().float())),
    "masks in steps of an eighth": (
        "decoder",
        None,
        _output(lambda masks, iou: ((masks * 8).round() / 8, iou)),
    ),
    "noise of a thousandth in the embedding": (
        "encoder",
        None,
        _output(lambda e: e * (1 + 1e-3 * (torch.rand_like(e) - 0.5))),
    ),
    "masks in float64": ("decoder", None, _output(lambda masks, iou: (masks.double(), iou))),
    "masks in float16": ("decoder", None, _output(lambda masks, iou: (masks.half(), iou))),
    "IoU predictions in float64": ("decoder", None, _output(lambda m, iou: (m, iou.double()))),
    "the embedding in float64": ("encoder", None, _output(lambda e: e.double())),
    "the embedding without its batch axis": ("encoder", None, _output(lambda e: e.squeeze(0))),
    "the embedding with its channels last": (
        "encoder",
        None,
        _output(lambda e: e.permute(0, 2, 3, 1) * 1),
    ),
    "three masks": ("decoder", None, _output(lambda m, iou: (m[:, 1:] * 1, iou[:, 1:] * 1))),
    "masks without their batch axis": (
        "decoder",
        None,
        _output(lambda m, iou: (m.squeeze(0), iou)),
    ),
    "masks of half the side": ("decoder", None, _output(lambda m, i: (F.avg_pool2d(m, 2), i))),
    "the outputs exchanged": ("decoder", None, _output(lambda masks, iou: (iou, masks))),
}
"""By name: the component, what is changed in its module, and what is done around it."""


def faulty_module(name: str, model: MobileSAM, contract: Contract) -> nn.Module:
    """The module of a fault of :data:`MODEL_FAULTS`, in eval mode, with frozen parameters."""
    component, change, run = MODEL_FAULTS[name]
    module = build_module(model, component, contract)
    if change is not None:
        change(module)
    if run is not None:
        module = (_Encoder if component == "encoder" else _Decoder)(module, run)
    return module.eval().requires_grad_(False)
