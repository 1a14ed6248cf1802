"""What several commands share: common options, notes on stderr, checks."""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, overload

import typer

from mobilesam.errors import InputError
from mobilesam.files import written_whole
from mobilesam.weights.demo import DEMO_NOTE
from mobilesam.weights.published import PUBLISHED

if TYPE_CHECKING:
    import numpy as np

    from parity.schema import UnusableImage

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
CHECKPOINTS = f"demo; {', '.join(PUBLISHED)} (downloaded once); or a checkpoint's path"
"""What ``--weights`` takes, in words."""

Weights = Annotated[str, typer.Option(help=f"{CHECKPOINTS}.")]


def _allow_pixels(context: typer.Context, count: int | None) -> int | None:
    """Let photos have so many pixels until the command ends."""
    if count is None or context.resilient_parsing:
        return count
    from PIL import Image

    from mobilesam.inference import images

    before = Image.MAX_IMAGE_PIXELS, os.environ.get(images.MAX_PIXELS_VARIABLE)

    def restore() -> None:
        Image.MAX_IMAGE_PIXELS = before[0]
        os.environ.pop(images.MAX_PIXELS_VARIABLE, None)
        if before[1] is not None:
            os.environ[images.MAX_PIXELS_VARIABLE] = before[1]

    context.call_on_close(restore)
    images.allow_pixels(count)
    return count


MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1,
        callback=_allow_pixels,
        help="Most pixels that a photo may have.",
        show_default="89478485, or MOBILESAM_MAX_PIXELS",
    ),
]
WeightsKey = Annotated[
    str | None,
    typer.Option(
        help="Which weights of a checkpoint that holds several, such as ema or state_dict.student.",
        show_default="the moving average, if there is one",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads a runtime may use.", show_default="its own choice"),
]
ImageSize = Annotated[
    int, typer.Option(min=64, help="Side of the model's square frame, a multiple of 16.")
]
OwnWeights = Annotated[str | None, typer.Option(help=f"{CHECKPOINTS}.", show_default="demo")]
OwnImageSize = Annotated[
    int | None,
    typer.Option(min=64, help="Side of a checkpoint's square frame.", show_default="1024"),
]
InsteadOfPyTorch = Annotated[
    Path | None, typer.Option(help="Run the exported files of this bundle instead of PyTorch.")
]
OneRuntime = Annotated[
    str | None, typer.Option(help="Which of a bundle's runtimes.", show_default="its first")
]
Engine = Annotated[
    str | None,
    typer.Option(
        help="local: processes of this machine; ray: a Ray cluster.",
        show_default="this process alone",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="How many; they change no result.", show_default="the cores"),
]
RayAddress = Annotated[
    str | None,
    typer.Option(help="Of the Ray cluster.", show_default="this machine's, or a new one"),
]
Bundles = Annotated[
    list[Path], typer.Argument(help="Bundles, or folders that hold bundles.", show_default=False)
]
Photos = Annotated[
    Path | None, typer.Option(help="Folder of photos.", show_default="scikit-image's")
]
SkipUnusable = Annotated[
    bool,
    typer.Option("--skip-unusable", help="Go on without photos that cannot be used; list them."),
]
ReferenceWeights = Annotated[
    str | None,
    typer.Option(
        help="Checkpoint of the PyTorch model to compare with.",
        show_default="the one the manifest names",
    ),
]
ThresholdsFile = Annotated[
    Path | None, typer.Option(help="TOML file.", show_default="parity/thresholds.toml")
]
ReportFolder = Annotated[
    Path | None, typer.Option(help="Folder for report.html, .json, .md and junit.xml.")
]
COMMAND_LINE = "mobilesam.command_line"
"""Key in a context's ``meta`` of the whole command line as it was typed, quoted for a shell."""


def say(kind: str, sentence: str) -> None:
    """Print ``kind: sentence`` as one line on stderr."""
    typer.echo(f"{kind}: {' '.join(sentence.split())}", err=True)


@overload
def keyed(weights: str, key: str | None) -> str: ...
@overload
def keyed(weights: str | None, key: str | None) -> str | None: ...
def keyed(weights: str | None, key: str | None) -> str | None:
    """The checkpoint that ``--weights`` names, with the key that ``--weights-key`` gives.

    Raises:
        InputError: a key without a checkpoint.
    """
    if key is None:
        return weights
    if weights is None:
        raise InputError("--weights-key chooses within a checkpoint: give its path with --weights")
    return f"{weights}#{key}"


def say_demo() -> None:
    """Say, in one line, what the demo weights are."""
    say("note", f"{DEMO_NOTE} (use --weights official, or a checkpoint of your own)")


def say_left_out(unusable: "Sequence[UnusableImage]", used: int) -> None:
    """Say which photos were left out and why, and how many that leaves; nothing where none was."""
    from parity.photos import left_out

    if unusable:
        say("note", left_out(len(unusable), used))
    for each in unusable:
        say("note", f"left out {each.image}: {each.reason}")


def print_json(value: Any) -> None:
    """Print a JSON value on stdout, indented."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def listed(values: Sequence[str] | None) -> list[str]:
    """Names from repeated options and comma-separated lists, in order, each once."""
    names = (name.strip() for value in values or () for name in value.split(","))
    return list(dict.fromkeys(name for name in names if name))


def read_logits(path: Path | None) -> "np.ndarray | None":
    """The array of an ``.npy`` file as ``--logits`` writes it, its shape unchecked.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    import numpy as np

    if path is None:
        return None
    if not path.exists():
        raise InputError(f"there is no file of logits at '{path}'")
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ValueError("it is no file")
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        # NumPy takes whatever it does not know for a pickle, and advises to execute it.
        reason = "it holds no array of numbers" if "pickle" in str(error) else error
        raise InputError(
            f"'{path}' is not an .npy file of low-res logits as --logits writes it ({reason})"
        ) from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"'{path}' holds several arrays: give an .npy file that --logits wrote")
    return array


def require_inputs(
    *, images: Path | None = None, thresholds: Path | None = None, report: Path | None = None
) -> None:
    """Check, before long work, that what an option names is there.

    Raises:
        InputError: it is not.
    """
    if images is not None and not images.is_dir():
        raise InputError(f"--images takes a folder of photos, and '{images}' is not a folder")
    if thresholds is not None and not thresholds.is_file():
        raise InputError(f"there is no thresholds file at '{thresholds}'")
    if report is not None and not report.exists():
        raise InputError(f"there is no report at '{report}': give a report.json")


def require_writable_folder(folder: Path) -> None:
    """Check, before long work, that files can be created in a folder that may not exist yet.

    Raises:
        InputError: it, or the nearest folder above it that exists, cannot be written.
    """
    above = (folder.absolute(), *folder.absolute().parents)
    nearest = next(path for path in above if os.path.lexists(path))
    if not nearest.is_dir():
        kind = "file" if nearest.exists() else "link that leads nowhere"
        raise InputError(f"'{folder}' cannot be a folder: '{nearest}' is a {kind}")
    try:
        # A file alone would not do: some file systems hold files but let nobody add a folder.
        with tempfile.TemporaryDirectory(dir=nearest, prefix=".mobilesam-"):
            pass
    except OSError as error:
        raise InputError(_unwritable(folder, error)) from None


def require_place(option: str, path: Path, *read: Path | None) -> None:
    """Check, before long work, that the file an option names can be written, and may be.

    Args:
        option: its name, for the error.
        path: of the file.
        read: files that the command reads, which writing must not replace.

    Raises:
        InputError: it is a folder, a device or one of the files that are read, or its own folder is
            not there or cannot be written.
    """
    if any(own is not None and path.resolve() == own.resolve() for own in read):
        raise InputError(f"{option} would overwrite '{path}': choose another name")
    if path.is_dir():
        raise InputError(f"{option} '{path}' is a folder: name a file")
    if path.exists() and not path.is_file():
        raise InputError(f"{option} '{path}' is a device or a pipe: name a file")
    if not path.parent.is_dir():
        raise InputError(f"{option} '{path}' lies in a folder that does not exist")
    require_writable_folder(path.parent)


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """:func:`mobilesam.files.written_whole`, whose errors a user can act on.

    Raises:
        InputError: it cannot be written; nothing is left behind.
    """
    try:
        with written_whole(path) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(_unwritable(path, error)) from None


def _unwritable(path: Path, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"'{path}' cannot be written ({reason}): write somewhere else"
