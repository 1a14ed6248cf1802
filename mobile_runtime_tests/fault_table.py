"""Faults of every kind in files of every format, and the check that names each: a table.

    python -m mobile_runtime_tests.fault_table --kept /tmp/faults.jsonl --out docs/faults.md

The files are those of a small model with every kind of layer (``tests/tiny_bundles.py``), exported
when first needed. A fault of the graph is converted as a right module is; one of the weights is
written over a file's bytes; one of the description changes what a file says of itself. Each time
the manifest's digests are made to agree. What was judged is kept in a file of one line a verdict,
so that a run that was stopped goes on where it was.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple

import torch
import typer

from converters.base import converter_of
from converters.lookup import combinations
from converters.provenance import weights_record
from converters.schemes import TARGETS
from mobile_runtime_tests.fault_page import (
    DESCRIPTION,
    GRAPH,
    RIGHT,
    WEIGHTS,
    Verdict,
    markdown,
)
from mobile_runtime_tests.graph_faults import GRAPH_FAULTS, faulty_module
from mobile_runtime_tests.weight_faults import WEIGHT_FAULTS, weight_fault
from mobilesam.bundle.contract import Component
from mobilesam.errors import MobileSAMError
from mobilesam.progress import Progress
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from parity.image_folder import folder_photos
from parity.judging import BundleRun, check_run, judge_run
from parity.photos import stored_photos
from parity.references import PhotoReference, reference_answers
from parity.schema import BundleReport
from parity.thresholds import Thresholds
from parity.weight_audit.run import audit_bundle
from tests.parity.description_edits import FileEdit, edited
from tests.parity.fakes import write_photos
from tests.parity.test_description import FILES, MANIFEST
from tests.specs import make_job
from tests.tiny_bundles import SIZE, make_tiny_model, tiny_bundle, tiny_model
from tests.upstream.oracle import randomize

ASKED = "fp32"
"""Scheme whose answers are judged too: the small model's weights are random, and the limits of
the others were set for trained ones."""

OTHER = "an encoder of other weights"


class Fault(NamedTuple):
    """One faulty file to be made, or a right one.

    Attributes:
        make: copies the bundle into a folder with the fault planted.
        components: whose weights are audited.
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
    for target, name, edit, _ in FILES:
        yield Fault(DESCRIPTION, name, target, "fp32", partial(_edited, target, edit))
    for name, (change, _) in MANIFEST.items():
        make = partial(_edited, "tflite", None, manifest_edit=change)
        yield Fault(DESCRIPTION, f"manifest: {name}", "tflite", "fp32", make)
    for target, scheme in combinations():
        for name in WEIGHT_FAULTS:
            yield weight_fault_of(target, scheme, name)
    for target in TARGETS:
        for name in GRAPH_FAULTS:
            yield graph_fault(target, name)
    for target, scheme in combinations():
        if scheme not in TARGETS[target].calibrated:
            yield other_encoder(target, scheme)


def _edited(target: str, edit: FileEdit | None, folder: Path, **changes: Any) -> Bundle:
    return edited(tiny_bundle(target), folder, "encoder", edit, **changes)


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


def graph_fault(target: str, name: str, scheme: str = "fp32") -> Fault:
    """A fault of :data:`mobile_runtime_tests.graph_faults.GRAPH_FAULTS`."""
    component, *_ = GRAPH_FAULTS[name]

    def make(folder: Path) -> Bundle:
        with _converted(target, scheme, component, folder, name) as edit:
            return edited(tiny_bundle(target, scheme), folder, component, edit)

    return Fault(GRAPH, name, target, scheme, make, (), True)


def other_encoder(target: str, scheme: str) -> Fault:
    """An encoder exported from another model, in a bundle that names the first."""

    def make(folder: Path) -> Bundle:
        with _converted(target, scheme, "encoder", folder) as edit:
            return edited(tiny_bundle(target, scheme), folder, "encoder", edit)

    return Fault(WEIGHTS, OTHER, target, scheme, make, ("encoder",))


@contextmanager
def _converted(
    target: str, scheme: str, component: Component, folder: Path, fault: str = ""
) -> Iterator[Callable[[Path], None]]:
    """Convert a component with a fault, or of other weights; gives what puts it in place."""
    place = folder / "converted"
    place.mkdir()
    model = tiny_model()
    if not fault:
        model = make_tiny_model()
        randomize(model, seed=1)
        model.requires_grad_(False)
    job = make_job(model, component, place, target, scheme)
    if fault:
        job = replace(job, module=faulty_module(fault, model, job.spec.contract))
    converter_of(target).convert(job)

    def edit(path: Path) -> None:
        made = job.path(path.suffix)
        if path.is_dir():
            for part in (p for p in made.rglob("*") if p.is_file()):
                (path / part.relative_to(made)).write_bytes(part.read_bytes())
        else:
            path.write_bytes(made.read_bytes())

    yield edit


class Judge:
    """Judges bundles of the small model, whose answers were computed once."""

    def __init__(self, references: Sequence[PhotoReference]) -> None:
        self._references = references
        self._weights = SimpleNamespace(weights=weights_record(tiny_model()))

    def verdict(self, fault: Fault, folder: Path) -> Verdict:
        """Make a fault and judge it."""
        try:
            bundle = fault.make(folder)
        except LookupError as error:
            return Verdict("NOT BUILT", "", str(error))
        except MobileSAMError as error:
            return Verdict("FAIL", "refused", str(error))
        report = self._judged(fault, bundle)
        failed = [check for check in report.checks if not check.passed]
        metric = f"{failed[0].stage} {failed[0].metric}" if failed else ""
        if report.verdict == "FAIL" and not failed:
            metric = "could not be run"
        return Verdict(report.verdict, metric, report.reasons[0] if report.reasons else "")

    def _judged(self, fault: Fault, bundle: Bundle) -> BundleReport:
        manifest, runtime = bundle.manifest, bundle.runtimes[0]
        row = Thresholds().row(manifest.target, manifest.scheme.name)
        run = BundleRun(bundle, runtime, row)
        report = check_run(run, self._weights)
        if report.reasons:
            return report
        report.verdict = "PASS"
        if fault.components:
            audit_bundle(report, bundle, runtime, tiny_model(), fault.components)
        if fault.asked and report.verdict == "PASS":
            judge_run(report, run, self._references, 1, None, Progress(False))
        return report


@contextmanager
def judge() -> Iterator[Judge]:
    """A judge who knows PyTorch's answers about two small photos and two strips of them."""
    with tempfile.TemporaryDirectory(prefix="fault-photos-") as folder:
        photos = folder_photos(write_photos(Path(folder, "photos")))
        with (
            stored_photos(photos, [SIZE], strips=True) as kept,
            ReferenceRunner(tiny_model()) as reference,
            reference_answers(reference, kept, slots=8) as answers,
        ):
            yield Judge(answers)


def main(
    kept: Annotated[Path, typer.Option(help="File of verdicts; those in it are not made again.")],
    out: Annotated[Path, typer.Option(help="Where the page goes.")],
    only: Annotated[str, typer.Option(help="Only faults whose name holds this text.")] = "",
) -> None:
    """Judge every fault that was not judged yet, then write the page."""
    torch.set_num_threads(1)
    known: dict[str, Verdict] = {}
    if kept.exists():
        for line in kept.read_text().splitlines():
            key, *verdict = json.loads(line)
            known[key] = Verdict(*verdict)
    wanted = [fault for fault in faults() if fault.key not in known and only in fault.key]
    Random(0).shuffle(wanted)  # a run that is stopped has then seen some of everything
    wanted.sort(key=lambda fault: fault.kind != RIGHT)
    if wanted:
        with judge() as judged, kept.open("a") as file:
            for fault in wanted:
                with tempfile.TemporaryDirectory(prefix="fault-") as folder:
                    verdict = judged.verdict(fault, Path(folder))
                known[fault.key] = verdict
                file.write(json.dumps([fault.key, *verdict]) + "\n")
                file.flush()
                print(f"{fault.key}: {verdict.verdict} {verdict.metric}", flush=True)
    order = [fault.key for fault in faults() if fault.key in known]
    out.write_text(markdown({key: known[key] for key in order}))


if __name__ == "__main__":
    typer.run(main)
