"""Where the apps' sources are, in a clone and in an installed package."""

from pathlib import Path

from mobilesam.errors import MissingDependencyError
from mobilesam.web.page import SOURCES, source_folder

SHIPPED = {
    "apps/android/README.md": "android/README.md",
    "apps/android/build.gradle.kts": "android/build.gradle.kts",
    "apps/android/settings.gradle.kts": "android/settings.gradle.kts",
    "apps/android/mobilesam/build.gradle.kts": "android/mobilesam/build.gradle.kts",
    "apps/android/mobilesam/src/main": "android/mobilesam/src/main",
    "apps/android/sample": "android/sample",
    "apps/apple/Sample": "apple/Sample",
    "apps/apple/Sources": "apple/Sources",
}
"""What a wheel holds of the apps: the path in a clone, and below ``mobilesam/apps/source``.

The page's sources are in ``mobilesam/web/source``.
"""

_CLONE = Path(__file__).resolve().parents[2]
_INSTALLED = Path(__file__).resolve().parent / "source"


def app_files(app: str) -> dict[str, Path]:
    """Files and folders of an app's sources, by their path within it.

    Args:
        app: ``android``, ``apple`` or ``web``.

    Raises:
        MissingDependencyError: they are not there.
    """
    if app == "web":
        folder = source_folder()
        return {name: folder / name for name in SOURCES}
    found = {}
    for cloned, shipped in SHIPPED.items():
        if shipped.startswith(f"{app}/"):
            places = (_CLONE / cloned, _INSTALLED / shipped)
            place = next((path for path in places if path.exists()), None)
            if place is None:
                raise MissingDependencyError(
                    f"the sources of the app are not there ('{shipped}'): install "
                    "mobilesam-export again, or use a clone of it"
                )
            found[shipped.removeprefix(f"{app}/")] = place
    return found
