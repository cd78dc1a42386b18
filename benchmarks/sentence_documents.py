"""Documents to be found, and the questions that are to find them: manual pages of this machine.

A question is a sentence from the middle third of a page that no other page has.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

SHORTEST, LONGEST = 1000, 4000  # tokens of a document
QUESTION = (40, 300)  # characters
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@dataclass(frozen=True)
class Found:
    """A document and a sentence of it."""

    name: str
    document: str
    question: str


def sentences(text: str) -> list[str]:
    """Return the sentences of a text's paragraphs: prose, of a question's length."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in SENTENCE_END.split(" ".join(paragraph.split())):
            letters = sum(c.isalpha() or c == " " for c in sentence)
            long_enough = QUESTION[0] <= len(sentence) <= QUESTION[1]
            if long_enough and letters > 0.85 * len(sentence) and sentence[-1] in ".!?":
                found.append(sentence)
    return found


def rendered(page: Path) -> str:
    """Return a manual page as `man` shows it."""
    command = ["man", "-E", "UTF-8", "--nh", "--nj", "-l", str(page)]
    shown = subprocess.run(
        command, capture_output=True, env={"MANWIDTH": "100", "PATH": "/usr/bin"}
    )
    return re.sub(".\b", "", shown.stdout.decode("utf-8", "replace")).strip()


def pick(folder: Path, tokenizer: Tokenizer, count: int, seed: int) -> list[Found]:
    """Return so many pages of sections 1 to 8 with a question each, by the seed.

    A program's page and its alias, or two pages of one beginning, count once.
    """
    draw = random.Random(seed)
    pages = sorted(p for p in folder.glob("man[1-8]/*.gz") if not p.is_symlink())
    draw.shuffle(pages)
    texts: dict[str, str] = {}
    beginnings: set[str] = set()
    for page in pages:
        if len(texts) == count:
            break
        if not 2000 < page.stat().st_size < 14000:  # compressed: the others need not be rendered
            continue
        text = rendered(page)
        # The heading names the page; what follows NAME is its own.
        beginning = text.partition("\n")[2][:200]
        tokens = len(tokenizer.encode(text).ids)
        if SHORTEST <= tokens <= LONGEST and beginning not in beginnings:
            beginnings.add(beginning)
            texts[page.name.removesuffix(".gz")] = text
    pages_with = Counter(s for text in texts.values() for s in set(sentences(text)))
    found = []
    for name, text in texts.items():
        middle = text[len(text) // 3 : 2 * len(text) // 3]
        own = [s for s in sentences(middle)[1:-1] if pages_with[s] == 1]
        if own:
            found.append(Found(name, text, draw.choice(own)))
    return found


def write(path: Path, found: list[Found]) -> None:
    """Write a document a line."""
    lines = [json.dumps(vars(f)) for f in found]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path: Path) -> list[Found]:
    """Read what `write` wrote."""
    return [Found(**json.loads(x)) for x in path.read_text(encoding="utf-8").splitlines()]
