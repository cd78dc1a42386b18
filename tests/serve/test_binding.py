"""The socket that a server listens on."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from serve import clients  # which skips where the extra is not installed
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


def test_nothing_that_happens_to_be_installed_changes_how_it_serves(pipelines: Any) -> None:
    """Loops, parsers and websockets are named, and each name is one of uvicorn's."""
    from uvicorn.lifespan.on import LifespanOn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from yosort.serve.server import Server

    service = clients.service_of(pipelines("fill-mask"))
    app = clients.build(service, ())
    config = Server(app, service, lambda: None).config
    config.load()
    assert config.loaded_app is app  # nothing believes what headers say of a client's address
    assert config.http_protocol_class is H11Protocol
    assert config.ws_protocol_class is None
    assert config.lifespan_class is LifespanOn
    assert config.loop == "asyncio"
