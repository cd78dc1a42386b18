"""Programs that the tests of this folder run in processes of their own: python scripts.py NAME ...

Each prints what it has found; a process that hangs is ended by the test that started it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import yosort
from yosort.model.memory import numbers_of_call

CONFIG = yosort.YosoConfig(
    vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=96, max_position_embeddings=2048, num_hash=8, hash_code_len=5,
)  # fmt: skip


def ids(n: int, texts: int = 1) -> np.ndarray:
    """Return the same token ids for the same sizes: int64 [texts, n]."""
    return np.random.default_rng([n, texts]).integers(0, 50, (texts, n))


def make(mode: str = "sampled", num_threads: int = 3, seed: int = 0) -> yosort.YosoModel:
    """Return a small model of random weights, the same in every process."""
    return yosort.YosoModel(CONFIG, seed, device="cpu", attention=mode, num_threads=num_threads)


def digest(model: Any, n: int = 300, texts: int = 2) -> str:
    """Return a fingerprint of all bits of an answer."""
    return hashlib.sha256(model(ids(n, texts)).last_hidden_state.tobytes()).hexdigest()


def prefork(workers: int, threads: int) -> None:
    """A server that loads and warms the model, then forks workers that answer from threads."""
    model = make()
    wanted = digest(model)
    children = []
    for _ in range(workers):
        if (child := os.fork()) == 0:
            gate = threading.Barrier(threads)

            def answer(_: int, gate: threading.Barrier = gate) -> str:
                gate.wait()  # all make their first call, which starts the child's threads, at once
                return digest(model)

            with ThreadPoolExecutor(threads) as callers:
                right = set(callers.map(answer, range(threads))) == {wanted}
            os._exit(0 if right else 1)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print("children", codes, "parent", digest(model) == wanted)


def fork_amid_calls(times: int) -> None:
    """Fork while other threads are inside calls: the child's locks must not be theirs."""
    model = make(num_threads=2)
    wanted = digest(model)
    stop = threading.Event()

    def call_on() -> None:
        while not stop.is_set():
            digest(model)

    callers = [threading.Thread(target=call_on) for _ in range(3)]
    for caller in callers:
        caller.start()
    codes = []
    for _ in range(times):
        if (child := os.fork()) == 0:
            right = digest(model) == wanted and model._ops.workspace.kept == 0
            os._exit(0 if right else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    for caller in callers:
        caller.join()
    print("children", codes, "parent", digest(model) == wanted)


def interrupted(times: int) -> None:
    """Ctrl-C during calls: each is a KeyboardInterrupt, and the model goes on unharmed."""
    model = make("expectation")
    wanted = digest(model)
    long = ids(2048, 4)
    caught = 0
    for i in range(times):
        sender = threading.Timer(0.02 + 0.003 * i, os.kill, (os.getpid(), signal.SIGINT))
        sender.start()
        try:
            while True:
                model(long)
        except KeyboardInterrupt:
            caught += 1
        sender.join()
        if digest(model) != wanted:
            print("another answer after an interrupt")
    print("caught", caught, "kept", model._ops.workspace.kept)


def shut_down(how: str) -> None:
    """End the interpreter while a thread is inside a call."""
    model = make("expectation")
    model(ids(64))
    inside = threading.Event()

    def call_on() -> None:
        while True:
            inside.set()
            model(ids(2048, 2))

    threading.Thread(target=call_on, daemon=True).start()
    inside.wait()
    time.sleep(0.05)
    print("leaving", flush=True)
    if how == "exit":
        sys.exit(0)
    if how == "error":
        raise RuntimeError("the main thread died")
    os.kill(os.getpid(), signal.SIGTERM)


def soak(calls: int) -> None:
    """Many calls of mixed sizes and modes: print the growth of resident memory, in bytes.

    The calls of the first tenth warm up: the allocator takes what the largest of them need.
    """
    models = [make("sampled", 2), make("expectation", 2, seed=1)]
    draw = np.random.default_rng(0)
    largest = ids(512, 4)
    before = 0
    for call in range(calls + calls // 10):
        if call == calls // 10:
            for model in models:
                model(largest)
            before = resident()
        model = models[call % 2]
        n, texts = int(draw.integers(1, 129)), int(draw.integers(1, 5))
        if call % 100 == 50:
            n = 512
        mask = np.ones((texts, n), int)
        mask[0, n // 2 + 1 :] = 0
        model(ids(n, texts), attention_mask=mask, output_hidden_states=call % 3 == 0)
    growth = resident() - before
    print("calls", calls, "resident", before, "growth", growth)


def peak(kind: str, mode: str, kept: str, layers: int) -> None:
    """Print what a call is estimated to need, and by how much it raised the resident peak."""
    config = replace(CONFIG, num_hidden_layers=layers, vocab_size=1000)
    model = getattr(yosort, kind)(config, device="cpu", attention=mode, num_threads=1)
    batch = ids(128, 160) % 50
    model(batch[:1])
    numbers: list[int] = []
    check = model._check_memory

    def note(request: Any) -> None:
        numbers.append(
            numbers_of_call(
                config,
                request.inputs.batch,
                answer=request.wanted.size,
                keep_hidden_states=request.keep_hidden_states,
                keep_contexts=request.keep_contexts,
            )
        )
        check(request)

    model._check_memory = note
    before = resident()
    states = kept == "states"
    model(batch, output_hidden_states=states, output_attentions=states)
    highest = int(
        next(
            line
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        ).split()[1]
    )
    print("estimate", numbers[0] * 4, "measured", (highest << 10) - before)


def peaks() -> None:
    """Run `peak` for many kinds of calls, each in a forked child, whose memory starts low."""
    for kind in ("YosoModel", "YosoForMaskedLM"):
        for mode in ("expectation", "sampled"):
            for kept in ("nothing", "states"):
                for layers in (1, 2, 5):
                    if (child := os.fork()) == 0:
                        print(kind, mode, kept, layers, end=" ")
                        peak(kind, mode, kept, layers)
                        sys.stdout.flush()
                        os._exit(0)
                    os.waitpid(child, 0)


def resident() -> int:
    """Return this process's resident memory in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    program = globals()[sys.argv[1]]
    program(*(int(word) if word.isdecimal() else word for word in sys.argv[2:]))
