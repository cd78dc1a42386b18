"""Embed texts of mixed lengths: a pipeline's batches beside padded batches of 32.

    python benchmarks/batching.py [--model FOLDER] [--texts 256] [--rounds 5]

The same texts, model, kernels and threads, in one run, in turn, medians. "padded" is what a
framework does: 32 texts in order of arrival, padded to the longest, padding computed like text
(`padding="attended"`). "padded, sorted" gets them sorted by length first, which needs all of them
at once. Lengths are log-normal (median 60 words, sigma 0.9, at most 512), from a fixed seed.
transformers joins in, padded, where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import yosort
from yosort.tasks import bundled_model

BATCH = 32


def draw(tokenizer: Any, count: int) -> list[str]:
    """Draw texts of words, each a token or two."""
    rng = np.random.default_rng(0)
    words = [t[1:] for t in tokenizer.backend.get_vocab() if t[:1] == "Ġ" and t[1:].isalpha()]
    words.sort()
    lengths = np.exp(rng.normal(np.log(60), 0.9, count)).clip(3, 512).astype(int)
    return [" ".join(rng.choice(words, max(1, n - 2))) for n in lengths]


def padded(ids: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask [batch, longest]."""
    shape = (len(ids), max(map(len, ids)))
    array, mask = np.ones(shape, np.int64), np.zeros(shape, np.int64)
    for row, (kept, text) in enumerate(zip(mask, ids, strict=True)):
        array[row, : len(text)] = text
        kept[: len(text)] = 1
    return array, mask


def mean(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mean state of each text's tokens."""
    weights = mask[..., None].astype(np.float32)
    return (states * weights).sum(axis=1) / weights.sum(axis=1)


def in_batches(
    ids: list[list[int]],
    forward: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    by_length: bool,
) -> np.ndarray:
    """Embed texts in padded batches; results in their order."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i])) if by_length else range(len(ids))
    order = list(order)
    vectors = []
    for begin in range(0, len(order), BATCH):
        array, mask = padded([ids[i] for i in order[begin : begin + BATCH]])
        vectors.append(mean(forward(array, mask), mask))
    return np.concatenate(vectors)[np.argsort(order)]


def transformers_forward(source: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return transformers' forward over the same weights."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(source, dtype=torch.float32).eval()

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            output = model(torch.from_numpy(ids), torch.from_numpy(mask))
        return output.last_hidden_state.numpy()

    return forward


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=str(bundled_model()))
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    options = {"device": "cpu", "attention": "expectation"}
    embed = yosort.pipeline("feature-extraction", arguments.model, **options)
    attended = yosort.YosoModel.from_pretrained(arguments.model, padding="attended", **options)
    texts = draw(embed.tokenizer, arguments.texts)

    def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.asarray(attended(ids, mask).last_hidden_state)

    def tokenize() -> list[list[int]]:
        return [embed.tokenizer.encoding(text).ids for text in texts]

    ways: dict[str, Callable[[], np.ndarray]] = {
        "pipeline": lambda: np.array(embed(texts, pooling="mean", return_tensors=True)),
        "padded": lambda: in_batches(tokenize(), forward, by_length=False),
        "padded, sorted": lambda: in_batches(tokenize(), forward, by_length=True),
    }
    if importlib.util.find_spec("transformers"):
        theirs = transformers_forward(arguments.model)
        ways["transformers, padded"] = lambda: in_batches(tokenize(), theirs, by_length=False)

    lengths = np.array([len(ids) for ids in tokenize()])
    cells = sum(
        len(batch) * batch.max() for batch in np.split(lengths, range(BATCH, len(lengths), BATCH))
    )
    print(
        f"{len(texts)} texts of {lengths.min()} to {lengths.max()} tokens, {lengths.sum():,} in "
        f"all; padded batches of {BATCH} compute {cells:,}"
    )
    times: dict[str, list[float]] = {name: [] for name in ways}
    wanted = None
    for round_ in range(arguments.rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            vectors = way()
            if round_:  # the first one warms up
                times[name].append(time.perf_counter() - start)
            elif name == "padded":
                wanted = vectors
            elif name == "transformers, padded":
                # The same work: the same numbers, padding included.
                assert wanted is not None
                error = np.abs(vectors - wanted).max() / np.abs(wanted).max()
                print(f"transformers and yosort's padded batches differ by {error:.0e} at most")
    own = statistics.median(times["pipeline"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        rate = lengths.sum() / median
        print(f"{name:22} {median:8.3f} s {rate:10,.0f} tokens/s   {median / own:5.2f} x")


if __name__ == "__main__":
    main()
