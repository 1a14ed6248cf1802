"""The house rules that no other test would notice: import direction, light imports, small files."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("mobilesam", "coreml_evaluator", "converters", "parity", "mixed_precision", "training")
# What each room may not import; the front door alone is excused, inside functions.
FORBIDDEN = {
    "mobilesam": {"coreml_evaluator", "converters", "parity", "mixed_precision", "training"},
    "coreml_evaluator": {"converters", "parity", "mixed_precision", "training"},
    "converters": {"parity", "mixed_precision", "training"},
    "parity": {"mixed_precision", "training"},
    "mixed_precision": {"training"},
    "training": {"coreml_evaluator", "converters", "parity", "mixed_precision"},
}
FRONT_DOOR = ("mobilesam/cli.py", "mobilesam/cli/")
HEAVY = (
    "ai_edge_litert",
    "ai_edge_quantizer",
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
MAX_LINES = 400


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py"))


def modules_of(room: str) -> list[str]:
    """Dotted names of every module of a room, its front door included."""
    parts = (path.relative_to(REPOSITORY).with_suffix("").parts for path in python_files(room))
    return [".".join(part for part in names if part != "__init__") for names in parts]


def is_deferred(node: ast.AST) -> bool:
    """Whether importing the module does not run what is inside `node`."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def imports_of(tree: ast.AST, *, top_level_only: bool = False) -> Iterator[str]:
    """Names of the top-level packages that a module imports, at whatever depth."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: write the package's name"
            yield (node.module or "").partition(".")[0]
        elif not (top_level_only and is_deferred(node)):
            yield from imports_of(node, top_level_only=top_level_only)


def loaded_after(statement: str) -> set[str]:
    """Top-level packages in `sys.modules` after `statement` in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_with_the_arrow(room: str) -> None:
    files = python_files(room)
    assert files, f"{room}/ holds no module"
    for path in files:
        name = path.relative_to(REPOSITORY).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = set(imports_of(tree, top_level_only=name.startswith(FRONT_DOOR)))
        assert not found & FORBIDDEN[room], f"{name} imports {found & FORBIDDEN[room]}"


def test_import_scanner_sees_functions_and_skips_them_on_request() -> None:
    tree = ast.parse(
        "import a.b\ndef f():\n    from parity.x import y\nif a:\n    import c\n"
        "if TYPE_CHECKING:\n    import converters"
    )
    assert set(imports_of(tree)) == {"a", "parity", "c", "converters"}
    assert set(imports_of(tree, top_level_only=True)) == {"a", "c"}


@pytest.mark.parametrize(
    "statement",
    [
        "import mobilesam",
        "from mobilesam import Predictor, load_model",
        "import converters, parity, training",
        "import " + ", ".join(modules_of("mobilesam")),
    ],
    ids=["package", "names", "other rooms", "every module"],
)
def test_importing_loads_no_converter_or_runtime(statement: str) -> None:
    loaded = loaded_after(statement)
    assert "mobilesam" in loaded or "converters" in loaded
    assert not loaded & set(HEAVY)


def test_importing_mobilesam_does_not_wait_for_torch() -> None:
    assert "torch" not in loaded_after("import mobilesam")


def test_no_file_is_long() -> None:
    files = python_files(*ROOMS, "tests", "mobile_runtime_tests")
    lengths = {
        path.relative_to(REPOSITORY).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in files
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_typed_packages(room: str) -> None:
    assert (REPOSITORY / room / "__init__.py").is_file()
    assert (REPOSITORY / room / "py.typed").is_file()
