"""Texts as tokens, and the numbers that the report gives: each against its own definition."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import yosort
from adoption import folders
from yosort.adoption import adopting, comparing, fitting, original
from yosort.adoption.comparing import Setting
from yosort.adoption.fitting import Moments
from yosort.adoption.heads import classify, fit_classifier, score
from yosort.adoption.matching import SEEN, STEP, Example, _steps
from yosort.adoption.sources import Classifier, Source, read_source
from yosort.adoption.texts import Tokens, read_texts
from yosort.checkpoint.sentence import Sentence
from yosort.model.encoder import prepare_encoder
from yosort.ops import get_ops

TEXTS = folders.texts(60)


def packed(*lengths: int) -> Tokens:
    return Tokens.of([np.full(n, n, np.int64) for n in lengths])


def test_the_beginning_is_every_kth_text_of_all_lengths() -> None:
    tokens = packed(*[5] * 40, *[10] * 40)  # 600 tokens, the shortest first
    part = tokens.beginning(150)
    assert part.lengths.tolist() == [5] * 10 + [10] * 10
    assert tokens.beginning(600).lengths.tolist() == tokens.lengths.tolist()
    assert len(tokens.beginning(10_000)) == 80
    assert tokens.beginning(0).lengths.tolist() == [5]


def test_runs_are_neighbours_of_one_length() -> None:
    assert list(packed(3, 1, 3, 2).runs()) == [
        (slice(0, 1), 1), (slice(1, 3), 2), (slice(3, 9), 3),
    ]  # fmt: skip


def test_vectors_of_texts_are_their_tokens_mean_or_first_of_length_1(
    rng: np.random.Generator,
) -> None:
    tokens, x = packed(2, 3), rng.standard_normal((5, 4)).astype(np.float32)
    for pooling, rows in (("mean", [x[:2].mean(0), x[2:].mean(0)]), ("cls", [x[0], x[2]])):
        wanted = np.stack([row / np.linalg.norm(row) for row in rows])
        np.testing.assert_allclose(tokens.pooled(x, pooling), wanted, rtol=1e-6)
    assert tokens.pooled(x, "mean").dtype == np.float32
    assert (tokens.pooled(np.zeros_like(x), "cls") == 0).all()


def test_a_share_of_the_tokens_is_masked_but_no_special_one() -> None:
    ids = np.tile([2, 9, 8, 7, 3], 4000)
    tokens = Tokens(ids, np.arange(0, len(ids) + 1, 5))
    masked = tokens.masked(4, 0.15, [2, 3])
    np.testing.assert_array_equal(masked.offsets, tokens.offsets)
    changed = masked.ids != ids
    assert (masked.ids[changed] == 4).all()
    assert not changed[np.isin(ids, [2, 3])].any()
    assert changed[~np.isin(ids, [2, 3])].mean() == pytest.approx(0.15, abs=0.01)
    np.testing.assert_array_equal(tokens.masked(4, 0.15, [2, 3]).ids, masked.ids)


def test_every_fifth_text_is_held_out_and_reading_ends_at_enough_tokens(tmp_path: Path) -> None:
    tokenizer = yosort.Tokenizer.from_pretrained(folders.write(tmp_path))
    read = 0

    def texts() -> Any:
        nonlocal read
        for read in range(1, 100):
            yield f"the {'dog ' * (read % 7)}"

    kept, held = read_texts(texts(), tokenizer, Sentence(), longest=40, vocabulary=24, limit=149)
    sizes = [3 + number % 7 for number in range(1, read + 1)]
    assert sum(sizes[:-1]) == 148  # and the next has 8 tokens
    assert held.lengths.tolist() == sorted(sizes[::5])
    assert kept.lengths.tolist() == sorted(n for i, n in enumerate(sizes) if i % 5)
    sizes_of = {"longest": 40, "limit": 10**9}
    assert read_texts(TEXTS[:20], tokenizer, Sentence(), vocabulary=24, **sizes_of)
    with pytest.raises(yosort.InputError, match=r"ids below vocab_size \(23\), got 23 of the tok"):
        read_texts(["the small red dog"] * 20, tokenizer, Sentence(), vocabulary=23, **sizes_of)


def steps(*lengths: int) -> tuple[list[tuple[int, int]], int]:
    """Return the parts that a match sees, and how many there are."""
    example = Example(packed(*lengths), np.empty(0, np.float32), lambda rows: (rows, rows))
    return [(rows.start, rows.stop) for rows, _ in _steps(example)], len(example.parts())


def test_matching_sees_each_text_as_often_and_no_more_than_it_may() -> None:
    found, count = steps(*[10] * 500)
    size = STEP // 10 * 10
    assert count == -(-5000 // size)
    assert found[:count] != found[count : 2 * count]
    for part in {*found}:
        assert found.count(part) == 4
        assert part[1] - part[0] == size or part[1] == 5000
    found, count = steps(*[STEP * 2] * 100)  # a text that is longer than a step is one
    assert count == 100
    assert len(found) == len({*found}) == SEEN // (STEP * 2)


def test_of_a_head_that_carries_over_the_scores_are_its_formula(rng: np.random.Generator) -> None:
    config = yosort.YosoConfig(hidden_size=8, num_attention_heads=2, hidden_act="relu")
    ops, x = get_ops("reference"), rng.standard_normal((5, 8))
    dense, bias, out, end = (rng.standard_normal(shape) for shape in ((8, 8), 8, (3, 8), 3))
    weights: dict[str, Any] = {
        "classifier.dense.weight": dense, "classifier.dense.bias": bias,
        "classifier.out_proj.weight": out, "classifier.out_proj.bias": end,
        "classifier.weight": out, "classifier.bias": end,
        "qa_outputs.weight": out[:2], "qa_outputs.bias": end[:2],
    }  # fmt: skip
    for name, wanted in (
        ("YosoForTokenClassification", x @ out.T + end),
        ("YosoForQuestionAnswering", x @ out[:2].T + end[:2]),
        ("YosoForSequenceClassification", np.maximum(x @ dense.T + bias, 0) @ out.T + end),
    ):
        np.testing.assert_allclose(score(ops, name, config, weights, x), wanted, rtol=1e-5)


def test_a_fitted_classifier_is_the_best_of_scales_and_ridges_on_held_out_texts(
    rng: np.random.Generator,
) -> None:
    config = yosort.YosoConfig(hidden_size=6, num_attention_heads=2, hidden_act="gelu")
    ops = get_ops("reference")
    dense, bias = rng.standard_normal((6, 6)) / 2, rng.standard_normal(6) / 2
    out, end = rng.standard_normal((2, 6)), rng.standard_normal(2) + 3
    theirs: Any = Classifier("tanh", (dense, bias), (out, end))
    x = rng.standard_normal((300, 6)), rng.standard_normal((200, 6))
    wanted = tuple(classify(ops, theirs, rows) for rows in x)
    np.testing.assert_allclose(wanted[0], np.tanh(x[0] @ dense.T + bias) @ out.T + end, rtol=1e-5)
    weights, error = fit_classifier(ops, config, theirs, x, (wanted[0], wanted[1]))
    found = score(ops, "YosoForSequenceClassification", config, weights, x[1])
    assert error == pytest.approx(np.sqrt(np.square(found - wanted[1]).mean()), rel=1e-3)
    assert error < 0.5 * wanted[1].std()
    scale = weights["classifier.dense.weight"][0, 0] / dense[0, 0]
    np.testing.assert_allclose(weights["classifier.dense.weight"], scale * dense, rtol=1e-5)
    np.testing.assert_allclose(weights["classifier.dense.bias"], scale * bias, rtol=1e-5)
    # Least squares by NumPy's own solver, on each scale.
    errors = []
    for tried in (0.25, 0.5, 1.0, 2.0):
        maps = ops.linear_map([tried * dense], [tried * bias])
        inner = [
            np.column_stack([ops.linear(rows, maps, "gelu"), np.ones(len(rows))]) for rows in x
        ]
        solved = np.linalg.lstsq(inner[0], wanted[0], rcond=None)[0]
        errors.append(np.sqrt(np.square(inner[1] @ solved - wanted[1]).mean()))
    assert error <= 1.05 * min(errors)


def adopted(tmp_path: Path, head: str | None, kind: str, **fields: Any) -> yosort.Adoption:
    source = folders.write(tmp_path / "f", folders.weights(head), architectures=[kind], **fields)
    return yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9, positions=600)


def halves(tmp_path: Path, *, masked: bool = False) -> tuple[Any, Any, Tokens]:
    """Return the original's hidden states of the held-out texts and what the new model answers."""
    source = read_source(tmp_path / "f")
    tokenizer = yosort.Tokenizer.from_pretrained(tmp_path / "f")
    held = Tokens.of([np.array(tokenizer(text)["input_ids"]) for text in TEXTS[::5]])
    if masked:
        held = held.masked(4, 0.15, range(5))
    encoder = prepare_encoder(source.config, source.weights, get_ops("cpu"))
    model = yosort.load(tmp_path / "yoso")
    rows = zip(held.offsets[:-1], held.offsets[1:], strict=True)
    ours = [model(held.ids[None, a:b]) for a, b in rows]
    return original.encode(encoder, held), ours, held


def test_agreement_on_answers_is_that_of_their_starts_and_ends(tmp_path: Path) -> None:
    found = adopted(tmp_path, "answers", "BertForQuestionAnswering")
    theirs, ours, held = halves(tmp_path)
    tensors = folders.weights("answers")
    scores = theirs @ tensors["qa_outputs.weight"].T + tensors["qa_outputs.bias"]
    same = []
    for i, (a, b) in enumerate(zip(held.offsets[:-1], held.offsets[1:], strict=True)):
        same.append(scores[a:b, 0].argmax() == ours[i].start_logits[0].argmax())
        same.append(scores[a:b, 1].argmax() == ours[i].end_logits[0].argmax())
    assert 0 < np.mean(same) < 1
    assert found.settings[1].agreement == pytest.approx(np.mean(same))
    assert found.classifier_error is None
    assert "off by" not in found.table()


def test_agreement_on_masked_tokens_is_that_of_their_best_words(tmp_path: Path) -> None:
    found = adopted(tmp_path, "mlm", "BertForMaskedLM")
    theirs, ours, held = halves(tmp_path, masked=True)
    source, rows = read_source(tmp_path / "f"), np.flatnonzero(held.ids == 4)
    scores = score(get_ops("cpu"), "YosoForMaskedLM", source.config, source.weights, theirs[rows])
    logits = np.concatenate([one.logits[0] for one in ours])[rows]
    same = scores.argmax(axis=1) == logits.argmax(axis=1)
    assert len(same) > 5
    assert 0 < same.mean() < 1
    assert found.settings[1].agreement == pytest.approx(same.mean())


def test_without_a_mask_nothing_is_guessed(tmp_path: Path) -> None:
    source = folders.write(
        tmp_path / "f", folders.weights("mlm"), architectures=["BertForMaskedLM"]
    )
    path = source / "tokenizer_config.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    del facts["mask_token"]  # which a BERT's class has where nothing is said
    facts["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(facts), encoding="utf-8")
    found = yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9, positions=40)
    assert found.architecture == "YosoForMaskedLM"
    assert [setting.agreement for setting in found.settings[1:]] == [None] * 5


def test_a_sampled_setting_is_what_the_new_model_answers_with_its_usual_seed(
    tmp_path: Path,
) -> None:
    found = adopted(tmp_path, None, "BertModel")
    theirs, _, held = halves(tmp_path)
    model = yosort.load(tmp_path / "yoso", attention="sampled", num_hash=32)
    rows = zip(held.offsets[:-1], held.offsets[1:], strict=True)
    ours = np.concatenate([model(held.ids[None, a:b]).last_hidden_state[0] for a, b in rows])
    wanted = (held.pooled(ours, "mean") * held.pooled(theirs, "mean")).sum(axis=1).mean()
    by_name = {setting.name: setting for setting in found.settings}
    # Of other seeds it is off by several times as much.
    assert by_name["32"].cosine == pytest.approx(wanted, abs=1e-3)


def test_agreement_on_one_label_is_that_of_its_sign(tmp_path: Path) -> None:
    fields = {"num_labels": 1, "id2label": {"0": "score"}}
    tensors = folders.weights("classifier")
    tensors["classifier.weight"] = tensors["classifier.weight"][:1]
    tensors["classifier.bias"] = np.zeros(1, np.float32)
    source = folders.write(
        tmp_path / "f", tensors, architectures=["BertForTokenClassification"], **fields
    )
    found = yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9)
    theirs, ours, _ = halves(tmp_path)
    wanted = (theirs @ tensors["classifier.weight"].T)[:, 0] > 0
    same = wanted == (np.concatenate([one.logits[0] for one in ours])[:, 0] > 0)
    assert 0.5 < same.mean() < 1
    assert found.settings[1].agreement == pytest.approx(same.mean())


def test_a_bare_encoder_has_no_agreement_and_times_where_the_lengths_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(comparing, "_time", lambda run, config, n: asked.append(n) or n / 1000)
    found = adopted(tmp_path, None, "BertModel")
    first, *others = found.settings
    assert first == Setting("original", 1.0, None, (None, None))  # it takes 40
    assert [s.name for s in others] == ["exact", "16", "32", "64", "128"]
    assert {(s.agreement, s.seconds) for s in others} == {(None, (0.512, None))}  # 600 positions
    assert asked == [512] * 5
    table = found.table().splitlines()
    assert table[1].split() == ["cosine", "agreement", "s,", "512", "tokens", "s,", "4,096",
                                "tokens"]  # fmt: skip
    assert table[2].split() == ["original", "1.0000", "-", "-", "-"]
    assert table[3].split() == ["exact", f"{others[0].cosine:.4f}", "-", "0.512", "-"]
    assert table[-1] == "error of each layer's output, exact: " + " ".join(
        f"{error:.3f}" for error in found.layers
    )
    assert f"({found.tokens:,} tokens)" in table[0]


def test_a_length_that_fits_exactly_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_time", lambda run, config, n: n / 1000)
    fields = {"max_position_embeddings": 512}
    source = folders.write(tmp_path / "f", folders.weights(**fields), **fields)
    found = yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9, positions=512)
    assert {setting.seconds for setting in found.settings} == {(0.512, None)}


def test_a_time_is_the_better_of_two_runs_of_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 4.0, 10.0, 12.0])
    monkeypatch.setattr(comparing.time, "perf_counter", lambda: next(clock))
    seen = []
    config = yosort.YosoConfig(vocab_size=20)
    assert comparing._time(lambda tokens: seen.append(tokens) or tokens.ids, config, 50) == 2.0
    assert [tokens.lengths.tolist() for tokens in seen] == [[50], [50]]
    assert 0 <= seen[0].ids.min() < seen[0].ids.max() < 20


def test_the_hash_code_s_length_is_the_nearest_exact_and_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = {7: {None: 0.9, 64: 0.5}, 9: {None: 0.8, 64: 0.7}, 11: {None: 0.95, 64: 0.4}}
    bits: list[int] = []

    def fit(theirs: Any, weights: Any, config: Any, *tokens: Tokens, step: Any) -> Any:
        assert [len(part.ids) for part in tokens] == [400, 100]
        bits.append(config.hash_code_len)
        return weights, ()

    monkeypatch.setattr(adopting, "fit", fit)
    monkeypatch.setattr(adopting, "TRIED_ON", 400)
    monkeypatch.setattr(adopting, "encode", lambda ours, held, num_hash: num_hash)
    monkeypatch.setattr(Tokens, "pooled", lambda self, x, pooling: x)
    monkeypatch.setattr(adopting, "cosine", lambda num_hash, wanted: near[bits[-1]][num_hash])
    source: Source = read_source(folders.write(tmp_path))
    theirs = prepare_encoder(source.config, source.weights, get_ops("cpu"))
    tokens = packed(*[20] * 100)
    found = adopting._choose(source, theirs, (7, 9, 11), tokens, tokens, "mean", lambda count: None)
    assert (found, bits) == (9, [7, 9, 11])


def test_the_bar_s_end_is_each_token_through_each_layer_of_either_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tqdm

    made: list[Any] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            self.total, self.count = options["total"], 0
            made.append(self)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, tokens: int) -> None:
            self.count += tokens

    bits: list[int] = []

    def fit(theirs: Any, weights: Any, config: Any, *tokens: Tokens, step: Any) -> Any:
        bits.append(config.hash_code_len)
        return fitting.fit(theirs, weights, config, *tokens, step=step)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    monkeypatch.setattr(adopting, "fit", fit)
    monkeypatch.setattr(adopting, "TRIED_ON", 80)
    source = folders.write(tmp_path / "f")
    for options in ({"hash_code_len": 7}, {}):
        folder = tmp_path / f"yoso{len(made)}"
        options = {"positions": 40, **options}
        found = yosort.adopt(source, folder, TEXTS, progress=True, **options)  # type: ignore[arg-type]
        bar = made[-1]
        assert bar.count == bar.total
        assert (bar.total == 4 * found.tokens) == ("hash_code_len" in options)  # two layers
    assert bits == [7, 7, 9, 11, found.hash_code_len]


def test_the_folder_says_what_it_holds(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "f", dtype="float16", torch_dtype="float16")
    found = yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9, positions=64)
    assert found.folder == tmp_path / "yoso"
    assert found.pooling == "mean"
    config = json.loads((tmp_path / "yoso" / "config.json").read_text(encoding="utf-8"))
    assert (config["dtype"], config["torch_dtype"]) == ("float32", "float32")
    # What only sentence-transformers' folders have is not made up.
    assert not (tmp_path / "yoso" / "sentence_bert_config.json").exists()
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    names = {"modules.json": json.dumps(modules), "config_sentence_transformers.json": "{}"}
    for name, text in names.items():
        (source / name).write_text(text, encoding="utf-8")
    (source / "1_Pooling").mkdir()
    pooling = '{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}'
    (source / "1_Pooling" / "config.json").write_text(pooling, encoding="utf-8")
    found = yosort.adopt(source, tmp_path / "two", TEXTS, hash_code_len=9, positions=64)
    assert found.pooling == "mean"
    for name, text in {**names, "1_Pooling/config.json": pooling}.items():
        assert (tmp_path / "two" / name).read_text(encoding="utf-8") == text
    limits = json.loads((tmp_path / "two" / "sentence_bert_config.json").read_text())
    assert limits == {"max_seq_length": 64, "do_lower_case": False}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "f")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(yosort.CheckpointError, match=r"file.out: cannot be written"):
        yosort.adopt(source, tmp_path / "file" / "out", TEXTS, hash_code_len=9)


def test_more_positions_than_the_memory_holds_are_refused_before_the_texts_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folders.write(tmp_path / "f")
    with pytest.raises(yosort.DeviceError, match=r"^cpu: the position table needs.*fewer positio"):
        yosort.adopt(source, tmp_path / "yoso", TEXTS, positions=1 << 40)
    asked = []
    monkeypatch.setattr(adopting, "check_memory", lambda needed, *_, **__: asked.append(needed))
    row = 4 * 32 + 8  # of the table, and the number of the row that it repeats
    monkeypatch.setattr(adopting, "WORTH_ASKING", row * 50)
    for positions in (49, 50):
        yosort.adopt(source, tmp_path / f"{positions}", TEXTS, positions=positions, hash_code_len=9)
    assert asked == [row * 50]


def test_a_disk_is_asked_for_what_the_weights_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folders.write(tmp_path / "f")
    yosort.adopt(source, tmp_path / "yoso", TEXTS, positions=500, hash_code_len=9)
    written = sum(
        array.nbytes for array in load_file(tmp_path / "yoso" / "model.safetensors").values()
    )
    table = 4 * 42 * 32  # the original's, which is counted beside the new one
    for free, enough in ((written - 1, False), (written + table, True)):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr("yosort.saving.shutil.disk_usage", lambda path, usage=usage: usage)
        with (
            contextlib.nullcontext()
            if enough
            else pytest.raises(yosort.CheckpointError, match="two: cannot be written: it takes")
        ):
            yosort.adopt(source, tmp_path / "two", TEXTS, positions=500, hash_code_len=9)


def test_moments_of_two_halves_are_those_of_all(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((50, 3)) + 2, rng.standard_normal((50, 2)) - 1
    found = Moments.zero(3, 2)
    found.add(x[:20], y[:20])
    found.add(x[20:], y[20:])
    assert found.count == 50
    xx, xy = found.centred()
    np.testing.assert_allclose(xx, 50 * np.cov(x.T, bias=True))
    np.testing.assert_allclose(xy, (x - x.mean(0)).T @ (y - y.mean(0)))
