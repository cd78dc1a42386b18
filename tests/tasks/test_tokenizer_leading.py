"""What is cut off a long text is not tokenized, and changes nothing of what is kept."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

import yosort
from tasks.models import TEXTS, save_unigram, save_word_piece
from yosort.tasks import bundled_model
from yosort.tokenizer import Tokenizer
from yosort.tokenizer import leading as module
from yosort.tokenizer.leading import leading

#: Words, blanks, marks and special tokens, as many as a drawn text has letters and more.
PARTS = st.sampled_from(
    [
        *("fox", "a", "don't", "naïve", "x", "好", "的人", "🙂", "c\u0327", "42", "...", "B", "▁"),
        *("<mask>", "</s>", "[MASK]", "\n", "\t", "'s", "'", "\u3164", "\u0e01\u0e33", "ｶﾞ"),
        *("\u00a0", "  "),
        *("foxes", "'ve", "'re", "fo", "xa", "XAX", "aaaa", "QmFzZTY0", "<mas", "k>", "K", "É"),
        *("한국어", "カタカナ", "ไทย", "的人的人", "ﬁ", "Ŀ", "ǅ", "c\u0327"),
    ]
)
SPACES = st.sampled_from([" ", " ", " ", "", "  ", "\n"])
KINDS = (
    *("byte-bpe", "word-piece", "unigram", "repeats", "letters", "one-word", "added-tokens"),
    *("added-words", "nfd"),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    spaces = draw(st.sampled_from([SPACES, st.just("")]))
    parts = draw(st.lists(st.tuples(PARTS, spaces), min_size=1, max_size=60))
    return "".join(a + b for a, b in parts) * draw(st.integers(1, 3))


def trained(kind: str) -> Backend:
    """Return a tokenizer of a kind that few models have."""
    lines = [*TEXTS, "aaaaaaaa" * 9, "的人的人的", "foxes fox'es カタ QmFzZTY0"] * 5
    special = ["<s>", "</s>", "<unk>", "<mask>"]
    if kind == "one-word":
        pieces = [
            *"abcdefghilnoprstuxAX5 ",
            "aa",
            "aaaa",
            "and the earth ",
            "fo",
            "ox",
            "的人",
            "首都",
        ]
        vocabulary = [("<unk>", 0.0), *((piece, -1.0 - len(piece) // 2) for piece in pieces)]
        made = Backend(models.Unigram(vocabulary, 0, False))
        made.normalizer = normalizers.NFKC()
        return made
    if kind == "repeats":
        made = Backend(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    else:
        made = Backend(models.BPE(unk_token="<unk>", fuse_unk=kind == "letters"))
        form = normalizers.NFD() if kind == "nfd" else normalizers.NFKC()
        made.normalizer = normalizers.Sequence([form, normalizers.Lowercase()])
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        trainer = trainers.BpeTrainer(
            vocab_size=120, special_tokens=special, limit_alphabet=30, show_progress=False
        )
    made.train_from_iterator(lines, trainer)
    if kind == "added-words":
        made.add_tokens(
            [AddedToken("fox", single_word=True), "xax", AddedToken("的人", lstrip=True)]
        )
    return made


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tokenizer(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp(kind)
    if kind in ("byte-bpe", "added-tokens"):
        made = Tokenizer.from_pretrained(bundled_model())
        if kind == "added-tokens":
            words = [AddedToken("fox", single_word=True), AddedToken("aXa"), "foxes", "oxa", "y0"]
            made.backend.add_tokens(words)
        return made
    if kind in ("word-piece", "unigram"):
        {"word-piece": save_word_piece, "unigram": save_unigram}[kind](folder)
        return Tokenizer.from_pretrained(folder, truncation_side="right")
    return Tokenizer(trained(kind), {})


def cut_or_error(tokenizer: Tokenizer, text: Any, pair: Any, most: int, strategy: str) -> Any:
    try:
        return tokenizer.encoding(text, pair, max_tokens=most, strategy=strategy)
    except yosort.InputError as error:
        return str(error)


@examples(25, 100)
def test_what_is_kept_is_that_of_the_whole(tokenizer: Tokenizer, examples: int) -> None:
    """Ids, offsets and words, with the text cut as early as it may be."""

    @settings(max_examples=examples)
    @given(
        text=texts(),
        pair=st.one_of(st.none(), texts()),
        most=st.integers(2, 30),
        words=st.booleans(),
        strategy=st.sampled_from(["longest_first", "only_first", "only_second"]),
    )
    def holds(text: str, pair: str | None, most: int, words: bool, strategy: str) -> None:
        check_kept(tokenizer, text, pair, most, words, strategy)

    holds()


def check_kept(
    tokenizer: Tokenizer, text: str, pair: str | None, most: int, words: bool, strategy: str
) -> None:
    given_, second = (text.split(" "), pair and pair.split(" ")) if words else (text, pair)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LETTERS", 1)
        patch.setattr(module, "_MORE", 1)
        patch.setattr(module, "_WORTH", 0)
        short = tokenizer.leading(given_, second, max_tokens=most, strategy=strategy)
    whole, kept = (
        cut_or_error(tokenizer, *both, most, strategy) for both in ((given_, second), short)
    )
    if isinstance(whole, str) or isinstance(kept, str):
        assert whole == kept
        return
    for column in ("ids", "type_ids", "offsets", "word_ids", "sequence_ids", "special_tokens_mask"):
        assert getattr(kept, column) == getattr(whole, column), column
    assert bool(kept.overflowing) == bool(whole.overflowing)


@pytest.mark.parametrize("most", [9, 11, 12, 13, 15])
def test_the_longer_of_two_keeps_the_odd_token(tokenizer: Tokenizer, most: int) -> None:
    """Which is the longer shows at their ends alone, which early cuts must not lose."""
    long, longer = "the quick brown fox " * 5, "the quick brown fox " * 6
    for pair in ((long, longer), (longer, long)):
        check_kept(tokenizer, *pair, most, False, "longest_first")


def test_a_long_text_is_not_tokenized_to_its_end(tokenizer: Tokenizer) -> None:
    text = "the quick brown fox " * 20_000
    short, none = tokenizer.leading(text, max_tokens=64)
    assert none is None
    assert text.startswith(short)
    assert 64 < len(tokenizer.encoding(short)) < 5_000
    words, _ = tokenizer.leading(text.split(), max_tokens=64)
    assert words == text.split()[: len(words)]
    assert 64 < len(tokenizer.encoding(words)) < 5_000
    assert tokenizer("a fox " * 9, max_length=8)["input_ids"] == tokenizer.encode(
        "a fox " * 900_000, max_length=8
    )


class Counting:
    """A tokenizer, or its model, that counts the letters it is handed."""

    def __init__(self, of: Any, counts: list[int]) -> None:
        self._of, self._counts = of, counts

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._of, name)
        return Counting(value, self._counts) if name == "model" else value

    @property
    def __class__(self) -> Any:
        return type(self._of)

    def __getstate__(self) -> Any:
        return self._of.__getstate__()

    def encode(self, text: str, **how: Any) -> Any:
        self._counts.append(len(text))
        return self._of.encode(text, **how)

    def tokenize(self, text: str) -> Any:
        self._counts.append(len(text))
        return self._of.tokenize(text)


WORDS = {
    "a letter": "a" * 200_000,
    "base64": base64.b64encode(np.random.default_rng(0).bytes(150_000)).decode(),
    "hexadecimal": np.random.default_rng(0).bytes(100_000).hex(),
    "Chinese": "巴黎是法国的首都的人" * 20_000,
    "no spaces": "".join(TEXTS).replace(" ", "") * 900,
    "a bare list": "fox,dog,the\n" * 17_000,
}
FEW = ("a letter", "base64", "no spaces")
MORE, SLOW = [word for word in WORDS if word not in FEW], pytest.mark.slow
#: Taken whole: see docs/tokenizer.md.
WHOLE = {
    *(("word-piece", word) for word in ("a letter", "hexadecimal", "no spaces")),  # one [UNK]
    ("unigram", "Chinese"),  # one <unk>
    ("one-word", "a letter"),  # its first token is by the length of the whole
    ("added-tokens", "a letter"),  # with which an added token ends
}


@pytest.mark.parametrize("word", [*FEW, *(pytest.param(word, marks=SLOW) for word in MORE)])
def test_a_word_without_end_is_read_as_far_as_the_limit_asks(
    tokenizer: Tokenizer, kind: str, word: str
) -> None:
    """Twice the word costs no letter more, and what is kept is that of the whole."""
    text, counts = WORDS[word], ([], [])
    backend = tokenizer.backend
    short = [str(leading(Counting(backend, c), text * n, 40)) for n, c in enumerate(counts, 1)]
    if (kind, word) in WHOLE:
        assert short[0] == text
        return
    assert short[0] == short[1]
    assert counts[0] == counts[1]
    assert sum(counts[0]) < len(text)
    whole = tokenizer.encoding(text, max_tokens=40)
    kept = tokenizer(text, max_length=40, return_offsets_mapping=True)
    assert kept["input_ids"] == whole.ids
    assert kept["offset_mapping"] == whole.offsets


@pytest.mark.parametrize(
    "name", ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer", "Nmt"]
)
def test_plain_letters_are_normalized_one_by_one(name: str) -> None:
    letters = re.findall(
        module._PLAIN, "".join(map(chr, [*range(0xD800), *range(0xE000, 1 << 17)]))
    )
    assert len(letters) > 33_000
    normalize = getattr(normalizers, name)().normalize_str
    alone = [normalize(letter) for letter in letters]
    assert all(alone)
    assert normalize("".join(letters)) == "".join(alone)
    assert normalize("".join(letters[::-1])) == "".join(alone[::-1])


def test_a_vocabulary_is_looked_through_for_long_texts_only() -> None:
    backend = Tokenizer.from_pretrained(bundled_model()).backend
    counts: list[int] = []
    text = "a" * 100_000
    assert leading(Counting(backend, counts), text, 40) == text
    assert len(counts) == 1
    assert len(leading(backend, text * 2, 40)) < 1_000


def test_places_within_words() -> None:
    """Not where a contraction is read ahead, nor where an added token ends or reaches across."""
    plain = module._Within(Tokenizer.from_pretrained(bundled_model()).backend, worth=True)
    assert plain.place("you're,", 3, 6) is None
    assert plain.place("you'rest", 3, 8) == 6
    assert plain.place("you,rest", 3, 8) == 5
    added = module._Within(trained("added-words"), worth=True)
    assert added.place("eXAXe", 0, 5) == 1
    assert added.place("XAXe", 0, 4) is None
    assert added.place("foxes", 0, 3) is None


@pytest.mark.parametrize("kind", ["byte-bpe", "word-piece", "unigram"], scope="module")
def test_a_text_with_spaces_in_its_tokens_is_taken_whole(tokenizer: Tokenizer) -> None:
    """Where words may hold spaces, nothing says where one ends."""
    backend = tokenizer.backend
    copy = type(backend).from_str(backend.to_str())
    text = "the fox " * 2_000
    assert len(leading(copy, text, 8)) < 1_000
    copy.add_tokens(["fox the"])
    assert leading(copy, text, 8) == text
    other = type(backend).from_str(backend.to_str())
    other.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    assert leading(other, text, 8) == text


@pytest.mark.parametrize(
    ("step", "is_local"),
    [
        (pre_tokenizers.Split(" ", "removed"), True),
        (pre_tokenizers.Split(Regex(r"\s+"), "removed"), True),
        (pre_tokenizers.Split(Regex(r"(?<=x) .*"), "removed"), False),
        (pre_tokenizers.Split("x t", "isolated"), False),
        (normalizers.Replace("x", "y"), True),
        (normalizers.Replace("fox", "dog"), False),
        (normalizers.Replace(Regex(" {2,}"), " "), True),
        (normalizers.Replace("fox the", "dog"), False),
        (normalizers.Replace(Regex("(fox|the)$"), "dog"), False),
        (normalizers.Sequence([normalizers.NFC(), normalizers.Replace("x", "y")]), True),
        (normalizers.Sequence([normalizers.NFC(), normalizers.Replace("-", "")]), True),
        (normalizers.Sequence([normalizers.NFC(), normalizers.Replace("x t", "")]), False),
        (pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()]), True),
        (pre_tokenizers.UnicodeScripts(), False),
        *(
            (step, True)
            for step in (
                normalizers.NFC(),
                normalizers.NFD(),
                normalizers.NFKC(),
                normalizers.NFKD(),
                normalizers.Lowercase(),
                normalizers.StripAccents(),
                normalizers.BertNormalizer(),
                normalizers.Nmt(),
                normalizers.Strip(),
                normalizers.Prepend("a"),
                pre_tokenizers.ByteLevel(),
                pre_tokenizers.BertPreTokenizer(),
                pre_tokenizers.Whitespace(),
                pre_tokenizers.WhitespaceSplit(),
                pre_tokenizers.Sequence(
                    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
                ),
                pre_tokenizers.Sequence(
                    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits()]
                ),
                pre_tokenizers.Metaspace(),
            )
        ),
    ],
    ids=str,
)
def test_what_a_step_reads_says_whether_a_text_is_cut(step: Any, is_local: bool) -> None:
    backend = Backend(models.WordLevel({"the": 0, "fox": 1, "dog": 2, "?": 3}, unk_token="?"))
    kind = "normalizer" if isinstance(step, normalizers.Normalizer) else "pre_tokenizer"
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    setattr(backend, kind, step)
    text = "the fox " * 2_000
    part = leading(backend, text, 8)
    assert part == text if not is_local else len(part) < 1_000
    assert backend.encode(part).ids[:8] == backend.encode(text).ids[:8]


def test_the_left_is_cut_with_all_before_it(tmp_path: Path) -> None:
    """Words and letters count from the beginning."""
    save_word_piece(tmp_path)
    tokenizer = Tokenizer.from_pretrained(tmp_path, truncation_side="left")
    text = "the fox " * 4_000 + "the dog"
    assert tokenizer.leading(text, max_tokens=8) == (text, None)
    kept = tokenizer.encoding(text, max_tokens=6)
    assert kept.tokens[-3:] == ["the", "dog", "[SEP]"]
    assert text[slice(*kept.offsets[-2])] == "dog"


@pytest.mark.parametrize("nested", [0, 1, 2])
@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_a_step_that_looks_far_has_the_whole_text(part: str, nested: int) -> None:
    """However deep it stands: without it, a text is cut."""
    text = "fox " * 5000 + "end"
    for far in (False, True):
        made = trained("letters")
        pattern = Regex("fox.*end" if far else r"\s+")
        if part == "normalizer":
            made.normalizer = normalizers.Replace(pattern, " ")
            for _ in range(nested):
                made.normalizer = normalizers.Sequence([made.normalizer, normalizers.NFC()])
        else:
            made.pre_tokenizer = pre_tokenizers.Split(pattern, "removed")
            for _ in range(nested):
                steps = [made.pre_tokenizer, pre_tokenizers.WhitespaceSplit()]
                made.pre_tokenizer = pre_tokenizers.Sequence(steps)
        assert (leading(made, text, 5) == text) == far
