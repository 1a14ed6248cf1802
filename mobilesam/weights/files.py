"""Reading a checkpoint file without executing anything in it.

A checkpoint is a PyTorch file (zip or legacy), a plain pickle or a safetensors file, told apart by
content. What is nested in it is left as it is; :mod:`mobilesam.weights.selection` finds the
model's tensors there.
"""

import zipfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from mobilesam.errors import CheckpointError
from mobilesam.weights.kinds import HEAD, kind_of, kind_of_zip
from mobilesam.weights.pickles import ExecutesCodeError, read_pickled, read_zipped

NEEDED = "a .pt, .pth or .safetensors file is needed"
_FEW = 3  # entries named in a sentence before "and N more"


def read_checkpoint(path: Path) -> Any:
    """Whatever a checkpoint file holds, tensors on the CPU; nothing in it is executed.

    What is neither a tensor nor a plain container comes as a
    :class:`~mobilesam.weights.pickles.StandIn`.

    Raises:
        CheckpointError: the file is unreadable, cut off, not a checkpoint, or would execute code
            if it were unpickled.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint '{path}' cannot be read: {error.strerror}."
        ) from error
    if not head:
        raise CheckpointError(f"The checkpoint '{path}' is empty (0 bytes).")
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith((b"PK", b"\x80")):
        return _read_torch(path, zipped=head.startswith(b"PK"))
    kind = kind_of(head)
    if kind is None and path.suffix == ".safetensors":
        return _read_safetensors(path)
    but = f" but {kind}" if kind else ""
    raise CheckpointError(f"'{path}' is not a checkpoint{but}; {NEEDED}.")


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself; nothing for files of another kind."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def few(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"The safetensors file '{path}' is truncated or damaged ({error})."
        ) from error


def _read_torch(path: Path, *, zipped: bool) -> Any:
    damaged = f"The checkpoint '{path}' is truncated or damaged; copy or download it again."
    if zipped:
        _check_archive(path, damaged)
    try:
        content = read_zipped(path) if zipped else read_pickled(path)
    except ExecutesCodeError as error:
        raise CheckpointError(
            f"The checkpoint '{path}' was not opened, because unpickling it would execute "
            f"code ({error}); save it again as a plain state_dict of tensors."
        ) from error
    except Exception as error:  # a reader of pickles may fail in any way on damage
        raise CheckpointError(damaged) from error
    return content


def _check_archive(path: Path, damaged: str) -> None:
    """Refuse a zip file that is cut off, or that torch.save did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            kind = kind_of_zip(archive)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(damaged) from error
    if kind:
        raise CheckpointError(f"'{path}' is not a checkpoint but {kind}; {NEEDED}.")
