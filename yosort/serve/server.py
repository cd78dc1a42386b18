"""The process: a socket, and how it stops.

On SIGTERM and Ctrl-C what is in hand is finished, what comes is refused with 503, and the process
ends with status 0; a second signal, or `shutdown_timeout`, cuts short what still runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from yosort.errors import ConfigError
from yosort.serve.service import Service

#: A client that reads nothing may hold a connection, but not all of them.
_CONNECTIONS = 4
#: Seconds, as uvicorn looks about.
_TICK = 0.1


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that has an address; it listens when the server starts.

    Raises:
        ConfigError: there is no such address, or somebody has it.
    """
    with contextlib.ExitStack() as undo:
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            bound = undo.enter_context(socket.socket(family, kind))
            if os.name == "posix":  # elsewhere it would share the port with whoever has it
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot listen on {host}, port {port}: {reason}") from None
        undo.pop_all()
    return bound


class Server(uvicorn.Server):
    """Uvicorn, stopping as said above.

    Args:
        app: what answers.
        service: behind it.
        started: called when requests are answered.
    """

    def __init__(self, app: ASGIApp, service: Service, started: Callable[[], None]) -> None:
        most = service.limits.max_concurrent_requests * _CONNECTIONS
        config = uvicorn.Config(
            app,
            http="h11",  # what is tested, whatever else is installed
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            proxy_headers=False,
            limit_concurrency=max(most, 64),
        )
        super().__init__(config)
        self._service, self._announce = service, started
        self._stop_by = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.startup`."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; the second time, stop at once. The signal is not raised again after."""
        if self._service.stopping:
            self.should_exit = self.force_exit = True
        self._service.stopping = True
        self._stop_by = time.monotonic() + self._service.limits.shutdown_timeout

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.shutdown`; what is cut short is told so, and threads end."""
        cutting = asyncio.ensure_future(self._cut_short())
        await super().shutdown(sockets)
        if self.force_exit:
            await cutting
            await self.lifespan.shutdown()  # which uvicorn leaves out then
        cutting.cancel()

    async def _cut_short(self) -> None:
        """Once forced to exit, end what runs and close what is open.

        From Python 3.12 on uvicorn waits for every connection to close, forced or not: neither a
        body that does not come nor a client that does not read may keep it from the end.
        """
        while not self.force_exit:
            await asyncio.sleep(_TICK)
        if tasks := list(self.server_state.tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await asyncio.sleep(_TICK)  # for what they were told
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def on_tick(self, counter: int) -> bool:
        """End when nothing is in hand any more, or the time for it is over."""
        if self._service.stopping and not self.should_exit:
            left = self._stop_by - time.monotonic()
            self.should_exit = not self._service.in_hand or left <= 0
            self.config.timeout_graceful_shutdown = max(1, int(left))  # for answers on their way
        ends: bool = await super().on_tick(counter)
        return ends
