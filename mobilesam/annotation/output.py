"""The folder that a run writes: its settings, and labels that appear one photo at a time."""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from mobilesam.annotation.formats.base import LabelFormat
from mobilesam.annotation.records import LeftOut, PhotoFile
from mobilesam.errors import InputError
from mobilesam.files import write_whole

SETTINGS_FILE = "annotate.json"
LEFT_OUT_FILE = "left_out.json"
_LOCK = ".annotate.lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class OutputFolder:
    """Labels of one run. The same run in the same folder again goes on where it ended.

    Args:
        path: of the folder, which may not be there yet.
        settings: of the run: whatever its labels depend on, as JSON has it.
        written: the format of the labels.

    Raises:
        InputError: it holds labels of another run, or something else.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], written: LabelFormat) -> None:
        self.path = path
        self._settings = settings
        self._format = written
        self._lock: FileLock | None = None
        self._require_own()

    def begin(self) -> None:
        """Make the folder, unless this was done, and keep others out of it.

        Raises:
            InputError: it cannot be written, or another process writes into it.
        """
        if self._lock is not None:
            return
        with _saying_why(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise InputError(f"another run is writing into '{self.path}': let it end") from None
            self._lock = lock
            self._require_own()
            for left in self.path.rglob(".*.part*"):  # by a process that was killed
                left.unlink()
            write_whole(self.path / SETTINGS_FILE, _json(self._settings))

    def close(self) -> None:
        """Let others in."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def has(self, photo: PhotoFile) -> bool:
        """Whether a photo was annotated, and has not been changed since."""
        try:
            written = os.stat(self._format.file(self.path, photo)).st_mtime_ns
        except FileNotFoundError:
            return False
        try:
            return os.stat(photo.path).st_mtime_ns <= written
        except OSError:
            return True

    def write(self, photo: PhotoFile, text: str) -> None:
        """Write a photo's labels, whole or not at all.

        Raises:
            InputError: they cannot be written.
        """
        file = self._format.file(self.path, photo)
        with _saying_why(file):
            file.parent.mkdir(exist_ok=True)
            write_whole(file, text)

    def forget(self, photo: PhotoFile) -> None:
        """Remove the labels of a photo that was changed and cannot be annotated any more."""
        self._format.file(self.path, photo).unlink(missing_ok=True)

    def finish(self, photos: Sequence[PhotoFile], left_out: Sequence[LeftOut]) -> None:
        """Write what is made of all labels together, and which photos have none.

        Args:
            photos: those that have labels, in order.
            left_out: those that could not be annotated.

        Raises:
            InputError: they cannot be written.
        """
        file = self.path / LEFT_OUT_FILE
        with _saying_why(self.path):
            self._format.finish(self.path, photos)
            if left_out:
                write_whole(file, _json([each._asdict() for each in left_out]))
            else:
                file.unlink(missing_ok=True)

    def _require_own(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise InputError(f"'{self.path}' is a file: give a folder for the labels")
        stored = self._stored()
        if stored is None:
            others = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
            if others:
                raise InputError(
                    f"'{self.path}' holds files that are no labels of ours, such as "
                    f"'{min(others)}': give a folder that is empty or not there yet"
                )
            return
        before, wanted = _flat(stored), _flat(self._settings)
        for name in {**wanted, **before}:
            was, now = (json.dumps(each.get(name)) for each in (before, wanted))
            if was != now:
                raise InputError(
                    f"'{self.path}' holds labels of another run ({name} was {was} and is {now}): "
                    "give another folder, or what it was to go on with that run"
                )

    def _stored(self) -> dict[str, Any] | None:
        """The settings in the folder; None if there are none."""
        file = self.path / SETTINGS_FILE
        try:
            stored = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise InputError(f"'{file}' cannot be read ({error}): give another folder") from None
        if not isinstance(stored, dict):
            raise InputError(f"'{file}' holds no settings of a run: give another folder")
        return stored


def _flat(settings: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Settings by their dotted places."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        within = _flat(value, f"{place}{name}.") if isinstance(value, dict) else None
        flat |= {f"{place}{name}": value} if within is None else within
    return flat


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def _saying_why(path: Path) -> Iterator[None]:
    """Say in one sentence why something cannot be written, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in _FULL else (error.strerror or str(error))
        raise InputError(
            f"'{path}' cannot be written ({reason.lower()}): mend that, and the same command goes "
            "on with what is done"
        ) from error
