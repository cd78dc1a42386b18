"""What all models share: construction, loading and saving."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yosort.arguments import check_path, checks_calls, drop_unset, with_names
from yosort.checkpoint import Sentence, read_sentence, resolve
from yosort.config import YosoConfig, adopt
from yosort.elsewhere import LOADING, MODEL_CALLS
from yosort.errors import CheckpointError, ConfigError, InputError
from yosort.files import release_pages
from yosort.habits import TorchHabits
from yosort.machine import WORTH_ASKING, check_memory, host_memory
from yosort.model.answering import Answering
from yosort.model.architectures import BASE_PREFIX, WORD_EMBEDDINGS
from yosort.model.attention import (
    check_mode,
    draw_attention,
    mode_of,
)
from yosort.model.encoder import Parameters, prepare_encoder
from yosort.model.facts import Facts
from yosort.model.folder import read_weights, write_model
from yosort.model.options import LoadOptions, read_config, read_loading, translated
from yosort.model.parameters import base_shapes, head_shapes, random_parameters, select
from yosort.model.pickling import Origin
from yosort.ops import get_ops
from yosort.ops.cpu.int8 import Int8Ops
from yosort.ops.interface import Ops
from yosort.quantized import Weight
from yosort.saving import check_saving, read_size
from yosort.tokenizer import Tokenizer
from yosort.tuning.int8 import prepare_int8

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger("yosort")


@checks_calls(InputError)
class PretrainedModel(Facts, Answering, TorchHabits):
    """A YOSO encoder with a head, on one backend.

    A call changes nothing in the model: threads may share it.

    Args:
        config: the architecture.
        seed: of the random weights, and of the hash functions of sampled attention.
        device: "auto", "cpu", "cuda" or "cuda:N"; -1 is the CPU, N a GPU.
        dtype: compute type, "float32"; "float16" on a GPU; "bfloat16" and "int8" on a CPU;
            None and "auto" are float32.
        attention: "expectation"; "sampled"; "auto": each text in the form that is faster at its
            length (see `tuning.costs`); "auto:N": sampled for texts of N tokens or more, exact for
            shorter ones; None: what the config says.
        num_hash: hash functions of sampled attention; None for the config's.
        padding: "masked": padding never counts; "attended": as transformers does.
        num_threads: CPU threads of a call; None for what the environment and the machine say.

    Raises:
        ConfigError: an option that does not exist.
        DeviceError: a device that cannot be used, or that lacks the memory.
        InputError: a seed or a number of hash functions that is none.
    """

    head: ClassVar[str | None] = None
    #: transformers' words for what all of them have in common.
    base_model_prefix: ClassVar[str] = BASE_PREFIX.rstrip(".")
    main_input_name: ClassVar[str] = "input_ids"
    #: What the weights were read from, where all of them were.
    _origin: Origin | None = None
    #: The error of each product that int8 was measured for, by name; see docs/int8.md.
    int8_errors: Mapping[str, float] = {}

    @with_names(ConfigError)
    def __init__(
        self,
        config: YosoConfig,
        seed: int = 0,
        *,
        device: str = "auto",
        dtype: str = "float32",
        attention: str | None = None,
        num_hash: int | None = None,
        padding: str = "masked",
        num_threads: int | None = None,
    ) -> None:
        options = LoadOptions(device, dtype, attention, num_hash, seed, padding, num_threads)
        config = adopt(config)
        if not isinstance(config, YosoConfig):
            raise ConfigError(
                f"config: wanted a YosoConfig, got {type(config).__name__} of "
                f"{type(config).__module__.split('.')[0]}; from_dict (of its to_dict) and "
                "from_pretrained of YosoConfig make one, a model's from_pretrained loads weights"
            )
        shapes = {**base_shapes(config), **head_shapes(config, self.head)}
        needed = 4 * sum(map(math.prod, shapes.values()))
        if needed >= WORTH_ASKING:
            check_memory(
                needed,
                host_memory(),
                "cpu",
                what="the model needs",
                hint="a smaller config needs less",
            )
        state = random_parameters(shapes, config, self.head, options.seed)
        if config.tie_word_embeddings:
            state = {k: v for k, v in state.items() if not k.startswith("cls.predictions.decoder")}
        parameters, _ = select(
            state, config, self.head, where="random weights", allow_random_head=False
        )
        self._set_up(config, parameters, None, options, _backend(options))

    def _set_up(
        self,
        config: YosoConfig,
        parameters: dict[str, Weight],
        folder: Path | None,
        options: LoadOptions,
        ops: Ops,
    ) -> None:
        self.config = options.apply(config)
        self.padding = options.padding
        self._mode = options.mode(config)
        self._seed = options.seed
        self._options = options
        self._ops = ops
        self._parameters = parameters
        # Absolute: the tokenizer is read when it is asked for, from wherever the process is then.
        self._named, self._folder = folder, None if folder is None else folder.absolute()
        self._tokenizer: Tokenizer | None = None
        with ops.running():
            self._attention = draw_attention(
                ops, self.config, self._mode, self.num_hash, self._seed
            )
            if isinstance(ops, Int8Ops):
                self._encoder, self.int8_errors = prepare_int8(self.config, parameters, ops)
            else:
                self._encoder = prepare_encoder(self.config, parameters, ops)
            self._prepare_head(parameters)
            ops.synchronize()
        release_pages(parameters.values())

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__call__" in cls.__dict__:
            wrap = with_names(InputError, MODEL_CALLS)
            cls.__call__ = wrap(cls.__call__)  # type: ignore[method-assign]

    @classmethod
    @with_names(ConfigError, pretrained_model_name_or_path="source")
    @translated
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        device: str = "auto",
        dtype: str = "float32",
        attention: str | None = None,
        num_hash: int | None = None,
        seed: int = 0,
        padding: str = "masked",
        num_threads: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        allow_random_head: bool = False,
        config: YosoConfig | str | os.PathLike[str] | None = None,
        **fields: Any,
    ) -> Self:
        """Load a checkpoint: a local folder (never touching the network) or a hub id.

        Options are checked before any file is read.

        Args:
            source: a folder with config.json and weights, or an id such as "uw-madison/yoso-4096".
            device: as in the constructor, like dtype, attention, num_hash, padding, num_threads.
            dtype: see above.
            attention: see above.
            num_hash: see above.
            seed: of the hash functions.
            padding: see above.
            num_threads: see above.
            revision: branch, tag or commit on the hub.
            local_files_only: take a hub id from the local cache alone.
            cache_dir: the cache, if not the hub library's default.
            token: the hub's access token.
            allow_random_head: draw at random what the checkpoint lacks of the head, or has in
                another shape, and log a warning: its answers mean nothing until it is trained.
            config: a config, or the folder of one, in place of the checkpoint's config.json.
            fields: fields of `YosoConfig` that replace config.json's, such as `num_labels`,
                `id2label`, `problem_type` or `output_hidden_states`; and transformers' names of the
                options above, such as `torch_dtype`.

        Raises:
            CheckpointError: weights missing, unexpected, misshapen (all named) or unreadable.
            ConfigError: config.json, an option or a field is not a YOSO model's; a keyword that is
                neither an option nor a field, with the nearest name.
            DeviceError: the device cannot be used.
            InputError: a seed or a number of hash functions that is none.
        """
        given = read_loading(
            {
                "device": device,
                "dtype": dtype,
                "attention": attention,
                "num_hash": num_hash,
                "seed": seed,
                "padding": padding,
                "num_threads": num_threads,
                "revision": revision,
                "local_files_only": local_files_only,
                "cache_dir": cache_dir,
                "token": token,
                "allow_random_head": allow_random_head,
                **fields,
            }
        )
        ops = _backend(given.options)
        folder = resolve(source, **given.hub)
        given.check_files(folder)
        config = read_config(config, folder).override(**given.fields)
        sentence = read_sentence(folder)
        origin = Origin.of(folder)  # noted first: what changes while it is read shows
        weights = read_weights(folder)
        parameters, random = select(
            weights,
            config,
            cls.head,
            where=str(folder),
            allow_random_head=given.allow_random_head,
        )
        parameters.update(random_parameters(random, config, cls.head, given.options.seed))
        if random:
            _log.warning(
                "%s: %d weights of the %s head drawn at random; answers mean nothing until trained",
                folder.name, len(random), cls.head,
            )  # fmt: skip
        model = cls.__new__(cls)
        model._set_up(config, parameters, folder, given.options, ops)
        model._origin = None if random else origin
        model._sentence = sentence
        return model

    @classmethod
    @with_names(ConfigError, torch_dtype="dtype")
    def from_config(cls, config: YosoConfig, **options: Any) -> Self:
        """Build a model with random weights, as the class itself does: `AutoModel.from_config`.

        Args:
            config: the architecture.
            options: of the constructor.

        Raises:
            ConfigError: as the constructor, like DeviceError and InputError.
        """
        return cls(config, **drop_unset(options, LOADING, ConfigError))

    @with_names(ConfigError, save_directory="folder")
    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        max_shard_size: int | str | None = None,
        **options: Any,
    ) -> None:
        """Write config.json, model.safetensors and the tokenizer; transformers loads the folder.

        Args:
            folder: where to; it is made if need be.
            max_shard_size: bytes of weights a file, or a text such as "5GB"; None: one file.
            options: of transformers' that ask for nothing else, such as `push_to_hub=False`.

        Raises:
            CheckpointError: the folder cannot be made or written (ConfigError: its config.json).
            ConfigError: an option that asks for something else.
        """
        check_saving(options, ("folder", "max_shard_size"), ConfigError)
        write_model(
            check_path("folder", folder),
            self.config,
            type(self).__name__,
            self._parameters,
            self._folder,
            self._tokenizer,
            sentence=self._sentence,
            max_shard_size=read_size("max_shard_size", max_shard_size),
        )

    def with_attention(self, attention: str | None) -> Self:
        """Return this model with another form of attention; both share their weights.

        Args:
            attention: as in the constructor.

        Raises:
            ConfigError: no such form.
        """
        other = copy(self)
        other._mode = check_mode(attention) or mode_of(self.config)
        other.config = LoadOptions(attention=other._mode).apply(self.config)
        with self._ops.running():
            other._attention = draw_attention(
                self._ops, other.config, other._mode, self.num_hash, self._seed
            )
            self._ops.synchronize()
        return other

    def _prepare_head(self, parameters: Parameters) -> None:
        """Prepare the head's weights for the backend."""

    def _linear(self, name: str) -> Any:
        weight, bias = (self._parameters[f"{name}.{part}"] for part in ("weight", "bias"))
        tied = weight is self._parameters[WORD_EMBEDDINGS]
        table = self._encoder.tables.word if tied else None
        return self._ops.linear_map([weight], [np.asarray(bias)], name=name, head=True, table=table)

    def __copy__(self) -> Self:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy(self)  # nothing in a model changes: copies share it all

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the folder while it is as it was, else by the weights; see pickling.py."""
        options = replace(self._options, device=self.device, attention=self._mode)
        if self._origin is not None and self._origin.is_unchanged():
            return self._restore, (
                self.config, options, self._origin.folder, self._origin, self._sentence,
            )  # fmt: skip
        tokenizer, folder = None, self._folder
        if folder is not None:
            with suppress(CheckpointError):
                tokenizer = self.tokenizer  # now, if it is still there
        whole = (dict(self._parameters), tokenizer)
        return self._restore, (self.config, options, folder, None, self._sentence, *whole)

    @classmethod
    def _restore(
        cls,
        config: YosoConfig,
        options: LoadOptions,
        folder: Path | None,
        origin: Origin | None,
        sentence: Sentence | None,
        parameters: Mapping[str, Weight] = MappingProxyType({}),
        tokenizer: Tokenizer | None = None,
    ) -> Self:
        """Make the model that `__reduce__` describes.

        Raises:
            CheckpointError: its folder is not here, or has changed.
            DeviceError: its device is not here.
        """
        ops = _backend(options)
        if origin is not None:
            origin.check()
            state, where = read_weights(origin.folder), str(origin.folder)
            parameters, _ = select(state, config, cls.head, where=where, allow_random_head=False)
        model = cls.__new__(cls)
        model._set_up(config, dict(parameters), folder, options, ops)
        model._origin, model._tokenizer, model._sentence = origin, tokenizer, sentence
        return model


def _backend(options: LoadOptions) -> Ops:
    """Return the backend that options name: the only place where a model's is chosen."""
    return get_ops(options.device, dtype=options.dtype, num_threads=options.num_threads)
