"""How a scheme rounds each weight of a PyTorch module, before there is a file.

Training needs to know it: :mod:`mobilesam.training.quantization` rounds weights as the file will.
"""

from typing import NamedTuple

from torch import nn

from converters.plan import Plan
from converters.tflite.names import group_at
from converters.tflite.quantization import CONV, DEPTHWISE, LINEAR, PLANS, precision
from mobilesam.errors import InputError
from mobilesam.model.layers import ConvNorm
from mobilesam.model.tiny_vit import WindowAttention
from mobilesam.model.vit import ViTAttention


class WeightRounding(NamedTuple):
    """How one weight is rounded.

    Attributes:
        bits: of each element, symmetric.
        block: input channels of an output channel that share a scale; 0: all of them.
        norm: name of the norm whose scale the converter multiplies into the weight; empty: none.
    """

    bits: int
    block: int
    norm: str


def plan_of(scheme: str) -> Plan:
    """The plan of a quantized scheme.

    Raises:
        InputError: TFLite has no such scheme, or it is not quantized.
    """
    if scheme not in PLANS:
        raise InputError(
            f"'{scheme}' is no quantized scheme of target tflite; there are {', '.join(PLANS)}"
        )
    return PLANS[scheme]


def roundings_of(encoder: nn.Module, plan: Plan) -> dict[str, WeightRounding]:
    """How each weight [C_out, C_in, ...] of an image encoder is rounded, by the parameter's name.

    Args:
        encoder: linear layers and convolutions have the weights that are rounded.
        plan: of precisions.

    Raises:
        InputError: the plan names a precision that there is not.
    """
    found = {}
    for name, layer in encoder.named_modules():
        kind = _kind(layer)
        rule = kind and precision(plan.of(group_at(encoder, name))).get(kind)
        if rule:
            width = encoder.get_parameter(f"{name}.weight").shape[1]
            fitted = rule.fitted(width)
            found[f"{name}.weight"] = WeightRounding(
                fitted.bits, fitted.block, _norm(encoder, name)
            )
    return found


def _kind(layer: nn.Module) -> str:
    """The operation that a layer becomes; empty for one whose weights stay as they are."""
    if isinstance(layer, nn.Linear):
        return LINEAR
    if isinstance(layer, nn.Conv2d):
        return CONV if layer.groups == 1 else DEPTHWISE
    return ""


def _norm(encoder: nn.Module, name: str) -> str:
    """The norm that litert-torch folds into a layer: none before an MLP or windows are cut."""
    around, _, last = name.rpartition(".")
    parent = encoder.get_submodule(around)
    if isinstance(parent, ConvNorm):
        return f"{around}.bn"
    if isinstance(parent, WindowAttention) and last == "qkv":
        return f"{around}.norm"
    if isinstance(parent, ViTAttention) and last == "qkv" and not parent.window:
        return f"{around.removesuffix('attn')}norm1"
    return ""
