"""What the pipelines answer with, as type checkers see it: transformers' keys."""

from __future__ import annotations

from typing import TypedDict


class Extras(TypedDict, total=False):
    """What a result may hold beside its task's keys.

    standard_error: of the score, with several `samples`; absent where all draws of a sampled text
        agree, for then nothing is known of it.
    truncated: True where the text was cut.
    """

    standard_error: float
    truncated: bool


class FilledMask(Extras):
    """An answer of fill-mask."""

    score: float
    token: int
    token_str: str
    sequence: str


class LabelScore(Extras):
    """A label of text-classification."""

    label: str
    score: float


class TokenLabel(Extras):
    """What entities of token-classification share; start and end count the text's characters."""

    score: float
    word: str
    start: int
    end: int


class Entity(TokenLabel, total=False):
    """An entity: `entity` and `index` of a token, or `entity_group` of several."""

    entity: str
    index: int
    entity_group: str


class Answer(Extras):
    """An answer of question-answering; start and end count the context's characters."""

    score: float
    start: int
    end: int
    answer: str


class Choice(Extras):
    """A choice of multiple-choice, with its place among those that were given."""

    choice: str
    index: int
    score: float


class TextPair(TypedDict, total=False):
    """An input of text-classification."""

    text: str
    text_pair: str | None


class Question(TypedDict):
    """An input of question-answering."""

    question: str
    context: str


class Choices(TypedDict):
    """An input of multiple-choice."""

    prompt: str
    choices: list[str]
