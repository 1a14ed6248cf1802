"""User-defined schemes: which precision each group of layers is stored and computed in.

``mobilesam search`` writes plans as TOML, and ``mobilesam export --scheme FILE.toml`` takes them::

    target = "tflite"
    default = "w8d"

    [groups]
    "AttentionStage1.TinyViTBlock0" = "w8a8"
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mobilesam.errors import InputError


class Plan(BaseModel):
    """Precisions by group.

    Attributes:
        target: the target whose precisions these are.
        default: of every group that is not named.
        groups: of those that are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    default: str
    groups: Mapping[str, str] = Field(default_factory=dict)

    @property
    def precisions(self) -> frozenset[str]:
        """Every precision that it names."""
        return frozenset((self.default, *self.groups.values()))

    def of(self, group: str) -> str:
        """The precision of a group."""
        return self.groups.get(group, self.default)

    def toml(self) -> str:
        """As text that :func:`read_plan` reads."""
        rows = [f'"{group}" = "{self.groups[group]}"' for group in sorted(self.groups)]
        return "\n".join(
            [f'target = "{self.target}"', f'default = "{self.default}"', "", "[groups]", *rows, ""]
        )


def read_plan(path: Path) -> Plan:
    """A plan from a TOML file.

    Raises:
        InputError: there is no such file, or it is no plan.
    """
    try:
        return Plan.model_validate(tomllib.loads(path.read_text("utf-8-sig")))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"the scheme file '{path}' cannot be read ({reason})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not TOML ({error}): give a scheme file") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"'{path}' is not a scheme file ({where}: {first['msg'].lower()}): it has target, "
            "default and [groups]"
        ) from None
