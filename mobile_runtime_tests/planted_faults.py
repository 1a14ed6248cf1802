"""The faults of the table: what is planted into which file, and how it is judged."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from converters.base import converter_of
from converters.calibration import Calibration
from converters.lookup import combinations
from converters.provenance import weights_record
from converters.schemes import TARGETS
from mobile_runtime_tests.activation_faults import ACTIVATION_FAULTS, activation_fault
from mobile_runtime_tests.fault_page import ACTIVATIONS, DESCRIPTION, GRAPH, RIGHT, WEIGHTS
from mobile_runtime_tests.gates import GATED, gated_file, open_gate
from mobile_runtime_tests.memory_faults import MEMORY_FAULTS, memory_fault
from mobile_runtime_tests.model_faults import MODEL_FAULTS, faulty_module
from mobile_runtime_tests.weight_faults import WEIGHT_FAULTS, weight_fault
from mobilesam.bundle.contract import COMPONENTS, Component, Contract
from mobilesam.runtimes.bundle import Bundle
from tests.parity.description_edits import FileEdit, edited
from tests.parity.test_decoder_description import FILES as DECODERS
from tests.parity.test_decoder_description import MANIFEST as MORE_OF_MANIFEST
from tests.parity.test_description import FILES, MANIFEST
from tests.specs import make_job
from tests.tiny_bundles import make_tiny_model, tiny_bundle, tiny_model
from tests.upstream.oracle import randomize

ASKED = "fp32"
"""Scheme whose answers are judged too: the small model's weights are random, and the limits of
the others were set for trained ones."""

OTHER = "an encoder of other weights"


class Fault(NamedTuple):
    """One faulty file to be made, or a right one.

    Attributes:
        make: copies the bundle into a folder with the fault planted.
        components: whose weights and activations are audited.
        asked: whether the file is run.
    """

    kind: str
    name: str
    target: str
    scheme: str
    make: Callable[[Path], Bundle]
    components: Sequence[Component] = ()
    asked: bool = False

    @property
    def key(self) -> str:
        """Names the fault among all."""
        return f"{self.kind}: {self.name}: {self.target}-{self.scheme}"


def faults() -> Iterator[Fault]:
    """Every fault in every format and scheme, the right files first."""
    for target, scheme in combinations():
        yield right_file(target, scheme)
    for target, component in product(TARGETS, COMPONENTS):
        yield gates_shut(target, component)
    for target, name, edit, _ in FILES:
        yield Fault(DESCRIPTION, name, target, "fp32", partial(_edited, target, edit))
    for target, name, edit, _ in DECODERS:
        make = partial(_edited, target, edit, component="decoder")
        yield Fault(DESCRIPTION, f"decoder: {name}", target, "fp32", make)
    for name, (change, _) in {**MANIFEST, **MORE_OF_MANIFEST}.items():
        make = partial(_edited, "tflite", None, manifest_edit=change)
        yield Fault(DESCRIPTION, f"manifest: {name}", "tflite", "fp32", make)
    for target, scheme in combinations():
        for name in WEIGHT_FAULTS:
            yield weight_fault_of(target, scheme, name)
    for target in TARGETS:
        for name in GATED:
            yield graph_fault(target, name)
    for target, name in product(("torchscript", "onnx"), MODEL_FAULTS):  # the quickest to convert
        yield model_fault(target, name)
    for name in MEMORY_FAULTS:
        yield memory_fault_of(name)
    for target, scheme in combinations():
        yield other_encoder(target, scheme)
    for target, row in TARGETS.items():
        for scheme, name in product(row.calibrated, ACTIVATION_FAULTS):
            yield activation_fault_of(target, scheme, name)


def _edited(
    target: str,
    edit: FileEdit | None,
    folder: Path,
    component: Component = "encoder",
    **changes: Any,
) -> Bundle:
    return edited(tiny_bundle(target), folder, component, edit, **changes)


def right_file(target: str, scheme: str) -> Fault:
    """A bundle as it was exported."""
    return Fault(
        RIGHT,
        "as exported",
        target,
        scheme,
        lambda _: tiny_bundle(target, scheme),
        ("encoder", "decoder"),
        scheme == ASKED,
    )


def weight_fault_of(target: str, scheme: str, name: str) -> Fault:
    """A fault of :data:`mobile_runtime_tests.weight_faults.WEIGHT_FAULTS`."""
    component, _ = WEIGHT_FAULTS[name]

    def make(folder: Path) -> Bundle:
        bundle = tiny_bundle(target, scheme)
        return edited(bundle, folder, component, weight_fault(bundle, tiny_model(), name))

    return Fault(WEIGHTS, name, target, scheme, make, (component,))


def graph_fault(target: str, name: str) -> Fault:
    """A fault of :data:`mobile_runtime_tests.gates.GATED`."""
    component = GATED[name]

    def make(folder: Path) -> Bundle:
        def edit(path: Path) -> None:
            _put(gated_file(target, component), path)
            open_gate(path, name)

        return edited(tiny_bundle(target), folder, component, edit)

    return Fault(GRAPH, name, target, "fp32", make, (), True)


def model_fault(target: str, name: str) -> Fault:
    """A fault of :data:`mobile_runtime_tests.model_faults.MODEL_FAULTS`."""
    component, *_ = MODEL_FAULTS[name]

    def make(folder: Path) -> Bundle:
        model = tiny_model()
        place = folder / "converted"
        place.mkdir()
        job = make_job(model, component, place, target)
        job = replace(job, module=faulty_module(name, model, job.spec.contract))
        try:
            converter_of(target).convert(job)
        except ValueError as error:  # ONNX's denotes the contract's axes, which are not there
            raise LookupError(f"{target} is not converted so: {error}") from error
        return edited(tiny_bundle(target), folder, component, partial(_put, job.path("")))

    return Fault(GRAPH, name, target, "fp32", make, (), True)


def memory_fault_of(name: str) -> Fault:
    """A fault of :data:`mobile_runtime_tests.memory_faults.MEMORY_FAULTS`."""
    component, _ = MEMORY_FAULTS[name]

    def make(folder: Path) -> Bundle:
        return edited(tiny_bundle("torchscript"), folder, component, memory_fault(name))

    return Fault(GRAPH, name, "torchscript", "fp32", make, (), True)


def gates_shut(target: str, component: Component) -> Fault:
    """The right file into which the faults of :func:`graph_fault` are planted."""

    def make(folder: Path) -> Bundle:
        return edited(
            tiny_bundle(target), folder, component, partial(_put, gated_file(target, component))
        )

    return Fault(
        RIGHT, f"every fault of the {component}'s graph in it, shut", target, "fp32", make, (), True
    )


def activation_fault_of(target: str, scheme: str, name: str) -> Fault:
    """A fault of :data:`mobile_runtime_tests.activation_faults.ACTIVATION_FAULTS`."""
    component, _ = ACTIVATION_FAULTS[name]

    def make(folder: Path) -> Bundle:
        bundle = tiny_bundle(target, scheme)
        return edited(bundle, folder, component, activation_fault(bundle, name))

    return Fault(ACTIVATIONS, name, target, scheme, make, (component,))


def other_encoder(target: str, scheme: str) -> Fault:
    """An encoder exported from another model, in a file and a bundle that name the first."""

    def make(folder: Path) -> Bundle:
        model = make_tiny_model()
        randomize(model, seed=1)
        model.requires_grad_(False)
        calibration = None
        if scheme in TARGETS[target].calibrated:
            calibration = Calibration(model, Contract.of(model), None)
        place, shared = folder / "converted", folder / "shared"
        place.mkdir()
        shared.mkdir()
        job = make_job(model, "encoder", place, target, scheme, calibration=calibration)
        said = replace(job.spec, weights=weights_record(tiny_model()))
        job = replace(job, spec=said, shared=shared)
        converter_of(target).convert(job)
        put = partial(_put, job.path(""))
        return edited(tiny_bundle(target, scheme), folder, "encoder", put)

    return Fault(WEIGHTS, OTHER, target, scheme, make, ("encoder",))


def _put(made: Path, path: Path) -> None:
    """Put a converted file or package, whose path lacks its suffix, in the place of another."""
    made = made.with_suffix(path.suffix)
    if not path.is_dir():
        path.write_bytes(made.read_bytes())
        return
    shutil.rmtree(path)
    shutil.copytree(made, path)
