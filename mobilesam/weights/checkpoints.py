"""Weights by name or by path: found, read safely, and fitted to a model strictly.

How a checkpoint file is read is in `mobilesam.weights.files`; this module finds it, says
where it came from, and fits it to a model.
"""

import difflib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mobilesam.errors import CheckpointError
from mobilesam.weights.demo import DEMO, DEMO_FILE
from mobilesam.weights.download import URL_VARIABLE, cache_folder, fetch
from mobilesam.weights.families import guess_family
from mobilesam.weights.files import few, read_checkpoint, read_metadata

OFFICIAL_URL = "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt"
"""Where upstream keeps its checkpoint; the environment variable MOBILESAM_URL overrides it."""

OFFICIAL_SHA256 = "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f"
"""SHA-256 of upstream's checkpoint file (40.7 MB), wherever it is downloaded from."""

KNOWN_NAMES = (DEMO, "official")
"""The weights that have a name; anything else is a path."""

UNUSED_HEAD = ("image_encoder.head.", "image_encoder.norm_head.")
"""Entries of TinyViT's ImageNet classifier. Upstream's checkpoint has them, SAM never uses them."""


@dataclass(frozen=True)
class WeightsInfo:
    """Where weights came from. It travels into every manifest, report and page.

    `name` is "demo", "official" or the file's name; `source` the path or address it was read
    from; `sha256` the digest of the tensors (see `tensors_sha256`).
    """

    name: str
    source: str
    sha256: str
    licence: str
    description: str


def resolve(weights: str | Path, *, cache_dir: Path | None = None, url: str | None = None) -> Path:
    """Turn a name or path into the path of an existing file.

    "official" is downloaded unless cached: from `url`, else MOBILESAM_URL, else `OFFICIAL_URL`,
    into `cache_dir`, else `download.cache_folder()`. Raises `CheckpointError` (`DownloadError`).
    """
    if weights == DEMO:
        return DEMO_FILE
    if weights == "official":
        folder = cache_dir or cache_folder()
        return fetch(official_url(url), OFFICIAL_SHA256, folder / "mobile_sam.pt")
    path = Path(weights).expanduser()
    if path.is_dir():
        raise CheckpointError(f"'{path}' is a directory; give the path of a checkpoint file.")
    if not path.exists():
        near = difflib.get_close_matches(str(weights).lower(), KNOWN_NAMES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise CheckpointError(
            f"There is no checkpoint file at '{weights}', and the weights known by name are "
            f"'demo' and 'official'{hint}"
        )
    return path


def official_url(url: str | None = None) -> str:
    """The address that "official" is downloaded from: `url`, else MOBILESAM_URL, else upstream."""
    return url or os.environ.get(URL_VARIABLE) or OFFICIAL_URL


def load_state_dict(
    weights: str | Path = "demo", *, cache_dir: Path | None = None, url: str | None = None
) -> tuple[dict[str, torch.Tensor], WeightsInfo]:
    """Read weights by name ("demo", "official") or path: a flat dict on the CPU, and its origin.

    Floating-point entries come as float32, whatever they were stored as. Prefixes common to
    all entries ("model.", "module.", "sam.", also stacked) are stripped. Whether the entries
    fit a model is for `fit_state_dict` to say. `cache_dir` and `url` are as in `resolve`.

    Raises `CheckpointError` when the file is missing, truncated, not a checkpoint, or would
    execute code when unpickled; `DownloadError` when it cannot be downloaded.
    """
    found = resolve(weights, cache_dir=cache_dir, url=url)
    state_dict = read_checkpoint(found)
    about = read_metadata(found)
    name, source = found.name, str(found)
    licence = about.get("licence", "unknown")
    description = about.get("description", "checkpoint file given by path")
    if weights == DEMO:
        name, source = DEMO, "comes with mobilesam-export"
    elif weights == "official":
        name, source, licence = "official", official_url(url), "Apache-2.0"
        description = "MobileSAM as published by its authors"
    digest = tensors_sha256(state_dict)
    return state_dict, WeightsInfo(name, source, digest, licence, description)


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
        family = guess_family(given) if missing else None
        if family:
            raise CheckpointError(
                f"The checkpoint is another model's: it looks like {family}, not MobileSAM "
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


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
