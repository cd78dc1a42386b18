"""Saved folders of every class against transformers' AutoTokenizer live, and its pipelines."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

import yosort
from tasks.make_tokenizers import save_all
from tasks.models import make
from tasks.test_pipelines_parity import assert_same
from yosort.tasks.spans import trimmed
from yosort.tokenizer.vocabulary import ROLES

transformers = pytest.importorskip("transformers")
pytest.importorskip("torch")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

GOLDEN = Path(__file__).parent / "golden" / "transformers-4.34.1"
OLD = sorted(path.name for path in GOLDEN.iterdir())
LONG = {"max_position_embeddings": 256}
NEW = ["albert", "bert", "roberta", "roberta-added", "unigram"]
TEXTS = [
    "A <mask> barks, naïve Fox",
    "the [MASK] fox  jumps",
    "A <new> b <wide> c<x>d [NEW] e",
    "Parisé `` '' \uff21\uff22",
    " a\n b",
    "",
]
SETTINGS = (
    "model_input_names",
    "padding_side",
    "truncation_side",
    "special_tokens_map",
    "all_special_tokens",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
    "model_max_length",
    "vocab_size",
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that the transformers of this environment saves."""
    root = tmp_path_factory.mktemp("saved")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert sorted(save_all(root)) == NEW
    return root


def assert_equal(folder: Path) -> None:
    """Compare settings, and every column of single texts and pairs."""
    ours = yosort.Tokenizer.from_pretrained(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    assert len(ours) == len(theirs)
    for name in SETTINGS:
        wanted = getattr(theirs, name)
        if name == "special_tokens_map":  # roles of other models' tokens are left out
            wanted = {role: token for role, token in wanted.items() if role in ROLES}
        assert getattr(ours, name) == wanted, name
    options = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    for text in TEXTS:
        for pair in (None, "a the fox"):
            wanted = theirs(text, pair, **options)
            assert dict(ours(text, pair, **options)) == dict(wanted)
            assert ours.decode(wanted["input_ids"]) == theirs.decode(wanted["input_ids"])
        cut = {"truncation": True, "max_length": 5}
        assert ours(text, **cut)["input_ids"] == theirs(text, **cut)["input_ids"]


@pytest.mark.parametrize("name", OLD)
def test_folders_saved_by_an_old_release(name: str) -> None:
    assert_equal(GOLDEN / name)


@pytest.mark.parametrize("name", NEW)
def test_folders_saved_by_this_release(saved: Path, name: str) -> None:
    assert_equal(saved / name)


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "class of another model": ("unigram", {"tokenizer_class": "BertTokenizer"}),
    "a class that nobody knows": ("unigram", {"tokenizer_class": "Nonsense"}),
    "AutoTokenizer": ("roberta", {"tokenizer_class": "AutoTokenizer"}),
    "albert of a unigram": ("unigram", {"tokenizer_class": "AlbertTokenizerFast"}),
    "albert by default": ("unigram", {"tokenizer_class": None}),
    "albert with options": (
        "albert",
        {"do_lower_case": False, "keep_accents": True, "add_prefix_space": False},
    ),
    "prefix that tokenizer.json lacks": ("roberta", {"add_prefix_space": True}),
    "token types": ("bert", {"model_input_names": ["input_ids", "token_type_ids"]}),
    "sides": ("bert", {"truncation_side": "left", "padding_side": "left"}),
    "splitting": ("roberta", {"split_special_tokens": True}),
    "a role's new token": ("roberta", {"mask_token": "[NEW]"}),
    "extra tokens": ("bert", {"extra_special_tokens": ["[NEW]"], "image_token": "<x>"}),
    "extra tokens by name": ("bert", {"extra_special_tokens": {"image_token": "<x>"}}),
    "cleaning": ("unigram", {"clean_up_tokenization_spaces": True}),
    "flags": (
        "roberta",
        {
            "added_tokens_decoder": {
                "300": {
                    "content": "<new>",
                    "lstrip": True,
                    "rstrip": False,
                    "normalized": False,
                    "single_word": False,
                    "special": False,
                }
            }
        },
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_tokenizer_config_says(saved: Path, tmp_path: Path, change: str) -> None:
    name, fields = CHANGES[change]
    shutil.copytree(saved / name, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "tokenizer_config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), **fields}
    path.write_text(json.dumps(config), encoding="utf-8")
    assert_equal(tmp_path)


@pytest.mark.parametrize("name", ["albert", "bert", "roberta", "unigram"])
def test_a_tokenizer_alone(saved: Path, tmp_path: Path, name: str) -> None:
    """Without config.json transformers builds the class that is named."""
    shutil.copytree(saved / name, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").unlink()
    assert_equal(tmp_path)


@pytest.mark.parametrize("name", ["roberta-slow", "bert-slow", "roberta", "unigram"])
@pytest.mark.parametrize("decoder", [True, False])
def test_special_tokens_map_and_added_tokens(tmp_path: Path, name: str, decoder: bool) -> None:
    """The map counts where there is no added_tokens_decoder, and so does added_tokens.json."""
    shutil.copytree(GOLDEN / name, tmp_path, dirs_exist_ok=True)
    special = {"mask_token": {"content": "a", "lstrip": True, "rstrip": True}}
    path = tmp_path / "special_tokens_map.json"
    path.write_text(json.dumps(special), encoding="utf-8")
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if not decoder:
        del config["added_tokens_decoder"]
    path.write_text(json.dumps(config), encoding="utf-8")
    assert_equal(tmp_path)
    ours = yosort.Tokenizer.from_pretrained(tmp_path)
    assert (ours.mask_token == "a") is not decoder


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("task", ["question-answering", "text-classification"])
def test_pipelines_of_two_token_types(saved: Path, tmp_path: Path, name: str, task: str) -> None:
    """Pairs get the token types that transformers gives them, and no other."""
    classes = {
        "question-answering": "YosoForQuestionAnswering",
        "text-classification": "YosoForSequenceClassification",
    }
    size = len(yosort.Tokenizer.from_pretrained(saved / name))
    make(tmp_path, classes[task], vocab_size=size, type_vocab_size=2, pad_token_id=0, **LONG)
    (tmp_path / "special_tokens_map.json").unlink()
    for file in (saved / name).iterdir():
        if file.name != "config.json":
            shutil.copy(file, tmp_path)
    ours = yosort.pipeline(task, tmp_path, attention="expectation")
    theirs = transformers.pipeline(task, str(tmp_path), device="cpu")
    context = "the quick brown fox jumps over the lazy dog, Paris is the capital of France"
    for question in ("the capital", "a fox", "quick", "is Paris lazy", "over"):
        if task == "question-answering":
            both = {"question": question, "context": context}
            options: dict[str, Any] = {"top_k": 2}
        else:
            both, options = {"text": question, "text_pair": context}, {"top_k": None}
        wanted = theirs(**both, **options) if "question" in both else theirs(both, **options)
        for answer in wanted if "question" in both else ():
            # Where nothing trims it, the space before a word stands in transformers' span.
            begin, end = trimmed(context, answer["start"], answer["end"])
            answer |= {"start": begin, "end": end, "answer": context[begin:end]}
        assert_same(ours(both, **options), wanted)
