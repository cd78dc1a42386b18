"""Services of small random models, and requests to them within this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tasks.models import make

import yosort
from yosort.model.architectures import TASKS, tasks_of
from yosort.model.heads import encoder_of
from yosort.serve.limits import Limits
from yosort.tasks.base import Pipeline

for _name in ("starlette", "uvicorn", "prometheus_client", "httpx"):
    pytest.importorskip(_name, reason=f"{_name} is not installed: the extra `serve`, and httpx")

import httpx  # noqa: E402

from yosort.serve.app import build  # noqa: E402
from yosort.serve.service import Service  # noqa: E402

Talk = Callable[[httpx.AsyncClient], Awaitable[Any]]

#: What a client says of a body that it has written itself.
JSON = {"content-type": "application/json"}
#: One input of each task, as its pipeline takes it and as JSON has it.
INPUTS: dict[str, Any] = {
    "fill-mask": "A <mask> barks.",
    "text-classification": {"text": "A dog barks.", "text_pair": "Loud."},
    "text-ranking": {
        "query": "Who barks?",
        "documents": ["A dog.", "A cat meows.", "A dog barks."],
    },
    "token-classification": "Paris is the capital of France.",
    "question-answering": {"question": "Who barks?", "context": "A dog barks at the moon."},
    "multiple-choice": {"prompt": "A dog", "choices": ["barks", "sings", "reads"]},
    "feature-extraction": "A dog barks.",
}


def pipelines_of(task: str, folder: Path) -> dict[str, Pipeline]:
    """Return the pipelines of a random model of a task's class, the encoder's too."""
    name = TASKS[task].model
    labels = {"num_labels": 1} if TASKS[task].num_labels == 1 else {}
    source = make(folder, name, **labels) if not folder.exists() else folder
    model = getattr(yosort, name).from_pretrained(source, device="cpu", num_threads=1)
    return {
        row.name: yosort.pipeline(row.name, model if row.model == name else encoder_of(model))
        for row in tasks_of(name, model.config.num_labels)
    }


def service_of(pipelines: dict[str, Pipeline], **options: Any) -> Service:
    """Return a service called "small"; options are its own and its limits'."""
    own = {name: options.pop(name) for name in ("pooling", "auto_truncate") if name in options}
    return Service(pipelines, ("small", "other-name"), Limits(**options), **own)


@asynccontextmanager
async def client_of(
    service: Service, keys: tuple[str, ...] = ()
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a service on this event loop, and yield a client of it."""
    transport = httpx.ASGITransport(build(service, keys))
    async with (
        service.running(),
        httpx.AsyncClient(transport=transport, base_url="http://here", timeout=300) as client,
    ):
        yield client


def talk(service: Service, what: Talk, keys: tuple[str, ...] = ()) -> Any:
    """Return what a conversation with a service returns."""

    async def run() -> Any:
        async with client_of(service, keys) as client:
            return await what(client)

    return asyncio.run(run())


def ask(service: Service, path: str, body: Any, **options: Any) -> httpx.Response:
    """Post one request."""

    async def run(client: httpx.AsyncClient) -> Any:
        return await client.post(path, json=body, **options)

    response: httpx.Response = talk(service, run)
    return response


def is_refusal(path: str, response: httpx.Response) -> bool:
    """Whether a response is an error as the path's protocol has it."""
    body = response.json()
    if path.startswith("/v1/"):
        return body.keys() == {"error"} and body["error"].keys() == {
            "message", "type", "param", "code",
        }  # fmt: skip
    return body.keys() == {"error", "error_type"} and bool(body["error"])
