"""The wheel in an empty environment, used as a stranger would: `make wheel-test`, minutes.

Builds the wheel, installs it with two extras into a fresh virtual environment, and works in a
folder whose own packages are called as ours and fail when they are imported.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.foreign_packages import FOREIGN, commands_of, foreign_folder

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = {"coreml_evaluator", "converters", "mobilesam", "mobilesam_cli", "parity"}
SCRIPT = """
from converters import export
from mobilesam import Bundle, Predictor, load_model
from parity import bisect, compare, evaluate

if __name__ == "__main__":
    photo = "examples/images/coffee.png"
    model = load_model(image_size=128)
    predictor = Predictor(model)
    predictor.set_image(photo)
    wanted, _, _ = predictor.predict([[290, 150]], [1])
    (made,) = export(model, targets="tflite", schemes="fp16", out="exports", progress=False)
    with Bundle(made.path).predictor() as phone:
        phone.set_image(photo)
        masks, _, _ = phone.predict([[290, 150]], [1])
    assert masks.shape == wanted.shape == (3, 400, 600) and masks.dtype == wanted.dtype
    print(f"{(masks == wanted).mean():.4f} of all pixels are as PyTorch has them")
    report = compare("exports", images="examples/images", progress=False)
    report.save("reports")
    print("passed:", report.passed)
    assert report.passed
    scores = evaluate(made.path, "examples", max_images=1, progress=False).scores
    print({score.prompt: round(score.mean_iou, 3) for score in scores})
    print(bisect(made.path, photo, point_coords=[[290, 150]], progress=False).conclusion)
"""


def main() -> None:
    """Build, install, use; the first thing that goes wrong ends it."""
    with tempfile.TemporaryDirectory(prefix="mobilesam-wheel-") as scratch:
        folder = Path(scratch)
        environment = folder / "venv"
        python = environment / "bin" / "python"
        venv.create(environment, with_pip=True)
        wheel = [sys.executable, "-m", "pip", "wheel", str(REPOSITORY), "--no-deps", "-q"]
        _run([*wheel, "-w", str(folder)], folder)
        (built,) = folder.glob("*.whl")
        constraints = ["-c", str(REPOSITORY / "constraints.txt")]
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, *constraints, f"{built}[tflite,report]"], folder)
        owned = _owned(python, folder)
        assert owned == ROOMS, f"the wheel adds the import names {sorted(owned)}"
        here = foreign_folder(folder / "here")
        tool = str(environment / "bin" / "mobilesam")
        for arguments in commands_of(target="tflite", scheme="fp16", image_size=128):
            _run([tool, *arguments], here)
        empty = folder / "empty"
        empty.mkdir()
        (here / "examples").rename(empty / "examples")
        (empty / "script.py").write_text(SCRIPT)
        _run([str(python), "script.py"], empty)
    print(f"the wheel works, also beside packages called {', '.join(FOREIGN)}")


def _run(command: list[str], cwd: Path) -> None:
    print("$", *(Path(command[0]).name, *command[1:]), flush=True)
    subprocess.run(command, cwd=cwd, check=True, env=_environment())


def _environment() -> dict[str, str]:
    """This process's, in which nothing points to the sources."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _owned(python: Path, cwd: Path) -> set[str]:
    """Top-level names of the files that the distribution installed, its metadata aside."""
    code = (
        "import importlib.metadata as m\n"
        "tops = {f.parts[0] for f in m.files('mobilesam-export')}\n"
        "print(*(top for top in tops if top != '..' and not top.endswith('.dist-info')))"
    )
    done = subprocess.run(
        [python, "-P", "-c", code],
        cwd=cwd,
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


if __name__ == "__main__":
    main()
