"""`mobilesam evaluate` on exported files: each runtime scores what the checkpoint scores."""

from pathlib import Path

import pytest

from mobile_runtime_tests.helpers import SIZE
from mobilesam.runtimes.bundle import Bundle
from parity import evaluate
from parity.evaluation.scores import PROMPT_NAMES
from tests.masked_folders import write_masked

WORD = {"torchscript": "TorchScript", "lite_interpreter": "lite interpreter", "litert": "LiteRT"}


@pytest.mark.parametrize("name", ["torchscript-fp32", "tflite-fp32"])
def test_files_score_what_the_checkpoint_scores(
    bundles: dict[str, Path], tmp_path: Path, name: str
) -> None:
    photos = write_masked(tmp_path / "masked")
    checkpoint = evaluate("demo", photos, max_images=1, image_size=SIZE, threads=1, progress=False)
    for runtime in Bundle(bundles[name]).runtimes:
        exported = evaluate(
            bundles[name], photos, max_images=1, runtime=runtime, threads=1, progress=False
        )
        assert WORD[runtime] in exported.engine
        assert exported.weights["sha256"] == checkpoint.weights["sha256"]
        for ours, theirs in zip(exported.segments, checkpoint.segments, strict=True):
            for prompt in PROMPT_NAMES:
                expected = theirs.prompts[prompt].iou
                assert ours.prompts[prompt].iou == pytest.approx(expected, abs=5e-3)
