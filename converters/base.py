"""What a target's module is given, and what it must offer.

``converters/<target>.py`` has three functions, see :class:`Converter`. It imports its library
inside them, so that naming a target costs nothing.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from converters.bundle import WeightsRecord
from converters.contract import CONTRACT_VERSION, Component, Signature, TensorSpec
from converters.layer_names import name_values
from mobilesam import __version__
from mobilesam.errors import ExportError

AUTHOR = "mobilesam-export"
LICENCE = "Apache-2.0"


def capture(module: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """A module as torch.export captures it: one static graph, no Python left."""
    with torch.no_grad():
        return torch.export.export(module, inputs)


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One component to be converted.

    Attributes:
        module: as :func:`converters.modules.build_module` returns it.
        signature: names, shapes and dtypes the file must have.
        example: the module's inputs by contract name, in the signature's order.
        scheme: one of the target's schemes.
        folder: where the files go.
        ios: lowest iOS a Core ML program must run on.
        shared: folder that all conversions of one export share, for what several can use.
    """

    component: Component
    module: nn.Module
    signature: Signature
    example: dict[str, Tensor]
    scheme: str
    folder: Path
    ios: int
    weights: WeightsRecord
    shared: Path

    def path(self, suffix: str) -> Path:
        """Where the file with this suffix goes."""
        return self.folder / f"{self.component}{suffix}"

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The example's tensors in the signature's order."""
        return tuple(self.example.values())

    @cached_property
    def program(self) -> ExportedProgram:
        """The module as torch.export captures it."""
        return capture(self.module, self.inputs)

    def trace(self) -> torch.jit.ScriptModule:
        """The program as TorchScript, in eval mode, each value named after its layer.

        Raises:
            ExportError: tracing warned or lost an op, so the trace is not the module.
        """
        exported = self.program.module(check_guards=False)
        # Built anew, it lacks the hook that checks shapes in Python, which would be traced too.
        graph = torch.fx.GraphModule(exported, exported.graph)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("error", torch.jit.TracerWarning)
            try:
                traced = torch.jit.trace(graph, self.inputs).eval()
            except torch.jit.TracerWarning as warning:
                raise ExportError(
                    f"the trace of the {self.component} is no faithful copy: {warning}"
                ) from warning
        name_values(traced.graph, self.program)
        return traced

    @property
    def title(self) -> str:
        """One line that says what the file is."""
        what = {
            "encoder": "image encoder",
            "decoder": "prompt encoder and mask decoder",
        }[self.component]
        return f"MobileSAM {what} ({self.scheme}, {self.weights.name} weights)"

    @property
    def metadata(self) -> dict[str, str]:
        """Provenance, for formats that can carry it."""
        return {
            "contract_version": CONTRACT_VERSION,
            "component": self.component,
            "scheme": self.scheme,
            "weights": self.weights.name,
            "weights_sha256": self.weights.sha256,
            "exporter": f"mobilesam-export {__version__}",
        }


@dataclass(frozen=True)
class Port:
    """An input or output as a written file has it; None where the format does not say."""

    name: str | None
    shape: tuple[int, ...] | None
    dtype: str | None


class Converter(Protocol):
    """What each target's module offers."""

    def options(self, scheme: str, ios: int) -> dict[str, str]:
        """Settings that shape the file, for the manifest; a change of them exports anew."""

    def convert(self, job: Conversion) -> None:
        """Write every artefact of the target's row to ``job.path(suffix)``, or raise."""

    def ports(self, path: Path, job: Conversion) -> tuple[Sequence[Port], Sequence[Port]]:
        """Reopen a written file with the format's own reader: its inputs and outputs."""


def converter_of(target: str) -> Converter:
    """The module of a target."""
    return cast(Converter, import_module(f"converters.{target}"))


def check_ports(path: Path, kind: str, found: Sequence[Port], wanted: Sequence[TensorSpec]) -> None:
    """Compare a written file's inputs or outputs with the contract.

    Named ports are matched by name, unnamed ones by position.

    Raises:
        ExportError: a port is missing, unexpected, or has another shape or dtype.
    """
    if len(found) != len(wanted):
        raise ExportError(
            f"{path.name} has {len(found)} {kind}s but the contract has {len(wanted)}: "
            + ", ".join(spec.name for spec in wanted)
        )
    by_name = {port.name: port for port in found if port.name is not None}
    for position, spec in enumerate(wanted):
        if by_name and spec.name not in by_name:
            raise ExportError(
                f"{path.name} has no {kind} '{spec.name}', which the contract asks for; it has "
                + ", ".join(sorted(by_name))
            )
        port = by_name.get(spec.name, found[position])
        if port.shape is not None and tuple(port.shape) != spec.shape:
            raise ExportError(
                f"{path.name}: {kind} '{spec.name}' has shape {list(port.shape)} but the contract "
                f"says {list(spec.shape)}"
            )
        if port.dtype is not None and port.dtype != spec.dtype:
            raise ExportError(
                f"{path.name}: {kind} '{spec.name}' is {port.dtype} but the contract says "
                f"{spec.dtype}"
            )
