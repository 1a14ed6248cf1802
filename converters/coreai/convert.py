"""Core AI through coreai-torch: an ``.aimodel`` asset with one named function, fully described."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from converters.base import AUTHOR, LICENCE, Conversion, TensorInfo
from converters.coreai.compression import to_int8
from converters.coreai.products import turned
from converters.half import to_half
from converters.spec import ExportSpec, TargetOptions
from mobilesam.model.layers import ConvNorm

if TYPE_CHECKING:
    from coreai.authoring import AIProgram

SYSTEM = "27"
"""The first version of iOS and macOS that has Core AI; coreai-core writes for no other."""

_ARRAY = re.compile(r"NDArray \((\w+)(?:, ([\d ×]+))?\)")


Options = TargetOptions


def settings(spec: ExportSpec) -> dict[str, str]:
    """The lowest system that the assets are for."""
    return {"minimum_system": f"iOS {SYSTEM}, macOS {SYSTEM}"}


def convert(job: Conversion) -> None:
    """Convert, compress, describe, save."""
    import coreai.authoring  # noqa: F401  (before the dialects, which it must have loaded)
    from coreai.runtime import AIModelAssetMetadata

    about = AIModelAssetMetadata()
    about.author, about.license, about.model_description = AUTHOR, LICENCE, job.title
    for name, value in job.metadata.items():
        about.set_custom(name, value)
    program = _converted(job)
    if job.scheme == "w8":
        program = to_int8(program)
    program.save_asset(job.path(".aimodel"), metadata=about)


def _converted(job: Conversion) -> "AIProgram":
    from coreai_torch import TorchConverter, get_decomp_table

    if job.scheme != "fp32":
        to_half(_folded(job.module))
    program = turned(job.program, job.inputs, job.signature)
    with warnings.catch_warnings():
        # Of its own use of torch.export.
        warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated")
        program = program.run_decompositions(get_decomp_table())
    converter = TorchConverter(
        mode=TorchConverter.Mode.RELEASE
    )  # DEBUG keeps paths of this machine
    return converter.add_exported_program(
        program,
        input_names=[spec.name for spec in job.signature.inputs],
        output_names=[spec.name for spec in job.signature.outputs],
        entrypoint_name=job.signature.name,
    ).to_coreai()


def _folded(module: nn.Module) -> nn.Module:
    """A module with its batch norms folded into the convolutions before them, in place.

    coreai-torch does so too, but in float16 by then: with earlier demo weights single ones were off
    by hundreds of times what float16 rounds.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ConvNorm):
                setattr(parent, name, fuse_conv_bn_eval(child.c, child.bn))
    return module


def read_io(path: Path, job: Conversion) -> tuple[Sequence[TensorInfo], Sequence[TensorInfo]]:
    """Inputs and outputs of the saved asset's function."""
    from coreai.authoring import AIModelAsset

    summary = AIModelAsset.load(path).summary(include_statistics=False)
    name = job.signature.name
    return _infos(summary.function_inputs(name)), _infos(summary.function_outputs(name))


def _infos(described: Sequence[tuple[str, str]]) -> list[TensorInfo]:
    return [TensorInfo(name, *array_type(kind)) for name, kind in described]


def array_type(kind: str) -> tuple[tuple[int, ...] | None, str]:
    """Shape and dtype of what a summary calls ``NDArray (Float32, 1 × 4)``.

    Returns:
        The shape, and the dtype as the contract names it; None and the words themselves for what
        is no array of a fixed shape.
    """
    match = _ARRAY.fullmatch(kind)
    if match is None:
        return None, kind
    sides = match[2].split(" × ") if match[2] else []
    return tuple(int(side) for side in sides), match[1].lower()
