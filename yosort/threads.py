"""How many threads a model uses unless told."""

from __future__ import annotations

import math
import os
from pathlib import Path

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
    return max(1, min(_usable_processors(), _quota(Path("/sys/fs/cgroup"))))


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(root: Path) -> int:
    """Return the processors that a control group's quota allows, rounded up; many if unlimited."""
    unlimited = 1 << 20
    try:
        # Version 2: "max 100000" or "150000 100000".
        quota, period = (root / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return unlimited
    try:
        microseconds = int(quota)
        return math.ceil(microseconds / int(period)) if microseconds > 0 else unlimited
    except (ValueError, ZeroDivisionError):
        return unlimited
