"""The activations that a config.json may name, under transformers' names (its ACT2FN)."""

from __future__ import annotations

from typing import Final

#: Name in config.json -> the one formula behind it. Several names are spellings of one function:
#: transformers keeps them apart for the rounding of their implementations only.
ACTIVATIONS: Final[dict[str, str]] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_10": "gelu_10",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "mish": "mish",
    "linear": "linear",
}
