"""The one table of what there is: classes, heads, weights, tasks and commands.

A class of transformers' is the encoder with a head; a task is a pipeline over one class, and may
have a command. Whoever asks which there are reads this file. It imports nothing of yosort, so that
every part can, the command line before numpy is loaded.

Weights have transformers' names, the encoder's below `yoso.`. Their shapes are written in names of
sizes, of which `parameters.sizes` tells the numbers: a weight of a size that a config has not (the
window of no convolution) is not there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, TypeAlias

Weights: TypeAlias = dict[str, tuple[str | int, ...]]


def _dense(name: str, into: str, out: str | int) -> Weights:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str) -> Weights:
    return {f"{name}.weight": ("hidden",), f"{name}.bias": ("hidden",)}


BASE_PREFIX = "yoso."

# Modules of the embeddings, below BASE_PREFIX.
WORDS = "embeddings.word_embeddings"
POSITIONS = "embeddings.position_embeddings"
TOKEN_TYPES = "embeddings.token_type_embeddings"
EMBEDDINGS_NORM = "embeddings.LayerNorm"

# Modules of a layer, below BASE_PREFIX + layer_prefix(i).
QUERY, KEY, VALUE = "attention.self.query", "attention.self.key", "attention.self.value"
CONVOLUTION = "attention.self.conv"
OUTPUT, NORM1 = "attention.output.dense", "attention.output.LayerNorm"
UP, DOWN, NORM2 = "intermediate.dense", "output.dense", "output.LayerNorm"

EMBEDDINGS: Weights = {
    f"{WORDS}.weight": ("vocabulary", "hidden"),
    f"{POSITIONS}.weight": ("positions", "hidden"),
    f"{TOKEN_TYPES}.weight": ("token_types", "hidden"),
    **_norm(EMBEDDINGS_NORM),
}
LAYER: Weights = {
    **_dense(QUERY, "hidden", "hidden"),
    **_dense(KEY, "hidden", "hidden"),
    **_dense(VALUE, "hidden", "hidden"),
    f"{CONVOLUTION}.weight": ("heads", 1, "window", 1),
    **_dense(OUTPUT, "hidden", "hidden"),
    **_norm(NORM1),
    **_dense(UP, "hidden", "inner"),
    **_dense(DOWN, "inner", "hidden"),
    **_norm(NORM2),
}

TABLES = tuple(f"{BASE_PREFIX}{name}.weight" for name in (WORDS, POSITIONS, TOKEN_TYPES))
WORD_EMBEDDINGS = TABLES[0]
TRANSFORM, TRANSFORM_NORM = "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"
DECODER = "cls.predictions.decoder"
DECODER_WEIGHT, DECODER_BIAS = f"{DECODER}.weight", f"{DECODER}.bias"
MLM_BIAS = "cls.predictions.bias"
ANSWER_ENDS = "qa_outputs"
#: Pairs (name, source) that a tied model shares; each may be absent when the other is there.
TIES = (
    (DECODER_WEIGHT, WORD_EMBEDDINGS),
    (DECODER_BIAS, MLM_BIAS),
    (MLM_BIAS, DECODER_BIAS),
)


def layer_prefix(index: int) -> str:
    """Return what the names of a layer's weights begin with, below BASE_PREFIX."""
    return f"encoder.layer.{index}."


class Architecture(NamedTuple):
    """A class of `yosort.model.heads`.

    Attributes:
        name: the class's, as config.json's `architectures` has it.
        head: what messages call the head; None for none.
        weights: the head's.
    """

    name: str
    head: str | None
    weights: Weights

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the names of the head's weights begin with."""
        return tuple(sorted({name.partition(".")[0] + "." for name in self.weights}))

    @property
    def is_labelled(self) -> bool:
        """Whether the config names what the head tells apart."""
        return any("labels" in shape for shape in self.weights.values())


class Task(NamedTuple):
    """A task of `yosort.pipeline`.

    Attributes:
        name: transformers' name of it; fill-mask is `FillMaskPipeline` in `yosort.tasks.fill_mask`.
        model: the class that it runs on.
        command: of the command line; None for none.
        keys: of an input that is an object: JSON's keys, CSV's columns.
        aliases: transformers' other names.
        columns: of a result, which is one row where the option `one_row` has such a value; none of
            what is a vector then, or any number of rows.
        one_row: see there: the option's name, and the values.
        num_labels: of the models that are made for it; None: any number.
    """

    name: str
    model: str
    command: str | None = None
    keys: tuple[str, ...] = ("text",)
    aliases: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    one_row: tuple[str, tuple[str | int, ...]] | None = ("top_k", (1,))
    num_labels: int | None = None

    @property
    def module(self) -> str:
        """The module of the pipeline."""
        return f"yosort.tasks.{self.name.replace('-', '_')}"

    @property
    def pipeline(self) -> str:
        """The class of the pipeline."""
        return self.name.title().replace("-", "") + "Pipeline"


#: By the name of the class.
ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture("YosoModel", None, {}),
        Architecture(
            "YosoForMaskedLM",
            "masked_lm",
            {
                **_dense(TRANSFORM, "hidden", "hidden"),
                **_norm(TRANSFORM_NORM),
                **_dense(DECODER, "hidden", "vocabulary"),
                MLM_BIAS: ("vocabulary",),
            },
        ),
        Architecture(
            "YosoForSequenceClassification",
            "sequence_classification",
            {
                **_dense("classifier.dense", "hidden", "hidden"),
                **_dense("classifier.out_proj", "hidden", "labels"),
            },
        ),
        Architecture(
            "YosoForMultipleChoice",
            "multiple_choice",
            {**_dense("pre_classifier", "hidden", "hidden"), **_dense("classifier", "hidden", 1)},
        ),
        Architecture(
            "YosoForTokenClassification",
            "token_classification",
            _dense("classifier", "hidden", "labels"),
        ),
        Architecture(
            "YosoForQuestionAnswering", "question_answering", _dense(ANSWER_ENDS, "hidden", 2)
        ),
    )
}

#: By transformers' name.
TASKS = {
    row.name: row
    for row in (
        Task(
            "fill-mask",
            "YosoForMaskedLM",
            "fill-mask",
            columns=("score", "token", "token_str", "sequence"),
        ),
        Task(
            "text-classification",
            "YosoForSequenceClassification",
            "classify",
            ("text", "text_pair"),
            ("sentiment-analysis",),
            ("label", "score"),
        ),
        Task(
            "text-ranking",
            "YosoForSequenceClassification",
            "rerank",
            ("query", "documents"),
            ("rerank",),
            ("index", "score", "text"),
            num_labels=1,
        ),
        Task(
            "token-classification",
            "YosoForTokenClassification",
            "ner",
            aliases=("ner",),
            one_row=None,
        ),
        Task(
            "question-answering",
            "YosoForQuestionAnswering",
            "qa",
            ("question", "context"),
            columns=("score", "start", "end", "answer"),
        ),
        Task(
            "multiple-choice",
            "YosoForMultipleChoice",
            keys=("prompt", "choices"),
            columns=("choice", "index", "score"),
        ),
        Task("feature-extraction", "YosoModel", "embed", one_row=("pooling", ("cls", "mean"))),
    )
}
#: transformers' other names, and the tasks that they mean.
ALIASES = {alias: task.name for task in TASKS.values() for alias in task.aliases}

#: What the names of every head's weights begin with.
HEAD_PREFIXES = tuple(sorted({prefix for row in ARCHITECTURES.values() for prefix in row.prefixes}))


def tasks_of(architecture: str, num_labels: int | None = None) -> list[Task]:
    """Return the tasks that a class answers: its own, and those of the encoder alone.

    Args:
        architecture: the class's name.
        num_labels: of the model; None leaves out the tasks that ask for a number of them.
    """
    if architecture not in ARCHITECTURES:
        return []
    of_class = [task for task in TASKS.values() if task.model in (architecture, "YosoModel")]
    return [task for task in of_class if task.num_labels in (None, num_labels)]


def architecture_of(weights: Collection[str]) -> str:
    """Return the class that a checkpoint's weights, by name, are of.

    It is the one of whose head most is there; heads share names, so of heads that are there whole
    the larger one counts. Without any weight of a head it is the encoder alone.
    """

    def likeness(row: Architecture) -> tuple[float, int, int]:
        there = sum(name in weights for name in row.weights)
        alike = sum(name.startswith(row.prefixes) for name in weights)
        return there / max(1, len(row.weights)), there, alike

    return max(ARCHITECTURES.values(), key=likeness).name
