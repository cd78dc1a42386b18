"""A call that cannot fit is refused before it starts, instead of being killed on the way.

Linux grants memory that it does not have and ends the process that touches it. So a call's need
is held against what there is: a lower bound of the need, counted in arrays that are certainly
there at the same time, against a generous reading of what can be had. What fits is never refused;
what is let through may still, by a margin, not fit.
"""

from __future__ import annotations

from pathlib import Path

from yosort.batch import PackedBatch
from yosort.config import YosoConfig
from yosort.errors import DeviceError

#: Calls below this are not looked at: asking the system takes as long as a small call.
WORTH_ASKING = 256 << 20
#: Freed memory that the process may hold and use again, but that counts as taken.
SLACK = 64 << 20
#: No machine of today has more to offer, whatever it does not tell.
ADDRESSES = 1 << 47


def numbers_of_call(
    config: YosoConfig,
    batch: PackedBatch,
    *,
    answer: int,
    keep_hidden_states: bool,
    keep_contexts: bool,
) -> int:
    """Return how many numbers of the compute type a call holds at its peak, at least.

    Args:
        config: the model's sizes.
        batch: the packed tokens.
        answer: numbers of the head's largest array, its scores of the vocabulary for instance.
        keep_hidden_states: every layer's output is returned.
        keep_contexts: every layer's attention context is returned.
    """
    layers = config.num_hidden_layers
    if layers == 1:
        encoder = 1 + 3  # x; q, k, v
    else:
        # At the end of the last layer but one: x and the context, or all of them so far; its q, k,
        # v; its output; the next layer's q, k, v.
        hidden_states = layers - 1 if keep_hidden_states else 1
        contexts = layers - 1 if keep_contexts else 1
        encoder = hidden_states + contexts + 3 + 1 + 3
    kept = (layers + 1 if keep_hidden_states else 0) + (layers if keep_contexts else 0)
    row = batch.total * config.hidden_size
    return max(encoder * row, kept * row + answer)


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
    rooms = [_room(folder) for folder in _groups(system)]
    return min([free, *(room for room in rooms if room is not None)]) + swap


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) << 10


def _groups(system: Path) -> list[Path]:
    """Return the folders of this process's control groups that may limit memory."""
    root = system / "sys/fs/cgroup"
    folders = [root, root / "memory"]  # version 2, version 1
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            base = root / controllers if controllers else root
            parts = [part for part in path.split("/") if part not in ("", "..")]
            folders += [base.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    return folders


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
