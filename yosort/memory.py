"""A call that cannot fit is refused before it starts, instead of being killed on the way.

Linux grants memory that it does not have and ends the process that touches it. So a call's need
is held against what there is: a lower bound of the need, counted in arrays that are certainly
there at the same time, against a generous reading of what can be had. What fits is never refused;
what is let through may still, by a margin, not fit.
"""

from __future__ import annotations

from pathlib import Path

from yosort import control_groups
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
    room = control_groups.memory(system)
    return (free if room is None else min(free, room)) + swap


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) << 10
