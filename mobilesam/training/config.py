"""What a training run is told: small TOML files, checked before anything starts."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mobilesam.errors import InputError
from mobilesam.model.build import IMAGE_SIZES
from mobilesam.validation import first_problem
from mobilesam.weights.checkpoints import KNOWN_NAMES

FRESH = "fresh"
"""Name of newly drawn parameters, where weights are named."""

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]
ImageSize = Annotated[
    int, Field(ge=IMAGE_SIZES[0], le=IMAGE_SIZES[-1], multiple_of=IMAGE_SIZES.step)
]


class Strict(BaseModel):
    """A table of the file; a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LossWeights(Strict):
    """Weights of the terms of the loss.

    ``balanced`` is cross-entropy in which the pixels inside and outside a mask weigh the same,
    ``focal`` is SAM's (alpha 0.25, gamma 2), ``dice`` and ``iou`` (squared error of the IoU
    prediction) are as in SAM, whose own weights are focal 20, dice 1, iou 1.
    """

    balanced: Weight = 1.0
    focal: Weight = 0.0
    dice: Weight = 1.0
    iou: Weight = 0.5


class PromptMix(Strict):
    """How first prompts are drawn: a click, a box, or both.

    ``box_noise`` is the standard deviation of a corner's error as a share of the box's side.
    """

    point: Weight = 0.5
    box: Weight = 0.4
    box_and_point: Weight = 0.1
    box_noise: Share = 0.05

    @model_validator(mode="after")
    def _draws_something(self) -> "PromptMix":
        if not self.point + self.box + self.box_and_point:
            raise ValueError("one kind of prompt needs a share above 0")
        return self


class Geometry(Strict):
    """Steps on noise in place of images, in which the decoder learns what prompts mean."""

    steps: int = Field(default=0, ge=0)
    prompts: int = Field(default=128, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=30, ge=0)
    mix: PromptMix = PromptMix(point=0.2, box=0.7, box_and_point=0.1)


class SourceMix(Strict):
    """How often each source of training images is drawn, relative to the others.

    Where a source gives no view with a mask that is large enough, a scene takes its place.
    """

    masks: Weight = 1.0
    regions: Weight = 0.0
    scenes: Weight = 1.0


class Stage(Strict):
    """One stage of a run: an image size and all that goes with it."""

    image_size: ImageSize
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    prompts: int = Field(ge=1, description="masks asked for in each image")
    lr: float = Field(gt=0, description="peak learning rate")
    lr_end: float = Field(default=0.0, ge=0, description="learning rate at the end of the cosine")
    warmup: int = Field(default=0, ge=0, description="steps of linear warm-up")
    rounds: int = Field(default=2, ge=1, description="most passes per prompt, corrections included")
    freeze_batch_norm: bool = False
    ema_decay: float = Field(default=0.995, ge=0, lt=1, description="of the averaged weights")
    whole: Share = Field(default=0.5, description="share of photos shown whole, not cropped")
    smallest_crop: float = Field(default=0.25, gt=0, le=1)
    min_share: Share = Field(default=0.01, description="smallest mask, as a share of the view")
    pasted: Share = Field(
        default=0.0, description="share of photos with masks that objects are pasted onto"
    )
    loss: LossWeights = LossWeights()
    prompt_mix: PromptMix = PromptMix()
    sources: SourceMix = SourceMix()


class CocoSource(Strict):
    """Images with a COCO instances file."""

    annotations: Path
    images: Path


class Data(Strict):
    """Where training images come from. Paths are relative to the TOML file.

    ``masks`` are folders with a manifest and label images, ``coco`` COCO instance files,
    ``photos`` folders of photos without masks (with or without a manifest), ``objects`` folders of
    images of one object each on a transparent background, for scenes. ``held_out`` is a text file
    of image names, one a line, that no part of training may see.
    """

    masks: tuple[Path, ...] = ()
    coco: tuple[CocoSource, ...] = ()
    photos: tuple[Path, ...] = ()
    objects: tuple[Path, ...] = ()
    held_out: Path | None = None
    longest_side: int = Field(default=640, ge=64, description="photos are reduced to it on reading")
    region_scales: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(100.0, 300.0, 900.0), min_length=1
    )


class RunConfig(Strict):
    """What every kind of training run is told."""

    variant: str = "vit_t"
    seed: Seed = 0
    weight_decay: float = Field(default=0.02, ge=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    clip_grad_norm: float = Field(default=1.0, gt=0)
    bf16: bool = Field(default=True, description="bfloat16 autocast")
    save_every: int = Field(default=50, ge=1, description="steps between saved states")


class TrainConfig(RunConfig):
    """A run of promptable training.

    ``description`` and ``licence`` are written into the weights, and shown wherever they are used.
    """

    description: str = "trained by mobilesam train"
    licence: str = "unknown"
    init: str = Field(default=FRESH, description="fresh, demo, official or a checkpoint's path")
    fresh_decoder: bool = Field(default=False, description="of init, take the image encoder only")
    data: Data
    geometry: Geometry = Geometry()
    stages: tuple[Stage, ...] = Field(min_length=1)
    batch_norm_batches: int = Field(
        default=0,
        ge=0,
        description="further batches of the last stage, on which the statistics of the averaged "
        "weights' batch norms are taken anew when the run ends; 0 leaves them",
    )

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)


class DistillConfig(RunConfig):
    """A run of decoupled distillation, into a fresh encoder or into the teacher's quantized self.

    With ``scheme`` the student starts as the teacher, its batch norms stay as they are, and
    ``variant`` has no say.
    """

    teacher: str = "demo"
    scheme: str | None = Field(
        default=None, description="of target tflite; how the student's weights are rounded"
    )
    image_size: ImageSize = 256
    steps: int = Field(ge=1)
    batch: int = Field(default=8, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    lr_end: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=20, ge=0)
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    evaluate_every: int = Field(default=50, ge=1)
    held_out: Path | None = Field(
        default=None, description="names of the photos to be judged on; none of them is learnt from"
    )
    held_out_share: float = Field(
        default=0.15, gt=0, lt=1, description="of the photos, drawn where held_out names none"
    )
    crops: int = Field(default=4, ge=0, description="fixed crops of each photo, besides the whole")
    photos: tuple[Path, ...] = Field(min_length=1)


_PATHS = ("masks", "photos", "objects", "held_out", "annotations", "images")
_WEIGHTS = ("init", "teacher")
_NO_PATHS = (FRESH, *KNOWN_NAMES)

Config = TypeVar("Config", bound=Strict)


def load_config(path: Path, kind: type[Config]) -> Config:
    """Read a TOML file; its relative paths are resolved against its folder.

    Raises:
        InputError: not there, not TOML, a key that is unknown or has a value that cannot be used.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"there is no configuration file at '{path}'") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"'{path}' is not a TOML file that can be read ({error})") from None
    try:
        return kind.model_validate(_resolved(table, path.absolute().parent))
    except ValidationError as error:
        place, said = first_problem(error)
        raise InputError(f"'{path}': {place}: {said}") from None


def _resolved(value: Any, folder: Path, key: str = "") -> Any:
    """The value of a key, with every relative path in it made absolute."""
    if isinstance(value, dict):
        return {name: _resolved(inner, folder, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(item, folder, key) for item in value]
    names_file = key in _PATHS or (key in _WEIGHTS and value not in _NO_PATHS)
    if isinstance(value, str) and names_file:
        return str(folder / Path(value).expanduser())
    return value
