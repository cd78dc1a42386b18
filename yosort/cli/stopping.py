"""SIGTERM is heeded as Ctrl-C is: files are finished, what is half made is removed.

Of itself Python dies of it at once; as the first process of a container, which has no handler, it
does not even hear it, and is killed when the time to stop is over.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """The process was asked to end: by `kill`, a container's runtime, a batch system."""


@contextlib.contextmanager
def heeding_sigterm() -> Iterator[None]:
    """Raise `Terminated` where SIGTERM comes in; not where it is ignored or handled already."""
    try:
        ours = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        if ours:
            signal.signal(signal.SIGTERM, _terminate)
    except ValueError:  # not the main thread
        ours = False
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: Any) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # once: `timeout` sends it to a group and to its leader
    raise Terminated
