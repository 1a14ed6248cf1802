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

from converters.activation_ranges import Ranges, activation_ranges
from converters.base import Conversion, check_io, converter_of, packager_of
from converters.calibration import Calibration
from converters.modules import build_module, example_inputs
from converters.provenance import build_manifest, file_records
from converters.spec import ExportSpec
from converters.task import Outcome, Task, read_task
from converters.workspace import FULL_DISK
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.errors import ExportError, MobileSAMError
from mobilesam.model.sam import MobileSAM


def convert_bundle(model: MobileSAM, spec: ExportSpec, folder: Path, shared: Path) -> None:
    """Write every file of a bundle, check each against the contract, then write the manifest.

    Raises:
        ExportError: the model is in train mode, a conversion failed, or a file does not match.
    """
    target, contract = spec.row, spec.contract
    converter = converter_of(spec.target)
    calibration = None
    if spec.calibrated:
        asked = spec.calibration
        calibration = Calibration(model, contract.own, asked.folder, asked.method, asked.names)
    jobs, files = [], []
    ranges: dict[Component, Ranges] = {}
    for component in COMPONENTS:
        job = Conversion(
            spec=spec,
            component=component,
            module=build_module(model, component, contract),
            example=example_inputs(contract, component),
            folder=folder,
            shared=shared,
            calibration=calibration,
        )
        try:
            converter.convert(job)
            for artefact in target.artefacts:
                path = job.path(artefact.suffix)
                inputs, outputs = converter.read_io(path, job)
                check_io(path, "input", inputs, job.signature.inputs)
                check_io(path, "output", outputs, job.signature.outputs)
            if calibration is not None:
                ranges[component] = activation_ranges(job, calibration)
        except (MobileSAMError, OSError, MemoryError):
            raise
        except Exception as error:
            first = (str(error).strip() or "no message").splitlines()[0][:200]
            raise ExportError(
                f"{target.packages[0]} could not convert the {component} "
                f"({type(error).__name__}: {first})"
            ) from error
        jobs.append(job)
        files += file_records(job)
    packager = packager_of(spec.target)
    if packager is not None:
        files = packager.package(jobs, files)
    manifest = build_manifest(spec, files, ranges)
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")


def run(task: Task) -> Outcome:
    """Carry out a task, and report errors instead of raising them."""
    try:
        torch.set_num_threads(task.threads)
        # The parent wrote this file a moment ago; it is no user's checkpoint.
        model = torch.load(task.model, weights_only=False)
        convert_bundle(model, task.spec, task.folder, task.shared)
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
    """End this process when standard input closes: the parent is gone."""
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Entry point."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    task = read_task(Path(sys.argv[1]))
    outcome = run(task)
    task.outcome.write_text(outcome.model_dump_json(), "utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    # Libraries' exit handlers have nothing to add and some of them crash.
    os._exit(0)


if __name__ == "__main__":
    main()
