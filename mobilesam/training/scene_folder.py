"""Synthetic scenes as a folder of images with masks, to look at or to evaluate on."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mobilesam.data.image_files import named, read_names
from mobilesam.data.masked_images import MANIFEST, ImageEntry, ImageManifest, Segment, read_manifest
from mobilesam.files import new_folder
from mobilesam.training.samples import Sample
from mobilesam.training.scenes import SceneMaker
from mobilesam.training.sources import LabelledPhoto, TrainingPhoto

Track = Callable[[Sequence[int], str], Iterable[int]]


_LONGEST_SIDE = 640  # photos are reduced to it


def scene_maker(folder: Path, names: Path | None) -> SceneMaker:
    """Scenes from the photos and objects of a folder with a manifest.

    Args:
        folder: photos with masks.
        names: text file of image names, one a line; None takes all.

    Raises:
        InputError: folder or file cannot be used.
    """
    entries = read_manifest(folder).images
    if names is not None:
        wanted = named((entry.file for entry in entries), read_names(names), names)
        entries = [entry for entry in entries if entry.file in wanted]
    photos, cutouts = [], []
    for entry in entries:
        photo = TrainingPhoto(folder / entry.file, _LONGEST_SIDE)
        photos.append(photo)
        if entry.mask is not None:
            source = LabelledPhoto(photo, folder / entry.mask, entry)
            cutouts += [(source, label) for label in source.cutouts()]
    return SceneMaker(photos, cutouts)


def write_scenes(
    maker: SceneMaker,
    out: Path,
    *,
    count: int,
    seed: int,
    side: int = 1024,
    track: Track = lambda numbers, what: numbers,
) -> None:
    """Write scenes 0 to count - 1 of a seed, with their masks and a manifest: all, or nothing.

    Args:
        maker: composes them.
        out: a folder that is not there yet, or is empty.
        count: how many.
        seed: of all of them.
        side: longer side of a scene in pixels.
        track: wraps the numbers to show progress.

    Raises:
        InputError: there is something in the folder already.
        MissingDependencyError: SciPy is not installed.
    """
    with new_folder(out) as made:
        for part in ("images", "masks"):
            (made / part).mkdir()
        entries = []
        for number in track(range(count), "composing scenes"):
            scene = maker.framed(np.random.default_rng((seed, number)), side)
            entries.append(_write(scene, made, f"scene_{number:04d}"))
        manifest = ImageManifest(images=entries).model_dump_json(indent=1)
        (made / MANIFEST).write_text(manifest, encoding="utf-8")


def _write(scene: Sample, out: Path, name: str) -> ImageEntry:
    labels = scene.layers[0].labels
    image, mask = f"images/{name}.jpg", f"masks/{name}.png"
    Image.fromarray(scene.pixels).save(out / image, quality=95)
    Image.fromarray(labels.astype(np.uint8)).save(out / mask)
    layer = scene.layers[0]
    segments = [
        Segment.of(labels == label, label, "pasted object", full_area=layer.full_areas[label])
        for label in sorted(layer.wanted)
    ]
    return ImageEntry(file=image, mask=mask, segments=segments)
