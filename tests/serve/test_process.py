"""A real process on the loopback: real clients, rude clients, signals, and memory."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import serve.clients  # noqa: F401  # which skips where the extra is not installed
import yosort

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them"),
]
ROOT = Path(__file__).resolve().parent.parent.parent
TEXTS = [" ".join(["A dog barks at the moon."] * n) for n in (1, 2, 5, 40, 200)]
LIMITS = ["--payload-limit", "200000", "--body-timeout", "2"]


class Process:
    """`yosort serve` with the bundled model, on a port that is free."""

    def __init__(self, folder: Path, *arguments: str, port: int = 0, **environment: str) -> None:
        self._log = folder / f"log-{port}"
        with open(self._log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "yosort", "serve", "--port", str(port), *LIMITS, *arguments],
                cwd=folder,
                env={**os.environ, **environment},
                stderr=log,
            )
        while not (found := re.search(r" on http://127\.0\.0\.1:(\d+)\n", self.said())):
            assert self.process.poll() is None, self.said()
            time.sleep(0.02)
        self.port = int(found[1])

    def said(self) -> str:
        """Return what it has written to its standard error."""
        return self._log.read_text(encoding="utf-8")

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=300)

    def post(self, path: str, body: Any, connection: HTTPConnection | None = None) -> Any:
        """Return the status and the body of an answer."""
        over = connection or self.connect()
        over.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = over.getresponse()
        found = response.status, json.loads(response.read())
        if connection is None:
            over.close()
        return found

    def metric(self, name: str) -> float:
        connection = self.connect()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.search(rf"^{name} (\S+)$", text, re.M)
        assert found, name
        return float(found[1])

    def settle(self) -> None:
        """Wait until nothing is in hand."""
        while self.metric("yosort_requests_in_hand") or self.metric("yosort_waiting_tokens"):
            time.sleep(0.01)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(300)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    server = Process(tmp_path)
    yield server
    assert server.stop() == 0
    assert server.said().count("\n") == 1, (
        server.said()
    )  # nothing went wrong that somebody would log


@pytest.fixture(scope="module")
def wanted() -> list[list[float]]:
    embed = yosort.pipeline("feature-extraction", device="cpu", num_threads=1)
    return [embed(text, pooling="mean", normalize=True) for text in TEXTS]


def indented(page: Path) -> list[str]:
    """Return a page's blocks that tests/test_docs.py does not run."""
    text = page.read_text(encoding="utf-8")
    return [
        textwrap.dedent(found) for found in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M)
    ]


def test_the_page_s_own_lines(server: Process, tmp_path: Path) -> None:
    blocks = indented(ROOT / "docs/serving.md")
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("curl ")]
    assert len(lines) == 6
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    for line in lines:
        here = line.replace("localhost:8080", f"127.0.0.1:{server.port}")
        done = subprocess.run(
            ["bash", "-c", here.replace("curl ", "curl --fail --silent --show-error ")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stderr)
    if find_spec("openai"):
        (code,) = (block for block in blocks if "import OpenAI" in block)
        done = subprocess.run(
            [sys.executable, "-c", code.replace("localhost:8080", f"127.0.0.1:{server.port}")],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "256 14\n"), done.stderr


def half(server: Process, text: bytes) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", server.port), timeout=300)
    made.sendall(text)
    return made


def request(body: bytes, length: int | None = None) -> bytes:
    head = "POST /embed HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    count = len(body) if length is None else length
    return f"{head}content-length: {count}\r\n\r\n".encode() + body


def test_openai_s_client(tmp_path: Path, wanted: list[list[float]]) -> None:
    openai = pytest.importorskip("openai", reason="openai is not installed")
    server = Process(tmp_path, YOSORT_API_KEY="old,new")
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{server.port}/v1", api_key="new", max_retries=0
    ) as client:
        assert [model.id for model in client.models.list()] == ["bundled"]
        found = client.embeddings.create(model="bundled", input=TEXTS)  # asks for base64
        assert [each.embedding for each in found.data] == wanted
        assert found.usage.prompt_tokens == found.usage.total_tokens > 100
        found = client.embeddings.create(model="bundled", input=TEXTS[0], encoding_format="float")
        assert found.data[0].embedding == wanted[0]
        ids = yosort.pipeline("feature-extraction").tokenizer(TEXTS[:2])["input_ids"]
        found = client.embeddings.create(model="bundled", input=ids, user="somebody")
        assert [each.embedding for each in found.data] == wanted[:2]
        for error, options in (
            (openai.NotFoundError, {"model": "gpt"}),
            (openai.BadRequestError, {"dimensions": 3}),
            (openai.BadRequestError, {"input": []}),
            (openai.UnprocessableEntityError, {"input": "a dog " * 5000}),
        ):
            with pytest.raises(error) as caught:
                client.embeddings.create(**{"model": "bundled", "input": "a", **options})
            assert caught.value.type == "invalid_request_error"
        with pytest.raises(openai.AuthenticationError) as caught:
            client.with_options(api_key="wrong").models.list()
        assert caught.value.code == "invalid_api_key"
    assert server.stop() == 0


def test_half_requests_hold_nobody_up(server: Process, wanted: list[list[float]]) -> None:
    body = json.dumps({"inputs": TEXTS[0]}).encode()
    rude = [
        half(server, text)
        for text in (b"", b"POST", b"POST /embed HTTP/1.1\r\nho")
        for _ in range(10)
    ]
    waiting = [half(server, request(body[:10], len(body))) for _ in range(20)]
    trickling = half(server, request(body[:10], len(body)))
    for byte in body[10:12]:
        trickling.sendall(bytes([byte]))
    assert server.post("/embed", {"inputs": TEXTS[0]}) == (200, [wanted[0]])
    for each in waiting:
        with each, each.makefile("rb") as answer:
            assert answer.readline().split()[1] == b"408"
            assert b'"error_type":"Validation"' in answer.read()  # and the connection ends
    for each in (*rude, trickling):
        each.close()
    assert server.post("/embed", {"inputs": TEXTS[0]}) == (200, [wanted[0]])
    server.settle()


def test_bodies_without_end(server: Process, wanted: list[list[float]]) -> None:
    head = b"POST /embed HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    endless = half(server, head + b"transfer-encoding: chunked\r\n\r\n")
    part = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    sent = 0
    try:
        while sent < 100_000_000:
            endless.sendall(part)
            sent += len(part)
    except OSError:  # the other side has had enough
        pass
    endless.close()
    assert sent < 20_000_000
    huge = half(server, request(b"", 10**15))
    assert huge.recv(100).split()[1] == b"413"
    huge.close()
    large = server.post("/embed", {"inputs": "a" * 300_000})
    assert large[0] == 413  # and the client could write all of it
    assert server.post("/embed", {"inputs": TEXTS[0]}) == (200, [wanted[0]])


def test_slow_readers_hold_nobody_up(server: Process, wanted: list[list[float]]) -> None:
    body = json.dumps({"inputs": TEXTS[-1:] * 5}).encode()
    text = request(body).replace(b"/embed ", b"/embed_all ")
    slow = [half(server, text) for _ in range(5)]
    for i in range(20):
        found = server.post("/embed", {"inputs": TEXTS[i % 3]})
        assert found == (200, [wanted[i % 3]])
    for each in slow:
        with each, each.makefile("rb") as answer:
            status, length = answer.readline(), 0
            while (line := answer.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split()[1])
            assert status.split()[1] == b"200"
            assert length > 5_000_000
            parts = []
            while sum(map(len, parts)) < length:
                parts.append(answer.read(min(1 << 16, length - sum(map(len, parts)))))
            assert len(json.loads(b"".join(parts))) == 5
    server.settle()


def test_clients_that_leave_free_their_places(server: Process, wanted: list[list[float]]) -> None:
    body = request(json.dumps({"inputs": [TEXTS[-1]] * 30}).encode())
    left = [half(server, body) for _ in range(20)]
    time.sleep(0.2)
    for each in left:
        each.close()
    assert server.post("/embed", {"inputs": TEXTS[0]}) == (200, [wanted[0]])
    server.settle()
    assert server.metric("yosort_clients_gone_total") > 0
    all_tokens = 20 * 30 * 1000
    assert server.metric("yosort_tokens_total") < all_tokens


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_gracefully_under_load(
    number: int, tmp_path: Path, wanted: list[list[float]]
) -> None:
    server = Process(tmp_path)
    started = threading.Semaphore(0)

    def ask(i: int) -> int:
        started.release()
        try:
            status, body = server.post("/embed", {"inputs": TEXTS[i % len(TEXTS)]})
        except (OSError, HTTPException):  # came too late: the door is closed
            return 0
        if status == 200:
            assert body == [wanted[i % len(TEXTS)]]
        else:
            assert (status, body["error_type"]) == (503, "Unhealthy")
        return int(status)

    with ThreadPoolExecutor(16) as clients:
        answers = [clients.submit(ask, i) for i in range(400)]
        for _ in range(100):
            started.acquire()
        server.process.send_signal(number)
        found = [answer.result() for answer in answers]
    assert server.process.wait(300) == 0
    assert 84 <= found.count(200) < 400  # of the 100 that had begun all but 16 were answered
    assert server.said().count("\n") == 1, server.said()


def test_a_second_signal_cuts_short(tmp_path: Path) -> None:
    server = Process(tmp_path, "--body-timeout", "600", "--shutdown-timeout", "600")
    with half(server, request(b"{", 100)) as hanging:
        server.process.terminate()
        while is_open(server):
            time.sleep(0.05)
        assert server.process.poll() is None  # it waits for the rest of that body
        server.process.terminate()
        assert hanging.recv(100).split()[1] == b"503"
        assert server.process.wait(300) == 0
    assert server.said().count("\n") == 1, server.said()


def test_the_time_to_finish_ends(tmp_path: Path) -> None:
    server = Process(tmp_path, "--body-timeout", "600", "--shutdown-timeout", "1")
    with half(server, request(b"{", 100)) as hanging:
        server.process.terminate()
        assert hanging.recv(100).split()[1] == b"503"
        assert server.process.wait(300) == 0


def is_open(server: Process) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=60).close()
    except OSError:
        return False
    return True


def test_after_kill_9_the_next_one_has_the_port(tmp_path: Path, wanted: list[list[float]]) -> None:
    first = Process(tmp_path)
    busy = half(first, request(json.dumps({"inputs": TEXTS}).encode()))
    first.process.kill()
    assert first.process.wait(60) == -signal.SIGKILL
    second = Process(tmp_path, port=first.port)
    busy.close()
    assert second.post("/embed", {"inputs": TEXTS[0]}) == (200, [wanted[0]])
    assert second.stop() == 0


def test_ten_thousand_requests_hold_memory_flat(server: Process, wanted: list[list[float]]) -> None:
    def ask(seed: int) -> None:
        connection = server.connect()
        for i in range(125):
            which = (seed + i) % 4
            kind = (seed + i) % 5
            if kind == 0:
                found = server.post("/v1/embeddings", {"input": TEXTS[which]}, connection)[1]
                assert found["data"][0]["embedding"] == wanted[which]
            elif kind == 1:
                assert server.post("/embed", {"inputs": ""}, connection)[0] == 422
            elif kind == 2:
                body = {"inputs": "A <mask> barks.", "top_k": 1 + i % 7}
                assert server.post("/fill-mask", body, connection)[0] == 200
            else:
                found = server.post("/embed", {"inputs": TEXTS[which]}, connection)
                assert found == (200, [wanted[which]])
        connection.close()

    def thousand(first: int) -> float:
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(ask, range(first, first + 8)))
        return server.metric("process_resident_memory_bytes")

    held = [thousand(8 * n) for n in range(10)]
    assert max(held[2:]) - held[1] < 12e6, held
