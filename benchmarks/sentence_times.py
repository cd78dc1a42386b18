"""Time the forms of a sentence model: each in a process of its own, asked in turn, round by round.

A noisy machine is so noisy for all. Texts are pieces of the documents; tokenising counts.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from sentence_documents import read
from sentence_encoders import ORIGINALS, OURS, longest
from tokenizers import Tokenizer
from worker import megabytes

#: Tokens of a text, special ones included -> how many texts a round.
TEXTS = {128: 32, 4096: 2}
COLUMNS = {128: "128 tokens, texts/s", 4096: "4,096 tokens, documents/s"}
#: Measured in its column of long documents as chunks of what it reads, cut beforehand.
TIMED = {**ORIGINALS, **{name: make for name, make in OURS.items() if name != "yosort, sampled 16"}}


def pieces(documents: list[str], tokenizer: Tokenizer, length: int, count: int) -> list[str]:
    """Return texts of exactly so many tokens (or, where words join up, a few less)."""
    text = "\n".join(documents)
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    step = length - 2
    starts = range(0, len(offsets) - step, step)
    if len(starts) < count:
        raise SystemExit(f"the documents have {len(starts)} pieces of {length} tokens, not {count}")
    return [text[offsets[a][0] : offsets[a + step - 1][1]] for a in starts[:count]]


def serve(pipe: Connection, name: str, folder: Path, threads: int) -> None:
    """Encode the texts that come, and answer with seconds and peak megabytes."""
    encoder = TIMED[name](folder, threads)
    while (texts := pipe.recv()) is not None:
        start = time.perf_counter()
        encoder.encode(texts)
        pipe.send((time.perf_counter() - start, megabytes()))


def times(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the report's "times", {form: {column: median, ..., "peak MB": ...}}."""
    tokenizer = Tokenizer.from_file(str(arguments.original / "tokenizer.json"))
    tokenizer.no_truncation()
    documents = [f.document for f in read(arguments.documents)]
    texts = {n: pieces(documents, tokenizer, n, count) for n, count in TEXTS.items()}
    # The original reads a long document as its chunks.
    limit = longest(arguments.original)
    chunked = texts | {4096: pieces(documents, tokenizer, limit, TEXTS[4096] * (4096 // limit))}
    context = mp.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name in TIMED:
        if arguments.only in name:
            folder = arguments.ours if name in OURS else arguments.original
            pipes[name], theirs = context.Pipe()
            worker = (theirs, name, folder, arguments.threads)
            context.Process(target=serve, args=worker, daemon=True).start()
    rates: dict[str, dict[str, list[float]]] = {
        name: {column: [] for column in COLUMNS.values()} for name in pipes
    }
    peaks = {}
    for number in range(arguments.rounds + 1):
        for name, pipe in pipes.items():
            for n, column in COLUMNS.items():
                pipe.send((texts if name in OURS else chunked)[n])
                seconds, peaks[name] = pipe.recv()
                if number:  # the first round warms up
                    rates[name][column].append(TEXTS[n] / seconds)
    for pipe in pipes.values():
        pipe.send(None)
    found = {
        name: {column: float(np.median(x)) for column, x in row.items()} | {"peak MB": peaks[name]}
        for name, row in rates.items()
    }
    yield {"times": found, "threads": arguments.threads}
