"""Lowering to ExecuTorch's Core ML backend: the whole program as one Core ML package in the file.

The backend offers one precision for all. A pass of ours in its place leaves coordinates in
float32, as target ``coreml`` does.
"""

from typing import TYPE_CHECKING

from converters.base import Conversion
from converters.coreml.convert import computes_in_half, half_pipeline, prepare
from mobilesam.errors import ExportError

if TYPE_CHECKING:
    from executorch.exir import EdgeProgramManager
    from executorch.exir.backend.partitioner import Partitioner

SYSTEM = "iOS17"
"""The lowest system that ExecuTorch's Swift package declares (its ``Package.swift``)."""


def settings() -> dict[str, str]:
    """What shapes the package."""
    return {"minimum_deployment_target": SYSTEM, "compute_units": "all"}


def prepared(job: Conversion) -> None:
    """Change the module, in place, into the one that is lowered."""
    prepare(job.module, job.scheme)


def partitioner(job: Conversion) -> "Partitioner":
    """What hands the program to the Core ML backend."""
    import coremltools as ct
    from executorch.backends.apple.coreml.compiler import CoreMLBackend
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner

    passes = half_pipeline().passes if computes_in_half(job.scheme) else None
    specs = CoreMLBackend.generate_compile_specs(
        minimum_deployment_target=getattr(ct.target, SYSTEM),
        # Float16 comes by the passes; said here, it would be that of coordinates too.
        compute_precision=ct.precision.FLOAT32,
        pass_names=passes,
    )
    return CoreMLPartitioner(compile_specs=specs)


def require_whole(edge: "EdgeProgramManager", job: Conversion) -> None:
    """Refuse a program of which something is left beside one call of the delegate.

    Raises:
        ExportError: names the operations.
    """
    from operator import getitem

    nodes = edge.exported_program(job.signature.name).graph.nodes
    calls = [n.target for n in nodes if n.op == "call_function" and n.target is not getitem]
    outside = [str(t) for t in calls if "executorch_call_delegate" not in str(t)]
    if outside:
        raise ExportError(
            f"ExecuTorch's Core ML backend leaves operations of the {job.component} to the CPU: "
            + ", ".join(dict.fromkeys(outside))
        )
    if len(calls) != 1:
        raise ExportError(
            f"ExecuTorch's Core ML backend took the {job.component} over in {len(calls)} pieces, "
            "not in one"
        )
