"""The first thing that is wrong with a file, where pydantic has checked it against a model."""

from typing import NamedTuple

from pydantic import ValidationError


class Problem(NamedTuple):
    """One thing wrong: its dotted place in the file ("the file" for all of it), and what it is."""

    place: str
    said: str


def first_problem(error: ValidationError) -> Problem:
    """The first of the problems that pydantic found."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    return Problem(place, first["msg"].removeprefix("Value error, "))
