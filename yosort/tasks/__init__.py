"""`yosort.pipeline`: text in, answers out; one file a task."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from yosort.arguments import check_choice, check_flag
from yosort.errors import ConfigError
from yosort.pretrained import PretrainedModel
from yosort.tokenizer import Tokenizer

#: task -> module and class here; the class names the model that it runs on.
TASKS = {
    "fill-mask": ("fill_mask", "FillMaskPipeline"),
    "text-classification": ("text_classification", "TextClassificationPipeline"),
    "token-classification": ("token_classification", "TokenClassificationPipeline"),
    "question-answering": ("question_answering", "QuestionAnsweringPipeline"),
    "multiple-choice": ("multiple_choice", "MultipleChoicePipeline"),
    "feature-extraction": ("feature_extraction", "FeatureExtractionPipeline"),
}
#: What the bundled model, a masked language model, can answer.
BUNDLED_TASKS = ("fill-mask", "feature-extraction")


def bundled_model() -> Path:
    """Return the folder of the model that yosort brings along."""
    return Path(__file__).resolve().parent.parent / "bundled"


def pipeline(
    task: str,
    model: str | os.PathLike[str] | PretrainedModel | None = None,
    tokenizer: Tokenizer | None = None,
    *,
    samples: int = 1,
    **options: Any,
) -> Any:
    """Build the pipeline of a task.

    Args:
        task: "fill-mask", "text-classification", "token-classification", "question-answering",
            "multiple-choice" or "feature-extraction".
        model: a folder, a hub id, or a loaded model; None for the bundled one, which knows
            fill-mask and feature-extraction, and other tasks with `allow_random_head=True` only.
        tokenizer: None for the model's own.
        samples: draws of hash functions, for sampled attention. With several, a result's `score` is
            the mean over them, and `standard_error` beside it says how far the choice of hash
            functions may have moved that mean; see `yosort.tasks.uncertainty`.
        options: of `from_pretrained`, where the model is not loaded yet.

    Raises:
        ConfigError: no such task, or a model of another task.
        CheckpointError: the model or its tokenizer cannot be loaded.
    """
    check_choice("task", task, TASKS, ConfigError)
    if model is None:
        random_head = options.get("allow_random_head", False)
        random_head = check_flag("allow_random_head", random_head, ConfigError)
        if task not in BUNDLED_TASKS and not random_head:
            raise ConfigError(
                f"model: wanted one for {task}: a folder or hub id of a fine-tuned checkpoint; the "
                f"bundled model knows {' and '.join(BUNDLED_TASKS)} (allow_random_head=True puts "
                "an untrained head on it, to try things out)"
            )
        model = bundled_model()
    module, name = TASKS[task]
    cls = getattr(importlib.import_module(f"yosort.tasks.{module}"), name)
    if not isinstance(model, PretrainedModel):
        model = cls.model_class.from_pretrained(model, **options)
    elif options:
        raise ConfigError(f"options {sorted(options)} only apply to a model that is yet to load")
    return cls(model, tokenizer, samples)
