"""A real server whose workers are forked after loading: examples/wsgi.py under gunicorn."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

import yosort

pytest.importorskip("gunicorn", reason="gunicorn is not installed")

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
TEXTS = [f"A {word} is a kind of <mask>." for word in ("dog", "river", "hammer", "psalm")]
# The example, and which process has answered.
APP = """
import os
from wsgi import app as example

def app(environ, start_response):
    def start(status, headers):
        return start_response(status, [*headers, ("Worker", str(os.getpid()))])
    return example(environ, start)
"""


class Server:
    """Gunicorn on a free port, with two workers of four threads each."""

    def __init__(self, folder: Path) -> None:
        (folder / "counted.py").write_text(APP, encoding="utf-8")
        paths = [str(EXAMPLES), str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        # Gunicorn keeps a socket of its own in the home folder.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HOME": str(folder)}
        command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2"]
        command += ["--threads", "4", "--timeout", "300"]
        with socket.create_server(("127.0.0.1", 0)) as listening, open(folder / "log", "w") as log:
            self.port = listening.getsockname()[1]
            self.process = subprocess.Popen(
                [*command, "--bind", f"fd://{listening.fileno()}", "counted:app"],
                cwd=folder,
                env=environment,
                pass_fds=[listening.fileno()],
                stderr=log,
            )

    def ask(self, texts: object) -> tuple[int, str, int]:
        """Return the answer's status and text, and the process that gave it."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request("POST", "/", json.dumps(texts))
            response = connection.getresponse()
            return response.status, response.read().decode(), int(response.headers["Worker"])
        finally:
            connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.wait(300)


@pytest.fixture(scope="module")
def wanted() -> dict[str, str]:
    fill = yosort.pipeline("fill-mask", num_threads=1)
    # JSON has all digits of a float: texts are equal where the bits are.
    return {text: json.dumps([fill(text, top_k=5)]) for text in TEXTS}


def ask_until(server: Server, wanted: dict[str, str], workers: set[int], count: int) -> None:
    """Ask from eight clients at once until `count` workers have answered, each time right."""
    with ThreadPoolExecutor(8) as clients:
        for _ in range(50):
            for text, (status, answer, worker) in zip(
                TEXTS * 8, clients.map(server.ask, [[text] for text in TEXTS * 8]), strict=True
            ):
                assert (status, answer) == (200, wanted[text])
                workers.add(worker)
            if len(workers) >= count:
                return
    pytest.fail(f"wanted answers of {count} workers, got those of {workers}")


def test_workers_forked_after_loading_answer_alike(server: Server, wanted: dict[str, str]) -> None:
    workers: set[int] = set()
    ask_until(server, wanted, workers, 2)
    assert server.process.pid not in workers
    assert server.ask(["no gap"])[0] == 422
    assert server.ask({"inputs": 3})[0] == 400
    # The one that takes a dead worker's place is forked from a process long since warm.
    os.kill(min(workers), signal.SIGKILL)
    ask_until(server, wanted, workers, 3)
    assert len(workers) == 3


def test_it_ends_gracefully_amid_requests(server: Server, wanted: dict[str, str]) -> None:
    workers: set[int] = set()
    ask_until(server, wanted, workers, 2)

    def ask(text: str) -> bool:
        try:
            return server.ask([text])[:2] == (200, wanted[text])
        except (OSError, HTTPException):  # came too late: not taken, or not answered at all
            return True

    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(ask, text) for text in TEXTS * 50]
        answers[20].result()
        server.process.terminate()
        assert all(answer.result() for answer in answers)
    assert server.process.wait(300) == 0
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
