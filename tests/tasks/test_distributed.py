"""Batches of columns as engines hand them over; and two nodes of Ray's, of which one is killed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import TEXTS, make_each
from yosort import ConfigError, InputError
from yosort.distributed import BatchPipeline

SCRIPT = Path(__file__).with_name("two_nodes.py")


def texts(*values: Any) -> Any:
    """Return a column."""
    return np.array(values, object)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for each task."""
    return make_each(tmp_path_factory.mktemp("m"))


@pytest.mark.parametrize("shape", [str, object])
def test_vectors_are_rows_of_one_array(folders: dict[str, Path], shape: Any) -> None:
    folder = folders["feature-extraction"]
    answer = BatchPipeline("feature-extraction", folder, "body", device="cpu", normalize=True)
    answer = pickle.loads(pickle.dumps(answer))
    batch = {"id": np.arange(4), "body": np.array(TEXTS, shape), "other": texts(*"abcd")}
    got = answer(batch)
    assert list(got) == ["id", "body", "other", "vector", "error"]
    assert all(got[name] is batch[name] for name in batch)
    assert (got["vector"].dtype, got["vector"].shape) == (np.float32, (4, 32))
    embed = yosort.pipeline("feature-extraction", folder, device="cpu", pooling="mean")
    assert got["vector"].tolist() == embed(TEXTS, normalize=True)
    assert got["error"].tolist() == [""] * 4
    pooled = BatchPipeline("feature-extraction", folder, "body", pooling="cls", device="cpu")
    assert pooled(batch)["vector"].tolist() == embed(TEXTS, pooling="cls")
    none = answer({"body": texts()})
    assert none["vector"].shape == (0, 32)


def test_a_row_s_bits_are_its_own(folders: dict[str, Path]) -> None:
    """Whatever an engine puts beside a row, in whatever order, its answer is the same."""
    answer = BatchPipeline("feature-extraction", folders["feature-extraction"], device="cpu")
    column = texts(*(" ".join(TEXTS[i % 4].split()[: 1 + i % 11]) for i in range(40)))
    whole = answer({"text": column})["vector"]
    order = np.random.default_rng(0).permutation(40)
    for rows in np.split(order, [1, 3, 20]):
        assert (answer({"text": column[rows]})["vector"] == whole[rows]).all()


def test_what_fails_is_a_message_in_its_row(folders: dict[str, Path]) -> None:
    column = texts(TEXTS[0], None, "word " * 90, float("nan"), "a")
    embed = BatchPipeline("feature-extraction", folders["feature-extraction"], device="cpu")
    got = embed({"text": column})
    assert np.isnan(got["vector"]).all(axis=1).tolist() == [False, True, True, True, False]
    assert [bool(error) for error in got["error"]] == [False, True, True, True, False]
    assert got["error"][1] == "wanted a text, got NoneType"
    with_spans = {"text": "a dog", "spans": [[0, 1]]}
    got = embed({"text": texts(with_spans, "a")})
    assert np.isnan(got["vector"]).all(axis=1).tolist() == [True, False]
    assert got["error"].tolist() == ["wanted a text alone, got one with spans; chunks= parts all "
                                     "texts", ""]  # fmt: skip
    classify = BatchPipeline("text-classification", folders["text-classification"], device="cpu")
    got = classify({"text": column})
    assert got["label"].tolist()[1:4] == [""] * 3
    assert np.isnan(got["score"][1:4]).all()
    assert got["score"].dtype == np.float64
    strict = BatchPipeline(
        "text-classification", folders["text-classification"], collect_errors=False, device="cpu"
    )
    assert list(strict({"text": column[:1]})) == ["text", "label", "score"]
    with pytest.raises(InputError, match=r"inputs\[1\]: wanted a text"):
        strict({"text": column})


def test_what_two_columns_must_be(folders: dict[str, Path]) -> None:
    folder = folders["question-answering"]
    for column in ("question", {"question": "question"}, {"question": "question", "text": "a"}):
        with pytest.raises(ConfigError, match="column: wanted a dictionary of the columns of q"):
            BatchPipeline("question-answering", folder, column, device="cpu")
    answer = BatchPipeline("question-answering", folder, device="cpu")
    with pytest.raises(InputError, match=r"batch: wanted columns of one length, got \[2, 1\]"):
        answer({"question": texts("a", "b"), "context": texts(TEXTS[0])})
    with pytest.raises(InputError, match=r"batch: wanted a column 'context', got \['question'\]"):
        answer({"question": texts("a", "b")})


def test_json_of_a_result_has_letters_as_they_are(folders: dict[str, Path]) -> None:
    rank = BatchPipeline("text-ranking", folders["text-ranking"], device="cpu")
    (result,) = rank({"query": texts("a"), "documents": texts([TEXTS[3]])})["result"]
    assert f'"{TEXTS[3]}"' in result


def test_more_answers_than_a_row_holds_are_its_error_or_the_batch_s(
    folders: dict[str, Path],
) -> None:
    batch = {"text": texts("a <mask>", "a <mask> and a <mask>")}
    fill = BatchPipeline("fill-mask", folders["fill-mask"], device="cpu", top_k=1)
    got = fill(batch)
    assert got["error"].tolist() == ["", "wanted one answer a row, got 2"]
    assert [got["token"][1], got["sequence"][1]] == [-1, ""]
    strict = BatchPipeline(
        "fill-mask", folders["fill-mask"], device="cpu", top_k=1, collect_errors=False
    )
    assert strict({"text": batch["text"][:1]})["token"].tolist() == [got["token"][0]]
    with pytest.raises(InputError, match="wanted one answer a row, got 2"):
        strict(batch)


def test_answers_of_each_task(folders: dict[str, Path]) -> None:
    """One answer a row is columns; any number is JSON, in one column whatever the rows hold."""

    def make_one(task: str, *arguments: Any, **options: Any) -> BatchPipeline:
        return BatchPipeline(task, folders[task], *arguments, device="cpu", **options)

    def plain(task: str, **options: Any) -> Any:
        return yosort.pipeline(task, folders[task], device="cpu", **options)

    pairs = {"text": texts("a", "b"), "text_pair": texts("c", None)}
    got = make_one("text-classification", overflow="truncate")(pairs)
    wanted = plain("text-classification")([{"text": "a", "text_pair": "c"}, {"text": "b"}])
    assert got["label"].tolist() == [one["label"] for one in wanted]
    assert got["score"].tolist() == [one["score"] for one in wanted]
    assert got["truncated"].tolist() == [False, False]
    got = make_one("text-classification", top_k=2)({"text": texts("a")})
    assert json.loads(got["result"][0]) == plain("text-classification")("a", top_k=2)

    column = {"question": "q", "context": "c"}
    asked = {"q": texts("who?", "what?"), "c": texts(TEXTS[0], "")}
    got = make_one("question-answering", column, prefix="a_")(asked)
    assert list(got) == ["q", "c", "a_score", "a_start", "a_end", "a_answer", "a_error"]
    one = plain("question-answering")(question="who?", context=TEXTS[0])
    assert {k: got[f"a_{k}"].tolist()[0] for k in one} == one
    assert [got[f"a_{k}"][1] for k in ("start", "end", "answer")] == [-1, -1, ""]
    assert got["a_start"].dtype == np.int64
    single = make_one("question-answering", column)({k: v[:1] for k, v in asked.items()})
    assert single["answer"].tolist() == [one["answer"]]

    documents = texts([TEXTS[0], TEXTS[1]], [TEXTS[2]])
    got = make_one("text-ranking")({"query": texts("a", "b"), "documents": documents})
    assert json.loads(got["result"][0]) == plain("text-ranking")("a", TEXTS[:2])
    got = make_one("token-classification", aggregation_strategy="simple")({"text": texts(TEXTS[0])})
    wanted = plain("token-classification", aggregation_strategy="simple")(TEXTS[0])
    assert json.loads(got["result"][0]) == wanted
    got = make_one("feature-extraction", chunks=3)({"text": texts(TEXTS[0])})
    assert json.loads(got["result"][0]) == plain("feature-extraction")(TEXTS[0], chunks=3)
    got = make_one("fill-mask", top_k=1)({"text": texts("A <mask>", "<mask> <mask>", "none")})
    assert got["token"].tolist()[1:] == [-1, -1]
    assert got["token_str"][0] == plain("fill-mask")("A <mask>")[0]["token_str"]
    assert got["error"][1] == "wanted one answer a row, got 2"
    assert list(got) == ["text", "score", "token", "token_str", "sequence", "error"]
    asked = {"prompt": texts("A dog", "The moon"), "choices": texts(["barks", "sings"], TEXTS[:3])}
    got = make_one("multiple-choice", top_k=1)(asked)
    assert list(got) == ["prompt", "choices", "choice", "index", "score", "error"]
    wanted = plain("multiple-choice")(
        [dict(zip(asked, row, strict=True)) for row in zip(*asked.values(), strict=True)], top_k=1
    )
    assert [{k: got[k].tolist()[i] for k in one} for i, (one,) in enumerate(wanted)] == [
        one for (one,) in wanted
    ]
    assert got["index"].dtype == np.int64


@pytest.mark.parametrize(
    ("task", "options", "columns"),
    [
        ("text-classification", {"attention": "sampled", "samples": 2}, ["text"]),
        ("question-answering", {}, ["question", "context"]),
        ("fill-mask", {"top_k": 1}, ["text"]),
        ("multiple-choice", {"top_k": 1}, ["prompt", "choices"]),
    ],
)
def test_columns_of_rows_that_have_failed(
    folders: dict[str, Path], task: str, options: dict[str, Any], columns: list[str]
) -> None:
    answer = BatchPipeline(task, folders[task], device="cpu", overflow="truncate", **options)
    got = answer({name: texts(None) for name in columns})
    assert got["error"][0]
    wanted: dict[str, Any] = {"f": "nan", "i": "-1", "b": "False", "O": ""}
    answers = {name: got[name] for name in got if name not in (*columns, "error")}
    assert {name: str(column[0]) for name, column in answers.items()} == {
        name: wanted[column.dtype.kind] for name, column in answers.items()
    }
    kinds = {"score": "f", "standard_error": "f", "start": "i", "end": "i", "index": "i"}
    kinds |= {"token": "i", "truncated": "b"}
    assert {n: c.dtype.kind for n, c in answers.items()} == {n: kinds.get(n, "O") for n in answers}


def test_draws_have_their_column(folders: dict[str, Path]) -> None:
    options: dict[str, Any] = {"attention": "sampled", "samples": 3, "device": "cpu"}
    folder = folders["text-classification"]
    got = BatchPipeline("text-classification", folder, **options)({"text": texts(*TEXTS)})
    wanted = yosort.pipeline("text-classification", folder, **options)(TEXTS)
    assert got["standard_error"].tolist() == [one["standard_error"] for one in wanted]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"column": 3}, "column: wanted a dictionary of the columns of text, got 3"),
        ({"column": {"body": "text"}}, "column: wanted a dictionary of the columns of text"),
        ({"column": {"text": 1}}, "column: wanted a dictionary of the columns of text"),
        ({"colum": "body"}, "colum: no such option"),
        ({"prefix": None}, "prefix: wanted a text, got None"),
        ({"collect_errors": 1}, "collect_errors: wanted True or False, got 1"),
        ({"on_error": "raise"}, "on_error: no such option; collect_errors"),
    ],
)
def test_what_a_worker_cannot_be_made_of(
    folders: dict[str, Path], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        BatchPipeline("feature-extraction", folders["feature-extraction"], **arguments)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"body": texts("a")}, r"batch: wanted a column 'text', got \['body'\]"),
        ({"text": texts("a"), "vector": texts("a")}, "batch: has a column 'vector' already"),
        ([texts("a")], "batch: wanted a dictionary of arrays, by column"),
        ({"text": ["a"]}, r"batch\['text'\]: wanted an array of NumPy, got list"),
        ({"text": "a"}, r"batch\['text'\]: wanted an array of NumPy, got str"),
    ],
)
def test_what_is_no_batch(folders: dict[str, Path], batch: Any, message: str) -> None:
    answer = BatchPipeline("feature-extraction", folders["feature-extraction"], device="cpu")
    with pytest.raises(InputError, match=message):
        answer(batch)


@pytest.mark.slow
def test_a_node_is_killed_and_every_row_has_the_bits_of_the_local_answer(
    folders: dict[str, Path], tmp_path: Path, patience: dict[str, str]
) -> None:
    pytest.importorskip("ray")
    folder = folders["feature-extraction"]
    command = [sys.executable, str(SCRIPT), str(folder), str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=patience, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    job = json.loads((tmp_path / "job.json").read_text())
    assert job["killed"] in job["nodes"]
    assert len(job["nodes"]) == 2
    assert job["calls_at_the_kill"] < job["blocks"]
    found = np.load(tmp_path / "found.npz")
    order = np.argsort(found["id"], kind="stable")
    assert found["id"][order].tolist() == list(range(job["rows"]))
    wanted = BatchPipeline("feature-extraction", folder, device="cpu")(
        {"text": np.array(job["texts"], object)}
    )
    assert (found["vector"][order] == wanted["vector"]).all()
    assert found["vector"].dtype == np.float32
