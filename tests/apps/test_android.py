"""The Kotlin library of ``apps/android/``: compiled, and held against golden vectors on a JVM."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilesam.bundle.contract import COMPONENTS, CONTRACT_VERSION, INPUT_VARIANTS, Contract
from mobilesam.emulators import kotlin
from mobilesam.inference.answers import answer
from mobilesam.inference.prompts import make_prompt
from mobilesam.inference.transforms import CHANNEL_ORDERS, PIXEL_MEAN, PIXEL_STD
from mobilesam.model import point_labels
from tests.apps.conftest import GoldenFolders, golden_folders, photo
from tests.apps.planted import Error, plant_all
from tests.conftest import require_emulator, require_runtime
from tests.parity.test_full_masks import full_bundle
from tests.parity.test_uint8_input import uint8_bundle

MODULE = Path("apps/android/mobilesam/src")
EXAMPLES = Path("apps/android/examples")
VECTORS = Path("apps/apple/Tests/MobileSAMTests/Fixtures/vectors.json")
RIGHT = "right"
TESTS = {"VectorTest": 6, "GoldenTest": 4, "ManifestTest": 8, "JavaCallerTest": 3}
"""Test classes, and how many tests each has."""

ERRORS = {
    "half a pixel": Error(
        "Answer.kt", "(index + 0.5) * scale - 0.5", "index * scale", "logitsBecomeTheMaskToShow"
    ),
    "BGR": Error(
        "Preprocessing.kt",
        "row * image.width * 3 + channel",
        "row * image.width * 3 + 2 - channel",
        "photosBecomeTheEncodersInputs",
    ),
    "padding at the top and left": Error(
        "Preprocessing.kt",
        "(channel * side + row) * side",
        "(channel * side + row + side - image.height) * side + side - image.width",
        "photosBecomeTheEncodersInputs",
    ),
    "BGR in bytes": Error(
        "Preprocessing.kt",
        '"rgb".indexOf(name)',
        '"bgr".indexOf(name)',
        "photosBecomeTheEncodersInputs",
    ),
    "label -1 left out": Error(
        "Prompt.kt",
        "add(0f, 0f, SlotLabel.PADDING_POINT)",
        "",
        "promptsBecomeTheDecodersInputs",
    ),
}


@pytest.fixture(scope="module")
def compiled(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Class paths: the library with its tests, and the same with each planted error before it."""
    require_emulator("kotlin")
    out = tmp_path_factory.mktemp("kotlin")
    right = out / RIGHT
    main, tests = repository / MODULE / "main/kotlin", repository / MODULE / "test"
    examples, stubs = repository / EXAMPLES, repository / "tests/apps/android_stubs"
    lines = [_arguments(right, [main, tests / "kotlin", examples, stubs], [])]
    paths = {RIGHT: [right]}
    for name, copy in plant_all(ERRORS, main / "mobilesam", out / "sources").items():
        paths[name] = [copy / "classes", right]
        lines.append(_arguments(copy / "classes", [copy / ERRORS[name].file], [right]))
    driver = str(repository / "tests/apps/CompileKotlin.java")
    program = kotlin.compiler()
    program[program.index(kotlin.COMPILER_CLASS) :] = [driver]
    _run(program, "\n".join(lines) + "\n")
    javac = [
        "javac",
        "-Xlint:all,-serial",
        "-Werror",
        "-proc:none",
        "-implicit:none",
        "-d",
        str(right),
    ]
    path = [*kotlin.libraries(), right]
    java = sorted(map(str, [*(tests / "java").rglob("*.java"), *examples.glob("*.java")]))
    sources = ["-sourcepath", str(stubs)]
    _run([*javac, "-cp", os.pathsep.join(map(str, path)), *sources, *java])
    return paths


def _arguments(out: Path, sources: Sequence[Path], friends: Sequence[Path]) -> str:
    """The compiler's; of friends it sees what is internal too."""
    path = os.pathsep.join(map(str, [*kotlin.libraries(), *friends]))
    options = [*kotlin.COMPILER_OPTIONS, "-Werror", "-cp", path, "-d", str(out)]
    known = [f"-Xfriend-paths={friend}" for friend in friends]
    return "\t".join([*options, *known, *map(str, sources)])


def _run(command: Sequence[str], given: str = "") -> str:
    done = subprocess.run(
        command, input=given, env=kotlin.environment(os.environ), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _junit(
    classes: Sequence[Path], names: Sequence[str], settings: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    runner = [*kotlin.java([*classes, *kotlin.libraries()]), "org.junit.runner.JUnitCore"]
    return subprocess.run(
        [*runner, *(f"mobilesam.{name}" for name in names)],
        env=kotlin.environment({**os.environ, **settings}),
        capture_output=True,
        text=True,
    )


def _settings(golden: GoldenFolders) -> dict[str, str]:
    return {
        "MOBILESAM_BUNDLE": str(golden.bundle.path),
        "MOBILESAM_GOLDEN": os.pathsep.join(map(str, golden.folders)),
    }


@pytest.fixture(scope="module")
def golden_bytes(golden: GoldenFolders, tmp_path_factory: pytest.TempPathFactory) -> GoldenFolders:
    """Of a bundle that takes bytes, in an order that is not the photo's."""
    bundle = uint8_bundle("tflite")
    assert bundle.manifest.channel_order != "rgb"
    return golden_folders(bundle, tmp_path_factory.mktemp("golden-bytes"))


@pytest.fixture(scope="module", params=["four masks", "bytes", "full masks"])
def kind(
    request: pytest.FixtureRequest, golden: GoldenFolders, golden_bytes: GoldenFolders
) -> GoldenFolders:
    """Each kind of bundle that the library runs, with vectors of its inputs."""
    if request.param == "bytes":
        return golden_bytes
    # Its inputs are those of four masks.
    return (
        golden if request.param == "four masks" else replace(golden, bundle=full_bundle("tflite"))
    )


def own_masks(golden: GoldenFolders, out: Path) -> Path:
    """The masks that the library's own predictor draws with the bundle's files in LiteRT."""
    require_runtime("litert")
    with golden.bundle.predictor("litert") as predictor:
        for folder, index in zip(golden.folders, golden.indices, strict=True):
            predictor.set_image(photo(folder.name))
            for case in index.cases:
                (given,) = (r.file for r in case.inputs if r.name == "mask_input")
                (refines,) = (r.file for r in case.inputs if r.name == "has_mask_input")
                side = index.image_size // 4
                earlier = np.fromfile(folder / given, "<f4").reshape(side, side)
                prompt = make_prompt(
                    case.points or None,
                    case.labels or None,
                    case.box,
                    earlier if np.fromfile(folder / refines, "<f4")[0] else None,
                    original_size=index.original_size,
                    low_res_size=side,
                )
                file = out / folder.name / case.mask
                file.parent.mkdir(parents=True)
                file.write_bytes(np.packbits(answer(predictor, prompt).mask).tobytes())
    return out


@pytest.mark.slow
def test_every_golden_vector_pixel_for_pixel(
    compiled: dict[str, list[Path]], kind: GoldenFolders, tmp_path: Path, repository: Path
) -> None:
    pipe = [sys.executable, "-m", "tests.apps.litert_pipe", str(kind.bundle.path)]
    settings = {
        **_settings(kind),
        "MOBILESAM_VECTORS": str(repository / VECTORS),
        "MOBILESAM_LITERT": "\n".join(pipe),
        "MOBILESAM_OWN": str(own_masks(kind, tmp_path)),
        "PYTHONPATH": str(repository),
    }
    done = _junit(compiled[RIGHT], list(TESTS), settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"OK ({sum(TESTS.values())} tests)" in done.stdout
    assert kind.masks >= 16
    # A test that skipped itself would not have printed this.
    assert f"golden vectors: {kind.masks} masks, 0 differing pixels" in done.stdout
    assert f"LiteRT: {kind.masks} masks, 0 differing pixels" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ERRORS)
def test_a_planted_error_fails_the_golden_vectors(
    name: str,
    compiled: dict[str, list[Path]],
    golden: GoldenFolders,
    golden_bytes: GoldenFolders,
) -> None:
    asked = golden_bytes if name.endswith("bytes") else golden
    done = _junit(compiled[name], ["GoldenTest"], _settings(asked))
    failed = re.findall(r"^\d+\) (\w+)\(mobilesam\.GoldenTest\)$", done.stdout, re.MULTILINE)
    assert done.returncode != 0
    assert failed == [ERRORS[name].fails], done.stdout


def test_each_error_can_be_planted(repository: Path, tmp_path: Path) -> None:
    copies = plant_all(ERRORS, repository / MODULE / "main/kotlin/mobilesam", tmp_path)
    assert copies.keys() == ERRORS.keys()


NAMED = {"normalized": "INPUT_NORMALIZED", "uint8": "INPUT_BYTES"}
"""Input variants that have a name of their own in Kotlin."""


def _constants(source: str, name: str) -> dict[str, str]:
    body = re.search(rf"^internal object {name} \{{\n(.*?)^\}}", source, re.DOTALL | re.MULTILINE)
    assert body, f"Contract.kt has no object {name}"
    return dict(re.findall(r"val (\w+) = (.+)", body[1]))


def test_constants_are_the_contract_s(repository: Path) -> None:
    source = (repository / MODULE / "main/kotlin/mobilesam/Contract.kt").read_text("utf-8")
    contract = Contract(1024, 16, 256, "pixels", 8, masks="full")
    signatures = [contract.signature(component) for component in COMPONENTS]
    names = {spec.name for each in signatures for spec in (*each.inputs, *each.outputs)}
    assert _constants(source, "TensorName") == {name.upper(): f'"{name}"' for name in names}
    labels = ("FOREGROUND", "BACKGROUND", "BOX_TOP_LEFT", "BOX_BOTTOM_RIGHT")
    wanted = {
        name: f"{getattr(point_labels, name)}f"
        for name in (*labels, "PADDING_POINT", "UNUSED_SLOT")
    }
    assert _constants(source, "SlotLabel") == wanted
    statistics = _constants(source, "PixelStatistics")
    for name, values in (("MEAN", PIXEL_MEAN), ("STD", PIXEL_STD)):
        assert statistics[name] == f"floatArrayOf({', '.join(f'{value}f' for value in values)})"
    for known in (INPUT_VARIANTS, CHANNEL_ORDERS):
        quoted = ", ".join(NAMED.get(str(value), f'"{value}"') for value in known)
        assert f"= listOf({quoted})\n" in source
    assert f"CONTRACT_MAJOR_VERSION = {CONTRACT_VERSION.split('.')[0]}\n" in source
    four = replace(contract, masks="low_res").signature("decoder").outputs[1].shape[1]
    assert f"MASK_COUNT = {four}\n" in source
