"""The photos inside scikit-image's wheel: what to point at in each, written down by looking at it.

They are those that show an object, whatever the demo weights make of it. Left out are surfaces,
text, drawings, microscopy, a blurred clock and a second view of the motorcycle. The suite judges
bundles on some of them, the others calibrate, and the report's gallery shows masks on all.
"""

from dataclasses import dataclass
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable

import numpy as np

from mobilesam.errors import MissingDependencyError
from mobilesam.inference.images import load_image

Box = tuple[int, int, int, int]
Point = tuple[int, int]


@dataclass(frozen=True)
class ShippedPhoto:
    """A photo and one object in it.

    Attributes:
        name: in reports.
        file: in scikit-image's data folder.
        crop: x1, y1, x2, y2 in pixels of the file, or None for all of it.
        subject: the object, in words.
        box: x1, y1, x2, y2 around the object, in pixels of the crop.
        clicks: x, y on the object, in pixels of the crop.
        judged: the suite judges bundles on it; on the others static schemes are calibrated.
    """

    name: str
    file: str
    crop: Box | None
    subject: str
    box: Box
    clicks: tuple[Point, ...]
    judged: bool = False

    def load(self) -> np.ndarray:
        """The photo, HxWx3 uint8 RGB; grey files become RGB.

        Raises:
            MissingDependencyError: scikit-image is not installed.
        """
        with as_file(data_folder() / self.file) as path:
            rgb = load_image(path)
        if self.crop is None:
            return rgb
        x1, y1, x2, y2 = self.crop
        return rgb[y1:y2, x1:x2].copy()


def data_folder() -> Traversable:
    """Where scikit-image keeps its sample photos.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    try:
        return files("skimage") / "data"
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'the built-in photos come with scikit-image: pip install "mobilesam-export[report]", '
            "or give a folder of images"
        ) from None


PHOTOS: tuple[ShippedPhoto, ...] = (
    ShippedPhoto(
        name="coffee",
        file="coffee.png",
        crop=None,
        subject="the cup",
        box=(170, 15, 412, 310),
        clicks=((290, 150),),
        judged=True,
    ),
    ShippedPhoto(
        name="astronaut",
        file="astronaut.png",
        crop=None,
        subject="the woman",
        box=(24, 14, 366, 511),
        clicks=((195, 320),),
        judged=True,
    ),
    ShippedPhoto(
        name="chelsea",
        file="chelsea.png",
        crop=None,
        subject="the cat",
        box=(0, 0, 398, 300),
        clicks=((225, 75),),
    ),
    ShippedPhoto(
        name="camera",
        file="camera.png",
        crop=None,
        subject="the man",
        box=(0, 63, 332, 512),
        clicks=((110, 240),),
    ),
    ShippedPhoto(
        name="coins",
        file="coins.png",
        crop=None,
        subject="one coin",
        box=(314, 155, 379, 218),
        clicks=((346, 187),),
    ),
    ShippedPhoto(
        name="motorcycle",
        file="motorcycle_left.png",
        crop=None,
        subject="the motorcycle",
        box=(91, 15, 685, 452),
        clicks=((430, 190), (369, 334), (131, 294)),  # tank, engine, rear tyre
    ),
    ShippedPhoto(
        name="rocket (cropped tall)",
        file="rocket.jpg",
        crop=(225, 0, 425, 427),
        subject="the rocket",
        box=(80, 122, 113, 410),
        clicks=((97, 250),),
        judged=True,
    ),
    # Very wide, and larger than 1024.
    ShippedPhoto(
        name="retina (cropped wide)",
        file="retina.jpg",
        crop=(0, 300, 1411, 1000),
        subject="the optic disc",
        box=(110, 240, 310, 435),
        clicks=((255, 345),),
        judged=True,
    ),
)
