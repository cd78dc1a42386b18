"""The CPU backend with products of bfloat16: half of float32's weights to keep and to read.

Weights and what meets them are rounded to bfloat16, products summed in float32:
`definitions.bfloat16_linear`. In the expectation, queries and keys are rounded as well, and weights
and values; cosines are those of the rounded vectors, by whose lengths float32 divides
(`definitions.bfloat16_directions`). All else is float32, the heads' small maps, too.
"""

from __future__ import annotations

import logging

from yosort.ops.cpu.backend import CpuOps

_log = logging.getLogger("yosort")


class Bfloat16Ops(CpuOps):
    """See the module."""

    compute_type = "bfloat16"
    attention_type = "bfloat16"

    def __init__(self, num_threads: int | None = None, instruction_set: str | None = None) -> None:
        super().__init__(num_threads, instruction_set)
        if not self.kernels.multiplies("bfloat16"):
            _log.info(
                "bfloat16: this processor (%s) is no faster with it: it saves memory here, "
                "and no time",
                self.kernels.name,
            )
