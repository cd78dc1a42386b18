"""What a service takes on. Names are text-embeddings-inference's where it has the same.

The command line makes its options of these fields, so nothing here may import numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from yosort.errors import ConfigError


def limit(default: int, what: str, *, least: int = 1) -> Any:
    """Return a field of `Limits`: an integer, and what `--help` says of it."""
    return field(default=default, metadata={"help": what, "least": least})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one service.

    Raises:
        ConfigError: a bound that is none.
    """

    max_batch_tokens: int = limit(16384, "tokens computed at once")
    max_wait_ms: int = limit(2, "how long a request may wait for others, idle model", least=0)
    max_concurrent_requests: int = limit(512, "requests in hand; 429 beyond")
    max_waiting_tokens: int = limit(1 << 20, "tokens in the queue; 429 beyond, 413 for one request")
    max_client_batch_size: int = limit(2048, "inputs of a request; 413 beyond")
    payload_limit: int = limit(2_000_000, "bytes of a request's body; 413 beyond")
    answer_limit: int = limit(64_000_000, "bytes of an answer; 413 beyond")
    body_timeout: int = limit(30, "seconds for a request's body to arrive; 408 beyond")
    shutdown_timeout: int = limit(30, "seconds for what runs to end after SIGTERM", least=0)

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), each.metadata["least"]
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError.wanted(each.name, f"an integer of at least {least}", value)
