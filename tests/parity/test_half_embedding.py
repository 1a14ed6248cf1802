"""``--embedding float16``: half the bytes from encoder to decoder, and nothing else changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from converters.executorch.options import ExecuTorchOptions
from converters.onnx.options import ONNXOptions
from converters.schemes import COREML, EXECUTORCH, ONNX, TARGETS
from mobilesam.apps import web_page
from mobilesam.apps.layout import listed
from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.data.sample_photos import PHOTOS
from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from mobilesam.web.site import runtime_of
from parity import comparison
from parity.description.manifest import manifest_differences
from tests.parity.fakes import write_photos
from tests.parity.replay_folders import loadable
from tests.rounding import relative_l2
from tests.shared_bundles import exported
from tests.tiny_bundles import assert_refused, tiny_bundle, tiny_model

GIVING = [COREML, ONNX]


def half_bundle(target: str) -> Bundle:
    """The tiny model's in fp16; to be read only."""
    return exported(tiny_model(), "tiny-half", target, ["fp16"], embedding_type="float16")["fp16"]


def masks_of(bundle: Bundle) -> tuple[Tensor, Tensor]:
    """A photo's embedding, and low-res logits of a click, as an app gets them."""
    with bundle.predictor(threads=1) as predictor:
        predictor.set_image(PHOTOS[0].load())
        low_res = predictor.predict(np.array([[100, 80]]), np.array([1]))[2]
        return torch.as_tensor(predictor.embedding), torch.as_tensor(low_res)


@pytest.mark.slow
@pytest.mark.parametrize("target", GIVING)
def test_files_take_and_give_float16(target: str) -> None:
    bundle = half_bundle(target)
    signatures = bundle.manifest.signatures
    (given,) = signatures["encoder"].outputs
    taken, *others = signatures["decoder"].inputs
    assert given.name == taken.name == "image_embeddings"
    assert given.dtype == taken.dtype == bundle.manifest.embedding_type == "float16"
    assert {each.dtype for each in (*others, *signatures["decoder"].outputs)} == {"float32"}
    embedding, low_res = masks_of(bundle)
    assert torch.equal(embedding, embedding.half().float())
    # Both compute in float16: what is handed over loses nothing that was there before.
    their_embedding, their_low_res = masks_of(tiny_bundle(target, "fp16"))
    assert relative_l2(embedding, their_embedding) < 1e-3
    assert relative_l2(low_res, their_low_res) < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("target", GIVING)
def test_parity_measures_what_it_measures_of_a_float32_embedding(
    target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos")
    measured = []
    for bundle in (tiny_bundle(target, "fp16"), half_bundle(target)):
        loadable(monkeypatch, bundle)
        runtimes = [bundle.runtimes[0]]
        (own,) = comparison.compare(
            [bundle.path], runtimes=runtimes, images=photos, measure=False, progress=False
        ).bundles
        assert own.cases
        assert all(check.passed for check in own.checks if check.stage == "integrity")
        measured.append({f"{check.stage} {check.metric}": check.value for check in own.checks})
    plain, half = measured
    assert plain.keys() == half.keys()
    for where in ("encoder relative_l2", "decoder logits_relative_l2"):
        assert half[where] == pytest.approx(plain[where], rel=0.2), where


@pytest.mark.slow
def test_a_manifest_that_says_float32_of_it_differs_from_its_signatures(tmp_path: Path) -> None:
    text = (half_bundle(ONNX).path / MANIFEST_NAME).read_text("utf-8")
    changed = text.replace('"embedding_type": "float16"', '"embedding_type": "float32"')
    assert changed != text
    (tmp_path / MANIFEST_NAME).write_text(changed, "utf-8")
    problems = list(manifest_differences(Bundle(tmp_path), ONNX, ()))
    assert any("signatures.encoder.outputs" in problem for problem in problems)


@pytest.mark.slow
def test_the_page_refuses_it_with_a_sentence_and_no_code_is_written_for_a_browser() -> None:
    bundle = half_bundle(ONNX)
    with pytest.raises(BundleError, match="has a float16 embedding, .* without --embedding"):
        runtime_of(bundle)
    for each, wanted in ((bundle, False), (tiny_bundle(ONNX, "fp16"), True)):
        assert ("```js" in web_page.page(listed([each], "bundles"), with_page=False)) == wanted


REFUSED: list[tuple[str, str, Any]] = [
    *((target, "fp32", None) for target in TARGETS if not TARGETS[target].beta),
    ("tflite", "fp16", None),
    (ONNX, "w8", None),
    (EXECUTORCH, "fp16", ExecuTorchOptions(backend="coreml")),
]


@pytest.mark.parametrize(("target", "scheme", "options"), REFUSED)
def test_programs_that_do_not_compute_in_it_are_refused(
    tmp_path: Path, target: str, scheme: str, options: Any
) -> None:
    asked = {"options": {target: options}} if options else {}
    sentence = (
        f"'{target}' in {scheme} is float32: float16 is for .* coreml in fp16, .*onnx in fp16"
    )
    assert_refused(
        target, sentence, tmp_path / "out", schemes=[scheme], embedding_type="float16", **asked
    )


def test_sam_s_interface_is_refused(tmp_path: Path) -> None:
    asked = {"options": {ONNX: ONNXOptions(interface="sam")}, "schemes": ["fp16"]}
    sentence = "interface 'sam' has float32 tensors of its own"
    assert_refused(ONNX, sentence, tmp_path / "out", embedding_type="float16", **asked)
