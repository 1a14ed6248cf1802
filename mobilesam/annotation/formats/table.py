"""The table of formats."""

from collections.abc import Sequence

from mobilesam.annotation.formats.base import LabelFormat
from mobilesam.annotation.formats.coco import CocoFormat
from mobilesam.annotation.formats.yolo import YoloFormat
from mobilesam.annotation.records import Category
from mobilesam.errors import InputError

FORMATS: dict[str, type[LabelFormat]] = {kind.name: kind for kind in (YoloFormat, CocoFormat)}


def label_format(name: str, categories: Sequence[Category]) -> LabelFormat:
    """A format by its name.

    Raises:
        InputError: there is none such.
    """
    if name not in FORMATS:
        raise InputError(f"there is no label format '{name}': {' and '.join(FORMATS)} are known")
    return FORMATS[name](categories)
