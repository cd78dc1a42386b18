"""Special tokens, and what a class decides where no file says otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import make_tokenizers
from tasks.test_tokenizer_files import (
    BPE,
    FLAGGED,
    JSON,
    STORED,
    VOCAB,
    named,
    unigram,
    word_piece,
    write,
)
from yosort import Tokenizer


def test_a_mask_token_that_no_file_gives_a_role_is_found(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(write(tmp_path, JSON))
    assert tokenizer.special_tokens["mask_token"] == "<mask>"
    assert tokenizer.mask_token_id == STORED["model"]["vocab"]["<mask>"]
    words = {"tokenizer.json": json.loads(make_tokenizers.word_piece().to_str())}
    tokenizer = Tokenizer.from_pretrained(write(tmp_path / "words", words))
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("[MASK]", 4)


def test_a_normalized_token_is_found_as_the_text_reads_then(tmp_path: Path) -> None:
    """With the flag, "<NEW>" of the text is lowered as the text is, and meets the token."""
    flags = {**FLAGGED, "content": "<new>", "lstrip": False, "special": False}
    for normalized, wanted in ((True, ["<new>"]), (False, ["[UNK]"] * 3)):
        listed = {"11": {**flags, "normalized": normalized}}
        config = named("BertTokenizer", do_lower_case=True, added_tokens_decoder=listed)
        folder = write(tmp_path / str(normalized), {**VOCAB, **config})
        ids = Tokenizer.from_pretrained(folder).encode("<NEW>", add_special_tokens=False)
        assert Tokenizer.from_pretrained(folder).convert_ids_to_tokens(ids) == wanted


def test_a_token_without_flags_and_one_with(tmp_path: Path) -> None:
    """A role makes a token special, whatever its flags say; a token without a role is as listed."""
    flags = {**FLAGGED, "content": "<new>"}
    for mask in ("<new>", flags, {**flags, "special": False}):
        folder = write(tmp_path, {**JSON, **named("X", mask_token=mask)})
        token = Tokenizer.from_pretrained(folder).backend.get_added_tokens_decoder()[8192]
        assert (token.content, token.special) == ("<new>", True)
        assert (token.lstrip, token.normalized) == (isinstance(mask, dict), False)
    for special in (True, False):
        listed = {"8192": {**flags, "special": special}}
        folder = write(tmp_path, {**JSON, **named("X", added_tokens_decoder=listed)})
        token = Tokenizer.from_pretrained(folder).backend.get_added_tokens_decoder()[8192]
        assert (token.special, token.lstrip) == (special, True)


def test_the_unknown_token_is_the_files_own(tmp_path: Path) -> None:
    words = ["[PAD]", "<oov>", "[CLS]", "[SEP]", "[MASK]", "a"]
    config = named("BertTokenizer", unk_token="<oov>")
    folder = write(tmp_path, {"vocab.txt": "\n".join(words) + "\n", **config})
    tokenizer = Tokenizer.from_pretrained(folder)
    assert tokenizer.unk_token_id == 1
    assert tokenizer.encode("a zebra") == [2, 5, 1, 3]


@pytest.mark.parametrize("clean", [True, False])
def test_spaces_before_marks_are_cleaned_where_the_files_say_so(
    tmp_path: Path, clean: bool
) -> None:
    """As transformers 5.2 does: `decode` of several texts at once does not ask the files."""
    files = {**JSON, **named("X", clean_up_tokenization_spaces=clean)}
    tokenizer = Tokenizer.from_pretrained(write(tmp_path, files))
    ids = tokenizer.encode("Go . Now !", add_special_tokens=False)
    one = "Go. Now!" if clean else "Go . Now !"
    assert tokenizer.decode(ids) == one
    assert tokenizer.batch_decode([ids, ids]) == [one, one]
    assert tokenizer.decode([ids, ids]) == ["Go . Now !"] * 2
    assert tokenizer.decode([ids], clean_up_tokenization_spaces=True) == ["Go. Now!"]


@pytest.mark.parametrize(
    ("save", "name", "wanted"),
    [
        (unigram, "AlbertTokenizer", ["a", "</s>"]),  # alone in taking the file's
        (word_piece, "BertTokenizer", ["[CLS]", "a", "[SEP]"]),
        (word_piece, "PreTrainedTokenizerFast", ["a", "[SEP]"]),
    ],
)
def test_the_class_says_whether_a_files_own_ends_count(
    save: Callable[..., None], name: str, wanted: list[str], tmp_path: Path
) -> None:
    save(tmp_path, tokenizer_class=name)
    path = tmp_path / "tokenizer.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    for form in ("single", "pair"):
        template = stored["post_processor"][form]
        stored["post_processor"][form] = template[1:]  # without the token before the text
    path.write_text(json.dumps(stored), encoding="utf-8")
    tokens = Tokenizer.from_pretrained(tmp_path).encoding("a").tokens
    assert [token.strip("▁") for token in tokens if token != "▁"] == wanted


@pytest.mark.parametrize(
    ("save", "name", "wanted"),
    [
        (unigram, "AlbertTokenizer", ["input_ids", "attention_mask"]),
        (word_piece, "BertTokenizer", ["input_ids", "token_type_ids", "attention_mask"]),
        (lambda folder, **config: write(folder, {**BPE, "tokenizer_config.json": config}),
         "RobertaTokenizer", ["input_ids", "attention_mask"]),
    ],
)  # fmt: skip
def test_the_class_says_what_the_model_is_given(
    save: Callable[..., None], name: str, wanted: list[str], tmp_path: Path
) -> None:
    """Where tokenizer_config.json does not."""
    save(tmp_path, tokenizer_class=name)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert tokenizer.model_input_names == list(tokenizer("a")) == wanted


def albert(folder: Path, **steps: object) -> Path:
    """Write a Unigram as Albert's class takes it, with these steps beside its vocabulary."""
    unigram(folder)
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    for own, name in (("<s>", "[CLS]"), ("</s>", "[SEP]"), ("<mask>", "[MASK]")):
        text = text.replace(f'"{own}"', f'"{name}"')
    stored = {**json.loads(text), **steps}
    return write(folder, {"tokenizer.json": stored, **named("AlbertTokenizer")})


def test_the_special_tokens_of_an_albert_that_names_none(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(albert(tmp_path))
    assert tokenizer.special_tokens_map == {
        "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "sep_token": "[SEP]",
        "pad_token": "<pad>", "cls_token": "[CLS]", "mask_token": "[MASK]",
    }  # fmt: skip
    padded = tokenizer("a", padding="max_length", max_length=5).input_ids
    assert padded[-1] == tokenizer.id_of("pad_token")


def test_an_albert_cuts_at_spaces_and_marks_what_follows_one(tmp_path: Path) -> None:
    """Its class takes the vocabulary alone from tokenizer.json, whose steps may be another's."""
    tokenizer = Tokenizer.from_pretrained(albert(tmp_path, pre_tokenizer=None, normalizer=None))
    tokens = tokenizer.tokenize("The  dogs\u0301 bark")
    assert "".join(tokens) == "\u2581the\u2581dogs\u2581bark"
    assert [token[0] for token in tokens].count("\u2581") == 3
    # Unknown letters are token 1 to Albert's class, whatever its name.
    assert tokenizer.encode("北", add_special_tokens=False)[-1] == 1


@pytest.mark.parametrize("apart", [True, False, None])
def test_chinese_characters_stand_alone_unless_the_files_say_otherwise(
    tmp_path: Path, apart: bool | None
) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "北", "京", "北京"]
    config = named("BertTokenizer", **({} if apart is None else {"tokenize_chinese_chars": apart}))
    folder = write(tmp_path, {"vocab.txt": "\n".join(words) + "\n", **config})
    tokens = Tokenizer.from_pretrained(folder).tokenize("北京")
    assert tokens == (["北京"] if apart is False else ["北", "京"])


def test_control_characters_are_no_letters_of_a_bert(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(write(tmp_path, {**VOCAB, **named("BertTokenizer")}))
    assert tokenizer.tokenize("ba\x07rk\x00s the\u200b\ta") == ["bark", "##s", "the", "a"]
