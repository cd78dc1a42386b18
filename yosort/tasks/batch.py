"""Rows of tokens for the model, one after another: nothing is filled up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from yosort.model.base import PretrainedModel
from yosort.model.inputs import pack_texts
from yosort.tokenizer.encodings import Encoding


@dataclass(frozen=True)
class Row:
    """One sequence for the model: token ids, and token types of the same length.

    `scored` are the tokens whose scores the task reads, where that is not all of them; `parts` the
    first token of each part, and the one behind its last, where each gets an answer of its own.
    """

    ids: list[int]
    type_ids: list[int]
    scored: tuple[int, ...] | None = None
    parts: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class Prepared:
    """One input as the model reads it: its rows, and what the task keeps of it for the answer."""

    rows: list[Row] = field(default_factory=list)
    kept: Any = None
    truncated: bool = False


class Encoded(NamedTuple):
    """A text's rows, the encoding of each, and whether the text was cut."""

    rows: list[Row]
    encodings: list[Encoding]
    truncated: bool

    def prepared(self, kept: Any = None) -> Prepared:
        """Return an input that is this text."""
        return Prepared(self.rows, kept, self.truncated)


def cut(
    lengths: Sequence[int],
    most_tokens: int,
    most_rows: int | None = None,
    *,
    in_order: bool = False,
) -> Iterator[list[int]]:
    """Yield batches of rows, the longest first, of at most so many tokens and rows.

    A row that is longer has a batch of its own. `in_order` is for rows whose answers depend on
    what is beside them: they stay in the order in which they came.
    """
    batch: list[int] = []
    tokens = 0
    rows: Iterable[int] = range(len(lengths))
    for row in rows if in_order else sorted(rows, key=lengths.__getitem__, reverse=True):
        if batch and (tokens + lengths[row] > most_tokens or len(batch) == most_rows):
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += lengths[row]
    if batch:
        yield batch


class Batch:
    """Rows that run together, packed.

    Attributes:
        lengths: tokens of each row.
        ids: int64 [total], the packed tokens.
        offsets: int64 [rows], where each row begins among them.
        rows: the rows.
    """

    def __init__(self, rows: list[Row], model: PretrainedModel) -> None:
        ids, types = [row.ids for row in rows], [row.type_ids for row in rows]
        self.inputs = pack_texts(ids, types, model.config, padding=model.padding)
        self.lengths = [len(row.ids) for row in rows]
        self.ids = self.inputs.words
        self.offsets = self.inputs.batch.offsets[:-1]
        self.rows = rows

    def scored(self) -> npt.NDArray[np.int64]:
        """Return the packed tokens whose scores the task reads, int64 [k] ascending."""
        return np.concatenate(
            [
                begin + np.arange(n) if row.scored is None else begin + np.asarray(row.scored)
                for begin, n, row in zip(self.offsets, self.lengths, self.rows, strict=True)
            ]
        )

    def find(self, token: int) -> npt.NDArray[np.int64]:
        """Return the packed rows that are a token, int64 [k] ascending; filling counts as none."""
        keep = self.inputs.batch.keep
        found = self.ids == token
        return np.flatnonzero(found if keep is None else found & (keep != 0))

    def split(self, scores: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return scores [..., total, n] as one array [..., tokens of it, n] a row."""
        pairs = zip(self.offsets.tolist(), self.lengths, strict=True)
        return [scores[..., begin : begin + n, :] for begin, n in pairs]
