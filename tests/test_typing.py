"""What a type checker sees of the public calls: wrong keywords fail in the editor."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import yosort

api = pytest.importorskip("mypy.api")
# DeprecationWarnings of its own parts are not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")

#: Lines and what is wrong with each; "" for nothing, a type for what `reveal_type` shows.
LINES = [
    ("from yosort import AutoConfig, AutoModel, AutoTokenizer", ""),
    *(
        (f"from yosort import {name}", "")
        for names in yosort._RETURNED.values() for name in names
    ),
    ('classify = yosort.pipeline("text-classification")', ""),
    ('classify("a", topk=3)', "No overload variant"),
    ('classify(["a"], top_k=None, batch_size=8, truncation=True)', ""),
    ('reveal_type(classify("a"))', "list[TypedDict.*LabelScore"),
    ('reveal_type(classify(["a"], top_k=2))', "list[list[TypedDict.*LabelScore"),
    ('reveal_type(yosort.pipeline("sentiment-analysis"))', "TextClassificationPipeline"),
    ('tag = yosort.pipeline("ner", aggregation_strategy="simple")', ""),
    ('reveal_type(tag("a"))', "list[TypedDict.*Entity"),
    ('reveal_type(tag(["a", "b"]))', 'type is "list[list[TypedDict.*Entity'),
    ('reveal_type(tag(["a", "b"], is_split_into_words=True))', 'type is "list[TypedDict.*Entity'),
    ('reveal_type(tag([["a", "b"]], is_split_into_words=True))', 'type is "list[list[TypedDict'),
    ('reveal_type(tag(iter(["a"])))', 'Iterator[list[TypedDict.*Entity'),
    ('reveal_type(yosort.pipeline("ner", is_split_into_words=True)(["a"]))', 'type is "Any"'),
    ('tag("a", pooling="mean")', "No overload variant"),
    ('answer = yosort.pipeline("question-answering")', ""),
    ('reveal_type(answer(question="a", context="b"))', "TypedDict.*Answer"),
    ('answer(question="a", context="b", top_k=2, max_seq_len=30)', ""),
    ('reveal_type(answer("a", "b"))', "TypedDict.*Answer"),
    ('reveal_type(answer([{"question": "a", "context": "b"}]))',
     "Answer.*list[TypedDict"),
    ('reveal_type(answer(question=["a", "b"], context="c"))', "Answer.*list[TypedDict"),
    ('reveal_type(answer(question="a", context="b", top_k=2))', "Answer.*list[TypedDict"),
    ('reveal_type(answer("a", "b", top_k=2))', "Answer.*list[TypedDict"),
    ('reveal_type(answer([{"question": "a", "context": "b"}], top_k=2))',
     "Answer.*list[TypedDict.*list[TypedDict.*list[TypedDict"),
    ('reveal_type(yosort.pipeline("question-answering", top_k=2)(question="a", context="b"))',
     "Answer.*list[TypedDict"),
    ('reveal_type(yosort.pipeline("text-classification", top_k=None)("a"))',
     'type is "list[list[TypedDict'),
    ('reveal_type(yosort.pipeline("text-classification", top_k=2)({"text": "a"}))',
     'type is "list[TypedDict'),
    ('embed = yosort.pipeline("feature-extraction")', ""),
    ('reveal_type(embed("a"))', 'type is "list[list[list[float]]]"'),
    ('reveal_type(embed(["a"]))', 'type is "list[list[list[list[float]]]]"'),
    ('reveal_type(embed(iter(["a"])))', "Iterator[list[list[list[float]]]]"),
    ('reveal_type(embed("a", pooling="mean"))', 'type is "list[float]"'),
    ('reveal_type(embed(["a"], return_tensors="np"))', 'type is "list[numpy.ndarray'),
    ('mean = yosort.pipeline("feature-extraction", pooling="mean")', ""),
    ('reveal_type(mean("a"))', 'type is "list[float]"'),
    ('reveal_type(mean(["a"], normalize=True))', 'type is "list[list[float]]"'),
    ('arrays = yosort.pipeline("feature-extraction", pooling="cls", return_tensors=True)', ""),
    ('reveal_type(arrays("a"))', 'type is "numpy.ndarray'),
    ('reveal_type(arrays("a", pooling="mean"))', 'type is "Any"'),
    ('reveal_type(embed("a", chunks=9))', "list[TypedDict.*Part"),
    ('reveal_type(embed(["a"], chunks=9, return_tensors=True))', "list[list[TypedDict.*Part"),
    ('reveal_type(embed("a", spans=[(0, 1)]))', "list[TypedDict.*Part"),
    ('reveal_type(mean(["a"], spans=[[(0, 1)]]))', "list[list[TypedDict.*Part"),
    ('embed("a", poling="mean")', "No overload variant"),
    ('reveal_type(yosort.pipeline("multiple-choice")({"prompt": "a", "choices": ["b", "c"]}))',
     "list[TypedDict.*Choice"),
    ('reveal_type(yosort.pipeline("multiple-choice")(prompt="a", choices=["b", "c"], top_k=1))',
     "list[TypedDict.*Choice"),
    ('rank = yosort.pipeline("rerank")', ""),
    ('reveal_type(rank("a", ["b", "c"], top_k=1))', "list[TypedDict.*Ranked"),
    ('reveal_type(rank(query="a", documents=["b"]))', "list[TypedDict.*Ranked"),
    ('reveal_type(rank([{"query": "a", "documents": ["b"]}]))', "list[list[TypedDict.*Ranked"),
    ('rank("a", ["b"], top_n=1)', "No overload variant"),
    ('yosort.pipeline("feature-extraction")("a", pooling="mean", max_length=3)', ""),
    ('yosort.pipeline("fill-mask")("a", top_k="b")', "No overload variant"),
    ('model = yosort.YosoForMaskedLM.from_pretrained("x", torch_dtype="float32")', ""),
    ("reveal_type(model([[1]]))", "MaskedLMOutput"),
    ("model([[1]], postions=[[0, 0]])", 'Unexpected keyword argument "postions"'),
    ('inputs = AutoTokenizer.from_pretrained("x")("a", return_tensors="np")', ""),
    ("reveal_type(model(**inputs))", "MaskedLMOutput"),
    ("scores_of_tokens, states = model(**inputs, return_dict=False)", ""),
    ("reveal_type(model([[1]], return_dict=False))", "tuple[Any, ...]"),
    ("reveal_type(model([[1]], seed=[0, 1]))", "list[yosort.model.outputs.MaskedLMOutput]"),
    ("reveal_type(model([[1]], return_dict=bool(inputs)))", 'type is "Any"'),
    ('scores = yosort.YosoForSequenceClassification.from_pretrained("x")', ""),
    ('reveal_type(scores([[1]], seed=range(3)))', "list[yosort.*SequenceClassifierOutput]"),
    ("reveal_type(scores.config.id2label[0])", '"str"'),
    ("reveal_type(scores.config.num_labels + 1)", '"int"'),
    ('reveal_type(scores.config.label2id["x"])', '"int"'),
    ("reveal_type(scores([[1]]))", "SequenceClassifierOutput"),
    ("scores([[1]]).last_hidden_state", 'has no attribute "last_hidden_state"'),
    ("reveal_type(scores.eval())", "YosoForSequenceClassification"),
    ('reveal_type(yosort.load("x"))', "PretrainedModel"),
    ('reveal_type(AutoTokenizer.from_pretrained("x"))', "yosort.tokenizer.tokenizer.Tokenizer"),
    ('reveal_type(AutoConfig.from_pretrained("x").hidden_act)', "str"),
    ('reveal_type(AutoModel.from_pretrained("x")([[1]]))', "outputs.BaseModelOutput"),
    *(
        (f'reveal_type(yosort.{alias}.from_pretrained("x"))', f"yosort.model.heads.{name}")
        for alias, name in yosort._ALIASES.items()
        if alias.startswith("AutoModel")
    ),
    ('AutoTokenizer.from_pretrained("x").mask_tokn', 'has no attribute "mask_tokn"'),
    ("AutoModel.register(1, 2)", 'has no attribute "register"'),
    ("from yosort import Trainer", 'has no attribute "Trainer"'),
    ("reveal_type(yosort.ops.fast_hash)", "def "),
]  # fmt: skip


def test_what_a_checker_says(tmp_path: Path) -> None:
    path = tmp_path / "user.py"
    path.write_text("\n".join(["import yosort", *(line for line, _ in LINES)]), encoding="utf-8")
    said, _, _ = api.run(
        [str(path), "--strict", "--no-incremental", "--hide-error-context", "--no-pretty"]
    )
    found: dict[int, str] = {}
    for number, text in re.findall(r"user\.py:(\d+): (.*)", said):
        found[int(number)] = found.get(int(number), "") + text
    for number, (line, wanted) in enumerate(LINES, 2):
        got = found.get(number, "")
        assert bool(got) == bool(wanted), f"{line}: {got}"
        assert re.search(re.escape(wanted).replace(r"\.\*", ".*"), got), f"{line}: {got}"
