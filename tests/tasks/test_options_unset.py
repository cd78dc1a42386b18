"""Options of pipelines that are unset or change nothing: taken, and said where it matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import yosort
from tasks.models import TEXTS, make_each
from yosort import ConfigError, InputError, arguments
from yosort.model.architectures import TASKS

LONG = " ".join(TEXTS) * 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for each task."""
    return make_each(tmp_path_factory.mktemp("models"))


def test_words_without_effect(folders: dict[str, Path]) -> None:
    classify: Any = yosort.pipeline("text-classification", folders["text-classification"])
    wanted = classify(TEXTS)
    for words in ({"padding": True}, {"padding": "LONGEST"}, {"num_workers": 4}):
        assert classify(TEXTS, **words) == wanted
        other: Any = yosort.pipeline("text-classification", folders["text-classification"], **words)
        assert other(TEXTS) == wanted
    attended = yosort.pipeline(
        "text-classification", folders["text-classification"], padding="attended"
    )
    assert attended.model.padding == "attended"


def test_words_that_ask_for_nothing(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """What transformers' users paste: nothing is said of what is so anyway."""
    folder = folders["text-classification"]
    usual: dict[str, Any] = {
        "return_all_scores": False, "feature_extractor": None, "add_special_tokens": True,
        "binary_output": False, "framework": "np", "use_fast": True, "trust_remote_code": True,
        "num_workers": 4, "grouped_entities": False, "processor": None, "pad_to_multiple_of": 8,
        "device_map": "cpu", "model_kwargs": {"low_cpu_mem_usage": True},
    }  # fmt: skip
    wanted = yosort.pipeline("text-classification", folder)(TEXTS)
    for model in (folder, yosort.load(folder)):
        made: Any = yosort.pipeline("text-classification", model, **usual)
        assert made(TEXTS) == wanted
    calls = ("return_all_scores", "add_special_tokens", "binary_output", "framework")
    assert made(TEXTS, **{name: usual[name] for name in calls}) == wanted
    made = yosort.TextClassificationPipeline(
        model=yosort.load(folder), tokenizer=yosort.AutoTokenizer.from_pretrained(folder),
        device=-1, torch_dtype="float32", task="sentiment-analysis", framework="np",
    )  # fmt: skip
    assert made(TEXTS) == wanted
    assert not caplog.records
    with pytest.raises(InputError, match="device: no such option; it was done at load"):
        made(TEXTS, device="cpu")
    with pytest.raises(ConfigError, match="load it with dtype='bfloat16'"):
        yosort.TextClassificationPipeline(yosort.load(folder), dtype="bfloat16")


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("load", {
            "trust_remote_code": True, "code_revision": "main", "resume_download": True,
            "low_cpu_mem_usage": True, "weights_only": True, "use_fast": True, "framework": "np",
            "attn_implementation": "eager",
        }),
        ("tokenizer", {
            "trust_remote_code": True, "code_revision": "main", "resume_download": True,
            "config": {"vocab_size": 3}, "legacy": True, "use_fast": True,
        }),
        ("config", {"trust_remote_code": True, "code_revision": "main", "resume_download": True}),
        ("pipeline", {
            "num_workers": 4, "pad_to_multiple_of": 8, "padding_side": "left", "verbose": True,
            "framework": "np", "binary_output": False, "add_special_tokens": True,
            "return_attention_mask": True,
        }),
        ("call", {
            "num_workers": 4, "pad_to_multiple_of": 8, "padding_side": "left", "verbose": True,
            "framework": "np", "binary_output": False, "add_special_tokens": True,
            "return_attention_mask": True, "return_token_type_ids": False,
        }),
    ],
)  # fmt: skip
def test_each_word_of_transformers_that_asks_for_what_is_so_anyway(
    where: str, words: dict[str, Any], folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = folders["fill-mask"]
    plain: Any = yosort.pipeline("fill-mask", folder, device="cpu")
    calls: dict[str, Any] = {
        "load": lambda **o: yosort.load(folder, device="cpu", **o).config,
        "tokenizer": lambda **o: yosort.AutoTokenizer.from_pretrained(folder, **o)(TEXTS),
        "config": lambda **o: yosort.AutoConfig.from_pretrained(folder, **o),
        "pipeline": lambda **o: yosort.pipeline("fill-mask", folder, device="cpu", **o)("a <mask>"),
        "call": lambda **o: plain("a <mask>", **o),
    }
    wanted = calls[where]()
    for name, value in words.items():
        assert calls[where](**{name: value}) == wanted, name
    assert not caplog.records


def test_words_that_change_nothing_are_said_once(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    arguments._say_idle.cache_clear()
    folder = folders["fill-mask"]
    words: dict[str, Any] = {"framework": "pt", "use_fast": False, "binary_output": True}
    for _ in range(2):
        fill: Any = yosort.pipeline("fill-mask", folder, **words)
        fill("A <mask>", framework="pt")
        yosort.AutoTokenizer.from_pretrained(folder, use_fast=False)
        yosort.load(folder, framework="pt")
    assert sorted(record.getMessage().partition(":")[0] for record in caplog.records) == [
        "binary_output=True changes nothing", "framework='pt' changes nothing",
        "use_fast=False changes nothing",
    ]  # fmt: skip


def test_labels_that_leave_nothing_out_are_said_once_a_pipeline(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        tag: Any = yosort.pipeline(
            "ner", folders["token-classification"], aggregation_strategy="simple"
        )
        for label in ("B-PER", "B-PER", "I-PER"):
            tag("A dog", ignore_labels=[label])
    said = ["'B-PER' leaves nothing out", "'I-PER' leaves nothing out"] * 2
    assert [" ".join(r.getMessage().split()[1:5]).rstrip(",") for r in caplog.records] == said


@pytest.mark.parametrize(
    ("task", "unset"),
    [
        ("fill-mask", {"top_k": None, "pipeline_class": None}),
        ("question-answering", {"top_k": None}),
        ("token-classification", {"aggregation_strategy": None}),
    ],
)
def test_what_is_not_set_is_the_default(
    task: str, unset: dict[str, Any], folders: dict[str, Path]
) -> None:
    plain, given = (yosort.pipeline(task, folders[task], device="cpu", **o) for o in ({}, unset))
    mask = plain.tokenizer.mask_token
    value: Any = f"{TEXTS[0]} {mask}" if task == "fill-mask" else TEXTS[0]
    if task == "question-answering":
        value = {"question": "who?", "context": TEXTS[0]}
    if task == "text-ranking":
        value = {"query": "who?", "documents": TEXTS}
    assert given(value) == plain(value)


@pytest.mark.parametrize("task", TASKS)
def test_none_is_the_default_of_every_option(task: str, folders: dict[str, Path]) -> None:
    cls = type(yosort.pipeline(task, folders[task], batch_size=None, progress=None))
    for name in cls.option_names():
        wanted = name == "top_k" and task == "text-classification"  # there it is every label
        assert (cls.options(**{name: None}) != cls.options()) is wanted, name


def test_what_a_call_is_given_unset(folders: dict[str, Path]) -> None:
    """As transformers' signatures have it, or scripts that were written for decoders."""
    folder = folders["feature-extraction"]
    model = yosort.load(folder, device="cpu", seed=None)
    tokenizer = yosort.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("a b", text_target=None, text_pair_target=None, return_tensors="np")
    model(**inputs, use_cache=False, past_key_values=None)
    with pytest.raises(InputError, match="use_cache: no such option; an encoder reads"):
        model(**inputs, use_cache=True)
    with pytest.raises(InputError, match="text_target: no such option; yosort's models are"):
        tokenizer("a b", text_target="c")
    yosort.AutoConfig.from_pretrained(folder, return_unused_kwargs=False)
    with pytest.raises(ConfigError, match="return_unused_kwargs: no such option; a keyword"):
        yosort.AutoConfig.from_pretrained(folder, return_unused_kwargs=True)
