"""The documents say what the code does: tables are the code's own, every Python snippet runs."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import numpy as np
import pytest
import torch
import typer.main
from PIL import Image
from pydantic import BaseModel

from converters.lookup import least_tested_table, markdown_table, refused_table, tick_table
from mobilesam.bundle.contract import COMPONENTS, Contract, pack_prompt
from mobilesam.bundle.manifest import Manifest, Record
from mobilesam.bundle.prescribed import prescribed
from mobilesam.bundle.tensors import TensorSpec
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import make_prompt
from mobilesam.inference.transforms import (
    PIXEL_MEAN,
    PIXEL_STD,
    Frame,
    pixels_input,
    upscale_logits,
)
from mobilesam.model.build import load_model, variants_table
from mobilesam.weights.checkpoints import tensors_sha256
from mobilesam_cli import app

CONTRACT = Contract(1024, 16, 256, "pixels", 8)
DOCUMENTS = ("docs/bundle.md",)


def python_snippets(path: Path) -> list[str]:
    """Fenced blocks marked as Python."""
    return re.findall(r"^```python\n(.*?)^```$", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("document", "name", "table"),
    [
        ("README.md", "ticks", tick_table),
        ("README.md", "least tested", least_tested_table),
        ("docs/targets.md", "schemes", markdown_table),
        ("docs/quantization.md", "refused", refused_table),
        ("docs/models.md", "variants", variants_table),
    ],
)
def test_tables_are_the_code_s(
    document: str, name: str, table: Callable[[], str], repository: Path
) -> None:
    text = (repository / document).read_text("utf-8")
    between = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    assert between, f"the markers <!-- {name} --> and <!-- /{name} --> are gone"
    assert between[1].strip() == table().strip()


QUOTING = ("README.md", "docs/*.md", "mobilesam/weights/README.md", "parity/thresholds.toml")


def test_figures_are_of_the_demo_weights_that_ship(repository: Path) -> None:
    shipped = tensors_sha256(load_model("demo").state_dict())[:8]
    found: dict[str, list[str]] = {}
    for path in (path for pattern in QUOTING for path in repository.glob(pattern)):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            for digest in re.findall(r"(?:demo weights |/vit_t-\d+-)([0-9a-f]{8})\b", line):
                found.setdefault(digest, []).append(f"{path.relative_to(repository)}:{number}")
    assert len(found.pop(shipped, ())) >= 15
    assert not found, f"figures of weights that do not ship: {found}"


def command_lines(page: Path) -> list[list[str]]:
    """Words of every `mobilesam ...` line of a page's indented blocks, joined where they go on."""
    text = re.sub(r"\\\n\s+", "", page.read_text("utf-8"))
    lines = re.findall(r"^ {4,}(?:\$ )?(mobilesam .*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def test_every_printed_command_is_one(repository: Path) -> None:
    front: Any = typer.main.get_command(app)
    pages = [repository / "README.md", *sorted((repository / "docs").glob("*.md"))]
    found = [(page.name, words) for page in pages for words in command_lines(page)]
    assert len(found) > 20
    for page, (_, name, *arguments) in found:
        command = front.commands[name]
        if hasattr(command, "commands"):
            name, *arguments = arguments
            command = command.commands[name]
        try:
            command.make_context(name, arguments)
        except click.ClickException as error:
            pytest.fail(f"{page}: mobilesam {name} {' '.join(arguments)}: {error.message}")


def manifest_fields(record: type[BaseModel], place: str = "") -> set[str]:
    """Dotted names of a record's fields; those of records within stand for the field itself."""
    names: set[str] = set()
    for name, field in record.model_fields.items():
        inner = [a for a in _within(field.annotation) if issubclass(a, Record)]
        listed = "[]" if get_origin(field.annotation) is tuple else ""
        for each in inner:
            names |= manifest_fields(each, f"{place}{name}{listed}.")
        if not inner:
            names.add(f"{place}{name}")
    return names


def _within(annotation: Any) -> list[type]:
    """The classes that an annotation is made of."""
    parts = [found for part in get_args(annotation) for found in _within(part)]
    return parts or ([annotation] if isinstance(annotation, type) else [])


def test_every_field_of_the_manifest_is_documented(repository: Path) -> None:
    text = (repository / "docs" / "bundle.md").read_text("utf-8")
    between = re.search(r"<!-- manifest -->\n(.*?)<!-- /manifest -->", text, re.DOTALL)
    assert between
    rows = [line.split("|")[1:3] for line in between[1].strip().splitlines()[2:]]
    said = {name: words for names, words in rows for name in re.findall(r"`([^`]+)`", names)}
    assert set(said) == manifest_fields(Manifest)
    for name, value in prescribed(CONTRACT).items():
        if name in ("preprocessing", "postprocessing"):
            assert set(value) <= set(re.findall(r"`([^`]+)`", said[name])), name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tensor_tables_are_the_contract(document: str, repository: Path) -> None:
    row = re.compile(r"^\| (in|out) \| `(\w+)` \| (\[[\d, ]+\]) \| (\w+) \|", re.MULTILINE)
    found = row.findall((repository / document).read_text("utf-8"))

    def rows(way: str, specs: tuple[TensorSpec, ...]) -> list[tuple[str, ...]]:
        return [(way, spec.name, str(list(spec.shape)), spec.dtype) for spec in specs]

    expected = []
    for component in COMPONENTS:
        signature = CONTRACT.signature(component)
        expected += rows("in", signature.inputs) + rows("out", signature.outputs)
    assert found == expected


@pytest.mark.parametrize("document", DOCUMENTS)
def test_constants_are_the_code_s(document: str, repository: Path) -> None:
    text = (repository / document).read_text("utf-8")
    for constants in (PIXEL_MEAN, PIXEL_STD):
        assert re.search(r",\s+".join(f"{value:g}" for value in constants), text)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs"])
def test_links_lead_somewhere(document: str, repository: Path) -> None:
    path = repository / document
    for page in [path] if path.is_file() else sorted(path.glob("*.md")):
        prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


Host = dict[str, Callable[..., Any]]


@pytest.fixture(scope="module")
def host(repository: Path) -> Host:
    """The functions of docs/bundle.md."""
    (snippet,) = python_snippets(repository / "docs" / "bundle.md")
    names: dict[str, Any] = {}
    exec(compile(snippet, "docs/bundle.md", "exec"), names)
    return names


SIZES = [(300, 451), (1500, 1000), (1024, 768), (37, 1400)]


@pytest.mark.parametrize("size", SIZES)
def test_host_code_prepares_a_photo_as_the_library_does(host: Host, size: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    image, valid_size = pixels_input(photo, 1024)
    ours = host["encoder_inputs"](photo)
    assert np.array_equal(ours["valid_size"], valid_size)
    # Pillow's weights are fixed-point: rounding may differ by one level, rarely.
    difference = np.abs(ours["image"] - image)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


PROMPTS: list[dict[str, Any]] = [
    {"points": [[100, 50]], "labels": [1]},
    {"points": [[100, 50], [7.5, 280]], "labels": [1, 0]},
    {"box": [10, 20, 300, 200]},
    {"points": [[100, 50]], "labels": [0], "box": [10, 20, 300, 200]},
    {"points": [[100, 50]], "labels": [1], "logits": np.full((256, 256), 2.5, np.float32)},
]


@pytest.mark.parametrize("asked", PROMPTS)
def test_host_code_packs_a_prompt_as_the_library_does(host: Host, asked: dict[str, Any]) -> None:
    frame = Frame((300, 451), 1024)
    prompt = make_prompt(
        asked.get("points"),
        asked.get("labels"),
        asked.get("box"),
        asked.get("logits"),
        original_size=frame.original_size,
    )
    ours = host["decoder_inputs"](300, 451, **asked)
    theirs = pack_prompt(prompt, frame, CONTRACT)
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype
        assert np.array_equal(ours[name], array), name
    iou = np.array([0.9, 0.1, 0.3, 0.2], np.float32)
    arguments = (asked.get("points", ()), asked.get("box"), asked.get("logits"))
    assert host["chosen_mask"](iou, *arguments) == choose_mask(prompt, iou)


@pytest.mark.parametrize("size", SIZES)
def test_host_code_draws_a_mask_as_the_library_does(host: Host, size: tuple[int, int]) -> None:
    low_res = np.random.default_rng(1).normal(size=(256, 256)).astype(np.float32)
    logits = upscale_logits(torch.from_numpy(low_res)[None, None], Frame(size, 1024))[0, 0].numpy()
    mask = host["mask_of"](low_res, *size)
    assert mask.shape == size
    clear = np.abs(logits) > 1e-4
    assert np.array_equal(mask[clear], logits[clear] > 0)


@pytest.mark.slow
def test_readme_snippets_run(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows, columns = np.mgrid[0:480, 0:640]
    pixels = np.stack([rows // 2, columns // 3, (rows * columns) // 1250], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save("photo.jpg")
    (snippet,) = python_snippets(repository / "README.md")
    assert len(snippet.splitlines()) <= 20
    names: dict[str, Any] = {}
    exec(compile(snippet.replace("image_size=1024", "image_size=64"), "README.md", "exec"), names)
    assert names["masks"].shape == names["phone_masks"].shape == (3, 480, 640)
    assert (names["masks"] == names["phone_masks"]).mean() > 0.999
    assert [bundle.reasons for bundle in names["report"].bundles] == [[]]
    assert names["report"].passed
    assert (tmp_path / "reports" / "report.html").is_file()
