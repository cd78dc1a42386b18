"""The spam example: what its preparation removes, and that no mail is on two sides."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import yosort

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "spam"


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("spam_prepare", FOLDER / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["spam_prepare"] = module  # where its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def mail(subject: str, body: str, kind: str = "text/plain") -> str:
    """Return a mail with headers that give its collection away."""
    return (
        "From sender@xent.com  Thu Aug 22 16:37:41 2002\n"
        "Return-Path: <sender@xent.com>\nReceived: from phobos.labs.netnoteinc.com\n"
        f"List-Id: Secret list <secretlist.xent.com>\nSubject: {subject}\n"
        f"Content-Type: {kind}; charset=us-ascii\nX-Mailer: secretmailer\n\n{body}\n"
    )


def words(seed: int, count: int = 60) -> list[str]:
    """Return random words of letters; of a to y, for names of z are removed."""
    letters = np.random.default_rng(seed).integers(97, 122, (count, 6)).astype(np.uint8)
    return [bytes(row).decode() for row in letters]


def run(module: ModuleType, mails: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the script and return the sides' rows."""
    monkeypatch.setattr(sys, "argv", ["prepare", "--mails", str(mails), "--out", str(out)])
    module.main()
    return {
        side: [
            json.loads(line)
            for line in (out / f"{side}.jsonl").read_text(encoding="utf-8").splitlines()
            if line
        ]
        for side in ("train", "dev", "test")
    }


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    """160 mails: 40 texts, each also with other digits and case, nearly the same, and in spam."""
    folder = tmp_path / "mails"
    for group in ("easy-ham-1", "spam-2"):
        (folder / group).mkdir(parents=True)
    for i in range(40):
        text = words(i)
        same = [f"{word.upper()} {j}!" for j, word in enumerate(text)]
        near = [*text[:30], "inserted", *text[30:]]
        for name, group, body in (
            (f"{i}-a", "easy-ham-1", text),
            (f"{i}-b", "easy-ham-1", same),
            (f"{i}-c", "easy-ham-1", near),
            (f"{i}-d", "spam-2", text),
        ):
            content = mail(f"[ilug] number {i}", " ".join(body))
            (folder / group / f"{name}.txt").write_text(content, encoding="ascii")
    return folder


def test_duplicates_are_kept_once_and_near_ones_on_one_side(
    prepare: ModuleType, mails: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = run(prepare, mails, tmp_path / "out", monkeypatch)
    by_text: dict[str, list[str]] = {}
    for side, rows in sides.items():
        for row in rows:
            by_text.setdefault(row["source"].split("/")[1].split("-")[0], []).append(side)
    assert sorted(map(len, by_text.values())) == [2] * 40  # a and c
    assert all(len(set(found)) == 1 for found in by_text.values())
    assert all(sides[side] for side in sides)


def test_the_split_depends_on_the_content_alone(
    prepare: ModuleType, mails: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(prepare, mails, tmp_path / "one", monkeypatch)
    for i in range(0, 40, 2):  # other names, another order, fewer mails
        (mails / "easy-ham-1" / f"{i}-a.txt").rename(mails / "easy-ham-1" / f"zz{i}.txt")
        (mails / "spam-2" / f"{i}-d.txt").unlink()
    after = run(prepare, mails, tmp_path / "two", monkeypatch)
    for side in before:
        wanted, got = ({prepare_key(row) for row in rows[side]} for rows in (before, after))
        assert got == wanted


def prepare_key(row: dict[str, Any]) -> str:
    """Return what duplicates have in common."""
    return " ".join("".join(c if c.isalpha() else " " for c in row["text"].lower()).split())


def test_what_gives_the_label_away_is_removed(prepare: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "spam-1"
    folder.mkdir()
    page = (
        "<html><head><title>hidden</title><style>hidden {}</style></head><body>Dear "
        "zzzz@spamassassin.taint.org,<p>buy <b>now</b> or never, friend of ours</body></html>"
    )
    (folder / "1.txt").write_text(mail("[secretlist] Re: hello", page, "text/html"), "ascii")
    (found,) = prepare.read(tmp_path)
    assert found.label == 1
    assert found.text == "Re: hello\nDear someone@somewhere,\nbuy now or never, friend of ours"
    footer = (
        "A letter to the list.\n-- \nIrish Linux Users' Group: ilug@linux.ie\n"
        "http://www.linux.ie/mailman/listinfo/ilug for (un)subscription information.\n"
    )
    assert prepare.clean(footer) == "A letter to the list."


def test_the_shipped_checkpoint_is_small_and_knows_mail() -> None:
    assert (FOLDER / "model" / "model.safetensors").stat().st_size <= 4_000_000
    classify = yosort.pipeline("text-classification", FOLDER / "model")
    ham = "Re: kernel patch\nOn Monday Alan wrote:\n> does it build with gcc 3?\nYes, it does here."
    spam = (
        "Lose weight now\nClick here to order today! 100% guaranteed, money back. "
        "To be removed from our mailing list, reply with remove in the subject."
    )
    assert [classify(text)[0]["label"] for text in (ham, spam)] == ["ham", "spam"]
