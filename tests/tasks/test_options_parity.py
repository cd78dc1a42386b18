"""The same words given to transformers' pipelines and ours: at construction, at a call, at both."""

from __future__ import annotations

import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

import yosort
from tasks.models import TEXTS, make_each
from tasks.test_pipelines_parity import assert_same

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
LONG = " ".join(TEXTS) * 4
WHO = {"question": "Who?"}
PAIR = {"text": "A dog barks", "text_pair": LONG}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for each task."""
    made = make_each(tmp_path_factory.mktemp("models"))
    for folder in made.values():
        # What transformers' truncation=True goes by; ours by the model's positions.
        path = folder / "tokenizer_config.json"
        fields = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**fields, "model_max_length": 64}), encoding="utf-8")
    return made


CASES: dict[str, list[tuple[dict[str, Any], Any, dict[str, Any]]]] = {
    "text-classification": [
        ({"top_k": None}, "A dog barks", {}),
        ({"top_k": 2}, ["A dog barks", "Paris"], {}),
        ({"top_k": 2}, "A dog barks", {"top_k": 1}),
        ({"function_to_apply": "SIGMOID"}, "A dog barks", {}),
        ({"function_to_apply": "sigmoid"}, ["Paris"], {"function_to_apply": "NONE"}),
        ({"truncation": True, "max_length": 9}, LONG, {}),
        ({}, LONG, {"truncation": True}),
        ({}, [LONG, "Paris"], {"max_length": 7, "truncation": True}),
        ({"batch_size": 1}, [*TEXTS], {}),
        ({}, [*TEXTS], {"batch_size": 1, "top_k": 2}),
        ({}, PAIR, {"truncation": "only_second", "max_length": 20}),
        ({}, PAIR, {"truncation": "longest_first", "max_length": 20}),
        ({}, PAIR, {"truncation": True, "max_length": 12, "padding": True}),
        ({"torch_dtype": "float32", "device": "cpu"}, "A dog barks", {}),
        ({"model_kwargs": {"output_hidden_states": True}}, "Paris", {}),
    ],
    "sentiment-analysis": [({"device": -1}, "A dog barks", {})],
    "ner": [
        ({"aggregation_strategy": "simple"}, TEXTS[0], {}),
        ({"aggregation_strategy": "SIMPLE"}, TEXTS, {}),
        ({"ignore_labels": []}, TEXTS[0], {}),
        ({"aggregation_strategy": "simple"}, TEXTS[0], {"ignore_labels": ["O", "LOC"]}),
    ],
    "fill-mask": [
        ({"top_k": 2}, "A <mask> barks", {}),
        ({"top_k": 2}, "A <mask> barks", {"top_k": 4}),
        ({"targets": ["\u0120dog", "\u0120city"]}, "A <mask> barks", {"top_k": 1}),
        ({"tokenizer_kwargs": {"truncation": True, "max_length": 8}}, "A <mask> " + LONG, {}),
    ],
    "feature-extraction": [
        ({}, LONG, {"truncation": True}),
        ({"tokenize_kwargs": {"truncation": True, "max_length": 6}}, LONG, {}),
        ({}, "Paris", {"tokenize_kwargs": {"max_length": 5, "truncation": True}}),
    ],
    "question-answering": [
        ({"top_k": 2}, {**WHO, "context": TEXTS[0]}, {}),
        ({"max_answer_len": 2, "padding": "longest"}, {**WHO, "context": TEXTS[2]}, {}),
        ({"max_seq_len": 20, "doc_stride": 4}, {**WHO, "context": LONG}, {}),
        ({"handle_impossible_answer": True}, {**WHO, "context": TEXTS[0]}, {"top_k": 3}),
    ],
}
ALL = [(task, *case) for task, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("task", "options", "inputs", "call"), ALL, ids=[f"{i}-{case[0]}" for i, case in enumerate(ALL)]
)
def test_same_words_same_answers(
    folders: dict[str, Path], task: str, options: dict[str, Any], inputs: Any, call: dict[str, Any]
) -> None:
    names = {"ner": "token-classification", "sentiment-analysis": "text-classification"}
    folder = folders[names.get(task, task)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.pipeline(task, str(folder), **{"device": "cpu", **options})
        # The pipelines of transformers write into their arguments.
        if task == "question-answering":
            wanted = theirs(**inputs, **call)
        else:
            wanted = theirs(_copy(inputs), **_copy(call))
    found = yosort.pipeline(task, folder, **options)(inputs, **call)
    assert_same(_unmarked(found), wanted)


@pytest.mark.parametrize(
    "task", [task for task in CASES if "-" in task and task != "sentiment-analysis"]
)
def test_what_transformers_leaves_unset_may_be_given(folders: dict[str, Path], task: str) -> None:
    """Whoever hands options through gives what they are without a user's word: None, mostly."""
    theirs = transformers.pipelines.SUPPORTED_TASKS[task]["impl"]._sanitize_parameters
    parameters = inspect.signature(theirs).parameters.values()
    unset = {p.name: p.default for p in parameters if p.default is None or p.default == ""}
    assert unset
    value: Any = {**WHO, "context": TEXTS[0]} if task == "question-answering" else "A <mask> barks"
    plain = yosort.pipeline(task, folders[task])
    wanted = plain([value])
    made: Any = yosort.pipeline(task, folders[task], **unset)
    for name, default in unset.items():
        assert plain([value], **{name: default}) == wanted, name
    assert made([value]) == wanted


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return [_copy(part) for part in value] if isinstance(value, list) else value


def _unmarked(result: Any) -> Any:
    """Leave out what only we say: that a text was cut."""
    if isinstance(result, dict):
        return {key: value for key, value in result.items() if key != "truncated"}
    return [_unmarked(part) for part in result] if isinstance(result, list) else result
