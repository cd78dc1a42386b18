"""fill-mask: the likeliest tokens in place of each mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_count, check_several
from yosort.errors import InputError, show
from yosort.model.base import PretrainedModel
from yosort.model.heads import YosoForMaskedLM
from yosort.tasks.batch import Batch
from yosort.tasks.options import StreamOptions, with_options
from yosort.tasks.stream import Item, Pipeline, no_stride, no_text, softmax
from yosort.tasks.uncertainty import describe
from yosort.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Mask tokens of common tokenizers: writing another model's is the usual mistake.
_MASKS = ("<mask>", "[MASK]")


class Options(StreamOptions, total=False):
    """Keywords of a call, beside `on_error`."""

    top_k: int | None
    targets: str | Sequence[str] | None


class FillMaskPipeline(Pipeline):
    """Calls a masked language model on text; results have transformers' keys and order."""

    model: YosoForMaskedLM
    task = "fill-mask"
    model_class = YosoForMaskedLM

    def __init__(
        self,
        model: PretrainedModel,
        tokenizer: Tokenizer | None = None,
        samples: int = 1,
        **defaults: Any,
    ) -> None:
        super().__init__(model, tokenizer, samples, **defaults)
        self._mask_id = self.tokenizer.id_of("mask_token")

    @overload
    def __call__(self, inputs: str | Sequence[str], **options: Unpack[Options]) -> list[Any]: ...

    @overload
    def __call__(
        self, inputs: Iterable[Any], **options: Unpack[Options]
    ) -> Iterator[list[Any]]: ...

    @overload
    def __call__(self, inputs: Any, *, on_error: str, **options: Unpack[Options]) -> Any: ...

    @with_options
    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | None = 5,
        targets: str | Sequence[str] | None = None,
        on_error: str = "raise",
        **stream: Unpack[StreamOptions],
    ) -> Any:
        """Fill the masks of one text, a list, or any iterable.

        Args:
            inputs: text, or texts, each with at least one mask token.
            top_k: how many answers a mask; at most the number of targets.
            targets: words to choose among; None for the whole vocabulary.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            stream: see `StreamOptions`.

        Returns:
            For a text with one mask, a list of dictionaries, best first: `score` (probability over
            the whole vocabulary), `token` (id), `token_str`, `sequence`. With several masks, one
            such list a mask. For a list of one text the same; for several texts, a list of these.

        Raises:
            InputError: no mask token, a target that is not one token, or a text too long.
        """
        options = {
            "top_k": check_count("top_k", 5 if top_k is None else top_k),
            "targets": None if targets is None else self._target_ids(targets),
        }
        result = self.answer(inputs, options, self.read_stream(on_error=on_error, **stream))
        # A list of one text gives that text's answers unwrapped, as in transformers.
        return result[0] if isinstance(inputs, (list, tuple)) and len(result) == 1 else result

    def prepare(self, item: Item, value: Any, options: dict[str, Any]) -> None:
        """See `Pipeline.prepare`."""
        no_stride(options, "fill-mask")
        if not isinstance(value, str):
            raise no_text(value)
        self.encode(item, value, None, options)
        if self._mask_id not in item.rows[0].ids:
            own = self.tokenizer.special_tokens["mask_token"]
            others = [mask for mask in _MASKS if mask != own and mask in value]
            wrong = f", not {others[0]}" if others else ""
            cut = "; the text was cut before it" if item.truncated and own in value else ""
            raise InputError(f"no mask to fill; this model's mask token is {own}{wrong}{cut}")

    def run(self, batch: Batch, options: dict[str, Any]) -> list[Any]:
        """See `Pipeline.run`: the vocabulary is scored at the masks only."""
        rows = batch.find(self._mask_id)
        texts = np.searchsorted(batch.offsets, rows, side="right") - 1
        tokens = rows - batch.offsets[texts]
        answers: list[list[Any]] = [[] for _ in batch.lengths]
        logits = self.ask(batch, rows).swapaxes(0, 1)
        for text, token, draws in zip(texts.tolist(), tokens.tolist(), logits, strict=True):
            answers[text].append((token, *self._best(softmax(draws), options)))
        return answers

    def _best(
        self, probabilities: npt.NDArray[np.float64], options: dict[str, Any]
    ) -> tuple[list[int], list[dict[str, float]]]:
        """Return the best token ids and their scores, of probabilities [draws, vocabulary]."""
        targets = options["targets"]
        mean = probabilities.mean(axis=0)
        candidates = np.arange(len(mean)) if targets is None else targets
        count = min(options["top_k"], len(candidates))
        scores = -mean[candidates]
        # Equal scores in order of their ids: part first, sort the few.
        bound = np.partition(scores, count - 1)[count - 1]
        near = np.flatnonzero(scores <= bound)
        order = near[np.argsort(scores[near], kind="stable")][:count]
        tokens = candidates[order]
        return tokens.tolist(), [describe(probabilities[:, token]) for token in tokens]

    def finish(self, item: Item, options: dict[str, Any]) -> Any:
        """See `Pipeline.finish`."""
        ids, masks = item.rows[0].ids, item.outputs[0]
        answers = []
        for place, tokens, scores in masks:
            answers.append(
                [
                    {
                        **score,
                        "token": token,
                        "token_str": self.tokenizer.decode([token], skip_special_tokens=False),
                        # With several masks the others must stay visible.
                        "sequence": self.tokenizer.decode(
                            [*ids[:place], token, *ids[place + 1 :]],
                            skip_special_tokens=len(masks) == 1,
                        ),
                    }
                    for token, score in zip(tokens, scores, strict=True)
                ]
            )
        return answers[0] if len(answers) == 1 else answers

    def _target_ids(self, targets: str | Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the ids of target words, each a single token with or without a leading space."""
        words = (
            [targets] if isinstance(targets, str) else check_several("targets", targets, "words")
        )
        if not words:
            raise InputError("targets: wanted at least one word, got none")
        found = []
        for word in words:
            if not isinstance(word, str) or not word:
                raise InputError(f"targets: wanted words, got {show(word)}")
            # A byte-level BPE keeps the space before a word inside its token.
            spellings = [
                self.tokenizer.encoding(text, add_special_tokens=False).ids
                for text in (f" {word}", word)
            ]
            single = [ids[0] for ids in spellings if len(ids) == 1]
            token = single[0] if single else self.tokenizer.token_id(word)
            if token is None:
                pieces = self.tokenizer.encoding(f" {word}", add_special_tokens=False).tokens
                raise InputError(
                    f"targets: wanted words of one token, got {show(word)}, which is {show(pieces)}"
                )
            found.append(token)
        return np.unique(np.asarray(found, np.int64))
