"""The exports of one call: each bundle converted in a process of its own, side by side."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import Timeout

from converters.calibration import CalibrationOptions
from converters.coreml.options import CoreMLOptions
from converters.plan import Plan
from converters.process import Cancelled, ConversionError, convert_in_process
from converters.progress import BundleProgress
from converters.provenance import export_key
from converters.schemes import COREML, MIXED, TARGETS
from converters.tflite.distilled import DistilledRecord
from converters.worker import Task
from converters.workspace import cannot_write, locked, replacing
from mobilesam.bundle.contract import Contract
from mobilesam.bundle.manifest import BundleFolder, WeightsRecord
from mobilesam.errors import BundleError, ExportError
from mobilesam.model.sam import MobileSAM


@dataclass(frozen=True)
class ExportResult:
    """One bundle: where it is, whether it was recognised as unchanged, and how long it took."""

    path: Path
    target: str
    scheme: str
    skipped: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the exports of one call share.

    Attributes:
        model: that bundles claim to reproduce; workers read theirs from ``model_file``.
        scratch: folder for what workers hand each other.
        threads: of each worker.
        stop: set when the call is interrupted.
    """

    model: MobileSAM
    weights: WeightsRecord
    contract: Contract
    coreml: CoreMLOptions
    calibration: CalibrationOptions
    plan: Plan | None
    distilled: DistilledRecord | None
    force: bool
    scratch: Path
    threads: int
    lines: BundleProgress
    stop: threading.Event

    @property
    def model_file(self) -> Path:
        """Where :func:`hand_over` writes what workers convert."""
        return self.scratch / "model.pt"

    def contract_of(self, target: str) -> Contract:
        """The contract of a target's bundles."""
        if target != COREML:
            return self.contract
        return replace(self.contract, slot_counts=self.coreml.slot_counts(self.contract.slots))

    def export(self, target: str, scheme: str, folder: Path) -> ExportResult:
        """Convert to one bundle, or recognise it as unchanged."""
        name = f"{target}-{scheme}"
        self.lines.start(name)
        begin = time.monotonic()
        contract = self.contract_of(target)
        key = export_key(
            self.model,
            self.weights,
            contract,
            target,
            scheme,
            self.coreml,
            self.calibration,
            self._plan(scheme),
            self.distilled,
        )
        try:
            with locked(folder, self.stop.is_set):
                skipped = not self.force and _is_unchanged(folder, key)
                if not skipped:
                    with replacing(folder) as partial:
                        convert_in_process(
                            self._task(target, scheme, partial), self.scratch, self.stop.is_set
                        )
        except ConversionError as error:
            self.lines.finish(name, "[red]failed")
            self.lines.show_log(name, error.log_tail)
            raise
        except OSError as error:
            if isinstance(error, Timeout):
                raise Cancelled from None
            self.lines.finish(name, "[red]failed")
            raise ExportError(cannot_write(folder.parent, error)) from error
        self.lines.finish(name, "[green]unchanged" if skipped else "[green]done")
        return ExportResult(folder, target, scheme, skipped, time.monotonic() - begin)

    def _task(self, target: str, scheme: str, partial: Path) -> Task:
        return Task(
            target=target,
            scheme=scheme,
            contract=self.contract_of(target),
            weights=self.weights,
            coreml=self.coreml,
            model=self.model_file,
            folder=partial.resolve(),
            shared=self.scratch,
            outcome=self.scratch / f"{target}-{scheme}.outcome.json",
            threads=self.threads,
            calibration=self.calibration,
            plan=self._plan(scheme),
            distilled=self.distilled,
        )

    def _plan(self, scheme: str) -> Plan | None:
        return self.plan if scheme == MIXED else None


def run_all(
    session: Session, folders: Mapping[tuple[str, str], Path], workers: int
) -> list[ExportResult]:
    """Export to every folder, so many at a time; the results are in the order of ``folders``.

    Raises:
        ExportError: one failed; the others were still finished.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="export")
    futures: dict[tuple[str, str], Future[ExportResult]] = {}
    try:
        for pair in sorted(folders, key=turn):
            futures[pair] = pool.submit(session.export, *pair, folders[pair])
        for future in as_completed(futures.values()):
            future.exception()
    finally:
        # Reached early only by an interrupt: end the children, and let the threads tidy up.
        session.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    failures = {pair: error for pair in folders if (error := futures[pair].exception())}
    if failures:
        (target, scheme), first = next(iter(failures.items()))
        if not isinstance(first, ExportError):
            raise first
        more = f" ({len(failures)} of {len(folders)} bundles failed)" if len(failures) > 1 else ""
        raise ConversionError(
            f"{target}-{scheme} was not exported: {first}{more}", getattr(first, "log_tail", "")
        ) from first
    return [futures[pair].result() for pair in folders]


def hand_over(model: MobileSAM, path: Path) -> None:
    """Write the model for the workers, exactly as it is."""
    try:
        torch.save(model, path)
    except OSError as error:
        raise ExportError(cannot_write(path.parent, error)) from error
    except Exception as error:  # pickle and torch raise many kinds
        raise ExportError(
            f"the model cannot be handed to a converter process ({error}): it must be picklable, "
            f"and {path.parent} writable"
        ) from error


def _is_unchanged(folder: Path, key: str) -> bool:
    try:
        bundle = BundleFolder(folder)
        bundle.verify()
    except BundleError:
        return False
    return bundle.manifest.export_key == key


def turn(pair: tuple[str, str]) -> tuple[int, int]:
    """The longest first; a target's further schemes later, since they may use the first's work."""
    target, scheme = pair
    row = TARGETS[target]
    return [*row.schemes, MIXED].index(scheme), -row.seconds
