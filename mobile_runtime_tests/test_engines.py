"""Photos shared among workers give the report that one process gives."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from mobile_runtime_tests import faults
from mobilesam.errors import InputError
from parity import compare
from parity.report import Report
from tests.ray_clusters import two_machines
from tests.shared_bundles import demo_model

WORKERS = 2


@pytest.fixture
def folders(bundles: dict[str, Path], scratch: Path) -> list[Path]:
    """A right bundle, one whose masks are not numbers, and one that no runtime can load."""
    weights = {name: value.numpy() for name, value in demo_model().state_dict().items()}
    fault = faults.nan_in_one_mask
    (scratch / "wrong").mkdir()
    wrong = faults.inject(bundles["coreml-fp16"], scratch / "wrong", "decoder", fault, weights)
    cut = faults.rewritten(bundles["onnx-fp32"], scratch, "encoder", _cut)
    return [bundles["onnx-fp32"], wrong, cut]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def said(report: Report) -> list[dict[str, object]]:
    """Of each bundle all that must not depend on who computed it."""
    return [
        json.loads(bundle.model_dump_json(exclude={"measurements", "engine"}))
        for bundle in report.bundles
    ]


def test_processes_give_the_same_report(folders: list[Path], photos: Path) -> None:
    judge = partial(compare, folders, images=photos, measure=False, progress=False)
    alone, shared = judge(threads=1), judge(engine="local", workers=WORKERS)
    assert [bundle.verdict for bundle in alone.bundles] == ["PASS", "FAIL", "FAIL"]
    for ours, theirs in zip(said(shared), said(alone), strict=True):
        assert ours == theirs
    assert shared.gallery == alone.gallery and shared.images == alone.images
    assert [bundle.engine for bundle in shared.bundles] == [b.engine for b in alone.bundles]


def test_a_cluster_gives_the_same_report(
    bundles: dict[str, Path], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of photos that are named from the current folder."""
    monkeypatch.chdir(photos.parent)
    asked = [bundles["onnx-fp32"]]
    judge = partial(compare, asked, images=photos.name, measure=False, progress=False)
    with two_machines() as address:
        shared = judge(engine="ray", workers=WORKERS, ray_address=address)
    assert said(shared) == said(judge(threads=1))


def test_a_photo_that_vanishes_is_left_out_and_named(
    bundles: dict[str, Path], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the moment when it was checked and that in which a worker reads it."""
    from parity import comparison

    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)

    def later(*args: object) -> object:
        (mine / "woman.png").unlink(missing_ok=True)
        return shared_findings(*args)  # type: ignore[arg-type]

    shared_findings = comparison.shared_findings
    monkeypatch.setattr(comparison, "shared_findings", later)
    report = compare(
        bundles["onnx-fp32"], images=mine, engine="local", measure=False, progress=False
    )
    assert "woman.png" in [each.image for each in report.unusable_images]
    assert {each.image for each in report.bundles[0].encoder} == {"cup.png", "cup.png (wide strip)"}


def test_threads_do_not_go_with_workers(photos: Path) -> None:
    with pytest.raises(InputError, match="one thread each: drop --threads"):
        compare(photos, engine="local", threads=2, progress=False)
    with pytest.raises(InputError, match="workers are an engine's: name one, local or ray"):
        compare(photos, workers=2, progress=False)
