"""Yosort behind gunicorn: loaded once, and shared by the processes that are forked after that.

    pip install gunicorn
    gunicorn --preload --workers 2 --threads 4 --chdir examples wsgi:app

    curl localhost:8000 -d '["A <mask> barks."]'

Weights are in memory once, whatever the number of workers. A call gets one thread of its own, so
that many at once share the cores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import yosort

MAX_BYTES = 64_000  # of a request

# On the CPU: CUDA does not work in processes forked after it was started. To use a GPU leave
# --preload out, so that each worker loads the model itself.
fill = yosort.pipeline("fill-mask", device="cpu", num_threads=1)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a JSON list of texts with the list of what `fill` says of each."""
    status, answer = respond(environ)
    body = json.dumps(answer).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def respond(environ: dict[str, Any]) -> tuple[str, Any]:
    """Return a request's status and its answer, JSON to be."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if int(length) > MAX_BYTES:
        return "413 Content Too Large", {"detail": f"wanted at most {MAX_BYTES} bytes"}
    try:
        texts = json.loads(environ["wsgi.input"].read(int(length)))
    except (ValueError, RecursionError) as error:
        return "400 Bad Request", {"detail": f"wanted JSON: {error}"}
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return "400 Bad Request", {"detail": "wanted a JSON list of texts"}
    try:
        return "200 OK", [fill(text, top_k=5) for text in texts]
    except yosort.InputError as error:
        return "422 Unprocessable Content", {"detail": str(error)}
