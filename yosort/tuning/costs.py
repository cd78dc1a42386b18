"""From which length on sampled attention is the cheaper form: what attention="auto" goes by."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yosort.config import YosoConfig
from yosort.ops.interface import HashFunctions, Layout, Ops


@dataclass(frozen=True)
class Costs:
    """What one head's attention over n tokens takes, per dimension of the head.

    The expectation takes `pair * n**2`; sampling takes, per hash function, `token * n` for hashing,
    adding and reading, and `bucket * 2**hash_code_len` for a table. Only their ratios matter.

    Attributes:
        pair: nanoseconds per pair of tokens.
        token: nanoseconds per token and hash function.
        bucket: nanoseconds per entry of a table and hash function.
    """

    pair: float
    token: float
    bucket: float

    def sampled_from(self, config: YosoConfig, num_hash: int) -> int:
        """Return the least number of tokens from which on sampling is the cheaper form.

        That is the positive root of pair n^2 = num_hash (token n + bucket 2^hash_code_len).
        """
        linear = num_hash * self.token
        constant = num_hash * self.bucket * 2**config.hash_code_len
        root = (linear + math.sqrt(linear**2 + 4 * self.pair * constant)) / (2 * self.pair)
        return math.ceil(root)


#: Measured on two cores of an AMD EPYC (Zen 4, AVX-512) with heads of 64 dimensions, 32 hash
#: functions of 9 bits, by benchmarks/parts.py. `yosort calibrate` measures another machine.
DEFAULT_COSTS = Costs(pair=0.0213, token=0.158, bucket=0.038)


def measure_costs(
    ops: Ops,
    config: YosoConfig,
    functions: HashFunctions,
    *,
    lengths: Sequence[int] = (128, 256, 512, 1024),
    rounds: int = 5,
) -> Costs:
    """Time both forms of attention on a backend, and fit their costs by least squares.

    Args:
        ops: the backend.
        config: heads, width and hash_code_len.
        functions: the hash functions to sample with.
        lengths: tokens of the texts to time, which are random.
        rounds: the fastest of so many counts.
    """
    exact: list[float] = []
    sampled: list[float] = []
    heads, code_len = config.num_attention_heads, config.hash_code_len
    with ops.running():
        prepared = ops.hash_functions(functions)
        for n in lengths:
            draw = np.random.default_rng(n).standard_normal((3, n, config.hidden_size), np.float32)
            qkv = [ops.parameter(rows) for rows in draw]
            offsets = np.array([0, n], np.int64)
            for seconds, is_sampled in ((exact, False), (sampled, True)):
                whole = Layout(heads, code_len, offsets, offsets, np.array([is_sampled]))
                arguments = (*qkv, ops.layout(whole), prepared)
                seconds.append(_seconds(ops, ops.attention, arguments, rounds))
    tokens = np.asarray(lengths, float)
    buckets = np.full_like(tokens, 2.0**config.hash_code_len)
    pair = _fit([tokens**2], exact)
    token, bucket = _fit([functions.num_hash * tokens, functions.num_hash * buckets], sampled)
    # Nanoseconds per dimension; a cost that noise made negative is next to none.
    return Costs(*(max(cost * 1e9 / config.hidden_size, 1e-6) for cost in (*pair, token, bucket)))


def _fit(terms: list[Any], seconds: list[float]) -> list[float]:
    """Return the costs of terms [lengths] that explain seconds with the least relative error."""
    scaled = np.stack(terms, axis=1) / np.asarray(seconds)[:, None]
    found: list[float] = np.linalg.lstsq(scaled, np.ones(len(seconds)), rcond=None)[0].tolist()
    return found


def _seconds(ops: Ops, call: Callable[..., Any], arguments: tuple[Any, ...], rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):  # the first one warms up
        start = time.perf_counter()
        ops.to_host(call(*arguments))
        times.append(time.perf_counter() - start)
    return min(times[1:])
