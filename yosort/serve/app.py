"""The routes, and what each request goes through: stop, key, place, body, answer or refusal."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from types import ModuleType
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from yosort.errors import InputError
from yosort.serve import openai, tasks, tei
from yosort.serve.bodies import Answer, parse, read_body
from yosort.serve.refusals import Refusal
from yosort.serve.service import Service

_log = logging.getLogger("yosort")
#: The usual status of a request whose client has gone: for the metrics, nobody reads it.
_GONE = 499
#: From here on a message says how to go on.
_KEY = "wanted the header 'authorization: Bearer KEY' with a key of this service"

Handler = Callable[[Service, dict[str, Any]], Awaitable[Response]]


def build(service: Service, keys: Iterable[str] = ()) -> Starlette:
    """Return the application.

    Args:
        service: what answers.
        keys: of which a request must bring one; none for a service without.
    """
    door = Door(service, tuple(keys))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with service.running():
            yield

    def task(name: str) -> Handler:
        return lambda service, body: tasks.answer(service, body, name)

    bodies: dict[str, tuple[ModuleType, Handler]] = {
        "/v1/embeddings": (openai, openai.embeddings),
        **{f"/{f.__name__}": (tei, f) for f in _TEI},
        **{path: (tei, task(name)) for path, name in tasks.PATHS.items()},
    }
    looks: dict[str, tuple[ModuleType, Callable[[Request], Any]]] = {
        "/v1/models": (openai, lambda request: openai.models(service)),
        "/v1/models/{name:path}": (
            openai, lambda request: openai.model(service, request.path_params["name"])
        ),
        "/info": (tei, lambda request: tei.info(service)),
    }  # fmt: skip
    routes = [
        Route(path, door.asking(path, protocol, handler), methods=["POST"])
        for path, (protocol, handler) in bodies.items()
    ]
    routes += [
        Route(path, door.looking(path, protocol, look), methods=["GET"])
        for path, (protocol, look) in looks.items()
    ]
    routes.append(Route("/metrics", door.looking("/metrics", tei, door.metrics), methods=["GET"]))
    routes.append(Route("/health", door.health, methods=["GET"]))
    return Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _no_route}
    )


_TEI = (tei.embed, tei.embed_all, tei.predict, tei.rerank, tei.tokenize, tei.decode)


class Door:
    """What requests pass before they are answered, and after.

    Args:
        service: what answers.
        keys: see `build`.
    """

    def __init__(self, service: Service, keys: tuple[str, ...]) -> None:
        self._service = service
        self._keys = tuple(key.encode() for key in keys)

    def asking(
        self, path: str, protocol: ModuleType, handler: Handler
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint of a route that has a body."""

        async def answer(request: Request) -> Response:
            body = await read_body(request, self._service.limits)
            with self._service.place():
                fields = await self._service.aside(lambda: parse(body))
                return await _while_there(request, handler(self._service, fields))

        return self._guarded(path, protocol, answer)

    def looking(
        self, path: str, protocol: ModuleType, look: Callable[[Request], Any]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint of a route that only tells."""

        async def answer(request: Request) -> Response:
            found = look(request)
            return found if isinstance(found, Response) else Answer(found)

        return self._guarded(path, protocol, answer)

    def metrics(self, request: Request) -> Response:
        """`/metrics`."""
        return Response(self._service.metrics.text(), media_type="text/plain; version=0.0.4")

    async def health(self, request: Request) -> Response:
        """`/health`: open to everyone."""
        if self._service.is_healthy:
            return Response()
        return _refusal(tei, Refusal(503, "stopping"))

    def _guarded(
        self, path: str, protocol: ModuleType, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        metrics = self._service.metrics

        async def endpoint(request: Request) -> Response:
            begin = time.perf_counter()
            try:
                self._check(request)
                response = await answer(request)
            except Refusal as refusal:
                response = _refusal(protocol, refusal)
            except InputError as error:
                param = str(error).partition(":")[0].partition("[")[0]
                malformed = Refusal(protocol.MALFORMED, str(error), param=param)
                response = _refusal(protocol, malformed)
            except ClientDisconnect:
                metrics.left.inc()
                response = Response(status_code=_GONE)
            except asyncio.CancelledError:  # the time to finish is over
                response = _refusal(protocol, Refusal(503, "this service has stopped"))
            except Exception:
                _log.exception("%s failed", path)
                response = _refusal(protocol, Refusal(500, "this should not have happened"))
            metrics.requests.labels(path, response.status_code).inc()
            metrics.seconds.labels(path).observe(time.perf_counter() - begin)
            return response

        return endpoint

    def _check(self, request: Request) -> None:
        if self._service.stopping:
            raise Refusal(503, "this service is stopping", retry_after=1)
        if not self._keys:
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        # Every key is compared, and in the same time whatever is wrong.
        found = [hmac.compare_digest(given.strip().encode("latin-1"), key) for key in self._keys]
        if kind.lower() != "bearer" or not any(found):
            raise Refusal(401, f"no or a wrong API key: {_KEY}", code="invalid_api_key")


async def _while_there(request: Request, work: Awaitable[Response]) -> Response:
    """Return what the work returns; give it up when the client goes away.

    Raises:
        ClientDisconnect: it went.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refusal(protocol: ModuleType, refusal: Refusal) -> Response:
    return Answer(protocol.refuse(refusal), refusal.status, refusal.headers)


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer for a path or a method that is not there."""
    assert isinstance(error, HTTPException)
    # Not of request.url, which some releases make of the Host header, whatever that holds.
    path: str = request.scope["path"]
    protocol = openai if path.startswith("/v1/") else tei
    said = f"{request.method} {path[:100]}: {error.detail}"
    response = _refusal(protocol, Refusal(error.status_code, said))
    response.headers.update(error.headers or {})
    return response
