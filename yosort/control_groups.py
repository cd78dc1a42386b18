"""The control groups that a container puts a process in, and the limits that they set (Linux).

Groups nest, and the tightest limit counts. Version 2 has one tree, version 1 one a controller. In a
container /proc/self/cgroup may name the group as the host sees it, while the mounted tree begins at
the container's own: so the mount's root is always looked at, and folders that are not there are
passed over.
"""

from __future__ import annotations

import math
from pathlib import Path


def groups(system: Path, controller: str) -> list[Path]:
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


def processors(system: Path = Path("/")) -> int | None:
    """Return the processors that the CPU quota allows, rounded up; None without a quota."""
    quotas = (_quota(folder) for folder in groups(system, "cpu"))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory(system: Path = Path("/")) -> int | None:
    """Return the bytes that the memory limits leave; None without a limit."""
    rooms = (_room(folder) for folder in groups(system, "memory"))
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
