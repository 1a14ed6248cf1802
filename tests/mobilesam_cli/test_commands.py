"""The commands when all goes well, and what they do when it does not go as planned."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from typer.main import get_command_name

from mobilesam import SAM, Predictor, __version__, load_model
from mobilesam.bundle.compute_units import ComputeUnits
from mobilesam.bundle.contract import DEFAULT_SLOTS, INPUT_VARIANTS, MASKS
from mobilesam.inference.transforms import CHANNEL_ORDERS
from mobilesam.progress import Progress
from mobilesam.weights.demo import DEMO_NOTE
from mobilesam_cli import app, export, main
from mobilesam_cli.parity import parity
from tests.mobilesam_cli.conftest import Run

COMMANDS = (
    *("export", "parity", "replay", "bisect", "evaluate", "train", "distill", "scenes"),
    *("predict", "inspect", "golden", "doctor", "demo", "search", "sensitivity"),
    *("examples", "phones", "everything", "annotate", "compare", "web", "release", "new-app"),
)
SMALL = ("--image-size", "128")


def test_help_and_version(run: Run) -> None:
    assert run("--version").stdout == f"mobilesam-export {__version__}\n"
    for flag in ("-h", "--help"):
        shown = run(flag)
        assert shown.exit_code == 0
        assert all(command in shown.stdout for command in COMMANDS)
    for command in COMMANDS:
        assert run(command, "-h").exit_code == 0


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys, typer.testing\n"
        "from mobilesam_cli import app\n"
        "result = typer.testing.CliRunner().invoke(app, ['predict', '--help'])\n"
        "assert result.exit_code == 0, result.output\n"
        "sys.exit(', '.join({'torch', 'numpy', 'PIL', 'rich.progress'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "", f"imported: {done.stderr}"


def test_unknown_option_is_a_usage_error(run: Run) -> None:
    result = run("export", "--traget", "coreml")
    assert result.exit_code == 2
    assert "--traget" in result.stderr


def test_defaults_are_the_contract_s() -> None:
    parameters = inspect.signature(export).parameters
    assert parameters["slots"].default == DEFAULT_SLOTS
    choices: dict[str, tuple[str, ...]] = {
        "input_variant": INPUT_VARIANTS,
        "channel_order": CHANNEL_ORDERS,
        "masks": MASKS,
    }
    for name, known in choices.items():
        assert parameters[name].default == known[0]
        assert all(repr(each) in str(parameters[name].annotation) for each in known)


@pytest.mark.parametrize("command", [export, parity])
def test_compute_units_are_the_runner_s(command: Callable[..., None]) -> None:
    annotation = inspect.signature(command).parameters["compute_units"].annotation
    assert str(get_args(ComputeUnits))[1:-1] in str(annotation)


def test_the_script_exits_with_two() -> None:
    script = "from mobilesam_cli import main; main()"
    command = [sys.executable, "-c", script, "predict", "nowhere.png", "--point", "1,1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: There is no image file at 'nowhere.png'; check the path.\n"
    assert callable(main)


@pytest.mark.skipif(os.name == "nt", reason="a POSIX signal and shell")
def test_sigterm_ends_it_as_ctrl_c_does(photo: Path, here: Path) -> None:
    script = (
        "import os, signal\n"
        "import mobilesam.inference.images as images\n"
        "from mobilesam_cli import main\n"
        "images.load_image = lambda image: os.kill(os.getpid(), signal.SIGTERM)\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, "predict", str(photo), "--point", "1,1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "error: terminated\n")


@pytest.mark.skipif(os.name == "nt", reason="a POSIX signal and shell")
def test_closed_streams(photo: Path, here: Path) -> None:
    script = (
        "import mobilesam.inference.images as images\n"
        "from mobilesam.runtimes.checked import native_banners_silenced\n"
        "from mobilesam_cli import main\n"
        "with native_banners_silenced(): pass\n"
        "def load(image):\n"
        "    with open(image) as file, open('number', 'w') as out: out.write(str(file.fileno()))\n"
        "    with native_banners_silenced(): raise KeyboardInterrupt\n"
        "images.load_image = load\n"
        "main()\n"
    )
    closing = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script]
    done = subprocess.run([*closing, "predict", photo, "--point", "1,1"])
    assert done.returncode == 130
    assert int((here / "number").read_text()) > 2


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt(), 130), (RuntimeError(), 1)])
def test_interrupted_and_broken(
    raised: BaseException,
    status: int,
    run: Run,
    photo: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("mobilesam.inference.images.load_image", fail)
    result = run("predict", photo, "--point", "1,1")
    assert result.exit_code == status
    if status == 130:
        assert result.stderr == "error: interrupted\n"
    else:
        assert result.exception is raised, "a fault of ours keeps its traceback"
    assert list(here.iterdir()) == []


def test_predict_writes_the_predictor_s_mask(run: Run, photo: Path, here: Path) -> None:
    result = run("predict", photo, "--point", "30,40", *SMALL)
    assert result.exit_code == 0, result.output
    predictor = Predictor(load_model("demo", image_size=128))
    predictor.set_image(photo)
    masks, iou, _ = predictor.predict([[30, 40]], [1])
    with Image.open(here / "photo-mask.png") as picture:
        assert picture.mode == "L"
        written = np.asarray(picture)
    assert set(np.unique(written)) <= {0, 255}
    assert (written > 0).tolist() == masks[iou.argmax()].tolist()
    assert f"note: {DEMO_NOTE}" in result.stderr


def test_predict_json(run: Run, photo: Path, here: Path) -> None:
    prompt = ("--point", "30,40", "--point", "60.5,10", "--label", "1,0", "--box", "-9,5,80,60")
    outputs = ("--out", "mask.png", "--overlay", "overlay.jpg", "--logits", "logits.npy")
    result = run("predict", photo, *prompt, *SMALL, *outputs, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    mask = np.asarray(Image.open(here / "mask.png")) > 0
    assert np.array_equal(coco.decode(found["rle"]).astype(bool), mask)
    assert (found["size"], found["area"]) == ([64, 96], mask.sum())
    assert len(found["iou_predictions"]) == 4
    assert found["chosen_mask"] == 0, "an unambiguous prompt takes the single-mask output"
    assert found["prompt"]["points"] == [[30, 40], [60.5, 10]]
    assert found["prompt"]["labels"] == [1, 0]
    assert found["prompt"]["box"] == [0, 5, 80, 60]
    assert found["prompt"]["notes"] == ["box (-9, 5, 80, 60) was clipped to (0, 5, 80, 60)"]
    assert "note: box (-9, 5, 80, 60) was clipped to (0, 5, 80, 60)\n" in result.stderr
    assert found["weights"] == "demo"
    assert sorted(found["files"]) == ["logits", "mask", "overlay"]
    assert sorted(p.name for p in here.iterdir()) == ["logits.npy", "mask.png", "overlay.jpg"]
    assert np.load(here / "logits.npy").shape == (1, 32, 32)


def test_predict_refines_its_own_logits(run: Run, photo: Path, here: Path) -> None:
    first = run("predict", photo, "--point", "30,40", *SMALL, "--logits", "logits.npy")
    assert first.exit_code == 0, first.output
    prompt = ("predict", photo, "--point", "30,40", *SMALL, "--json")
    plain = json.loads(run(*prompt).stdout)
    refined = json.loads(run(*prompt, "--mask-input", "logits.npy").stdout)
    assert refined["prompt"]["mask_input"] is True
    assert refined["iou_predictions"] != plain["iou_predictions"]


def test_predict_chooses_as_told(run: Run, photo: Path, here: Path) -> None:
    prompt = ("predict", photo, "--box", "5,5,80,60", *SMALL, "--json")
    plain, several = (json.loads(run(*prompt, *more).stdout) for more in ([], ["--multimask"]))
    assert plain["chosen_mask"] == 0
    best = 1 + int(np.argmax(several["iou_predictions"][1:]))
    assert several["chosen_mask"] == best
    single = json.loads(
        run("predict", photo, "--point", "9,9", "--single", *SMALL, "--json").stdout
    )
    assert single["chosen_mask"] == 0


def test_inspect(run: Run, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shown = run("inspect", bundle)
    assert shown.exit_code == 0, shown.output
    for part in ("image_embeddings", "point_labels", "1 x 256 x 4 x 4", "made up"):
        assert part in shown.stdout
    assert shown.stdout.count("verified") == 2
    manifest = json.loads(run("inspect", bundle, "--json").stdout)
    assert manifest == json.loads((bundle / "manifest.json").read_text("utf-8"))


def test_inspect_shows_which_file_differs(run: Run, bundle: Path) -> None:
    (bundle / "encoder.pt").write_bytes(b"other")
    (bundle / "decoder.pt").unlink()
    shown = run("inspect", bundle)
    assert shown.exit_code == 2
    assert "differs" in shown.stdout and "missing" in shown.stdout
    assert shown.stderr.startswith("error: ") and shown.stderr.count("\n") == 1


def test_every_command_is_documented(repository: Path) -> None:
    page = (repository / "docs" / "commands.md").read_text("utf-8")
    assert [command for command in COMMANDS if f"mobilesam {command}" not in page] == []
    callbacks = [c.callback for c in app.registered_commands if c.callback is not None]
    own = {get_command_name(callback.__name__) for callback in callbacks}
    groups = {g.typer_instance.info.name for g in app.registered_groups if g.typer_instance}
    assert own | groups == set(COMMANDS)


Exporter = Callable[..., Path]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript bundle of a small image size, exported by the command."""
    import typer.testing

    out = tmp_path_factory.mktemp("exports")
    arguments = ["export", "--target", "torchscript", "--scheme", "fp32", *SMALL]
    arguments += ["--out", str(out)]
    result = typer.testing.CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return out


def test_export_reports_what_it_wrote(exports: Path, run: Run) -> None:
    again = run(
        "export", "--target", "torchscript", "--scheme", "fp32", *SMALL, "--out", exports, "--json"
    )
    assert again.exit_code == 0, again.output
    (row,) = json.loads(again.stdout)
    assert row["skipped"] is True, "an unchanged bundle is not exported again"
    assert (row["target"], row["scheme"]) == ("torchscript", "fp32")
    assert set(row["size_bytes"]) == {"torchscript", "lite_interpreter"}
    assert Path(row["path"]) == exports / "torchscript-fp32"


def test_golden_writes_vectors_and_refuses_what_it_cannot(
    exports: Path, run: Run, refused: Callable[..., str], photo: Path, here: Path
) -> None:
    bundle = exports / "torchscript-fp32"
    (here / "mine").mkdir()
    (here / "mine" / "kept.txt").write_text("kept")
    assert "'mine' is not empty" in refused("golden", bundle, "--out", "mine", "--image", photo)
    missing = refused("golden", bundle, "--out", "new", "--image", "none.jpg")
    assert "none.jpg" in missing
    result = run("golden", bundle, "--out", "golden", "--image", photo)
    assert result.exit_code == 0, result.output
    assert result.stdout == "golden: 8 prompts on photo.png, for torchscript-fp32\n"
    index = json.loads((here / "golden" / "golden.json").read_text("utf-8"))
    assert (index["original_size"], index["image_size"]) == ([64, 96], 128)
    embedding = index["encoder"]["outputs"][0]
    assert (here / "golden" / embedding["file"]).stat().st_size == 4 * 256 * 8 * 8


def test_predict_with_a_bundle(exports: Path, run: Run, photo: Path, here: Path) -> None:
    prompt = ("predict", photo, "--point", "30,40", "--json")
    pytorch = json.loads(run(*prompt, *SMALL).stdout)
    for runtime in ("torchscript", "lite_interpreter"):
        bundle = exports / "torchscript-fp32"
        exported = json.loads(run(*prompt, "--bundle", bundle, "--runtime", runtime).stdout)
        assert exported["engine"].startswith("torchscript-fp32 on ")
        np.testing.assert_allclose(
            exported["iou_predictions"], pytorch["iou_predictions"], rtol=1e-4, atol=1e-5
        )
        ours, theirs = (coco.decode(found["rle"]).astype(bool) for found in (exported, pytorch))
        assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.99


def test_parity_passes_and_fails(exports: Path, run: Run, photo: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    photo.rename(photos / photo.name)
    options = ("--images", photos, "--no-measure", "--json")
    passed = run("parity", exports, *options, "--report", tmp_path / "report")
    assert passed.exit_code == 0, passed.output
    report = json.loads(passed.stdout)
    assert {b["runtime"] for b in report["bundles"]} == {"torchscript", "lite_interpreter"}
    assert {b["verdict"] for b in report["bundles"]} == {"PASS"}
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"report.json", "report.html", "report.md", "junit.xml"} <= names


def test_doctor(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOBILESAM_CACHE", str(tmp_path))
    shown = run("doctor")
    assert shown.exit_code == 0
    assert "not downloaded yet" in shown.stdout
    (tmp_path / "mobile_sam.pt").touch()
    found = json.loads(run("doctor", "--json").stdout)
    assert found["official_weights"] == str(tmp_path / "mobile_sam.pt")
    assert {feature["name"] for feature in found["features"]} >= {"base", "coreml", "tflite"}


def test_predict_several_objects(run: Run, photo: Path, here: Path) -> None:
    boxes = ("--box", "5,5,40,40", "--box", "30,20,80,60")
    result = run("predict", photo, *boxes, *SMALL, "--overlay", "all.png", "--json")
    objects = json.loads(result.stdout)["objects"]
    assert [each["prompt"]["box"] for each in objects] == [[5, 5, 40, 40], [30, 20, 80, 60]]
    assert [each["files"]["mask"] for each in objects] == ["photo-mask-1.png", "photo-mask-2.png"]
    run("predict", photo, *boxes[2:], *SMALL, "--out", "alone.png")
    alone, second = (np.asarray(Image.open(here / n)) for n in ("alone.png", "photo-mask-2.png"))
    np.testing.assert_array_equal(alone, second)
    assert (here / "all.png").is_file()
    for more, said in (
        (("--point", "9,9"), "2 boxes are 2 objects"),
        (("--label", "1"), "--object '5,5,40,40 X,Y'"),
        (("--object", "9,9"), "without --point, --label and --box"),
        (("--mask-input", "earlier.npy"), "refines one object's mask"),
    ):
        refused = run("predict", photo, *boxes, *more)
        assert refused.exit_code == 2 and said in refused.stderr


def test_predict_objects_by_points_and_boxes(run: Run, photo: Path, here: Path) -> None:
    objects = ("--object", "30,20", "--object", "60,40 9,9,0 50,30,90,60")
    described = json.loads(run("predict", photo, *objects, *SMALL, "--json").stdout)["objects"]
    prompts = [each["prompt"] for each in described]
    assert [p["points"] for p in prompts] == [[[30, 20]], [[60, 40], [9, 9]]]
    assert [p["labels"] for p in prompts] == [[1], [1, 0]]
    assert [p["box"] for p in prompts] == [None, [50, 30, 90, 60]]
    run("predict", photo, "--point", "30,20", *SMALL, "--out", "alone.png")
    alone, first = (np.asarray(Image.open(here / n)) for n in ("alone.png", "photo-mask-1.png"))
    np.testing.assert_array_equal(alone, first)


def test_predict_and_the_familiar_call_draw_the_same(run: Run, photo: Path, here: Path) -> None:
    run("predict", photo, "--object", "30,20 60,40,0", "--object", "9,9", *SMALL)
    points, labels = [[[30, 20], [60, 40]], [[9, 9]]], [[1, 0], [1]]
    (result,) = SAM("demo", imgsz=128).predict(photo, points=points, labels=labels)
    assert result.masks is not None
    for name, mask in zip(("photo-mask-1.png", "photo-mask-2.png"), result.masks.data, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(here / name)) > 0, mask.numpy())


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("9", "a point of --object takes numbers as x,y, not '9'"),
        ("9,9,in", "takes numbers as x,y,label"),
        ("9,9 1,1,5,5 2,2,6,6", "has two boxes"),
        ("9,9,2", "label 2 is not known"),
        ("9,9999", "is outside the image"),
        (" ", "no prompt was given"),
    ],
)
def test_an_object_that_is_no_prompt(run: Run, photo: Path, prompt: str, said: str) -> None:
    refused = run("predict", photo, "--object", "9,9", "--object", prompt)
    assert refused.exit_code == 2 and said in refused.stderr


def test_names_in_brackets_are_shown_as_they_are(run: Run, bundle: Path) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["weights"]["name"] = "[/red]run [bold].pt"
    path.write_text(json.dumps(manifest))
    assert "[/red]run [bold].pt" in run("inspect", bundle).stdout


def test_progress_shows_names_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(True) as progress, progress.task("[/photos]", 1) as step:
        step("[/red].png")
    assert "[/photos]" in capsys.readouterr().out
