"""The exports of one call: each bundle converted in a process of its own, side by side."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import Timeout

from converters.process import Cancelled, ConversionError, convert_in_process
from converters.progress import BundleProgress
from converters.provenance import export_key
from converters.schemes import MIXED
from converters.spec import ExportSpec
from converters.task import Task
from converters.workspace import cannot_write, locked, replacing
from mobilesam.bundle.manifest import BundleFolder
from mobilesam.errors import BundleError, ExportError
from mobilesam.model.sam import MobileSAM

POLL_S = 0.2
"""Seconds between two looks at what is done."""


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
        force: export even what is unchanged.
        scratch: folder for what workers hand each other.
        threads: of each worker.
        lines: where progress is shown.
        stop: set when the call is interrupted.
    """

    force: bool
    scratch: Path
    threads: int
    lines: BundleProgress
    stop: threading.Event

    @property
    def model_file(self) -> Path:
        """Where :func:`hand_over` writes what workers convert."""
        return self.scratch / "model.pt"

    def export(self, spec: ExportSpec, folder: Path) -> ExportResult:
        """Convert to one bundle, or recognise it as unchanged.

        Raises:
            ConversionError: the converter failed; the error has the end of its log.
            ExportError: the folder cannot be written.
            Cancelled: ``stop`` was set meanwhile.
        """
        name = spec.name
        self.lines.start(name)
        begin = time.monotonic()
        key = export_key(spec)
        try:
            with locked(folder, self.stop.is_set):
                skipped = not self.force and _is_unchanged(folder, key)
                if not skipped:
                    with replacing(folder) as partial:
                        task = self._task(spec, partial)
                        convert_in_process(task, self.scratch, self.stop.is_set)
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
        return ExportResult(folder, spec.target, spec.scheme, skipped, time.monotonic() - begin)

    def _task(self, spec: ExportSpec, partial: Path) -> Task:
        return Task(
            spec=spec,
            model=self.model_file,
            folder=partial.resolve(),
            shared=self.scratch,
            outcome=self.scratch / f"{spec.name}.outcome.json",
            threads=self.threads,
        )


@contextmanager
def interrupts_noted() -> Iterator[threading.Event]:
    """Within the block Ctrl-C sets the event instead of raising KeyboardInterrupt.

    That is raised wherever the main thread happens to be, and is lost in a finalizer or a callback.
    Only where Ctrl-C would have raised it: a handler of the caller's stays, and in other threads
    than the main one no handler can be set.
    """
    noted = threading.Event()
    handler = signal.getsignal(signal.SIGINT)
    own = threading.current_thread() is threading.main_thread()
    if not own or handler is not signal.default_int_handler:
        yield noted
        return
    signal.signal(signal.SIGINT, lambda number, frame: noted.set())
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, handler)


def run_all(session: Session, specs: Mapping[Path, ExportSpec], workers: int) -> list[ExportResult]:
    """Export to every folder, so many at a time; the results are in the order of ``specs``.

    Raises:
        ConversionError: one failed; the others were still finished.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="export")
    futures: dict[Path, Future[ExportResult]] = {}
    try:
        with interrupts_noted() as interrupted:
            for folder in sorted(specs, key=lambda folder: turn(specs[folder])):
                futures[folder] = pool.submit(session.export, specs[folder], folder)
            waiting = set(futures.values())
            while waiting:
                if interrupted.is_set():
                    raise KeyboardInterrupt
                waiting = wait(waiting, timeout=POLL_S).not_done
    finally:
        # Reached early only by an interrupt: end the children, and let the threads tidy up.
        session.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    failures = {folder: error for folder in specs if (error := futures[folder].exception())}
    if failures:
        folder, first = next(iter(failures.items()))
        if not isinstance(first, ExportError):
            raise first
        more = f" ({len(failures)} of {len(specs)} bundles failed)" if len(failures) > 1 else ""
        raise ConversionError(
            f"{specs[folder].name} was not exported: {first}{more}",
            getattr(first, "log_tail", ""),
        ) from first
    return [futures[folder].result() for folder in specs]


def hand_over(model: MobileSAM, path: Path) -> None:
    """Write the model to a file for the workers, with its exact weights.

    Raises:
        ExportError: the model cannot be pickled, or the file cannot be written.
    """
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


def turn(spec: ExportSpec) -> tuple[int, int]:
    """Sort key: the longest first; a target's further schemes later, which use the first's work."""
    row = spec.row
    return [*row.schemes, MIXED].index(spec.scheme), -row.seconds
