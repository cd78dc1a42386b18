"""The authors' checkpoints (github.com/mlpen/YOSO): their configs, and what differs in weights.

Their files hold no config.json of transformers, and weights alone do not tell the number of heads
or the hash. `original_config` translates the JSON that their training scripts read; `infer_config`
reads from the weights what these tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from yosort.checkpoint.stored import State, Tensor
from yosort.errors import CheckpointError, quote
from yosort.model import architectures as own
from yosort.model.architectures import BASE_PREFIX, WORD_EMBEDDINGS, layer_prefix

WORDS = WORD_EMBEDDINGS
POSITIONS = f"{BASE_PREFIX}{own.POSITIONS}.weight"
TYPES = f"{BASE_PREFIX}{own.TOKEN_TYPES}.weight"

_LAYER = re.compile(r"yoso\.encoder\.layer\.(\d+)\.(.+)")

# torch's default for nn.LayerNorm, which the authors keep; transformers' default is 1e-12.
LAYER_NORM_EPS = 1e-5

_FIELDS = {
    "vocab_size": "vocab_size",
    "num_sen_type": "type_vocab_size",
    "max_seq_len": "max_position_embeddings",
    "dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_head": "num_attention_heads",
    "dropout_prob": "hidden_dropout_prob",
    "conv_window": "conv_window",
    "use_fast_hash": "use_fast_hash",
    # yoso-v1 and yoso-v2 name these differently.
    "hash_code_len": "hash_code_len",
    "hashcode_len": "hash_code_len",
    "num_hash": "num_hash",
    "num_hash_f": "num_hash",
}


def is_original_config(values: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a config of the authors', whole or its `model` part."""
    model = values.get("model", values)
    return isinstance(model, Mapping) and {"num_head", "head_dim"} <= set(model)


def original_config(values: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """Translate a config of the authors' to transformers' fields.

    Args:
        values: the JSON, with the model under `model` or at the top.
        what: its name, for messages.

    Raises:
        CheckpointError: transformers' architecture cannot express the model.
    """
    model = values.get("model", values)
    attention = model.get("attn_type")
    if attention not in ("yoso-v1", "yoso-v1-e", "yoso-v2"):
        raise CheckpointError.wanted(
            f"{what}: attn_type", "yoso-v1, yoso-v1-e or yoso-v2", got=quote(attention)
        )
    fields = {to: model[name] for name, to in _FIELDS.items() if model.get(name) is not None}
    for name, value in fields.items():
        if isinstance(value, bool) != (name == "use_fast_hash") or not isinstance(
            value, (int, float)
        ):
            raise CheckpointError.wanted(f"{what}: {name}", "a number", got=quote(value))
    dim, heads, head_dim = (model.get(name) for name in ("dim", "num_head", "head_dim"))
    if model.get("embedding_dim", dim) != dim:
        raise CheckpointError(
            f"{what}: unsupported: embedding_dim {quote(model['embedding_dim'])} differs from dim "
            f"{quote(dim)}; transformers' YOSO has no projection between them"
        )
    if not isinstance(heads, int) or not isinstance(head_dim, int) or heads * head_dim != dim:
        raise CheckpointError(
            f"{what}: unsupported: num_head {quote(heads)} times head_dim {quote(head_dim)} is not "
            f"dim {quote(dim)}, which transformers' YOSO takes for granted"
        )
    if attention == "yoso-v2" and fields.get("num_hash", 1) < 0:
        # yoso-v2 scales q . k by 0.98 before the arc cosine, which nothing else does.
        raise CheckpointError(
            f"{what}: unsupported: num_hash_f below 0 is yoso-v2's own expectation, which "
            "transformers' does not equal"
        )
    fields["use_expectation"] = attention == "yoso-v1-e"
    fields["hidden_act"] = "gelu"
    fields["layer_norm_eps"] = LAYER_NORM_EPS
    return fields


def infer_config(state: State) -> dict[str, Any]:
    """Read from canonical weights what they tell of the model, as transformers' fields.

    Returns:
        vocab_size, hidden_size, intermediate_size, num_hidden_layers, type_vocab_size; with a
        convolution, conv_window and num_attention_heads.

    Raises:
        CheckpointError: the embeddings or the first layer are not there.
    """
    first = BASE_PREFIX + layer_prefix(0)
    inner = f"{first}{own.UP}.weight"
    for name in (WORDS, POSITIONS, TYPES, inner):
        if name not in state or len(state.shape(name)) != 2:
            raise CheckpointError(f"wanted the matrix {name} among the weights, got none")
    layers = {int(match[1]) for match in map(_LAYER.fullmatch, state) if match is not None}
    fields: dict[str, Any] = {
        "vocab_size": state.shape(WORDS)[0],
        "hidden_size": state.shape(WORDS)[1],
        "intermediate_size": state.shape(inner)[0],
        "num_hidden_layers": len(layers),
        "type_vocab_size": state.shape(TYPES)[0],
    }
    window = f"{first}{own.CONVOLUTION}.weight"
    if window in state and len(state.shape(window)) == 4:
        fields["num_attention_heads"] = state.shape(window)[0]
        fields["conv_window"] = state.shape(window)[2]
    return fields


def position_rows(state: State) -> int:
    """Return the number of rows of the position table. Raises CheckpointError: there is none."""
    if POSITIONS not in state or len(state.shape(POSITIONS)) != 2:
        raise CheckpointError(f"wanted the matrix {POSITIONS} among the weights, got none")
    return state.shape(POSITIONS)[0]


def shift_positions(state: State, max_positions: int) -> State:
    """Give a position table of max_positions rows the two unused rows that transformers expects.

    The authors' BERT variant counts positions from 0; their RoBERTa variant, and transformers,
    from 2. Rows 0 and 1 are zeros: no position uses them.

    Raises:
        CheckpointError: the table has neither max_positions nor max_positions + 2 rows.
    """
    rows = position_rows(state)
    if rows == max_positions + 2:
        return state
    if rows != max_positions:
        raise CheckpointError(
            f"{POSITIONS}: wanted {max_positions} rows (positions from 0) or {max_positions + 2} "
            f"(from 2), as the config's length asks for, got {rows}"
        )
    table = state.tensor(POSITIONS)
    bits = np.concatenate([np.zeros((2, table.shape[1]), table.bits.dtype), table.bits])
    return _replaced(state, {POSITIONS: Tensor(table.dtype, bits)})


def unshare_layers(state: State, num_layers: int) -> State:
    """Repeat layer 0 for every layer: the authors' `shared_weight`. Nothing is copied."""
    first = BASE_PREFIX + layer_prefix(0)
    shared = [match[2] for match in map(_LAYER.fullmatch, state) if match is not None]
    return _replaced(
        state,
        {
            f"{BASE_PREFIX}{layer_prefix(index)}{rest}": state.tensor(first + rest)
            for index in range(num_layers)
            for rest in shared
        },
    )


def _replaced(state: State, changes: Mapping[str, Tensor]) -> State:
    return State({**{name: state.tensor(name) for name in state}, **changes})
