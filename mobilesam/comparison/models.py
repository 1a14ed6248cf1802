"""The table of models that can be compared. Adding one adds a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from mobilesam.errors import InputError

Family = Literal["sam", "ultralytics_sam", "ultralytics_yolo"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model.

    Attributes:
        title: its name in tables.
        family: whose code runs it, see :mod:`mobilesam.comparison.contestants`.
        source: of this toolkit's models the variant; of Ultralytics' the name of the weights file.
        architecture: of Ultralytics' models, what builds it without weights: a function of their
            module for SAM, or a description that comes with their package.
        image_size: side of the square frame, or longest side, in pixels.
    """

    title: str
    family: Family
    source: str
    architecture: str = ""
    image_size: int = 1024

    @property
    def is_ultralytics(self) -> bool:
        """Whether it needs their package."""
        return self.family != "sam"


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "mobile_sam": Model(title="MobileSAM", family="sam", source="vit_t"),
        "sam_b": Model(title="SAM ViT-B", family="sam", source="vit_b"),
        "sam_l": Model(title="SAM ViT-L", family="sam", source="vit_l"),
        "sam_h": Model(title="SAM ViT-H", family="sam", source="vit_h"),
        "ultralytics_mobile_sam": Model(
            title="MobileSAM, run by Ultralytics",
            family="ultralytics_sam",
            source="mobile_sam.pt",
            architecture="build_mobile_sam",
        ),
        "sam2_t": Model(
            title="SAM 2-t",
            family="ultralytics_sam",
            source="sam2_t.pt",
            architecture="build_sam2_t",
        ),
        "sam2_b": Model(
            title="SAM 2-b",
            family="ultralytics_sam",
            source="sam2_b.pt",
            architecture="build_sam2_b",
        ),
        "fastsam_s": Model(
            title="FastSAM-s",
            family="ultralytics_yolo",
            source="FastSAM-s.pt",
            architecture="yolov8s-seg.yaml",
        ),
        "yolov8n_seg": Model(
            title="YOLOv8n-seg",
            family="ultralytics_yolo",
            source="yolov8n-seg.pt",
            architecture="yolov8n-seg.yaml",
            image_size=640,
        ),
        "yolo11n_seg": Model(
            title="YOLO11n-seg",
            family="ultralytics_yolo",
            source="yolo11n-seg.pt",
            architecture="yolo11n-seg.yaml",
            image_size=640,
        ),
    }
)
"""By the name that ``mobilesam compare --models`` takes."""


def chosen_models(names: list[str] | None, *, ultralytics: bool) -> list[str]:
    """The models that were asked for; without names, all that can be run here.

    Args:
        names: of :data:`MODELS`.
        ultralytics: whether their package is installed.

    Raises:
        InputError: there is no such model, or its package is not installed.
    """
    if names is None:
        return [name for name, model in MODELS.items() if ultralytics or not model.is_ultralytics]
    for name in names:
        if name not in MODELS:
            raise InputError(f"there is no model '{name}' to compare, only {', '.join(MODELS)}")
        if MODELS[name].is_ultralytics and not ultralytics:
            raise InputError(
                f"'{name}' is run by Ultralytics' package (AGPL-3.0), which is not installed: "
                "pip install ultralytics, if its licence suits you"
            )
    return list(dict.fromkeys(names))
