"""`yosort.pipeline`: text in, answers out; one file a task."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, overload

from yosort import elsewhere
from yosort.arguments import check_choice, check_flag, no_such_option, with_names
from yosort.checkpoint import resolve
from yosort.config import FIELDS, HUB_OPTIONS, YosoConfig
from yosort.elsewhere import instead_of
from yosort.errors import CheckpointError, ConfigError, YosortError, show
from yosort.model.architectures import ALIASES, ARCHITECTURES, TASKS
from yosort.model.base import PretrainedModel
from yosort.model.options import LOAD_OPTIONS, is_load_option, read_loading, translate
from yosort.model.parameters import OtherHeadError
from yosort.tasks.base import Pipeline
from yosort.tasks.options import WORDS, is_batch_padding
from yosort.tokenizer import Tokenizer

if TYPE_CHECKING:
    from yosort.tasks.feature_extraction import FeatureExtractionPipeline
    from yosort.tasks.fill_mask import FillMaskPipeline
    from yosort.tasks.multiple_choice import MultipleChoicePipeline
    from yosort.tasks.question_answering import QuestionAnsweringPipeline
    from yosort.tasks.results import Answer, Array, LabelScore, Vector
    from yosort.tasks.text_classification import TextClassificationPipeline
    from yosort.tasks.text_ranking import TextRankingPipeline
    from yosort.tasks.token_classification import TokenClassificationPipeline

Model = str | os.PathLike[str] | PretrainedModel
#: What the bundled model, a masked language model, can answer.
BUNDLED_TASKS = ("fill-mask", "feature-extraction")


def bundled_model() -> Path:
    """Return the folder of the model that yosort brings along."""
    return Path(__file__).resolve().parent.parent / "bundled"


@overload
def pipeline(
    task: Literal["fill-mask"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    samples: int = ...,
    **options: Any,
) -> FillMaskPipeline: ...


@overload
def pipeline(
    task: Literal["text-classification", "sentiment-analysis"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    top_k: int | None,
    samples: int = ...,
    **options: Any,
) -> TextClassificationPipeline[list[LabelScore]]: ...


@overload
def pipeline(
    task: Literal["text-classification", "sentiment-analysis"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    samples: int = ...,
    **options: Any,
) -> TextClassificationPipeline: ...


@overload
def pipeline(
    task: Literal["text-ranking", "rerank"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    samples: int = ...,
    **options: Any,
) -> TextRankingPipeline: ...


@overload
def pipeline(
    task: Literal["token-classification", "ner"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    is_split_into_words: bool,
    samples: int = ...,
    **options: Any,
) -> TokenClassificationPipeline[Any]: ...


@overload
def pipeline(
    task: Literal["token-classification", "ner"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    samples: int = ...,
    **options: Any,
) -> TokenClassificationPipeline: ...


@overload
def pipeline(
    task: Literal["question-answering"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    top_k: int | None,
    samples: int = ...,
    **options: Any,
) -> QuestionAnsweringPipeline[Answer | list[Answer]]: ...


@overload
def pipeline(
    task: Literal["question-answering"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    samples: int = ...,
    **options: Any,
) -> QuestionAnsweringPipeline: ...


@overload
def pipeline(
    task: Literal["multiple-choice"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    samples: int = ...,
    **options: Any,
) -> MultipleChoicePipeline: ...


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    return_tensors: Literal[True, "np"],
    samples: int = ...,
    **options: Any,
) -> FeatureExtractionPipeline[Array]: ...


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    return_tensors: bool | str | None,
    samples: int = ...,
    **options: Any,
) -> FeatureExtractionPipeline[Any]: ...


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    pooling: Literal["cls", "mean"],
    samples: int = ...,
    **options: Any,
) -> FeatureExtractionPipeline[Vector]: ...


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    pooling: str | None,
    samples: int = ...,
    **options: Any,
) -> FeatureExtractionPipeline[Any]: ...


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    samples: int = ...,
    **options: Any,
) -> FeatureExtractionPipeline: ...


@overload
def pipeline(
    task: str | None = ...,
    model: Model | None = ...,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = ...,
    *,
    samples: int = ...,
    **options: Any,
) -> Pipeline: ...


@with_names(ConfigError)
def pipeline(
    task: str | None = None,
    model: Model | None = None,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = None,
    *,
    samples: int = 1,
    **options: Any,
) -> Pipeline:
    """Build the pipeline of a task.

    Args:
        task: "fill-mask", "text-classification" ("sentiment-analysis"), "text-ranking" ("rerank"),
            "token-classification" ("ner"), "question-answering", "multiple-choice" or
            "feature-extraction"; None: what the class answers that a loaded model has, or a
            folder's config.json names.
        model: a folder, an installed model's name, a hub id, or a loaded model; None for the
            bundled one, which knows fill-mask and feature-extraction, and other tasks with
            `allow_random_head=True` only.
        tokenizer: one, or the folder or hub id of one; None for the model's own.
        samples: draws of hash functions, for sampled attention. With several, a result's `score` is
            the mean over them, and `standard_error` beside it says how far the choice of hash
            functions may have moved that mean.
        options: of `from_pretrained`, config fields included, where the model is not loaded yet;
            and of the task's calls, as defaults of every call. In our words or transformers'.

    Raises:
        ConfigError: no such task, a model of another task, an option that is none of these (with
            the nearest name) or means nothing.
        CheckpointError: the model or its tokenizer cannot be loaded.
        DeviceError: the device cannot be used.
        InputError: a seed or a number of hash functions that is none.
    """
    cls = _class_of(task, model, options)
    loading, defaults = _sort_options(cls, options)
    if not isinstance(model, (PretrainedModel, str, os.PathLike, NoneType)):
        library = type(model).__module__.partition(".")[0]
        got, hint = show(model), ""
        if hasattr(model, "save_pretrained"):
            got, hint = f"{type(model).__name__} of {library}", "; its save_pretrained writes one"
        raise ConfigError(f"model: wanted a folder, a hub id or a loaded model, got {got}{hint}")
    if not isinstance(model, PretrainedModel):
        source = _source(cls.task, model, loading)
        try:
            model = cls.model_class.from_pretrained(source, **loading)
        except OtherHeadError as error:
            # A head of another task is no accident of the weights: say what the checkpoint is for.
            other = _other_task(cls, source, loading)
            if other is None:
                raise
            name, task = other
            raise CheckpointError(
                f'{source}: wanted a model of {cls.task}; this is a {name}: pipeline("{task}")'
            ) from error
    else:
        # Where and as what a loaded model runs already may be said again, to the pipeline itself.
        said: dict[str, Any] = {n: loading.pop(n) for n in ("device", "dtype") if n in loading}
        fetched = HUB_OPTIONS if isinstance(tokenizer, (str, os.PathLike)) else ()
        if others := sorted(loading.keys() - {*fetched}):
            raise ConfigError(f"options {others} only apply to a model that is yet to load")
        defaults |= said
    if isinstance(tokenizer, (str, os.PathLike)):
        tokenizer = Tokenizer.from_pretrained(tokenizer, **_hub_options(loading))
    return cls(model, tokenizer, samples, **defaults)


def _hub_options(loading: dict[str, Any]) -> dict[str, Any]:
    return {name: loading[name] for name in HUB_OPTIONS if name in loading}


def _other_task(
    cls: type[Pipeline], source: str | os.PathLike[str], loading: dict[str, Any]
) -> tuple[str, str] | None:
    """Return the class that a checkpoint's config names and its task, if it is another's."""
    try:
        folder = resolve(source, **_hub_options(loading))
        names = YosoConfig.from_pretrained(folder).architectures or ()
    except YosortError:
        return None
    found = [(task.model, name) for name, task in TASKS.items() if task.model in names]
    # An encoder without a head is nobody's: any task may draw one.
    found = [(model, name) for model, name in found if ARCHITECTURES[model].head is not None]
    return None if not found or cls.model_class.__name__ in names else found[0]


def _class_of(task: str | None, model: Model | None, options: dict[str, Any]) -> type[Pipeline]:
    if task is None:
        names: tuple[str, ...] = (type(model).__name__,)
        if isinstance(model, (str, os.PathLike)):
            names = YosoConfig.from_pretrained(model, **_hub_options(options)).architectures or ()
        for row in TASKS.values():
            if row.model in names:
                return pipeline_class(row.name)
        raise ConfigError(f"task: wanted one of {', '.join(TASKS)}, got None")
    known = (*TASKS, *ALIASES)
    lower = str.lower(task) if isinstance(task, str) else None
    for row in TASKS.values():
        if lower == row.command and lower not in known:  # of the command line
            meant = f"{show(task)}; did you mean {row.name}?"
            raise ConfigError.wanted("task", f"one of {', '.join(known)}", got=meant)
    if hint := instead_of(lower or "", elsewhere.TASKS):
        raise ConfigError.wanted("task", f"one of {', '.join(known)}", task, hint=hint)
    name = check_choice("task", task, known, ConfigError)
    return pipeline_class(ALIASES.get(name, name))


def pipeline_class(task: str) -> type[Pipeline]:
    """Return the class of a task's pipeline, by transformers' name of the task."""
    row = TASKS[task]
    cls: type[Pipeline] = getattr(importlib.import_module(row.module), row.pipeline)
    return cls


def _sort_options(
    cls: type[Pipeline], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of loading, and those of calls."""
    loading: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    nested = options.pop("model_kwargs", None)
    if nested is not None and not isinstance(nested, dict):
        raise ConfigError(f"model_kwargs: wanted a dictionary of options, got {show(nested)}")
    twice = ", ".join(name for name in options if name in (nested or {}))
    if twice:
        raise ConfigError(f"{twice}: wanted once, got twice, the second time in model_kwargs")
    for name, value in {**(nested or {}), **options}.items():
        # transformers' padding of batches has the name of an option of loading.
        of_batches = name == "padding" and is_batch_padding(value)
        if is_load_option(name) and not of_batches:
            loading[name] = value
        elif of_batches or name in (*cls.option_names(), *cls.instead) or name in WORDS:
            defaults[name] = value
        else:
            raise no_such_option(name, (*cls.option_names(), *LOAD_OPTIONS, *FIELDS), ConfigError)
    read_loading(loading)  # before any file is read
    return translate(loading), defaults


def _source(task: str, model: Any, loading: dict[str, Any]) -> Any:
    """Return the model to load: the bundled one where it knows the task, or may be tried on it."""
    if model is not None:
        return model
    random_head = loading.get("allow_random_head", False)
    random_head = check_flag("allow_random_head", random_head, ConfigError)
    if task not in BUNDLED_TASKS and not random_head:
        raise ConfigError(
            f"model: wanted one for {task}: a folder or hub id of a fine-tuned checkpoint; the "
            f"bundled model knows {' and '.join(BUNDLED_TASKS)} (allow_random_head=True puts "
            "an untrained head on it, to try things out)"
        )
    return bundled_model()
