"""SIGTERM and SIGHUP are heeded as Ctrl-C is: files are finished, what is half made is removed.

Of itself Python dies of them at once; as the first process of a container, which has no handler, it
does not even hear SIGTERM, and is killed when the time to stop is over.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, NoReturn

#: What `kill`, a container's end and a batch system's limit send; what a terminal that closes does.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminated(KeyboardInterrupt):
    """The process was asked to end.

    Attributes:
        number: of the signal.
    """

    number: int


@contextlib.contextmanager
def heeding_signals() -> Iterator[None]:
    """Raise `Terminated` where such a signal comes in; not where it is ignored or handled already.

    nohup has SIGHUP ignored.
    """
    ours = [number for number in _SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, _terminate)
    except ValueError:  # not the main thread
        ours = []
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: Any) -> NoReturn:
    for other in _SIGNALS:  # once: `timeout` sends it to a group and to its leader
        if signal.getsignal(other) == _terminate:
            signal.signal(other, signal.SIG_IGN)
    error = Terminated()
    error.number = number
    raise error
