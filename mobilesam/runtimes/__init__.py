"""One runner per runtime. Adding one is one file here and one row of :mod:`.table`."""

import importlib

from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.bundle.manifest import BundleFolder
from mobilesam.errors import BundleError, InputError, MissingDependencyError
from mobilesam.runtimes.checked import CheckedRunner, native_banners_silenced
from mobilesam.runtimes.table import RUNNERS, files_of

_OWN_PACKAGES = ("mobilesam", "coreml_evaluator")


def runner_class(runtime: str) -> type[CheckedRunner]:
    """The class that runs files of a runtime, imported now.

    Raises:
        InputError: unknown runtime.
        MissingDependencyError: its library is not installed.
    """
    if runtime not in RUNNERS:
        raise InputError(f"unknown runtime '{runtime}', known: {', '.join(RUNNERS)}")
    row = RUNNERS[runtime]
    try:
        with native_banners_silenced():
            module = importlib.import_module(f"{__name__}.{row.module}")
    except ImportError as error:
        if row.extra is None or (error.name or "").partition(".")[0] in _OWN_PACKAGES:
            raise
        missing = f" ({error.name})" if error.name else ""
        raise MissingDependencyError(
            f"the runtime '{runtime}' is not installed{missing}: "
            f'pip install "mobilesam-export[{row.extra}]"'
        ) from error
    found: type[CheckedRunner] = getattr(module, row.class_name)
    return found


def open_runner(
    bundle: BundleFolder,
    runtime: str,
    *,
    threads: int | None = None,
    components: tuple[Component, ...] = COMPONENTS,
    **options: str | None,
) -> CheckedRunner:
    """A runner of a bundle's files on one of its runtimes, to be used with ``with``.

    Args:
        bundle: the opened bundle.
        runtime: one of ``bundle.runtimes``, or one that runs the files of one of them.
        threads: threads the runtime may use; None leaves its default.
        components: which files to load.
        options: of the runner; Core ML has ``compute_units``.

    Raises:
        InputError: unknown runtime.
        MissingDependencyError: its library, or what it runs on, is not installed; the message says
            how to get it.
        BundleError: the bundle has no files for it.
    """
    kind = runner_class(runtime)
    if files_of(runtime) not in bundle.runtimes:
        raise BundleError(
            f"{bundle.path} has no files for '{runtime}', only for {', '.join(bundle.runtimes)}"
        )
    kind.require()
    return kind(bundle, threads=threads, components=components, **options)
