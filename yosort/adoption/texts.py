"""Texts as packed tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.checkpoint import Sentence
from yosort.errors import InputError
from yosort.model.batch import PackedBatch, pack_mask
from yosort.tokenizer import Tokenizer

Floats = npt.NDArray[np.float32]
#: Tokens of a batch: what is computed at once.
BATCH = 4096
#: Fewer texts tell nothing of the many that a model will read.
LEAST = 20
#: One text of so many is held out.
HELD_OUT = 5


@dataclass(frozen=True)
class Tokens:
    """Texts without padding, the shortest first.

    Attributes:
        ids: int64 [total].
        offsets: int64 [texts + 1], where each text begins.
    """

    ids: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Iterable[npt.NDArray[np.int64]]) -> Tokens:
        """Pack rows of ids, each [n]."""
        ordered = sorted(rows, key=len)
        lengths = [len(row) for row in ordered]
        return cls(np.concatenate(ordered), np.append(0, np.cumsum(lengths)).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text, int64 [texts]."""
        return np.diff(self.offsets)

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """Rows of YOSO's position table, which counts from 2: int64 [total]."""
        return np.arange(len(self.ids)) - np.repeat(self.offsets[:-1], self.lengths) + 2

    def batches(self) -> Iterator[tuple[slice, Tokens]]:
        """Yield the rows of each batch of at most `BATCH` tokens (or one text), and its texts."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.offsets, self.offsets[first] + BATCH, "right")) - 1
            last = max(last, first + 1)
            rows = slice(int(self.offsets[first]), int(self.offsets[last]))
            yield rows, Tokens(self.ids[rows], self.offsets[first : last + 1] - rows.start)
            first = last

    def runs(self) -> Iterator[tuple[slice, int]]:
        """Yield the rows of neighbours of the same length, and that length."""
        for length, group in groupby(range(len(self)), key=self.lengths.tolist().__getitem__):
            texts = list(group)
            yield slice(int(self.offsets[texts[0]]), int(self.offsets[texts[-1] + 1])), length

    def packed(self) -> PackedBatch:
        """Return the layout that the encoder takes."""
        lengths = self.lengths
        width = int(lengths.max())
        return pack_mask(np.arange(width) < lengths[:, None], attended=False)

    def beginning(self, tokens: int) -> Tokens:
        """Return every k-th text, with k so that about `tokens` tokens are left."""
        step = max(1, len(self.ids) // max(tokens, 1))
        return Tokens.of([self.ids[a:b] for a, b in self._bounds()[::step]])

    def _bounds(self) -> list[tuple[int, int]]:
        return list(zip(self.offsets[:-1].tolist(), self.offsets[1:].tolist(), strict=True))

    def pooled(self, x: Floats, pooling: str) -> Floats:
        """Return a vector of length 1 for each text, [texts, width], of rows [total, width]."""
        # float64 for reduceat, which adds up one row after the other.
        vectors = x[self.offsets[:-1]].astype(np.float64)
        if pooling != "cls":
            vectors = np.add.reduceat(x, self.offsets[:-1], axis=0, dtype=np.float64)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)

    def masked(self, mask_id: int, share: float, special: Iterable[int]) -> Tokens:
        """Return the same texts with a share of their tokens masked, but for special ones."""
        drawn = np.random.default_rng(0).random(len(self.ids)) < share
        drawn &= ~np.isin(self.ids, list(special))
        return replace(self, ids=np.where(drawn, mask_id, self.ids))


def own_texts() -> list[str]:
    """Return the English sentences and paragraphs that are here where a user has none: WordNet's.

    Its licence lies beside the bundled model.
    """
    path = Path(__file__).with_name("sentences.txt")
    return path.read_text(encoding="utf-8").splitlines()


def read_texts(
    texts: Iterable[Any],
    tokenizer: Tokenizer,
    sentence: Sentence,
    *,
    longest: int,
    vocabulary: int,
    limit: int,
) -> tuple[Tokens, Tokens]:
    """Tokenize texts, until there are enough tokens.

    Args:
        texts: the texts.
        tokenizer: the original's.
        sentence: how it reads a text.
        longest: where texts are cut, in tokens.
        vocabulary: how many ids the model has.
        limit: tokens to read, at most.

    Returns:
        What to fit on, and what is held out: every `HELD_OUT`-th text.

    Raises:
        InputError: a text that is empty or none; fewer than `LEAST`; ids that the model has not.
    """
    rows: list[npt.NDArray[np.int64]] = []
    total = 0
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise InputError.wanted("texts", "several texts, as a list", texts)
    for number, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            got = "an empty one" if isinstance(text, str) else None
            raise InputError.wanted(f"texts[{number}]", "a text", text, got=got)
        ids = tokenizer(sentence.read(text), truncation=True, max_length=longest)["input_ids"]
        rows.append(np.asarray(ids, np.int64))
        total += len(ids)
        if total >= limit:
            break
    if len(rows) < LEAST:
        full = f"max_tokens={limit} reads no more of them" if total >= limit else None
        what = f"at least {LEAST} texts, better 1,500"
        raise InputError.wanted("texts", what, got=len(rows), hint=full)
    largest = max(int(row.max(initial=0)) for row in rows)
    if largest >= vocabulary:
        raise InputError.wanted(
            "texts", f"token ids below vocab_size ({vocabulary})", got=f"{largest} of the tokenizer"
        )
    held = rows[::HELD_OUT]
    kept = [row for number, row in enumerate(rows) if number % HELD_OUT]
    return Tokens.of(kept), Tokens.of(held)
