"""The cases are the same on every run, cover what they promise, and fit eight slots."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.bundle.prompt_types import Share, Subject, everyday_prompts
from mobilesam.errors import InputError
from parity.cases import (
    Case,
    PromptedPhoto,
    default_photos,
    everyday_cases,
    further_cases,
    is_degenerate,
)
from parity.image_folder import folder_photos
from parity.photos import require_usable

EVERYDAY = {row.prompt_type for row in everyday_prompts(Subject.middle((60, 80)), (60, 80))}


def _asked(photo: PromptedPhoto, size: tuple[int, int] | None = None) -> list[Case]:
    """Everyday cases of a photo of that (H, W)."""
    size = size or photo.load().shape[:2]
    return everyday_cases(photo.name, photo.subject(size), size, 1024, photo.turn)


def default_cases() -> list[Case]:
    return [case for photo in default_photos() for case in _asked(photo)]


def test_built_in_photos_cover_aspect_ratios_and_sizes() -> None:
    sizes = [photo.load().shape[:2] for photo in default_photos()]
    assert any(width > 1.4 * height for height, width in sizes)
    assert any(height > 1.4 * width for height, width in sizes)
    assert any(height == width for height, width in sizes)
    assert any(max(size) > 1024 for size in sizes) and any(max(size) < 1024 for size in sizes)
    assert all(photo.load().dtype == np.uint8 for photo in default_photos())


def test_every_prompt_type_on_every_photo_within_eight_slots() -> None:
    made = default_cases()
    for photo in default_photos():
        own = [case for case in made if case.image == photo.name]
        assert {case.prompt_type for case in own} == EVERYDAY
        assert own[0].prompt_type == "one_point"
        assert len({case.name for case in own}) == len(own)
    assert max(case.slots for case in made) <= 8
    assert [case.refines for case in made] == [
        case.prompt_type == "mask_refinement" for case in made
    ]


def test_prompts_are_what_their_type_says() -> None:
    by_type = {case.prompt_type: case for case in default_cases()}
    assert by_type["one_point"].prompt.is_ambiguous
    assert by_type["two_points"].prompt.point_labels.tolist() == [1, 0]
    assert by_type["several_points"].prompt.point_labels.tolist() == [1, 1, 1, 0, 0]
    assert by_type["box"].prompt.box is not None and not len(by_type["box"].prompt.point_coords)
    assert by_type["box_and_point"].prompt.box is not None
    assert len(by_type["box_and_point"].prompt.point_coords) == 1


def test_border_points_lie_within_two_pixels_of_each_edge_and_in_each_corner() -> None:
    corners, sides = set(), set()
    for case in default_cases():
        if case.prompt_type != "border_point":
            continue
        height, width = case.frame.original_size
        x, y = case.prompt.point_coords[0].tolist()
        near = {"left": x, "top": y, "right": width - x, "bottom": height - y}
        close = {side for side, distance in near.items() if distance <= 2}
        assert close
        if len(close) == 2:
            corners.add(frozenset(close))
        sides |= close
    assert sides == {"left", "top", "right", "bottom"}
    assert len(corners) == 4


def test_cases_are_the_same_every_time() -> None:
    def described(case: Case) -> str:
        prompt = case.prompt
        return f"{case.image} {case.name} {prompt.point_coords} {prompt.point_labels} {prompt.box}"

    assert [described(c) for c in default_cases()] == [described(c) for c in default_cases()]


def test_refinement_takes_the_logits_it_is_given() -> None:
    case = next(case for case in default_cases() if case.refines)
    logits = np.full((256, 256), 3, np.float32)
    refined = case.refined(logits)
    assert not refined.refines and refined.prompt.mask_input is logits
    assert not refined.prompt.is_ambiguous


@pytest.mark.parametrize(
    ("covered", "degenerate"),
    [(0, True), (99, True), (101, False), (99_899, False), (99_901, True)],
)
def test_degenerate_masks_are_nearly_empty_or_nearly_full(covered: int, degenerate: bool) -> None:
    mask = np.zeros(100_000, bool)
    mask[:covered] = True
    assert is_degenerate(mask.reshape(250, 400)) is degenerate


def test_a_small_mask_of_a_small_image_is_degenerate() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:7, :9] = True
    assert is_degenerate(mask)
    mask[7, 0] = True
    assert not is_degenerate(mask)


def _manifest(folder: Path, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 255, (60, 80, 3), np.uint8)).save(folder / "a.png")
    labels = np.zeros((60, 80), np.uint8)
    labels[10:50, 20:60] = 3
    labels[0:60, 70:80] = 4
    Image.fromarray(labels).save(folder / "a_mask.png")
    segment = {
        "label": 3,
        "category": "cup",
        "thing": True,
        "area": 1600,
        "full_area": 1600,
        "bbox": [20, 10, 40, 40],
        "point": [40, 30],
    }
    other = segment | {"label": 4, "category": "hidden", "area": 1900, "full_area": 2900}
    stuff = segment | {"label": 4, "category": "wall", "thing": False, "area": 3000}
    entry = {
        "file": "a.png",
        "mask": "a_mask.png",
        "licence": "CC0",
        "segments": [other, stuff, segment],
    }
    (folder / "manifest.json").write_text(json.dumps({"images": [entry | changes]}))
    return folder


def test_a_segment_without_a_pixel_is_one_sentence(tmp_path: Path) -> None:
    folder = _manifest(tmp_path / "described")
    Image.new("L", (80, 60)).save(folder / "a_mask.png")
    (photo,) = folder_photos(folder)
    with pytest.raises(InputError, match=r"a_mask\.png has no pixel of label 3"):
        _asked(photo, (60, 80))


def test_a_described_folder_gives_prompts_inside_the_best_human_mask(tmp_path: Path) -> None:
    (photo,) = folder_photos(_manifest(tmp_path / "described"))
    assert photo.name == "a.png (cup)"
    made = _asked(photo, (60, 80))
    mask = made[0].human_mask
    assert mask is not None and mask.sum() == 1600
    for case in made:
        if case.prompt_type == "border_point":
            assert case.human_mask is None
            continue
        for (x, y), label in zip(
            case.prompt.point_coords.astype(int), case.prompt.point_labels, strict=True
        ):
            assert mask[y, x] == bool(label), case.name
    box = next(case.prompt.box for case in made if case.prompt_type == "box")
    assert box is not None and box.tolist() == [20, 10, 60, 50]


def test_a_bare_folder_is_taken_in_order_and_pointed_at_in_the_middle(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "note.txt", "paper.pdf"):
        Image.new("RGB", (80, 60)).save(tmp_path / name, "png")
    photos = folder_photos(tmp_path)
    assert [photo.name for photo in photos] == ["a.jpg", "b.png"]
    made = _asked(photos[0], (60, 80))
    assert made[0].prompt.point_coords.tolist() == [[40, 30]]
    assert all(case.human_mask is None for case in made)


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (2, 2), (3, 40)])
def test_every_prompt_of_a_tiny_image_lies_inside_it(size: tuple[int, int]) -> None:
    photo = PromptedPhoto("tiny", lambda: np.zeros((*size, 3), np.uint8), Subject.middle)
    for turn in range(4):
        assert len(_asked(replace(photo, turn=turn), size)) == 8
    for slots in (2, 8, 16):
        made = further_cases("tiny", Subject.middle(size), size, 1024, slots, Share(0, 1))
        assert {case.slots <= slots for case in made} == {True}


@pytest.mark.parametrize("photos", [1, 3, 4, 29, 90])
def test_every_further_prompt_is_asked_of_some_photo_and_every_photo_has_one(photos: int) -> None:
    size = (60, 80)
    shares = [
        further_cases("a", Subject.middle(size), size, 1024, 8, Share(place, photos))
        for place in range(photos)
    ]
    every = further_cases("a", Subject.middle(size), size, 1024, 8, Share(0, 1))
    assert all(shares)
    assert {case.name for own in shares for case in own} == {case.name for case in every}
    assert sum(map(len, shares)) == max(len(every), photos)


def test_folders_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        folder_photos(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no image files"):
        folder_photos(tmp_path)
    for content, message in (
        ("{", "does not describe images"),
        ('{"images": []}', "lists no images"),
        ('{"images": [{"mask": "m.png"}]}', "images.0.file"),
        ('{"images": [{"file": "gone.png"}]}', "gone.png: There is no image file at .*gone.png"),
    ):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(InputError, match=message):
            require_usable(folder_photos(tmp_path), [1024])


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = _manifest(tmp_path / "described")
    Image.new("L", (10, 10)).save(folder / "a_mask.png")
    (photo,) = folder_photos(folder)
    with pytest.raises(InputError, match="is 10 x 10, but its image is 80 x 60"):
        _asked(photo, (60, 80))


def test_shared_photos_with_human_masks(shared_data: Path) -> None:
    photos = folder_photos(shared_data / "masked")
    assert len(photos) == 90
    made = [_asked(photo) for photo in photos]
    assert sum(cases[0].human_mask is not None for cases in made) > 60
