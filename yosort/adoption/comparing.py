"""The new model beside the original: vectors, decisions, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yosort.adoption import original
from yosort.adoption.heads import classify, score
from yosort.adoption.sources import Source
from yosort.adoption.texts import Floats, Tokens
from yosort.config import YosoConfig
from yosort.model.attention import draw_attention
from yosort.model.encoder import Encoder, PackedInputs, prepare_encoder
from yosort.ops.interface import Array, Ops

NUM_HASHES = (16, 32, 64, 128)
#: Of two lengths, the one that most originals end at, and one that they do not reach.
LENGTHS = (512, 4096)
#: Share of tokens to mask for a masked language model.
MASKED = 0.15
#: Rows scored at once: a vocabulary has 100,000 columns.
_ROWS = 512


@dataclass(frozen=True)
class Setting:
    """One form of the new model, measured on the held-out texts.

    Attributes:
        name: "exact", or how many hash functions; "original" for the original itself.
        cosine: mean cosine between a text's vector and the original's.
        agreement: share of first guesses that are the original's (best token where it was masked,
            best label of a text or token, best start and end); None where there is no head.
        seconds: of one text of each of `LENGTHS`; None where the model does not take it.
    """

    name: str
    cosine: float
    agreement: float | None
    seconds: tuple[float | None, ...]


def encode(encoder: Encoder, tokens: Tokens, num_hash: int | None) -> Array:
    """Return last hidden states [total, hidden]; num_hash None: exact."""
    mode = "expectation" if num_hash is None else "sampled"
    attention = draw_attention(encoder.ops, encoder.config, mode, num_hash or 1, seed=0)
    found = []
    for _, batch in tokens.batches():
        types = np.zeros(len(batch.ids), np.int64)
        inputs = PackedInputs(batch.packed(), batch.ids, batch.positions, types)
        with encoder.ops.running():
            (output,) = encoder(inputs, [attention])
            found.append(np.array(output.last))
    return np.concatenate(found)


def cosine(vectors: Floats, wanted: Floats) -> float:
    """Return the mean cosine of vectors of length 1."""
    return float(np.mean((vectors * wanted).sum(axis=1)))


def compare(
    source: Source,
    theirs: Encoder,
    config: YosoConfig,
    weights: Mapping[str, Floats],
    held: Tokens,
    *,
    pooling: str,
    mask_id: int | None,
    special: list[int],
) -> tuple[Setting, ...]:
    """Measure the original, and the new model exact and sampled.

    Args:
        source: the original.
        theirs: its encoder.
        config: of the new model.
        weights: likewise, its head's among them.
        held: the held-out texts.
        pooling: "mean" or "cls", how a text's vector is made.
        mask_id: the mask's id, for a masked language model.
        special: ids that are not masked.
    """
    ops = theirs.ops
    ours = prepare_encoder(config, weights, ops)
    wanted = held.pooled(original.encode(theirs, held), pooling)
    asked = held
    if source.architecture == "YosoForMaskedLM" and mask_id is not None:
        asked = held.masked(mask_id, MASKED, special)
    guessed = _guesses(
        source, config, source.weights, asked, original.encode(theirs, asked), ops, mask_id
    )
    takes = source.config.max_position_embeddings
    seconds = tuple(
        _time(lambda t: original.encode(theirs, t), config, n) if n <= takes else None
        for n in LENGTHS
    )
    settings = [Setting("original", 1.0, None if guessed is None else 1.0, seconds)]
    for num_hash in (None, *NUM_HASHES):
        hidden = encode(ours, held, num_hash)
        again = hidden if asked is held else encode(ours, asked, num_hash)
        guesses = _guesses(source, config, weights, asked, again, ops, mask_id)
        agreement = None
        if guesses is not None and guessed is not None and len(guessed):
            agreement = float(np.mean(guesses == guessed))
        seconds = tuple(
            _time(lambda t, m=num_hash: encode(ours, t, m), config, n)  # type: ignore[misc]
            if n <= config.max_position_embeddings
            else None
            for n in LENGTHS
        )
        name = "exact" if num_hash is None else str(num_hash)
        settings.append(
            Setting(name, cosine(held.pooled(hidden, pooling), wanted), agreement, seconds)
        )
    return tuple(settings)


def _time(run: Callable[[Tokens], Array], config: YosoConfig, length: int) -> float:
    """Return the seconds of one text of so many tokens, the better of two runs."""
    ids = np.random.default_rng(0).integers(0, config.vocab_size, length)
    text = Tokens.of([ids])
    taken = []
    for _ in range(2):
        begin = time.perf_counter()
        run(text)
        taken.append(time.perf_counter() - begin)
    return min(taken)


def _guesses(
    source: Source,
    config: YosoConfig,
    weights: Mapping[str, Floats],
    tokens: Tokens,
    hidden: Array,
    ops: Ops,
    mask_id: int | None,
) -> npt.NDArray[np.int64] | None:
    """Return the best label of each row that the head decides on; None without a head.

    `weights` without a classification head stand for the original, whose head is its own.
    """
    if source.architecture == "YosoModel":
        return None
    rows = np.arange(len(tokens.ids))
    if source.classifier is not None:
        rows = tokens.offsets[:-1]
    elif source.architecture == "YosoForMaskedLM":
        rows = np.flatnonzero(tokens.ids == mask_id)
    best = []
    for first in range(0, len(rows), _ROWS):
        x = np.ascontiguousarray(hidden[rows[first : first + _ROWS]])
        if source.classifier is not None and "classifier.dense.weight" not in weights:
            scores = classify(ops, source.classifier, x)
        else:
            scores = score(ops, source.architecture, config, weights, x)
        if source.architecture == "YosoForQuestionAnswering":
            best.append(scores)
        # Of one label, a score above 0 is one guess, another the other.
        elif scores.shape[1] == 1:
            best.append(scores[:, 0] > 0)
        else:
            best.append(scores.argmax(axis=1))
    if source.architecture == "YosoForQuestionAnswering":
        ends = np.concatenate(best)
        bounds = zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)
        return np.concatenate([ends[a:b].argmax(axis=0) for a, b in bounds])
    return np.concatenate([*best, np.empty(0, np.int64)]).astype(np.int64)
