"""fill-mask: the likeliest tokens in place of each mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.errors import ConfigError, InputError
from yosort.heads import YosoForMaskedLM
from yosort.tokenizer import Tokenizer

#: Mask tokens of common tokenizers: writing another model's is the usual mistake.
_MASKS = ("<mask>", "[MASK]")


class FillMaskPipeline:
    """Calls a masked language model on text; results have transformers' keys and order."""

    def __init__(self, model: YosoForMaskedLM, tokenizer: Tokenizer | None = None) -> None:
        if not isinstance(model, YosoForMaskedLM):
            raise ConfigError(f"model: wanted a YosoForMaskedLM, got {type(model).__name__}")
        found = tokenizer or model.tokenizer
        if found is None:
            raise ConfigError("tokenizer: wanted one, for the model's folder holds none")
        self.model = model
        self.tokenizer = found
        self._mask_id = found.id_of("mask_token")

    def __call__(
        self,
        inputs: str | Sequence[str],
        *,
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
    ) -> Any:
        """Fill the masks of one text, or of several.

        Args:
            inputs: text, or texts, each with at least one mask token.
            top_k: how many answers a mask; at most the number of targets.
            targets: words to choose among; None for the whole vocabulary.

        Returns:
            For a text with one mask, a list of dictionaries, best first: `score` (probability over
            the whole vocabulary), `token` (id), `token_str`, `sequence`. With several masks, one
            such list a mask. For several texts, a list of these.

        Raises:
            InputError: no mask token, a target that is not one token, or a text too long.
        """
        if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
            raise InputError(f"top_k: wanted an integer of at least 1, got {top_k!r}")
        target_ids = None if targets is None else self._target_ids(targets)
        if isinstance(inputs, str):
            return self._fill([inputs], top_k, target_ids)[0]
        results = self._fill(list(inputs), top_k, target_ids)
        # A list of one text gives that text's answers unwrapped, as in transformers.
        return results[0] if len(results) == 1 else results

    def _fill(
        self, texts: list[str], top_k: int, target_ids: npt.NDArray[np.int64] | None
    ) -> list[Any]:
        if not texts:
            return []
        rows = [self._encode(i, text) for i, text in enumerate(texts)]
        longest = max(len(row) for row in rows)
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        positions = np.argwhere((ids == self._mask_id) & (mask == 1))
        output = self.model(ids, mask, positions=positions, return_dict=True)
        scores = _softmax(np.asarray(output.logits, np.float64))
        answers: list[list[list[dict[str, Any]]]] = [[] for _ in rows]
        for (text, token), probabilities in zip(positions.tolist(), scores, strict=True):
            alone = int((positions[:, 0] == text).sum()) == 1
            answers[text].append(
                self._best(rows[text], token, probabilities, top_k, target_ids, alone)
            )
        return [found[0] if len(found) == 1 else found for found in answers]

    def _encode(self, index: int, text: str) -> list[int]:
        if not isinstance(text, str):
            raise InputError(f"inputs[{index}]: wanted text, got {type(text).__name__}")
        ids = list(self.tokenizer.encode(text).ids)
        if self._mask_id not in ids:
            own = self.tokenizer.special_tokens["mask_token"]
            others = [mask for mask in _MASKS if mask != own and mask in text]
            wrong = f", not {others[0]}" if others else ""
            raise InputError(
                f"inputs[{index}]: no mask to fill; this model's mask token is {own}{wrong}"
            )
        return ids

    def _best(
        self,
        ids: list[int],
        place: int,
        probabilities: npt.NDArray[np.float64],
        top_k: int,
        target_ids: npt.NDArray[np.int64] | None,
        alone: bool,
    ) -> list[dict[str, Any]]:
        candidates = np.arange(len(probabilities)) if target_ids is None else target_ids
        order = np.argsort(-probabilities[candidates], kind="stable")[:top_k]
        answers = []
        for token in candidates[order].tolist():
            filled = [*ids[:place], token, *ids[place + 1 :]]
            answers.append(
                {
                    "score": float(probabilities[token]),
                    "token": token,
                    "token_str": self.tokenizer.decode([token], skip_special_tokens=False),
                    # With several masks the others must stay visible.
                    "sequence": self.tokenizer.decode(filled, skip_special_tokens=alone),
                }
            )
        return answers

    def _target_ids(self, targets: str | Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the ids of target words, each a single token with or without a leading space."""
        words = [targets] if isinstance(targets, str) else list(targets)
        if not words:
            raise InputError("targets: wanted at least one word, got none")
        found = []
        for word in words:
            # A byte-level BPE keeps the space before a word inside its token.
            spellings = [
                self.tokenizer.encode(text, add_special_tokens=False).ids
                for text in (f" {word}", word)
            ]
            single = [ids[0] for ids in spellings if len(ids) == 1]
            token = single[0] if single else self.tokenizer.token_id(word)
            if token is None:
                pieces = self.tokenizer.encode(f" {word}", add_special_tokens=False).tokens
                raise InputError(
                    f"targets: wanted words of one token, got {word!r}, which is {pieces}"
                )
            found.append(token)
        return np.unique(np.asarray(found, np.int64))


def _softmax(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
