"""The familiar call: every convention says the same as the predictor, on weights and on bundles."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from converters.schemes import TARGETS
from mobilesam import SAM, Bundle, Predictor
from mobilesam.errors import BundleError, CheckpointError, InputError, PromptError
from mobilesam.everything.generator import MaskGenerator
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import make_prompt
from mobilesam.model.sam import MobileSAM
from mobilesam.sam.results import Result
from mobilesam.weights.demo import DEMO_FILE
from tests.tiny_bundles import SIZE, tiny_model

A, B, BOX, OTHER = [30, 40], [10, 70], [5, 6, 50, 80], [2, 30, 40, 88]
CALLS: dict[str, tuple[dict[str, Any], list[tuple[Any, Any, Any]]]] = {
    "a point": ({"points": A, "labels": [1]}, [([A], [1], None)]),
    "a point without a label": ({"points": A}, [([A], [1], None)]),
    "points of two objects": (
        {"points": [A, B], "labels": [1, 1]},
        [([A], [1], None), ([B], [1], None)],
    ),
    "points of one object": ({"points": [[A, B]], "labels": [[1, 1]]}, [([A, B], [1, 1], None)]),
    "in and out": ({"points": [[A, B]], "labels": [[1, 0]]}, [([A, B], [1, 0], None)]),
    "as many points as there are": (
        {"points": [[A, B], [B]], "labels": [[1, 0], [1]]},
        [([A, B], [1, 0], None), ([B], [1], None)],
    ),
    "a box": ({"bboxes": BOX}, [(None, None, BOX)]),
    "boxes": ({"bboxes": [BOX, OTHER]}, [(None, None, BOX), (None, None, OTHER)]),
    "boxes of a detector": (
        {"bboxes": torch.tensor([BOX, OTHER], dtype=torch.float32)},
        [(None, None, BOX), (None, None, OTHER)],
    ),
    "boxes with a point each": (
        {"bboxes": [BOX, OTHER], "points": [A, B], "labels": [1, 0]},
        [([A], [1], BOX), ([B], [0], OTHER)],
    ),
    "a box with points": (
        {"bboxes": [BOX], "points": [[A, B]], "labels": [[1, 0]]},
        [([A, B], [1, 0], BOX)],
    ),
}
"""How it is called, and the prompt of each object."""

PAGE: list[dict[str, Any]] = [
    {"points": [900, 370], "labels": [1]},
    {"points": [[400, 370], [900, 370]], "labels": [1, 1]},
    {"points": [[[400, 370], [900, 370]]], "labels": [[1, 1]]},
    {"points": [[[400, 370], [900, 370]]], "labels": [[1, 0]]},
]
"""The prompts of https://docs.ultralytics.com/models/mobile-sam, about a photo of 1280 x 720."""

ZIDANE = "ultralytics/assets/zidane.jpg"


@pytest.fixture
def zidane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A picture of that size where the page has its photo, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    rows, columns = np.mgrid[:720, :1280]
    pixels = np.stack([rows // 3, columns // 6, (rows + columns) % 256], -1).astype(np.uint8)
    Path(ZIDANE).parent.mkdir(parents=True)
    Image.fromarray(pixels).save(ZIDANE)
    return ZIDANE


def masks_of(results: list[Result]) -> np.ndarray:
    (result,) = results
    assert result.masks is not None
    masks: np.ndarray = result.masks.data.numpy()
    return masks


def iou(one: np.ndarray, other: np.ndarray) -> float:
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


@pytest.mark.parametrize("call", CALLS)
def test_masks_are_the_predictor_s(sam: SAM, pixels: np.ndarray, call: str) -> None:
    options, objects = CALLS[call]
    predictor = Predictor(tiny_model())
    predictor.set_image(pixels)
    (result,) = sam.predict(Image.fromarray(pixels), **options)
    assert result.masks is not None and len(result.masks) == len(objects)
    assert result.names == {n: str(n) for n in range(len(objects))}
    for number, (points, labels, box) in enumerate(objects):
        prompt = make_prompt(points, labels, box, original_size=(90, 60))
        several, their_iou, _ = predictor.predict(points, labels, box)
        single, single_iou, _ = predictor.predict(points, labels, box, multimask_output=False)
        chosen = choose_mask(prompt, np.concatenate([single_iou, their_iou]))
        expected = np.concatenate([single, several])[chosen]
        assert np.array_equal(result.masks.data[number].numpy(), expected)
        assert float(result.conf[number]) == np.concatenate([single_iou, their_iou])[chosen]
        assert result.boxes.cls[number] == number


def test_equal_prompts_have_equal_masks_however_they_are_nested(
    sam: SAM, pixels: np.ndarray
) -> None:
    photo = Image.fromarray(pixels)
    alike: list[list[dict[str, Any]]] = [
        [{"points": A}, {"points": [A], "labels": [1]}, {"points": [[A]], "labels": [[1]]},
         {"points": tuple(A), "labels": 1}, {"points": np.array([A])},
         {"points": torch.tensor([[A]], dtype=torch.float32)}],
        [{"bboxes": BOX}, {"bboxes": [BOX]}, {"bboxes": np.array([BOX], np.int64)}],
    ]  # fmt: skip
    for same in alike:
        first, *others = [masks_of(sam(photo, **options)) for options in same]
        assert all(np.array_equal(first, other) for other in others)
    assert np.array_equal(
        masks_of(sam.predict_point(photo, A)), masks_of(sam(photo, points=A, labels=[1]))
    )
    assert np.array_equal(masks_of(sam.predict_box(photo, BOX)), masks_of(sam(photo, bboxes=BOX)))
    away = masks_of(sam.predict_point(photo, (30, 40), label=0))
    assert np.array_equal(away, masks_of(sam(photo, points=[A], labels=[0])))
    assert np.array_equal(  # in the order of Ultralytics' arguments
        masks_of(sam.predict(photo, False, None, [A], [1])), masks_of(sam(photo, points=A))
    )


@pytest.mark.slow
def test_the_page_s_calls_run_as_written_there(zidane: str, upstream: torch.nn.Module) -> None:
    torch.save(upstream.state_dict(), "mobile_sam.pt")
    model = SAM("mobile_sam.pt")
    model.info()
    found = [
        model.predict("ultralytics/assets/zidane.jpg", points=[900, 370], labels=[1]),
        model.predict(
            "ultralytics/assets/zidane.jpg", points=[[400, 370], [900, 370]], labels=[1, 1]
        ),
        model.predict(
            "ultralytics/assets/zidane.jpg", points=[[[400, 370], [900, 370]]], labels=[[1, 1]]
        ),
        model.predict(
            "ultralytics/assets/zidane.jpg", points=[[[400, 370], [900, 370]]], labels=[[1, 0]]
        ),
    ]
    assert [len(masks_of(each)) for each in found] == [1, 2, 1, 1]
    assert np.array_equal(masks_of(found[0])[0], masks_of(found[1])[1]), "the same point"
    assert isinstance(model.predictor, Predictor)
    predictor = Predictor(model.predictor.model)
    predictor.set_embedding(model.predictor.embedding, model.predictor.frame)
    for results, labels in zip(found[2:], ([1, 1], [1, 0]), strict=True):
        expected, _, _ = predictor.predict([[400, 370], [900, 370]], labels, multimask_output=False)
        assert np.array_equal(masks_of(results), expected)


@pytest.mark.parametrize("target", TARGETS)
def test_the_page_s_calls_on_a_bundle_of_every_target(
    target: str, zidane: str, tiny_bundle: Callable[..., Bundle]
) -> None:
    pytorch = SAM(tiny_model())
    with SAM(tiny_bundle(target).path) as phone:
        assert phone.info(verbose=False)["engine"].startswith(f"{target}-fp32 on ")
        for options in [*PAGE, {"bboxes": [100, 50, 900, 600]}]:
            ours, theirs = masks_of(phone(zidane, **options)), masks_of(pytorch(zidane, **options))
            assert ours.shape == theirs.shape and ours.dtype == np.bool_
            for one, other in zip(ours, theirs, strict=True):
                assert iou(one, other) >= 0.99, options


def test_one_mask_of_the_four_is_chosen(sam: SAM, pixels: np.ndarray) -> None:
    predictor = Predictor(tiny_model())
    predictor.set_image(pixels)
    photo = Image.fromarray(pixels)
    clicked: dict[str, Any] = {"point_coords": [A], "point_labels": [1]}
    both: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (clicked, {"points": A}),
        ({"box": BOX}, {"bboxes": BOX}),
    ]
    for options, asked in both:
        three, predicted, _ = predictor.predict(**options)
        one, _, _ = predictor.predict(**options, multimask_output=False)
        best = three[predicted.argmax()]
        assert np.array_equal(masks_of(sam(photo, **asked, multimask=True))[0], best)
        assert np.array_equal(masks_of(sam(photo, **asked, multimask=False)), one)


def test_conf_leaves_out_what_is_not_above_it(sam: SAM, pixels: np.ndarray) -> None:
    photo = Image.fromarray(pixels)
    options: dict[str, Any] = {"points": [A, B, [50, 20], [20, 20]]}
    (everything,) = sam(photo, **options)
    limit = float(everything.conf.sort().values[1])
    (some,) = sam(photo, **options, conf=limit)
    kept = everything.conf > limit
    assert 0 < len(some) < 4 and len(some) == int(kept.sum())
    assert some.masks is not None and everything.masks is not None
    assert torch.equal(some.masks.data, everything.masks.data[kept])
    assert torch.equal(some.boxes.data, everything.boxes.data[kept]), "with their numbers"
    assert some.names == everything.names
    (none,) = sam(photo, **options, conf=99)
    assert none.masks is None and len(none.boxes) == 0


def test_no_prompt_is_everything(
    sam: SAM, pixels: np.ndarray, tmp_path: Path, tiny_bundle: Callable[..., Bundle]
) -> None:
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    loose: dict[str, Any] = {"points_per_side": 3, "pred_iou_thresh": -9.0}
    loose["stability_score_thresh"] = 0.0
    expected = MaskGenerator(tiny_model(), **loose).generate(pixels)
    assert len(expected) > 2
    theirs = {"points_stride": 3, "conf_thres": -9.0, "stability_score_thresh": 0.0}
    for options in (loose, theirs):
        (result,) = sam(tmp_path, **options)
        assert result.masks is not None and len(result) == len(expected)
        for number, each in enumerate(expected):
            assert np.array_equal(result.masks.data[number].numpy(), each["segmentation"])
            assert float(result.conf[number]) == pytest.approx(each["predicted_iou"])
            assert result.names[number] == str(number)
    middle = float(result.conf.median())
    (some,) = sam(tmp_path, conf=middle, **loose)
    assert len(some) == int((result.conf > middle).sum())
    bundle = tiny_bundle("torchscript")
    with SAM(bundle) as phone, MaskGenerator(bundle, **loose) as generator:
        (result,) = phone(tmp_path, **loose)
        found = generator.generate(pixels)
        assert len(result) == len(found) and result.masks is not None
        for mask, each in zip(result.masks.data, found, strict=True):
            assert np.array_equal(mask.numpy(), each["segmentation"])
        (click,) = phone(tmp_path, points=A)
    (other,) = sam(tmp_path, points=A)
    assert iou(masks_of([click])[0], masks_of([other])[0]) >= 0.99


def test_the_page_s_call_on_a_folder_runs_as_written_there(zidane: str) -> None:
    ASSETS = Path(zidane).parent  # the page imports it from ultralytics
    model = SAM(tiny_model())
    model.info()
    (result,) = model(ASSETS)
    assert result.path == zidane and result.orig_shape == (720, 1280)


def test_no_boxes_are_no_objects(
    sam: SAM, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a detector that found nothing: nothing is asked, least of all about everything."""
    monkeypatch.setattr(sam.predictor, "set_image", None)
    (result,) = sam(Image.fromarray(pixels[::-1]), bboxes=torch.zeros(0, 4))
    assert result.masks is None and len(result) == 0 and result.names == {}


def test_a_photo_is_encoded_once(pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    sam, seen = SAM(tiny_model()), []
    encode = sam.predictor._encode

    def counted(pixels: np.ndarray) -> Any:
        seen.append(pixels.shape)
        return encode(pixels)

    monkeypatch.setattr(sam.predictor, "_encode", counted)
    photo, other = Image.fromarray(pixels), Image.fromarray(pixels[::-1])
    for source in (photo, photo.copy(), pixels[..., ::-1]):
        sam(source, points=A)
    assert len(seen) == 1
    sam(other, points=A)
    sam.predictor.reset_image()
    sam(other, points=A)
    assert len(seen) == 3
    sam.predictor.set_image(photo)
    (result,) = sam(other, points=A)
    assert len(seen) == 5, "somebody else looked at another photo"
    (expected,) = SAM(tiny_model())(other, points=A)
    assert np.array_equal(masks_of([result]), masks_of([expected]))


def test_what_is_clipped_is_said(
    sam: SAM, pixels: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    sam(Image.fromarray(pixels), bboxes=[BOX, [-5, 0, 70, 40]])
    assert "object 1: box (-5, 0, 70, 40) was clipped to (0, 0, 60, 40)" in caplog.text


def test_lines_are_printed_where_asked(
    sam: SAM, pixels: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    sam(pixels, points=A, verbose=False, retina_masks=True, device="cpu")
    assert capsys.readouterr().out == ""
    sam([pixels, pixels], points=[A, B], verbose=True)
    assert capsys.readouterr().out.splitlines() == [
        "1/2 Result('image0.jpg': 90x60, 2 mask(s))",
        "2/2 Result('image1.jpg': 90x60, 2 mask(s))",
    ]


def test_info(
    sam: SAM, tiny_bundle: Callable[..., Bundle], capsys: pytest.CaptureFixture[str]
) -> None:
    about = sam.info(detailed=True)
    count = sum(each.numel() for each in tiny_model().parameters())
    assert about["parameters"] == count and about["image_size"] == SIZE
    lines = capsys.readouterr().out.splitlines()
    assert f"{count:,} parameters" in lines[0] and "PyTorch" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "image_encoder", "prompt_encoder", "mask_decoder"
    ]  # fmt: skip
    bundle = tiny_bundle("torchscript")
    with SAM(bundle, runtime="lite_interpreter", threads=1) as phone:
        about = phone.info(verbose=False)
    assert about["size_bytes"] == bundle.size_bytes("lite_interpreter")
    assert about["parameters"] is None and "lite interpreter" in about["engine"]


@pytest.mark.parametrize("name", ["demo", DEMO_FILE, str(DEMO_FILE)])
def test_weights_by_name_and_by_path(name: Any, pixels: np.ndarray) -> None:
    model = SAM(name, imgsz=64)
    assert model.info(verbose=False)["image_size"] == 64
    assert len(masks_of(model(pixels, points=A))) == 1
    assert SAM("demo").predictor.image_size == 1024


def test_upstream_s_name_is_the_official_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []

    def load(weights: str, **_: Any) -> MobileSAM:
        asked.append(weights)
        return tiny_model()

    monkeypatch.setattr("mobilesam.sam.opening.load_model", load)
    with caplog.at_level(logging.INFO, "mobilesam"):
        SAM()
        SAM("mobile_sam.pt")
    assert asked == ["official", "official"]
    assert "there is no 'mobile_sam.pt' here: the official checkpoint is taken" in caplog.text
    Path("mobile_sam.pt").touch()
    SAM("mobile_sam.pt")
    assert asked[2:] == ["mobile_sam.pt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"points": [A, [999, 4]]}, "object 1: point (999, 4) is outside the image"),
        ({"points": [A], "labels": [2]}, "label 2 is not known"),
        ({"points": [A, B], "labels": [1]}, "2 point(s) but 1 label(s)"),
        ({"points": [[A, B]], "labels": [1, 0]}, "labels must be nested as the points are"),
        ({"points": [float("nan"), 1]}, "not finite"),
        ({"bboxes": [50, 6, 5, 80]}, "is inverted or empty"),
        ({"bboxes": [BOX, [500, 6, 600, 80]]}, "object 1: box (500, 6, 600, 80) lies outside"),
        ({"points": A, "bbox": BOX}, "no option 'bbox': did you mean 'bboxes'?"),
        ({"points": A, "save_txt": True}, "call save_txt() of each result"),
        ({"points": A, "augment": True}, "no option 'augment': it has source, stream, bboxes"),
        ({"points": A, "points_per_side": 9}, "'points_per_side' is for segmenting everything"),
        ({"bboxes": BOX, "points_stride": 9}, "'points_stride' is for segmenting everything"),
        ({"point_per_side": 9}, "no option 'point_per_side': did you mean 'points_per_side'?"),
        ({"points_stride": 9, "points_per_side": 9}, "was given by another name, too"),
        ({"points_per_side": 0}, "points_per_side must be a whole number from 1 to 1024, not 0"),
        ({"output_mode": "coco_rle"}, "no option 'output_mode': results hold masks as arrays"),
        ({"multimask": True}, "multimask is for prompts, and there is none"),
        ({"points": A, "conf": "high"}, "conf must be a number from 0 to 1, not 'high'"),
        ({"points": A, "retina_masks": False}, "masks always have the photo's size"),
        ({"points": A, "device": "nowhere"}, "the device 'nowhere' cannot be used here"),
        ({"points": A, "device": "meta"}, "the device 'meta' cannot be used here"),
    ],
)
def test_bad_prompts_are_one_sentence(
    sam: SAM, pixels: np.ndarray, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as refused:
        sam(pixels, **options)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_the_photo_of_several_is_named(sam: SAM, pixels: np.ndarray) -> None:
    with pytest.raises(PromptError, match="^image1.jpg: point .* is outside the image"):
        sam([pixels, pixels[:50]], points=[30, 80])


def test_bad_models_are_one_sentence(tmp_path: Path, tiny_bundle: Callable[..., Bundle]) -> None:
    bundle = tiny_bundle("torchscript")
    exports = tmp_path / "exports"
    shutil.copytree(bundle.path, exports / "torchscript-fp32")
    refused: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (tmp_path / "none.pt", {}, CheckpointError, "There is no checkpoint file at"),
        (exports, {}, InputError, "no bundle, which has a manifest.json: give one bundle, such as"),
        (tmp_path, {}, InputError, "and no bundle, which has a manifest.json"),
        (next(bundle.path.glob("*.pt")), {}, InputError, "is a file of a bundle: give the"),
        (bundle.path, {"imgsz": 512}, InputError, "in a frame of 128 pixels, not 512: export one"),
        (bundle.path, {"runtime": "litert"}, BundleError, "has no files for 'litert'"),
        (tiny_model(), {"imgsz": 512}, InputError, "has a side of 128 pixels, not 512"),
        ("demo", {"runtime": "litert"}, InputError, "a runtime runs a bundle's files"),
        ("demo", {"imgsz": [512, 512]}, InputError, "imgsz must be a whole number of at least 1"),
        ("demo", {"threads": 0}, InputError, "threads must be a whole number of at least 1, not 0"),
        ("demo", {"imgsz": 100}, InputError, "must be a multiple of 16"),
    ]
    for model, options, kind, said in refused:
        with pytest.raises(kind) as error:
            SAM(model, **options)
        assert said in str(error.value) and "\n" not in str(error.value)
    with SAM(bundle) as phone:
        phone.to("cpu")
        with pytest.raises(InputError, match="cannot be used here"):
            phone.to("meta")
        with pytest.raises(PromptError, match="9 point.* need 10 slots"):
            phone(np.zeros((9, 9, 3), np.uint8), points=[[[1, 1]] * 9])
    with pytest.raises(InputError, match="this predictor was closed"):
        phone(np.zeros((9, 9, 3), np.uint8), points=[1, 1])


def test_the_snippets_of_the_page_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    repository: Path,
    tiny_bundle: Callable[..., Bundle],
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    torch.save(load_file(DEMO_FILE), "mobile_sam.pt")
    text = (repository / "docs" / "sam.md").read_text("utf-8")
    text = text.replace("exports/tflite-fp32", str(tiny_bundle("torchscript").path))
    text = text.replace('SAM("mobile_sam.pt")', 'SAM("mobile_sam.pt", imgsz=128)')
    names: dict[str, Any] = {}
    for snippet in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        exec(compile(snippet, "docs/sam.md", "exec"), names)
    assert len(names["results"][0]) == 2 and len(names["result"]) == 1
    assert len(json.loads(names["text"])) == 2
    assert Path("answer.png").is_file()
    assert len(Path("photo.txt").read_text().splitlines()) == 2
