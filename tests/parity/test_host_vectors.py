"""The file of vectors that the Swift tests read is what the library computes now."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from parity import host_vectors
from parity.host_vectors import LOGIT_TOLERANCE, SCALED, vectors

FILE = Path("apps/apple/Tests/MobileSAMTests/Fixtures/vectors.json")
RENEW = f"renew it: python -m parity.host_vectors {FILE}"
MAX_BYTES = 300_000


@pytest.fixture(scope="module")
def stored(repository: Path) -> dict[str, Any]:
    text = (repository / FILE).read_text("utf-8")
    assert len(text) < MAX_BYTES
    read: dict[str, Any] = json.loads(text)
    return read


@pytest.fixture(scope="module")
def computed() -> dict[str, Any]:
    return vectors()


def assert_same(stored: Any, computed: Any, where: str) -> None:
    """Equal, but for floats: another processor rounds logits otherwise."""
    if isinstance(computed, dict):
        assert stored.keys() == computed.keys(), f"{where}; {RENEW}"
        for key in computed:
            assert_same(stored[key], computed[key], f"{where}.{key}")
    elif isinstance(computed, list) and computed and isinstance(computed[0], float):
        assert stored == pytest.approx(computed, abs=LOGIT_TOLERANCE / 2), f"{where}; {RENEW}"
    elif isinstance(computed, list):
        assert len(stored) == len(computed), f"{where}; {RENEW}"
        for index, (one, other) in enumerate(zip(stored, computed, strict=True)):
            assert_same(one, other, f"{where}[{index}]")
    else:
        assert stored == computed, f"{where}; {RENEW}"


def test_the_file_is_not_stale(stored: dict[str, Any], computed: dict[str, Any]) -> None:
    assert_same(stored, computed, "vectors")


def test_a_changed_rule_makes_the_file_stale(
    stored: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_vectors, "choose_mask", lambda prompt, iou: int(np.argmax(iou)))
    with pytest.raises(AssertionError, match="renew it"):
        assert_same(stored, vectors(), "vectors")


def test_writing_gives_the_file(
    computed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_vectors, "vectors", lambda: computed)
    host_vectors.write(tmp_path / "vectors.json")
    assert json.loads((tmp_path / "vectors.json").read_text("utf-8")) == computed


def test_every_kind_of_case_is_there(stored: dict[str, Any]) -> None:
    assert {row["valid_size"] is None for row in stored["frames"]} == {True, False}
    prompts = stored["prompts"]
    taken = [row for row in prompts if row["slot_labels"] is not None]
    assert len(prompts) - len(taken) >= 5, "refused ones too"
    assert {label for row in taken for label in row["slot_labels"]} == {1, 0, 2, 3, -1, -2}
    assert {len(row["slot_labels"]) for row in taken} >= {2, 4, 8, 16}
    assert {row["chosen"] for row in stored["choices"]} == {0, 1, 2, 3}
    for kind in host_vectors.LOGITS:
        logits = [v for r in stored["upscaling"] if r["kind"] == kind for v in r["logits"]]
        near = [v for v in logits if 0 < abs(v) <= LOGIT_TOLERANCE]
        assert len(near) < len(logits) / 100, "a mask's pixels must mostly be beyond doubt"
    assert 0.0 in logits, "zeros are not mask"


def test_sizes_tell_the_order_of_the_frame_s_factor(stored: dict[str, Any]) -> None:
    """At least one vector would be wrong with side * S / longest."""

    def other(row: dict[str, Any]) -> list[int]:
        longest = max(row["size"])
        return [int(side * row["side"] / longest + 0.5) for side in row["size"]]

    assert any(row["valid_size"] and row["valid_size"] != other(row) for row in stored["frames"])


# What follows is the arithmetic as the comments in apple/Sources/MobileSAM/ state it.


def taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper position, and the share of the upper: ``bilinearTaps``."""
    scale = np.float64(np.float32(old) / np.float32(new))
    # float64 holds the product of two float32 exactly: one rounding, as a fused multiply-add.
    position = ((np.arange(new) + 0.5) * scale - 0.5).astype(np.float32)
    position = np.maximum(np.float32(0), position)
    low = np.minimum(position.astype(int), old - 1)
    return low, np.minimum(low + 1, old - 1), position - low.astype(np.float32)


def interpolated(source: np.ndarray, rows: int, columns: int) -> np.ndarray:
    low, high, share = taps(source.shape[1], columns)
    wide = source[:, low] * (1 - share) + source[:, high] * share
    low, high, share = taps(source.shape[0], rows)
    share = share[:, None]
    result: np.ndarray = wide[low] * (1 - share) + wide[high] * share
    return result


@pytest.mark.parametrize(
    "old, new",
    [
        ((8, 8), (32, 32)),
        ((32, 21), (33, 22)),
        ((17, 32), (40, 77)),
        ((7, 5), (3, 2)),
        ((1, 32), (3, 97)),
        ((683, 1024), (2001, 3001)),
    ],
)
def test_bilinear_formula_is_pytorch_s(old: tuple[int, int], new: tuple[int, int]) -> None:
    logits = np.random.default_rng(0).normal(size=old).astype(np.float32)
    theirs = F.interpolate(
        torch.from_numpy(logits)[None, None], new, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    ours = interpolated(logits, *new)
    assert ours.dtype == np.float32
    # Without a fused multiply-add PyTorch's positions are off by up to the rounding of the larger.
    rounding = max(*old, *new) * float(np.finfo(np.float32).eps)
    assert np.abs(ours - theirs).max() <= max(1e-5, 8 * rounding)
    shifted = interpolated(np.roll(logits, 1, axis=1), *new)
    assert np.abs(shifted - theirs).max() > 0.1


def scaled_axis(values: np.ndarray, new: int) -> np.ndarray:
    """The first axis of uint8 values as ``antialiasingFilter`` weighs it."""
    old, bits = len(values), 22
    scale = old / new
    reach = max(scale, 1.0)
    result = []
    for index in range(new):
        centre = (index + 0.5) * scale
        first = max(0, int(centre - reach + 0.5))
        end = min(old, int(centre + reach + 0.5))
        weights = [max(0.0, 1 - abs((p - centre + 0.5) * (1 / reach))) for p in range(first, end)]
        fixed = [int(w / sum(weights) * (1 << bits) + 0.5) for w in weights]
        total = sum(w * values[first + k].astype(np.int64) for k, w in enumerate(fixed))
        result.append((total + (1 << (bits - 1))) >> bits)
    return np.stack(result).astype(np.uint8)


@pytest.mark.parametrize("old, new", [(50, 32), (37, 32), (7, 32), (31, 32), (480, 256), (3, 1)])
def test_scaling_formula_is_pillow_s(old: int, new: int) -> None:
    pixels = np.random.default_rng(old).integers(0, 256, (old, 1, 3), np.uint8)
    resized = Image.fromarray(pixels).resize((1, new), Image.Resampling.BILINEAR)
    assert np.array_equal(scaled_axis(pixels, new), np.array(resized))


@pytest.mark.parametrize("index", range(len(SCALED)))
def test_scaling_across_then_down_gives_the_vectors(stored: dict[str, Any], index: int) -> None:
    row = stored["scaling"][index]

    def image(pixels: str, size: list[int]) -> np.ndarray:
        return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(*size, 3)

    photo = image(row["pixels"], row["size"])
    height, width = row["scaled_size"]
    across = scaled_axis(photo.transpose(1, 0, 2), width).transpose(1, 0, 2)
    ours = scaled_axis(across, height).astype(int)
    assert np.abs(ours - image(row["scaled"], row["scaled_size"])).max() <= row["levels"]
