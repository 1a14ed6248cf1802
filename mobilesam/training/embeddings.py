"""A teacher's image embeddings of fixed views of photos, computed once and kept as fp16 shards.

Decoupled distillation (Zhang et al. 2023, arXiv 2306.14289, section 3.2) needs no augmentation, so
what the teacher says of an image never changes and can be stored.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mobilesam.files import written_whole
from mobilesam.inference.images import load_image
from mobilesam.inference.transforms import normalized_input
from mobilesam.model.sam import MobileSAM

SHARD = 32
"""Views to one shard."""

_SMALLEST_CROP = 0.3  # of a photo's side


@dataclass(frozen=True)
class View:
    """A fixed part of a photo: box (x1, y1, x2, y2) in shares of its width and height."""

    path: Path
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    def image(self, image_size: int) -> Tensor:
        """The view as the encoder takes it, [1, 3, S, S] float32.

        Raises ImageError: the photo cannot be read.
        """
        photo = Image.fromarray(load_image(self.path))
        width, height = photo.size
        x1, y1, x2, y2 = self.box
        part = photo.crop(
            (round(x1 * width), round(y1 * height), round(x2 * width), round(y2 * height))
        )
        return torch.from_numpy(normalized_input(np.asarray(part), image_size))


def fixed_views(paths: Sequence[Path], crops: int, seed: int) -> list[View]:
    """Each photo whole, and as many fixed random crops of it."""
    views = []
    for path in paths:
        name = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:8], "big")
        random = np.random.default_rng((seed, name))
        views.append(View(path))
        for _ in range(crops):
            w, h = random.uniform(_SMALLEST_CROP, 1, 2)
            x, y = random.uniform(0, 1 - w), random.uniform(0, 1 - h)
            views.append(View(path, (x, y, x + w, y + h)))
    return views


class EmbeddingCache:
    """Embeddings of a list of views by one teacher at one image size.

    Args:
        folder: for the shards; shards of other teachers, sizes or views are never mixed up.
        teacher: the model, its weights known.
        views: what to embed.
    """

    def __init__(self, folder: Path, teacher: MobileSAM, views: Sequence[View]) -> None:
        self.views, self.teacher = views, teacher
        weights = teacher.weights.sha256 if teacher.weights else "unknown"
        key = hashlib.sha256(f"{weights} {teacher.image_size}".encode())
        for view in views:
            key.update(hashlib.sha256(view.path.read_bytes()).digest())
            key.update(repr(view.box).encode())
        self.folder = folder / key.hexdigest()[:16]
        self._shards: list[Tensor] = []

    def fill(
        self, track: Callable[[Sequence[int], str], Iterable[int]] = lambda items, what: items
    ) -> None:
        """Compute the shards that are not there yet, and open all of them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        starts = range(0, len(self.views), SHARD)
        self._shards = [self._shard(start) for start in track(starts, "embedding photos")]

    def __getitem__(self, index: int) -> Tensor:
        """The teacher's embedding of view ``index``, [1, C, S/16, S/16] float16."""
        return self._shards[index // SHARD][index % SHARD][None]

    def _shard(self, start: int) -> Tensor:
        path = self.folder / f"{start:06d}.safetensors"
        stored = _read(path)
        if stored is not None:
            return stored
        size = self.teacher.image_size
        with torch.inference_mode():
            embeddings = torch.cat(
                [
                    self.teacher.image_encoder(view.image(size)).half()
                    for view in self.views[start : start + SHARD]
                ]
            )
        with written_whole(path) as temporary:
            save_file({"embeddings": embeddings.contiguous()}, temporary)
        return embeddings


def _read(path: Path) -> Tensor | None:
    """The embeddings of a shard; None if it is not there or was cut short."""
    try:
        with safe_open(path, framework="pt") as file:
            embeddings: Tensor = file.get_tensor("embeddings")
    except (OSError, SafetensorError):
        return None
    return embeddings
