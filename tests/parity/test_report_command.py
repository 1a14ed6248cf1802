"""The command a report gives is one that the command line takes."""

from pathlib import Path

from parity.command import command_line


def test_only_what_was_asked_for_is_named() -> None:
    assert command_line([Path("exports/tflite-fp32")]) == "mobilesam parity exports/tflite-fp32"


def test_every_argument_is_named_and_quoted() -> None:
    line = command_line(
        [Path("a b"), Path("c")],
        images=Path("photos"),
        thresholds=Path("own.toml"),
        weights="my.pt",
        threads=2,
        measure=False,
        compute_units="cpu_only",
        gallery=True,
    )
    assert line == (
        "mobilesam parity 'a b' c --images photos --thresholds own.toml --weights my.pt "
        "--threads 2 --compute-units cpu_only --no-measure --gallery"
    )
