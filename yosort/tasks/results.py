"""What the pipelines answer with, as type checkers see it: transformers' keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt


class Extras(TypedDict, total=False):
    """What a result may hold beside its task's keys.

    Attributes:
        standard_error: of the score, with several `samples`; absent where all draws of a sampled
            text agree, for then nothing is known of it.
        truncated: True where the text was cut.
    """

    standard_error: float
    truncated: bool


class FilledMask(Extras):
    """An answer of fill-mask.

    Attributes:
        score: probability, over the whole vocabulary.
        token: its id.
        token_str: its text.
        sequence: the text with the token in the mask's place.
    """

    score: float
    token: int
    token_str: str
    sequence: str


class LabelScore(Extras):
    """A label of text-classification.

    Attributes:
        label: its name.
        score: a probability, or what `function_to_apply` makes of the logit.
    """

    label: str
    score: float


class TokenLabel(Extras):
    """What entities of token-classification share.

    Attributes:
        score: probability of the label; of a group, the mean.
        word: the token, or the group's text.
        start: the first character of it, counted in the text.
        end: the character after its last.
    """

    score: float
    word: str
    start: int
    end: int


class Entity(TokenLabel, total=False):
    """An entity: `entity` and `index` of a token, or `entity_group` of several.

    Attributes:
        entity: the token's label.
        index: the token's place in the text, special tokens included.
        entity_group: the group's label, without "B-" and "I-".
    """

    entity: str
    index: int
    entity_group: str


class Answer(Extras):
    """An answer of question-answering.

    Attributes:
        score: probability of both ends together.
        start: the first character of it, counted in the context.
        end: the character after its last.
        answer: its text; empty where handle_impossible_answer found none.
    """

    score: float
    start: int
    end: int
    answer: str


class Choice(Extras):
    """A choice of multiple-choice.

    Attributes:
        choice: its text.
        index: its place among those that were given, from 0.
        score: probability among them.
    """

    choice: str
    index: int
    score: float


class Ranked(Extras):
    """A document of text-ranking.

    Attributes:
        index: its place among those that were given, from 0.
        score: of the label that ranks, a probability or what `function_to_apply` makes of logits.
        text: the document.
    """

    index: int
    score: float
    text: str


class Part(Extras):
    """A part of a text that feature-extraction pooled late.

    Attributes:
        start: the first character of it, counted in the text.
        end: the character after its last.
        vector: [hidden], a list, or float32 with return_tensors.
    """

    start: int
    end: int
    vector: list[float] | npt.NDArray[np.float32]


class TextPair(TypedDict, total=False):
    """An input of text-classification.

    Attributes:
        text: a text.
        text_pair: the second text of a pair; None, or left out, for none.
    """

    text: str
    text_pair: str | None


class Question(TypedDict):
    """An input of question-answering.

    Attributes:
        question: a question.
        context: the text that answers it.
    """

    question: str
    context: str


class TextSpans(TypedDict):
    """An input of feature-extraction, beside texts.

    Attributes:
        text: a text.
        spans: its parts that get a vector each: pairs (start, end) of characters, or dictionaries
            with these keys.
    """

    text: str
    spans: Sequence[Any]


class RankingQuery(TypedDict):
    """An input of text-ranking.

    Attributes:
        query: a text.
        documents: texts to rank for it.
    """

    query: str
    documents: Sequence[str]


class Choices(TypedDict):
    """An input of multiple-choice.

    Attributes:
        prompt: a text.
        choices: two texts or more, of which each may follow it.
    """

    prompt: str
    choices: list[str]


#: What feature-extraction answers with: an array, a vector, or one for each token, [1, n, hidden].
Array: TypeAlias = npt.NDArray[np.float32]
Vector: TypeAlias = list[float]
Vectors: TypeAlias = list[list[list[float]]]

# What a pipeline answers an input with, by the options that it was made with. Only a checker needs
# to know what that is where it was made with none.
if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Labels = TypeVar("Labels", default=LabelScore)
    Answers = TypeVar("Answers", default=Answer)
    Features = TypeVar("Features", default=Vectors)
    #: What a list of texts gets, which may be the words of one.
    Listed = TypeVar("Listed", default=list[list[Entity]])
else:
    from typing import TypeVar

    Labels, Answers, Features, Listed = map(TypeVar, ("Labels", "Answers", "Features", "Listed"))
