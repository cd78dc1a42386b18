"""fill-mask: the likeliest tokens in place of each mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_count, check_several
from yosort.errors import InputError, show
from yosort.model.base import PretrainedModel
from yosort.model.heads import YosoForMaskedLM
from yosort.tasks.base import Pipeline, no_text
from yosort.tasks.batch import Batch, Prepared
from yosort.tasks.options import CallOptions, StreamOptions, option, with_options
from yosort.tasks.uncertainty import describe, softmax
from yosort.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Mask tokens of common tokenizers: writing another model's is the usual mistake.
_MASKS = ("<mask>", "[MASK]")


class Keywords(StreamOptions, total=False):
    """Keywords of a call as a type checker sees them, beside `on_error`."""

    top_k: int | None
    targets: str | Sequence[str] | None


def check_words(name: str, values: Any) -> list[str]:
    """Return words: one, or several."""
    words = [values] if isinstance(values, str) else check_several(name, values, "words")
    if not words:
        raise InputError(f"{name}: wanted at least one word, got none")
    for word in words:
        if not isinstance(word, str) or not word:
            raise InputError(f"{name}: wanted words, got {show(word)}")
    return words


@dataclass(frozen=True, kw_only=True)
class Options(CallOptions):
    """The options of a call; `targets` are words, then, by `read`, their ids, int64 [k]."""

    top_k: int = option(5, check_count)
    targets: Any = option(None, check_words)


class FillMaskPipeline(Pipeline[Options]):
    """Calls a masked language model on text; results have transformers' keys and order."""

    model: YosoForMaskedLM
    task = "fill-mask"
    options = Options
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
    def __call__(self, inputs: str | Sequence[str], **options: Unpack[Keywords]) -> list[Any]: ...

    @overload
    def __call__(
        self, inputs: Iterable[Any], **options: Unpack[Keywords]
    ) -> Iterator[list[Any]]: ...

    @overload
    def __call__(self, inputs: Any, *, on_error: str, **options: Unpack[Keywords]) -> Any: ...

    @with_options(Options)
    def __call__(self, inputs: Any, options: Options) -> Any:
        """Fill the masks of one text, a list, or any iterable.

        Args:
            inputs: text, or texts, each with at least one mask token.
            top_k: how many answers a mask; at most the number of targets.
            targets: words to choose among; None for the whole vocabulary.
            on_error: "raise", or "collect" a `Failure` in the input's place.
            options: see `StreamOptions`.

        Returns:
            For a text with one mask, a list of dictionaries, best first: `score` (probability over
            the whole vocabulary), `token` (id), `token_str`, `sequence`. With several masks, one
            such list a mask. For a list of one text the same; for several texts, a list of these.

        Raises:
            InputError: no mask token, a target that is not one token, or a text too long.
        """
        result = self.answer(inputs, options)
        # A list of one text gives that text's answers unwrapped, as in transformers.
        return result[0] if isinstance(inputs, (list, tuple)) and len(result) == 1 else result

    def read(self, options: Options) -> Options:
        """See `Pipeline.read`."""
        options = super().read(options)
        if options.targets is None:
            return options
        return options.decided(targets=self._target_ids(options.targets))

    def prepare(self, value: Any, options: Options) -> Prepared:
        """See `Pipeline.prepare`."""
        if not isinstance(value, str):
            raise no_text(value)
        encoded = self.encode(value, None, options)
        if self._mask_id not in encoded.rows[0].ids:
            own = self.tokenizer.special_tokens["mask_token"]
            others = [mask for mask in _MASKS if mask != own and mask in value]
            wrong = f", not {others[0]}" if others else ""
            cut = "; the text was cut before it" if encoded.truncated and own in value else ""
            raise InputError(f"no mask to fill; this model's mask token is {own}{wrong}{cut}")
        return encoded.prepared()

    def run(self, batch: Batch, options: Options) -> list[Any]:
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
        self, probabilities: npt.NDArray[np.float64], options: Options
    ) -> tuple[list[int], list[dict[str, float]]]:
        """Return the best token ids and their scores, of probabilities [draws, vocabulary]."""
        targets = options.targets
        mean = probabilities.mean(axis=0)
        candidates = np.arange(len(mean)) if targets is None else targets
        count = min(options.top_k, len(candidates))
        scores = -mean[candidates]
        # Equal scores in order of their ids: part first, sort the few.
        bound = np.partition(scores, count - 1)[count - 1]
        near = np.flatnonzero(~(scores > bound))  # NaN, too, which is found out later
        order = near[np.argsort(scores[near], kind="stable")][:count]
        tokens = candidates[order]
        return tokens.tolist(), [describe(probabilities[:, token]) for token in tokens]

    def finish(self, prepared: Prepared, outputs: list[Any], options: Options) -> Any:
        """See `Pipeline.finish`."""
        ids, masks = prepared.rows[0].ids, outputs[0]
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

    def _target_ids(self, words: list[str]) -> npt.NDArray[np.int64]:
        """Return the ids of target words, each a single token with or without a leading space."""
        found = []
        for word in words:
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
