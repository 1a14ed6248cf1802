"""Finding a Vulkan driver: the machine's own, one that is named, or lavapipe."""

from pathlib import Path

import pytest

from mobilesam.emulators import EMULATORS, debian, lavapipe
from mobilesam.errors import MissingDependencyError


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a GPU, on which nothing was set up."""
    monkeypatch.setenv("MOBILESAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lavapipe, "_DEVICES", ())
    for name in lavapipe.NAMING:
        monkeypatch.delenv(name, raising=False)


def test_it_is_an_emulator() -> None:
    assert "lavapipe" in EMULATORS


def test_a_bare_machine_is_told_what_to_run() -> None:
    assert "run 'mobilesam phones'" in lavapipe.missing()


@pytest.mark.parametrize("name", lavapipe.NAMING)
def test_a_named_driver_is_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/somewhere/driver.json")
    assert lavapipe.missing() == ""
    lavapipe.set_up()
    assert lavapipe.environment({"A": "1"}) == {"A": "1"}


@pytest.mark.parametrize(("driver", "own"), [("nvidia_icd.json", True), ("lvp_icd.json", False)])
def test_a_gpu_counts_with_a_driver_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: str, own: bool
) -> None:
    device = tmp_path / "renderD128"
    device.touch()
    monkeypatch.setattr(lavapipe, "_DEVICES", (f"{tmp_path}/renderD*",))
    manifests = tmp_path / "icd.d"
    monkeypatch.setattr(lavapipe, "_MANIFESTS", (str(manifests),))
    assert lavapipe.missing()  # no driver at all
    manifests.mkdir()
    (manifests / driver).touch()
    assert (lavapipe.missing() == "") is own


def test_a_process_finds_lavapipe_before_all_else(tmp_path: Path) -> None:
    home = tmp_path / "cache" / "emulators" / "lavapipe"
    variables = lavapipe.environment({"LD_LIBRARY_PATH": "/own", "PATH": "/bin"})
    assert variables["LD_LIBRARY_PATH"] == f"{home / 'libraries'}:/own"
    assert {variables[name] for name in lavapipe.NAMING} == {str(home / "driver.json")}
    assert variables["PATH"] == "/bin"
    assert variables["MESA_SHADER_CACHE_DIR"] == str(home / "shaders")
    kept = lavapipe.environment({"MESA_SHADER_CACHE_DIR": "/own"})
    assert kept["MESA_SHADER_CACHE_DIR"] == "/own"


def test_only_what_the_machine_lacks_is_linked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "cache" / "emulators" / "lavapipe"
    lacking = [["libLLVM.so"], ["libz3.so"], []]

    def unpack(packages: object, folder: Path, **_: object) -> dict[str, str]:
        (folder / "usr/lib").mkdir(parents=True)
        names = (*lavapipe._LINKED, "libLLVM.so", "libz3.so", "libz.so.1")
        for name in names:
            (folder / "usr/lib" / name).touch()
        return {}

    monkeypatch.setattr(debian, "unpack", unpack)
    monkeypatch.setattr(debian, "is_unpacked", lambda *_, **__: True)
    monkeypatch.setattr(lavapipe, "_not_found", lambda *_: lacking.pop(0))
    monkeypatch.setattr(lavapipe, "_glibc", lambda: (2, 36))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    lavapipe.set_up()
    linked = {path.name for path in (home / "libraries").iterdir()}
    assert linked == {*lavapipe._LINKED, "libLLVM.so", "libz3.so"}
    assert all(path.is_file() for path in (home / "libraries").iterdir())
    assert lavapipe.missing() == ""

    lacking[:] = [["libmissing.so"]]
    monkeypatch.setattr(debian, "unpack", lambda *_, **__: {})
    with pytest.raises(MissingDependencyError, match=r"needs the library libmissing\.so"):
        lavapipe.set_up()
    monkeypatch.setattr(debian, "is_unpacked", lambda *_, **__: True)
    assert lavapipe.missing()  # half of it is not taken for all


@pytest.mark.parametrize(
    ("system", "glibc", "reason"),
    [("darwin", (2, 36), "on Linux"), ("linux", (2, 31), "glibc 2.36"), ("linux", (), "glibc")],
)
def test_other_machines_are_told_why_not(
    monkeypatch: pytest.MonkeyPatch, system: str, glibc: tuple[int, ...], reason: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr(lavapipe, "_glibc", lambda: glibc)
    with pytest.raises(MissingDependencyError, match=reason):
        lavapipe.set_up()
