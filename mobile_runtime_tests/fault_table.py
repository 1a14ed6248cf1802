"""Faults of every kind in files of every format, and the check that names each: a table.

    python -m mobile_runtime_tests.fault_table --kept /tmp/faults.jsonl --out docs/faults.md
    python -m mobile_runtime_tests.fault_table … --runtime litert_gpu_fp32

The files are those of a small model with every kind of layer (``tests/tiny_bundles.py``), exported
when first needed. A fault of the graph lies shut in a file converted with all of them, and a number
in it opens it (``gates.py``); one of the weights is written over a file's bytes; one of the
description changes what a file says of itself. Each time the manifest's digests are made to agree.
What was judged is kept in a file of one line a verdict, so that a run that was stopped goes on
where it was.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Annotated

import torch
import typer

from converters.lookup import targets_of_all
from converters.provenance import weights_record
from converters.schemes import TARGETS
from mobile_runtime_tests.fault_page import RIGHT, Verdict, markdown
from mobile_runtime_tests.planted_faults import Fault, faults
from mobilesam.errors import MobileSAMError
from mobilesam.progress import Progress
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from mobilesam.runtimes.table import RUNNERS, files_of
from parity.activation_audit.run import audit_activations
from parity.image_folder import folder_photos
from parity.judging import BundleRun, check_run, judge_run
from parity.photos import stored_photos
from parity.references import PhotoReference, reference_answers
from parity.schema import BundleReport
from parity.thresholds import Thresholds
from parity.weight_audit.run import audit_bundle
from tests.parity.fakes import write_photos
from tests.tiny_bundles import SIZE, tiny_model


class Judge:
    """Judges bundles of the small model, whose answers were computed once."""

    def __init__(self, references: Sequence[PhotoReference]) -> None:
        self._references = references
        self._weights = SimpleNamespace(weights=weights_record(tiny_model()))

    def verdict(self, fault: Fault, folder: Path, runtime: str | None = None) -> Verdict:
        """Make a fault and judge it, on the bundle's own runtime or another that runs its files."""
        try:
            bundle = fault.make(folder)
        except LookupError as error:
            return Verdict("NOT BUILT", "", str(error))
        except MobileSAMError as error:
            return Verdict("FAIL", "refused", str(error))
        report = self._judged(fault, bundle, runtime or bundle.runtimes[0])
        failed = [check for check in report.checks if not check.passed]
        metric = f"{failed[0].stage} {failed[0].metric}" if failed else ""
        if report.verdict == "FAIL" and not failed:
            metric = "could not be run"
        return Verdict(report.verdict, metric, report.reasons[0] if report.reasons else "")

    def _judged(self, fault: Fault, bundle: Bundle, runtime: str) -> BundleReport:
        manifest = bundle.manifest
        row = Thresholds().row(manifest.target, manifest.scheme.name, runtime)
        run = BundleRun(bundle, runtime, row)
        report = check_run(run, self._weights)
        if report.reasons:
            return report
        report.verdict = "PASS"
        if fault.components:
            files = files_of(runtime)
            pairs = audit_bundle(report, bundle, files, tiny_model(), fault.components)
            audit_activations(report, bundle, files, pairs)
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
    runtime: Annotated[str | None, typer.Option(help="Other than the bundles' own.")] = None,
) -> None:
    """Judge every fault that was not judged yet, then write the page."""
    torch.set_num_threads(1)
    known: dict[str, Verdict] = {}
    if kept.exists():
        for line in kept.read_text().splitlines():
            key, *verdict = json.loads(line)
            known[key] = Verdict(*verdict)
    here = targets_of_all()
    every = list(faults())
    asked = [fault for fault in every if fault.target in here and _is_asked(fault, runtime)]
    wanted = [fault for fault in asked if _key(fault, runtime) not in known and only in fault.key]
    Random(0).shuffle(wanted)  # a run that is stopped has then seen some of everything
    wanted.sort(key=lambda fault: fault.kind != RIGHT)
    if wanted:
        with judge() as judged, kept.open("a") as file:
            for fault in wanted:
                with tempfile.TemporaryDirectory(prefix="fault-") as folder:
                    verdict = judged.verdict(fault, Path(folder), runtime)
                key = _key(fault, runtime)
                known[key] = verdict
                file.write(json.dumps([key, *verdict]) + "\n")
                file.flush()
                print(f"{key}: {verdict.verdict} {verdict.metric}", flush=True)
    order = [_key(fault, name) for name in (None, *RUNNERS) for fault in every]
    out.write_text(markdown({key: known[key] for key in order if key in known}))


def _is_asked(fault: Fault, runtime: str | None) -> bool:
    """Whether another runtime is asked about a file: what it says and holds is the same there."""
    if runtime is None:
        return True
    found = {artefact.runtime for artefact in TARGETS[fault.target].artefacts}
    return files_of(runtime) in found and fault.scheme == "fp32" and fault.asked


def _key(fault: Fault, runtime: str | None) -> str:
    return fault.key if runtime is None else f"{fault.key} on {runtime}"


if __name__ == "__main__":
    typer.run(main)
