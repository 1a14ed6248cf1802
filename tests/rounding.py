"""How far two float32 computations of the same thing may lie apart: from the arithmetic alone.

Processors, thread counts and libraries sum products in different orders, and each order rounds
differently. What that may come to follows from the number of roundings, not from what one machine
shows.

One operation is wrong by up to half an ulp: u = 2**-24 of its result. A sum of n products is then
wrong by up to n u of the sum of their sizes; since roundings go up as often as down, it is
lambda sqrt(n) u but for a probability of 2 exp(-lambda**2 / 2) for each (N. J. Higham and T. Mary,
"A New Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41, 2019, theorem
2.4). Layers one after the other add their errors as independent ones do, in quadrature: a
computation whose longest chain has sums of n1, n2, ... products is wrong by
lambda sqrt(n1 + n2 + ...) u, relative to the size of its answer (L2).

lambda is 2, since an L2 norm averages over many sums, and two computations are compared, each with
an error of its own: together :data:`FACTOR`.

That is all where both compute the same operations in the same order. A converter folds norms into
convolutions and writes functions anew, so that an early result is rounded otherwise, and the layers
after it make more of that. How much more is a property of the model, found in float64, where
rounding is no matter: :func:`amplification`.
"""

from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mobilesam.model.build import build

UNIT = 2.0**-24
"""Half an ulp of 1 in float32."""

FACTOR = 2 * 2.0
"""Two computations, lambda 2."""

aten = torch.ops.aten


def tolerance(products: int) -> float:
    """Relative L2 by which two float32 computations with sums of so many products may differ."""
    return FACTOR * sqrt(products) * UNIT


class Rounding(TorchDispatchMode):
    """Adds up the lengths of all sums that PyTorch computes inside a ``with`` block.

    Parts that run side by side are counted as if one fed the other: never too few.

    Attributes:
        products: the sum of the lengths so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __enter__(self) -> "Rounding":
        # In inference mode PyTorch hands on whole layers, whose sums would not be counted.
        assert not torch.is_inference_mode_enabled(), "count under torch.no_grad() instead"
        super().__enter__()
        return self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.products += _length(func.overloadpacket, args)
        return func(*args, **(kwargs or {}))

    @property
    def tolerance(self) -> float:
        """:func:`tolerance` of what was computed."""
        return tolerance(self.products)


def _length(op: Any, args: Any) -> int:
    """Products, or terms, in one element of an op's result; 0 of what only moves values."""
    if op in (aten.mm, aten.bmm):
        return int(args[0].shape[-1])
    if op in (aten.addmm, aten.baddbmm):
        return int(args[1].shape[-1]) + 1
    if op is aten.convolution:
        weight, transposed = args[1], args[6]
        # Transposed, with a stride as large as its kernel, as all of this model's are.
        return int(weight.shape[0] if transposed else weight[0].numel()) + 1
    if op is aten.native_layer_norm:
        return 2 * prod(args[1])  # a mean and a variance
    if op is aten._softmax:
        return int(args[0].shape[args[1]])
    if op in (aten.mean, aten.sum, aten.var):
        sides = (
            args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else range(args[0].ndim)
        )
        return prod(args[0].shape[side] for side in sides)
    return 1 if op in _ELEMENTWISE else 0


_ELEMENTWISE = {
    *(aten.add, aten.sub, aten.mul, aten.div, aten.pow, aten.sqrt, aten.rsqrt, aten.gelu),
    *(aten.native_batch_norm, aten._native_batch_norm_legit_no_training, aten.sin, aten.cos),
    *(aten.upsample_bilinear2d, aten._upsample_bilinear2d_aa, aten.exp, aten.sigmoid),
}


def relative_l2(found: Tensor, wanted: Tensor) -> float:
    """Size of the difference over the size of what was wanted, both as L2 norms."""
    return float((found - wanted).norm() / wanted.norm())


STEP = 1e-7
"""Relative size of the changes whose effect :func:`amplification` looks at."""


def amplification(module: nn.Module, inputs: Iterable[Tensor], seeds: int = 4) -> float:
    """How many times larger than its cause a relative change is at the module's outputs (L2).

    Every parameter, buffer, input map and result of a layer is changed at random, in float64; of
    several draws, and of the outputs, the largest counts.

    Args:
        module: in eval mode; left as it is.
        inputs: float32. Those of four axes are changed, coordinates and labels are not.
        seeds: how many draws.
    """
    exact = [value.double() for value in inputs]
    wanted = _outputs(deepcopy(module).double(), exact)
    found = 1.0
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)

        def changed(value: Tensor, generator: torch.Generator = generator) -> Tensor:
            draw = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            return value * (1 + STEP * draw)

        other = deepcopy(module).double()
        with torch.no_grad():
            for value in (*other.parameters(), *other.buffers()):
                if value.is_floating_point():
                    value.copy_(changed(value))
        for part in other.modules():
            if not any(part.children()):
                part.register_forward_hook(lambda _, __, result, changed=changed: changed(result))
        outputs = _outputs(other, [changed(v) if v.ndim == 4 else v for v in exact])
        found = max(
            found, *(relative_l2(a, b) / STEP for a, b in zip(outputs, wanted, strict=True))
        )
    return found


def _outputs(module: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        outputs = module(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


@cache
def products_of_model(image_size: int = 1024) -> tuple[int, int]:
    """Lengths of all sums of the encoder, and of the decoder with its prompt encoder.

    Only shapes are computed: the model and its inputs are on PyTorch's ``meta`` device.
    """
    side = image_size // 4
    with torch.device("meta"), torch.no_grad():
        model = build("vit_t", image_size=image_size).eval()
        with Rounding() as encoder:
            embedding = model.image_encoder(torch.empty(1, 3, image_size, image_size))
        with Rounding() as decoder:
            points = torch.empty(1, 8, 2), torch.empty(1, 8)
            tokens = model.prompt_encoder(points, None, torch.empty(1, 1, side, side))
            model.mask_decoder(embedding, model.prompt_encoder.image_position(), *tokens)
    return encoder.products, decoder.products
