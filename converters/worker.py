"""One (target, scheme) converted in a process of its own.

A process of its own gives memory back, survives a converter's crash, and lets everything that
libraries print, from Python or from C, go to the log: its standard output *is* the log.
Run as ``python -m converters.worker TASK``, with standard input held open by the parent.
"""

import os
import sys
import threading
import traceback
from pathlib import Path

import torch
from pydantic import BaseModel

from converters.base import Conversion, check_io, converter_of, packager_of
from converters.calibration import DEFAULT_CALIBRATION, Calibration, CalibrationOptions
from converters.coreml.options import CoreMLOptions
from converters.lookup import is_calibrated
from converters.modules import build_module, example_inputs
from converters.plan import Plan
from converters.provenance import build_manifest, file_records
from converters.schemes import TARGETS
from converters.tflite.distilled import DistilledRecord
from converters.workspace import FULL_DISK
from mobilesam.bundle.contract import COMPONENTS, Contract
from mobilesam.bundle.manifest import MANIFEST_NAME, WeightsRecord
from mobilesam.errors import ExportError, MobileSAMError
from mobilesam.model.sam import MobileSAM


class Task(BaseModel):
    """What a worker is told: a file's content.

    Attributes:
        model: file that ``torch.save`` wrote of the whole model.
        folder: where the bundle's files go; it exists.
        shared: folder for what several workers can use.
        outcome: where an :class:`Outcome` goes.
        calibration: of a scheme that is calibrated.
        plan: of scheme ``mixed``.
        distilled: file that the model's image encoder is from; ``weights`` are its teacher's.
    """

    target: str
    scheme: str
    contract: Contract
    weights: WeightsRecord
    coreml: CoreMLOptions
    model: Path
    folder: Path
    shared: Path
    outcome: Path
    threads: int
    calibration: CalibrationOptions = DEFAULT_CALIBRATION
    plan: Plan | None = None
    distilled: DistilledRecord | None = None


class Outcome(BaseModel):
    """What a worker says at its end; one that dies says nothing."""

    error: str | None = None
    disk_full: bool = False


def convert_bundle(
    model: MobileSAM,
    target: str,
    scheme: str,
    contract: Contract,
    weights: WeightsRecord,
    coreml: CoreMLOptions,
    folder: Path,
    shared: Path,
    calibrating: CalibrationOptions = DEFAULT_CALIBRATION,
    plan: Plan | None = None,
    distilled: DistilledRecord | None = None,
) -> None:
    """Write every file of a bundle, check each against the contract, then write the manifest.

    Raises:
        ExportError: the model is in train mode, a conversion failed, or a file does not match.
    """
    converter = converter_of(target)
    calibration = None
    if is_calibrated(target, scheme, plan):
        calibration = Calibration(model, contract, calibrating.folder, calibrating.method)
    jobs, files = [], []
    for component in COMPONENTS:
        job = Conversion(
            component=component,
            module=build_module(model, component, contract),
            signature=contract.signature(component),
            example=example_inputs(contract, component),
            scheme=scheme,
            folder=folder,
            coreml=coreml,
            weights=weights,
            shared=shared,
            calibration=calibration,
            plan=plan,
        )
        try:
            converter.convert(job)
            for artefact in TARGETS[target].artefacts:
                path = job.path(artefact.suffix)
                inputs, outputs = converter.read_io(path, job)
                check_io(path, "input", inputs, job.signature.inputs)
                check_io(path, "output", outputs, job.signature.outputs)
        except (MobileSAMError, OSError, MemoryError):
            raise
        except Exception as error:
            first = (str(error).strip() or "no message").splitlines()[0][:200]
            raise ExportError(
                f"{TARGETS[target].packages[0]} could not convert the {component} "
                f"({type(error).__name__}: {first})"
            ) from error
        jobs.append(job)
        files += file_records(job, target)
    packager = packager_of(target)
    if packager is not None:
        files = packager.package(jobs, files)
    manifest = build_manifest(
        model, contract, target, scheme, coreml, weights, files, calibrating, plan, distilled
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")


def run(task: Task) -> Outcome:
    """Convert as told."""
    try:
        torch.set_num_threads(task.threads)
        # The parent wrote this file a moment ago; it is no user's checkpoint.
        model = torch.load(task.model, weights_only=False)
        convert_bundle(
            model,
            task.target,
            task.scheme,
            task.contract,
            task.weights,
            task.coreml,
            task.folder,
            task.shared,
            task.calibration,
            task.plan,
            task.distilled,
        )
    except MobileSAMError as error:
        traceback.print_exc()
        return Outcome(error=str(error))
    except OSError as error:
        traceback.print_exc()
        return Outcome(error=str(error), disk_full=error.errno in FULL_DISK)
    except MemoryError:
        traceback.print_exc()
        return Outcome(error="it ran out of memory")
    return Outcome()


def _die_with_parent() -> None:
    """End at once when the parent is gone and with it the other end of standard input."""
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Entry point."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    task = Task.model_validate_json(Path(sys.argv[1]).read_text("utf-8"))
    outcome = run(task)
    task.outcome.write_text(outcome.model_dump_json(), "utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    # Libraries' exit handlers have nothing to add and some of them crash.
    os._exit(0)


if __name__ == "__main__":
    main()
