"""Does every part of a model do something? Each group of parameters is set to zero in turn.

`python -m mobilesam.training.groups WEIGHTS --images FOLDER` prints, for each group, how far the
image embedding, the masks and the IoU predictions move without it. A group that moves nothing is
inert: whatever an export does to it, no check on masks will notice.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from torch import Tensor

from mobilesam.data.image_files import named, read_names
from mobilesam.data.masked_images import read_manifest
from mobilesam.errors import InputError, MobileSAMError
from mobilesam.inference.images import load_image
from mobilesam.inference.transforms import normalized_input
from mobilesam.model.build import load_model
from mobilesam.model.point_labels import (
    BACKGROUND,
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING_POINT,
    UNUSED_SLOT,
)
from mobilesam.model.sam import MobileSAM
from mobilesam.training.promptable import decode
from mobilesam.training.prompts import PromptBatch

INERT = 0.01
"""A group none of whose three figures reaches this is called inert."""


@dataclass(frozen=True)
class Group:
    """Parameters that are set to zero together.

    Attributes:
        name: for the table.
        pattern: matches the names of its parameters, from their beginning.
        row: of the parameters, only this row; None for all of them.
    """

    name: str
    pattern: str
    row: int | None = None

    def parameters(self, model: MobileSAM) -> list[Tensor]:
        """The group's parameters, as views of the model's own."""
        found = [p for name, p in model.named_parameters() if re.match(self.pattern, name)]
        return [p.data if self.row is None else p.data[self.row] for p in found]


_BLOCKS = r"image_encoder\.(layers\.[1-9]\d*\.)?blocks\.\d+\."
_DECODER = r"mask_decoder\."
_TRANSFORMER = r"mask_decoder\.transformer\."
_CORNERS = ("background click", "foreground click", "box corner 1", "box corner 2")

GROUPS = (
    Group("patch embedding", r"image_encoder\.patch_embed\.(.*\.c|proj)\."),
    Group("position embedding", r"image_encoder\.pos_embed"),
    Group("MBConv branches", r"image_encoder\.layers\.0\.blocks\..*\.c\."),
    Group("downsampling", r"image_encoder\.layers\.\d+\.downsample\..*\.c\."),
    Group("attention biases", _BLOCKS + r"attn\.(attention_biases|rel_pos_[hw])"),
    Group("attention, queries to values", _BLOCKS + r"attn\.qkv\."),
    Group("attention, output", _BLOCKS + r"attn\.proj\."),
    Group("local convolutions", _BLOCKS + r"local_conv\.c\."),
    Group("encoder MLPs", _BLOCKS + r"mlp\.(fc|lin)"),
    Group("encoder layer norms", _BLOCKS + r"(.*\.norm|norm[12])\."),
    Group("batch norms, scale", r"image_encoder\..*\.bn\.weight"),
    Group("batch norms, shift", r"image_encoder\..*\.bn\.bias"),
    Group("neck", r"image_encoder\.neck\.[02]\."),
    Group("neck norms", r"image_encoder\.neck\.[13]\."),
    *(
        Group(f"prompt embedding: {name}", rf"prompt_encoder\.point_embeddings\.{number}\.")
        for number, name in enumerate(_CORNERS)
    ),
    Group("prompt embedding: no point", r"prompt_encoder\.not_a_point_embed\."),
    Group("prompt embedding: no mask", r"prompt_encoder\.no_mask_embed\."),
    Group("earlier mask, convolutions", r"prompt_encoder\.mask_downscaling\."),
    Group("IoU token", _DECODER + r"iou_token\."),
    *(Group(f"mask token {number}", _DECODER + r"mask_tokens\.", number) for number in range(4)),
    Group("decoder, tokens among themselves", _TRANSFORMER + r"layers\.\d+\.self_attn\."),
    Group("decoder, tokens to image", _TRANSFORMER + r".*token_to_image\."),
    Group("decoder, image to tokens", _TRANSFORMER + r".*image_to_token\."),
    Group("decoder, MLPs", _TRANSFORMER + r".*\.mlp\."),
    Group("decoder, norms", _TRANSFORMER + r".*norm"),
    Group("upscaling", _DECODER + r"output_upscaling\."),
    *(
        Group(f"mask {number}, hypernetwork", rf"{_DECODER}output_hypernetworks_mlps\.{number}\.")
        for number in range(4)
    ),
    Group("IoU head", _DECODER + r"iou_prediction_head\."),
)
"""Groups that together hold every parameter of a model, whichever its image encoder is."""


def groups_of(model: MobileSAM) -> list[Group]:
    """The groups that hold any parameters of a model."""
    return [group for group in GROUPS if group.parameters(model)]


class Example(NamedTuple):
    """An image and some things in it.

    Attributes:
        image: [1, 3, S, S] float32, normalised.
        clicks: [N, 2] x, y inside each thing, in pixels of the frame.
        boxes: [N, 4] x1, y1, x2, y2 around each thing.
    """

    image: Tensor
    clicks: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Moved:
    """What setting a group to zero does, each figure 0 where it does nothing.

    Attributes:
        group: which.
        count: its parameters.
        embedding: relative L2 error of the image embedding.
        masks: 1 less the IoU with the masks as they were: mean of the examples, largest of the
            four masks of four kinds of prompts.
        predictions: mean absolute error of the IoU predictions, largest of the kinds.
    """

    group: Group
    count: int
    embedding: float
    masks: float
    predictions: float

    @property
    def is_inert(self) -> bool:
        """Whether nothing moves that could be noticed."""
        return max(self.embedding, self.masks, self.predictions) < INERT


class _Output(NamedTuple):
    """Embedding of an image; masks [kinds, N, 4, s, s] and IoU predictions [kinds, N, 4]."""

    embedding: Tensor
    masks: Tensor
    predictions: Tensor


@torch.inference_mode()
def audit(
    model: MobileSAM,
    examples: Sequence[Example],
    groups: Sequence[Group] | None = None,
    track: Callable[[Sequence[Group], str], Iterable[Group]] = lambda groups, what: groups,
) -> list[Moved]:
    """Set each group of parameters to zero, look what moves, and put it back.

    Args:
        model: in eval mode.
        examples: to look at.
        groups: which to look at; None: all that the model has.
        track: wraps the groups to show progress.
    """
    before = [_run(model, example, None) for example in examples]
    moved = []
    for group in track(groups_of(model) if groups is None else groups, "parameter groups"):
        parameters = group.parameters(model)
        in_encoder = group.pattern.startswith("image_encoder")
        with _zero(parameters):
            after = [
                _run(model, example, None if in_encoder else old.embedding)
                for example, old in zip(examples, before, strict=True)
            ]
        pairs = list(zip(before, after, strict=True))
        masks = torch.stack([_lost(old.masks, new.masks) for old, new in pairs]).mean(dim=0)
        errors = [(old.predictions - new.predictions).abs() for old, new in pairs]
        predictions = torch.stack([error.mean(dim=(1, 2)) for error in errors]).mean(dim=0)
        far = sum(float((old.embedding - new.embedding).norm()) for old, new in pairs)
        size = sum(float(old.embedding.norm()) for old in before)
        moved.append(
            Moved(
                group,
                sum(parameter.numel() for parameter in parameters),
                far / size,
                float(masks.max()),
                float(predictions.max()),
            )
        )
    return moved


def table(moved: Sequence[Moved]) -> str:
    """The result as a table in Markdown."""
    lines = [
        "| group set to zero | parameters | embedding | masks | IoU predictions |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in moved:
        name = f"{row.group.name} (inert)" if row.is_inert else row.group.name
        embedding = f"{row.embedding:.3f}" if row.embedding else "–"
        figures = f"{embedding} | {row.masks:.3f} | {row.predictions:.3f}"
        lines.append(f"| {name} | {row.count:,} | {figures} |")
    return "\n".join(lines)


def examples_of(
    folder: Path, image_size: int, count: int, names: Path | None = None
) -> list[Example]:
    """The first images of a folder with a manifest that have a mask which can be scored.

    Args:
        folder: with a manifest.
        image_size: S.
        count: how many images at most.
        names: text file of image names, one a line; None takes all.

    Raises:
        InputError: folder or file cannot be used, or no image has such a mask.
    """
    entries = [e for e in read_manifest(folder).images if any(s.is_good for s in e.segments)]
    if names is not None:
        wanted = set(named((e.file for e in entries), read_names(names), names))
        entries = [entry for entry in entries if entry.file in wanted]
    if not entries:
        raise InputError(f"no image of '{folder}' has a mask that can be scored")
    examples = []
    for entry in entries[:count]:
        pixels = load_image(folder / entry.file)
        scale = image_size / max(pixels.shape[:2])
        good = [segment for segment in entry.segments if segment.is_good]
        examples.append(
            Example(
                torch.from_numpy(normalized_input(pixels, image_size)),
                scale * torch.tensor([segment.point for segment in good]),
                scale * torch.tensor([segment.box for segment in good]),
            )
        )
    return examples


def _run(model: MobileSAM, example: Example, embedding: Tensor | None) -> _Output:
    """The model's answers to a click, a box, two clicks, and a click with its mask fed back."""
    if embedding is None:
        embedding = model.image_encoder(example.image)
    click, padding = (example.clicks, FOREGROUND), (torch.zeros_like(example.clicks), PADDING_POINT)
    corner = example.boxes[:, :2]
    first, second = (corner, BOX_TOP_LEFT), (example.boxes[:, 2:], BOX_BOTTOM_RIGHT)
    one = _prompts(click, padding)
    answers = [decode(model, embedding, one, None)]
    answers.append(decode(model, embedding, _prompts(first, second), None))
    answers.append(decode(model, embedding, _prompts(click, (corner, BACKGROUND), padding), None))
    answers.append(decode(model, embedding, one, answers[0][0][:, 0]))
    masks, predictions = zip(*answers, strict=True)
    return _Output(embedding, torch.stack(masks) > 0, torch.stack(predictions))


def _prompts(*points: tuple[Tensor, int]) -> PromptBatch:
    """Prompts of the same labelled points for every thing, the last slot unused."""
    coords = torch.stack([xy for xy, _ in points] + [torch.zeros_like(points[0][0])], dim=1)
    labels = torch.tensor([float(label) for _, label in points] + [float(UNUSED_SLOT)])
    count = coords.shape[0]
    return PromptBatch(torch.zeros(count, dtype=torch.int64), coords, labels.repeat(count, 1))


def _lost(old: Tensor, new: Tensor) -> Tensor:
    """1 less the mean IoU over things, [kinds, 4], of masks [kinds, N, 4, s, s] of true or false.

    Two empty masks are alike.
    """
    overlap = (old & new).sum(dim=(3, 4)).float()
    union = (old | new).sum(dim=(3, 4))
    return 1 - torch.where(union > 0, overlap / union.clamp(min=1), 1.0).mean(dim=1)


@contextmanager
def _zero(parameters: Sequence[Tensor]) -> Iterator[None]:
    kept = [parameter.clone() for parameter in parameters]
    for parameter in parameters:
        parameter.zero_()
    try:
        yield
    finally:
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)


def main(
    weights: Annotated[str, typer.Argument(help="demo, official or a checkpoint's path.")],
    images: Annotated[Path, typer.Option(help="Folder of images with a manifest.json.")],
    names: Annotated[
        Path | None, typer.Option(help="Text file, an image a line: only these.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Images to look at.")] = 8,
    image_size: Annotated[int, typer.Option(min=64, help="Side of the frame.")] = 1024,
) -> None:
    """Print how far a model's answers move without each group of its parameters."""
    try:
        model = load_model(weights, image_size=image_size)
        print(table(audit(model, examples_of(images, image_size, count, names))))
    except MobileSAMError as error:
        print(f"error: {error}")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
