"""Weights by name or by path: found, read safely, and fitted to a model strictly.

How a checkpoint file is read is in `mobilesam.weights.files`, how a model's tensors are found in it
in `mobilesam.weights.selection`; this module finds the file, says where it came from, and fits it
to a model.
"""

import difflib
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from mobilesam.errors import CheckpointError
from mobilesam.weights.demo import DEMO, DEMO_FILE
from mobilesam.weights.download import cache_folder, fetch
from mobilesam.weights.families import guess_family
from mobilesam.weights.files import NEEDED, few, read_checkpoint, read_metadata
from mobilesam.weights.kinds import kind_of_folder
from mobilesam.weights.published import PUBLISHED
from mobilesam.weights.selection import (
    UNUSED_HEAD,
    choose,
    described,
    nearest,
    require_constants,
    weight_sets,
)
from mobilesam.weights.tree import as_float32, flattened, require_tensors, tree_of

KNOWN_NAMES = (DEMO, *PUBLISHED)
"""The weights that have a name; anything else is a path."""

KEY_MARK = "#"
"""Between a checkpoint's path and the key of a set of weights in it."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsInfo:
    """Where weights came from. It travels into every manifest, report and page.

    `name` is one of `KNOWN_NAMES` or the file's; `source` the path or address it was read
    from; `sha256` the digest of the tensors (see `tensors_sha256`); `key` where in the file they
    lie, if it holds several complete sets.
    """

    name: str
    source: str
    sha256: str
    licence: str
    description: str
    key: str = ""


def resolve(weights: str | Path, *, cache_dir: Path | None = None, url: str | None = None) -> Path:
    """Turn a name or path into the path of an existing file.

    What is `PUBLISHED` is downloaded unless cached: from `url`, else MOBILESAM_URL, else where its
    authors keep it, into `cache_dir`, else `download.cache_folder()`. Raises `CheckpointError`
    (`DownloadError`).
    """
    if weights == DEMO:
        return DEMO_FILE
    if (published := PUBLISHED.get(str(weights))) is not None:
        place = (cache_dir or cache_folder()) / published.file_name
        return fetch(published.address(url), published.sha256, place)
    path = Path(weights).expanduser()
    if path.is_dir():
        raise CheckpointError(f"'{path}' is {kind_of_folder(path)}, not a checkpoint; {NEEDED}.")
    if not path.exists():
        near = difflib.get_close_matches(str(weights).lower(), KNOWN_NAMES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise CheckpointError(
            f"There is no checkpoint file at '{weights}', and the weights known by name are "
            f"{_names(KNOWN_NAMES)}{hint}"
        )
    return path


def split_key(weights: str | Path) -> tuple[str, str | None]:
    """Weights as a user names them, without and with the key behind a '#', if there is one.

    A file whose own name has a '#' in it is that file.
    """
    name, mark, key = str(weights).rpartition(KEY_MARK)
    return (str(weights), None) if not mark or Path(weights).exists() else (name, key)


class OpenedWeights:
    """What the file of some weights holds, read once.

    `weights`, `cache_dir` and `url` are as in `load_state_dict`, which says what it raises.
    """

    def __init__(
        self, weights: str | Path, *, cache_dir: Path | None = None, url: str | None = None
    ) -> None:
        self.name, self.key = split_key(weights)
        self.path = resolve(self.name, cache_dir=cache_dir, url=url)
        self._content = read_checkpoint(self.path)
        self._url = url

    def fitting(self, models: Iterable[tuple[str, Mapping[str, torch.Tensor]]]) -> str:
        """Which model the weights are of, by name.

        `models` are their names and state dicts. The first is taken whose weights the file holds
        all of, at the key if there is one; where there is none, the one most of whose entries are
        there, the first among equals.
        """
        tree = tree_of(self._content)
        found: dict[str, int] = {}
        for name, wanted in models:
            if any(self.key is None or each.is_at(self.key) for each in weight_sets(tree, wanted)):
                return name
            near = nearest(tree, wanted)
            found[name] = sum(
                entry in near and near[entry].shape == own.shape for entry, own in wanted.items()
            )
        return max(found, key=lambda name: found[name])

    def state_dict(
        self,
        wanted: Mapping[str, torch.Tensor] | None = None,
        sha256: str = "",
        constants: Mapping[str, Sequence[float]] = MappingProxyType({}),
    ) -> tuple[dict[str, torch.Tensor], WeightsInfo]:
        """As `load_state_dict`."""
        found, weights = self.path, self.name
        state_dict, place = (
            (flattened(self._content, found), "")
            if wanted is None
            else _selected(self._content, found, wanted, self.key, sha256, constants)
        )
        about = read_metadata(found)
        name, source = found.name, str(found)
        licence = about.get("licence", "unknown")
        description = about.get("description", "checkpoint file given by path")
        if weights == DEMO:
            name, source = DEMO, "comes with mobilesam-export"
        elif (published := PUBLISHED.get(weights)) is not None:
            name, source, licence = weights, published.address(self._url), published.licence
            description = published.description
        digest = tensors_sha256(state_dict)
        return state_dict, WeightsInfo(name, source, digest, licence, description, place)


def load_state_dict(
    weights: str | Path = "demo",
    *,
    wanted: Mapping[str, torch.Tensor] | None = None,
    sha256: str = "",
    constants: Mapping[str, Sequence[float]] = MappingProxyType({}),
    cache_dir: Path | None = None,
    url: str | None = None,
) -> tuple[dict[str, torch.Tensor], WeightsInfo]:
    """Read weights by name or path: a flat dict on the CPU, and its origin.

    Floating-point entries come as float32, whatever they were stored as. With `wanted`, a model's
    own state dict, its entries are found wherever they lie in the file (`selection`), and what was
    taken and left out is logged if it was not all. Where nothing in the file fits, the entries that
    come nearest are returned: whether they fit is for `fit_state_dict` to say. Without `wanted` the
    file must hold tensors alone, in a container of a usual name at most.

    Of several complete sets the one is taken that lies at the key in `weights` ("run.pt#ema"), else
    the one whose digest is `sha256`, else a moving average before what it was made of. `constants`
    are the values that buffers such as ``pixel_mean``, where the file has them, must have.
    `cache_dir` and `url` are as in `resolve`.

    Raises `CheckpointError` when the file is missing, truncated, not a checkpoint, or would
    execute code when unpickled, when it holds several sets and which is meant cannot be told, or
    when its weights are for other constants; `DownloadError` when it cannot be downloaded.
    """
    opened = OpenedWeights(weights, cache_dir=cache_dir, url=url)
    return opened.state_dict(wanted, sha256, constants)


def _selected(
    content: Any,
    path: Path,
    wanted: Mapping[str, torch.Tensor],
    key: str | None,
    sha256: str,
    constants: Mapping[str, Sequence[float]],
) -> tuple[dict[str, torch.Tensor], str]:
    """The model's tensors within a file, and where they lie; the nearest where none fit."""
    tree = tree_of(content)
    require_tensors(tree, content, path)
    sets = weight_sets(tree, wanted)
    if not sets:
        return {name: as_float32(tensor) for name, tensor in nearest(tree, wanted).items()}, ""
    same = [each for each in sets if sha256 and tensors_sha256(each.tensors) == sha256]
    taken = same[0] if same and key is None else choose(sets, key, str(path))
    require_constants(tree, taken, constants, path)
    if said := described(tree, taken, sets, path.name):
        _LOG.warning("%s", said)
    return taken.tensors, taken.key if len(sets) > 1 else ""


def tensors_sha256(state_dict: Mapping[str, torch.Tensor]) -> str:
    """Hex SHA-256 over the sorted entries' names, dtypes, shapes and bytes.

    The classification head is left out, so that the same segmentation weights have the same
    digest with and without it, in whatever container they were stored.
    """
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        if name.startswith(UNUSED_HEAD):
            continue
        array = np.ascontiguousarray(state_dict[name].numpy())
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}|{array.dtype.name}|{array.shape}|".encode())
        digest.update(little_endian.tobytes())
    return digest.hexdigest()


def fit_state_dict(model: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Load `state_dict` into `model`, every entry of it and every entry of the model.

    Only the classification head (`UNUSED_HEAD`) may be present without being wanted. Raises
    `CheckpointError` naming the entries that are missing, unexpected or of the wrong shape, or
    hold NaN or infinite values; `model` is then unchanged.
    """
    wanted = model.state_dict()
    given = {
        name: tensor
        for name, tensor in state_dict.items()
        if name in wanted or not name.startswith(UNUSED_HEAD)
    }
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    wrong_shape = [
        f"{name} ({_shape(given[name])} instead of {_shape(tensor)})"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if missing or unexpected or wrong_shape:
        own, family = guess_family(wanted), guess_family(given) if missing else None
        if family and family != own:
            raise CheckpointError(
                f"The checkpoint is another model's: it looks like {family}, not {own} "
                f"({len(missing)} of {len(wanted)} entries are missing, "
                f"the first is {missing[0]})."
            )
        problems = [
            f"{len(names)} {what}: {few(names)}"
            for names, what in (
                (missing, "missing"),
                (unexpected, "unexpected"),
                (wrong_shape, "of the wrong shape"),
            )
            if names
        ]
        raise CheckpointError(f"The checkpoint does not fit the model: {'; '.join(problems)}.")
    broken = [
        name
        for name, tensor in given.items()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    if broken:
        raise CheckpointError(
            f"The checkpoint has NaN or infinite values in {len(broken)} entries: "
            f"{few(broken)}; it must hold finite weights only."
        )
    model.load_state_dict(given, strict=True)


def _names(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
