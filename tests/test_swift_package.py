"""The Swift package, as far as it can be checked without a Mac: its constants are the contract's.

Where a Swift toolchain is installed, its tests of the arithmetic are run too.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mobilesam.bundle.contract import COMPONENTS, CONTRACT_VERSION, LABELS, Contract
from mobilesam.inference.transforms import PIXEL_MEAN, PIXEL_STD
from mobilesam.model import point_labels

CONTRACT = Contract(1024, 16, 256, "pixels", 8)


@pytest.fixture(scope="module")
def package(repository: Path) -> Path:
    return repository / "apps" / "apple"


@pytest.fixture(scope="module")
def contract_swift(package: Path) -> str:
    return (package / "Sources" / "MobileSAM" / "Contract.swift").read_text("utf-8")


def enum_of(source: str, name: str) -> dict[str, str]:
    """Names and literals of an enum's static constants."""
    body = re.search(rf"^enum {name} \{{\n(.*?)^\}}", source, re.DOTALL | re.MULTILINE)
    assert body, f"Contract.swift has no enum {name}"
    return dict(re.findall(r"static let (\w+)(?:: \S+)? = (.+)", body[1]))


def camel(name: str) -> str:
    """``PADDING_POINT`` or ``valid_size`` as Swift writes it."""
    first, *rest = name.lower().split("_")
    return first + "".join(part.capitalize() for part in rest)


def test_tensor_names_are_the_contract_s(contract_swift: str) -> None:
    signatures = [CONTRACT.signature(component) for component in COMPONENTS]
    names = {spec.name for s in signatures for spec in (*s.inputs, *s.outputs)}
    expected = {camel(name): f'"{name}"' for name in names}
    assert enum_of(contract_swift, "TensorName") == expected


def test_slot_labels_are_the_contract_s(contract_swift: str) -> None:
    names = (
        *("FOREGROUND", "BACKGROUND", "BOX_TOP_LEFT", "BOX_BOTTOM_RIGHT"),
        *("PADDING_POINT", "UNUSED_SLOT"),
    )
    expected = {camel(name): str(getattr(point_labels, name)) for name in names}
    assert {int(value) for value in expected.values()} == set(LABELS)
    assert enum_of(contract_swift, "SlotLabel") == expected


def test_constants_are_the_library_s(contract_swift: str) -> None:
    found = enum_of(contract_swift, "PixelStatistics")
    assert found == {"mean": str(list(PIXEL_MEAN)), "std": str(list(PIXEL_STD))}
    major = CONTRACT_VERSION.split(".")[0]
    assert re.search(rf"^let contractMajorVersion = {major}$", contract_swift, re.MULTILINE)
    masks = CONTRACT.signature("decoder").outputs[1].shape[1]
    assert re.search(rf"^let maskCount = {masks}$", contract_swift, re.MULTILINE)


def test_sources_name_tensors_by_the_constants_only(package: Path) -> None:
    names = {spec.name for c in COMPONENTS for spec in CONTRACT.signature(c).inputs}
    for path in (package / "Sources").rglob("*.swift"):
        if path.name not in ("Contract.swift", "Manifest.swift"):  # an option's value is "image"
            literals = set(re.findall(r'"(\w+)"', path.read_text("utf-8")))
            assert not literals & names, f"{path.name} spells a tensor's name"


def test_manifest_reads_fields_that_manifests_have(package: Path) -> None:
    """All but those that newer toolkits add, which Swift must then take as optional."""
    from mobilesam.bundle.manifest import FileRecord, Manifest

    source = (package / "Sources" / "MobileSAM" / "Manifest.swift").read_text("utf-8")
    keys = re.search(r"private enum CodingKeys: String, CodingKey \{\n(.*?)\n    \}", source, re.S)
    assert keys
    swift_names: dict[str, str] = {}
    for line in keys[1].splitlines():
        renamed = re.fullmatch(r'\s+case (\w+) = "(\w+)"', line)
        plain = re.fullmatch(r"\s+case ([\w, ]+)", line)
        assert renamed or plain, line
        if renamed:
            swift_names[renamed[2]] = renamed[1]
        elif plain:
            swift_names |= {name: name for name in plain[1].split(", ")}
    assert len(swift_names) >= 10
    for field in swift_names.keys() - Manifest.model_fields.keys():
        kind = re.search(rf"let {swift_names[field]}: (\S+)", source)
        assert kind and kind[1].endswith("?"), f"manifests have no '{field}'"
    for field in re.findall(r"let (\w+): \S+[^?]$", struct_of(source, "File"), re.MULTILINE):
        assert field in FileRecord.model_fields


def struct_of(source: str, name: str) -> str:
    """The body of a nested struct."""
    body = re.search(rf"    public struct {name}: .*?\{{\n(.*?)\n    \}}", source, re.DOTALL)
    assert body, f"no struct {name}"
    return body[1]


def test_the_package_s_paths_exist(repository: Path) -> None:
    text = (repository / "Package.swift").read_text("utf-8")
    assert re.match(r"// swift-tools-version:5\.\d+\n", text)
    paths = re.findall(r'path: "([^"]+)"', text)
    assert len(paths) == 2
    for path in paths:
        assert list((repository / path).glob("*.swift")), path
    (fixtures,) = re.findall(r'\.copy\("([^"]+)"\)', text)
    # A folder of the name "Resources" at a bundle's top cannot be signed for iOS.
    assert fixtures != "Resources"
    assert (repository / paths[1] / fixtures / "vectors.json").is_file()


@pytest.mark.skipif(shutil.which("swiftc") is None, reason="needs a Swift toolchain")
def test_the_arithmetic_in_swift(repository: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["swift", "test", "--package-path", str(repository), "--scratch-path", str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VectorTests" in done.stdout + done.stderr
