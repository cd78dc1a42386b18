"""What a call returns: transformers' field names, read by attribute, key, index or as a tuple."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

Array = Any


class ModelOutput:
    """Base of the output dataclasses. Fields that are None do not count as present."""

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the present fields in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def keys(self) -> list[str]:
        """Return the names of the present fields in order."""
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        return [name for name in names if getattr(self, name) is not None]

    def values(self) -> list[Any]:
        """Return the present fields in order."""
        return list(self.to_tuple())

    def items(self) -> list[tuple[str, Any]]:
        """Return names and values of the present fields in order."""
        return list(zip(self.keys(), self.to_tuple(), strict=True))

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(key)
            return getattr(self, key)
        return self.to_tuple()[key]

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[str]:
        """Iterate over names, as a mapping does (and as transformers' outputs do)."""
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


@dataclass(frozen=True)
class BaseModelOutput(ModelOutput):
    """The encoder's output.

    Attributes:
        last_hidden_state: [batch, n, hidden].
        hidden_states: the embeddings and each layer's output, [batch, n, hidden] each, if asked.
        attentions: each layer's attention context, [batch, n, hidden] each, if asked: upstream's
            meaning of the word; YOSO has no attention matrix to return.
    """

    last_hidden_state: Array
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class MaskedLMOutput(ModelOutput):
    """Scores of the vocabulary: `logits` [batch, n, vocab_size], or [k, vocab_size] at k positions.

    The other fields are as in `BaseModelOutput`; `loss` is a scalar where labels were given.
    """

    loss: Array | None = None
    logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class SequenceClassifierOutput(ModelOutput):
    """Scores of the labels: `logits` [batch, num_labels]."""

    loss: Array | None = None
    logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class MultipleChoiceModelOutput(ModelOutput):
    """Scores of the choices: `logits` [batch, choices]; states are [batch * choices, n, hidden]."""

    loss: Array | None = None
    logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class TokenClassifierOutput(ModelOutput):
    """Scores of the labels for each token: `logits` [batch, n, num_labels]."""

    loss: Array | None = None
    logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class QuestionAnsweringModelOutput(ModelOutput):
    """Scores of the tokens as an answer's ends: `start_logits` and `end_logits` [batch, n]."""

    loss: Array | None = None
    start_logits: Array = None
    end_logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None
