"""The points decoder of an ONNX bundle: the decoder's answers, or a sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from converters.points.export import add_points_decoder, has_points_decoder
from converters.points.modules import AttendModule, PrepareModule, UpscaleModule, WeighModule
from mobilesam.bundle.points import ATTEND, FOLDER, RECORD, UPSCALE, WEIGH, points_files
from mobilesam.errors import BundleError, ExportError, InputError
from mobilesam.everything import MaskGenerator
from mobilesam.model.fast_decoder import in_rows
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from tests.mobilesam.everything.test_generator import LENIENT, SIZES, photo
from tests.rounding import relative_l2
from tests.tiny_bundles import make_tiny_model, tiny_bundle, tiny_model
from tests.upstream.oracle import randomize

CLOSE = 2e-6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle with a points decoder; to be read only."""
    folder = tmp_path_factory.mktemp("points") / "onnx-fp32"
    shutil.copytree(tiny_bundle("onnx").path, folder)
    add_points_decoder(Bundle(folder), tiny_model())
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    folder = tmp_path / "onnx-fp32"
    shutil.copytree(made, folder)
    return folder


@pytest.mark.parametrize("point", [(0.0, 0.0), (40.0, 70.0), (127.5, 3.25)])
def test_modules_compute_what_the_mask_decoder_does(point: tuple[float, float]) -> None:
    model = tiny_model()
    encoder = model.prompt_encoder
    shape = 1, model.channels, model.grid_size, model.grid_size
    embedding = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    coords = torch.tensor([[point]])
    with torch.no_grad():
        sparse, dense = encoder((coords, torch.ones(1, 1)), None, None)
        low_res, iou = model.mask_decoder(embedding, encoder.image_position(), sparse, dense)
        found, *attended = AttendModule(model)(*PrepareModule(model)(embedding), coords)
        assert relative_l2(found, iou[0]) < CLOSE
        logits = UpscaleModule(model)(attended[-1], WeighModule(model)(*attended))
        masks = in_rows(logits, model.grid_size, model.grid_size)
        for mask, wanted in zip(masks, low_res[0, 1:], strict=True):
            assert relative_l2(mask, wanted) < CLOSE


@pytest.mark.parametrize(
    ("size", "mode", "threads"),
    [*((size, "full", 1) for size in SIZES), ("wide", "full", 3), ("tall", "fast", 2)],
)
def test_everything_finds_the_same_masks_with_it(
    made: Path, size: str, mode: str, threads: int
) -> None:
    image = photo(SIZES[size])
    with MaskGenerator(Bundle(made), threads=threads, mode=mode, **LENIENT) as generator:
        assert generator.engine.endswith("points decoder")
        found = generator.generate(image)
    wanted = MaskGenerator(tiny_model(), mode=mode, **LENIENT).generate(image)
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert one["point_coords"] == other["point_coords"]
        assert np.count_nonzero(one["segmentation"] != other["segmentation"]) <= 2
        assert one["predicted_iou"] == pytest.approx(other["predicted_iou"], abs=1e-5)


def test_the_bundle_is_as_it_was(made: Path) -> None:
    bundle = Bundle(made)
    assert bundle.manifest == tiny_bundle("onnx").manifest
    bundle.verify()
    assert {path.name for path in made.iterdir()} == {
        *(path.name for path in tiny_bundle("onnx").path.iterdir()),
        FOLDER,
    }


def test_a_bundle_without_one_has_none() -> None:
    assert points_files(tiny_bundle("onnx")) is None
    assert not has_points_decoder(tiny_bundle("onnx"))


def _refused(folder: Path) -> str:
    with (
        pytest.raises(BundleError) as caught,
        MaskGenerator(Bundle(folder), **LENIENT) as generator,
    ):
        generator.generate(photo(SIZES["wide"]))
    assert "with --points-decoder" in str(caught.value)
    return str(caught.value)


def test_an_altered_file_is_refused(own: Path) -> None:
    path = own / FOLDER / f"{ATTEND}.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert "not the file that was exported" in _refused(own)


def test_a_damaged_one_is_made_again(own: Path) -> None:
    assert has_points_decoder(Bundle(own))
    (own / FOLDER / f"{WEIGH}.onnx").unlink()
    assert not has_points_decoder(Bundle(own))
    add_points_decoder(Bundle(own), tiny_model())
    assert has_points_decoder(Bundle(own))


def test_a_missing_file_is_refused(own: Path) -> None:
    (own / FOLDER / f"{UPSCALE}.onnx").unlink()
    assert "is missing" in _refused(own)


@pytest.mark.parametrize("content", ["", "[]", '{"export_key": 1, "sha256": {}}', "{"])
def test_a_record_that_is_none_is_refused(own: Path, content: str) -> None:
    (own / FOLDER / RECORD).write_text(content)
    assert "is malformed" in _refused(own)


def test_a_folder_without_a_record_is_refused(own: Path) -> None:
    (own / FOLDER / RECORD).unlink()
    assert "cannot be read" in _refused(own)


def test_one_of_another_bundle_is_refused(own: Path) -> None:
    record = json.loads((own / FOLDER / RECORD).read_text())
    (own / FOLDER / RECORD).write_text(json.dumps({**record, "export_key": "0" * 64}))
    assert "for another bundle" in _refused(own)


def _other_model() -> MobileSAM:
    model = make_tiny_model()
    randomize(model, seed=7)
    return model.requires_grad_(False)


def test_one_of_other_weights_is_refused(own: Path) -> None:
    add_points_decoder(Bundle(own), _other_model())
    assert "does not answer as the bundle's decoder does" in _refused(own)


def _changed(path: Path, name_part: str) -> None:
    """Scale the largest constant of a graph whose name has a part."""
    model = onnx.load(str(path))
    chosen = max(
        (t for t in model.graph.initializer if name_part in t.name), key=lambda t: len(t.raw_data)
    )
    values = onnx.numpy_helper.to_array(chosen)
    chosen.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.05), chosen.name))
    onnx.save(model, str(path))


@pytest.mark.parametrize("graph", [ATTEND, WEIGH, UPSCALE])
def test_a_graph_that_computes_another_thing_is_refused(own: Path, graph: str) -> None:
    from mobilesam.bundle.points import write_record

    _changed(own / FOLDER / f"{graph}.onnx", "")
    write_record(Bundle(own), own / FOLDER)  # as if it had been exported so
    assert "does not answer as the bundle's decoder does" in _refused(own)


def test_a_graph_that_is_not_pytorch_s_is_not_written(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(own / FOLDER)
    original = UpscaleModule.forward
    calls: list[None] = []

    def otherwise(self: UpscaleModule, cells: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        calls.append(None)
        return original(self, cells, weights) * (1 if len(calls) == 1 else 1.01)

    monkeypatch.setattr(UpscaleModule, "forward", otherwise)
    with pytest.raises(ExportError, match="gives another 'logits' than PyTorch"):
        add_points_decoder(Bundle(own), tiny_model())
    assert not (own / FOLDER).exists()
    assert not list(own.glob(".points*"))


def test_only_onnx_in_float32_has_one() -> None:
    with pytest.raises(InputError, match="for ONNX bundles of scheme fp32"):
        add_points_decoder(tiny_bundle("torchscript"), tiny_model())
