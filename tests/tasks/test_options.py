"""The options of pipelines: at construction and at calls, in our words and transformers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import TEXTS, make_each
from yosort import ConfigError, InputError
from yosort.model.architectures import TASKS
from yosort.tasks.batch import Batch, Row

LONG = " ".join(TEXTS) * 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for each task."""
    return make_each(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("text-classification", {"topk": 3}, r"topk: no such option; did you mean top_k\?"),
        ("text-classification", {"return_all_scores": True}, "no such option; top_k=None gives"),
        ("text-classification", {"top_k": 0}, "top_k: wanted"),
        ("text-classification", {"stride": 3}, "stride: no such option"),
        ("token-classification", {"grouped_entities": True}, 'aggregation_strategy="simple"'),
        ("token-classification", {"aggregation_strategy": "simpel"}, "wanted one of none, simple"),
        ("token-classification", {"stride": 3}, "aggregation_strategy: wanted one that joins"),
        ("fill-mask", {"targets": ["no such word at all"]}, "targets: wanted words of one token"),
        ("fill-mask", {"targets": [""]}, "targets: wanted words, got ''"),
        ("fill-mask", {"add_special_tokens": False}, "a model reads texts with them"),
        ("question-answering", {"max_length": 3}, "no such option; max_seq_len is the size"),
        ("feature-extraction", {"pooling": "max"}, "pooling: wanted one of none, cls, mean"),
        ("feature-extraction", {"overflow": "cut"}, "overflow: wanted one of error, truncate"),
        ("text-ranking", {"top_n": 3}, "top_n: no such option; top_k is how many documents"),
        ("text-ranking", {"label": "no"}, r"label: wanted one of this model's, \['LABEL_0'\]"),
        ("text-ranking", {"label": 1}, "label: wanted the name of a label, got 1"),
        ("multiple-choice", {"batch_size": 0}, "batch_size: wanted an integer of at least 1"),
        ("multiple-choice", {"max_length": 65}, "max_length: wanted at most 64, .* got 65"),
        ("multiple-choice", {"truncation": "first"}, "truncation: wanted one of longest_first"),
        ("multiple-choice", {"padding": "left"}, "padding: wanted"),
        ("fill-mask", {"tokenizer_kwargs": 3}, "tokenizer_kwargs: wanted a dictionary"),
        ("fill-mask", {"tokenizer_kwargs": {"maxlength": 3}}, "did you mean max_length"),
        ("fill-mask", {"feature_extractor": "a-folder"}, "texts are all that is read"),
        ("fill-mask", {"tokenizer_kwargs": {"return_attention_mask": False}}, "model.*is the rest"),
        ("text-classification", {"truncation_side": "left"}, "Tokenizer.from_pretrained takes it"),
        ("fill-mask", {"overflow": "error", "truncation": True}, "truncation: wanted none beside"),
        ("fill-mask", {"progress": 1}, "progress: wanted True or False"),
    ],
)
def test_what_means_nothing_is_named(
    folders: dict[str, Path], task: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        yosort.pipeline(task, folders[task], **options)
    run: Any = yosort.pipeline(task, folders[task])
    if options != {"padding": "left"}:  # at construction it is an option of loading
        with pytest.raises(InputError, match=message):
            run([], **options)


@pytest.mark.parametrize(
    ("padding", "hint"),
    [("attended", "; the pipeline's own padding= says how its model pads"), ("left", ""), (1, "")],
)
def test_padding_that_means_nothing(folders: dict[str, Path], padding: Any, hint: str) -> None:
    run: Any = yosort.pipeline("fill-mask", folders["fill-mask"])
    wanted = f"padding: wanted True, False or one of longest, max_length, do_not_pad, got {padding}"
    with pytest.raises(InputError) as caught:
        run("a <mask>", padding=padding)
    assert str(caught.value).replace("'", "") == wanted + hint.replace("'", "")


@pytest.mark.parametrize("task", TASKS)
def test_nothing_that_is_written_is_a_type_error(folders: dict[str, Path], task: str) -> None:
    run: Any = yosort.pipeline(task, folders[task])
    with pytest.raises(InputError, match=r"got NoneType|wanted (question|query|prompt) and "):
        run()
    with pytest.raises(InputError, match="got 3 arguments"):
        run("a", "b", "c")
    with pytest.raises(InputError, match="inputs: wanted once, got twice"):
        run("a", inputs="a")
    with pytest.raises(InputError, match="zzz: no such option; there are "):
        run("a", zzz=3)


def test_defaults_hold_until_a_call_says_otherwise(folders: dict[str, Path]) -> None:
    classify: Any = yosort.pipeline("text-classification", folders["text-classification"])
    two: Any = yosort.pipeline("text-classification", folders["text-classification"], top_k=2)
    assert two(["Paris"]) == classify(["Paris"], top_k=2)
    assert two("Paris", top_k=1) == classify("Paris", top_k=1)
    # As in transformers: without top_k at the call itself, one text's answer is in a list.
    assert two("Paris") == [classify("Paris", top_k=2)]
    assert classify("Paris") == classify(["Paris"])
    assert two.device == "cpu"
    assert (two.task, two.dtype) == ("text-classification", np.float32)


def test_what_is_prepared_is_all_that_is_handed_on(folders: dict[str, Path]) -> None:
    """An input is prepared, run and finished by value: a pipeline keeps nothing of it."""
    classify: Any = yosort.pipeline("text-classification", folders["text-classification"])
    options = classify.read(classify.options(overflow="truncate", max_length=5))
    before = dict(vars(classify))
    prepared = classify.prepare({"text": "Paris", "text_pair": "a dog barks"}, options)
    assert classify.prepare({"text": "Paris", "text_pair": "a dog barks"}, options) == prepared
    assert (len(prepared.rows[0].ids), prepared.truncated) == (5, True)
    outputs = classify.run(Batch(prepared.rows, classify.model), options)
    best = classify.finish(prepared, outputs, options)
    assert vars(classify) == before
    (wanted,) = classify([{"text": "Paris", "text_pair": "a dog barks"}], max_length=5)
    assert {**best, "truncated": True} == wanted


def test_a_pipeline_shows_the_options_that_it_was_made_with(folders: dict[str, Path]) -> None:
    for task, folder in folders.items():
        plain, sized = (yosort.pipeline(task, folder, **o) for o in ({}, {"batch_size": 3}))
        assert repr(plain) == f"{type(plain).__name__}({task!r}, {plain.model!r})"
        assert repr(sized) == f"{repr(plain)[:-1]}, batch_size=3)"


@pytest.mark.parametrize(
    ("task", "value"),
    [
        ("fill-mask", "A <mask> barks"),
        ("text-classification", "Paris"),
        ("question-answering", {"question": "Who?", "context": TEXTS[0]}),
        ("multiple-choice", {"prompt": "A dog", "choices": ["barks", "sings"]}),
        ("text-ranking", {"query": "A dog", "documents": ["barks", "sings"]}),
        ("feature-extraction", "Paris"),
    ],
)
def test_a_result_has_the_columns_of_the_table(
    task: str, value: Any, folders: dict[str, Path]
) -> None:
    """With the option that the table names, a result is one row: of these columns, or a vector."""
    run: Any = yosort.pipeline(task, folders[task])
    row = TASKS[task]
    assert row.one_row is not None
    name, values = row.one_row
    for each in values:
        result = run(value, **{name: each})
        if row.columns:
            (result,) = result if isinstance(result, list) else [result]
            assert tuple(result) == row.columns
        else:
            assert np.shape(result) == (32,)
    assert TASKS["token-classification"].one_row is None


def test_max_length_and_truncation(folders: dict[str, Path]) -> None:
    embed: Any = yosort.pipeline("feature-extraction", folders["feature-extraction"])
    with pytest.raises(InputError, match=r"text too long: wanted at most 64 tokens, got \d+"):
        embed(LONG)
    assert np.shape(embed(LONG, truncation=True)) == (1, 64, 32)
    assert np.shape(embed(LONG, max_length=9)) == (1, 9, 32)
    assert np.shape(embed(LONG, max_length=2)) == (1, 2, 32)
    with pytest.raises(InputError, match=r"max_length: wanted at least 2, a text's .* got 1"):
        embed(LONG, max_length=1)
    assert np.shape(embed(LONG, tokenize_kwargs={"max_length": 9})) == (1, 9, 32)
    with pytest.raises(InputError, match="wanted at most 9 tokens"):
        embed(LONG, max_length=9, overflow="error")
    with pytest.raises(InputError, match="wanted at most 9 tokens"):
        embed(LONG, max_length=9, truncation=False)
    short: Any = yosort.pipeline(
        "feature-extraction", folders["feature-extraction"], truncation=True, max_length=7
    )
    assert np.shape(short(LONG)) == (1, 7, 32)
    assert np.shape(short(LONG, max_length=11)) == (1, 11, 32)
    with pytest.raises(InputError, match="wanted at most 7 tokens"):
        short(LONG, overflow="error")
    assert np.shape(embed("Paris", return_tensors="np")) == (1, 4, 32)


@pytest.mark.parametrize(
    ("strategy", "kept"), [("only_first", (2, 13)), ("only_second", (12, 3)), (True, (7, 8))]
)
def test_what_of_a_pair_is_cut(
    folders: dict[str, Path], strategy: Any, kept: tuple[int, int]
) -> None:
    classify: Any = yosort.pipeline("text-classification", folders["text-classification"])
    rows: list[list[int]] = []
    run = classify.run

    def watched(batch: Batch, options: dict[str, Any]) -> list[Any]:
        rows.extend(ids[:, 0].tolist() for ids in batch.split(batch.ids[:, None]))
        return list(run(batch, options))

    classify.run = watched
    text, other = " a" * 12, " b" * 13
    classify({"text": text, "text_pair": other}, truncation=strategy, max_length=19)
    a, b = (classify.tokenizer.token_id(token) for token in ("\u0120a", "\u0120b"))
    assert (rows[0].count(a), rows[0].count(b)) == kept


@pytest.mark.parametrize("size", [1, 2, 3])
def test_batch_size_bounds_the_texts_at_once(folders: dict[str, Path], size: int) -> None:
    embed: Any = yosort.pipeline("feature-extraction", folders["feature-extraction"])
    sizes: list[int] = []
    run = embed.run

    def watched(batch: Batch, options: dict[str, Any]) -> list[Any]:
        sizes.append(len(batch.lengths))
        return list(run(batch, options))

    embed.run = watched
    found = embed(["a", "b c", "d", "e f", "g"], batch_size=size)
    assert max(sizes) == size
    assert sum(sizes) == len(found) == 5
    sizes.clear()
    embed(["a", "b c", "d"], batch_size=3, batch_tokens=4)  # the budget still holds
    assert max(sizes) == 1


def test_other_names_and_ways_to_name_a_task(folders: dict[str, Path]) -> None:
    for alias, task in (
        ("ner", "token-classification"), ("sentiment-analysis", "text-classification"),
        ("NER", "token-classification"), ("rerank", "text-ranking"),
    ):  # fmt: skip
        assert yosort.pipeline(alias, folders[task]).task == task
    for task, folder in folders.items():
        own = "text-classification" if task == "text-ranking" else task  # what the head is called
        assert yosort.pipeline(model=yosort.load(folder)).task == own
        assert yosort.pipeline(model=str(folder)).task == own
    with pytest.raises(ConfigError, match=r"task: wanted one of fill-mask.*, got None"):
        yosort.pipeline()
    with pytest.raises(ConfigError, match="task: wanted one of"):
        yosort.pipeline("summarization", folders["fill-mask"])


def test_a_question_and_its_context_without_names(folders: dict[str, Path]) -> None:
    answer: Any = yosort.pipeline("question-answering", folders["question-answering"])
    wanted = answer(question="Who?", context=TEXTS[0])
    assert answer("Who?", TEXTS[0]) == wanted
    assert answer({"question": "Who?", "context": TEXTS[0]}) == wanted


def test_a_tokenizer_by_its_folder(folders: dict[str, Path]) -> None:
    folder = folders["fill-mask"]
    fill: Any = yosort.pipeline("fill-mask", yosort.load(folder), str(folder))
    assert fill("A <mask>") == yosort.pipeline("fill-mask", folder)("A <mask>")


def test_config_fields_pass_through(folders: dict[str, Path]) -> None:
    classify: Any = yosort.pipeline(
        "text-classification", folders["text-classification"], top_k=None,
        id2label={0: "x", 1: "y", 2: "z"}, model_kwargs={"seed": 3},
    )  # fmt: skip
    assert {answer["label"] for answer in classify(["Paris"])[0]} == {"x", "y", "z"}
    assert classify.model.seed == 3
    with pytest.raises(ConfigError, match="seed: wanted once, got twice, the second time in model"):
        yosort.pipeline("fill-mask", folders["fill-mask"], seed=3, model_kwargs={"seed": 4})
    with pytest.raises(ConfigError, match="torch_dtype: wanted dtype or torch_dtype, got both"):
        yosort.pipeline(
            "fill-mask", folders["fill-mask"], dtype="float32",
            model_kwargs={"torch_dtype": "bfloat16"},
        )  # fmt: skip


def test_rows_of_a_data_set_bring_other_columns(folders: dict[str, Path]) -> None:
    classify: Any = yosort.pipeline("text-classification", folders["text-classification"])
    assert classify({"text": "Paris", "label": 1, "id": 7}) == classify(["Paris"])[0]
    with pytest.raises(InputError, match="wanted the keys text and text_pair"):
        classify({"text": "Paris", "textpair": "a"})
    for wrong, message in (
        ({"text": None}, "^text: wanted a text, got None"),
        ({"text": "a", "text_pair": 3}, "^text_pair: wanted a text, got 3"),
        (
            [("a", "b")],
            r'inputs\[0\]: .*got tuple; a pair is {"text": \.\.\., "text_pair": \.\.\.}',
        ),
    ):
        with pytest.raises(InputError, match=message):
            classify(wrong)
    # Several texts, in whichever collection.
    assert classify(("Paris", "a")) == classify(["Paris", "a"])
    answer: Any = yosort.pipeline("question-answering", folders["question-answering"])
    asked = {"question": "Who?", "context": TEXTS[0]}
    assert answer([{"id": 1, **asked, "answers": []}]) == answer(asked)
    with pytest.raises(InputError, match="wanted a dictionary of question and context"):
        answer({"question": "Who?", "contxt": TEXTS[0]})


def test_what_is_not_here_says_what_is(folders: dict[str, Path]) -> None:
    embed: Any = yosort.pipeline("feature-extraction", folders["feature-extraction"])
    with pytest.raises(InputError, match="return_tensors: wanted True, False or 'np', got 'pt'"):
        embed("a", return_tensors="pt")
    with pytest.raises(AttributeError, match="change and save it with transformers"):
        embed.tokenizer.add_tokens([])
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'$"):
        embed.tokenizer.nothing  # noqa: B018
    with pytest.raises(AttributeError, match=r"model\.config\.num_labels says it"):
        embed.model.num_labels  # noqa: B018
    with pytest.raises(AttributeError, match=r"cannot set num_hash: .* config\.override\(num_hash"):
        embed.model.config.num_hash = 3
    with pytest.raises(
        AttributeError, match=r"model\(\*\*tokenizer\(text, return_tensors='np'\)\)"
    ):
        embed.preprocess("a")
    with pytest.raises(ConfigError, match=r"sentiment-anlysis'; did you mean sentiment-analysis\?"):
        yosort.pipeline("sentiment-anlysis")
    for command, task in (
        ("classify", "text-classification"), ("QA", "question-answering"),
        ("embed", "feature-extraction"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=rf"got '{command}'; did you mean {task}\?$"):
            yosort.pipeline(command)
    with pytest.raises(ConfigError, match=r"got 'guess'$"):  # like none of ours
        yosort.pipeline("guess")


def test_a_pipeline_predicts_and_saves(folders: dict[str, Path], tmp_path: Path) -> None:
    other = yosort.Tokenizer.from_pretrained(folders["fill-mask"], padding_side="left")
    classify: Any = yosort.pipeline(
        "text-classification", folders["text-classification"], tokenizer=other
    )
    assert classify.predict(TEXTS) == classify.transform(TEXTS) == classify(TEXTS)
    classify.save_pretrained(tmp_path, push_to_hub=False)
    again: Any = yosort.pipeline("text-classification", tmp_path)
    assert again(TEXTS) == classify(TEXTS)
    assert again.tokenizer.padding_side == "left"
    with pytest.raises(ConfigError, match="safe_serialization: wanted True, got False"):
        classify.save_pretrained(tmp_path, safe_serialization=False)


@pytest.mark.parametrize("options", [{"revision": "v2"}, {"device": "cpu", "num_threads": 1}])
def test_a_loaded_model_is_loaded_already(folders: dict[str, Path], options: Any) -> None:
    """Where it runs may be said again; what was chosen at loading may not."""
    model = yosort.load(folders["text-classification"], device="cpu")
    wanted = yosort.pipeline("text-classification", model)("a dog")
    for same in ({"device": "cpu"}, {"device": "auto"}, {"dtype": None}, {"torch_dtype": "auto"}):
        assert yosort.pipeline("text-classification", model, **same)("a dog") == wanted
    with pytest.raises(yosort.ConfigError, match="only apply to a model that is yet to load"):
        yosort.pipeline("text-classification", model, **options)
    with pytest.raises(
        yosort.ConfigError, match="loaded with device='cpu'; load it with device='cuda:7'"
    ):
        yosort.pipeline("text-classification", model, device="cuda:7")
    with pytest.raises(yosort.ConfigError, match="load it with dtype='bfloat16'"):
        yosort.pipeline("text-classification", model, torch_dtype="bfloat16", device_map="cpu")
    folder, hub = str(folders["text-classification"]), {"revision": "v2", "token": "x"}
    assert yosort.pipeline("text-classification", model, folder, **hub)("a dog") == wanted


def test_what_is_no_model_is_named(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"model: wanted a folder, .* loaded model, got 5$"):
        yosort.pipeline("fill-mask", 5)  # type: ignore[call-overload]
    config = yosort.YosoConfig.from_pretrained(folders["feature-extraction"])
    with pytest.raises(ConfigError, match="got YosoConfig of yosort; its save_pretrained writes"):
        yosort.pipeline("fill-mask", config)  # type: ignore[call-overload]
    with pytest.raises(yosort.CheckpointError, match=r"source: wanted a folder .* got None$"):
        yosort.load(None)  # type: ignore[arg-type]
    assert yosort.YosoModel.from_config(config, attn_implementation=None).num_parameters()
    with pytest.raises(ConfigError, match="attn_implementation: no such option"):
        yosort.YosoModel.from_config(config, attn_implementation="sdpa")
    assert yosort.YosoModel.from_config(config, attn_implementation="eager").num_parameters()


def test_choices_of_a_data_set(folders: dict[str, Path]) -> None:
    """Other columns are let be, choices may be any iterable, and what is wrong is named."""
    rank = yosort.pipeline("multiple-choice", folders["multiple-choice"], device="cpu")
    wanted = rank({"prompt": "the", "choices": ["fox", "dog"]})
    assert rank({"prompt": "the", "choices": np.array(["fox", "dog"]), "id": 1}) == wanted
    assert rank(prompt="the", choices=["fox", "dog"]) == wanted
    with pytest.raises(InputError, match="wanted prompt and choices, or inputs"):
        rank(prompt="the")
    with pytest.raises(InputError, match="wanted inputs, or prompt and choices, got both"):
        rank([], choices=["fox", "dog"])
    for value, message in (
        ({"prompt": None, "choices": ["fox", "dog"]}, "prompt: wanted a text, got None"),
        ({"prompt": "the", "choices": ["fox"]}, "choices: wanted two texts or more"),
        ({"prompt": "the", "choices": "fox"}, "choices: wanted several texts"),
    ):
        with pytest.raises(InputError, match=message):
            rank(value)


@pytest.mark.parametrize("padding", ["masked", "attended"])
def test_what_fills_a_batch_up_is_no_token_of_its_texts(
    padding: str, folders: dict[str, Path]
) -> None:
    model = yosort.load(folders["fill-mask"], device="cpu", padding=padding, pad_token_id=7)
    batch = Batch([Row([0, 7, 2], [0] * 3), Row([0, 5, 7, 7, 2], [0] * 5)], model)
    width = 5 if padding == "attended" else 3
    assert len(batch.ids) == width + 5
    assert batch.find(7).tolist() == [1, width + 2, width + 3]
    assert [part[:, 0].tolist() for part in batch.split(batch.ids[:, None])] == [
        [0, 7, 2], [0, 5, 7, 7, 2]
    ]  # fmt: skip


class ByNumber:
    """Items by number, without an end of their own, as torch's datasets often are."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> str:
        return TEXTS[index % len(TEXTS)]


def test_what_has_items_by_number_ends_at_its_length(folders: dict[str, Path]) -> None:
    classify: Any = yosort.pipeline("text-classification", folders["text-classification"])
    items = ByNumber()
    assert classify(items) == classify([items[i] for i in range(3)])


def test_a_length_that_was_chosen_is_where_texts_are_cut(folders: dict[str, Path]) -> None:
    folder = folders["text-classification"]
    stated = yosort.Tokenizer.from_pretrained(folder)
    assert stated.chosen_max_length is None
    text = "word " * 20
    for tokenizer in (yosort.Tokenizer.from_pretrained(folder, model_max_length=6), stated):
        tokenizer.model_max_length = 6
        classify: Any = yosort.pipeline("text-classification", folder, tokenizer=tokenizer)
        assert classify(text, truncation=True) == classify(text, max_length=6)
        assert classify(text) != classify(text, max_length=6)  # what is not to be cut is not
