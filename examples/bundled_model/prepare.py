"""Write WordNet's glosses and the King James Bible as lines of text, one document each.

Reads what Debian's wordnet-base and bible-kjv packages install; writes train.txt and heldout.txt.
A line is held out by the hash of its synset or verse, so no sentence of a synset is on both sides.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

HELD_OUT_PERCENT = 5
ARTICLE = re.compile(r"(a|an|the|any|one|some|each|all|several) ")


def is_held_out(key: str) -> bool:
    """Whether the document of this key is in the held-out twentieth."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 100 < HELD_OUT_PERCENT


def sentence(text: str) -> str:
    """Capitalise, close with a full stop, and fold white space."""
    text = " ".join(text.split()).strip(" ;,")
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def article(word: str) -> str:
    """Return the indefinite article of a word, by its first letter."""
    return "an" if word[0].lower() in "aeiou" else "a"


def define(kind: str, word: str, definition: str, is_instance: bool) -> str:
    """Phrase one definition of one word as a sentence."""
    if kind == "v":
        return sentence(f"to {word} is to {definition}")
    if kind in "asr":
        return sentence(f"{word} means {definition}")
    countable = not is_instance and definition.startswith(("a ", "an ", "any ", "one ", "someone "))
    subject = f"{article(word)} {word}" if countable and word[0].islower() else word
    return sentence(f"{subject} is {definition}")


def synset_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (key, sentences) of each synset of one WordNet data file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue
        fields, _, gloss = line.partition(" | ")
        parts = fields.split()
        kind, count = parts[2], int(parts[3], 16)
        words = [re.sub(r"\(.*\)", "", w).replace("_", " ") for w in parts[4 : 4 + 2 * count : 2]]
        is_instance = "@i" in parts
        examples = re.findall(r'"([^"]+)"', gloss)
        definitions = re.sub(r'"[^"]*"?', "", gloss)
        definitions = re.sub(r"\([^)]*\)", "", definitions)
        pieces = [p.strip(" ;,:-") for p in definitions.split(";")]
        pieces = [p for p in pieces if len(p) > 3]
        lines = [define(kind, word, pieces[0], is_instance) for word in words[:3] if pieces]
        lines += [define(kind, words[0], p, is_instance) for p in pieces[1:] if ARTICLE.match(p)]
        lines += [sentence(e) for e in examples if " " in e]
        yield f"{path.name}:{parts[0]}", [x for x in lines if x]


def bible_verses() -> Iterator[tuple[str, str]]:
    """Yield (reference, text) of every verse, in order."""
    listing = subprocess.run(
        ["bible", "-f", "-l", "100000", "Gen1:1-Rev22:21"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for line in listing.splitlines():
        reference, _, text = line.partition(" ")
        if ":" in reference and text:
            yield reference, " ".join(text.split())


def main() -> None:
    """Write the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--out", type=Path, default=Path("corpus"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sides: dict[bool, list[str]] = {False: [], True: []}
    for name in ("data.noun", "data.verb", "data.adj", "data.adv"):
        for key, lines in synset_lines(arguments.wordnet / name):
            sides[is_held_out(key)].extend(lines)
    for reference, text in bible_verses():
        sides[is_held_out(reference)].append(text)
    for held_out, lines in sides.items():
        path = arguments.out / ("heldout.txt" if held_out else "train.txt")
        path.write_text("\n".join(dict.fromkeys(lines)) + "\n", encoding="utf-8")
        print(f"{path}: {len(lines)} lines")


if __name__ == "__main__":
    main()
