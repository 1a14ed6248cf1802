"""Golden vectors of a bundle: what a phone would read, read here, and run by the evaluator."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilesam.bundle.prompt_types import Subject, everyday_prompts
from mobilesam.errors import InputError
from mobilesam.inference.prompts import make_prompt
from mobilesam.inference.transforms import Frame
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.bundle import Bundle
from parity.cases import PromptedPhoto
from parity.golden import INDEX_NAME, Golden, write_golden
from parity.metrics import cosine, iou, relative_l2
from parity.references import masks_of
from parity.thresholds import Thresholds
from tests.tiny_bundles import SIZE, tiny_model


def photo() -> PromptedPhoto:
    rows, columns = np.mgrid[0:70, 0:101]
    pixels = np.stack([rows * 3, columns * 2, (rows * columns) % 256], axis=-1).astype(np.uint8)
    return PromptedPhoto("slopes", lambda: pixels, Subject.middle)


def tensors(folder: Path, records: Any) -> dict[str, np.ndarray]:
    """As another program reads them: little-endian float32 in the stated shape."""
    return {
        record["name"]: np.frombuffer((folder / record["file"]).read_bytes(), "<f4").reshape(
            record["shape"]
        )
        for record in records
    }


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Callable[..., Bundle]) -> Bundle:
    return tiny_bundle("coreml", "fp32")


@pytest.fixture(scope="module")
def folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("golden") / "vectors"
    row = Thresholds().row("coreml", "fp32")
    write_golden(bundle, tiny_model(), photo(), row, out)
    return out


def test_index_says_what_is_there(folder: Path, bundle: Bundle) -> None:
    golden = Golden.model_validate_json((folder / INDEX_NAME).read_text("utf-8"))
    assert golden.bundle == "coreml-fp32"
    assert golden.image_size == SIZE
    assert golden.original_size == (70, 101)
    assert golden.files == {record.path: record.sha256 for record in bundle.manifest.files}
    assert golden.limits == Thresholds().row("coreml", "fp32")
    assert {case.prompt_type for case in golden.cases} == {
        row.prompt_type for row in everyday_prompts(Subject.middle((SIZE, SIZE)), (SIZE, SIZE))
    }
    calls = [golden.encoder, *golden.cases]
    listed = {record.file for call in calls for record in (*call.inputs, *call.outputs)}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.bin")}
    assert found == listed
    assert not list(folder.parent.glob(".*"))


def test_inputs_and_outputs_are_the_contract_s(folder: Path, bundle: Bundle) -> None:
    index = json.loads((folder / INDEX_NAME).read_text("utf-8"))
    signatures = bundle.manifest.signatures

    def named(specs: Any) -> dict[str, tuple[int, ...]]:
        return {spec.name: spec.shape for spec in specs}

    def shapes(records: Any) -> dict[str, tuple[int, ...]]:
        return {name: array.shape for name, array in tensors(folder, records).items()}

    assert shapes(index["encoder"]["inputs"]) == named(signatures["encoder"].inputs)
    assert shapes(index["encoder"]["outputs"]) == named(signatures["encoder"].outputs)
    wanted = named(signatures["decoder"].inputs)
    del wanted["image_embeddings"]
    for case in index["cases"]:
        assert shapes(case["inputs"]) == wanted
        assert shapes(case["outputs"]) == named(signatures["decoder"].outputs)


def test_a_good_bundle_meets_the_limits_and_a_swapped_answer_does_not(
    folder: Path, bundle: Bundle
) -> None:
    index = json.loads((folder / INDEX_NAME).read_text("utf-8"))
    limits = index["limits"]
    frame = Frame(tuple(index["original_size"]), index["image_size"])
    given = tensors(folder, index["encoder"]["outputs"])["image_embeddings"]
    with open_runner(bundle, "coreml") as runner:
        own = runner.run("encoder", tensors(folder, index["encoder"]["inputs"]))
        assert relative_l2(given, own["image_embeddings"]) <= limits["encoder"]["relative_l2"]
        assert cosine(given, own["image_embeddings"]) >= limits["encoder"]["cosine"]
        refined = 0
        for case in index["cases"]:
            inputs = tensors(folder, case["inputs"])
            refined += int(inputs["has_mask_input"][0])
            expected = tensors(folder, case["outputs"])
            answer = runner.run("decoder", {"image_embeddings": given, **inputs})
            logits, masks = answer["low_res_masks"][0], expected["low_res_masks"][0]
            for channel in range(4):
                error = relative_l2(masks[channel], logits[channel])
                assert error <= limits["decoder"]["logits_relative_l2"], case["name"]
                wrong = relative_l2(masks[channel], logits[(channel + 1) % 4])
                assert wrong > limits["decoder"]["logits_relative_l2"], case["name"]
            pairs = zip(masks_of(masks.copy(), frame), masks_of(logits, frame), strict=True)
            for (one, other), skipped in zip(pairs, case["degenerate"], strict=True):
                assert skipped or iou(one, other) >= limits["decoder"]["mask_iou_min"]
        assert refined == 1


def test_photo_prompts_and_masks_are_those_of_the_tensors(folder: Path, bundle: Bundle) -> None:
    index = json.loads((folder / INDEX_NAME).read_text("utf-8"))
    size = tuple(index["original_size"])
    pixels = np.fromfile(folder / index["photo"], np.uint8).reshape(*size, 3)
    assert np.array_equal(pixels, photo().load())
    frame = Frame(size, index["image_size"])
    with open_runner(bundle, "coreml") as runner:
        (image, *_) = (each for each in runner.prepare_image(pixels).values() if each.ndim == 4)
        assert np.array_equal(tensors(folder, index["encoder"]["inputs"])["image"], image)
        for case in index["cases"]:
            inputs = tensors(folder, case["inputs"])
            earlier = inputs["mask_input"][0, 0] if inputs["has_mask_input"][0] else None
            prompt = make_prompt(
                *(case["points"] or None, case["labels"] or None, case["box"], earlier),
                original_size=size,
                low_res_size=index["image_size"] // 4,
            )
            assert prompt.is_ambiguous == case["ambiguous"]
            for name, value in runner.prepare_prompt(prompt, frame).items():
                assert np.array_equal(inputs[name], value), f"{case['name']}: {name}"
            logits = tensors(folder, case["outputs"])["low_res_masks"][0]
            bits = np.unpackbits(np.fromfile(folder / case["mask"], np.uint8))
            mask = bits[: size[0] * size[1]].reshape(size).astype(bool)
            assert np.array_equal(mask, masks_of(logits.copy(), frame)[case["chosen"]])


def test_a_folder_with_something_in_it_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        write_golden(bundle, tiny_model(), photo(), Thresholds().row("coreml", "fp32"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
