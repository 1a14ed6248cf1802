"""Reading a checkpoint file without executing anything in it.

A checkpoint is a PyTorch file (zip or legacy, read with ``weights_only=True``) or a safetensors
file, told apart by content. Its entries may lie under ``model``, ``state_dict`` or
``model_state_dict``, and may share a prefix such as ``module.``.
"""

import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from mobilesam.errors import CheckpointError

_CONTAINERS = ("model", "state_dict", "model_state_dict")
_PREFIXES = ("model.", "module.", "sam.", "_orig_mod.")
_FEW = 3  # entries named in an error before "and N more"


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a checkpoint file, on the CPU, floating point as float32.

    Containers are unwrapped and prefixes common to all entries ("model.", "module.", "sam.",
    "_orig_mod.", also stacked) are stripped.

    Raises `CheckpointError` when the file is unreadable, truncated, not a checkpoint, or would
    execute code when unpickled.
    """
    return _flatten(_read(path), path)


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


def _read(path: Path) -> Any:
    """Whatever a checkpoint file holds, decided by its first bytes and read without executing."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint '{path}' cannot be read: {error.strerror}."
        ) from error
    if not head:
        raise CheckpointError(f"The checkpoint '{path}' is empty (0 bytes).")
    if head[8:9] == b"{" or path.suffix == ".safetensors" and head[:2] not in (b"PK", b"\x80\x02"):
        return _read_safetensors(path)
    if head.startswith(b"PK"):
        return _read_torch(path, zipped=True)
    if head.startswith(b"\x80"):
        return _read_torch(path, zipped=False)
    what = "is not a checkpoint"
    if head.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer, not the checkpoint itself"
    elif head.lstrip()[:1] == b"<":
        what = "is a web page, not a checkpoint"
    raise CheckpointError(f"'{path}' {what}; a .pt, .pth or .safetensors file is needed.")


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: the outcome is what counts
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        culprit = refused[1] if refused else None if zipped else _first_import(path)
        if culprit:
            raise CheckpointError(
                f"The checkpoint '{path}' was not opened, because unpickling it would execute "
                f"code ({culprit}); save it again as a plain state_dict of tensors."
            ) from error
        if "ran out of input" in str(error).lower():
            raise CheckpointError(damaged) from error
        raise CheckpointError(
            f"'{path}' is a pickle but not a PyTorch checkpoint; "
            f"save the state_dict with torch.save or as safetensors."
        ) from error
    except Exception as error:  # torch reports damage as RuntimeError, OSError, EOFError, KeyError
        raise CheckpointError(damaged) from error


def _check_archive(path: Path, damaged: str) -> None:
    """Refuse a zip file that is cut off, or that torch.save did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(damaged) from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(
            f"'{path}' is a TorchScript program, not a checkpoint; save its state_dict()."
        )
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(
            f"'{path}' is a zip file but not a checkpoint; "
            f"a .pt, .pth or .safetensors file is needed."
        )


def _first_import(path: Path) -> str | None:
    """The first object that a plain pickle would import from outside PyTorch, "module.name".

    Found without running it: torch.load gives up on newer pickle protocols before it says what
    they ask for.
    """
    pushed: list[str] = []  # strings in the order in which they came onto the stack
    memo: dict[int, str] = {}
    imports: list[str] = []
    try:
        with path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    imports.append(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    imports.append(".".join(pushed[-2:]))
                elif opcode.name == "MEMOIZE":
                    memo[len(memo)] = pushed[-1] if pushed else ""
                elif opcode.name in ("BINGET", "LONG_BINGET"):
                    pushed.append(memo.get(int(argument or 0), ""))
                elif isinstance(argument, str):
                    pushed.append(argument)
    except ValueError:
        pass  # cut off, or not a pickle after all: what was found up to there counts
    return next((name for name in imports if not name.startswith(("torch.", "collections."))), None)


def _flatten(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a checkpoint: unwrapped, prefix stripped, floating point as float32."""
    while isinstance(content, Mapping):
        inner = [content[key] for key in _CONTAINERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"'{path}' holds a {type(content).__name__}, not a checkpoint; "
            f"a dict of named tensors is needed."
        )
    others = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise CheckpointError(
            f"'{path}' holds entries that are not tensors: {few(others)}; "
            f"save the model's state_dict, alone or under the key 'model' or 'state_dict'."
        )
    named = {str(name): tensor.detach() for name, tensor in content.items()}
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in named)), None):
        named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in named.items()
    }
