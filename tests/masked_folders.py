"""Small photos with masks, described by a manifest and by a COCO file."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from mobilesam.data.mask_geometry import deepest

SIZE = 72, 96
NAMES = ("images/a.png", "images/b.png", "images/c.png")


def photo(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy photo HxWx3 and its label image: 1 a disc, 2 a bar, 3 a dot too small to score."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    labels = np.zeros(SIZE, np.uint8)
    labels[(rows - 34) ** 2 + (columns - 28 - seed) ** 2 < 22**2] = 1
    labels[4:64, 60 + seed : 84 + seed] = 2
    labels[68:71, 2:5] = 3
    colours = np.array([[90, 110, 70], [200, 60, 50], [40, 80, 190], [250, 250, 250]])
    noise = np.random.default_rng(seed).integers(-9, 9, (*SIZE, 3))
    return (colours[labels] + noise).clip(0, 255).astype(np.uint8), labels


def segments(labels: np.ndarray) -> list[dict]:
    """What a manifest says of a label image."""
    described = []
    for label, category in ((1, "disc"), (2, "bar"), (3, "dot")):
        mask = labels == label
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y, _ = deepest(mask)
        top, left = int(rows[0]), int(columns[0])
        described.append(
            {
                "label": label,
                "category": category,
                "thing": True,
                "area": int(mask.sum()),
                "full_area": int(mask.sum()),
                "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
                "point": [x, y],
            }
        )
    return described


def write_masked(folder: Path) -> Path:
    """Three photos, each with two segments that are scored and one that is too small."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    entries = []
    for seed, name in enumerate(NAMES):
        pixels, labels = photo(seed)
        mask = name.replace("images", "masks")
        Image.fromarray(pixels).save(folder / name)
        Image.fromarray(labels).save(folder / mask)
        entries.append({"file": name, "mask": mask, "segments": segments(labels)})
    (folder / "manifest.json").write_text(json.dumps({"images": entries}))
    return folder


def run_lengths(mask: np.ndarray) -> list[int]:
    """Uncompressed run lengths of a mask, column by column, beginning with what is not mask."""
    values = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(values[1:] != values[:-1])
    return np.diff([0, *changes, mask.size]).tolist()


def compressed(mask: np.ndarray) -> dict:
    """Run lengths as COCO's results have them."""
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def coco_file() -> dict:
    """The same photos and masks as a COCO instances file, and a crowd that is to be left out."""
    images: list[dict] = []
    annotations: list[dict] = []
    for seed, name in enumerate(NAMES):
        _, labels = photo(seed)
        height, width = SIZE
        images.append({"id": 10 + seed, "file_name": name, "height": height, "width": width})
        for described in segments(labels):
            mask = labels == described["label"]
            lengths = {"size": list(SIZE), "counts": run_lengths(mask)}
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": 10 + seed,
                    "category_id": described["label"],
                    "segmentation": lengths if described["label"] == 1 else compressed(mask),
                    "bbox": described["bbox"],
                    "area": described["area"],
                    "iscrowd": 0,
                }
            )
    annotations.append(annotations[0] | {"iscrowd": 1, "area": 5000})
    categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "bar"}, {"id": 3, "name": "dot"}]
    return {"images": images, "annotations": annotations, "categories": categories}
