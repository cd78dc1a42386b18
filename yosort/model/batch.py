"""Padded arrays <-> the packed batch that the model runs on: no padding inside, none computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.errors import InputError


@dataclass(frozen=True)
class PackedBatch:
    """Which cells of a padded [texts, n] grid hold tokens, one text after another.

    Attributes:
        shape: (texts, n) of the padded arrays.
        cells: int64 [total], the flat index into [texts * n] of each packed token, ascending.
        offsets: int64 [texts + 1]; text t owns the packed rows offsets[t] to offsets[t + 1].
        slots: int32 [total], where in its row each token stands: its position, and its distance
            to others for the convolution. A mask with holes leaves gaps.
        keep: float32 [total] or None; 0 where the convolution must not see the token's value
            (only `padding="attended"` keeps such tokens in the batch at all).
    """

    shape: tuple[int, int]
    cells: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int32]
    keep: npt.NDArray[np.float32] | None = None

    @property
    def total(self) -> int:
        """Number of packed tokens."""
        return len(self.cells)

    @property
    def is_dense(self) -> bool:
        """Whether every cell of the grid is packed, so that packing is only a reshape."""
        return self.total == self.shape[0] * self.shape[1]

    def pack(self, padded: Any) -> Any:
        """Return the packed rows of an array [texts, n, ...] as [total, ...]."""
        rows = padded.reshape(self.shape[0] * self.shape[1], *padded.shape[2:])
        return rows if self.is_dense else rows[self.cells]

    def rows_of(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the packed row of each flat cell index; -1 where the cell is masked."""
        if self.is_dense:
            return cells
        rows = np.searchsorted(self.cells, cells)
        found = np.minimum(rows, max(self.total - 1, 0))
        if not self.total:
            return np.full(len(cells), -1, np.int64)
        return np.where(self.cells[found] == cells, found, -1)

    def offsets_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return how ascending packed rows fall to the texts, as offsets int64 [texts + 1]."""
        return np.searchsorted(rows, self.offsets).astype(np.int64)


def pack_mask(mask: npt.NDArray[np.bool_], *, attended: bool) -> PackedBatch:
    """Build the packed batch of a mask bool [texts, n].

    Args:
        mask: which tokens count.
        attended: keep masked tokens too, as transformers does (it ignores the mask in attention
            but not in the convolution).
    """
    texts, n = mask.shape
    held = np.ones_like(mask) if attended else mask
    cells = np.flatnonzero(held)
    offsets = np.zeros(texts + 1, np.int64)
    np.cumsum(held.sum(axis=1), out=offsets[1:])
    slots = (cells % n if n else cells).astype(np.int32)
    keep = None
    if attended and not mask.all():
        keep = mask.reshape(-1).astype(np.float32)
    return PackedBatch((texts, n), cells.astype(np.int64), offsets, slots, keep)


def read_mask(mask: Any, texts: int, n: int) -> npt.NDArray[np.bool_]:
    """Turn attention_mask [texts, n] of 0 and 1 (any dtype), or None for all ones, into bool."""
    if mask is None:
        return np.ones((texts, n), bool)
    values = np.asarray(mask)
    if values.shape != (texts, n):
        raise InputError(
            f"attention_mask: wanted shape [{texts}, {n}], as the input has, "
            f"got {list(values.shape)}"
        )
    if values.dtype.kind not in "biuf":
        raise InputError(f"attention_mask: wanted numbers, got dtype {values.dtype}")
    other = values[(values != 0) & (values != 1)]
    if other.size:
        raise InputError(f"attention_mask: wanted only 0 (padding) and 1 (token), got {other[0]}")
    return np.asarray(values != 0)
