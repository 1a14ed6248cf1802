"""What Core ML may compute on: the processors of a phone that a package is meant for."""

from typing import Literal, get_args

ComputeUnits = Literal["all", "cpu_and_ne", "cpu_and_gpu", "cpu_only"]
"""As manifests and the command line have them; ``ne`` is the Neural Engine."""

COMPUTE_UNITS: tuple[str, ...] = tuple(units.upper() for units in get_args(ComputeUnits))
"""As members of ``coremltools.ComputeUnit`` are called."""
