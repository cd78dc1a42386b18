"""A folder of another encoder, read as a YOSO model's config and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.adoption.families import FAMILIES, Family, refusal
from yosort.arguments import is_integer
from yosort.checkpoint import State, read_state, to_canonical
from yosort.config import YosoConfig
from yosort.errors import CheckpointError, quote
from yosort.files import read_json
from yosort.model.architectures import (
    ARCHITECTURES,
    BASE_PREFIX,
    DECODER_BIAS,
    DECODER_WEIGHT,
    MLM_BIAS,
    POSITIONS,
    TOKEN_TYPES,
)
from yosort.model.parameters import select
from yosort.quantized import Weight

Floats = npt.NDArray[np.float32]
#: Classes of these families, less the family's own name, and ours.
_CLASSES = {
    "Model": "YosoModel",
    "ForMaskedLM": "YosoForMaskedLM",
    "ForPreTraining": "YosoForMaskedLM",
    "ForSequenceClassification": "YosoForSequenceClassification",
    "ForTokenClassification": "YosoForTokenClassification",
    "ForQuestionAnswering": "YosoForQuestionAnswering",
}
_PREFIXES = ("XLMRoberta", "DistilBert", "Roberta", "Camembert", "Bert")
#: Fields of YOSO's config that mean the same elsewhere.
_FIELDS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "type_vocab_size", "layer_norm_eps", "initializer_range", "pad_token_id",
    "bos_token_id", "eos_token_id", "tie_word_embeddings", "id2label", "label2id", "num_labels",
    "problem_type", "hidden_dropout_prob", "attention_probs_dropout_prob",
)  # fmt: skip
#: The two maps of a classifier by token 0, and the activation between them.
_CLASSIFIERS = (
    ("yoso.pooler.dense", "classifier", "tanh"),
    ("pooler.dense", "classifier", "tanh"),
    ("classifier.dense", "classifier.out_proj", "tanh"),
    ("pre_classifier", "classifier", "relu"),
)


@dataclass(frozen=True)
class Classifier:
    """A classification head as the original has it: activation(x @ dense.T) @ out.T, with biases.

    Attributes:
        activation: between the maps.
        dense: weight [hidden, hidden] and bias [hidden].
        out: weight [labels, hidden] and bias [labels].
    """

    activation: str
    dense: tuple[Floats, Floats]
    out: tuple[Floats, Floats]


@dataclass(frozen=True)
class Source:
    """An encoder in YOSO's shape, whose attention is still to be replaced.

    Attributes:
        folder: where it was read.
        architecture: the class of YOSO's that it becomes.
        config: its settings; max_position_embeddings is the length that the original takes.
        weights: float32 by canonical name; a classification head is not among them.
        classifier: that head, if there is one.
    """

    folder: Path
    architecture: str
    config: YosoConfig
    weights: dict[str, Floats]
    classifier: Classifier | None


def read_source(folder: Path, *, encoder_only: bool = False) -> Source:
    """Read a folder of one of `FAMILIES`.

    Args:
        folder: with config.json and weights.
        encoder_only: leave the head aside, whatever it is.

    Raises:
        CheckpointError: no such encoder, and why; weights that are missing or misshapen.
        ConfigError: sizes that no model can have.
    """
    fields = read_json(folder / "config.json")
    why = refusal(fields)
    if why is not None:
        kind = quote(fields.get("model_type"))
        raise CheckpointError(f"{folder}: a model of type {kind} cannot be adopted: {why}")
    family = FAMILIES[fields["model_type"]]
    architecture = "YosoModel" if encoder_only else _architecture(folder, fields)
    state = _read_weights(folder, family)
    config, offset = _config(folder, family, fields, state)
    weights = {name: np.asarray(state[name], np.float32) for name in state}
    odd = next((name for name, weight in weights.items() if not np.isfinite(weight).all()), None)
    if odd is not None:
        raise CheckpointError.wanted(f"{folder}: {odd}", "finite numbers", got="NaN or infinity")
    _align_positions(folder, config, weights, offset)
    if not family.token_types:
        weights[f"{BASE_PREFIX}{TOKEN_TYPES}.weight"] = np.zeros(
            (1, config.hidden_size), np.float32
        )
    if DECODER_WEIGHT in weights and MLM_BIAS in weights:  # one bias, whose other name is left out
        weights.setdefault(DECODER_BIAS, weights[MLM_BIAS])
    classifier = None
    if architecture == "YosoForSequenceClassification":
        classifier = _take_classifier(folder, config, weights)
    head = ARCHITECTURES[architecture].head if classifier is None else None
    activation = family.head_act or config.hidden_act
    if head == "masked_lm" and activation != config.hidden_act:
        raise CheckpointError(
            f"{folder}: its head computes {activation}, its layers {config.hidden_act}; YOSO has "
            "one for both; encoder_only=True leaves the head aside"
        )
    known = {name: weight for name, weight in weights.items() if not _is_left_aside(name)}
    chosen, _ = select(known, config, head, where=f"{folder}", allow_random_head=False)
    return Source(folder, architecture, config, _arrays(chosen), classifier)


def _architecture(folder: Path, fields: Mapping[str, Any]) -> str:
    names = fields.get("architectures") or ["Model"]
    name = names[0] if isinstance(names, list) and isinstance(names[0], str) else ""
    kind = next((name[len(p) :] for p in _PREFIXES if name.startswith(p)), name)
    if kind not in _CLASSES:
        raise CheckpointError.wanted(
            f"{folder}: architectures",
            f"a class that ends with {', '.join(_CLASSES)}",
            got=quote(name),
            hint="encoder_only=True takes the encoder alone",
        )
    return _CLASSES[kind]


def _read_weights(folder: Path, family: Family) -> State:
    state = read_state(folder)
    try:
        # Wrappers and TensorFlow's names are seen to first: canonical names bring them off.
        plain = to_canonical(state)
        return to_canonical(State({family.rename(name): plain.tensor(name) for name in plain}))
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from None


def _config(
    folder: Path, family: Family, fields: Mapping[str, Any], state: State
) -> tuple[YosoConfig, int]:
    """Return the config, and the first row of the position table that a text uses."""
    found = {name: fields[name] for name in _FIELDS if name in fields}
    found |= {ours: fields[name] for ours, name in family.fields.items() if name in fields}
    # transformers' defaults of a BERT, where its config.json leaves them out; YOSO's are RoBERTa's.
    if family.offset == 0:
        usual = {"vocab_size": 30522, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
        found = {**usual, "type_vocab_size": 2, **found}
    if not family.token_types:
        found["type_vocab_size"] = 1
    offset = family.offset
    if offset is None:
        pad = found.get("pad_token_id", 1)
        if pad is not None and not is_integer(pad):
            raise CheckpointError.wanted(f"{folder}: pad_token_id", "an integer or null", pad)
        offset = (pad or 0) + 1
    rows = fields.get("max_position_embeddings", 512)
    if not isinstance(rows, int) or rows <= offset:
        raise CheckpointError.wanted(
            f"{folder}: max_position_embeddings", f"an integer above {offset}", rows
        )
    config = YosoConfig.from_dict({**found, "max_position_embeddings": rows - offset})
    return config, offset


def _align_positions(
    folder: Path, config: YosoConfig, weights: dict[str, Floats], offset: int
) -> None:
    """Have the position table begin at row 2, as YOSO's does."""
    name = f"{BASE_PREFIX}{POSITIONS}.weight"
    if name not in weights:
        return  # what is missing is named with the rest
    table = weights[name]
    wanted = (config.max_position_embeddings + offset, config.hidden_size)
    if table.shape != wanted:
        raise CheckpointError.wanted(
            f"{folder}: the position table", f"shape {list(wanted)}", got=list(table.shape)
        )
    unused = np.zeros((2, config.hidden_size), np.float32)
    weights[name] = np.concatenate([unused, table[offset:]])


def _take_classifier(folder: Path, config: YosoConfig, weights: dict[str, Floats]) -> Classifier:
    """Take the classification head out of the weights."""
    for dense, out, activation in _CLASSIFIERS:
        names = [f"{module}.{leaf}" for module in (dense, out) for leaf in ("weight", "bias")]
        if not all(name in weights for name in names):
            continue
        hidden, labels = config.hidden_size, len(config.label_names)
        shapes = [(hidden, hidden), (hidden,), (labels, hidden), (labels,)]
        first = [weights.pop(name) for name in names]
        for name, array, shape in zip(names, first, shapes, strict=True):
            if array.shape != shape:
                raise CheckpointError.wanted(
                    f"{folder}: {name}", f"shape {list(shape)}", got=list(array.shape)
                )
        return Classifier(activation, (first[0], first[1]), (first[2], first[3]))
    raise CheckpointError(
        f"{folder}: wanted a classification head, a dense layer and a classifier over it, got none"
    )


def _is_left_aside(name: str) -> bool:
    """Whether a weight is one that YOSO has no use for: the pooler, the next-sentence head."""
    return name.startswith(("yoso.pooler.", "pooler.", "cls.seq_relationship."))


def _arrays(weights: Mapping[str, Weight]) -> dict[str, Floats]:
    """Return weights as they are: what is tied stays one array."""
    return {name: weight for name, weight in weights.items() if isinstance(weight, np.ndarray)}
