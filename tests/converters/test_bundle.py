"""A bundle's files against its manifest: what is missing or altered is named."""

from pathlib import Path

import pytest

from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from tests.parity.fakes import demo_model, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(write_bundle(tmp_path / "b", demo_model()))


def test_files_as_exported_are_not_altered(bundle: Bundle) -> None:
    assert bundle.altered() == []
    bundle.require_files()
    bundle.verify()


def test_every_altered_file_is_named(bundle: Bundle) -> None:
    (bundle.path / "decoder.pt").write_text("replaced")
    assert bundle.altered() == ["decoder.pt"]
    with pytest.raises(BundleError, match="'decoder.pt' is not the file that was exported"):
        bundle.verify()
    (bundle.path / "encoder.pt").write_text("replaced too")
    assert bundle.altered() == ["encoder.pt", "decoder.pt"]
    bundle.require_files()  # they are there


def test_a_missing_file_is_named_whatever_is_asked(bundle: Bundle) -> None:
    (bundle.path / "decoder.pt").unlink()
    for ask in (
        bundle.require_files,
        bundle.altered,
        bundle.verify,
        lambda: bundle.file("decoder", "torchscript"),
    ):
        with pytest.raises(BundleError, match="decoder.pt' is missing, export the bundle again"):
            ask()
    assert bundle.file("encoder", "torchscript").is_file()
