"""A process of the local engine: takes a job, then item after item, until its parent is gone.

Run as ``python -m mobilesam.engines.worker FD``, where FD is the descriptor of a socket to the
parent. Nobody else can write into that socket, so what comes from it may be unpickled.
"""

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

from mobilesam.engines.base import Message


def serve(parent: Connection) -> None:
    """Do what the parent sends, until it closes the connection."""
    job = parent.recv()
    with job.open() as work:
        parent.send(Message("ready"))
        while True:
            parent.send(Message("result", work(parent.recv())))


def obey(serve: Callable[[Connection], None]) -> None:
    """Serve the parent that started this process, say what went wrong, and end the process.

    Args:
        serve: what to do; it ends by itself or when the parent closes the connection.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    parent = Connection(int(sys.argv[1]))
    try:
        serve(parent)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent wants nothing more, or is gone
    except Exception as error:
        parent.send(Message.of(error))
    # Libraries' exit handlers have nothing to add and some of them crash.
    os._exit(0)


if __name__ == "__main__":
    obey(serve)
