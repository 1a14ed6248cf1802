"""The drawing of imports: no room imports from one in front of it, and importing loads little."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]
ROOMS: list[str] = SETTINGS["importlinter"]["root_packages"]
HEAVY = (
    "ai_edge_litert",
    "ai_edge_quantizer",
    "coreai",
    "coreai_opt",
    "coreai_torch",
    "coremltools",
    "executorch",
    "jax",
    "litert_torch",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "tensorflow",
    "torchao",
)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the packages in a folder, by this project's contracts."""
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
        + ["--no-cache", str(REPOSITORY / "pyproject.toml")],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "", "PYTHONUTF8": "1"},
    )


def modules_of(room: str) -> list[str]:
    """Dotted names of every module of a room."""
    parts = (
        path.relative_to(REPOSITORY).with_suffix("").parts
        for path in sorted((REPOSITORY / room).rglob("*.py"))
    )
    return [".".join(part for part in names if part != "__init__") for names in parts]


def loaded_after(statement: str) -> set[str]:
    """Top-level packages in `sys.modules` after `statement` in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_contracts_of_the_rooms_are_kept() -> None:
    done = lint_imports(REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("mobilesam/errors.py", "parity.metrics"),
        ("coreml_evaluator/errors.py", "mobilesam.errors"),
        ("converters/plan.py", "mobilesam_cli.options"),
        ("mobilesam/model/layers.py", "mobilesam.bundle.contract"),
    ],
)
def test_an_import_against_the_arrow_is_found(tmp_path: Path, module: str, imported: str) -> None:
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            copy = tmp_path / path.relative_to(REPOSITORY)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text("utf-8"), "utf-8")
    wrong = f"\n\ndef late() -> None:\n    import {imported}\n"
    (tmp_path / module).write_text((tmp_path / module).read_text("utf-8") + wrong, "utf-8")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert imported in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "import mobilesam",
        "from mobilesam import SAM, Predictor, load_model",
        "import converters, parity, mobilesam_cli",
        "import " + ", ".join(modules_of("mobilesam_cli")),
    ],
    ids=["package", "names", "other rooms", "every command"],
)
def test_importing_loads_no_converter_or_runtime(statement: str) -> None:
    loaded = loaded_after(statement)
    assert "mobilesam" in loaded or "converters" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("statement", ["import mobilesam", "import mobilesam_cli", "import parity"])
def test_importing_does_not_wait_for_torch(statement: str) -> None:
    loaded = loaded_after(statement)
    assert "torch" not in loaded and "converters" not in loaded


def test_importing_converters_loads_neither_torch_nor_the_model() -> None:
    assert not loaded_after("import converters") & {"torch", "mobilesam"}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_typed_packages(room: str) -> None:
    assert (REPOSITORY / room / "__init__.py").is_file()
    assert (REPOSITORY / room / "py.typed").is_file()


def test_the_wheel_has_every_room_and_no_more() -> None:
    assert sorted(SETTINGS["hatch"]["build"]["targets"]["wheel"]["packages"]) == sorted(ROOMS)
