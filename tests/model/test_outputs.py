"""A call's output: read by attribute, by key, by index, as a tuple or as a dictionary."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from yosort.model import outputs
from yosort.model.outputs import (
    BaseModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
)

#: By class, what transformers' of the same name has, in its order.
FIELDS = {
    "BaseModelOutput": ["last_hidden_state"],
    "MaskedLMOutput": ["loss", "logits"],
    "SequenceClassifierOutput": ["loss", "logits"],
    "MultipleChoiceModelOutput": ["loss", "logits"],
    "TokenClassifierOutput": ["loss", "logits"],
    "QuestionAnsweringModelOutput": ["loss", "start_logits", "end_logits"],
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_are_those_of_transformers(name: str) -> None:
    made = getattr(outputs, name)
    fields = [field.name for field in dataclasses.fields(made)]
    assert fields == [*FIELDS[name], "hidden_states", "attentions"]
    whole = made(*range(len(fields)))
    assert whole.to_tuple() == tuple(range(len(fields)))
    assert dict(whole.items()) == {field: i for i, field in enumerate(fields)}


def test_what_is_none_is_not_there() -> None:
    output = SequenceClassifierOutput(logits="scores", attentions=("context",))
    assert output.keys() == list(output) == ["logits", "attentions"]
    assert output.values() == ["scores", ("context",)]
    assert output.items() == [("logits", "scores"), ("attentions", ("context",))]
    assert len(output) == 2
    assert (output[0], output[-1], output[:1]) == ("scores", ("context",), ("scores",))
    assert output["logits"] == output.get("logits") == output.logits == "scores"
    assert "logits" in output
    assert output.loss is None
    for name in ("loss", "hidden_states", "pooler_output", "keys"):
        assert name not in output
        assert output.get(name) is None
        assert output.get(name, 3) == 3
        with pytest.raises(KeyError, match=name):
            output[name]
    with pytest.raises(IndexError):
        output[2]


def test_a_copy_holds_the_same_and_neither_can_be_changed() -> None:
    state: list[Any] = []
    output = BaseModelOutput(state)
    copied = output.copy()
    assert type(copied) is BaseModelOutput
    assert copied is not output
    assert copied.last_hidden_state is state
    with pytest.raises(dataclasses.FrozenInstanceError):
        output.last_hidden_state = 3  # type: ignore[misc]


def test_names_that_are_not_there_are_told_those_that_are() -> None:
    output: Any = QuestionAnsweringModelOutput(start_logits=1, end_logits=2)
    message = "'QuestionAnsweringModelOutput' object has no attribute 'logits': there are loss, st"
    with pytest.raises(AttributeError, match=message):
        output.logits  # noqa: B018
    assert getattr(output, "logits", None) is None
