"""The key of an export sees every choice, and of the code what makes bundles and nothing else."""

import shutil
from pathlib import Path

import grimp
import pytest
import torch

from converters.coreml.options import CoreMLOptions
from converters.provenance import SOURCES, export_key, source_digest, weights_record
from converters.schemes import TARGETS
from mobilesam.bundle.contract import Contract
from mobilesam.model.sam import MobileSAM
from mobilesam.weights.checkpoints import WeightsInfo, tensors_sha256
from tests.specs import make_spec
from tests.tiny_bundles import make_tiny_model

PACKAGES = ("coreml_evaluator", "mobilesam", "converters", "parity", "mobilesam_cli")


@pytest.fixture(scope="module")
def copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages' code, to be changed: a digest is remembered by its folder."""
    root = tmp_path_factory.mktemp("code")
    for package in PACKAGES:
        for path in (repository / package).rglob("*.py"):
            copied = root / path.relative_to(repository)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
    return root


def digest_with(copy: Path, changed: str) -> str:
    """The digest of the code with a comment more in one file."""
    path = copy / changed
    before = path.read_text("utf-8")
    path.write_text(before + "# changed\n", "utf-8")
    try:
        source_digest.cache_clear()
        return source_digest(copy)
    finally:
        path.write_text(before, "utf-8")
        source_digest.cache_clear()


@pytest.mark.parametrize(
    "changed",
    [
        "mobilesam_cli/export.py",
        "mobilesam_cli/options.py",
        "mobilesam/runtimes/base.py",
        "mobilesam/training/trainer.py",
        "mobilesam/inference/drawing.py",
        "mobilesam/progress.py",
        "parity/__init__.py",
    ],
)
def test_other_code_leaves_bundles_unchanged(copy: Path, changed: str) -> None:
    assert digest_with(copy, changed) == source_digest()


@pytest.mark.parametrize(
    "changed",
    [
        "converters/torchscript.py",
        "converters/coreml/compression.py",
        "coreml_evaluator/ops/products.py",
        "mobilesam/model/tiny_vit.py",
        "mobilesam/bundle/contract.py",
        "mobilesam/inference/transforms.py",
        "mobilesam/weights/checkpoints.py",
        "mobilesam/data/sample_photos.py",
    ],
)
def test_code_that_makes_bundles_changes_the_key(copy: Path, changed: str) -> None:
    assert digest_with(copy, changed) != source_digest()


def test_every_module_that_makes_bundles_is_among_the_sources() -> None:
    graph = grimp.build_graph("converters", "mobilesam", "coreml_evaluator", cache_dir=None)
    for lazy in graph.find_modules_directly_imported_by("mobilesam"):  # when asked for alone
        graph.remove_import(importer="mobilesam", imported=lazy)
    model = "mobilesam.model.build"  # whose modules a worker unpickles
    makers = {"converters.worker", model, *(row.module for row in TARGETS.values())}
    used = makers.union(*(graph.find_upstream_modules(module) for module in makers))
    for module in used:
        path = module.replace(".", "/")
        within = {path, f"{path}.py", f"{path}/__init__.py"} | {
            path[:end] for end, character in enumerate(path) if character == "/"
        }
        assert within & {*SOURCES}, f"{module} makes bundles and is not in SOURCES"


@pytest.mark.parametrize("change", ["slots", "variant", "ios", "input", "target", "scheme"])
def test_the_export_key_sees_every_choice(tiny_model: MobileSAM, change: str) -> None:
    def key(
        target: str = "coreml",
        scheme: str = "fp32",
        options: CoreMLOptions | None = None,
        **contract: object,
    ) -> str:
        made = Contract.of(tiny_model, **contract)  # type: ignore[arg-type]
        return export_key(make_spec(tiny_model, target, scheme, contract=made, options=options))

    changed = {
        "slots": lambda: key(slots=9),
        "variant": lambda: key(input_variant="normalized"),
        "ios": lambda: key(options=CoreMLOptions(ios=17)),
        "input": lambda: key(options=CoreMLOptions(input="image")),
        "target": lambda: key(target="onnx"),
        "scheme": lambda: key(scheme="fp16"),
    }
    assert key() == key()
    assert changed[change]() != key()


def test_changed_weights_do_not_keep_their_name() -> None:
    model = make_tiny_model()
    sha256 = tensors_sha256(model.state_dict())
    model.weights = WeightsInfo("official", "somewhere", sha256, "Apache-2.0", "text")
    assert weights_record(model).name == "official"
    with torch.no_grad():
        model.mask_decoder.iou_token.weight += 1
    assert weights_record(model).name == "in-memory"
    assert "official" in weights_record(model).source
