"""yosort: torch-free inference for YOSO, the transformer encoder with linear-time attention."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from yosort._version import __version__
from yosort.elsewhere import instead_of
from yosort.model.architectures import ARCHITECTURES

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
    from yosort.tasks import pipeline
    from yosort.tokenizer import Tokenizer
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
_MODULES = ("ops", "tasks")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a checker would take every name for one

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"yosort.{name}")
        own = _ALIASES.get(name, name)
        if own not in _HOME_OF:
            hint = instead_of(name)
            if hint is None:
                raise AttributeError(f"module 'yosort' has no attribute {name!r}")
            # `from yosort import x` looks first whether there is an x, and would not show why not.
            importing = sys._getframe(1).f_code.co_name == "_handle_fromlist"
            error = ImportError if importing else AttributeError
            raise error(f"yosort has no {name}: {hint}")
        value = getattr(import_module(f"yosort.{_HOME_OF[own]}"), own)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted((*__all__, *_MODULES))
