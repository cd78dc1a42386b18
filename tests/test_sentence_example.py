"""The sentence example and its measures: attention as yosort has it, texts kept apart, numbers."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import yosort
from yosort.ops import definitions

ROOT = Path(__file__).resolve().parents[1]
WORDS = [f"w{i}" for i in range(40)]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script of the example by name."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "sentence"))

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        module = importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)  # other examples have scripts of the same names
        return module

    return load


def rows(rng: np.random.Generator, *shape: int) -> Any:
    """Return random rows of length 1."""
    x = rng.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parity
@pytest.mark.parametrize("bits", [5, 9])
def test_attention_is_yosort_s(example: Any, bits: int) -> None:
    torch = pytest.importorskip("torch")
    attention = example("attention")
    rng = np.random.default_rng(0)
    query = rows(rng, 2, 3, 9, 16)
    key = rows(rng, 2, 3, 9, 16) + query[..., ::-1, :]
    key /= np.linalg.norm(key, axis=-1, keepdims=True)
    value = rng.standard_normal((2, 3, 9, 16))
    q, k, v = (torch.tensor(x) for x in (query, key, value))
    wanted = definitions.l2_normalize(
        definitions.expected_attention(query, key, value, hash_code_len=bits)
    )
    np.testing.assert_allclose(attention.attend(q, k, v, bits, None), wanted, atol=1e-12)
    # One by one, as long texts are: the same.
    attention.ONE_BY_ONE = 1
    np.testing.assert_allclose(attention.attend(q, k, v, bits, None), wanted, atol=1e-12)
    # What is sampled has the chance of a common code as its mean.
    torch.manual_seed(0)
    drawn = [attention.collisions(q.float(), k.float(), bits, 255) for _ in range(60)]
    chance = definitions.collision_probability(query @ key.swapaxes(-1, -2), bits)
    np.testing.assert_allclose(sum(drawn) / len(drawn), chance, atol=0.03)


@pytest.mark.parity
def test_the_slope_of_the_chance(example: Any) -> None:
    torch = pytest.importorskip("torch")
    attention = example("attention")
    cosine = torch.linspace(-0.9, 0.9, 13, dtype=torch.float64, requires_grad=True)
    attention.CollisionProbability.apply(cosine, 5).sum().backward()
    step = 1e-6
    ends = (
        definitions.collision_probability(cosine.detach().numpy() + s, 5) for s in (-step, step)
    )
    low, high = ends
    np.testing.assert_allclose(cosine.grad, (high - low) / (2 * step), rtol=4e-3)


@pytest.mark.parity
def test_a_query_that_meets_no_key_has_a_bounded_slope(example: Any) -> None:
    torch = pytest.importorskip("torch")
    attention = example("attention")
    query = torch.nn.functional.normalize(torch.ones(1, 1, 2, 16), dim=-1)
    value = torch.ones(1, 1, 2, 16, requires_grad=True)
    torch.manual_seed(0)
    context = attention.attend(query, -query, value, 8, 16)
    assert not context.any()
    context.sum().backward()
    assert torch.isfinite(value.grad).all()
    assert value.grad.abs().max() < 100


def test_texts_are_held_out_by_their_names_and_excluded(
    example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = example("prepare")
    names = [f"{a}{b}" for a in "abcde" for b in "uvwxyz"]
    texts = [f"Paragraph of the {n} one. It has {n} in it, twice." for n in names]
    monkeypatch.setattr(
        prepare,
        "synsets",
        lambda folder: ((n, [t] * 2) for n, t in zip(names, texts, strict=True)),
    )
    monkeypatch.setattr(prepare, "packages", lambda: iter([("p", ["long text here " * 60])]))
    for name in ("chapters", "pages"):
        monkeypatch.setattr(prepare, name, lambda: iter(()))
    monkeypatch.setattr(prepare, "mails", lambda folder: iter(()))
    monkeypatch.setattr(prepare, "is_held_out", lambda name: name == "bv")
    measured = tmp_path / "measured.csv"
    measured.write_text('"paragraph of the  CW one, 7!",x\n', encoding="utf-8")
    arguments = ["prepare", "--exclude", str(measured), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    prepare.main()
    sides = [
        (tmp_path / f"{prefix}short.txt").read_text(encoding="utf-8").splitlines()
        for prefix in ("", "heldout-")
    ]
    assert sides[1] == ["Paragraph of the bv one.", "It has bv in it, twice."]
    assert len(sides[0]) == 2 * 28 + 1  # each once; of the excluded one its other sentence
    assert "Paragraph of the cw one." not in sides[0]
    assert "It has cw in it, twice." in sides[0]
    (long,) = (tmp_path / "long.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(long).startswith("long text here")


@pytest.mark.parity
def test_training_goes_on_and_nears_the_original(
    example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    original, adopted, out = tmp_path / "original", tmp_path / "adopted", tmp_path / "out"
    config = transformers.BertConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=512, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(original)
    tokenizer.save(str(original / "tokenizer.json"))
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(6, 12))) for _ in range(400)]
    yosort.adopt(original, adopted, texts[:60], hash_code_len=5, positions=512)
    student = transformers.YosoModel.from_pretrained(adopted)
    with torch.no_grad():  # away from the original, so that there is something to learn
        for layer in student.encoder.layer:
            layer.attention.output.dense.weight += 0.1 * torch.randn(32, 32)
    student.save_pretrained(adopted)
    document = json.dumps(" ".join(rng.choice(WORDS, 600)))
    for prefix in ("", "heldout-"):
        (tmp_path / f"{prefix}short.txt").write_text("\n".join(texts), encoding="utf-8")
        (tmp_path / f"{prefix}long.jsonl").write_text("\n".join([document] * 3), encoding="utf-8")
    train = example("train")
    monkeypatch.setattr(train, "LONG", {512: 1})
    monkeypatch.setattr(train, "BATCH_TOKENS", 256)
    monkeypatch.setattr(train, "POSITIONS", 512)
    entries = []
    for minutes in ("0.03", "0.06"):
        arguments = [
            "train", str(original), str(adopted), "--corpus", str(tmp_path),
            "--out", str(out), "--minutes", minutes, "--learning-rate", "1e-3", "--threads", "1",
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", arguments)
        train.main()
        log = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
        entries.append(json.loads(log[-1]))
    assert entries[1]["step"] > entries[0]["step"] > 0  # it went on
    first = json.loads(log[0])["held out"]
    assert entries[1]["held out"]["short exact"] > first["short exact"] + 0.003
    # The folder is yosort's, with what the adopted one had beside the weights.
    model = yosort.load(out / "model")
    assert model.config.hash_code_len == 5
    name = "encoder.layer.0.attention.self.query.weight"
    before, after = (
        load_file(folder / "model.safetensors")[name] for folder in (adopted, out / "model")
    )
    assert not np.array_equal(before, after)
    vectors = yosort.pipeline("feature-extraction", out / "model")(texts[:2], pooling="mean")
    assert np.isfinite(vectors).all()


def test_the_measures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import sentence
    from sentence_documents import Found, sentences

    assert sentence.spearman([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(0.8)
    assert list(sentence.ranks(np.array([5.0, 1.0, 5.0]))) == [2.5, 1.0, 2.5]
    vectors = {"a": [1.0, 0.0], "b": [0.9, 0.1], "c": [0.0, 1.0], "d": [0.1, 0.9], "e": [0.6, 0.5]}

    def encode(texts: Any) -> Any:
        found = np.array([vectors[t] for t in texts], np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    path = tmp_path / "intents.csv"
    path.write_text("text,category\na,x\nb,x\nc,y\nd,y\ne,y\n", encoding="utf-8")
    assert sentence.on_intents(encode, path) == 0.8  # e is nearest to b
    path.write_text("a,b,5\na,c,0\na,e,3\n", encoding="utf-8")
    assert sentence.on_pairs(encode, path) == pytest.approx(1)
    assert sentence.on_documents(encode, [Found("1", "a", "b"), Found("2", "e", "d")]) == 1.0
    text = "A title\n\nThis sentence is long enough to be a question. Short one.\n\n  --flag=7 x"
    assert sentences(text) == ["This sentence is long enough to be a question."]


def test_the_page_s_tables_are_those_of_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import sentence

    folder = ROOT / "examples" / "sentence"
    report = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    page = (folder / "README.md").read_text(encoding="utf-8")
    made = sentence.tables(report)
    assert made
    assert all(table in page for table in made)
