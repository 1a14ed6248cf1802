"""Edits of what files say of themselves, as a careless tool would make them."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mobilesam.bundle.manifest import MANIFEST_NAME, size_on_disk
from mobilesam.files import sha256_of
from mobilesam.runtimes.bundle import Bundle

Manifest = dict[str, Any]
FileEdit = Callable[[Path], None]


def edited(
    bundle: Bundle,
    folder: Path,
    component: str,
    edit: FileEdit | None = None,
    manifest_edit: Callable[[Manifest], object] = lambda _: None,
) -> Bundle:
    """A copy with a component's files edited, their digests renewed, then the manifest edited."""
    copy = Path(shutil.copytree(bundle.path, folder / "copy"))
    manifest: Manifest = json.loads((copy / MANIFEST_NAME).read_text())
    for record in manifest["files"]:
        path = copy / record["path"]
        if edit is not None and record["component"] == component:
            edit(path)
            record |= {"sha256": sha256_of(path), "size_bytes": size_on_disk(path)}
    manifest_edit(manifest)
    (copy / MANIFEST_NAME).write_text(json.dumps(manifest))
    return Bundle(copy)


def coreml(change: Callable[[Any], object]) -> FileEdit:
    """Change a package's specification."""

    def edit(path: Path) -> None:
        from coremltools.proto import Model_pb2

        file = path / "Data/com.apple.CoreML/model.mlmodel"
        spec = Model_pb2.Model.FromString(file.read_bytes())
        change(spec)
        file.write_bytes(spec.SerializeToString())

    return edit


def onnx(change: Callable[[Any], object]) -> FileEdit:
    """Change a model."""

    def edit(path: Path) -> None:
        from onnx import ModelProto

        model = ModelProto.FromString(path.read_bytes())
        change(model)
        path.write_bytes(model.SerializeToString())

    return edit


def tflite(change: Callable[[Any], object]) -> FileEdit:
    """Change a model's object tree."""

    def edit(path: Path) -> None:
        from converters.tflite.file import read_model, write_model

        model = read_model(path.read_bytes())
        change(model)
        path.write_bytes(write_model(model))

    return edit


def executorch(change: Callable[[bytearray], object]) -> FileEdit:
    """Change a program's bytes."""

    def edit(path: Path) -> None:
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(bytes(content))

    return edit


def coreai(module: torch.nn.Module, *names: str, outputs: Sequence[str], function: str) -> FileEdit:
    """Put an asset of another module, with inputs of two shapes, in place of one."""

    def edit(path: Path) -> None:
        import coreai.authoring  # noqa: F401  (before the converter)
        from coreai_torch import TorchConverter, get_decomp_table

        inputs = (torch.zeros(1, 3, 128, 128), torch.zeros(2))
        program = torch.export.export(module.eval(), inputs).run_decompositions(get_decomp_table())
        converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
        converter.add_exported_program(
            program, input_names=names, output_names=outputs, entrypoint_name=function
        ).to_coreai().save_asset(path)

    return edit


def coreai_facts(change: Callable[[Manifest], object]) -> FileEdit:
    """Change what an asset of Core AI says of its origin."""

    def edit(path: Path) -> None:
        about = json.loads((path / "metadata.json").read_text())
        change(about)
        (path / "metadata.json").write_text(json.dumps(about))

    return edit


def torchscript(source: str) -> FileEdit:
    """Put a module of other Python code in place of both archives."""

    def edit(path: Path) -> None:
        module = type("Planted", (torch.jit.ScriptModule,), {})()  # a type keeps its methods
        module.define(source + "\n")
        if path.suffix == ".ptl":
            module._save_for_lite_interpreter(str(path))
        else:
            torch.jit.save(module, str(path))

    return edit


def facts(**changes: str) -> FileEdit:
    """Change what a TorchScript archive says of its origin."""

    def edit(path: Path) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w") as changed:
            for entry in archive.infolist():
                content = archive.read(entry)
                if entry.filename.endswith("extra/contract.json"):
                    content = json.dumps(json.loads(content) | changes).encode()
                changed.writestr(entry, content)
        path.write_bytes(out.getvalue())

    return edit
