"""`yosort.pipeline`: text in, answers out; one file a task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from yosort.errors import ConfigError
from yosort.tokenizer import Tokenizer

TASKS = ("fill-mask",)


def bundled_model() -> Path:
    """Return the folder of the model that yosort brings along."""
    return Path(__file__).resolve().parent.parent / "bundled"


def pipeline(
    task: str,
    model: Any = None,
    tokenizer: Tokenizer | None = None,
    **options: Any,
) -> Any:
    """Build the pipeline of a task.

    Args:
        task: "fill-mask".
        model: a folder, a hub id, or a loaded model; None for the bundled one.
        tokenizer: None for the model's own.
        options: of `from_pretrained`, where the model is not loaded yet.

    Raises:
        ConfigError: no such task.
        CheckpointError: the model or its tokenizer cannot be loaded.
    """
    if task not in TASKS:
        raise ConfigError(f"task: wanted one of {', '.join(TASKS)}, got {task!r}")
    from yosort.heads import YosoForMaskedLM
    from yosort.tasks.fill_mask import FillMaskPipeline

    source = bundled_model() if model is None else model
    if isinstance(source, (str, os.PathLike)):
        source = YosoForMaskedLM.from_pretrained(source, **options)
    elif options:
        raise ConfigError(f"options {sorted(options)} only apply to a model that is yet to load")
    return FillMaskPipeline(source, tokenizer)
