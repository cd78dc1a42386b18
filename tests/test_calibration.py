"""yosort.calibrate: its figures are those of running the settings one by one."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import TEXTS, make

import yosort
from yosort.cli import main
from yosort.tasks.batch import Row
from yosort.tuning import calibration
from yosort.tuning.calibration import (
    Calibration,
    Setting,
    _compare,
    _masked,
    _prepare,
    _Runner,
    calibrate,
)
from yosort.tuning.costs import DEFAULT_COSTS, Costs, _fit

SHAPES: dict[str, Any] = {
    "YosoModel": TEXTS,
    "YosoForMaskedLM": ["Paris is the <mask> of France", *TEXTS],
    "YosoForSequenceClassification": [*TEXTS, {"text": "a", "text_pair": "b"}],
    "YosoForTokenClassification": TEXTS,
    "YosoForQuestionAnswering": [{"question": "Who?", "context": text} for text in TEXTS],
    "YosoForMultipleChoice": [
        {"prompt": "What?", "choices": TEXTS},
        {"prompt": "b", "choices": TEXTS[:2]},
    ],
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_class_is_measured(name: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "m", name, initializer_range=0.1)
    found = calibrate(folder, SHAPES[name], num_hashes=(512, 1), seeds=2, within=0.999)
    assert found.texts == len(SHAPES[name])
    exact, few, many = found.settings
    assert (exact.num_hash, exact.agreement, exact.error) == (None, 1.0, 0.0)
    assert (few.num_hash, many.num_hash) == (1, 512)
    assert 0 < many.error < few.error
    assert 0 <= few.agreement <= 1 + 1e-9
    assert all(setting.seconds > 0 for setting in found.settings)


def test_figures_are_those_of_the_calls(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", "YosoForSequenceClassification", num_labels=4)
    found = calibrate(folder, TEXTS, num_hashes=[2, 5], seeds=3, batch_tokens=20)
    exact_model = yosort.load(folder, attention="expectation")
    sampled_model = yosort.load(folder, attention="sampled")
    ids = [exact_model.tokenizer.encoding(text).ids for text in TEXTS]
    exact = np.concatenate([exact_model([row]).logits for row in ids]).astype(np.float64)
    for setting in found.settings[1:]:
        agree, error = [], []
        for seed in range(3):
            got = np.concatenate(
                [sampled_model([r], seed=seed, num_hash=setting.num_hash).logits for r in ids]
            )
            agree.append(np.mean(got.argmax(1) == exact.argmax(1)))
            error.append(np.abs(got - exact).mean())
        assert setting.agreement == pytest.approx(np.mean(agree), abs=1e-9)
        assert setting.error == pytest.approx(np.mean(error), rel=1e-4)
    wanted = [s.num_hash for s in found.settings[1:] if 1 - s.agreement <= found.within]
    assert found.num_hash == (wanted[0] if wanted else None)
    assert found.tokens == np.mean([len(row) for row in ids])
    threshold = found.costs.sampled_from(exact_model.config, found.num_hash or 64)
    assert found.num_hash is None or found.attention == f"auto:{threshold}"


def alone(model: Any, row: Row) -> list[np.ndarray]:
    """Return what a row's decisions are made of, [decisions, classes] each: a call of its own."""
    output = model([row.ids], token_type_ids=[row.type_ids])
    if isinstance(model, yosort.YosoForMaskedLM):
        return [output.logits[0][np.array(row.ids) == model.tokenizer.id_of("mask_token")]]
    if isinstance(model, yosort.YosoForTokenClassification):
        return [output.logits[0]]
    if isinstance(model, yosort.YosoForQuestionAnswering):
        return [output.start_logits, output.end_logits]
    if isinstance(model, yosort.YosoModel):
        return [output.last_hidden_state[0].mean(axis=0, keepdims=True)]
    return [output.logits]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_the_decisions_of_a_batch_are_those_of_its_rows_alone(
    name: str, batch_tokens: int, tmp_path: Path
) -> None:
    """Filling decides nothing, whatever the class."""
    model = yosort.load(make(tmp_path / "m", name, num_labels=4), attention="expectation")
    texts = _prepare(model, dict(enumerate(SHAPES[name])), "error")
    answers, _ = _Runner(model, texts, batch_tokens)(model, {})
    if name == "YosoForMultipleChoice":
        for rows, found in zip(texts, answers, strict=True):
            width = max(len(row.ids) for row in rows)
            fill = [width - len(row.ids) for row in rows]
            ids = [row.ids + [1] * n for row, n in zip(rows, fill, strict=True)]
            types = [row.type_ids + [0] * n for row, n in zip(rows, fill, strict=True)]
            mask = [[1] * len(row.ids) + [0] * n for row, n in zip(rows, fill, strict=True)]
            wanted = model([ids], attention_mask=[mask], token_type_ids=[types]).logits
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        return
    rows = sorted((row for text in texts for row in text), key=lambda row: -len(row.ids))
    sides = list(zip(*(alone(model, row) for row in rows), strict=True))
    if name == "YosoForQuestionAnswering":  # each row has a width of its own
        if batch_tokens == 1:  # a row's start and end follow each other
            wanted = [side for row in zip(*sides, strict=True) for side in row]
        else:
            wanted = [side for kind in sides for side in kind]
        assert [found.shape for found in answers] == [side.shape for side in wanted]
        pairs = list(zip(answers, wanted, strict=True))
    else:
        pairs = [(np.concatenate(answers), np.concatenate(sides[0]))]
    for got, side in pairs:
        np.testing.assert_allclose(got, side, rtol=1e-4, atol=1e-5)


def test_the_least_setting_within_the_wanted_error_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", "YosoForSequenceClassification", num_labels=4)
    loose = calibrate(folder, TEXTS, num_hashes=[4, 3, 8], seeds=1, within=0.99999)
    agreeing = [s.num_hash for s in loose.settings[1:] if s.agreement > 0]
    assert loose.num_hash == agreeing[0]
    assert f"num_hash={agreeing[0]} is the least" in loose.table()
    tagger = make(tmp_path / "t", "YosoForTokenClassification", num_labels=2)
    every = calibrate(tagger, TEXTS, num_hashes=[4, 3, 8], seeds=1, within=0.99999)
    assert all(s.agreement > 0 for s in every.settings)
    assert every.num_hash == 3


def test_it_runs_as_the_page_says_unless_told(tmp_path: Path) -> None:
    """docs/dial.md: 64 texts, 8 to 256 hashes, 5 draws, 1%."""
    folder = make(tmp_path / "m", "YosoModel")
    found = calibrate(folder, ["a"] * 65)
    assert (found.texts, found.within) == (64, 0.01)
    assert [s.num_hash for s in found.settings] == [None, 8, 16, 32, 64, 128, 256]
    defaults = inspect.signature(calibrate).parameters
    assert (defaults["seeds"].default, defaults["batch_tokens"].default) == (5, 16384)


@pytest.mark.parametrize(("batch_tokens", "batches"), [(1, 4), (10_000, 1)])
def test_the_time_of_a_text_is_that_of_all_batches_over_their_number(
    batch_tokens: int, batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by a second whenever it is read."""
    model = yosort.load(make(tmp_path / "m", "YosoModel"), device="cpu", num_threads=1)
    clock = iter(range(10**6))
    monkeypatch.setattr(calibration.time, "perf_counter", lambda: next(clock))
    found = calibrate(model, TEXTS, num_hashes=[2, 3], seeds=2, batch_tokens=batch_tokens)
    assert [setting.seconds for setting in found.settings] == [batches / len(TEXTS)] * 3


def test_a_setting_may_differ_by_as_much_as_is_allowed(tmp_path: Path) -> None:
    model = yosort.load(make(tmp_path / "m", "YosoForSequenceClassification", num_labels=4))
    tried: dict[str, Any] = {"num_hashes": [1, 3, 8], "seeds": 3}
    agreements = [s.agreement for s in calibrate(model, TEXTS, **tried).settings[1:]]
    among = sorted({agreement for agreement in agreements if agreement > 0})
    assert len(among) > 1
    for agreement in among:
        found = calibrate(model, TEXTS, within=1 - agreement, **tried)
        least = next(
            n for n, a in zip(tried["num_hashes"], agreements, strict=True) if a >= agreement
        )
        assert found.num_hash == least
        bound = found.costs.sampled_from(model.config, least)
        assert found.attention == f"auto:{bound}"


def test_answers_that_are_not_finite_are_no_measure(tmp_path: Path) -> None:
    model = make(tmp_path / "m", "YosoForSequenceClassification", initializer_range=5e37)
    with pytest.raises(yosort.InputError, match="not a finite number"):
        calibrate(model, TEXTS, num_hashes=[1], seeds=1)


def test_a_sample_is_spread_over_all_inputs(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", "YosoModel")
    texts = ["a b c d e f"] + ["a"] * 7 + ["b " * 20]
    found = calibrate(folder, iter(texts), num_hashes=[2], seeds=1, limit=3)
    lengths = [len(yosort.load(folder).tokenizer.encoding(texts[i]).ids) for i in (0, 4, 8)]
    assert found.texts == 3
    assert found.tokens == np.mean(lengths)


def test_the_other_form_shares_the_weights(tmp_path: Path) -> None:
    model = yosort.load(make(tmp_path / "m", "YosoModel"), attention="expectation", seed=4)
    other = model.with_attention("sampled")
    assert (model.attention, other.attention) == ("expectation", "sampled")
    assert other._encoder is model._encoder
    wanted = yosort.load(tmp_path / "m", attention="sampled", seed=4)([[1, 2, 3, 4]])
    np.testing.assert_array_equal(other([[1, 2, 3, 4]])[0], wanted[0])
    assert not np.array_equal(model([[1, 2, 3, 4]])[0], wanted[0])


def test_costs_are_recovered_from_times_that_follow_them() -> None:
    n = np.array([100.0, 300.0, 1000.0])
    seconds = (2e-9 * n + 5e-7 * np.ones(3)).tolist()
    assert _fit([n, np.ones(3)], seconds) == pytest.approx([2e-9, 5e-7], rel=1e-9)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ([], {}, "at least one text"),
        (TEXTS, {"num_hashes": []}, "num_hashes: wanted at least one"),
        (TEXTS, {"num_hashes": [0]}, "num_hashes: wanted an integer"),
        (TEXTS, {"within": 1.0}, "within: wanted a number from 0 to below 1"),
        (TEXTS, {"within": -1e-9}, "within: wanted"),
        (TEXTS, {"within": True}, "within: wanted"),
        (TEXTS, {"within": "0.1"}, "within: wanted"),
        (TEXTS, {"seeds": 0}, "seeds: wanted"),
        (TEXTS, {"seeds": 1001}, "seeds: wanted at most 1,000, got 1001"),
        (TEXTS, {"seeds": 1000, "within": 2}, "within: wanted"),
        (TEXTS, {"limit": 0}, "limit: wanted"),
        (TEXTS, {"batch_tokens": 0}, "batch_tokens: wanted"),
        (TEXTS, {"overflow": "stride"}, "overflow: wanted"),
        (TEXTS, {"device": "cpu"}, "yet to load"),
        ("one text", {}, "inputs: wanted several values, such as a list, got 'one text'"),
        ({"text": "one"}, {}, "inputs: wanted several"),
        (TEXTS, {"num_hashes": "88"}, "num_hashes: wanted several"),
        (TEXTS, {"num_hashes": 8}, "num_hashes: wanted several"),
        (["a", 3], {}, r"inputs\[1\]: wanted a text"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    inputs: Any, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = yosort.load(make(tmp_path / "m", "YosoForSequenceClassification"))
    with pytest.raises(yosort.InputError, match=message):
        calibrate(model, inputs, **options)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path / "m", "YosoForSequenceClassification")
    rows = [json.dumps({"text": text, "label": 1}) for text in TEXTS]
    (tmp_path / "texts.jsonl").write_text("\n".join(rows), encoding="utf-8")
    command = ["calibrate", str(folder), str(tmp_path / "texts.jsonl"), "--num-hashes", "2", "4"]
    assert main([*command, "--seeds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [s["num_hash"] for s in found["settings"]] == [None, 2, 4]
    assert found["texts"] == len(TEXTS)
    assert main([*command, "--seeds", "1"]) == 0
    assert "expectation" in capsys.readouterr().out
    command[1] = "bundled"
    assert main([*command, "--seeds", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["texts"] == len(TEXTS)
    assert main([*command[:2], str(tmp_path / "none.txt")]) == 1
    assert "none.txt: cannot be read" in capsys.readouterr().err


SETTINGS = (Setting(None, 1.0, 0.0, 0.02), Setting(8, 0.9, 0.3, 0.01), Setting(16, 0.95, 0.2, 0.02))
FOUND = Calibration(SETTINGS, 2, 10.0, 0.01, None, Costs(1, 1, 1), "auto:7")


def test_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    FOUND.plot(tmp_path / "dial.svg")
    assert "<svg" in (tmp_path / "dial.svg").read_text(encoding="utf-8")


def test_a_plot_without_matplotlib_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(yosort.InputError, match=r"^plot: wanted a path"):
        FOUND.plot(3)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    with pytest.raises(yosort.InputError, match="pip install matplotlib"):
        FOUND.plot(tmp_path / "dial.svg")
    assert "use the expectation" in FOUND.table()


def test_options_of_loading_are_looked_at_before_any_input() -> None:
    def inputs() -> Iterator[str]:
        raise AssertionError("they were read")
        yield ""

    with pytest.raises(yosort.ConfigError, match="dtype: wanted"):
        calibrate("no/such/model", inputs(), dtype="int3")


def test_an_error_of_the_inputs_iterator_is_its_own(tmp_path: Path) -> None:
    model = make(tmp_path / "m", "YosoForMaskedLM")
    with pytest.raises(ZeroDivisionError):
        calibrate(model, (str(1 // n) for n in (1, 0)))


def test_the_table_has_its_columns_in_order() -> None:
    assert FOUND.table() == (
        "2 texts of 10 tokens on average\n"
        "    num_hash  agreement  mean error  ms a text\n"
        " expectation    100.00%      0.0000      20.00\n"
        "           8     90.00%      0.3000      10.00\n"
        "          16     95.00%      0.2000      20.00\n"
        "no num_hash tried keeps within 1.00%: use the expectation"
    )
    fitting = replace(FOUND, within=0.05, num_hash=16)
    assert fitting.table().splitlines()[-2:] == [
        "num_hash=16 is the least within 5.00%",
        "attention='auto:7' samples where that is faster on this machine",
    ]


def test_where_nothing_fits_the_advice_is_the_expectation(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", "YosoForTokenClassification", num_labels=9)
    found = calibrate(folder, TEXTS, num_hashes=[1], seeds=2, within=0.0)
    assert (found.num_hash, found.attention) == (None, "expectation")


def test_agreement_and_error_by_hand() -> None:
    exact = [np.array([[3.0, 4.0]]), np.array([[0.0, 2.0], [1.0, 0.0]])]
    same, error = _compare(exact, exact, vectors=True)
    assert (same, error) == (pytest.approx(1), 0)
    # cosines 24/25, 0, 1; distances sqrt(2), sqrt(8), 1 over lengths 5, 2, 1
    got = [np.array([[4.0, 3.0]]), np.array([[2.0, 0.0], [2.0, 0.0]])]
    agreement, error = _compare(exact, got, vectors=True)
    assert agreement == pytest.approx((24 / 25 + 0 + 1) / 3)
    assert error == pytest.approx((np.sqrt(2) / 5 + np.sqrt(8) / 2 + 1) / 3)
    # of scores: the best class of one row in three stays; |1| |1|, |2| |2|, |1| |0| on average
    agreement, error = _compare(exact, got, vectors=False)
    assert agreement == pytest.approx(1 / 3)
    assert error == pytest.approx((1 + 2 + 0.5) / 3)


def test_masks_fall_on_the_texts_own_tokens(tmp_path: Path) -> None:
    tokenizer = yosort.load(make(tmp_path / "m", "YosoForMaskedLM")).tokenizer
    mask = tokenizer.id_of("mask_token")
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 40):
        places: set[int] = set()
        row = Row([0, *range(100, 100 + n), 2], [0] * (n + 2))
        for _ in range(200):
            ids = _masked(row, tokenizer, rng).ids
            assert (ids[0], ids[-1], len(ids)) == (0, 2, n + 2)
            masked = {i for i, token in enumerate(ids) if token == mask}
            assert len(masked) == max(1, round(0.15 * n))
            assert [t for i, t in enumerate(ids) if i not in masked] == [
                t for i, t in enumerate(row.ids) if i not in masked
            ]
            places |= masked
        assert places == set(range(1, n + 1))
    assert _masked(Row([0, 2], [0, 0]), tokenizer, rng).ids == [0, 2]
    for given in ([0, 100, mask, 101, 2], [0, mask, 2]):  # a text that has one keeps what it has
        assert _masked(Row(given, [0] * len(given)), tokenizer, rng).ids == given


@pytest.mark.parametrize(
    ("num_hash", "hash_code_len", "length"), [(64, 8, 530), (32, 9, 327), (8, 8, 98), (64, 9, 577)]
)
def test_the_shipped_costs_decide_at_known_lengths(
    num_hash: int, hash_code_len: int, length: int
) -> None:
    config = yosort.YosoConfig(hash_code_len=hash_code_len)
    assert DEFAULT_COSTS.sampled_from(config, num_hash) == length


def test_long_texts_are_cut_if_asked_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / "m", "YosoModel")
    texts = [*["a"] * 5, "word " * 200, "b"]
    with pytest.raises(yosort.InputError, match=r"inputs\[5\]: text too long"):
        calibrate(folder, texts, num_hashes=[1], seeds=1)
    # The number is that of the input, though only some of them are run.
    with pytest.raises(yosort.InputError, match=r"inputs\[5\]: text too long"):
        calibrate(folder, [*texts[:6]], num_hashes=[1], seeds=1, limit=2)
    found = calibrate(folder, texts[5:], num_hashes=[1], seeds=1, overflow="truncate")
    assert found.tokens == (64 + 3) / 2
    source = tmp_path / "a.txt"
    command = ["calibrate", str(folder), str(source), "--num-hashes", "1", "--seeds", "1"]
    command += ["--limit", "9999"]
    for after in (5000, 0):  # all are read before any is looked at
        source.write_text("\n".join([*texts, *["b"] * after]), encoding="utf-8")
        assert main(command) == 1
        error = capsys.readouterr().err
        assert f"{source}, line 6: text too long" in error
        assert "--overflow truncate cuts it" in error
    assert main([*command, "--overflow", "truncate"]) == 0


def test_what_cannot_be_plotted_is_said_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    command = ["calibrate", "no/such/model", str(tmp_path / "a.txt"), "--plot", "dial.svg"]
    assert main(command) == 1
    assert "pip install matplotlib" in capsys.readouterr().err


def test_a_missing_column_names_the_keys_of_the_models_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("mail,label\nx,1\n", encoding="utf-8")
    for name, keys in [
        ("YosoModel", "text"),
        ("YosoForQuestionAnswering", "question and context"),
        ("YosoForMultipleChoice", "prompt and choices"),
    ]:
        folder = make(tmp_path / name, name)
        assert main(["calibrate", str(folder), str(tmp_path / "a.csv")]) == 1
        said = f"line 2: wanted {keys}, got the columns 'mail', 'label'"
        assert said in capsys.readouterr().err
