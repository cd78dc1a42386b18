"""Results and arguments against the JSON schemas of npm's @huggingface/tasks.

The schemas are read where npm put them: in a folder of NODE_PATH, or the global one. `npm install
--prefix DIR @huggingface/tasks` and NODE_PATH=DIR/node_modules bring them.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import yosort
from tasks.models import ENTITIES, TEXTS, make

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
referencing = pytest.importorskip("referencing")


def schema_folder() -> Path | None:
    """Return the package's folder of tasks, or None."""
    places = [Path(place) for place in os.environ.get("NODE_PATH", "").split(os.pathsep) if place]
    if not places and (npm := shutil.which("npm")):
        found = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=False)
        places = [Path(found.stdout.strip())] if found.stdout.strip() else []
    for place in places:
        folder = place / "@huggingface" / "tasks" / "src" / "tasks"
        if folder.is_dir():
            return folder
    return None


FOLDER = schema_folder()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="npm's @huggingface/tasks is not installed")

#: What we return beside the schema's properties: transformers' position of a token, and our mark.
MORE_KEYS = {"index", "truncated"}
CLASSES = {
    "fill-mask": ("YosoForMaskedLM", {}),
    "text-classification": ("YosoForSequenceClassification", {"num_labels": 3}),
    "token-classification": (
        "YosoForTokenClassification",
        {"num_labels": 5, "id2label": ENTITIES, "label2id": {v: k for k, v in ENTITIES.items()}},
    ),
    "question-answering": ("YosoForQuestionAnswering", {}),
    "feature-extraction": ("YosoModel", {}),
}


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A pipeline of each task."""
    return {
        task: yosort.pipeline(task, make(tmp_path_factory.mktemp(task), name, **fields))
        for task, (name, fields) in CLASSES.items()
    }


def read(task: str, name: str) -> dict[str, Any]:
    assert FOLDER is not None
    return json.loads((FOLDER / task / "spec" / f"{name}.json").read_text(encoding="utf-8"))


def validator(task: str) -> Any:
    """Return the validator of a task's output."""
    assert FOLDER is not None
    schema = read(task, "output")
    required = schema["items"].get("required", [])
    if "tokenStr" in required:  # a slip of the schema, whose own property is token_str
        required[required.index("tokenStr")] = "token_str"
    common = json.loads((FOLDER / "common-definitions.json").read_text(encoding="utf-8"))
    resource = referencing.Resource.from_contents(
        common, default_specification=referencing.jsonschema.DRAFT6
    )
    registry = referencing.Registry().with_resource(
        "/inference/schemas/common-definitions.json", resource
    )
    return jsonschema.Draft6Validator(schema, registry=registry)


def known_keys(task: str) -> set[str]:
    assert FOLDER is not None
    items = read(task, "output")["items"]
    if "$ref" in items:
        common = json.loads((FOLDER / "common-definitions.json").read_text(encoding="utf-8"))
        items = common["definitions"][items["$ref"].rpartition("/")[2]]
    return {*items["properties"], *MORE_KEYS}


LONG = " ".join(TEXTS[:3] * 4)
WAYS: list[tuple[str, Any, dict[str, Any]]] = [
    ("fill-mask", "A <mask> barks.", {}),
    ("fill-mask", "A <mask> barks.", {"targets": ["dog", "cat"]}),
    ("fill-mask", "A <mask> barks. " + LONG, {"overflow": "truncate"}),
    ("text-classification", TEXTS[0], {}),
    ("text-classification", TEXTS[0], {"top_k": None}),
    ("text-classification", {"text": "a", "text_pair": "b"}, {"top_k": 2}),
    ("text-classification", LONG, {"function_to_apply": "none", "overflow": "truncate"}),
    *(
        ("token-classification", text, {"aggregation_strategy": strategy, "ignore_labels": []})
        for strategy in ("none", "simple", "first", "average", "max")
        for text in (TEXTS[0], TEXTS[3])
    ),
    ("token-classification", LONG, {"aggregation_strategy": "max", "stride": 9}),
    ("question-answering", {"question": "Who?", "context": TEXTS[0]}, {}),
    ("question-answering", {"question": "Who?", "context": LONG}, {"top_k": 4}),
    (
        "question-answering",
        {"question": "Who?", "context": TEXTS[0]},
        {"handle_impossible_answer": True, "top_k": 50},
    ),
    ("feature-extraction", TEXTS, {"pooling": "mean", "normalize": True}),
    ("feature-extraction", TEXTS[:1], {"pooling": "cls"}),
]


@pytest.mark.parametrize(("task", "inputs", "options"), WAYS, ids=str)
def test_results_fit_the_schema(
    pipelines: dict[str, Any], task: str, inputs: Any, options: dict[str, Any]
) -> None:
    result = pipelines[task](inputs, **options)
    result = [result] if isinstance(result, dict) else result  # one answer
    result = json.loads(json.dumps(result))
    assert len(result) > 0
    validator(task).validate(result)
    if task != "feature-extraction":
        assert {key for answer in result for key in answer} <= known_keys(task)


def test_a_wrong_result_does_not_fit() -> None:
    """The check itself can fail."""
    for task, wrong in [
        ("fill-mask", [{"sequence": "a", "score": 1.0, "token": "a", "token_str": "a"}]),
        ("text-classification", [{"label": "A"}]),
        ("question-answering", [{"answer": "", "score": 0.1, "start": 0.5, "end": 1}]),
        ("token-classification", [{"score": 1.0, "word": "a", "start": 0}]),
        ("feature-extraction", [1.0, 2.0]),
    ]:
        assert not validator(task).is_valid(wrong)


@pytest.mark.parametrize("task", list(CLASSES))
def test_arguments_have_the_schema_s_names(pipelines: dict[str, Any], task: str) -> None:
    accepted = set(inspect.signature(pipelines[task].__call__).parameters)
    schema = read(task, "input")
    if task == "feature-extraction":
        # Made for a server: cutting and prompts are options of its own there; ours is `overflow`.
        assert "normalize" in schema["properties"]
        assert "normalize" in accepted
        return
    (parameters,) = (
        entry for name, entry in schema["$defs"].items() if name.endswith("Parameters")
    )
    assert set(parameters["properties"]) <= accepted
    if task == "question-answering":
        assert {"question", "context"} <= accepted
