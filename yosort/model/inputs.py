"""The arguments of a model call: read, checked, packed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import FLOAT32_MAX
from yosort.config import YosoConfig
from yosort.errors import InputError
from yosort.model.batch import PackedBatch, pack_mask, read_mask
from yosort.model.encoder import PackedInputs

ArrayLike = Any

#: Positions count from 2: the RoBERTa habit of keeping two rows for padding.
FIRST_POSITION = 2


@dataclass(frozen=True)
class Call:
    """The arguments of one call, as they came; see the models' `__call__`."""

    input_ids: ArrayLike = None
    attention_mask: ArrayLike = None
    token_type_ids: ArrayLike = None
    position_ids: ArrayLike = None
    head_mask: ArrayLike = None
    inputs_embeds: ArrayLike = None
    labels: ArrayLike = None
    start_positions: ArrayLike = None
    end_positions: ArrayLike = None
    positions: ArrayLike = None
    output_attentions: bool | None = None
    output_hidden_states: bool | None = None
    return_dict: bool | None = None
    seed: Any = None
    num_hash: int | None = None
    choices: int = 1


def to_numpy(name: str, values: ArrayLike) -> npt.NDArray[Any]:
    """Return numpy, cupy or nested-list input as a numpy array."""
    if isinstance(values, Mapping):
        raise InputError(f"{name}: wanted an array, got a mapping: write model(**inputs)")
    if hasattr(values, "get") and hasattr(values, "device"):  # a cupy array
        values = values.get()
    if isinstance(values, np.ma.MaskedArray):  # whose mask the next line would drop
        raise InputError(
            f"{name}: wanted a plain array, got a masked one; its `filled` makes one, and "
            "attention_mask tells which tokens count"
        )
    try:
        array = np.asarray(values)
    except (ValueError, TypeError):
        raise InputError(
            f"{name}: wanted an array or nested lists of equal lengths, got something else; "
            "fill up shorter texts, and mark the filling by 0 in attention_mask"
        ) from None
    if array.dtype == object:
        raise InputError(f"{name}: wanted numbers in nested lists of equal lengths")
    return array


def read_ids(name: str, values: ArrayLike, limit: int | None = None) -> npt.NDArray[np.int64]:
    """Return integer input as int64, checked to lie in [0, limit) where a limit is given."""
    array = to_numpy(name, values)
    if array.size == 0 and array.dtype.kind == "f":  # what an empty list becomes
        array = array.astype(np.int64)
    if array.dtype.kind in "US":
        hint = 'a tokenizer makes them of a text: model(**tokenizer(text, return_tensors="np"))'
        raise InputError.wanted(name, "integers", got="text", hint=hint)
    if array.dtype.kind not in "iu":
        raise InputError(f"{name}: wanted integers, got dtype {array.dtype}")
    if array.dtype == np.uint64 and array.size and array.max() >= 1 << 63:
        raise InputError(f"{name}: wanted integers below 2 ** 63, got {array.max()}")
    array = array.astype(np.int64)
    if limit is not None:
        check_range(name, array, limit)
    return array


def check_range(name: str, array: npt.NDArray[np.int64], limit: int) -> None:
    """Raise InputError, with the place, unless all values lie in [0, limit)."""
    wrong = np.argwhere((array < 0) | (array >= limit))
    if len(wrong):
        place = ", ".join(str(i) for i in wrong[0])
        raise InputError(
            f"{name}[{place}]: wanted 0 to {limit - 1}, got {int(array[tuple(wrong[0])])}"
        )


def flatten_choices(call: Call) -> Call:
    """Turn inputs [batch, choices, ...] into [batch * choices, ...], the choices noted."""
    changed: dict[str, Any] = {}
    outer: tuple[int, ...] | None = None
    for name, axes in (
        ("input_ids", 3),
        ("attention_mask", 3),
        ("token_type_ids", 3),
        ("position_ids", 3),
        ("inputs_embeds", 4),
    ):
        values = getattr(call, name)
        if values is None:
            continue
        array = to_numpy(name, values)
        if array.ndim != axes:
            wanted = "[batch, choices, n" + (", hidden]" if axes == 4 else "]")
            raise InputError(f"{name}: wanted shape {wanted}, got {list(array.shape)}")
        outer = outer or array.shape[:2]
        if array.shape[:2] != outer:
            raise InputError(
                f"{name}: wanted [batch, choices] to be {list(outer)}, as the other input has, "
                f"got {list(array.shape[:2])}"
            )
        if outer[1] == 0:
            raise InputError(f"{name}: wanted at least one choice, got shape {list(array.shape)}")
        changed[name] = array.reshape(outer[0] * outer[1], *array.shape[2:])
    return replace(call, **changed, choices=1 if outer is None else outer[1])


def read_inputs(call: Call, config: YosoConfig, *, padding: str) -> PackedInputs:
    """Check what a call gives the encoder, and pack it.

    Args:
        call: input_ids [texts, n], or inputs_embeds [texts, n, hidden]; attention_mask,
            token_type_ids [texts, n]; position_ids [n] or [texts, n].
        config: the model's sizes.
        padding: "masked": tokens of mask 0 are left out; "attended": they stay in the attention,
            as in transformers.

    Raises:
        InputError: anything the model cannot take, with what was wanted and what came.
    """
    if (call.input_ids is None) == (call.inputs_embeds is None):
        got = "neither" if call.input_ids is None else "both"
        raise InputError(f"wanted input_ids or inputs_embeds, got {got}")
    if call.input_ids is not None:
        grid = read_ids("input_ids", call.input_ids)
        if grid.ndim != 2:
            hint = None
            if grid.ndim == 1:
                hint = 'one text is a batch of one: tokenizer(text, return_tensors="np") makes one'
            raise InputError.wanted(
                "input_ids", "shape [batch, n]", got=list(grid.shape), hint=hint
            )
    else:
        grid = to_numpy("inputs_embeds", call.inputs_embeds)
        if grid.ndim != 3 or grid.shape[2] != config.hidden_size:
            raise InputError(
                f"inputs_embeds: wanted shape [batch, n, {config.hidden_size}], "
                f"got {list(grid.shape)}"
            )
        if grid.dtype.kind not in "fiu":
            raise InputError(f"inputs_embeds: wanted numbers, got dtype {grid.dtype}")
    texts, n = grid.shape[:2]
    mask = None if call.attention_mask is None else to_numpy("attention_mask", call.attention_mask)
    batch = pack_mask(read_mask(mask, texts, n), attended=padding == "attended")
    _check_length(batch, config)
    return PackedInputs(
        batch,
        _read_words(grid, batch, config),
        _read_positions(call.position_ids, batch, config),
        _read_token_types(call.token_type_ids, batch, config),
    )


def _check_length(batch: PackedBatch, config: YosoConfig) -> None:
    longest = int(batch.slots.max()) + 1 if batch.total else 0
    if longest > config.max_position_embeddings:
        raise InputError(
            f"text too long: wanted at most {config.max_position_embeddings} tokens "
            f"(max_position_embeddings), got {longest}; truncate it or split it"
        )


def _read_words(grid: npt.NDArray[Any], batch: PackedBatch, config: YosoConfig) -> npt.NDArray[Any]:
    if grid.ndim == 3:
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused below
            rows = np.ascontiguousarray(batch.pack(grid), np.float32)
        # Layer normalisation sums the squares of differences: beyond float32, all would be zeros.
        largest = math.sqrt(FLOAT32_MAX / (4 * config.hidden_size))
        bad = np.flatnonzero(~(np.abs(rows).max(axis=1) <= largest))
        if bad.size:
            text, token = divmod(int(batch.cells[bad[0]]), batch.shape[1])
            raise InputError(
                f"inputs_embeds[{text}, {token}]: wanted finite values of at most {largest:.1e}, "
                "whose squares can be summed in float32, got NaN or larger ones"
            )
        return rows
    words = batch.pack(grid)
    _check_words(words, batch, config)
    return np.ascontiguousarray(words)


def _check_words(words: npt.NDArray[Any], batch: PackedBatch, config: YosoConfig) -> None:
    wrong = np.flatnonzero((words < 0) | (words >= config.vocab_size))
    if wrong.size:
        text, token = divmod(int(batch.cells[wrong[0]]), batch.shape[1])
        raise InputError(
            f"input_ids[{text}, {token}]: wanted a token id from 0 to {config.vocab_size - 1}, "
            f"got {int(words[wrong[0]])}; does the tokenizer belong to this model?"
        )


def pack_texts(
    ids: Sequence[Sequence[int]],
    types: Sequence[Sequence[int]],
    config: YosoConfig,
    *,
    padding: str,
) -> PackedInputs:
    """Pack token ids and types, a list a text, as `read_inputs` packs the padded arrays of them.

    With `padding` "attended" texts are filled up to the longest, as there.

    Raises:
        InputError: a text that is too long, or an id that the model does not have.
    """
    lengths = np.array([len(text) for text in ids], np.int64)
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    batch = pack_mask(mask, attended=padding == "attended")
    _check_length(batch, config)
    words = np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum()))
    token_types = np.fromiter(chain.from_iterable(types), np.int64, len(words))
    if batch.keep is not None:
        held = batch.keep != 0
        filled = np.full((2, batch.total), [[config.pad_token_id or 0], [0]], np.int64)
        filled[:, held] = words, token_types
        words, token_types = filled
    _check_words(words, batch, config)
    return PackedInputs(batch, words, batch.slots.astype(np.int64) + FIRST_POSITION, token_types)


def _read_positions(
    position_ids: ArrayLike, batch: PackedBatch, config: YosoConfig
) -> npt.NDArray[np.int64]:
    if position_ids is None:
        return batch.slots.astype(np.int64) + FIRST_POSITION
    rows = config.max_position_embeddings + FIRST_POSITION
    positions = read_ids("position_ids", position_ids, rows)
    texts, n = batch.shape
    if positions.shape not in ((n,), (1, n), (texts, n)):
        raise InputError(
            f"position_ids: wanted shape [{n}], [1, {n}] or [{texts}, {n}], "
            f"got {list(positions.shape)}"
        )
    return np.ascontiguousarray(batch.pack(np.broadcast_to(positions, (texts, n))))


def _read_token_types(
    token_type_ids: ArrayLike, batch: PackedBatch, config: YosoConfig
) -> npt.NDArray[np.int64]:
    if token_type_ids is None:
        return np.zeros(batch.total, np.int64)
    types = read_ids("token_type_ids", token_type_ids, config.type_vocab_size)
    if types.shape != batch.shape:
        raise InputError(
            f"token_type_ids: wanted shape {list(batch.shape)}, got {list(types.shape)}"
        )
    return np.ascontiguousarray(batch.pack(types))


def read_head_mask(head_mask: ArrayLike, config: YosoConfig) -> npt.NDArray[np.float32] | None:
    """Return head_mask [heads] or [layers, heads] as float32 [layers, heads]; None stays None."""
    if head_mask is None:
        return None
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    mask = to_numpy("head_mask", head_mask)
    if mask.shape not in ((heads,), (layers, heads)) or mask.dtype.kind not in "biuf":
        raise InputError(
            f"head_mask: wanted numbers of shape [{heads}] or [{layers}, {heads}], "
            f"got {mask.dtype} of shape {list(mask.shape)}"
        )
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused
        factors = mask.astype(np.float32)
    if not np.isfinite(factors).all():
        raise InputError("head_mask: wanted finite values in float32, got NaN or inf")
    return np.broadcast_to(factors, (layers, heads))


def read_scored_tokens(positions: ArrayLike, batch: PackedBatch) -> npt.NDArray[np.int64]:
    """Return the packed row of each of `positions` [k, 2], pairs (text, token), as ordered.

    Raises:
        InputError: a position is outside the batch, or masked.
    """
    pairs = read_ids("positions", positions)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise InputError(f"positions: wanted shape [k, 2], got {list(pairs.shape)}")
    texts, n = batch.shape
    outside = np.flatnonzero(((pairs < 0) | (pairs >= [texts, n])).any(axis=1))
    if outside.size:
        raise InputError(
            f"positions: wanted (text, token) within [{texts}, {n}], "
            f"got {tuple(pairs[outside[0]].tolist())}"
        )
    rows = batch.rows_of(pairs[:, 0] * n + pairs[:, 1])
    masked = np.flatnonzero(rows < 0)
    if masked.size:
        raise InputError(
            f"positions: wanted tokens that attention_mask keeps, "
            f"got {tuple(pairs[masked[0]].tolist())}, which it masks"
        )
    return rows


def first_rows(batch: PackedBatch) -> npt.NDArray[np.int64]:
    """Return the packed row of each text's token 0, which the classifiers read.

    Raises:
        InputError: a text without tokens, or whose token 0 is masked.
    """
    texts, n = batch.shape
    if n == 0:
        raise InputError("input_ids: wanted at least one token a text, got none")
    rows = batch.rows_of(np.arange(texts, dtype=np.int64) * n)
    masked = np.flatnonzero(rows < 0)
    if masked.size:
        raise InputError(
            f"attention_mask[{int(masked[0])}, 0]: wanted 1, for the classifier reads token 0, "
            "got 0; pad on the right"
        )
    return rows
