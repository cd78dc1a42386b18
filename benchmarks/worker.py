"""A peer in a process of its own: reads requests as JSON lines, answers with seconds and memory."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent


def megabytes(entry: str = "VmHWM") -> float:
    """Return this process's peak resident memory as Linux counts it; or "VmRSS", what it is now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(entry):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {entry} in /proc/self/status")


def ids_of(n: int, vocab_size: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    """Return the same random ids in every process."""
    return np.random.default_rng([seed, n]).integers(3, vocab_size, (batch, n))


def padded_batches(lengths: list[int], size: int, vocab_size: int) -> list[Any]:
    """Return (ids, mask) of texts in order of arrival, `size` a batch, padded to its longest."""
    batches = []
    for begin in range(0, len(lengths), size):
        part = lengths[begin : begin + size]
        ids = np.ones((len(part), max(part)), np.int64)
        mask = np.zeros_like(ids)
        for i, n in enumerate(part):
            ids[i, :n] = ids_of(n, vocab_size, seed=begin + i)[0]
            mask[i, :n] = 1
        batches.append((ids, mask))
    return batches


def answer(peer: Any, request: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    """Run one request."""
    if request["do"] == "length":
        ids = ids_of(request["n"], vocab_size)
        start = time.perf_counter()
        hidden = peer.encode(ids)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "peak": megabytes(), "sample": sample(hidden)}
    if request["do"] == "ragged":
        batches = padded_batches(request["lengths"], request["batch"], vocab_size)
        start = time.perf_counter()
        for ids, mask in batches:
            peer.encode(ids, mask)
        return {"seconds": time.perf_counter() - start, "peak": megabytes()}
    raise ValueError(request)


def sample(hidden: np.ndarray) -> list[float]:
    """Return some numbers of an answer, to compare peers by."""
    flat = np.asarray(hidden).reshape(-1)
    return [float(x) for x in flat[:: max(1, len(flat) // 64)]]


def main() -> None:
    """Serve requests until the input ends."""
    name, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    # Keep the protocol's stream to ourselves: libraries print what they like on stdout.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, str(HERE))
    from peers import PEERS

    peer = PEERS[name](folder, threads)
    vocab_size = json.loads((folder / "config.json").read_text())["vocab_size"]
    print(json.dumps({"ready": True}), file=channel, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(peer, json.loads(line), vocab_size)), file=channel, flush=True)


if __name__ == "__main__":
    main()
