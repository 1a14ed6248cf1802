"""The folder that `mobilesam web` writes, and its server."""

import json
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import pytest
import typer.testing

from mobilesam.apps.sources import SHIPPED
from mobilesam.errors import BundleError, InputError, MissingDependencyError
from mobilesam.files import sha256_of
from mobilesam.runtimes.bundle import Bundle
from mobilesam.web import page as page_module
from mobilesam.web.page import built_page
from mobilesam.web.server import serving
from mobilesam.web.site import write_site
from mobilesam_cli import app
from tests.tiny_bundles import tiny_bundle
from tests.web.browsers import served


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """What stands in for a built page."""
    folder = tmp_path / "dist"
    for name in ("index.html", ".built", "litert/litert.wasm", "onnx/ort.wasm", "worker/onnx.js"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")
    return folder


@pytest.fixture(scope="module")
def onnx() -> Bundle:
    return tiny_bundle("onnx")


def asked(address: str) -> tuple[int, Message, bytes]:
    """Status, headers and body of an answer."""
    try:
        with urllib.request.urlopen(address) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, b""


def test_site_holds_what_its_bundles_need(page: Path, onnx: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "site"
    write_site([onnx, onnx], page, out)
    listed = json.loads((out / "bundles.json").read_text("utf-8"))
    assert [entry["name"] for entry in listed["bundles"]] == ["onnx-fp32", "onnx-fp32-2"]
    for entry in listed["bundles"]:
        folder = Bundle(out / entry["folder"])
        folder.verify()
        assert entry["sizeBytes"] == onnx.size_bytes("onnxruntime")
    assert listed["example"] is (out / "example.png").is_file()
    assert (out / "onnx" / "ort.wasm").is_file()
    assert not (out / "litert").exists() and not (out / ".built").exists()
    assert "Cross-Origin-Opener-Policy: same-origin" in (out / "_headers").read_text("utf-8")
    with pytest.raises(InputError, match="not empty"):
        write_site([onnx], page, out)


def test_what_no_browser_runs_is_refused(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torchscript = tiny_bundle("torchscript")
    with pytest.raises(BundleError, match="torchscript bundle, which no browser runs"):
        write_site([torchscript], page, tmp_path / "site")
    assert not (tmp_path / "site").exists()
    of_sam = Bundle(tiny_bundle("onnx").path)
    of_sam.manifest = of_sam.manifest.model_copy(update={"interface": "sam"})
    with pytest.raises(BundleError, match="which the page does not ask"):
        write_site([of_sam], page, tmp_path / "site")
    told = typer.testing.CliRunner().invoke(app, ["web", str(torchscript.path), "--no-serve"])
    assert told.exit_code == 2
    arguments = ["web", str(torchscript.path), "--out", str(tmp_path / "site"), "--no-serve"]
    told = typer.testing.CliRunner().invoke(app, arguments)
    assert told.exit_code == 2 and "no browser runs" in told.stderr


def test_only_the_folder_is_served(page: Path, onnx: Bundle, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    write_site([onnx], page, tmp_path / "site")
    with served(tmp_path / "site") as address:
        status, headers, body = asked(address)
        assert (status, body) == (200, b"index.html")
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        status, headers, _ = asked(f"{address}onnx/ort.wasm")
        assert (status, headers["Content-Type"]) == (200, "application/wasm")
        status, headers, body = asked(f"{address}bundles/onnx-fp32/manifest.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert asked(f"{address}bundles/")[0] == 404
        assert asked(f"{address}../secret.txt")[0] == 404
        assert asked(f"{address}%2e%2e/secret.txt")[0] == 404


def test_port_in_use_is_said(tmp_path: Path) -> None:
    with serving(tmp_path, 0) as server:
        port = server.server_address[1]
        assert server.server_address[0] == "127.0.0.1"
        with pytest.raises(InputError, match=f"port {port} is in use"), serving(tmp_path, port):
            pass


def test_missing_npm_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _sources(tmp_path / "source")
    monkeypatch.setattr(page_module, "_CLONE", tmp_path / "no clone")
    monkeypatch.setattr(page_module, "_SHIPPED", source)
    monkeypatch.setenv("MOBILESAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"npm, which is not installed"):
        built_page()
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'registry not found' >&2\nexit 1\n", "utf-8")
    npm.chmod(0o755)
    with pytest.raises(MissingDependencyError, match=r"'npm ci .*registry not found"):
        built_page()
    npm.unlink()
    with pytest.raises(MissingDependencyError, match="registry not found"):
        built_page()
    page_module._failed.clear()  # as in another process
    npm.write_text('#!/bin/sh\n[ "$1" = ci ] || /bin/mkdir -p dist\n', "utf-8")
    npm.chmod(0o755)
    made = built_page()
    assert made == tmp_path / "cache" / "web" / "dist"
    assert sha256_of(made.parent / "src") == sha256_of(source / "src")
    npm.unlink()
    assert built_page() == made, "built once"
    (source / "src" / "app.ts").write_text("changed", "utf-8")
    with pytest.raises(MissingDependencyError, match="npm"):
        built_page()


def _sources(folder: Path) -> Path:
    for name in page_module.SOURCES:
        path = folder / name
        if "." in name:
            path.write_text("{}", "utf-8")
        else:
            path.mkdir(parents=True)
            (path / "app.ts").write_text("", "utf-8")
    return folder


def test_the_wheel_holds_the_sources(repository: Path) -> None:
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {
        **{f"apps/web/{name}": f"mobilesam/web/source/{name}" for name in page_module.SOURCES},
        **{path: f"mobilesam/apps/source/{place}" for path, place in SHIPPED.items()},
    }
    for path in included:
        assert (repository / path).exists()
