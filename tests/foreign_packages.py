"""A folder in which a user keeps packages called as ours, and what they then ask of us."""

from pathlib import Path

FOREIGN = (
    *("training", "tools", "benchmarks", "tests"),
    *("coreml_evaluator", "converters", "mobilesam", "mobilesam_cli", "parity"),
)
"""Names that an import must not find where the user stands."""


def foreign_folder(path: Path) -> Path:
    """A new folder with a package of each name, which fails as soon as it is imported."""
    for name in FOREIGN:
        (path / name).mkdir(parents=True)
        sentence = f"the package '{name}' of the current folder was imported"
        (path / name / "__init__.py").write_text(f"raise ImportError({sentence!r})\n")
    return path


def commands_of(target: str, scheme: str, image_size: int) -> list[list[str]]:
    """Arguments of commands that start every kind of worker process, in order."""
    small = ["--image-size", str(image_size)]
    bundle = f"exports/{target}-{scheme}"
    photo = "examples/images/coffee.png"
    click = ["predict", photo, "--point", "290,150"]
    return [
        ["examples"],
        ["export", "--target", target, "--scheme", scheme, *small],
        [*click, *small],
        [*click, "--bundle", bundle, "--overlay", "overlay.png"],
        ["parity", "exports", "--images", "examples/images", "--report", "report"],
        ["evaluate", bundle, "--images", "examples", "--max-images", "1"],
        ["inspect", bundle],
        ["doctor"],
    ]
