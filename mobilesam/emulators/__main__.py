"""``python -m mobilesam.emulators NAME…``: get what can be had of these, for the Makefile."""

import sys

from mobilesam.emulators import EMULATORS, emulator
from mobilesam.errors import MissingDependencyError


def main(names: list[str]) -> int:
    """Set each one up that is not there yet; returns the exit status."""
    unknown = [name for name in names if name not in EMULATORS]
    if unknown or not names:
        known = ", ".join(EMULATORS)
        print(f"Name what to get, of: {known}; not '{' '.join(unknown)}'.", file=sys.stderr)
        return 2
    for name in names:
        if emulator(name).missing():
            print(f"Getting {EMULATORS[name]} ...", file=sys.stderr)
            try:
                emulator(name).set_up()
            except MissingDependencyError as error:
                print(error, file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
