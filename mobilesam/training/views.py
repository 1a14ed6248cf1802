"""Random views of a labelled photo: the whole of it, or a crop that enlarges a part."""

import numpy as np

from mobilesam.training.photometric import Random, pick, recoloured, worn
from mobilesam.training.samples import Choice, Sample, choices, crop_and_resize, mirrored

_STRETCH = 0.2  # most that a crop is widened or narrowed by, as a logarithm


def random_view(
    sample: Sample,
    random: Random,
    image_size: int,
    *,
    whole: float,
    smallest: float,
    min_share: float,
) -> Sample:
    """A view whose longer side is ``image_size`` pixels.

    Args:
        sample: the photo.
        random: source of the draws.
        image_size: S.
        whole: probability of showing the whole photo.
        smallest: smallest side of a square crop as a share of the photo's longer side; other crops
            are narrower by up to 30 %.
        min_share: a mask must cover a quarter of this share of the photo for a crop to be drawn
            around it.
    """
    height, width = sample.pixels.shape[:2]
    box = (0.0, 0.0, float(width), float(height))
    cropped = random.random() >= whole
    if cropped:
        box = _crop(sample, random, smallest, choices(sample, min_share / 4))
    w, h = box[2] - box[0], box[3] - box[1]
    if cropped:
        w *= np.exp(random.uniform(-_STRETCH, _STRETCH))
    scale = image_size / max(w, h)
    size = max(1, int(h * scale + 0.5)), max(1, int(w * scale + 0.5))
    view = crop_and_resize(sample, box, size)
    if random.random() < 0.5:
        view = mirrored(view)
    pixels = recoloured(view.pixels, random, 0.8)
    return Sample(worn(pixels, random, 0.15), view.layers)


def _crop(
    sample: Sample, random: Random, smallest: float, around: list[Choice]
) -> tuple[float, float, float, float]:
    """A box of random size and aspect ratio that holds a pixel of a random mask."""
    height, width = sample.pixels.shape[:2]
    longer = max(height, width)
    side = longer * np.exp(random.uniform(np.log(smallest), 0))
    aspect = np.exp(random.uniform(-0.35, 0.35))
    w = min(width, max(8.0, side * min(1, aspect)))
    h = min(height, max(8.0, side * min(1, 1 / aspect)))
    x, y = random.uniform(0, width), random.uniform(0, height)
    if around:
        choice = pick(random, around)
        rows, columns = np.nonzero(sample.layers[choice.layer].labels == choice.label)
        place = random.integers(len(rows))
        x, y = columns[place], rows[place]
    left = float(np.clip(x - random.uniform(0.2, 0.8) * w, 0, width - w))
    top = float(np.clip(y - random.uniform(0.2, 0.8) * h, 0, height - h))
    return left, top, left + w, top + h
