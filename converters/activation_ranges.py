"""The ranges that layers' inputs and outputs had in calibration, computed by PyTorch.

A bundle's manifest carries them, so that the scales and zero points in its files can be held
against what they should be. Converters and quantizers have no part in them.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from converters.base import Conversion
from converters.calibration import ROOM, Calibration
from mobilesam.errors import ExportError
from mobilesam.model.layers import ConvNorm

Ranges = dict[str, tuple[float, float]]
"""Low and high by place: ``<module> input``, ``<module> output``, and for a layer norm
``<module> normalized``, before its own scale and bias, which converters fold into the layer after
it. The output of a convolution is taken after its batch norm."""

POINT_LABELS = {"the table of point labels input": (0.0, 1.0)}
"""A table that converters make of a decoder's labels is looked up with zeros and one 1."""

_AVERAGING = {"tflite": 0.05, "executorch": 0.01}
"""Weight of each further sample in ``moving-average``, of ai_edge_quantizer and torchao."""


class _Range(Protocol):
    """What a method of calibration makes of one tensor over all samples."""

    def see(self, values: Tensor) -> None:
        """Take the tensor of one more sample."""

    def found(self) -> tuple[float, float]:
        """Low and high after all samples."""


def activation_ranges(job: Conversion, calibration: Calibration) -> Ranges:
    """Run the module on every calibration sample, and say what ranges its layers' files get.

    Those that the samples reached, times the scheme's :data:`converters.calibration.ROOM`.

    Args:
        job: its module is run; its target says how ``moving-average`` weighs samples.
        calibration: gives the samples and the method.

    Raises:
        ExportError: a value is not finite.
    """
    found: dict[str, _Range] = {}

    def see(place: str, values: Tensor) -> None:
        if place not in found:
            found[place] = _range(job.spec.target, calibration.method)
        found[place].see(values)

    with ExitStack() as hooks, torch.no_grad():
        for hook in _hooks(job.module, see):
            hooks.callback(hook.remove)
        for sample in calibration.samples(job.component):
            job.module(*(torch.from_numpy(sample[spec.name]) for spec in job.own_signature.inputs))
    ranges = {place: made.found() for place, made in found.items()}
    if job.component == "decoder":
        ranges |= POINT_LABELS
    for place, bounds in ranges.items():
        if not all(map(math.isfinite, bounds)):
            raise ExportError(f"the {place} in the {job.component} is not finite in calibration")
    room = ROOM.get(job.scheme, 1.0)
    return {place: (low * room, high * room) for place, (low, high) in ranges.items()}


def _hooks(module: nn.Module, see: Callable[[str, Tensor], None]) -> Iterator[RemovableHandle]:
    """Hooks that show what each layer of a module reads and gives."""

    def reads(place: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, given: see(place, given[0])

    def gives(place: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _, given, made: see(place, made)

    def normalized(place: str) -> Callable[[nn.LayerNorm, tuple[Tensor, ...]], None]:
        return lambda norm, given: see(
            place, F.layer_norm(given[0], norm.normalized_shape, eps=norm.eps)
        )

    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            parent = module.get_submodule(name.rpartition(".")[0])
            last = parent.bn if isinstance(parent, ConvNorm) else layer
            yield layer.register_forward_pre_hook(reads(f"{name} input"))
            yield last.register_forward_hook(gives(f"{name} output"))
        elif isinstance(layer, nn.LayerNorm):
            yield layer.register_forward_pre_hook(normalized(f"{name} normalized"))


def _range(target: str, method: str) -> _Range:
    if method == "moving-average":
        return _Average(_AVERAGING[target])
    return _SquaredError() if method == "mse" else _Extremes()


class _Extremes:
    """The least and the greatest value of all samples.

    ``entropy`` comes to the same: ONNX Runtime makes one histogram of all samples, with as many
    bins as it cuts to, and cuts off nothing.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf

    def see(self, values: Tensor) -> None:
        low, high = (float(bound) for bound in values.aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)

    def found(self) -> tuple[float, float]:
        return self.low, self.high


class _Average:
    """Averages of the least and the greatest value of single samples, the last ones weigh most."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.bounds: tuple[float, float] | None = None

    def see(self, values: Tensor) -> None:
        low, high = (float(bound) for bound in values.aminmax())
        before = self.bounds or (low, high)
        self.bounds = (
            before[0] + self.weight * (low - before[0]),
            before[1] + self.weight * (high - before[1]),
        )

    def found(self) -> tuple[float, float]:
        assert self.bounds is not None
        return self.bounds


class _SquaredError:
    """The part of a histogram that int8 holds with the least squared error, as torchao finds it."""

    def __init__(self) -> None:
        from torchao.quantization.pt2e import HistogramObserver

        self.observer = HistogramObserver(dtype=torch.int8, quant_min=-128, quant_max=127)

    def see(self, values: Tensor) -> None:
        self.observer(values)

    def found(self) -> tuple[float, float]:
        scale, zero = (float(each) for each in self.observer.calculate_qparams())
        return (-128 - zero) * scale, (127 - zero) * scale
