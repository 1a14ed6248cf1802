"""The command line: `mobilesam export | parity | bisect | evaluate | train | distill | ...`.

What is slow to import (torch, converters, runtimes) is imported inside the commands, so that
``--help`` is quick.
"""

import errno
import logging
import os
import shlex
import signal
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mobilesam import __version__
from mobilesam.errors import MobileSAMError
from mobilesam_cli.annotate import annotate
from mobilesam_cli.bisect import bisect
from mobilesam_cli.compare import compare
from mobilesam_cli.demo import demo
from mobilesam_cli.distill import distill
from mobilesam_cli.doctor import doctor
from mobilesam_cli.evaluate import evaluate
from mobilesam_cli.everything import everything
from mobilesam_cli.examples import examples
from mobilesam_cli.export import export
from mobilesam_cli.golden import golden
from mobilesam_cli.inspect import inspect
from mobilesam_cli.new_app import new_app
from mobilesam_cli.options import COMMAND_LINE, say
from mobilesam_cli.parity import parity
from mobilesam_cli.phones import phones
from mobilesam_cli.predict import predict
from mobilesam_cli.release import release
from mobilesam_cli.replay import replay
from mobilesam_cli.scenes import scenes
from mobilesam_cli.search import search
from mobilesam_cli.sensitivity import sensitivity
from mobilesam_cli.train import train
from mobilesam_cli.web import web

BAD_INPUT = 2
INTERRUPTED = 130
TERMINATED = 143

ROOMS = ("mobilesam", "converters", "parity")
"""Packages whose warnings are shown as notes."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_UNUSABLE = (
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.EIO,
    errno.EMFILE,
)
_UNRESOLVED = ("Symlink loop", "Could not determine home directory")
"""How the errors begin that `pathlib` raises as RuntimeError for a path that leads nowhere."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end."""


class Notes(logging.Handler):
    """Prints what the library has to say as notes on stderr, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        sentence = record.getMessage()
        if sentence not in self._said:
            self._said.add(sentence)
            say("note", sentence)


class FrontDoor(TyperGroup):
    """Turns errors that a user can act on into one line on stderr and an exit status.

    Bad input, a path that the system refuses, a disk that cannot be written and too little memory:
    2. Ctrl-C: 130. SIGTERM: 143. Anything else is a fault of ours and keeps its traceback.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and keep what was typed for reports that say how they are made again."""
        ctx.meta[COMMAND_LINE] = shlex.join(["mobilesam", *args])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        notes, rooms = Notes(), [logging.getLogger(room) for room in ROOMS]
        for room in rooms:
            room.addHandler(notes)
        try:
            return super().invoke(ctx)
        except MobileSAMError as error:
            say("error", str(error))
            raise typer.Exit(BAD_INPUT) from None
        except Terminated:
            say("error", "terminated")
            raise typer.Exit(TERMINATED) from None
        except KeyboardInterrupt:
            say("error", "interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            sentence = _storage_problem(error)
            if sentence is None:
                raise
            say("error", sentence)
            raise typer.Exit(BAD_INPUT) from None
        except RuntimeError as error:
            if not str(error).startswith(_UNRESOLVED):
                raise
            say("error", f"a path cannot be used: {error}")
            raise typer.Exit(BAD_INPUT) from None
        except MemoryError as error:
            reason = f" ({error})" if str(error) else ""
            say("error", f"this needs more memory than there is{reason}: ask for less at a time")
            raise typer.Exit(BAD_INPUT) from None
        finally:
            for room in rooms:
                room.removeHandler(notes)


def _storage_problem(error: OSError) -> str | None:
    where = f"'{error.filename}'" if error.filename else "the output"
    if error.errno in _FULL:
        return f"{where} cannot be written, the disk is full: free some space or write elsewhere"
    if error.errno in _FORBIDDEN:
        return f"{where} may not be used: {(error.strerror or '').lower()}"
    if error.filename and error.errno in _UNUSABLE:
        return f"{where} cannot be used: {(error.strerror or '').lower()}"
    return None


app = typer.Typer(
    name="mobilesam",
    cls=FrontDoor,
    help="MobileSAM for phones: exported, and each file checked against PyTorch's masks.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mobilesam-export {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """MobileSAM for phones: exported, and each file checked against PyTorch's masks."""


COMMANDS = (
    export,
    parity,
    phones,
    bisect,
    evaluate,
    train,
    distill,
    scenes,
    examples,
    sensitivity,
    search,
    predict,
    annotate,
    everything,
    compare,
    inspect,
    golden,
    web,
    release,
    new_app,
    doctor,
    demo,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(replay)


def _terminate(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second time, at once
    raise Terminated


def main() -> None:
    """Entry point of the ``mobilesam`` script."""
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            # Closed: the next file to be opened would get its number, and what is printed.
            os.open(os.devnull, os.O_RDWR)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    app(prog_name="mobilesam")
