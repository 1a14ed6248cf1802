"""Prompts on the command line: points, labels, boxes, and several objects of one photo."""

from typing import Annotated, NamedTuple

import typer

from mobilesam.errors import InputError

Points = Annotated[
    list[str] | None,
    typer.Option(metavar="X,Y", help="A point in pixels of the photo; several are one object's."),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="1|0",
        help="1 foreground, 0 background; one for each point.",
        show_default="all 1",
    ),
]
Box = Annotated[
    list[str] | None, typer.Option(metavar="X1,Y1,X2,Y2", help="A box in pixels of the photo.")
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="X1,Y1,X2,Y2", help="A box in pixels of the photo; several are an object each."
    ),
]
Objects = Annotated[
    list[str] | None,
    typer.Option(
        "--object",
        metavar="PROMPT",
        help="One object's prompt: points X,Y or X,Y,LABEL and a box X1,Y1,X2,Y2, with spaces "
        "between; once for each object.",
    ),
]


class Typed(NamedTuple):
    """A prompt as typed: points (x, y), labels, and a box (x1, y1, x2, y2), unchecked numbers."""

    points: list[list[float]]
    labels: list[float]
    box: list[float] | None


def numbers(text: str, names: str, option: str) -> list[float]:
    """The numbers of an option such as ``--point 320,240``.

    Args:
        text: what was typed.
        names: what is wanted, such as ``x,y``.
        option: its name, for the error.

    Raises:
        InputError: other than as many comma-separated numbers as there are names.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != names.count(",") + 1:
        raise InputError(f"{option} takes numbers as {names}, not '{text}'")
    return values


def typed_prompt(point: list[str] | None, label: list[str] | None, box: list[str] | None) -> Typed:
    """The numbers of ``--point``, ``--label`` and ``--box``.

    Raises:
        InputError: one of them is not made of as many numbers as it takes, or there are several
            boxes.
    """
    if box and len(box) > 1:
        raise InputError(f"--box was given {len(box)} times, and one prompt has one box: give one")
    labels = [part for value in label or () for part in value.split(",")]
    return Typed(
        points=[numbers(text, "x,y", "--point") for text in point or ()],
        labels=[numbers(text, "1 or 0", "--label")[0] for text in labels],
        box=numbers(box[0], "x1,y1,x2,y2", "--box") if box else None,
    )


def typed_objects(
    point: list[str] | None,
    label: list[str] | None,
    box: list[str] | None,
    several: list[str] | None = None,
) -> list[Typed]:
    """A prompt for each object: of each ``--object``, or of each box; else all is one prompt.

    Raises:
        InputError: as of :func:`typed_prompt`; an ``--object`` that is no prompt, or beside other
            options; or points beside several boxes.
    """
    if several:
        if point or label or box:
            raise InputError(
                "--object has the whole prompt of one object: write its points and box in it, "
                "without --point, --label and --box"
            )
        return [_object(text) for text in several]
    if not box or len(box) == 1:
        return [typed_prompt(point, label, box)]
    if point or label:
        raise InputError(
            f"{len(box)} boxes are {len(box)} objects, and which of them a point is for cannot be "
            "told: give boxes alone, or each object's box and points together, as in "
            f"--object '{box[0]} X,Y'"
        )
    return [typed_prompt(None, None, [each]) for each in box]


def _object(text: str) -> Typed:
    """The prompt of one object, such as ``320,240 10,10,0 5,5,400,300``."""
    found = Typed([], [], None)
    for part in text.split():
        count = part.count(",") + 1
        if count == 4:
            if found.box is not None:
                raise InputError(f"--object '{text}' has two boxes, and an object has one")
            found = found._replace(box=numbers(part, "x1,y1,x2,y2", "a box of --object"))
            continue
        names = "x,y,label" if count == 3 else "x,y"
        x, y, *label = numbers(part, names, "a point of --object")
        found.points.append([x, y])
        found.labels.append(label[0] if label else 1.0)
    return found
