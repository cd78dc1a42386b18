"""What a call returns: transformers' field names, read by attribute, key, index or as a tuple."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from yosort.arguments import checks_calls
from yosort.elsewhere import OUTPUTS, instead_of
from yosort.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

Array = Any


@checks_calls(InputError)
class ModelOutput:
    """Base of the output dataclasses. Fields that are None do not count as present.

    Arrays are of the model's device, in its compute type (float32 for int8): NumPy's on a CPU,
    CuPy's on a GPU. By key, a name that is not present raises KeyError.
    """

    if not TYPE_CHECKING:  # a checker would take every name for one

        def __getattr__(self, name: str) -> Any:
            known = ", ".join(f.name for f in fields(self))  # type: ignore[arg-type]
            hint = instead_of(name, OUTPUTS) or f"there are {known}"
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}: {hint}"
            )

    def copy(self) -> Self:
        """Return an output of the same arrays."""
        return replace(self)  # type: ignore[type-var]

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

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field, or `default` where it is not present."""
        return getattr(self, key) if key in self.keys() else default

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
    """Scores of the vocabulary.

    Attributes:
        loss: a scalar, the mean over the labels that count; None without labels.
        logits: [batch, n, vocab_size], or [k, vocab_size] at k positions.
        hidden_states: [batch, n, hidden] each, as in `BaseModelOutput`.
        attentions: [batch, n, hidden] each, likewise.
    """

    loss: Array | None = None
    logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class SequenceClassifierOutput(ModelOutput):
    """Scores of the labels.

    Attributes:
        loss: a scalar, the mean over the labels that count; None without labels.
        logits: [batch, num_labels].
        hidden_states: [batch, n, hidden] each, as in `BaseModelOutput`.
        attentions: [batch, n, hidden] each, likewise.
    """

    loss: Array | None = None
    logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class MultipleChoiceModelOutput(ModelOutput):
    """Scores of the choices.

    Attributes:
        loss: a scalar, the mean over the labels that count; None without labels.
        logits: [batch, choices].
        hidden_states: [batch * choices, n, hidden] each, otherwise as in `BaseModelOutput`.
        attentions: [batch * choices, n, hidden] each, likewise.
    """

    loss: Array | None = None
    logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class TokenClassifierOutput(ModelOutput):
    """Scores of the labels for each token.

    Attributes:
        loss: a scalar, the mean over the labels that count; None without labels.
        logits: [batch, n, num_labels].
        hidden_states: [batch, n, hidden] each, as in `BaseModelOutput`.
        attentions: [batch, n, hidden] each, likewise.
    """

    loss: Array | None = None
    logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class QuestionAnsweringModelOutput(ModelOutput):
    """Scores of the tokens as an answer's ends.

    Attributes:
        loss: a scalar, the mean of both ends' losses; None without labels.
        start_logits: [batch, n].
        end_logits: [batch, n].
        hidden_states: [batch, n, hidden] each, as in `BaseModelOutput`.
        attentions: [batch, n, hidden] each, likewise.
    """

    loss: Array | None = None
    start_logits: Array = None
    end_logits: Array = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None
