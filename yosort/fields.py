"""What the fields of a config may hold, and how labels, their names and their number agree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from yosort.activations import ACTIVATIONS
from yosort.errors import ConfigError

MAX_LAYERS = 1024
MAX_LABELS = 100_000
#: More than any memory holds of anything.
MAX_COUNT = 1 << 48
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
_COUNTS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "num_hash",
)
_FLAGS = (
    "use_expectation",
    "use_fast_hash",
    "lsh_backward",
    "tie_word_embeddings",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
)


def check_fields(config: Any) -> None:
    """Raise ConfigError unless each field of a YosoConfig is what a YOSO model can have."""

    def require(name: str, wanted: str, accepts: Callable[[Any], bool]) -> None:
        value = getattr(config, name)
        if not accepts(value):
            raise ConfigError.wanted(name, wanted, value)

    for name in _COUNTS:
        require(name, "an integer of at least 1, at most 2 ** 48", _is_count)
    for name in _FLAGS:
        require(name, "true or false", lambda v: isinstance(v, bool))
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        require(name, "a number from 0 to 1", lambda v: _is_number(v, 0, 1))
    for name in ("initializer_range", "layer_norm_eps"):
        require(name, "a number of at least 0", _is_number)
    for name in ("bos_token_id", "eos_token_id"):
        require(name, "null or a token id", _is_token_id)
    require(
        "pad_token_id",
        f"null or a token id below vocab_size ({config.vocab_size})",
        lambda v: v is None or (_is_token_id(v) and v < config.vocab_size),
    )
    # Each layer has a dozen weights to look for: a hostile number must not make millions.
    require("num_hidden_layers", f"at most {MAX_LAYERS} layers", lambda v: v <= MAX_LAYERS)
    require(
        "hidden_act",
        f"one of {', '.join(sorted(ACTIVATIONS))}",
        lambda v: isinstance(v, str) and v in ACTIVATIONS,
    )
    require(
        "position_embedding_type",
        '"absolute", the only one that YOSO implements',
        lambda v: isinstance(v, str) and v == "absolute",
    )
    require(
        "hidden_size",
        f"a multiple of num_attention_heads ({config.num_attention_heads})",
        lambda v: v % config.num_attention_heads == 0,
    )
    require("hash_code_len", "an integer from 1 to 16", lambda v: _is_count(v) and v <= 16)
    # An even window makes n + 1 rows of n: upstream fails on it inside torch.
    require(
        "conv_window",
        "null or an odd integer of at least 1",
        lambda v: v is None or (_is_count(v) and v % 2 == 1),
    )
    require(
        "problem_type",
        f"null or one of {', '.join(PROBLEM_TYPES)}",
        lambda v: v is None or (isinstance(v, str) and v in PROBLEM_TYPES),
    )
    require("extra", "an object of fields", _is_object)
    require("name_or_path", "a text", lambda v: isinstance(v, str))
    require(
        "architectures",
        "null or a list of class names",
        lambda v: (
            v is None or (isinstance(v, (list, tuple)) and all(isinstance(n, str) for n in v))
        ),
    )
    require(
        "num_labels",
        # Each label has a name: a hostile number must not make millions.
        f"an integer of at least 1 and at most {MAX_LABELS}",
        lambda v: v is None or (_is_count(v) and v <= MAX_LABELS),
    )


def agree_labels(count: Any, names: Any, numbers: Any) -> tuple[dict[int, str], dict[str, int]]:
    """Return `id2label` and `label2id` that agree with each other and with `num_labels`.

    Names win, as in transformers.

    Args:
        count: `num_labels`, checked; or None.
        names: `id2label`, or None.
        numbers: `label2id`, or None.

    Raises:
        ConfigError: one of them is no such object, or num_labels is not how many have names.
    """
    id2label = None if names is None else int_keys("id2label", names)
    if id2label is None or (count is not None and len(id2label) != count):
        if id2label is not None and count is not None and not _generic(id2label):
            raise ConfigError(
                f"num_labels: wanted {len(id2label)}, the number of names in id2label, got {count}"
            )
        id2label = {i: f"LABEL_{i}" for i in range(2 if count is None else count)}
    if sorted(id2label) != list(range(len(id2label))):
        raise ConfigError.wanted(
            "id2label", f"the keys 0 to {len(id2label) - 1}", got=sorted(id2label)
        )
    label2id = None if numbers is None else _int_values("label2id", numbers)
    if label2id is None or len(label2id) != len(id2label):
        label2id = {name: i for i, name in id2label.items()}
    return id2label, label2id


def int_keys(name: str, mapping: Any) -> dict[int, str]:
    """Return label names by number, whatever JSON or numpy made of the numbers.

    Raises:
        ConfigError: no such object.
    """
    try:
        if not all(map(_is_scalar, mapping.values())):
            raise TypeError
        return {_to_int(k): str(v) for k, v in mapping.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError.wanted(name, "an object of names by label number", mapping) from None


def _int_values(name: str, mapping: Any) -> dict[str, int]:
    try:
        if not all(map(_is_scalar, mapping)):
            raise TypeError
        return {str(k): _to_int(v) for k, v in mapping.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError.wanted(name, "an object of label numbers by name", mapping) from None


def _generic(id2label: Mapping[int, str]) -> bool:
    """Whether the names say nothing beyond their number, so that num_labels may replace them."""
    return all(name == f"LABEL_{i}" for i, name in id2label.items())


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_COUNT


def _is_token_id(value: Any) -> bool:
    return value is None or _is_count(value, 0)


def _is_number(value: Any, low: float = 0.0, high: float = sys.float_info.max) -> bool:
    # NaN is not within them.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float, np.integer, np.floating)) or value is None


def _to_int(value: Any) -> int:
    """Return a label's number: JSON has it as text where it is a key, numpy in types of its own."""
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    if not (whole or isinstance(value, (str, int, np.integer))):
        raise TypeError
    return int(value)
