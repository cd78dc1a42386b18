"""What this process may use of its machine: processors and memory, a container's limits counted.

Control groups (Linux) nest, and the tightest limit counts. Version 2 has one tree, version 1 one a
controller. In a container /proc/self/cgroup may name the group as the host sees it, while the
mounted tree begins at the container's own: so the mount's root is always looked at, and folders
that are not there are passed over.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from yosort.arguments import is_integer
from yosort.errors import ConfigError, DeviceError

#: Read in this order; the second is what BLAS, OpenMP and torch users set already.
VARIABLES = ("YOSORT_NUM_THREADS", "OMP_NUM_THREADS")

#: More than any machine has use for: a mistyped number must not start a million.
MAX_THREADS = 4096

#: Calls below this are not looked at: asking the system takes as long as a small call.
WORTH_ASKING = 256 << 20
#: Freed memory that the process may hold and use again, but that counts as taken.
SLACK = 64 << 20
#: No machine of today has more to offer, whatever it does not tell.
ADDRESSES = 1 << 47


#: Whether to use the matrix unit of an Intel processor.
TILES = "YOSORT_AMX"
TILES_REFUSED = (
    "the system grants no AMX, so that bfloat16 and int8 take longer: it wants Linux 5.16 or "
    f"later, and no thread with a signal stack of 8 KB; {TILES}=0 does without it"
)
#: And the GPU's: off, until they have run on one.
TENSOR_CORES = "YOSORT_TENSOR_CORES"


def wants(variable: str) -> bool | None:
    """Whether the environment asks for a matrix unit: None where it does not say.

    Raises:
        ConfigError: its value is neither "1" nor "0".
    """
    value = os.environ.get(variable)
    if not value:
        return None
    if value not in ("0", "1"):
        raise ConfigError.wanted(variable, '"1" or "0"', value)
    return value == "1"


def resolve_num_threads(num_threads: int | None) -> int:
    """Return a load option's number of threads, or the default for None.

    The default is the first environment variable of VARIABLES that is set, else the processors
    this process may run on, limited by a container's CPU quota.

    Raises:
        ConfigError: the option or a variable is not an integer from 1 to MAX_THREADS.
    """
    if num_threads is not None:
        if not is_integer(num_threads) or not 1 <= num_threads <= MAX_THREADS:
            raise ConfigError.wanted(
                "num_threads", f"None or an integer from 1 to {MAX_THREADS}", num_threads
            )
        return int(num_threads)
    for name in VARIABLES:
        text = os.environ.get(name, "").strip()
        if text:
            # OpenMP allows one number a nesting level: "8,2". The outermost is ours.
            first = text.split(",")[0].strip()
            if not first.isdecimal() or not 1 <= int(first) <= MAX_THREADS:
                raise ConfigError.wanted(name, f"an integer from 1 to {MAX_THREADS}", text)
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
    return min(count, allowed_processors(system) or count)


def check_memory(needed: int, available: int | None, device: str, *, what: str, hint: str) -> None:
    """Refuse what needs more bytes than are available (None: nobody knows).

    Args:
        needed: bytes, at least.
        available: bytes, as `host_memory` or a device tells.
        device: what the message begins with.
        what: what has the need, with its verb.
        hint: what needs less, with its verb.

    Raises:
        DeviceError: with both numbers.
    """
    if needed <= (ADDRESSES if available is None else available) + SLACK:
        return
    needed = min(needed, 1 << 62)  # still "at least", and a float holds it
    there = "more than any machine has"
    if available is not None:
        there = f"{available / 1e9:.2f} GB are available"
    raise DeviceError(f"{device}: {what} at least {needed / 1e9:.2f} GB of memory, {there}; {hint}")


def host_memory(system: Path = Path("/")) -> int | None:
    """Return the bytes that this process can still have, its control groups' limits among them.

    Args:
        system: the root of proc/ and sys/.

    Returns:
        None where the system does not tell (neither macOS nor Windows does so in files).
    """
    try:
        fields = dict(
            line.split(":", 1) for line in (system / "proc/meminfo").read_text().splitlines()
        )
        free = _kilobytes(fields["MemAvailable"])
        swap = _kilobytes(fields.get("SwapFree", "0"))
    except (OSError, ValueError, KeyError, IndexError):
        return None
    room = allowed_memory(system)
    return (free if room is None else min(free, room)) + swap


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) << 10


def _groups(system: Path, controller: str) -> list[Path]:
    """Return the folders of this process's control groups that may limit a controller.

    Args:
        system: the root of proc/ and sys/.
        controller: "cpu" or "memory".
    """
    root = system / "sys/fs/cgroup"
    folders = [root, root / controller]  # version 2, version 1
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):  # as "cpu,cpuacct"
            continue
        base = root / controller if controllers else root
        parts = [part for part in path.split("/") if part not in ("", "..")]
        folders += [base.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    return folders


def allowed_processors(system: Path = Path("/")) -> int | None:
    """Return the processors that the CPU quota allows, rounded up; None without a quota."""
    quotas = (_quota(folder) for folder in _groups(system, "cpu"))
    return min((quota for quota in quotas if quota is not None), default=None)


def allowed_memory(system: Path = Path("/")) -> int | None:
    """Return the bytes that the memory limits leave; None without a limit."""
    rooms = (_room(folder) for folder in _groups(system, "memory"))
    return min((room for room in rooms if room is not None), default=None)


def _quota(group: Path) -> int | None:
    """Return the processors that a group's quota allows, rounded up; None without one."""
    try:
        # Version 2: "max 100000" or "150000 100000".
        quota, period = (group / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        microseconds = int(quota)
        return math.ceil(microseconds / int(period)) if microseconds > 0 else None
    except (ValueError, ZeroDivisionError):
        return None


def _room(group: Path) -> int | None:
    """Return what a control group's limit leaves; None without a limit."""
    for limit_name, used_name, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        try:
            limit = int((group / limit_name).read_text())
            used = int((group / used_name).read_text())
            stat = dict(
                line.split(" ", 1) for line in (group / "memory.stat").read_text().splitlines()
            )
        except (OSError, ValueError):  # no such file, or "max"
            continue
        # The files' pages count as used, and make room when it is needed.
        cached = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
        return max(0, limit - used + cached)
    return None
