"""YosoConfig: what a model is, read from and written to transformers' config.json."""

from __future__ import annotations

import difflib
import functools
import json
import os
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from yosort.arguments import (
    check_path,
    checks_calls,
    drop_idle,
    drop_unset,
    no_such_option,
    with_names,
)
from yosort.checkpoint.hub import resolve
from yosort.checkpoint.installed import find_installed
from yosort.elsewhere import CONFIGS, FETCHING, WITHOUT_EFFECT, Hinted
from yosort.errors import CheckpointError, ConfigError
from yosort.fields import agree_labels, check_fields, int_keys
from yosort.files import read_json
from yosort.replacing import replace_file
from yosort.saving import check_saving, make_folder

#: Options of the hub, as `yosort.checkpoint.resolve` takes them.
HUB_OPTIONS = ("revision", "local_files_only", "cache_dir", "token")
#: From how much likeness on a keyword that is no field counts as one misspelt; sep_token_id, which
#: transformers has and yosort has not, is less like eos_token_id.
_LIKENESS = 0.85


@checks_calls(ConfigError)
@dataclass(frozen=True)
class YosoConfig(Hinted):
    """The architecture and the task of a YOSO checkpoint; immutable.

    Field names and defaults are those of transformers' `YosoConfig`, so that a config.json travels
    both ways. Fields that yosort does not know are kept in `extra`, read as attributes, and written
    back; a keyword that is nearly the name of a known one is an error.

    Without effect here, because they only matter in training or exist for compatibility:
    `hidden_dropout_prob`, `attention_probs_dropout_prob`, `lsh_backward`; `initializer_range`
    matters only to a model with random weights.

    Attributes:
        vocab_size: rows of the word table.
        hidden_size: width of the hidden states; a multiple of num_attention_heads.
        num_hidden_layers: how many layers.
        num_attention_heads: heads a layer.
        intermediate_size: width of the feed-forward part.
        hidden_act: its activation, by transformers' name.
        max_position_embeddings: the longest text, in tokens.
        type_vocab_size: how many token types.
        layer_norm_eps: what LayerNorm adds to the variance.
        position_embedding_type: "absolute"; there is no other.
        use_expectation: whether attention is exact, or sampled.
        hash_code_len: bits of a hash code, 1 to 16.
        num_hash: hash functions of sampled attention, a head.
        conv_window: width, in tokens, of the convolution over values; None for none.
        use_fast_hash: hash by random rotations, or by Gaussian hyperplanes.
        pad_token_id: the id of padding, like bos_token_id and eos_token_id of theirs.
        tie_word_embeddings: whether the word table is the decoder, too.
        num_labels: outputs of a classifier.
        id2label: their names, by number.
        label2id: their numbers, by name.
        problem_type: "regression", "single_label_classification", "multi_label_classification", or
            None: what labels and num_labels imply.
        architectures: the class that `yosort.load` picks.
        output_attentions: default of a call's, like output_hidden_states and return_dict.
        extra: fields that yosort does not know.
        name_or_path: what `from_pretrained` was given; no part of config.json.

    Raises:
        ConfigError: a field has a value that no YOSO model can have; the message names the field,
            what was wanted and what came.
    """

    _instead: ClassVar[Mapping[str, str]] = CONFIGS
    #: The name of the architecture in config.json.
    model_type: ClassVar[str] = "yoso"
    vocab_size: int = 50265
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 4096
    type_vocab_size: int = 1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    position_embedding_type: str = "absolute"
    use_expectation: bool = True
    hash_code_len: int = 9
    num_hash: int = 64
    conv_window: int | None = None
    use_fast_hash: bool = True
    lsh_backward: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | None = 2
    tie_word_embeddings: bool = True
    # None where they are not given: what is given settles them, and no config has None.
    num_labels: int = None  # type: ignore[assignment]
    id2label: Mapping[int, str] = None  # type: ignore[assignment]
    label2id: Mapping[str, int] = None  # type: ignore[assignment]
    problem_type: str | None = None
    architectures: tuple[str, ...] | None = None
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    name_or_path: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.architectures is not None:
            object.__setattr__(self, "architectures", tuple(self.architectures))
        id2label, label2id = agree_labels(self.num_labels, self.id2label, self.label2id)
        object.__setattr__(self, "id2label", id2label)
        object.__setattr__(self, "label2id", label2id)
        object.__setattr__(self, "num_labels", len(id2label))

    if not TYPE_CHECKING:  # a checker would take every name for one

        def __getattr__(self, name: str) -> Any:
            extra = self.__dict__.get("extra", {})  # not there yet while a config is unpickled
            if name in extra:
                return extra[name]
            return super().__getattr__(name)

    @property
    def head_dim(self) -> int:
        """Width of one attention head: hidden_size / num_attention_heads."""
        return self.hidden_size // self.num_attention_heads

    @property
    def label_names(self) -> list[str]:
        """The label names in the order of the classifier's outputs."""
        return [self.id2label[i] for i in range(self.num_labels)]

    @property
    def dtype(self) -> str | None:
        """The type that config.json says its weights are stored in, such as "float16", or None."""
        found: str | None = self.extra.get("dtype", self.extra.get("torch_dtype"))
        return found

    @property
    def torch_dtype(self) -> str | None:
        """The same by its older name."""
        return self.dtype

    @property
    def is_encoder_decoder(self) -> bool:
        """False: YOSO is an encoder."""
        return False

    @property
    def use_return_dict(self) -> bool:
        """Whether calls return named outputs: transformers' other name of `return_dict`."""
        return self.return_dict

    @classmethod
    @with_names(ConfigError)
    def for_model(cls, model_type: str, **fields: Any) -> YosoConfig:
        """Build a config with these fields: `AutoConfig.for_model("yoso", num_labels=3)`.

        Args:
            model_type: "yoso", of which alone there is a config here.
            fields: by name.

        Raises:
            ConfigError: another model type, or a field that no YOSO model can have.
        """
        return cls(**{"model_type": model_type, **fields})

    def override(self, **changed: Any) -> YosoConfig:
        """Return this config with other values of some fields, as transformers takes them.

        Label names and their number follow each other: `num_labels` alone gives new names, LABEL_0
        and so on, unless there are that many already; `id2label` alone says how many there are.

        Args:
            changed: by field.

        Raises:
            ConfigError: no such field, or a value that no YOSO model can have.
        """
        for name in changed:
            if name not in FIELDS:
                raise no_such_option(name, FIELDS, ConfigError)
        names, count = changed.get("id2label"), changed.get("num_labels")
        if names is not None:
            names = int_keys("id2label", names)
            if count is not None and count != len(names):
                raise ConfigError.wanted(
                    "num_labels", f"{len(names)}, the number of names in id2label", count
                )
            changed = {"label2id": None, **changed, "num_labels": len(names)}
        elif count is not None and count != self.num_labels:
            changed = {"label2id": None, **changed, "id2label": None}
        return replace(self, **changed)

    @classmethod
    @with_names(ConfigError, config_dict="values")
    def from_dict(cls, values: Mapping[str, Any]) -> YosoConfig:
        """Build a config from the contents of a config.json; unknown fields go to `extra`.

        Raises:
            ConfigError: a field that no YOSO model can have.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"wanted an object of fields, got {type(values).__name__}")
        _check_model_type(values)
        extra = {k: v for k, v in values.items() if k not in FIELDS and k != "model_type"}
        return cls(**{k: v for k, v in values.items() if k in FIELDS}, extra=extra)

    @classmethod
    @with_names(ConfigError, pretrained_model_name_or_path="folder", use_auth_token="token")
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> YosoConfig:
        """Read config.json from a local folder (or the file itself, if that is what is named).

        Args:
            folder: where it lies; or an installed model's name or a hub id, where there is no such
                folder.
            options: fields in place of the file's, as `override` takes them; and of the hub,
                `revision`, `local_files_only`, `cache_dir` and `token`.

        Raises:
            ConfigError: it cannot be read, is no JSON object with each key once, or has a field
                that no YOSO model can have.
        """
        path = check_path("folder", folder, ConfigError)
        options = drop_idle(drop_unset(options, FETCHING, ConfigError), WITHOUT_EFFECT)
        hub = {name: options.pop(name) for name in HUB_OPTIONS if name in options}
        if isinstance(folder, str) and not os.path.exists(path):
            try:
                if folder.count("/") == 1 or find_installed(folder):
                    path = resolve(folder, weights=False, **hub)
            except CheckpointError as error:
                raise ConfigError(str(error)) from error
        if os.path.isdir(path):
            path = path / "config.json"
        if not os.path.exists(path):
            raise ConfigError(f"{path}: no such file; a model folder holds a config.json")
        try:
            values = read_json(path)
        except CheckpointError as error:
            raise ConfigError(str(error)) from error
        try:
            found = cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        return replace(found.override(**options), name_or_path=os.fspath(folder))

    @classmethod
    @with_names(ConfigError)
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> YosoConfig:
        """Read a config.json: `from_pretrained` of the file itself.

        Args:
            json_file: its path.

        Raises:
            ConfigError: as `from_pretrained`.
        """
        return cls.from_pretrained(check_path("json_file", json_file, ConfigError))

    def to_dict(self) -> dict[str, Any]:
        """Return what config.json holds: transformers' fields, `extra` among them."""
        values: dict[str, Any] = {
            name: getattr(self, name) for name in FIELDS if name != "num_labels"
        }
        if self.architectures is not None:
            values["architectures"] = list(self.architectures)
        values["id2label"] = dict(self.id2label)
        values["label2id"] = dict(self.label2id)
        return {**values, **self.extra, "model_type": "yoso"}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return what of `to_dict` is not a field's default, and model_type."""
        usual = type(self)().to_dict()
        return {
            name: value
            for name, value in self.to_dict().items()
            if name not in usual or value != usual[name] or name == "model_type"
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the text of config.json: transformers' name of `to_json`.

        Args:
            use_diff: taken, and without effect: all fields are written.

        Raises:
            ConfigError: as `to_json`.
        """
        return self.to_json()

    def to_json(self) -> str:
        """Return the text of config.json.

        Raises:
            ConfigError: `extra` holds what JSON has no form for.
        """
        try:
            return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"extra: wanted what JSON can hold: {error}") from error

    @with_names(ConfigError, save_directory="folder")
    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Write config.json into `folder`, which is made if need be: transformers' name of it.

        Args:
            folder: where to.
            options: of transformers' that ask for nothing else, such as `push_to_hub=False`.

        Raises:
            ConfigError: as `save`, and an option that asks for something else.
        """
        check_saving(options, ("folder",), ConfigError)
        path = check_path("folder", folder, ConfigError)
        make_folder(path, ConfigError)
        self.save(path)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json into `folder`, which must exist: whole, or not at all.

        Raises:
            ConfigError: it cannot be written, or `extra` holds what JSON has no form for.
        """
        path = check_path("folder", folder, ConfigError) / "config.json"
        try:
            with replace_file(path) as file:
                file.write(self.to_json().encode())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error}") from error


def _refuse_change(self: YosoConfig, name: str, value: Any) -> None:
    raise FrozenInstanceError(
        f"cannot set {name}: a config is immutable; give {name}= to from_pretrained, or take what "
        f"config.override({name}=...) returns"
    )


def adopt(config: Any) -> Any:
    """Return transformers' config of a YOSO model as ours, and anything else as it is.

    Raises:
        ConfigError: transformers' config of another model, or fields that no YOSO model can have.
    """
    to_dict = getattr(config, "to_dict", None)
    own = isinstance(config, (YosoConfig, type))
    if own or not callable(to_dict) or not hasattr(config, "model_type"):
        return config
    values = dict(to_dict())
    path = values.pop("_name_or_path", None)
    try:
        return replace(YosoConfig.from_dict(values), name_or_path=path or "")
    except ConfigError as error:
        raise ConfigError(f"config: {error}") from None


def _check_model_type(values: Mapping[str, Any]) -> None:
    model_type = values.get("model_type", "yoso")
    if not isinstance(model_type, str) or model_type != "yoso":
        hint = "`yosort adopt` makes a YOSO model of a BERT's or RoBERTa's folder"
        raise ConfigError.wanted("model_type", '"yoso"', model_type, hint=hint)


def _with_extra(init: Any) -> Any:
    """Wrap the constructor: a whole config.json may come as keywords, as transformers takes it."""

    @functools.wraps(init)
    def checked(self: YosoConfig, *arguments: Any, **given: Any) -> None:
        _check_model_type(given)
        others = {k: given.pop(k) for k in list(given) if k not in (*FIELDS, *_BESIDE)}
        others.pop("model_type", None)
        for name in others:
            if difflib.get_close_matches(name, FIELDS, n=1, cutoff=_LIKENESS):
                raise no_such_option(name, FIELDS, ConfigError)
        extra = given.get("extra", {})
        if others and isinstance(extra, Mapping):
            given["extra"] = {**extra, **others}
        init(self, *arguments, **given)

    return checked


YosoConfig.__setattr__ = _refuse_change  # type: ignore[method-assign, assignment]
YosoConfig.__init__ = _with_extra(with_names(ConfigError)(YosoConfig.__init__))  # type: ignore[method-assign]
#: What a config has besides the fields of config.json that yosort knows.
_BESIDE = ("extra", "name_or_path")
#: The names of those fields.
FIELDS = tuple(f.name for f in fields(YosoConfig) if f.name not in _BESIDE)
