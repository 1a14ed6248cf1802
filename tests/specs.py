"""What bundles and their components are asked to be, for tests of single steps of an export."""

from pathlib import Path
from typing import Any

from converters.base import Conversion, converter_of
from converters.modules import build_module, example_inputs
from converters.provenance import weights_record
from converters.spec import ExportSpec, TargetOptions
from mobilesam.bundle.contract import Component, Contract
from mobilesam.model.sam import MobileSAM


def make_spec(
    model: MobileSAM,
    target: str = "coreml",
    scheme: str = "fp32",
    *,
    contract: Contract | None = None,
    options: TargetOptions | None = None,
    **other: Any,
) -> ExportSpec:
    """The spec of a model's bundle; what is not given is as `export` has it."""
    options = converter_of(target).Options() if options is None else options
    return ExportSpec(
        target=target,
        scheme=scheme,
        variant=model.variant,
        weights=weights_record(model),
        contract=options.contract(Contract.of(model) if contract is None else contract),
        options=options,
        **other,
    )


def make_job(
    model: MobileSAM,
    component: Component,
    folder: Path,
    target: str = "coreml",
    scheme: str = "fp32",
    *,
    calibration: Any = None,
    **spec: Any,
) -> Conversion:
    """A conversion in this process, for what needs no bundle."""
    made = make_spec(model, target, scheme, **spec)
    return Conversion(
        spec=made,
        component=component,
        module=build_module(model, component, made.contract),
        example=example_inputs(made.contract, component),
        folder=folder,
        shared=folder,
        calibration=calibration,
    )
