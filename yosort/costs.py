"""From which length on sampled attention is the cheaper form: what attention="auto" goes by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from yosort.config import YosoConfig


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
#: functions of 9 bits: docs/performance.md. `yosort calibrate` measures another machine.
DEFAULT_COSTS = Costs(pair=0.0213, token=0.158, bucket=0.038)
