"""The gallery: what is pointed at lies where it should, and the page shows what was drawn."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from mobilesam.data.sample_photos import PHOTOS, ShippedPhoto
from mobilesam.runtimes.reference import ReferenceRunner
from parity.cases import default_photos
from parity.gallery import MAX_SIDE, draw_gallery
from parity.report import Report
from parity.report.html import html
from parity.schema import GalleryPhoto, GalleryPicture
from tests.parity.fakes import demo_model
from tests.parity.report_samples import bundle, report

MAX_BYTES = 1_500_000


@pytest.fixture(scope="module")
def drawn() -> list[GalleryPhoto]:
    """What the reference draws at a small image size."""
    seen: list[str] = []
    with ReferenceRunner(demo_model()) as reference:
        photos = draw_gallery(reference, seen.append)
    assert seen == [photo.name for photo in PHOTOS]
    return photos


def pictures_of(photo: GalleryPhoto) -> list[GalleryPicture]:
    return [photo.click, photo.box, *photo.multimask]


def pixels_of(picture: GalleryPicture) -> np.ndarray:
    kind, _, data = picture.picture.partition(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_at_least_six_photos_with_a_click_a_box_and_three_answers(
    drawn: list[GalleryPhoto],
) -> None:
    assert len({photo.photo for photo in drawn}) == len(drawn) >= 6
    for photo in drawn:
        assert [picture.mask for picture in photo.multimask] == [1, 2, 3]
        assert len(pictures_of(photo)) == 5
    assert any(len({p.picture for p in photo.multimask}) == 3 for photo in drawn)


def test_pictures_are_small_and_of_the_photos_shape(drawn: list[GalleryPhoto]) -> None:
    total = 0
    for shipped, photo in zip(PHOTOS, drawn, strict=True):
        height, width = shipped.load().shape[:2]
        for picture in pictures_of(photo):
            shown = pixels_of(picture).shape[:2]
            assert max(shown) == MAX_SIDE
            assert shown[0] / shown[1] == pytest.approx(height / width, rel=0.02)
            total += len(picture.picture)
    assert total < MAX_BYTES


def test_the_chosen_mask_is_the_one_sam_would_show(drawn: list[GalleryPhoto]) -> None:
    for photo in drawn:
        assert photo.box.mask == 0
        if photo.clicks > 1:
            assert photo.click.mask == 0
            continue
        best = max(photo.multimask, key=lambda picture: picture.predicted_iou)
        assert photo.click == best
    assert any(photo.clicks > 1 for photo in drawn)
    assert sum(photo.clicks == 1 for photo in drawn) >= 6


def test_every_picture_shows_its_prompt(drawn: list[GalleryPhoto]) -> None:
    for shipped, photo in zip(PHOTOS, drawn, strict=True):
        scale = MAX_SIDE / max(shipped.load().shape[:2])
        for picture in (photo.click, *photo.multimask):
            for x, y in shipped.clicks:
                red, green, blue = pixels_of(picture)[int(y * scale), int(x * scale)]
                assert green > red + 60 and green > blue + 40
        # The box's left and right sides, half-way down, are yellower than what lies around.
        pixels = pixels_of(photo.box)
        x1, y1, x2, y2 = (side * scale for side in shipped.box)
        row = pixels[int((y1 + y2) / 2)]
        yellow = np.minimum(row[:, 0], row[:, 1]) - row[:, 2]
        for side in (x1, x2):
            near = yellow[max(0, int(side) - 4) : int(side) + 5]
            assert near.max() > near.min() + 60, photo.photo


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.name)
def test_clicks_lie_in_the_box_and_the_box_in_the_photo(photo: ShippedPhoto) -> None:
    rgb = photo.load()
    assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
    height, width = rgb.shape[:2]
    x1, y1, x2, y2 = photo.box
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    assert photo.clicks
    for x, y in photo.clicks:
        assert x1 < x < x2 and y1 < y < y2


def test_the_suite_judges_photos_of_the_same_table() -> None:
    judged = {photo.name: photo for photo in PHOTOS if photo.judged}
    assert [photo.name for photo in default_photos()] == list(judged)
    for photo in default_photos():
        rgb = photo.load()
        assert photo.subject(rgb.shape[:2]).box == judged[photo.name].box
        assert np.array_equal(rgb, judged[photo.name].load())


def test_the_page_shows_every_picture_and_the_weights(drawn: list[GalleryPhoto]) -> None:
    weights = {
        "name": "mine",
        "description": "drawn <by> hand",
    }
    page = html(report(bundle(), weights=weights, gallery_photos=drawn))
    for photo in drawn:
        for picture in pictures_of(photo):
            assert f'src="{picture.picture}"' in page
        assert f'alt="{photo.photo}, {photo.subject}: ' in page
    assert "with the weights mine: drawn &lt;by&gt; hand." in page
    assert page.index("All bundles") < page.index("What the weights draw")
    assert 'href="#bundles"' in page and 'id="bundles"' in page
    assert page.count("<b>Chosen:</b>") == sum(photo.clicks == 1 for photo in drawn)
    trained = html(report(bundle(), weights={"name": "mine"}, gallery_photos=drawn))
    assert "with the weights mine." in trained
    alone = html(report(gallery_photos=drawn))
    assert "What the weights draw" in alone and "#bundles" not in alone


def test_without_a_gallery_the_page_has_none() -> None:
    page = html(report(bundle()))
    assert "What the weights draw" not in page and 'class="gallery"' not in page


def test_a_report_with_a_gallery_is_read_back(drawn: list[GalleryPhoto]) -> None:
    written = report(bundle(), gallery_photos=drawn)
    assert Report.model_validate_json(written.model_dump_json()).gallery_photos == drawn
    older = written.model_dump()
    del older["gallery_photos"]
    assert Report.model_validate(older).gallery_photos == []
