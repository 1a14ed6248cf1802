"""The first thing that is wrong with a file, where pydantic has checked it against a model."""

from codecs import BOM_UTF8
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)

_KINDS = {
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "path_type": "a path, in quotes",
    "dict_type": "a table of keys and values",
    "model_type": "a table of keys and values",
    "model_attributes_type": "a table of keys and values",
    "string_type": "text, in quotes",
}
"""What a value should be, by pydantic's name of the error, where its own words are Python's."""


class Problem(NamedTuple):
    """One thing wrong: its dotted place in the file ("the file" for all of it), and what it is."""

    place: str
    said: str


def read_json(path: Path, kind: type[Model]) -> Model:
    """A JSON file, with a byte-order mark or without.

    Raises:
        OSError: it cannot be read.
        ValidationError: it is no JSON, or does not fit.
    """
    return kind.model_validate_json(path.read_bytes().removeprefix(BOM_UTF8))


def first_problem(error: ValidationError) -> Problem:
    """The first of the problems that pydantic found."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] in _KINDS:
        return Problem(place, f"it must be {_KINDS[first['type']]}, not {_shown(first['input'])}")
    said = first["msg"].removeprefix("Value error, ").replace("Tuple", "List")
    return Problem(place, said[:1].lower() + said[1:])


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
