"""What a target's module is given, and what it must offer.

The module that a row of :data:`converters.schemes.TARGETS` names offers what :class:`Converter`
says. It imports its library inside functions, so that naming a target costs nothing.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from converters.calibration import Calibration
from converters.schemes import TARGETS
from converters.spec import ExportSpec, TargetOptions
from mobilesam import __version__
from mobilesam.bundle.contract import CONTRACT_VERSION, Component
from mobilesam.bundle.manifest import FileRecord
from mobilesam.bundle.tensors import SLOT_AXIS, Shape, Signature, TensorSpec, listed
from mobilesam.errors import ExportError
from mobilesam.model.build import VARIANTS

AUTHOR = "mobilesam-export"
LICENCE = "Apache-2.0"


def capture(module: nn.Module, inputs: tuple[Tensor, ...], signature: Signature) -> ExportedProgram:
    """Capture a module with torch.export: one graph, without Python code.

    Every size is fixed but that of a ``slot`` axis which may have several.
    """
    with torch.no_grad():
        return torch.export.export(module, inputs, dynamic_shapes=varying(signature))


def varying(signature: Signature) -> dict[str, dict[int, Dim] | None]:
    """Which sides of a function's inputs may vary, as torch.export is told."""
    dynamic: dict[str, dict[int, Dim] | None] = {}
    for spec in signature.inputs:
        counts = spec.slot_counts
        dynamic[spec.name] = None
        if counts:
            # It takes a side that may be 1 for a constant; the program works with 1 all the same.
            slots = Dim(SLOT_AXIS, min=max(2, counts[0]), max=counts[-1])
            dynamic[spec.name] = {spec.axes.index(SLOT_AXIS): slots}
    return dynamic


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One component to be converted.

    Attributes:
        spec: of the bundle.
        module: as :func:`converters.modules.build_module` returns it.
        example: the module's inputs by contract name, in the order of ``own_signature``.
        folder: where the files go.
        shared: folder that all conversions of one export share, for what several can use.
        calibration: real inputs, for schemes that need them.
    """

    spec: ExportSpec
    component: Component
    module: nn.Module
    example: dict[str, Tensor]
    folder: Path
    shared: Path
    calibration: Calibration | None = None

    @property
    def scheme(self) -> str:
        """One of the target's schemes, or ``mixed``."""
        return self.spec.scheme

    @cached_property
    def signature(self) -> Signature:
        """Names, shapes and dtypes the file must have."""
        return self.spec.contract.signature(self.component)

    def path(self, suffix: str) -> Path:
        """Where the file with this suffix goes."""
        return self.folder / f"{self.component}{suffix}"

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The example's tensors in the signature's order."""
        return tuple(self.example.values())

    @cached_property
    def own_signature(self) -> Signature:
        """What the module takes and gives, in whatever interface the file will."""
        return self.spec.contract.own.signature(self.component)

    @cached_property
    def program(self) -> ExportedProgram:
        """The module as torch.export captures it."""
        return capture(self.module, self.inputs, self.own_signature)

    def trace(
        self, change: Callable[[torch.fx.GraphModule], nn.Module] | None = None
    ) -> torch.jit.ScriptModule:
        """The program as TorchScript, in eval mode.

        Args:
            change: gives what is traced in place of the program's graph.

        Raises:
            ExportError: tracing warned, so the trace is not the module.
        """
        exported = self.program.module(check_guards=False)
        # Built anew, it lacks the hook that checks shapes in Python, which would be traced too.
        graph = torch.fx.GraphModule(exported, exported.graph)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("error", torch.jit.TracerWarning)
            try:
                return torch.jit.trace(change(graph) if change else graph, self.inputs).eval()
            except torch.jit.TracerWarning as warning:
                raise ExportError(
                    f"the trace of the {self.component} is no faithful copy: {warning}"
                ) from warning

    @property
    def title(self) -> str:
        """One line that says what the file is."""
        what = {
            "encoder": "image encoder",
            "decoder": "prompt encoder and mask decoder",
        }[self.component]
        model = VARIANTS[self.spec.variant].title if self.spec.variant in VARIANTS else "MobileSAM"
        return f"{model} {what} ({self.scheme}, {self.spec.weights.name} weights)"

    @property
    def metadata(self) -> dict[str, str]:
        """Provenance, for formats that can carry it."""
        return {
            "contract_version": CONTRACT_VERSION,
            "component": self.component,
            "scheme": self.scheme,
            "weights": self.spec.weights.name,
            "weights_sha256": self.spec.weights.sha256,
            "exporter": f"mobilesam-export {__version__}",
        }


@dataclass(frozen=True)
class TensorInfo:
    """An input or output as a written file has it; None where the format does not say.

    Attributes:
        shapes: every shape it may have; None where only ``shape`` may be.
    """

    name: str | None
    shape: Shape | None
    dtype: str | None
    shapes: tuple[Shape, ...] | None = None


class Converter(Protocol):
    """What each target's module offers.

    Attributes:
        Options: what the target can be asked for; the base class where that is nothing.
    """

    Options: type[TargetOptions]

    def settings(self, spec: ExportSpec) -> dict[str, str]:
        """Settings that shape the file, for the manifest; a change of them exports anew."""

    def convert(self, job: Conversion) -> None:
        """Write every artefact of the target's row to ``job.path(suffix)``, or raise."""

    def read_io(
        self, path: Path, job: Conversion
    ) -> tuple[Sequence[TensorInfo], Sequence[TensorInfo]]:
        """Reopen a written file with the format's own reader: its inputs and outputs."""


class Packager(Protocol):
    """What a target's module may offer in addition."""

    def package(
        self, jobs: Sequence[Conversion], records: Sequence[FileRecord]
    ) -> list[FileRecord]:
        """Package the checked files of all components; return the records of what ships."""


def converter_of(target: str) -> Converter:
    """The module of a target."""
    return cast(Converter, import_module(TARGETS[target].module))


def packager_of(target: str) -> Packager | None:
    """The module of a target if it has a ``package`` function of its own, else None."""
    module = import_module(TARGETS[target].module)
    return cast(Packager, module) if hasattr(module, "package") else None


def check_io(
    path: Path, kind: str, found: Sequence[TensorInfo], wanted: Sequence[TensorSpec]
) -> None:
    """Compare a written file's inputs or outputs with the contract.

    Named tensors are matched by name, unnamed ones by position.

    Raises:
        ExportError: a tensor is missing, unexpected, or has another shape or dtype.
    """
    if len(found) != len(wanted):
        raise ExportError(
            f"{path.name} has {len(found)} {kind}s but the contract has {len(wanted)}: "
            + ", ".join(spec.name for spec in wanted)
        )
    by_name = {info.name: info for info in found if info.name is not None}
    for position, spec in enumerate(wanted):
        if by_name and spec.name not in by_name:
            raise ExportError(
                f"{path.name} has no {kind} '{spec.name}', which the contract asks for; it has "
                + ", ".join(sorted(by_name))
            )
        info = by_name.get(spec.name, found[position])
        if info.shape is not None and tuple(info.shape) != spec.shape:
            raise ExportError(
                f"{path.name}: {kind} '{spec.name}' has shape {list(info.shape)} but the contract "
                f"says {list(spec.shape)}"
            )
        if info.shape is not None and {*(info.shapes or (info.shape,))} != {*spec.shapes}:
            raise ExportError(
                f"{path.name}: {kind} '{spec.name}' may have the shapes "
                f"{listed(info.shapes or (info.shape,))} but the contract says "
                f"{listed(spec.shapes)}"
            )
        if info.dtype is not None and info.dtype != spec.dtype:
            raise ExportError(
                f"{path.name}: {kind} '{spec.name}' is {info.dtype} but the contract says "
                f"{spec.dtype}"
            )
