"""`yosort.adopt`: what the folder made answers, what is refused, what the command says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import save_unigram

import yosort
from adoption import folders
from yosort.adoption import original
from yosort.adoption.sources import read_source
from yosort.adoption.texts import Tokens, own_texts
from yosort.cli import main
from yosort.model.encoder import prepare_encoder
from yosort.ops import get_ops
from yosort.tasks import bundled_model

TEXTS = folders.texts(150)
NEW = folders.texts(20, seed=9)


def vectors(model: yosort.YosoModel, texts: list[str]) -> np.ndarray:
    found = yosort.pipeline("feature-extraction", model)(texts, pooling="mean", normalize=True)
    return np.array(found)


def originals(folder: Path, texts: list[str]) -> np.ndarray:
    """Return the original's vectors, computed in plain NumPy."""
    source, tokenizer = read_source(folder), yosort.Tokenizer.from_pretrained(folder)
    encoder = prepare_encoder(source.config, source.weights, get_ops("reference"))
    rows = [Tokens.of([np.array(tokenizer(text)["input_ids"])]) for text in texts]
    return np.concatenate([row.pooled(original.encode(encoder, row), "mean") for row in rows])


def test_the_new_model_is_near_the_original_and_the_report_is_true(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    found = yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9, positions=100)
    model = yosort.load(tmp_path / "yoso")
    assert type(model) is yosort.YosoModel
    assert model.config.hash_code_len == found.hash_code_len == 9
    held = TEXTS[::5]
    cosines = (vectors(model, held) * originals(source, held)).sum(axis=1)
    by_name = {setting.name: setting for setting in found.settings}
    assert by_name["exact"].cosine == pytest.approx(cosines.mean(), abs=1e-5)
    # Held-out texts choose a little; these did not.
    assert (vectors(model, NEW) * originals(source, NEW)).sum(axis=1).mean() > 0.97
    assert list(by_name) == ["original", "exact", "16", "32", "64", "128"]
    assert by_name["16"].cosine < by_name["128"].cosine < by_name["exact"].cosine
    assert (found.texts, found.held_out) == (120, 30)
    assert len(found.layers) == 2
    assert 0 < max(found.layers) < 0.4


def test_copied_weights_are_farther_than_fitted_ones(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9, positions=40)
    fitted = yosort.load(tmp_path / "yoso")
    read = read_source(source)
    fitted.save_pretrained(tmp_path / "copied")
    from safetensors.numpy import load_file, save_file

    stored = load_file(tmp_path / "copied" / "model.safetensors")
    names = [name for name in stored if ".attention." in name]
    prefix = "" if names[0] in read.weights else "yoso."
    stored |= {name: read.weights[prefix + name] for name in names}
    save_file(stored, tmp_path / "copied" / "model.safetensors")
    wanted = originals(source, NEW)
    copied = vectors(yosort.load(tmp_path / "copied"), NEW)
    assert 1 - (vectors(fitted, NEW) * wanted).sum(axis=1).mean() < (
        0.5 * (1 - (copied * wanted).sum(axis=1).mean())
    )


def test_positions_repeat_and_the_tokenizer_comes_along(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9, positions=100)
    table = yosort.load(tmp_path / "yoso").config
    assert table.max_position_embeddings == 100
    from safetensors.numpy import load_file

    stored = load_file(tmp_path / "yoso" / "model.safetensors")
    name = next(name for name in stored if "position_embeddings" in name)
    theirs = folders.weights()["embeddings.position_embeddings.weight"]
    assert not stored[name][:2].any()  # which no text reads
    np.testing.assert_array_equal(stored[name][2:42], theirs)
    np.testing.assert_array_equal(stored[name][42:82], theirs)
    np.testing.assert_array_equal(stored[name][82:], theirs[:20])
    before = yosort.Tokenizer.from_pretrained(source)
    after = yosort.Tokenizer.from_pretrained(tmp_path / "yoso")
    pair = ("The dog", "sees a RED bird")
    assert dict(after(*pair)) == dict(before(*pair))
    assert dict(after(*pair))["token_type_ids"][-1] == 1
    assert after.model_max_length == 100
    long = "the dog " * 45
    assert vectors(yosort.load(tmp_path / "yoso"), [long]).shape == (1, 32)


@pytest.mark.parametrize("kind", ["BPE", "Unigram"])
def test_other_tokenizers_come_along(tmp_path: Path, kind: str) -> None:
    size = yosort.YosoConfig.from_pretrained(bundled_model()).vocab_size
    fields = {"vocab_size": size, "pad_token_id": 1, "type_vocab_size": 1, "model_type": "roberta",
              "max_position_embeddings": 102}  # fmt: skip
    source = folders.write(tmp_path / "roberta", folders.weights(**fields), **fields)
    for path in source.glob("tokenizer*"):
        path.unlink()
    if kind == "BPE":
        for path in bundled_model().glob("*token*"):
            shutil.copy(path, source / path.name)
    else:
        save_unigram(source)
        facts = {"tokenizer_class": "XLMRobertaTokenizer", "mask_token": "<mask>"}
        (source / "tokenizer_config.json").write_text(json.dumps(facts), encoding="utf-8")
    yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9)
    before = yosort.Tokenizer.from_pretrained(source)
    after = yosort.Tokenizer.from_pretrained(tmp_path / "yoso")
    for text in (*TEXTS[:5], "  Naïve  <mask> cafés!\n"):
        assert dict(after(text, "two")) == dict(before(text, "two"))
    assert after.mask_token == "<mask>"
    # RoBERTa's first position is row 2, as YOSO's is.
    assert (vectors(yosort.load(tmp_path / "yoso"), NEW) * originals(source, NEW)).sum() > 19


@pytest.mark.parametrize(
    ("head", "name", "task"),
    [
        ("mlm", "BertForPreTraining", "YosoForMaskedLM"),
        ("mlm", "BertForMaskedLM", "YosoForMaskedLM"),
        ("answers", "BertForQuestionAnswering", "YosoForQuestionAnswering"),
        ("classifier", "BertForTokenClassification", "YosoForTokenClassification"),
    ],
)
def test_heads_carry_over_as_they_are(tmp_path: Path, head: str, name: str, task: str) -> None:
    tensors = folders.weights(head)
    fields = {"architectures": [name], **({"num_labels": 3} if head == "classifier" else {})}
    source = folders.write(tmp_path / "bert", tensors, **fields)
    found = yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9, positions=40)
    assert found.architecture == task
    from safetensors.numpy import load_file

    stored = load_file(tmp_path / "yoso" / "model.safetensors")
    heads = [n for n in tensors if n.startswith(("cls.predictions", "classifier", "qa_outputs"))]
    for weight in heads:
        np.testing.assert_array_equal(stored[weight], tensors[weight])
    agreement = [setting.agreement for setting in found.settings]
    assert agreement[0] == 1
    assert agreement[1] is not None
    # Of some nine tokens, or 25 words, chance finds a ninth or less.
    assert agreement[1] > 0.5
    assert type(yosort.load(tmp_path / "yoso")).__name__ == task


def test_a_classification_head_is_fitted_and_its_error_said(tmp_path: Path) -> None:
    tensors = folders.weights("classifier")
    source = folders.write(
        tmp_path / "bert", tensors, architectures=["BertForSequenceClassification"],
        id2label={0: "bad", 1: "so-so", 2: "good"},
    )  # fmt: skip
    texts = folders.texts(500)
    found = yosort.adopt(source, tmp_path / "yoso", texts, hash_code_len=9, positions=40)
    model = yosort.load(tmp_path / "yoso")
    assert model.config.label_names == ["bad", "so-so", "good"]
    tokenizer = model.tokenizer
    assert tokenizer is not None
    read = read_source(source)
    encoder = prepare_encoder(read.config, read.weights, get_ops("reference"))
    errors, same = [], []
    for text in texts[::5]:
        ids = np.array(tokenizer(text)["input_ids"])
        first = original.encode(encoder, Tokens.of([ids]))[0]
        pooled = np.tanh(tensors["bert.pooler.dense.weight"] @ first
                         + tensors["bert.pooler.dense.bias"])  # fmt: skip
        wanted = tensors["classifier.weight"] @ pooled + tensors["classifier.bias"]
        logits = model(ids[None]).logits[0]
        errors.append(logits - wanted)
        same.append(logits.argmax() == wanted.argmax())
    assert found.classifier_error == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=5e-5)
    assert found.settings[1].agreement == pytest.approx(np.mean(same))
    assert np.mean(same) > 0.8
    assert "the classification head's scores are off by" in found.table()


def test_hash_code_len_is_chosen_and_the_bar_counts_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folders.write(tmp_path / "bert")
    found = yosort.adopt(source, tmp_path / "yoso", TEXTS, positions=40, progress=True)
    assert found.hash_code_len in (7, 9, 11)
    assert yosort.load(tmp_path / "yoso").config.hash_code_len == found.hash_code_len
    assert re.search(r"\rfitting: 100%\|.*[\d.]k/[\d.]+k .*token/s\]", capsys.readouterr().err)


def refuse(folder: Path, out: Path, message: str, texts: Any = TEXTS, **options: Any) -> None:
    before = sorted(out.parent.iterdir())
    with pytest.raises(yosort.YosortError, match=message):
        yosort.adopt(folder, out, texts, **options)
    assert sorted(out.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "mpnet"}, "relative positions"),
        ({"model_type": "deberta-v2"}, "relative positions"),
        ({"position_embedding_type": "relative_key"}, "relative positions"),
        ({"model_type": "modernbert"}, "rotary"),
        ({"model_type": "roberta-prelayernorm"}, "pre-norm"),
        ({"model_type": "albert"}, "share weights"),
        ({"model_type": "gpt2"}, "decoder"),
        ({"is_decoder": True}, "decoder"),
        ({"model_type": "yoso"}, "YOSO model already"),
        ({"model_type": "whatever"}, "none of the families.*bert, roberta"),
        ({"model_type": None}, "none of the families"),
        ({"model_type": ["bert"]}, "none of the families"),
        ({"architectures": ["BertForMultipleChoice"]}, "encoder_only=True"),
        ({"hidden_size": 64}, "position table"),
        ({"intermediate_size": 40}, "wrong shape"),
        ({"num_hidden_layers": 3}, "missing"),
        ({"num_hidden_layers": 1}, "unexpected"),
        ({"num_attention_heads": 5}, "num_attention_heads"),
        ({"max_position_embeddings": 41}, "position table: wanted shape"),
        ({"hidden_act": "snake"}, "hidden_act"),
        ({"vocab_size": 20}, "wrong shape"),
        ({"architectures": ["BertForQuestionAnswering"]}, "qa_outputs"),
        ({"architectures": ["BertForSequenceClassification"]}, "classification head"),
    ],
)
def test_other_models_are_refused_and_nothing_is_written(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    source = folders.write(tmp_path / "bert", **fields)
    refuse(source, tmp_path / "out", message)


def test_what_is_no_folder_or_has_no_weights_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "nothing", tmp_path / "out", "no such folder")
    source = folders.write(tmp_path / "bert")
    (source / "model.safetensors").unlink()
    refuse(source, tmp_path / "out", "model.safetensors")
    source = folders.write(tmp_path / "bert")
    (source / "tokenizer.json").unlink()
    refuse(source, tmp_path / "out", "tokenizer.json")


def test_texts_that_are_empty_or_few_are_refused(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    refuse(source, tmp_path / "out", "at least 20 texts", [])
    refuse(source, tmp_path / "out", "at least 20 texts", TEXTS[:19])
    refuse(source, tmp_path / "out", r"texts\[3\]: wanted a text, got an empty one",
           [*TEXTS[:3], " ", *TEXTS])  # fmt: skip
    refuse(source, tmp_path / "out", r"texts\[0\]: wanted a text, got None", [None])
    for odd in ("the dog", b"the dog", 5):
        refuse(source, tmp_path / "out", "texts: wanted several texts", odd)


def test_texts_that_are_all_the_same_are_enough_to_go_on(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    yosort.adopt(source, tmp_path / "out", ["the dog"] * 30, hash_code_len=9, positions=40)
    found = vectors(yosort.load(tmp_path / "out"), ["the dog", "a big cat sees the bird"])
    assert np.isfinite(found).all()
    assert (found[:1] * originals(source, ["the dog"])).sum() > 0.99


def test_long_texts_are_cut_and_tokens_are_limited(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    long = ["the dog sees a bird " * 30] * 40
    found = yosort.adopt(
        source, tmp_path / "out", long, hash_code_len=9, max_tokens=1000, positions=40
    )
    assert (found.texts, found.held_out, found.tokens) == (20, 5, 1000)


def test_an_output_that_exists_is_refused_and_stays(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    refuse(source, tmp_path / "out", "wanted a new folder")
    assert (tmp_path / "out" / "mine.txt").read_text(encoding="utf-8") == "mine"
    refuse(source, source, "wanted a new folder")


def test_sentences_are_here_where_there_are_no_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = own_texts()
    assert len(texts) == len(set(texts)) == 1200
    assert all(text.strip() == text and text.isascii() for text in texts)
    # Most are sentences, and some as long as what a sentence encoder is given.
    lengths = sorted(len(text.split()) for text in texts)
    assert lengths[600] < 15
    assert lengths[-60] > 60
    # Of words that the tokenizer does not know a text is little; of all words, next to nothing.
    source = folders.write(tmp_path / "bert")
    arguments = ["adopt", str(source), str(tmp_path / "out"), "--hash-code-len", "9"]
    assert main([*arguments, "--max-tokens", "1000", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    tokenizer = yosort.Tokenizer.from_pretrained(source)
    count, tokens = 0, 0
    while tokens < 1000:
        tokens += min(40, len(tokenizer(texts[count])["input_ids"]))
        count += 1
    assert (report["texts"] + report["held_out"], report["tokens"]) == (count, tokens)


def test_a_place_that_cannot_be_written_is_told_before_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("fitted")

    monkeypatch.setattr("yosort.adoption.adopting.fit", never)
    source = folders.write(tmp_path / "bert")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (
        ("file/out", "file/out: cannot be written: .*Not a directory"),
        ("n" * 250, "nnn: cannot be written: .*too long"),
        ("new/" + "n" * 300, "cannot be written: .*too long"),
        ("loop", "wanted a new folder"),
    ):
        with pytest.raises(yosort.CheckpointError, match=message):
            yosort.adopt(source, tmp_path / name, TEXTS)

    def refuse_all(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse_all)
        refuse(source, tmp_path / "out", r"out: cannot be written: .*Permission denied")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bert", "file", "loop"]


def test_a_disk_that_is_full_is_told_before_the_fit_or_when_it_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folders.write(tmp_path / "bert")
    usage = type("Usage", (), {"free": 60_000})
    with monkeypatch.context() as patch:
        patch.setattr("yosort.saving.shutil.disk_usage", lambda path: usage)
        patch.setattr("yosort.adoption.adopting.fit", None)
        refuse(source, tmp_path / "out", "it takes 1 MB, and the disk has 0 MB left")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yosort.model.folder.write_state", full)
    refuse(source, tmp_path / "out", r"out: cannot be written: .*No space left", hash_code_len=9)


def test_options_are_checked(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    refuse(source, tmp_path / "out", "positions: wanted at least the original's 40", positions=39)
    refuse(source, tmp_path / "out", "None or an integer from 1 to 16, got 17", hash_code_len=17)
    yosort.adopt(source, tmp_path / "out", TEXTS, hash_code_len=16, positions=40)
    refuse(source, tmp_path / "new", "hash_code_len", hash_code_len=0)
    refuse(source, tmp_path / "new", "max_tokens", max_tokens=0)


def write_modules(folder: Path, *kinds: str, **pooling: Any) -> None:
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"x.models.{kind}"}
        for i, kind in enumerate(("Transformer", *kinds))
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir(exist_ok=True)
    text = json.dumps({"pooling_mode": "mean", **pooling})
    (folder / "1_Pooling" / "config.json").write_text(text, encoding="utf-8")


def test_a_folder_of_sentence_transformers_keeps_its_pooling(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    write_modules(source, "Pooling", "Normalize", pooling_mode="cls")
    limits = {"max_seq_length": 20, "do_lower_case": True}
    (source / "sentence_bert_config.json").write_text(json.dumps(limits), encoding="utf-8")
    found = yosort.adopt(source, tmp_path / "yoso", TEXTS, hash_code_len=9)
    assert found.pooling == "cls"
    for name in ("modules.json", "1_Pooling/config.json"):
        assert (tmp_path / "yoso" / name).read_bytes() == (source / name).read_bytes()
    said = yosort.load(tmp_path / "yoso").sentence
    assert said is not None
    assert (said.pooling, said.normalize, said.max_length) == ("cls", True, 4096)
    assert said.do_lower_case


def test_modules_that_are_not_computed_are_refused(tmp_path: Path) -> None:
    source = folders.write(tmp_path / "bert")
    write_modules(source, "Pooling", "Dense")
    refuse(source, tmp_path / "out", "Dense in 2_Dense; encoder_only=True")
    yosort.adopt(source, tmp_path / "out", TEXTS, hash_code_len=9, positions=40, encoder_only=True)
    assert not (tmp_path / "out" / "modules.json").exists()
    write_modules(source, "Pooling", pooling_mode="max")
    refuse(source, tmp_path / "out2", "got 'max'; encoder_only=True")


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    source = folders.write(tmp_path / "bert")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    arguments = ["adopt", str(source), str(tmp_path / "out"), "--hash-code-len", "9"]
    arguments += ["--texts", str(tmp_path / "texts.txt")]
    assert main([*arguments, "--positions", "64"]) == 0
    shown = capsys.readouterr().out
    assert "YosoModel, hash_code_len=9; fitted on 120 texts" in shown
    assert max(map(len, shown.splitlines())) <= 60
    assert not re.search(r"^\W*_", shown, re.M)  # nothing between the parts of a long line
    assert yosort.load(tmp_path / "out").config.max_position_embeddings == 64
    assert main(arguments) == 1
    assert "wanted a new folder" in capsys.readouterr().err
    arguments[2] = str(tmp_path / "more")
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"][0]["name"] == "original"
    assert found["folder"] == str(tmp_path / "more")
    (tmp_path / "texts.txt").write_text("the dog\n\nthe cat\n", encoding="utf-8")
    arguments[2] = str(tmp_path / "third")
    assert main(arguments) == 1
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"the dog\n\xe9\n", [], "texts.txt, line 2: wanted text in UTF-8, got other bytes"),
        (b'"the dog"\n3\n', ["--format", "jsonl"], "texts.txt, line 2: "),
        (b'"the dog"\n{\n', ["--format", "jsonl"], "texts.txt, line 2: not JSON"),
        (b"the dog\n" * 30, ["--max-tokens", "8"], "; --max-tokens 8 reads no more of them"),
        (None, [], "texts.txt: cannot be read: no such file\n"),
    ],
)
def test_texts_that_cannot_be_read_have_their_place(
    content: bytes | None, options: list[str], message: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source = folders.write(tmp_path / "bert")
    if content is not None:
        (tmp_path / "texts.txt").write_bytes(content)
    arguments = ["adopt", str(source), str(tmp_path / "out"), "--revision", "v2"]
    assert main([*arguments, "--texts", str(tmp_path / "texts.txt"), *options]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "--revision: without effect on a folder" in said
    assert not (tmp_path / "out").exists()
