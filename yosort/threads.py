"""How many threads a model uses unless told."""

from __future__ import annotations

import os
from pathlib import Path

from yosort import control_groups
from yosort.arguments import is_integer
from yosort.errors import ConfigError, show

#: Read in this order; the second is what BLAS, OpenMP and torch users set already.
VARIABLES = ("YOSORT_NUM_THREADS", "OMP_NUM_THREADS")

#: More than any machine has use for: a mistyped number must not start a million.
MAX_THREADS = 4096


def resolve_num_threads(num_threads: int | None) -> int:
    """Return a load option's number of threads, or the default for None.

    The default is the first environment variable of VARIABLES that is set, else the processors
    this process may run on, limited by a container's CPU quota.

    Raises:
        ConfigError: the option or a variable is not an integer from 1 to MAX_THREADS.
    """
    if num_threads is not None:
        if not is_integer(num_threads) or not 1 <= num_threads <= MAX_THREADS:
            raise ConfigError(
                f"num_threads: wanted None or an integer from 1 to {MAX_THREADS}, "
                f"got {show(num_threads)}"
            )
        return int(num_threads)
    for name in VARIABLES:
        text = os.environ.get(name, "").strip()
        if text:
            # OpenMP allows one number a nesting level: "8,2". The outermost is ours.
            first = text.split(",")[0].strip()
            if not first.isdecimal() or not 1 <= int(first) <= MAX_THREADS:
                raise ConfigError(
                    f"{name}: wanted an integer from 1 to {MAX_THREADS}, got {show(text)}"
                )
            return int(first)
    return usable_processors()


def usable_processors(system: Path = Path("/")) -> int:
    """Return how many processors this process may use at once: its affinity mask's, or its quota's.

    Args:
        system: the root of proc/ and sys/.
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    return min(count, control_groups.processors(system) or count)
