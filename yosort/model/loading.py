"""`yosort.load`: the class that a checkpoint's config names."""

from __future__ import annotations

import os
from typing import Any

from yosort.arguments import with_names
from yosort.checkpoint import resolve
from yosort.config import HUB_OPTIONS, YosoConfig
from yosort.errors import ConfigError
from yosort.model import heads
from yosort.model.architectures import ARCHITECTURES
from yosort.model.base import PretrainedModel
from yosort.model.options import read_config, read_loading

CLASSES: dict[str, type[PretrainedModel]] = {name: getattr(heads, name) for name in ARCHITECTURES}


@with_names(ConfigError, pretrained_model_name_or_path="source")
def load(
    source: str | os.PathLike[str],
    *,
    config: YosoConfig | str | os.PathLike[str] | None = None,
    **options: Any,
) -> PretrainedModel:
    """Load a checkpoint into the class that its config.json's `architectures` names.

    Args:
        source: a local folder, an installed model's name, or a hub id.
        config: a config, or the folder of one, in place of the checkpoint's config.json.
        options: those of `from_pretrained`.

    Raises:
        ConfigError: no architecture, or one that is not YOSO's; as `from_pretrained` otherwise,
            like CheckpointError, DeviceError and InputError.
    """
    given = read_loading(options)
    folder = resolve(source, **given.hub)
    config = read_config(config, folder)
    names = config.override(**given.fields).architectures or ()
    known = [name for name in names if name in CLASSES]
    if not known:
        raise ConfigError(
            f"{folder}: architectures: wanted one of {', '.join(CLASSES)}, got {list(names)}; "
            "call a class's from_pretrained to choose yourself"
        )
    local = {name: value for name, value in options.items() if name not in HUB_OPTIONS}
    return CLASSES[known[0]].from_pretrained(folder, config=config, **local)
