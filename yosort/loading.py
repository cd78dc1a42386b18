"""`yosort.load`: the class that a checkpoint's config names."""

from __future__ import annotations

import os
from typing import Any

from yosort import heads
from yosort.checkpoint import resolve
from yosort.config import YosoConfig
from yosort.errors import ConfigError
from yosort.pretrained import PretrainedModel

CLASSES: dict[str, type[PretrainedModel]] = {
    cls.__name__: cls
    for cls in (
        heads.YosoModel,
        heads.YosoForMaskedLM,
        heads.YosoForSequenceClassification,
        heads.YosoForMultipleChoice,
        heads.YosoForTokenClassification,
        heads.YosoForQuestionAnswering,
    )
}

_HUB_OPTIONS = ("revision", "local_files_only", "cache_dir", "token")


def load(source: str | os.PathLike[str], **options: Any) -> Any:
    """Load a checkpoint into the class that its config.json's `architectures` names.

    Args:
        source: a local folder or a hub id.
        options: those of `from_pretrained`.

    Raises:
        ConfigError: no architecture, or one that is not YOSO's.
        CheckpointError: as `from_pretrained`, like DeviceError.
    """
    hub = {name: options[name] for name in _HUB_OPTIONS if name in options}
    folder = resolve(source, **hub)
    names = YosoConfig.from_pretrained(folder).architectures or ()
    known = [name for name in names if name in CLASSES]
    if not known:
        raise ConfigError(
            f"{folder}: architectures: wanted one of {', '.join(CLASSES)}, got {list(names)}; "
            "call a class's from_pretrained to choose yourself"
        )
    local = {name: value for name, value in options.items() if name not in _HUB_OPTIONS}
    return CLASSES[known[0]].from_pretrained(folder, **local)
