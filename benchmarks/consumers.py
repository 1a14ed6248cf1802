"""Which programs that read ONNX files give PyTorch's answers for ours: a table, for the docs.

    python -m benchmarks.consumers EXPORTS/onnx-fp32 EXPORTS/onnx-w8d --environments /tmp/consumers

Each consumer runs in an environment of its own, which is made when it is not there. Asked are one
photo and six kinds of prompt, the decoder with PyTorch's embedding. An answer is right where the
embedding's relative L2 is at most :data:`EMBEDDING` and the masks' mean IoU, of all four masks of
all prompts, at least :data:`IOU`; wrong where it is not; refused where the consumer raised.

Bundles of interface ``sam`` are asked by programs that speak it, encoder and decoder together, with
four kinds of prompt about a tall photo; the mask that they draw is held against the one that
:class:`mobilesam.Predictor` draws. Such programs take image size 1024 alone.
"""

import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer

from mobilesam.bundle.contract import COMPONENTS, Component, Interface, pack_image, pack_prompt
from mobilesam.data.sample_photos import PHOTOS
from mobilesam.inference.predictor import Predictor, choose_mask
from mobilesam.inference.prompts import make_prompt
from mobilesam.inference.transforms import upscale_logits
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from parity.origin import Origin

EMBEDDING, IOU = 0.1, 0.9

Arrays = dict[str, np.ndarray]


class Consumer(NamedTuple):
    """One program: a function of :mod:`benchmarks.consumer_runs`, and what pip installs.

    Attributes:
        alone: installed without what they depend on, which is large and not needed.
        interface: of the bundles that it can be given.
    """

    function: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()
    interface: Interface = "mobilesam"


CONSUMERS: Mapping[str, Consumer] = {
    "ONNX Runtime": Consumer("onnxruntime", ("onnxruntime==1.31.1", "numpy")),
    "old ONNX Runtime": Consumer("onnxruntime", ("onnxruntime==1.17.3", "numpy<2")),
    "OpenVINO": Consumer("openvino", ("openvino", "numpy")),
    "OpenCV 5": Consumer("opencv", ("opencv-python-headless>=5.0.0a0", "numpy")),
    "OpenCV 4": Consumer("opencv", ("opencv-python-headless<5", "numpy")),
    "tract": Consumer("tract", ("tract", "numpy")),
    "MNN": Consumer("mnn", ("MNN", "numpy")),
    "ncnn": Consumer("ncnn", ("ncnn", "numpy"), ("pnnx",)),
    "onnxsim": Consumer("onnxsim", ("onnxsim", "onnx", "onnxruntime==1.31.1", "numpy")),
    "onnxslim": Consumer("onnxslim", ("onnxslim", "onnx", "onnxruntime==1.31.1", "numpy")),
    "samexporter": Consumer(
        "samexporter",
        ("onnxruntime==1.31.1", "numpy", "opencv-python-headless", "pillow"),
        ("samexporter==0.5.0",),
        "sam",
    ),
}


def python_of(name: str, folder: Path) -> Path:
    """The interpreter of a consumer's environment, made where it is not there yet."""
    consumer = CONSUMERS[name]
    home = folder / name.lower().replace(" ", "-")
    python = home / "bin" / "python"
    if not (home / "made").exists():
        venv.create(home, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *consumer.packages], check=True)
        if consumer.alone:
            subprocess.run([*pip, "--no-deps", *consumer.alone], check=True)
        (home / "made").touch()
    return python


def version_of(name: str, python: Path) -> str:
    """The versions of the consumer's own package, its first, and of those installed alone."""
    consumer = CONSUMERS[name]
    own = consumer.packages[:1] if consumer.interface == "mobilesam" else ()
    packages = [p.split("=")[0].split("<")[0].rstrip(">") for p in (*own, *consumer.alone)]
    code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    command = [str(python), "-c", code, *packages]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Question(NamedTuple):
    """What a component is asked, and PyTorch's answers, by case and name of the tensor."""

    asked: dict[str, Arrays]
    wanted: dict[str, Arrays]


def questions(bundle: Bundle) -> dict[Component, Question]:
    """One photo for the encoder, six prompts for the decoder."""
    contract = bundle.manifest.contract
    model = Origin.of(bundle, None).load()
    photo = PHOTOS[0].load()
    if contract.interface == "sam":
        return _marked(model, photo[:, : photo.shape[1] * 2 // 3])
    height, width = photo.shape[:2]
    predictor = Predictor(model)
    predictor.set_image(photo)
    embedding = predictor.embedding.numpy()
    low = contract.low_res_size
    middle = np.array([[width / 2, height / 2]])
    several = np.array([[0.5, 0.5], [0.3, 0.6], [0.7, 0.2]]) * (width, height)
    box = np.array([0.2, 0.25, 0.8, 0.7]) * (width, height, width, height)
    with torch.no_grad():
        first = make_prompt(
            middle, np.array([1]), None, None, original_size=(height, width), low_res_size=low
        )
        logits = predictor.decode(first)[0].numpy()[0, :1]
    prompts = {
        "point": (middle, np.array([1]), None, None),
        "points": (several, np.array([1, 1, 0]), None, None),
        "negative": (middle, np.array([0]), None, None),
        "box": (None, None, box, None),
        "box and point": (middle, np.array([1]), box, None),
        "mask": (middle, np.array([1]), None, logits),
    }
    asked: dict[str, Arrays] = {}
    wanted: dict[str, Arrays] = {}
    for name, parts in prompts.items():
        prompt = make_prompt(*parts, original_size=(height, width), low_res_size=low)
        packed = pack_prompt(prompt, predictor.frame, contract)
        asked[name] = {"image_embeddings": embedding, **packed}
        with torch.no_grad():
            masks, quality = predictor.decode(prompt)
        wanted[name] = {"low_res_masks": masks.numpy(), "iou_predictions": quality.numpy()}
    return {
        "encoder": Question(
            {"photo": pack_image(photo, contract)}, {"photo": {"image_embeddings": embedding}}
        ),
        "decoder": Question(asked, wanted),
    }


def _marked(model: MobileSAM, photo: np.ndarray) -> dict[Component, Question]:
    """A photo with marks [N, 3] on it: x, y and a label, 2 and 3 for the corners of a box."""
    height, width = photo.shape[:2]
    predictor = Predictor(model)
    predictor.set_image(photo)
    middle, corner = (width / 2, height / 2, 1), (width / 8, height / 8, 0)
    box = ((width / 5, height / 4, 2), (width * 4 / 5, height * 3 / 4, 3))
    asked: dict[str, Arrays] = {}
    wanted: dict[str, Arrays] = {}
    for name, marks in {
        "point": [middle],
        "points": [middle, corner],
        "box": [*box],
        "box and point": [*box, middle],
    }.items():
        rows = np.array(marks)
        points = rows[rows[:, 2] < 2]
        corners = rows[rows[:, 2] >= 2, :2].reshape(-1) if len(points) < len(rows) else None
        prompt = make_prompt(
            points[:, :2] if len(points) else None,
            points[:, 2] if len(points) else None,
            corners,
            original_size=(height, width),
        )
        with torch.no_grad():
            low_res, quality = predictor.decode(prompt)
        shown = choose_mask(prompt, quality[0].numpy())
        logits = upscale_logits(low_res[:, shown : shown + 1], predictor.frame)
        asked[name] = {"marks": rows, "photo": photo}
        wanted[name] = {"masks": logits.numpy()}
    embedding = {"image_embeddings": predictor.embedding.numpy()}
    return {
        "encoder": Question({"photo": {"photo": photo}}, {"photo": embedding}),
        "decoder": Question(asked, wanted),
    }


def answers(name: str, python: Path, path: Path, question: Question) -> dict[str, Arrays]:
    """A consumer's answers.

    Raises:
        RuntimeError: it refuses the file; with the last line that it said.
    """
    with tempfile.TemporaryDirectory(prefix="consumer-") as folder:
        asked, found = (Path(folder, each) for each in ("a.npz", "b.npz"))
        for each in path.parent.glob("*.onnx"):
            shutil.copyfile(each, Path(folder, each.name))
        copy = Path(folder, path.name)
        flat = {f"{c}/{n}": a for c, arrays in question.asked.items() for n, a in arrays.items()}
        np.savez(asked, **flat)  # type: ignore[arg-type]
        script = Path(__file__).with_name("consumer_runs.py")
        function = CONSUMERS[name].function
        command = [str(python), str(script), function, str(copy), str(asked), str(found)]
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if ended.returncode or not found.exists():
            said = [line for line in ended.stderr.splitlines() if line.strip()] or ["no word"]
            raise RuntimeError(f"status {ended.returncode}: {said[-1].strip()[:160]}")
        with np.load(found) as saved:
            flat = {key: saved[key] for key in saved.files}
    return {
        case: {output: flat[f"{case}/{output}"] for output in outputs}
        for case, outputs in question.wanted.items()
    }


def judged(component: Component, found: dict[str, Arrays], wanted: dict[str, Arrays]) -> str:
    """One word and the number that led to it."""
    if component == "encoder":
        ours, theirs = found["photo"]["image_embeddings"], wanted["photo"]["image_embeddings"]
        error = float(np.linalg.norm(ours.reshape(theirs.shape) - theirs) / np.linalg.norm(theirs))
        return f"{'right' if error <= EMBEDDING else 'wrong'} ({error:.1e})"
    each = []
    for case, outputs in wanted.items():
        masks = next(iter(outputs))
        theirs = outputs[masks] > 0
        ours = found[case][masks].reshape(theirs.shape) > 0
        both, either = (ours & theirs).sum((0, 2, 3)), (ours | theirs).sum((0, 2, 3))
        each += [b / e if e else 1.0 for b, e in zip(both, either, strict=True)]
    mean = float(np.mean(each))
    return f"{'right' if mean >= IOU else 'wrong'} ({mean:.3f})"


def main(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles of target onnx.")],
    environments: Annotated[Path, typer.Option(help="Folder for the environments.")],
    consumer: Annotated[list[str] | None, typer.Option(help="Only these; repeated.")] = None,
) -> None:
    """Print the table in Markdown, and on standard error why a file was refused."""
    opened = [Bundle(path) for path in bundles]
    asked = [questions(bundle) for bundle in opened]
    schemes = [f"`{bundle.manifest.scheme.name}`" for bundle in opened]
    interfaces = {bundle.manifest.interface for bundle in opened}
    print("| consumer | version | component |", " | ".join(schemes), "|")
    print("|" + "---|" * (3 + len(schemes)))
    for name in consumer or CONSUMERS:
        if CONSUMERS[name].interface not in interfaces:
            continue
        python = python_of(name, environments)
        version = version_of(name, python)
        for component in COMPONENTS:
            cells = []
            for bundle, question in zip(opened, asked, strict=True):
                if bundle.manifest.interface != CONSUMERS[name].interface:
                    cells.append("")
                    continue
                path = bundle.file(component, "onnxruntime")
                try:
                    found = answers(name, python, path, question[component])
                    cells.append(judged(component, found, question[component].wanted))
                except (RuntimeError, ValueError) as error:
                    print(f"{name} {path}: {error}", file=sys.stderr)
                    cells.append("refused")
            print(f"| {name} | {version} | {component} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    typer.run(main)
