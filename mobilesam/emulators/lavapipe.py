"""A GPU: Mesa's lavapipe, a Vulkan driver that computes on the CPU.

Where this machine has a GPU with a Vulkan driver of its own, that one is used, and where the
environment names a driver (``VK_DRIVER_FILES``), that one. Else everything comes from Debian and
lies in one folder:

root/          Mesa 25, the Vulkan loader and the libraries that they load (Mesa 22.3, of Debian 12
               itself, is refused by LiteRT: it cannot index arrays of buffers dynamically)
libraries/     links to those of them that this machine lacks, or has in another version
driver.json    tells the Vulkan loader where the driver is
shaders/       shaders that were compiled before
"""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from mobilesam.emulators import debian
from mobilesam.emulators import folder as folder_of
from mobilesam.errors import MissingDependencyError
from mobilesam.files import write_whole

PACKAGES = {"mesa-vulkan-drivers": "bookworm-backports", "libvulkan1": "bookworm"}

LEAVE_OUT = ("libc6", "libgcc-s1", "libstdc++6", "gcc-12-base")
"""What a process has loaded already when it looks for Vulkan: it cannot be there twice."""

LEAST_GLIBC = (2, 36)
"""Of Debian 12, whose libraries are loaded."""

NAMING = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
"""Environment variables that name a Vulkan driver; the second is the first's older name."""

_DRIVER = "libvulkan_lvp.so"
_LINKED = (_DRIVER, "libvulkan.so.1", "libdrm.so.2", "libdrm_amdgpu.so.1")
"""Of one version with the driver, whatever this machine has."""

_DEVICES = ("/dev/dri/renderD*", "/dev/nvidiactl", "/dev/dxg", "/dev/mali0", "/dev/kgsl-3d0")
_MANIFESTS = ("/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d")


def missing() -> str:
    """What is not there, in one sentence; empty where something computes Vulkan."""
    home = folder_of("lavapipe")
    host = debian.host()
    if _own_driver():
        return ""
    unpacked = debian.is_unpacked(PACKAGES, home / "root", architecture=host, leave_out=LEAVE_OUT)
    if unpacked and (home / "driver.json").is_file():
        return ""
    return (
        "this machine has no GPU with a Vulkan driver, nor Mesa's lavapipe, which stands in for "
        "one: run 'mobilesam phones'"
    )


def set_up(*, say: debian.Said = lambda now: None) -> None:
    """Download and unpack lavapipe, unless this machine has a Vulkan driver of its own.

    Args:
        say: called with what is being done.

    Raises:
        MissingDependencyError: this is no Linux machine that Debian's libraries run on, or
            something cannot be downloaded or stored.
    """
    if _own_driver():
        return
    host = debian.require_host("lavapipe is set up")
    if _glibc() < LEAST_GLIBC:
        raise MissingDependencyError(
            "lavapipe needs a Linux of Debian 12's age or newer (glibc 2.36): this one has "
            f"{' '.join(platform.libc_ver())}"
        )
    home = folder_of("lavapipe")
    driver = home / "driver.json"
    driver.unlink(missing_ok=True)  # it is written last, when the rest is whole
    debian.unpack(PACKAGES, home / "root", architecture=host, leave_out=LEAVE_OUT, say=say)
    _link(home)
    # A path with a folder in it counts from where this file lies.
    named = {"library_path": f"libraries/{_DRIVER}", "api_version": "1.4.0"}
    write_whole(driver, json.dumps({"file_format_version": "1.0.0", "ICD": named}))


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that is to find a Vulkan driver.

    Args:
        inherited: the variables that it would have otherwise.
    """
    if _own_driver():
        return dict(inherited)
    home = folder_of("lavapipe")
    driver, libraries = str(home / "driver.json"), str(home / "libraries")
    paths = filter(None, [libraries, inherited.get("LD_LIBRARY_PATH")])
    return {
        "MESA_SHADER_CACHE_DIR": str(home / "shaders"),
        **inherited,
        **dict.fromkeys(NAMING, driver),
        "LD_LIBRARY_PATH": os.pathsep.join(paths),
    }


def _own_driver() -> bool:
    """Whether the environment names a driver, or a GPU and a driver for it are here."""
    if any(os.environ.get(name) for name in NAMING):
        return True
    devices = any(any(Path("/").glob(pattern[1:])) for pattern in _DEVICES)
    manifests = (path for folder in _MANIFESTS for path in Path(folder).glob("*.json"))
    return devices and any(not path.name.startswith("lvp") for path in manifests)


def _glibc() -> tuple[int, ...]:
    name, version = platform.libc_ver()
    return tuple(int(part) for part in version.split(".")) if name == "glibc" else ()


def _link(home: Path) -> None:
    """Fill ``libraries``: the driver, the loader, and whatever of theirs this machine lacks.

    What it has, the newer versions of another distribution say, is better left alone: Python
    itself may be linked to it.
    """
    there = {path.name: path for path in (home / "root").glob("**/lib*.so*")}
    made = home / "libraries"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    wanted = list(_LINKED)
    while wanted:
        for name in wanted:
            if name not in there:
                raise MissingDependencyError(
                    f"lavapipe needs the library {name}, which neither this machine nor lavapipe's "
                    "packages have: install it"
                )
            (made / name).symlink_to(Path("..") / there[name].relative_to(home))
        wanted = _not_found((made / _DRIVER, made / "libvulkan.so.1"), made)


def _not_found(libraries: Iterable[Path], folder: Path) -> list[str]:
    """Names of the libraries that these need and the dynamic linker does not find."""
    names: dict[str, None] = {}
    for library in libraries:
        done = subprocess.run(
            ["ldd", str(library)],
            env=os.environ | {"LD_LIBRARY_PATH": str(folder), "LC_ALL": "C"},
            capture_output=True,
            text=True,
        )
        for line in done.stdout.splitlines():
            name, _, place = line.strip().partition(" => ")
            if place == "not found":
                names[name] = None
    return list(names)
