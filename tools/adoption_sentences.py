"""Write yosort/adoption/sentences.txt from WordNet's files: `python tools/adoption_sentences.py`.

What `yosort adopt` fits on where it is given no texts: examples and definitions, alone, and
paragraphs of a synset's with those of the synsets below it. Debian's wordnet-base has the files.
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path
from typing import NamedTuple

EXAMPLES, DEFINITIONS, PARAGRAPHS = 640, 430, 130
#: Nobody needs these in a file of examples; many are other words, and not missed either.
LEFT_OUT = re.compile(
    r"slur|obscen|dispara|offens|vulgar|sex|rape|kill|murder|slave|negro|jew|gay|homo|nazi|hitler|"
    r"genital|penis|vagina|breast|whore|prostit|drug|suicid|racis|hell|damn|god|allah|muslim|islam|"
    r"christ|fuck|shit|ass\b|bitch|blood|corpse|torture|indian|savage|primitive|native|retard|"
    r"cripple|fat\b|erect|urin|fec|lesb|terror|bomb",
    re.I,
)


class Synset(NamedTuple):
    """One meaning: its first word, and what WordNet says of it."""

    word: str
    gloss: str
    above: list[tuple[str, str]]

    @property
    def definition(self) -> str:
        """The gloss without its examples."""
        return re.split(r';\s*"', self.gloss)[0].strip(" ;")

    @property
    def examples(self) -> list[str]:
        """Sentences with the word."""
        return re.findall(r'"([^"]+)"', self.gloss)


def read(folder: Path) -> dict[tuple[str, str], Synset]:
    """Return all synsets by part of speech and number."""
    found = {}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):
                continue
            facts, gloss = line.rstrip().split(" | ", 1)
            fields = facts.split()
            rest = fields[4 + 2 * int(fields[3], 16) :]
            pointers = [rest[1 + 4 * i : 3 + 4 * i] for i in range(int(rest[0]))]
            above = [(part, number) for kind, number in pointers if kind == "@"]
            word = fields[4].split("(")[0].replace("_", " ")
            found[part, fields[0]] = Synset(word, gloss.strip(), above)
    return found


def sentence(text: str) -> str:
    """Return a text with a capital and a full stop."""
    text = text.strip(" ;,")
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")


def choose(synsets: dict[tuple[str, str], Synset]) -> list[str]:
    """Return the texts, in an order of their own."""
    rng = random.Random(0)
    definitions, examples = [], []
    for synset in synsets.values():
        text = synset.definition
        if LEFT_OUT.search(f"{synset.word} {synset.gloss}") or '"' in text:
            continue
        if 6 <= len(text.split()) <= 24 and re.match(r"[a-z(]", text):
            definitions.append((synset.word, text))
        for example in synset.examples:
            plain = "--" not in example and " - " not in example
            if 6 <= len(example.split()) <= 24 and plain and re.match(r"[A-Za-z]", example):
                examples.append(sentence(example))
    rng.shuffle(definitions)
    rng.shuffle(examples)
    chosen = {text.lower(): text for text in reversed(examples)}
    texts = [text for text in dict.fromkeys(examples) if chosen[text.lower()] == text][:EXAMPLES]
    seen = {text.lower() for text in texts}
    for word, text in definitions:
        form = rng.random()
        text = text if form >= 0.8 else sentence(text if form < 0.4 else f"{word}: {text}")
        if text.lower() not in seen and len(texts) < EXAMPLES + DEFINITIONS:
            seen.add(text.lower())
            texts.append(text)
        if len(texts) == EXAMPLES + DEFINITIONS:
            break
    paragraphs = _paragraphs(synsets, rng)
    texts += paragraphs
    rng.shuffle(texts)
    return texts


def _paragraphs(synsets: dict[tuple[str, str], Synset], rng: random.Random) -> list[str]:
    below: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key, synset in synsets.items():
        for above in synset.above:
            below.setdefault(above, []).append(key)
    keys = [key for key in below if len(below[key]) >= 4]
    rng.shuffle(keys)
    found: list[str] = []
    for key in keys:
        others = below[key][:]
        rng.shuffle(others)
        some = [synsets[k] for k in [key, *others[: rng.choice([3, 5, 8, 12])]]]
        if any(LEFT_OUT.search(each.word + each.gloss) for each in some):
            continue
        parts = [
            " ".join([sentence(f"{s.word}: {s.definition}"), *map(sentence, s.examples[:1])])
            for s in some
        ]
        text = " ".join(parts)
        if len(text.split()) <= 180:
            found.append(text)
        if len(found) == PARAGRAPHS:
            break
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    out = Path(__file__).resolve().parent.parent / "yosort" / "adoption" / "sentences.txt"
    parser.add_argument("--out", type=Path, default=out)
    arguments = parser.parse_args()
    lines = choose(read(arguments.wordnet))
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {len(lines)} texts")
