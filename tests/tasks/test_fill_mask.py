"""The fill-mask pipeline, on the bundled model and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from yosort import ConfigError, InputError
from yosort.tasks import bundled_model


@pytest.fixture(scope="module")
def fill() -> Any:
    return yosort.pipeline("fill-mask", device="cpu")


def test_scores_are_probabilities_best_first(fill: Any) -> None:
    answers = fill("Paris is the <mask> of France.", top_k=8192)
    scores = [answer["score"] for answer in answers]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0)
    assert answers[0]["sequence"] == f"Paris is the{answers[0]['token_str']} of France."


def test_one_text_or_several(fill: Any) -> None:
    texts = ["A <mask> barks.", "Paris is the <mask> of France, as everybody knows."]
    together = fill(texts)
    for answers, text in zip(together, texts, strict=True):
        alone = fill(text)
        assert [a["token"] for a in answers] == [a["token"] for a in alone]
        np.testing.assert_allclose(
            [a["score"] for a in answers], [a["score"] for a in alone], rtol=1e-4
        )
    assert fill([texts[0]]) == fill(texts[0])
    assert fill([]) == []


def test_several_masks_give_a_list_each_and_keep_the_others_visible(fill: Any) -> None:
    first, second = fill("The <mask> of <mask>.", top_k=2)
    assert "<mask>" in first[0]["sequence"]
    assert first[0]["token_str"] in first[0]["sequence"]
    assert second[0]["token_str"] in second[0]["sequence"]


def test_a_special_token_that_is_guessed_is_seen_as_one(fill: Any) -> None:
    answers = fill("A <mask> barks.", top_k=fill.model.config.vocab_size)
    special = {a["token_str"]: a["sequence"] for a in answers if a["token_str"].startswith("<")}
    assert {"<s>", "<pad>", "</s>", "<unk>", "<mask>"} <= special.keys()
    assert special["</s>"] == "A barks."


def test_targets_are_single_tokens_with_or_without_their_space(fill: Any) -> None:
    answers = fill("A <mask> barks.", targets=["dog", " cat"])
    assert {answer["token_str"] for answer in answers} == {" dog", " cat"}
    everything = {a["token"]: a["score"] for a in fill("A <mask> barks.", top_k=8192)}
    for answer in answers:
        assert answer["score"] == everything[answer["token"]]
    for several in (np.array(["dog", " cat"]), {"dog": 1, " cat": 2}.keys()):
        assert fill("A <mask> barks.", targets=several) == answers
    with pytest.raises(InputError, match="'unfathomably', which is"):
        fill("A <mask> barks.", targets="unfathomably")
    with pytest.raises(InputError, match="at least one word"):
        fill("A <mask> barks.", targets=[])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no mask", r"^no mask to fill; this model's mask token is <mask>"),
        ("a [MASK]", r"mask token is <mask>, not \[MASK\]"),
        ("<mask> a" * 5000, "at most 4096 tokens"),
        ([3], r"inputs\[0\]: wanted a text, got int$"),
        ({"text": "a"}, r"wanted a text, got dict; of a row, give its text: row\['text'\]"),
    ],
)
def test_texts_that_cannot_be_filled(fill: Any, text: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fill(text)


def test_wrong_pipelines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="task: wanted one of fill-mask"):
        yosort.pipeline("fly")
    with pytest.raises(ConfigError, match="wanted a YosoForMaskedLM, got YosoModel"):
        yosort.pipeline("fill-mask", yosort.YosoModel.from_pretrained(bundled_model()))
    model = yosort.YosoForMaskedLM.from_pretrained(bundled_model())
    with pytest.raises(ConfigError, match=r"options \['seed'\] only apply"):
        yosort.pipeline("fill-mask", model, seed=1)
    with pytest.raises(ConfigError, match="loaded with device='cpu'; load it with device='cuda:0'"):
        yosort.pipeline("fill-mask", model, device=0)
    assert yosort.pipeline("fill-mask", model, device=-1).device == "cpu"
    again = yosort.pipeline("fill-mask", model)
    assert again.tokenizer.special_tokens["mask_token"] == "<mask>"


def test_saving_takes_the_tokenizer_along(tmp_path: Path) -> None:
    yosort.load(bundled_model()).save_pretrained(tmp_path)
    fill = yosort.pipeline("fill-mask", tmp_path)
    assert fill("A <mask> barks.") == yosort.pipeline("fill-mask")("A <mask> barks.")


def test_long_texts_run_in_both_forms_of_attention(fill: Any) -> None:
    text = "The cat sat on the mat. " * 500 + "The <mask> sat on the mat."
    exact = fill(text)
    sampled = yosort.pipeline("fill-mask", attention="sampled", num_hash=256)(text)
    assert len(exact) == len(sampled) == 5
