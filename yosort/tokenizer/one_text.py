"""One text, its windows, and as much of it as they need: what pipelines ask of a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yosort.arguments import are_texts, check_choice, check_count, check_flag, checks_calls
from yosort.errors import InputError, show
from yosort.tokenizer.arguments import STRATEGIES, Cut, Sample
from yosort.tokenizer.backend import configured, encode, enough, refusals
from yosort.tokenizer.encodings import Encoding
from yosort.tokenizer.settings import Settings


@checks_calls(InputError)
class OneText(Settings):
    """Calls for one text, which give an `Encoding`; see `Tokenizer`."""

    def encoding(
        self,
        text: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        max_tokens: int | None = None,
        stride: int = 0,
        strategy: str = "longest_first",
    ) -> Encoding:
        """Tokenize one text, a pair of texts, or a list of words.

        Args:
            text: a text or a list of words.
            pair: the second text; "" is one.
            add_special_tokens: whether `<s>`, `[CLS]` and their kind are put around.
            max_tokens: where to cut, special tokens included; `overflowing` are the windows that
                follow, which overlap by `stride` tokens.
            stride: how many tokens windows share.
            strategy: what of a pair is cut: "longest_first", "only_first" or "only_second".

        Raises:
            InputError: no text, or one that is no Unicode, as bytes read in a wrong encoding leave
                it; windows of max_tokens that would not advance, since they overlap by stride.
        """
        sample = _one(text, pair)
        special = check_flag("add_special_tokens", add_special_tokens)
        cut = None
        check_count("stride", stride, least=0)
        check_choice("strategy", strategy, STRATEGIES)
        if max_tokens is not None:
            length = check_count("max_tokens", max_tokens)
            cut = Cut(length, int(stride), strategy, self.truncation_side)
        split = self.split_special_tokens
        (encoding,) = encode(self.backend, [sample], cut, special=special, split=split, rest=True)
        return Encoding(encoding)

    def leading(
        self,
        text: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        *,
        max_tokens: int,
        strategy: str = "longest_first",
    ) -> tuple[Any, Any]:
        """Return as much of a text, or pair, as cutting it to `max_tokens` needs.

        A part that comes back shorter has more tokens than `max_tokens`, and what `encoding` keeps
        of it is what it keeps of the whole. With truncation_side "left" the whole comes back.

        Args:
            text: a text or a list of words.
            pair: the second text.
            max_tokens: where it is cut, special tokens included.
            strategy: what of a pair is cut.

        Raises:
            InputError: as `encoding`.
        """
        sample = _one(text, pair)
        check_choice("strategy", strategy, STRATEGIES)
        cut = Cut(check_count("max_tokens", max_tokens), 0, strategy, self.truncation_side)
        backend = configured(self.backend, None, split=self.split_special_tokens)
        with refusals():
            short = enough(backend, sample, cut, special=True)
        return short.text, short.pair


def _one(text: Any, pair: Any) -> Sample:
    words = isinstance(text, (list, tuple))
    for part in (text,) if pair is None else (text, pair):
        if not (are_texts(part) if words else isinstance(part, str)):
            raise InputError(f"wanted a text, or a list of words, got {show(part)}")
    return Sample(text, pair)
