"""What a tokenizer's folder means: by value, and as transformers' AutoTokenizer reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import yosort
from tasks import make_tokenizers
from tasks.models import make, save_unigram, save_word_piece
from yosort import CheckpointError, Tokenizer
from yosort.tasks import bundled_model

STORED = json.loads((bundled_model() / "tokenizer.json").read_text(encoding="utf-8"))
MERGES = [m if isinstance(m, str) else " ".join(m) for m in STORED["model"]["merges"]]
JSON: dict[str, Any] = {"tokenizer.json": STORED}
BPE: dict[str, Any] = {
    "vocab.json": STORED["model"]["vocab"], "merges.txt": "#version: 0.2\n" + "\n".join(MERGES),
}  # fmt: skip
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "bark", "##s", "naive", "the"]
VOCAB: dict[str, Any] = {"vocab.txt": "\n".join(WORDS) + "\n"}
TEXTS = ["A <mask> barks, naïve", " a <new> b<nieuw>c [MASK] BARKS", "", "a  b</s>", "the bark's"]
FLAGGED = {
    "content": "<mask>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False,
}  # fmt: skip
TYPED = {**FLAGGED, "__type": "AddedToken"}
MAP = {"special_tokens_map.json": {"mask_token": FLAGGED}}
NEW = {"<new>": 8192, "<nieuw>": 8193}
LISTED = {
    "4": {**FLAGGED, "special": True},
    "8192": {**FLAGGED, "content": "<new>", "special": True},
    "8193": {**FLAGGED, "content": "<nieuw>", "lstrip": False, "rstrip": True, "special": False},
}


def named(name: str | None, **fields: Any) -> dict[str, Any]:
    """Return a tokenizer_config.json of a class."""
    return {"tokenizer_config.json": {**({"tokenizer_class": name} if name else {}), **fields}}


def word_piece(folder: Path, **config: Any) -> None:
    save_word_piece(folder)
    rewrite(folder, config)


def unigram(folder: Path, **config: Any) -> None:
    save_unigram(folder)
    rewrite(folder, config)


def rewrite(folder: Path, config: dict[str, Any]) -> None:
    """Take model_input_names out of a folder's tokenizer_config.json, and put fields in."""
    path = folder / "tokenizer_config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    del fields["model_input_names"]
    path.write_text(json.dumps({**fields, **config}), encoding="utf-8")


def write(folder: Path, files: dict[str, Any], model_type: str | None = "yoso") -> Path:
    folder.mkdir(exist_ok=True)
    if model_type:
        files = {**files, "config.json": {"model_type": model_type}}
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend", "RobertaTokenizer", "BertTokenizerFast")
BUILT = named("RobertaTokenizer")
CASES: dict[str, dict[str, Any]] = {
    **{f"json of {name}": {**JSON, **named(name)} for name in (*GENERIC, "XLMRobertaTokenizer")},
    "names": {**JSON, **named("X", model_input_names=["input_ids", "token_type_ids"])},
    "sides": {
        **JSON, **named("X", truncation_side="left", padding_side="left", model_max_length=9),
    },
    "prefix beside json": {**JSON, **named("RobertaTokenizer", add_prefix_space=True)},
    "map before config": {
        **JSON, "special_tokens_map.json": {"mask_token": "<mask>"},
        **named("X", mask_token="<pad>", pad_token="<pad>"),
    },
    "mask that is new": {**JSON, **named("X", mask_token="<new>")},
    "extra": {**JSON, **named("X", extra_special_tokens=["<new>"])},
    "additional": {**JSON, **named("X", additional_special_tokens=["<new>"])},
    "added": {**JSON, "added_tokens.json": NEW, **named("X")},
    "added decoder": {**JSON, **named("X", added_tokens_decoder=LISTED)},
    "json before vocab.json": {**JSON, "vocab.json": {"a": 0}, "merges.txt": "", **named("X")},
    "stored cut": {
        "tokenizer.json": {
            **STORED,
            "truncation": {
                "direction": "Left", "max_length": 6, "strategy": "LongestFirst", "stride": 0,
            },
        },
        **named("X"),
    },
    "files, flagged mask": {**BPE, **named("RobertaTokenizer", mask_token=TYPED)},
    "files, prefix": {
        **BPE,
        **named("RobertaTokenizer", add_prefix_space=True, mask_token=TYPED),
    },
    "files, map": {**BPE, **MAP, **BUILT},
    "files, added and special": {
        **BPE, "added_tokens.json": NEW, **MAP,
        **named("RobertaTokenizer", additional_special_tokens=["<new>"]),
    },
    "files, added": {
        **BPE, "added_tokens.json": NEW, **MAP, **BUILT,
    },
    "files, added decoder": {
        **BPE, **MAP,
        **named("RobertaTokenizer", added_tokens_decoder=LISTED),
    },
    "vocab.txt": {**VOCAB, **named("BertTokenizer")},
    "vocab.txt, fast": {**VOCAB, **named("BertTokenizerFast")},
    "vocab.txt, lower": {**VOCAB, **named("BertTokenizer", do_lower_case=True)},
    "vocab.txt, lower, added and special": {
        **VOCAB, "added_tokens.json": {"<NEW>": 11, "<nieuw>": 12},
        **named("BertTokenizer", do_lower_case=True, additional_special_tokens=["<NEW>"]),
    },
    "vocab.txt, accents": {
        **VOCAB, **named("BertTokenizer", do_lower_case=True, strip_accents=False),
    },
}  # fmt: skip
BARE: dict[str, dict[str, Any]] = {
    "Roberta": {**JSON, **BUILT},
    "Roberta, prefix": {**JSON, **named("RobertaTokenizer", add_prefix_space=True)},
    "none": {**JSON, **named(None)},
    "generic": {**JSON, **named("PreTrainedTokenizerFast")},
}
SAVED: dict[str, Callable[[Path], None]] = {
    "word piece of a backend": lambda f: word_piece(f, tokenizer_class="TokenizersBackend"),
    "word piece of Bert": lambda f: word_piece(f, tokenizer_class="BertTokenizer"),
    "unigram of a backend": lambda f: unigram(f, tokenizer_class="TokenizersBackend"),
    "unigram of XLM-R": lambda f: unigram(f, tokenizer_class="XLMRobertaTokenizerFast"),
}


def assert_same(folder: Path) -> None:
    """Compare with transformers' reading of a folder: single texts and pairs, names and sides."""
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    ours = Tokenizer.from_pretrained(folder)
    for text in TEXTS:
        for pair in ((), ("a b",)):
            options = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
            wanted = theirs(text, *pair, **options)
            found = ours(text, *pair, **options)
            assert found.data == dict(wanted)
            assert found.tokens() == wanted.tokens()
    assert len(ours) == len(theirs)
    roles = {k: str(v) for k, v in theirs.special_tokens_map.items()}
    # A mask token that no file gives a role is found all the same, where transformers has none.
    found = {k: v for k, v in ours.special_tokens_map.items() if k in roles or k != "mask_token"}
    assert found == roles
    assert {*ours.all_special_ids, ours.mask_token_id} == {
        *theirs.all_special_ids,
        ours.mask_token_id,
    }
    for name in ("padding_side", "truncation_side", "model_max_length", "model_input_names"):
        assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_beside_a_config_of_yoso(tmp_path: Path, name: str) -> None:
    assert_same(write(tmp_path, CASES[name]))


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BARE)
def test_alone(tmp_path: Path, name: str) -> None:
    assert_same(write(tmp_path, BARE[name], None))


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAVED)
def test_saved_folders(tmp_path: Path, name: str) -> None:
    SAVED[name](tmp_path)
    assert_same(write(tmp_path, {}))


def test_token_types_are_given_where_the_folder_says_so(tmp_path: Path) -> None:
    word_piece(tmp_path, tokenizer_class="TokenizersBackend")
    assert "token_type_ids" not in Tokenizer.from_pretrained(tmp_path)("the fox", "the dog")
    rewrite_names = ["input_ids", "token_type_ids", "attention_mask"]
    path = tmp_path / "tokenizer_config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**fields, "model_input_names": rewrite_names}), encoding="utf-8")
    types = Tokenizer.from_pretrained(tmp_path)("the fox", "the dog").token_type_ids
    assert types == [0, 0, 0, 0, 1, 1, 1]
    bert = Tokenizer.from_pretrained(write(tmp_path / "b", {**VOCAB, **named("BertTokenizer")}))
    assert bert("a", "b").token_type_ids == [0, 0, 0, 1, 1]


def test_added_tokens_have_the_ids_and_flags_of_their_files(tmp_path: Path) -> None:
    folder = write(tmp_path, {**BPE, **named("RobertaTokenizer", added_tokens_decoder=LISTED)})
    tokenizer = Tokenizer.from_pretrained(folder)
    text = "a <new> b <nieuw>  c"
    assert tokenizer.convert_tokens_to_ids(["<new>", "<nieuw>"]) == [8192, 8193]
    assert {token: tokenizer.get_vocab().get(token) for token in NEW} == NEW
    # <new> takes the space before it along, <nieuw> those after it.
    ids = tokenizer.encode(text, add_special_tokens=False)
    tokens = ["a", "<new>", "Ġb", "Ġ", "<nieuw>", "c"]
    assert tokenizer.convert_ids_to_tokens(ids) == tokens
    folder = write(tmp_path / "b", {**BPE, "added_tokens.json": NEW, **BUILT})
    assert Tokenizer.from_pretrained(folder).tokenize(text)[:3] == ["a", "Ġ", "<new>"]


def test_of_two_vocabularies_tokenizer_json_s_counts(tmp_path: Path) -> None:
    other = {"vocab.json": {"a": 0}, "merges.txt": "", "vocab.txt": "a\nb\n"}
    tokenizer = Tokenizer.from_pretrained(write(tmp_path, {**JSON, **other}))
    assert tokenizer.encode("Paris") == Tokenizer.from_pretrained(bundled_model()).encode("Paris")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds vocab\.json and vocab\.txt; tokenizer_class"):
        Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({**BPE, "added_tokens.json": {"<new>": 8200}, **BUILT}, "at 8192, got 8200"),
        ({**BPE, "added_tokens.json": {"<new>": "x"}, **BUILT}, "wanted the id of"),
        ({**JSON, **named("X", added_tokens_decoder={"x": {}})}, "wanted the id of"),
        ({**JSON, **named("X", added_tokens_decoder={"1" * 5000: {}})}, "wanted the id of"),
        ({**JSON, **named("X", truncation_side="top")}, "'right', got 'top'"),
        ({"spiece.model": "x"}, "found none; AutoTokenizer"),
        ({"vocab.json": {"a": 0}}, r"merges\.txt: cannot be opened"),
        ({}, "found none"),
        ({**BPE, **named("GPT2Tokenizer")}, r"a 'GPT2Tokenizer' of vocab\.json, which yosort does"),
        ({**JSON, **named("X", auto_map={"AutoTokenizer": ["x", "y"]})}, "auto_map names a"),
        ({"vocab.txt": "a\nb\n"}, r"wanted special tokens \['\[CLS\]', '\[MASK\]', '\[PAD\]'"),
        ({**JSON, **named("X", padding_side=3)}, "'right', got 3"),
        ({**JSON, **named("X", mask_token={"x": 1})}, "mask_token: wanted a token, got"),
        ({**JSON, **named("X", model_max_length="9")}, "wanted a number of tokens, got '9'"),
        ({**JSON, **named("X", model_max_length=0)}, "wanted a number of tokens, got 0"),
        ({**JSON, **named("X", model_max_length=0.5)}, "wanted a number of tokens, got 0.5"),
        ({**JSON, **named("X", model_input_names=3)}, "wanted a list of texts, got 3"),
        ({**JSON, **named("X", extra_special_tokens=3)}, "wanted a list, got 3"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.from_pretrained(write(tmp_path, files))


def test_a_class_that_only_transformers_builds_is_refused(tmp_path: Path) -> None:
    """Beside a YOSO model's config.json tokenizer.json stands; alone its class is built anew."""
    files = {**JSON, **named("XLMRobertaTokenizer")}
    assert len(Tokenizer.from_pretrained(write(tmp_path / "yoso", files))) == 8192
    with pytest.raises(CheckpointError, match="got 'XLMRobertaTokenizer'; of some classes"):
        Tokenizer.from_pretrained(write(tmp_path / "alone", files, None))


def test_the_class_says_which_of_two_vocabularies_counts(tmp_path: Path) -> None:
    for name, mask in (("RobertaTokenizer", "<mask>"), ("BertTokenizerFast", "[MASK]")):
        folder = write(tmp_path, {**BPE, **VOCAB, **named(name)})
        assert Tokenizer.from_pretrained(folder).mask_token == mask


def test_alberts_tokenizer_is_made_anew(tmp_path: Path) -> None:
    """Its normalizer lowers and strips, whatever tokenizer.json's does; it is YOSO's own class."""
    stored = {**json.loads(make_tokenizers.unigram().to_str()), "normalizer": None}
    files = {"tokenizer.json": stored}
    for name, same in (("TokenizersBackend", False), ("AlbertTokenizerFast", True), (None, True)):
        tokenizer = Tokenizer.from_pretrained(write(tmp_path, {**files, **named(name)}))
        assert (tokenizer.encode("F\u00d3X") == tokenizer.encode("fox")) is same
        assert tokenizer.bos_token == ("[CLS]" if same else None)


def test_special_tokens_map_counts_unless_added_tokens_are_listed(tmp_path: Path) -> None:
    names = {"mask_token": "<pad>", "additional_special_tokens": ["<new>"]}
    folder = write(tmp_path, {**JSON, **MAP, **named("X", **names)})
    tokenizer = Tokenizer.from_pretrained(folder)
    assert (tokenizer.mask_token, tokenizer.extra_special_tokens) == ("<mask>", ["<new>"])
    write(tmp_path, named("X", **names, added_tokens_decoder={}))
    assert Tokenizer.from_pretrained(folder).mask_token == "<pad>"


def test_add_prefix_space_is_the_vocabularys(tmp_path: Path) -> None:
    """With vocab.json it makes another tokenizer; a tokenizer.json that stands knows itself."""
    config = named("RobertaTokenizer", add_prefix_space=True)
    made = Tokenizer.from_pretrained(write(tmp_path / "made", {**BPE, **config}))
    assert made.encode("the") == made.encode(" the")
    stands = Tokenizer.from_pretrained(write(tmp_path / "stands", {**JSON, **config}))
    assert stands.encode("the") != stands.encode(" the")


def test_settings_that_tokenizer_json_has_stored(tmp_path: Path) -> None:
    """They are off; their sides and pad token count where tokenizer_config.json says nothing."""
    cut = {"direction": "Left", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    pad = {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None}
    pad |= {"pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"}
    stored = {"tokenizer.json": {**STORED, "truncation": cut, "padding": pad}}
    tokenizer = Tokenizer.from_pretrained(write(tmp_path, {**stored, **named("X")}))
    assert (tokenizer.truncation_side, tokenizer.padding_side) == ("left", "left")
    assert tokenizer.pad_token == "<pad>"
    assert len(tokenizer.encode("a; b")) == 5
    write(tmp_path, named("X", truncation_side="right", padding_side="right"))
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert (tokenizer.truncation_side, tokenizer.padding_side) == ("right", "right")


@pytest.mark.parametrize("length", [10**30, 1e30, None])
def test_a_length_that_nobody_has_set(tmp_path: Path, length: float | None) -> None:
    folder = write(tmp_path, {**JSON, **named("X", model_max_length=length)})
    assert Tokenizer.from_pretrained(folder).model_max_length > 10**20
    write(tmp_path, named("X", model_max_length=7))
    assert Tokenizer.from_pretrained(folder).model_max_length == 7


def test_a_pipeline_cuts_the_side_that_the_files_name(tmp_path: Path) -> None:
    make(tmp_path, "YosoForSequenceClassification")
    write(tmp_path, named("X", truncation_side="left"), None)
    classify = yosort.pipeline("text-classification", tmp_path, attention="expectation")
    text = "dog " * 80 + "cat " * 62
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    ids = tokenizer.encode(text, add_special_tokens=False)
    texts = [text, tokenizer.decode(ids[-62:]), tokenizer.decode(ids[:62])]
    found = classify(texts, top_k=None, overflow="truncate")
    cut, end, beginning = ([answer["score"] for answer in answers] for answers in found)
    assert cut == pytest.approx(end, rel=1e-5)
    assert cut != pytest.approx(beginning, rel=1e-5)


def test_truncation_side_of_the_files(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(
        write(tmp_path, {**JSON, **named("X", truncation_side="left")})
    )
    text = "Paris is the capital of France"
    kept = tokenizer(text, truncation=True, max_length=5).input_ids
    whole = tokenizer(text).input_ids
    assert kept == [whole[0], *whole[-4:]]
    assert tokenizer.encoding(text, max_tokens=5).ids == kept


def test_what_a_class_gives_where_no_file_says_so(tmp_path: Path) -> None:
    roberta = Tokenizer.from_pretrained(write(tmp_path / "r", {**BPE, **BUILT}))
    assert roberta.special_tokens_map == {
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>",
        "pad_token": "<pad>", "cls_token": "<s>", "mask_token": "<mask>",
    }  # fmt: skip
    assert list(roberta.model_input_names) == ["input_ids", "attention_mask"]
    bundled = Tokenizer.from_pretrained(bundled_model())
    assert roberta.encode("Paris is", "old") == bundled.encode("Paris is", "old")
    # <mask> takes the space before it along, as RoBERTa's does; where the class is named and its
    # flags are not, transformers 5.2 has lost that.
    text = "a <mask>"
    ids = roberta.encode(text, add_special_tokens=False)
    assert roberta.convert_ids_to_tokens(ids) == ["a", "Ġ", "<mask>"]
    unnamed = Tokenizer.from_pretrained(write(tmp_path / "u", BPE))
    ids = unnamed.encode(text, add_special_tokens=False)
    assert unnamed.convert_ids_to_tokens(ids) == ["a", "<mask>"]
    flags = {"special_tokens_map.json": {"mask_token": {**FLAGGED, "lstrip": False}}}
    flagged = Tokenizer.from_pretrained(write(tmp_path / "f", {**BPE, **flags}))
    assert flagged.tokenize(text) == ["a", "Ġ", "<mask>"]
    bert = Tokenizer.from_pretrained(write(tmp_path / "b", {**VOCAB, **named("BertTokenizer")}))
    assert bert.special_tokens_map == {
        "unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }  # fmt: skip
    assert list(bert.model_input_names) == ["input_ids", "token_type_ids", "attention_mask"]
    assert bert.encode("a barks", "the x") == [2, 5, 7, 8, 3, 10, 1, 3]
    assert bert.tokenize("a [MASK] b") == ["a", "[MASK]", "b"]
