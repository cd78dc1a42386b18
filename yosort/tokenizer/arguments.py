"""What a tokenizer's call may be given: texts, pairs, words, and transformers' options."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from yosort.arguments import are_texts, check_choice, check_count, no_such_option
from yosort.elsewhere import TOKENIZER_CALLS
from yosort.errors import InputError, YosortError, show

#: What truncation may cut of a pair.
STRATEGIES = ("longest_first", "only_first", "only_second")
PADDINGS = ("longest", "max_length")
SIDES = ("right", "left")
#: transformers stands this for "no limit"; what is above LARGE counts as one.
UNLIMITED, LARGE = int(1e30), int(1e20)
#: What is padded to more by mistake would take gigabytes; nothing is cut that is shorter.
LONGEST = 1 << 22

_TENSORS = {
    "pt": "yosort needs no torch: 'np' gives arrays, of which torch.from_numpy makes tensors",
    "tf": "'np' gives arrays, which TensorFlow takes as they are",
    "jax": "'np' gives arrays, which JAX takes as they are",
    "mlx": "'np' gives arrays, of which mlx.core.array makes MLX's",
}


#: A text, or the words of one.
Text: TypeAlias = "str | Sequence[str]"


class Sample(NamedTuple):
    """A text, or a list of words, and the second of a pair."""

    text: Text
    pair: Text | None = None


@dataclass(frozen=True)
class Cut:
    """How long texts are cut: to `max_length` tokens, special ones included.

    Attributes:
        max_length: what is kept.
        stride: how many tokens a window shares with the one before.
        strategy: what of a pair is cut, one of STRATEGIES.
        side: where tokens are dropped, "right" (the text's end) or "left".
    """

    max_length: int
    stride: int = 0
    strategy: str = "longest_first"
    side: str = "right"


@dataclass(frozen=True)
class Pad:
    """How short texts are filled up.

    Attributes:
        length: to how many tokens; None for those of the longest text.
        multiple_of: rounds the length up.
        side: where padding stands, "right" or "left".
    """

    length: int | None
    multiple_of: int | None
    side: str

    def target(self, longest: int) -> int:
        """Return the length of every text where the longest has `longest` tokens.

        Raises:
            InputError: one that no text has.
        """
        length, step = longest if self.length is None else self.length, self.multiple_of or 1
        target = -(-length // step) * step
        if target > LONGEST:
            raise InputError(f"wanted at most {LONGEST:,} tokens to pad to, got {target:,}")
        return target


def read_lengths(
    *,
    padding: Any,
    truncation: Any,
    max_length: Any,
    stride: Any,
    pad_to_multiple_of: Any,
    padding_side: str,
    truncation_side: str,
    model_max_length: int,
) -> tuple[Pad | None, Cut | None, int | None]:
    """Return how to pad, how to cut, and the length that was asked for, by transformers' rules.

    `max_length` alone cuts; without it the model's own limit stands for it, where it has one.

    Raises:
        InputError: a word or number that none of them can be; a length to cut and pad to that is
            no multiple of `pad_to_multiple_of`.
    """
    if max_length is not None:
        max_length = check_count("max_length", max_length, least=0)
    stride = check_count("stride", stride, least=0)
    if pad_to_multiple_of is not None:
        pad_to_multiple_of = check_count("pad_to_multiple_of", pad_to_multiple_of)
    padding_side = check_choice("padding_side", padding_side, SIDES)
    truncation_side = check_choice("truncation_side", truncation_side, SIDES)
    if truncation is None:
        truncation = max_length is not None and padding is False
    pads = _choice("padding", padding, PADDINGS, "do_not_pad")
    cuts = _choice("truncation", truncation, STRATEGIES, "do_not_truncate")
    if max_length is None and (cuts is not None or pads == "max_length"):
        if model_max_length <= LARGE:
            max_length = model_max_length
        else:
            cuts, pads = None, None if pads == "max_length" else pads
    both = cuts and pads and pad_to_multiple_of and max_length is not None
    if both and max_length % pad_to_multiple_of:
        raise InputError(
            f"max_length: wanted a multiple of pad_to_multiple_of ({pad_to_multiple_of}) where "
            f"texts are cut and padded, got {max_length}"
        )
    cut = pad = None
    if cuts is not None and max_length is not None:
        cut = Cut(max_length, stride, cuts, truncation_side)
    if pads is not None:
        pad = Pad(max_length if pads == "max_length" else None, pad_to_multiple_of, padding_side)
    return pad, cut, max_length


def check_tensors(value: Any) -> str | None:
    """Return "np", "cp" or None: the arrays that are asked for.

    Raises:
        InputError: those of a framework that yosort does without, with what to do instead.
    """
    if value is None or (isinstance(value, str) and value in ("np", "cp")):
        return value
    if isinstance(value, str) and value in _TENSORS:
        raise InputError(
            f"return_tensors: wanted None, 'np' or 'cp', got {show(value)}: {_TENSORS[value]}"
        )
    raise InputError.wanted("return_tensors", "None, 'np' or 'cp'", value)


def refuse_unknown(
    names: Iterable[str], known: Collection[str], error: type[YosortError] = InputError
) -> None:
    """Raise `error` if there is a name, with the known one that is nearest."""
    for name in names:
        if name not in known:
            raise no_such_option(name, known, error, TOKENIZER_CALLS.get(name))


def read_samples(text: Any, text_pair: Any, *, words: bool) -> tuple[list[Sample], bool]:
    """Return the texts or pairs of a call, and whether they came as a list.

    Args:
        text: a text or a list of texts; with `words` a list of words or a list of such lists. The
            items of a list may be pairs, where `text_pair` is None.
        text_pair: the second texts, of the same form; "" and [] for one text mean none.
        words: whether texts are lists of words.

    Raises:
        InputError: anything else, or lists of different lengths.
    """
    if not isinstance(text, (str, list, tuple)):
        hint = ""
        if isinstance(text, (bytes, bytearray)):
            hint = ": was it read as bytes? decode it"
        elif isinstance(text, Iterable) and not isinstance(text, Mapping):
            hint = "; list(...) makes a list"
        raise InputError.wanted("text", "a text or a list of texts", got=f"{show(text)}{hint}")
    if isinstance(text, str) or (words and not (text and isinstance(text[0], (list, tuple)))):
        pair = None if isinstance(text_pair, (str, list, tuple)) and not text_pair else text_pair
        return [_sample(text, pair, words, "text")], False
    if not text:
        raise InputError.wanted("text", "at least one text", got="an empty list")
    if text_pair is None:
        return [_item(item, words, f"text[{i}]") for i, item in enumerate(text)], True
    if not isinstance(text_pair, (list, tuple)) or len(text_pair) != len(text):
        raise InputError.wanted(
            "text_pair", f"a list of {len(text)} texts, as text has them", text_pair
        )
    both = enumerate(zip(text, text_pair, strict=True))
    missing = next((i for i, pair in enumerate(text_pair) if pair is None), None)
    if missing is not None:
        raise InputError.wanted(f"text_pair[{missing}]", "a text", got="None")
    pairs = [_sample(a, b, words, f"text[{i}]", f"text_pair[{i}]") for i, (a, b) in both]
    return pairs, True


def _choice(name: str, value: Any, known: tuple[str, ...], none: str) -> str | None:
    """Return one of the `known` words; True means the first, False or `none` none of them."""
    if value is False or (isinstance(value, str) and value == none):
        return None
    if value is True:
        return known[0]
    if not isinstance(value, str) or value not in known:
        raise InputError.wanted(name, f"True, False or one of {', '.join((*known, none))}", value)
    return known[known.index(value)]


def _item(item: Any, words: bool, where: str) -> Sample:
    """Return an item of a list: a text, or a pair of texts as a tuple or list of two."""
    if not _is_text(item, words) and isinstance(item, (list, tuple)) and len(item) == 2:
        return _sample(item[0], item[1], words, f"{where}[0]", f"{where}[1]")
    return _sample(item, None, words, where)


def _sample(text: Any, pair: Any, words: bool, where: str, second: str = "text_pair") -> Sample:
    for name, part in ((where, text), (second, pair)):
        if part is None and name == second:
            continue
        if not _is_text(part, words):
            what = "a list of words (is_split_into_words=True)" if words else "a text"
            hint = ""
            if isinstance(part, (list, tuple)) and not words:
                hint = "; is_split_into_words=True takes lists of words"
            raise InputError.wanted(name, what, got=f"{show(part)}{hint}")
    if not words:
        return Sample(text, pair)
    return Sample(list(text), None if pair is None else list(pair))


def _is_text(value: Any, words: bool) -> bool:
    return are_texts(value) if words else isinstance(value, str)
