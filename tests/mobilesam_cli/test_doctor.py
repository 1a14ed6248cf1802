"""The examination of environments that are not this one."""

from importlib import metadata

import pytest

from converters.schemes import TARGETS
from mobilesam.doctor import ROLES, examine
from mobilesam.errors import MissingDependencyError


def test_every_converter_and_runtime_has_a_role() -> None:
    for target in TARGETS.values():
        for package in target.packages:
            assert package in ROLES or package == "litert-converter", package


def test_every_target_s_extra_is_a_feature() -> None:
    features = {feature.name for feature in examine().features}
    assert {target.extra for target in TARGETS.values() if target.extra} <= features


def test_missing_and_untested_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version

    def version(name: str) -> str:
        if name == "coremltools":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "onnxruntime" else installed(name)

    monkeypatch.setattr("mobilesam.doctor.metadata.version", version)
    features = {feature.name: feature for feature in examine().features}
    assert not features["coreml"].usable
    assert features["coreml"].install == 'pip install "mobilesam-export[coreml]"'
    assert features["coreml"].packages[0].state == "missing"
    states = {package.name: package.state for package in features["onnx"].packages}
    assert states["onnxruntime"] == "untested version"
    assert features["onnx"].usable, "another version may well work"
    assert features["base"].usable


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("mobilesam.doctor.metadata.distribution", distribution)
    with pytest.raises(MissingDependencyError, match="is not installed in this environment"):
        examine()
