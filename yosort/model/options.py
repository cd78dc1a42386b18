"""The options of loading: how a model is to run, checked before any file is read."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from yosort.arguments import (
    Call,
    check_choice,
    check_flag,
    drop_idle,
    drop_unset,
    no_such_option,
)
from yosort.config import FIELDS, HUB_OPTIONS, YosoConfig, adopt
from yosort.elsewhere import LOADING, LOADING_WITHOUT_EFFECT
from yosort.errors import CheckpointError, ConfigError, show
from yosort.machine import resolve_num_threads
from yosort.model.attention import check_mode, check_num_hash, check_seed, mode_of
from yosort.ops.choice import check_device, check_dtype

PADDING = ("masked", "attended")

#: transformers' names of our options.
_RENAMED = {
    "device_map": "device",
    "torch_dtype": "dtype",
    "use_auth_token": "token",
    "ignore_mismatched_sizes": "allow_random_head",
}


@dataclass(frozen=True)
class LoadOptions:
    """How a model is to run; see `PretrainedModel` for what each option means.

    Options come as users write them, in any case, and are kept in one form. `attention` and
    `num_hash` stay None where config.json is to say.

    Raises:
        ConfigError: an option that does not exist.
        InputError: a seed or a number of hash functions that is none.
    """

    device: str = "auto"
    dtype: str = "float32"
    attention: str | None = None
    num_hash: int | None = None
    seed: int = 0
    padding: str = "masked"
    num_threads: int | None = None

    def __post_init__(self) -> None:
        checked = {
            "device": check_device(self.device),
            "dtype": check_dtype(self.dtype),
            "attention": check_mode(self.attention),
            "num_hash": None if self.num_hash is None else check_num_hash(self.num_hash),
            "seed": 0 if self.seed is None else check_seed(self.seed),
            "padding": check_choice("padding", self.padding, PADDING, ConfigError),
        }
        resolve_num_threads(self.num_threads)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def apply(self, config: YosoConfig) -> YosoConfig:
        """Return the config of a model that runs so: what is saved is what ran."""
        changed: dict[str, Any] = {}
        if self.num_hash is not None:
            changed["num_hash"] = self.num_hash
        if self.attention in ("expectation", "sampled"):
            changed["use_expectation"] = self.attention == "expectation"
        return config.override(**changed) if changed else config

    def mode(self, config: YosoConfig) -> str:
        """Return the form of attention: the option's, or the config's."""
        return self.attention or mode_of(config)


_OTHERS = ("allow_random_head", "config", "use_safetensors")
LOAD_OPTIONS = (*(f.name for f in fields(LoadOptions)), *HUB_OPTIONS, *_OTHERS)


@dataclass(frozen=True)
class Loading:
    """All that a call of `from_pretrained` says beside its source.

    Attributes:
        options: how the model is to run.
        hub: where it comes from, as `yosort.checkpoint.resolve` takes it.
        allow_random_head: whether what the checkpoint lacks of the head is drawn at random.
        fields: of the config, in place of config.json's.
        use_safetensors: whether weights have to be in safetensors, or must not; None: whichever.
    """

    options: LoadOptions
    hub: dict[str, Any]
    allow_random_head: bool
    fields: dict[str, Any]
    use_safetensors: bool | None = None

    def check_files(self, folder: Path) -> None:
        """Raise CheckpointError where weights are wanted in a form that is not what is read."""
        found = any(folder.glob("*.safetensors"))
        if self.use_safetensors not in (None, found):
            there = "some, which go before other weights" if found else "none"
            raise CheckpointError(
                f"use_safetensors: wanted {found} or None, for of *.safetensors {folder} holds "
                f"{there}, got {self.use_safetensors}"
            )


def is_load_option(name: str) -> bool:
    """Whether a keyword is an option of loading, a config field or transformers' word for one."""
    words = (*LOAD_OPTIONS, *_RENAMED, *LOADING_WITHOUT_EFFECT, *LOADING)
    return name in words or name in FIELDS


def read_loading(given: Mapping[str, Any]) -> Loading:
    """Sort and check the options of loading, under our names or transformers'.

    Raises:
        ConfigError: a keyword that is neither an option nor a config field, with the nearest name;
            one that has no counterpart here; one given under two names; a value that means nothing.
    """
    named = translate(given)
    options = {f.name: named.pop(f.name) for f in fields(LoadOptions) if f.name in named}
    # num_hash is a field of the config as well: the two say the same.
    checked = LoadOptions(**options)
    hub = {name: named.pop(name) for name in HUB_OPTIONS if name in named}
    random_head = named.pop("allow_random_head", False)
    named.pop("config", None)  # the loader's own argument
    safe = named.pop("use_safetensors", None)
    safe = None if safe is None else check_flag("use_safetensors", safe, ConfigError)
    for name in named:
        if name not in FIELDS:
            raise no_such_option(name, (*LOAD_OPTIONS, *_RENAMED, *FIELDS), ConfigError)
    random_head = check_flag("allow_random_head", random_head, ConfigError)
    return Loading(checked, hub, random_head, named, safe)


def read_config(config: YosoConfig | str | os.PathLike[str] | None, folder: Path) -> YosoConfig:
    """Return the `config` of a call, read from where it lies; None: the checkpoint's own.

    transformers' config of a YOSO model will do as well as ours.

    Raises:
        ConfigError: no config and no path; a config.json that is no YOSO model's.
    """
    if config is None or isinstance(config, (str, os.PathLike)):
        return YosoConfig.from_pretrained(folder if config is None else config)
    config = adopt(config)
    if not isinstance(config, YosoConfig):
        raise ConfigError(
            f"config: wanted a YosoConfig, or the folder of one, got {show(config)}; "
            "YosoConfig.from_dict makes one of a dictionary"
        )
    return config


def translated(call: Call) -> Call:
    """Wrap a loader, which gets keywords under our names: before it adds defaults of its own."""

    @functools.wraps(call)
    def renaming(*arguments: Any, **given: Any) -> Any:
        return call(*arguments, **translate(given))

    return cast(Call, renaming)


def translate(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of loading under our names, without those that have no effect here.

    Raises:
        ConfigError: one that has no counterpart here; one given under two names.
    """
    found = drop_idle(drop_unset(given, LOADING, ConfigError), LOADING_WITHOUT_EFFECT)
    found = {name: value for name, value in found.items() if name not in _RENAMED}
    for word, name in _RENAMED.items():
        value = given.get(word)
        if value is None:  # transformers' "not given"
            continue
        if word == "device_map" and isinstance(value, Mapping):
            if list(value) != [""]:  # the whole model, by its name among modules
                raise ConfigError.wanted("device_map", "one device for the whole model", value)
            value = value[""]
        if found.get(name) not in (None, value):
            raise ConfigError.wanted(word, f"{name} or {word}", got="both")
        found[name] = value
    return found
