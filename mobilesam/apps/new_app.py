"""The sample app of a platform, with a bundle in it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from mobilesam.apps import android_page, ios_page, web_page
from mobilesam.apps.layout import Listed
from mobilesam.apps.sources import app_files
from mobilesam.bundle.manifest import MANIFEST_NAME, BundleFolder
from mobilesam.files import new_folder
from mobilesam.web.site import runtime_of, write_bundles

Platform = Literal["ios", "android", "web"]

_ANDROID = """\
# A sample app with {name}

Open this folder in Android Studio and run `sample`: choose a photo, tap what you want or drag a box
around it. The bundle lies in [{name}](sample/src/main/assets/{name}); the Kotlin library that runs
it is the module [mobilesam](mobilesam). Neither Gradle files nor sample were built where they were
written.

"""

_IOS = """\
# A sample app with {name}

In Xcode, make a new iOS app with SwiftUI and delete the two files it begins with. Drag the files of
[Sample](Sample) into it, and its folder [{name}](Sample/{name}) as a folder reference. Add the
package [MobileSAM](MobileSAM) by File > Add Package Dependencies > Add Local. Then run it on a
phone: choose a photo, tap what you want or drag a box around it. The sample was not built where it
was written.

"""

_WEB = """\
# A page with {name}

    npm ci --ignore-scripts
    npm run build
    cp -r public/. dist

builds the page with the bundle into `dist`, static files for any web host; `python -m http.server
--directory dist` serves it on http://localhost:8000. A host should send the headers of
[public/_headers](public/_headers), so that the page may use threads. The sources are in [src](src);
the arithmetic around the files is [src/mobilesam.ts](src/mobilesam.ts), which needs nothing else.

"""

_PACKAGE = """\
// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "MobileSAM",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "MobileSAM", targets: ["MobileSAM"])],
    targets: [.target(name: "MobileSAM", path: "Sources/MobileSAM")]
)
"""

SAMPLE_BUNDLES = {
    "android": ("sample/src/main/kotlin/mobilesam/sample/SampleActivity.kt", '"tflite-fp16"'),
    "ios": ("Sample/SegmentationView.swift", '"coreml-fp16"'),
}
"""The file of each sample that names its bundle, and how it does."""


def new_app(platform: Platform, bundle: BundleFolder, out: Path) -> None:
    """Write a platform's sample app with a bundle to a new folder, all or nothing.

    Args:
        bundle: one that the platform's runtime and library run.
        out: a folder that is not there yet, or is empty.

    Raises:
        BundleError: the sample does not run the bundle, or a file is missing or altered.
        InputError: the folder cannot be used.
        MissingDependencyError: the sample's sources are not installed.
    """
    require, write = _APPS[platform]
    require(bundle)
    bundle.verify()
    with new_folder(out) as made:
        write(bundle, made)


def copy_bundle(bundle: BundleFolder, folder: Path) -> None:
    """Copy a bundle as it is, without the log of its export, which names folders of a machine."""
    folder.mkdir(parents=True)
    names = {record.path for record in bundle.manifest.files}
    for name in (MANIFEST_NAME, *sorted(names)):
        source, target = bundle.path / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.is_file():
            shutil.copyfile(source, target)


def _android(bundle: BundleFolder, made: Path) -> None:
    _copy("android", made)
    gradle = made / "mobilesam/build.gradle.kts"
    # Its tests, which read a file of the clone, stay there.
    gradle.write_text(gradle.read_text("utf-8").partition("\ntasks.withType<Test>")[0], "utf-8")
    assets = "sample/src/main/assets"
    copy_bundle(bundle, made / assets / bundle.name)
    _name_bundle("android", bundle, made)
    each = Listed(bundle.name, f"{assets}/{bundle.name}", bundle)
    _write_readme(
        made, _ANDROID.format(name=bundle.name), android_page.page([each], beside_sample=True)
    )


def _ios(bundle: BundleFolder, made: Path) -> None:
    _copy("apple", made)
    (made / "MobileSAM").mkdir()
    (made / "Sources").rename(made / "MobileSAM/Sources")
    (made / "MobileSAM/Package.swift").write_text(_PACKAGE, "utf-8")
    copy_bundle(bundle, made / "Sample" / bundle.name)
    # Usage.swift is the documents' code, of a bundle that is not here.
    (made / "Sample/Usage.swift").unlink()
    _name_bundle("ios", bundle, made)
    each = Listed(bundle.name, f"Sample/{bundle.name}", bundle)
    _write_readme(made, _IOS.format(name=bundle.name), ios_page.page([each], beside_sample=True))


def _web(bundle: BundleFolder, made: Path) -> None:
    _copy("web", made)
    write_bundles([bundle], made / "public")
    each = Listed(bundle.name, f"public/bundles/{bundle.name}", bundle)
    code = web_page.page([each], with_page=False).replace("code/mobilesam.ts", "src/mobilesam.ts")
    _write_readme(made, _WEB.format(name=bundle.name), code)


def _copy(app: str, made: Path) -> None:
    for name, source in app_files(app).items():
        target = made / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("build", ".gradle"))
        else:
            shutil.copyfile(source, target)


def _name_bundle(platform: str, bundle: BundleFolder, made: Path) -> None:
    name, said = SAMPLE_BUNDLES[platform]
    text = (made / name).read_text("utf-8")
    assert text.count(said) == 1, f"{name} names its bundle {text.count(said)} times"
    (made / name).write_text(text.replace(said, f'"{bundle.name}"'), "utf-8")


def _write_readme(made: Path, head: str, code: str) -> None:
    # The page of code begins with a title of its own, which becomes a section.
    (made / "README.md").write_text(head + code.replace("# ", "## ", 1), "utf-8")


def _require_browser(bundle: BundleFolder) -> None:
    runtime_of(bundle)


_APPS: dict[str, tuple[Callable[[BundleFolder], None], Callable[[BundleFolder, Path], None]]] = {
    "android": (android_page.require_fit, _android),
    "ios": (ios_page.require_fit, _ios),
    "web": (_require_browser, _web),
}
