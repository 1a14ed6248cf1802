"""Bundle folders on disk: written whole or not at all, by one process at a time."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from filelock import FileLock

from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.errors import ExportError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def prepare_out(out: Path) -> None:
    """Make sure that bundles can be written to a folder, creating it.

    Raises:
        ExportError: it is a file, or cannot be created or written.
    """
    if out.exists() and not out.is_dir():
        raise ExportError(f"cannot export to {out}: it is a file, give a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ExportError(cannot_write(out, error)) from None


def cannot_write(out: Path, error: OSError) -> str:
    """One sentence that says why a folder cannot be written."""
    if error.errno in FULL_DISK:
        return f"cannot export to {out}: the disk is full, free some space or give another folder"
    reason = (error.strerror or str(error)).lower()
    return f"cannot export to {out}: {reason}, give a folder that can be written"


@contextmanager
def locked(folder: Path, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold a bundle folder for oneself, first waiting for whoever else holds it.

    What an export that was killed left behind is cleared away on entry.

    Args:
        folder: the bundle folder, which need not exist.
        cancelled: asked while waiting; when true the wait ends.

    Raises:
        Timeout: of ``filelock``, when cancelled.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    with lock.acquire(cancel_check=cancelled, poll_interval=0.1):
        try:
            _sweep(folder)
            yield
        finally:
            # Safe while held: whoever waits on the removed file sees that, and makes a new one.
            Path(lock.lock_file).unlink(missing_ok=True)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``folder`` at the end; on any error it vanishes.

    Only for the holder of the lock. A folder that holds anything but a bundle is not replaced.

    Raises:
        ExportError: ``folder`` exists and is no bundle.
    """
    if folder.exists() and not _replaceable(folder):
        raise ExportError(f"{folder} exists and is not a bundle: move it away or export elsewhere")
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        yield partial
        old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


SCRATCH = "mobilesam-export-"
"""How the names of scratch folders begin."""

_OWNED = ".owned"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder of one export; those of exports that were killed are removed first.

    Its owner holds a lock on a file in it, which the system releases however the owner ends.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as folder:
        unlocked, owned = Path(folder, f"{_OWNED}.new"), Path(folder, _OWNED)
        with FileLock(unlocked):
            # There only once it is locked: nobody can take the folder for an abandoned one.
            unlocked.rename(owned)
            yield Path(folder)


def _remove_abandoned(root: Path) -> None:
    """Remove our scratch folders whose owner is dead. A folder without an owner's file is no such
    folder, whatever its name."""
    for folder in root.glob(f"{SCRATCH}*"):
        owned = folder / _OWNED
        with suppress(OSError):  # held, another user's, or removed by somebody else
            if folder.is_symlink() or owned.lstat().st_uid != os.getuid():
                continue
            with FileLock(owned, blocking=False):
                for entry in folder.iterdir():
                    if entry.is_dir():
                        shutil.rmtree(entry)
                    elif entry != owned:  # last, or who is killed here leaves what nobody removes
                        entry.unlink()
                shutil.rmtree(folder)


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and ((folder / MANIFEST_NAME).is_file() or not any(folder.iterdir()))


def _sweep(folder: Path) -> None:
    """Remove leftovers of dead exports; whoever holds the lock is the only one alive."""
    for partial in folder.parent.glob(f".{escape(folder.name)}.partial-*"):
        shutil.rmtree(partial, ignore_errors=True)
    for old in folder.parent.glob(f".{escape(folder.name)}.old-*"):
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:  # killed between the two renames
            old.rename(folder)
