"""Which tokens of a word stay as they are, however the word goes on.

A byte-pair or Unigram model is handed a beginning of a word, of which neither the end nor the
length is known. Two facts decide how much of the answer holds for every word that begins so:

- Where the tokens of a word meet at some place, those before it are the tokens of the text before
  it. Unigram: the best path to a place depends on nothing behind it. Byte pairs: no merge was ever
  done across the place, so those on its left were done in the order in which they are without its
  right.
- So before a place c tokens meet at one of few places: at c, or where a token of the vocabulary
  can begin that reaches across c.

What the tokenizations of the text up to each of these places have in common is settled: of paths
that are left, the survivors share their beginning, as in Viterbi's decoder.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

from tokenizers import Tokenizer, models


@dataclass(frozen=True)
class Pieces:
    """A vocabulary whose tokens can be settled.

    Attributes:
        tokens: as the model spells them.
        longest: letters of the longest.
        every_letter: whether a word's letters must be tokens: what this model does not know, it
            drops or merges, so that a token may reach further than the longest.
    """

    tokens: frozenset[str]
    longest: int
    every_letter: bool

    @classmethod
    def of(cls, backend: Tokenizer) -> Pieces | None:
        """Return a tokenizer's vocabulary; None where a word's end or chance changes its tokens."""
        model = backend.model
        tokens = frozenset(backend.get_vocab(with_added_tokens=False))
        every_letter = False
        if isinstance(model, models.BPE):
            # The end of a word may have a suffix; what begins within it a prefix.
            if model.dropout or model.end_of_word_suffix or model.continuing_subword_prefix:
                return None
            unknown = model.unk_token
            every_letter = (
                unknown is None
                or model.byte_fallback
                or any(unknown in token for token in tokens - {unknown})
            )
        elif not isinstance(model, models.Unigram) or _spells_bytes(model):
            return None
        return cls(tokens, max(map(len, tokens), default=0), every_letter)

    def count_settled(self, backend: Tokenizer, start: str, enough: int) -> int:
        """Return how many tokens every word has in common that begins with `start`, at the least.

        Args:
            backend: the tokenizer.
            start: a beginning, as the model is given it.
            enough: a number that is as good as any larger one.
        """
        place = len(start) - self.longest + 1
        first = place - self.longest + 1
        if first < 0:
            return 0
        if self.every_letter and not self.tokens.issuperset(start[first:]):
            return 0
        meeting = [place]
        for begin in range(first, place):
            ends = range(place + 1, begin + self.longest + 1)
            if any(start[begin:end] in self.tokens for end in ends):
                meeting.append(begin)
        paths = []
        for end in meeting:
            tokens = backend.model.tokenize(start[:end])
            # The last one may be of unknown letters, which join others behind it.
            paths.append([(token.id, token.offsets) for token in tokens[:-1][:enough]])
        columns = zip(*paths, strict=False)
        return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))


def _spells_bytes(model: models.Unigram) -> bool:
    return bool(json.loads(model.__getstate__())["byte_fallback"])
