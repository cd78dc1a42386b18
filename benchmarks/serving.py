"""Ask `yosort serve` from many clients at once; print percentiles and tokens a second.

    pip install '.[serve]' && python benchmarks/serving.py MODEL --clients 64 --seconds 60

Beside it, on the same texts: the same pipeline called directly, with one text and with 32 at a
time; and, where litserve, torch and transformers are installed, LitServe over transformers' own
YosoModel of the same folder, batching up to 32 requests. One after another, each alone on the
machine. Answers are compared before anything is timed. With the defaults it takes some 3.5 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import yosort
from yosort.model.heads import encoder_of
from yosort.tasks import bundled_model

#: As the ragged batch of benchmarks/speed.py: log-normal lengths, in tokens.
MEDIAN, SIGMA, SHORTEST, LONGEST = 150.0, 0.9, 8, 512
AGREEMENT = 2e-3
Answer = Callable[[HTTPConnection, str], list[float]]


def make_texts(tokenizer: Any, count: int) -> list[tuple[str, int]]:
    """Return texts of the tokenizer's own words and how many tokens each has."""
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.lognormal(np.log(MEDIAN), SIGMA, count), SHORTEST, LONGEST).astype(int)
    texts = [tokenizer.decode(rng.integers(5, len(tokenizer), n).tolist()) for n in lengths - 2]
    return [(text, len(tokenizer(text)["input_ids"])) for text in texts]


def ask(path: str, body: dict[str, Any], connection: HTTPConnection) -> Any:
    """Post a request; return the answer, or raise for another status."""
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {text[:200]!r}")
    return json.loads(text)


def ask_yosort(connection: HTTPConnection, text: str) -> list[float]:
    """Return the vector of a text from `yosort serve`."""
    vector: list[float] = ask("/embed", {"inputs": text}, connection)[0]
    return vector


def ask_litserve(connection: HTTPConnection, text: str) -> list[float]:
    """Return the vector of a text from the LitServe of serving_litserve.py."""
    vector: list[float] = ask("/predict", {"text": text}, connection)["vector"]
    return vector


@contextmanager
def running(command: list[str], ready: Callable[[str], int | None]) -> Iterator[int]:
    """Run a server, wait until it answers, and yield its port."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        with open(path, "w") as log:
            process = subprocess.Popen(
                command, cwd=folder, stderr=log, stdout=log, start_new_session=True
            )
        try:
            deadline = time.monotonic() + 300
            while (port := ready(path.read_text())) is None:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command}: {path.read_text()}")
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):  # workers that outlive it would slow what follows
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def load(
    port: int, answer: Answer, texts: list[tuple[str, int]], clients: int, seconds: float
) -> dict[str, float]:
    """Ask from so many clients, each at once after its answer, for so many seconds."""
    times: list[float] = []
    tokens, errors = [0], [0]
    lock, end = threading.Lock(), time.monotonic() + seconds

    def client(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=seconds + 60)
        mine: list[float] = []
        count = wrong = 0
        for i in range(number, 10**9, clients):
            if time.monotonic() >= end:
                break
            text, length = texts[i % len(texts)]
            begin = time.perf_counter()
            try:
                answer(connection, text)
            except (OSError, RuntimeError):
                wrong += 1
                connection.close()
                continue
            mine.append(time.perf_counter() - begin)
            count += length
        connection.close()
        with lock:
            times.extend(mine)
            tokens[0] += count
            errors[0] += wrong

    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return summary(times, tokens[0], time.monotonic() - begin, errors[0])


def direct(
    embed: Any, texts: list[tuple[str, int]], batch: int, seconds: float
) -> dict[str, float]:
    """Call the pipeline with so many texts at a time."""
    times: list[float] = []
    tokens = at = 0
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        some = [texts[(at + i) % len(texts)] for i in range(batch)]
        at += batch
        start = time.perf_counter()
        embed([text for text, _ in some], pooling="mean", normalize=True)
        times += [time.perf_counter() - start] * batch
        tokens += sum(length for _, length in some)
    return summary(times, tokens, time.monotonic() - begin, 0)


def summary(times: list[float], tokens: int, seconds: float, errors: int) -> dict[str, float]:
    """Return what the table shows."""
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [float("nan")] * 99
    return {
        "requests": len(times),
        "errors": errors,
        "p50": cuts[49],
        "p95": cuts[94],
        "p99": cuts[98],
        "texts_a_second": len(times) / seconds,
        "tokens_a_second": tokens / seconds,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default=str(bundled_model()), help="a folder")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each server's load")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    arguments = parser.parse_args()
    model, threads = str(Path(arguments.model).resolve()), arguments.threads
    source = yosort.load(model, device="cpu", num_threads=threads)
    texts = make_texts(source.tokenizer, 512)
    embed = yosort.pipeline("feature-extraction", encoder_of(source))
    wanted = embed(texts[0][0], pooling="mean", normalize=True)
    rows: dict[str, dict[str, float]] = {}

    def serve(name: str, command: list[str], ready: Any, answer: Answer, exact: bool) -> None:
        with running(command, ready) as port:
            connection = HTTPConnection("127.0.0.1", port, timeout=120)
            got = answer(connection, texts[0][0])
            connection.close()
            far = float(np.abs(np.subtract(got, wanted)).max())
            if far > (0.0 if exact else AGREEMENT):
                raise SystemExit(f"{name}: its answer is {far} from the pipeline's")
            rows[name] = load(port, answer, texts, arguments.clients, arguments.seconds)

    def listening(said: str) -> int | None:
        found = re.search(r" on http://127\.0\.0\.1:(\d+)\n", said)
        return int(found[1]) if found else None

    command = [sys.executable, "-m", "yosort", "serve", model, "--port", "0"]
    command += ["--num-threads", str(threads), "--max-concurrent-requests", "4096"]
    serve(f"yosort serve, {arguments.clients} clients", command, listening, ask_yosort, True)
    share = arguments.seconds / 3
    rows["the pipeline, 1 text a call"] = direct(embed, texts, 1, share)
    rows["the pipeline, 32 texts a call"] = direct(embed, texts, 32, share)
    if all(map(find_spec, ("litserve", "torch", "transformers"))):
        port = free_port()
        peer = Path(__file__).resolve().with_name("serving_litserve.py")
        command = [sys.executable, str(peer), model, str(port), str(threads)]

        def healthy(said: str) -> int | None:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/health")
                return port if connection.getresponse().status == 200 else None
            except OSError:
                return None
            finally:
                connection.close()

        name = f"LitServe over transformers, {arguments.clients} clients"
        serve(name, command, healthy, ask_litserve, False)
    else:
        print("litserve, torch and transformers are not all installed: no other server is timed")
    print(f"{model}, {threads} threads; texts of {np.mean([n for _, n in texts]):.0f} tokens\n")
    print("| | requests | errors | p50 ms | p95 ms | p99 ms | texts/s | tokens/s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        cells = [f"{row['requests']:,}", f"{row['errors']:,}"]
        cells += [f"{row[p] * 1e3:,.0f}" for p in ("p50", "p95", "p99")]
        cells += [f"{row['texts_a_second']:,.1f}", f"{row['tokens_a_second']:,.0f}"]
        print(f"| {name} | {' | '.join(cells)} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def free_port() -> int:
    """Return a port that was free just now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
