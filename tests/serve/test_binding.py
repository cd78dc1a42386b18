"""The socket that a server listens on."""

from __future__ import annotations

import os
import socket

import pytest

import serve.clients  # noqa: F401  # which skips where the extra is not installed
from yosort.errors import ConfigError


def test_a_port_can_be_had_again_at_once_but_not_from_who_has_it() -> None:
    """A restarted server need not wait until the last connections of the old one are forgotten."""
    from yosort.serve.server import bind

    with bind("127.0.0.1", 0) as bound:
        reuse = bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert bool(reuse) == (os.name == "posix")
        bound.listen()
        with pytest.raises(ConfigError, match=r"cannot listen on 127.0.0.1, port \d+: "):
            bind("127.0.0.1", bound.getsockname()[1])
