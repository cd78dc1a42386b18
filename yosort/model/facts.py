"""What a model says of itself: nothing here computes, and nothing can be set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_flag, checks_calls
from yosort.checkpoint import Sentence
from yosort.config import YosoConfig
from yosort.errors import InputError, show
from yosort.model.architectures import TABLES
from yosort.model.attention import Attention
from yosort.model.parameters import stored
from yosort.ops.interface import Array, Ops
from yosort.quantized import Weight
from yosort.tokenizer import Tokenizer


class Device(str):
    """A device's name, that is asked for its type as torch's devices are."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """The name without its number."""
        return self.partition(":")[0]


@checks_calls(InputError)
class Facts:
    """Where a model runs, as what, from where, and how large it is."""

    config: YosoConfig
    _mode: str
    _seed: int
    _ops: Ops
    _parameters: Mapping[str, Weight]
    _named: Path | None
    _folder: Path | None
    _tokenizer: Tokenizer | None
    _sentence: Sentence | None = None
    _attention: Attention

    @property
    def device(self) -> Device:
        """Where the model runs, a text: "cpu", or "cuda:N"; its `type` is "cpu" or "cuda"."""
        return Device(self._ops.device)

    @property
    def dtype(self) -> np.dtype[Any] | str:
        """The compute type; "bfloat16", which NumPy has not, by its name."""
        name = self._ops.compute_type
        return name if name == "bfloat16" else np.dtype(name)

    @property
    def attention(self) -> str:
        """The form of attention: "expectation", "sampled", "auto" or "auto:N"."""
        return self._mode

    @property
    def num_hash(self) -> int:
        """Hash functions a layer, where attention is sampled."""
        return self.config.num_hash

    @property
    def sampled_from(self) -> int:
        """Tokens from which a text's attention is sampled; more than any has, where none is."""
        return self._attention.sampled_from

    @property
    def seed(self) -> int:
        """The seed of the hash functions."""
        return self._seed

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the model's folder; None for a model that was not loaded from one.

        Raises:
            CheckpointError: the folder holds no tokenizer, or one that cannot be read.
        """
        if self._tokenizer is None and self._folder is not None:
            self._tokenizer = Tokenizer.from_pretrained(self._folder)
        return self._tokenizer

    @property
    def sentence(self) -> Sentence | None:
        """What sentence-transformers' files of the folder say of texts' vectors; None: nothing."""
        return self._sentence

    @property
    def ops(self) -> Ops:
        """The backend the model runs on."""
        return self._ops

    def __repr__(self) -> str:
        config = self.config
        return (
            f"{type(self).__name__}({self.name_or_path!r}, {config.num_hidden_layers} layers, "
            f"hidden_size={config.hidden_size}, attention={self._mode!r}, "
            f"device={self.device!r}, dtype={self._ops.compute_type!r})"
        )

    @property
    def name_or_path(self) -> str:
        """The folder that the model was loaded from; empty for one made from a config."""
        return "" if self._named is None else str(self._named)

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """Return an array of an output as numpy, from whichever device.

        Args:
            array: of any shape, which it keeps.

        Raises:
            InputError: no array.
        """
        if not isinstance(array, (np.ndarray, np.generic, self._ops.xp.ndarray)):
            raise InputError(f"array: wanted one of a model's output, got {show(array)}")
        return self._ops.to_host(array)

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of weights; tied ones count once.

        Args:
            only_trainable: taken, and without effect: training would change them all.
            exclude_embeddings: whether to leave out the tables of words, positions, token types.

        Raises:
            InputError: an argument that is neither True nor False.
        """
        check_flag("only_trainable", only_trainable)
        without = TABLES if check_flag("exclude_embeddings", exclude_embeddings) else ()
        weights = stored(self._parameters)
        return sum(array.size for name, array in weights.items() if name not in without)
