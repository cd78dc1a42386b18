"""Texts through the tokenizers library: cut and padded by the call, whatever another thread asks.

Padding, truncation and the splitting of special tokens are settings of a `tokenizers.Tokenizer`.
So a call that wants others makes itself a tokenizer of the same parts: they are shared, and only
the added tokens are entered anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tokenizers

from yosort.errors import InputError
from yosort.tokenizer.arguments import Cut, Pad, Sample, Text
from yosort.tokenizer.leading import leading

NO_UNICODE = "wanted Unicode text, got one with lone surrogates: was it read as UTF-8?"
#: What the library's counters hold, and no text reaches.
_MOST = 1 << 31


def encode(
    backend: tokenizers.Tokenizer,
    samples: Sequence[Sample],
    cut: Cut | None,
    *,
    special: bool,
    split: bool,
    rest: bool,
) -> list[tokenizers.Encoding]:
    """Tokenize texts and pairs.

    Args:
        backend: it stays as it is; padding and truncation that somebody set on it do not count.
        samples: all texts, or all lists of words.
        cut: how long texts are cut; None: they are not.
        special: whether to add special tokens.
        split: whether special tokens in a text are text.
        rest: whether what is cut off is wanted, as the encodings' `overflowing`.

    Raises:
        InputError: a text of lone surrogates; a cut that the library refuses.
    """
    words = not isinstance(samples[0].text, str)
    with refusals():
        if cut is not None and not rest:
            whole = configured(backend, None, split=split)
            samples = [enough(whole, sample, cut, special=special) for sample in samples]
        used = configured(backend, cut, split=split)
        if cut is not None and cut.stride:
            whole = configured(backend, None, split=split)
            for sample in samples:
                _check_stride(whole, sample, cut, special=special)
        if len(samples) == 1:  # without the library's threads, which do not survive a fork
            text, pair = samples[0]
            return [used.encode(text, pair, is_pretokenized=words, add_special_tokens=special)]
        inputs = [text if pair is None else (text, pair) for text, pair in samples]
        return list(used.encode_batch(inputs, is_pretokenized=words, add_special_tokens=special))


def configured(
    backend: tokenizers.Tokenizer, cut: Cut | None, *, split: bool
) -> tokenizers.Tokenizer:
    """Return a tokenizer of the same parts with other settings.

    Raises:
        InputError: windows that would not advance, since they overlap by their length.
    """
    plain = backend.truncation is None and backend.padding is None
    if cut is None and plain and backend.encode_special_tokens == split:
        return backend
    made = tokenizers.Tokenizer(backend.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if getattr(backend, part) is not None:
            setattr(made, part, getattr(backend, part))
    added = backend.get_added_tokens_decoder()
    made.add_tokens([token for _, token in sorted(added.items())])
    if made.get_added_tokens_decoder() != added:  # ids that leave gaps
        made = tokenizers.Tokenizer.from_str(backend.to_str())
        made.no_truncation()
        made.no_padding()
    made.encode_special_tokens = split
    if cut is not None:
        with refusals():
            made.enable_truncation(
                min(cut.max_length, _MOST),
                stride=min(cut.stride, _MOST),
                strategy=cut.strategy,
                direction=cut.side,
            )
    return made


def enough(backend: tokenizers.Tokenizer, sample: Sample, cut: Cut, *, special: bool) -> Sample:
    """Return as much of a text or pair as cutting it needs: see `leading`.

    A part that is shorter for it has more tokens than are kept. Of what is cut from the left, where
    words are numbered and letters counted from the beginning, all is needed.
    """
    text, pair = sample
    room = cut.max_length
    if special:
        room -= backend.num_special_tokens_to_add(pair is not None)
    if cut.side == "left" or room < 0:  # too small for the special tokens: nothing is cut
        return sample
    if pair is None:
        return Sample(leading(backend, text, room))
    short = Sample(leading(backend, text, room), leading(backend, pair, room))
    # Of two texts that are both cut, the longer keeps the odd token: here their lengths count.
    if cut.strategy == "longest_first" and room % 2 and short != sample:
        words = not isinstance(text, str)
        counts = [
            len(backend.encode(part, is_pretokenized=words, add_special_tokens=False))
            for part in short
        ]
        if min(counts) > room // 2:
            return sample
    return short


def _check_stride(
    backend: tokenizers.Tokenizer, sample: Sample, cut: Cut, *, special: bool
) -> None:
    """Raise InputError of windows that would not advance: of some the library panics, and says so.

    Texts are counted where the stride alone does not tell.
    """

    def count(part: Text) -> int:
        words = not isinstance(part, str)
        return len(backend.encode(part, is_pretokenized=words, add_special_tokens=False))

    lengths: tuple[int, ...]
    kept: tuple[int, ...]
    text, pair = sample
    room = cut.max_length
    if special:
        room -= backend.num_special_tokens_to_add(pair is not None)
    if pair is not None and cut.strategy == "longest_first":
        if cut.stride < room // 2:
            return
        lengths = count(text), count(pair)
        shorter = min(lengths)
        # As the library shares: the longer text gives way, until both are of one length.
        longer = max(shorter, room - shorter)
        if shorter + longer > room:
            shorter, longer = room // 2, room - room // 2
        kept = (shorter, longer) if lengths[0] <= lengths[1] else (longer, shorter)
    else:
        if pair is not None:
            text, other = (text, pair) if cut.strategy == "only_first" else (pair, text)
            room -= count(other)
        if cut.stride < room:
            return
        lengths, kept = (count(text),), (room,)
    for length, least in zip(lengths, kept, strict=True):
        if 0 < least < length and cut.stride >= least:
            wanted = f"less than the {least} tokens that a window holds of a text"
            raise InputError.wanted("stride", wanted, cut.stride)


def pad(encodings: Sequence[tokenizers.Encoding], how: Pad, pad_id: int, pad_token: str) -> None:
    """Fill encodings and their overflowing windows up to one length.

    Raises:
        InputError: a length that no text has.
    """
    length = how.target(max(len(encoding) for encoding in encodings))
    for encoding in encodings:
        encoding.pad(length, direction=how.side, pad_id=pad_id, pad_type_id=0, pad_token=pad_token)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn what the library raises of a text or a cut into InputErrors."""
    try:
        yield
    except (TypeError, UnicodeEncodeError):
        raise InputError(NO_UNICODE) from None
    except BaseException as error:
        # It raises these two, and panics on some strides; any other is from elsewhere, as what a
        # signal's handler raises amid a call to end it.
        if type(error) not in (Exception, ValueError) and type(error).__name__ != "PanicException":
            raise
        message = " ".join(str(error).split())
        raise InputError(f"these texts cannot be cut so: {message}") from None
