"""Where an answer stands in its text."""

from __future__ import annotations


def trimmed(text: str, begin: int, end: int) -> tuple[int, int]:
    """Return a span without the spaces around it, so that text[begin:end] is what was found.

    Byte-level BPE and Unigram count the space before a word to it, unless the tokenizer's
    post-processor trims offsets; this gives the same spans of both. Of spaces alone nothing
    remains, at their end.
    """
    while begin < end and text[begin] == " ":
        begin += 1
    while end > begin and text[end - 1] == " ":
        end -= 1
    return begin, end
