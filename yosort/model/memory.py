"""A call that cannot fit is refused before it starts, instead of being killed on the way.

Linux grants memory that it does not have and ends the process that touches it. So a call's need
is held against what there is: a lower bound of the need, counted in arrays that are certainly
there at the same time, against a generous reading of what can be had. What fits is never refused;
what is let through may still, by a margin, not fit.
"""

from __future__ import annotations

from yosort.config import YosoConfig
from yosort.model.batch import PackedBatch


def numbers_of_call(
    config: YosoConfig,
    batch: PackedBatch,
    *,
    answer: int,
    keep_hidden_states: bool,
    keep_contexts: bool,
) -> int:
    """Return how many numbers of the compute type a call holds at its peak, at least.

    Args:
        config: the model's sizes.
        batch: the packed tokens.
        answer: numbers of the head's largest array, its scores of the vocabulary for instance.
        keep_hidden_states: every layer's output is returned.
        keep_contexts: every layer's attention context is returned.
    """
    layers = config.num_hidden_layers
    if layers == 1:
        encoder = 1 + 3  # x; q, k, v
    else:
        # At the end of the last layer but one: x and the context, or all of them so far; its q, k,
        # v; its output; the next layer's q, k, v.
        hidden_states = layers - 1 if keep_hidden_states else 1
        contexts = layers - 1 if keep_contexts else 1
        encoder = hidden_states + contexts + 3 + 1 + 3
    kept = (layers + 1 if keep_hidden_states else 0) + (layers if keep_contexts else 0)
    row = batch.total * config.hidden_size
    return max(encoder * row, kept * row + answer)
