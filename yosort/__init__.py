"""yosort: torch-free inference for YOSO, the transformer encoder with linear-time attention."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from yosort._version import __version__
from yosort.elsewhere import MODULES, instead_of
from yosort.model.architectures import ARCHITECTURES, TASKS

if TYPE_CHECKING:
    from yosort import ops as ops
    from yosort import tasks as tasks
    from yosort.adoption.adopting import Adoption, adopt
    from yosort.config import YosoConfig
    from yosort.errors import (
        CheckpointError,
        ConfigError,
        DeviceError,
        InputError,
        YosortError,
    )
    from yosort.model.heads import (
        YosoForMaskedLM,
        YosoForMultipleChoice,
        YosoForQuestionAnswering,
        YosoForSequenceClassification,
        YosoForTokenClassification,
        YosoModel,
    )
    from yosort.model.loading import load
    from yosort.model.outputs import BaseModelOutput as BaseModelOutput
    from yosort.model.outputs import MaskedLMOutput as MaskedLMOutput
    from yosort.model.outputs import ModelOutput as ModelOutput
    from yosort.model.outputs import MultipleChoiceModelOutput as MultipleChoiceModelOutput
    from yosort.model.outputs import QuestionAnsweringModelOutput as QuestionAnsweringModelOutput
    from yosort.model.outputs import SequenceClassifierOutput as SequenceClassifierOutput
    from yosort.model.outputs import TokenClassifierOutput as TokenClassifierOutput
    from yosort.tasks import pipeline
    from yosort.tasks.base import Pipeline as Pipeline
    from yosort.tasks.feature_extraction import (
        FeatureExtractionPipeline as FeatureExtractionPipeline,
    )
    from yosort.tasks.fill_mask import FillMaskPipeline as FillMaskPipeline
    from yosort.tasks.multiple_choice import MultipleChoicePipeline as MultipleChoicePipeline
    from yosort.tasks.question_answering import (
        QuestionAnsweringPipeline as QuestionAnsweringPipeline,
    )
    from yosort.tasks.text_classification import (
        TextClassificationPipeline as TextClassificationPipeline,
    )
    from yosort.tasks.text_ranking import TextRankingPipeline as TextRankingPipeline
    from yosort.tasks.token_classification import (
        TokenClassificationPipeline as TokenClassificationPipeline,
    )
    from yosort.tokenizer import Tokenizer
    from yosort.tokenizer.encodings import BatchEncoding as BatchEncoding
    from yosort.tokenizer.encodings import CharSpan as CharSpan
    from yosort.tokenizer.encodings import TokenSpan as TokenSpan
    from yosort.tuning.calibration import Calibration, calibrate

    # The names of _ALIASES, for checkers, which would take them for Any.
    AutoConfig = YosoConfig
    AutoTokenizer = Tokenizer
    AutoModel = YosoModel
    AutoModelForMaskedLM = YosoForMaskedLM
    AutoModelForMultipleChoice = YosoForMultipleChoice
    AutoModelForQuestionAnswering = YosoForQuestionAnswering
    AutoModelForSequenceClassification = YosoForSequenceClassification
    AutoModelForTokenClassification = YosoForTokenClassification

__all__ = [
    "Adoption",
    "Calibration",
    "CheckpointError",
    "ConfigError",
    "DeviceError",
    "InputError",
    "Tokenizer",
    "YosoConfig",
    "YosoForMaskedLM",
    "YosoForMultipleChoice",
    "YosoForQuestionAnswering",
    "YosoForSequenceClassification",
    "YosoForTokenClassification",
    "YosoModel",
    "YosortError",
    "__version__",
    "adopt",
    "calibrate",
    "load",
    "pipeline",
]

#: Where each public name lives; a module is imported when its first name is asked for.
_HOMES = {
    "adoption.adopting": ("Adoption", "adopt"),
    "config": ("YosoConfig",),
    "errors": ("CheckpointError", "ConfigError", "DeviceError", "InputError", "YosortError"),
    "model.heads": tuple(ARCHITECTURES),
    "model.loading": ("load",),
    "tasks": ("pipeline",),
    "tokenizer": ("Tokenizer",),
    "tuning.calibration": ("Calibration", "calibrate"),
}
#: What transformers' pages call them; here a name means one class: YosoForX is AutoModelForX.
_ALIASES = {
    "AutoConfig": "YosoConfig",
    "AutoTokenizer": "Tokenizer",
    **{
        f"AutoModel{name.removeprefix('Yoso').removeprefix('Model')}": name
        for name in ARCHITECTURES
    },
}
#: Where classes live that calls return, and that transformers' users ask for by name.
_RETURNED = {
    "model.outputs": (
        "BaseModelOutput", "MaskedLMOutput", "ModelOutput", "MultipleChoiceModelOutput",
        "QuestionAnsweringModelOutput", "SequenceClassifierOutput", "TokenClassifierOutput",
    ),
    "tasks.base": ("Pipeline",),
    **{task.module.removeprefix("yosort."): (task.pipeline,) for task in TASKS.values()},
    "tokenizer.encodings": ("BatchEncoding", "CharSpan", "TokenSpan"),
}  # fmt: skip
_MODULES = ("ops", "tasks")
_HOME_OF = {name: home for home, names in {**_HOMES, **_RETURNED}.items() for name in names}


def _find(name: str, where: str) -> Any:
    """Return what has a name of ours, or of transformers'; raise what says what to do instead."""
    own = _ALIASES.get(name, name)
    if own not in _HOME_OF:
        hint = instead_of(name)
        # `from yosort import x` looks first whether there is an x, and would not show why not.
        importing = sys._getframe(2).f_code.co_name == "_handle_fromlist"
        if hint is None and (where == __name__ or not importing):
            raise AttributeError(f"module {where!r} has no attribute {name!r}")
        hint = hint or "dir(yosort) lists what there is"
        error = ImportError if importing else AttributeError
        raise error(f"{where} has no {name}: {hint}")
    value = getattr(import_module(f"yosort.{_HOME_OF[own]}"), own)
    globals()[name] = value
    return value


class _Module(ModuleType):
    """A module that transformers has: of that name for imports, with the names of this one."""

    def __init__(self, name: str) -> None:
        super().__init__(name, self.__doc__)
        self.__path__ = []  # a package, of which imports ask for names one by one
        self.__all__ = [name for name in __all__ if name in _HOME_OF]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            whole = f"{self.__name__}.{name}"
            return sys.modules[whole] if whole in sys.modules else _find(name, self.__name__)


sys.modules.update({f"yosort.{name}": _Module(f"yosort.{name}") for name in MODULES})

if not TYPE_CHECKING:  # a checker would take every name for one

    def __getattr__(name: str) -> Any:
        if name in (*_MODULES, *MODULES):
            return import_module(f"yosort.{name}")
        return _find(name, __name__)


def __dir__() -> list[str]:
    return sorted((*__all__, *_MODULES))
