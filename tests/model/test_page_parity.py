"""The examples of docs/transformers.md beside torch: same folder, same text, same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort

pytestmark = pytest.mark.parity

TEXT = "Paris is the <mask> of France."
PROMPT, CHOICES = "In Italy, pizza is served unsliced.", ["It is cut with a knife.", "It is held."]
PAIR = ("Who was Jim Henson?", "Jim Henson was a nice puppet")


def both(name: str, folder: Path) -> tuple[Any, Any, Any, Any]:
    """Return transformers' tokenizer and model, then ours, of one folder; heads come with it."""
    transformers = pytest.importorskip("transformers")
    source = str(folder)
    return (
        transformers.AutoTokenizer.from_pretrained(source),
        getattr(transformers, name).from_pretrained(source, dtype="float32").eval(),
        yosort.AutoTokenizer.from_pretrained(source),
        getattr(yosort, name).from_pretrained(source, device="cpu"),
    )


def near(ours: Any, theirs: Any) -> None:
    wanted = theirs.detach().numpy()
    np.testing.assert_allclose(ours, wanted, atol=2e-5 * max(1.0, np.abs(wanted).max()), rtol=0)


@pytest.mark.parametrize(
    ("name", "text", "labels", "fields"),
    [
        ("YosoModel", (TEXT,), {}, ["last_hidden_state"]),
        ("YosoForMaskedLM", (TEXT,), {"labels": "ids"}, ["loss", "logits"]),
        ("YosoForSequenceClassification", (TEXT,), {"labels": [1]}, ["loss", "logits"]),
        ("YosoForTokenClassification", (TEXT,), {"labels": "zeros"}, ["loss", "logits"]),
        (
            "YosoForQuestionAnswering",
            PAIR,
            {"start_positions": [5], "end_positions": [7]},
            ["loss", "start_logits", "end_logits"],
        ),
    ],
)
def test_the_page_s_examples(
    name: str, text: tuple[str, ...], labels: dict[str, Any], fields: list[str], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    source = yosort.tasks.bundled_model()
    getattr(yosort, name).from_pretrained(source, allow_random_head=True).save_pretrained(tmp_path)
    their_tokenizer, their_model, tokenizer, model = both(name, tmp_path)

    theirs, ours = (
        their_tokenizer(*text, return_tensors="pt"),
        tokenizer(*text, return_tensors="np"),
    )
    assert theirs.keys() == ours.keys()
    ids = ours["input_ids"]
    values = {"ids": ids, "zeros": np.zeros_like(ids)}
    given = {k: values[v] if isinstance(v, str) else np.array(v) for k, v in labels.items()}
    wanted = their_model(**theirs, **{k: torch.from_numpy(v) for k, v in given.items()})
    answer = model(**ours, **given)
    for field in fields:
        near(answer[field], wanted[field])


def test_the_page_s_multiple_choice(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    name = "YosoForMultipleChoice"
    source = yosort.tasks.bundled_model()
    getattr(yosort, name).from_pretrained(source, allow_random_head=True).save_pretrained(tmp_path)
    their_tokenizer, their_model, tokenizer, model = both(name, tmp_path)

    for choice in CHOICES:  # one at a time: upstream attends to padding
        theirs = their_tokenizer([PROMPT], [choice], return_tensors="pt")
        ours = tokenizer([PROMPT], [choice], return_tensors="np")
        wanted = their_model(**{k: v[None] for k, v in theirs.items()}, labels=torch.tensor([0]))
        answer = model(**{k: v[None] for k, v in ours.items()}, labels=np.array([0]))
        near(answer.logits, wanted.logits)
        near(answer.loss, wanted.loss)
