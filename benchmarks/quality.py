"""What bfloat16 and int8 cost a model: its answers beside those in float32, on the same texts.

    python benchmarks/quality.py --texts heldout.txt
    python benchmarks/quality.py --model FOLDER --texts mails.jsonl

Lines of a .jsonl file are {"text": ..., "label": ...}, those of others are texts. A masked language
model guesses 15% of each text's tokens; a classifier labels each text, and its accuracy is shown
where the lines have labels. "stored" is the folder that `yosort convert --dtype int8` makes, whose
embeddings are integers too; float32 is the exact one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import yosort
from yosort.conversion import convert
from yosort.tasks import bundled_model

BATCH = 64
Answers = npt.NDArray[np.float32]


def read_texts(path: Path, limit: int | None) -> tuple[list[str], list[Any]]:
    """Return the texts of a file and their labels, None where there is none."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [json.loads(x) if path.suffix == ".jsonl" else {"text": x} for x in lines[:limit]]
    return [row["text"] for row in rows], [row.get("label") for row in rows]


def in_batches(rows: list[list[int]]) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Return (indices, ids [batch, n]) of texts, those of one length together: no padding."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    batches = []
    for length in sorted({len(row) for row in rows}):
        chosen = [i for i in order if len(rows[i]) == length]
        for at in range(0, len(chosen), BATCH):
            part = chosen[at : at + BATCH]
            batches.append((np.array(part), np.array([rows[i] for i in part])))
    return batches


def masked_tokens(model: Any, rows: list[list[int]], seed: int) -> tuple[list[Any], list[int]]:
    """Return calls (ids, positions) with 15% of each text masked, and the masked tokens."""
    tokenizer, rng = model.tokenizer, np.random.default_rng(seed)
    special = [tokenizer.id_of(role) for role in tokenizer.special_tokens]
    calls, truth = [], []
    for _, ids in in_batches(rows):
        score = rng.random(ids.shape)
        score[np.isin(ids, special)] = np.inf
        count = max(1, round(0.15 * ids.shape[1]))
        masked = (np.argsort(np.argsort(score, axis=1), axis=1) < count) & np.isfinite(score)
        truth += ids[masked].tolist()
        inputs = np.where(masked, tokenizer.id_of("mask_token"), ids)
        calls.append((inputs, {"positions": np.argwhere(masked)}))
    return calls, truth


def classified(
    model: Any, rows: list[list[int]], labels: list[Any]
) -> tuple[list[Any], list[int] | None]:
    """Return calls (ids, {}), and the classes in their order or None."""
    batches = in_batches(rows)
    calls = [(ids, {}) for _, ids in batches]
    if any(label is None for label in labels):
        return calls, None
    number = {str(name): i for i, name in model.config.id2label.items()}
    wanted = [int(number.get(str(label), label)) for label in labels]
    return calls, [wanted[i] for indices, _ in batches for i in indices]


class Tally:
    """How far answers lie from the exact ones, and how often each is right."""

    def __init__(self) -> None:
        self.count = self.same = self.right = 0
        self.worst = self.largest = 0.0

    def add(self, exact: Answers, other: Answers, truth: npt.NDArray[np.int64] | None) -> None:
        """Count the answers [count, classes] to one call."""
        best = other.argmax(-1)
        self.count += len(other)
        self.same += int((exact.argmax(-1) == best).sum())
        self.right += 0 if truth is None else int((best == truth).sum())
        self.worst = max(self.worst, float(np.abs(other - exact).max()))
        self.largest = max(self.largest, float(np.abs(exact).max()))

    def figures(self, labelled: bool) -> dict[str, float]:
        """Return the figures by name."""
        accuracy = {"top-1": self.right / self.count} if labelled else {}
        return {
            **accuracy,
            "same answer": self.same / self.count,
            "worst logit difference": self.worst,
            "largest logit": self.largest,
        }


def main() -> None:
    """Print a line for each form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=bundled_model())
    parser.add_argument("--texts", type=Path, required=True, help=".jsonl, or a text a line")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--attention", choices=["expectation", "sampled"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    texts, labels = read_texts(arguments.texts, arguments.limit)
    options = {"device": "cpu", "attention": arguments.attention}
    with tempfile.TemporaryDirectory() as temporary:
        stored = convert(arguments.model, Path(temporary) / "int8", dtype="int8")
        models = {
            "float32": yosort.load(arguments.model, **options),
            "bfloat16": yosort.load(arguments.model, dtype="bfloat16", **options),
            "int8": yosort.load(arguments.model, dtype="int8", **options),
            "int8, stored": yosort.load(stored, dtype="int8", **options),
        }
    exact = models["float32"]
    limit = exact.config.max_position_embeddings
    rows = [exact.tokenizer.encoding(text).ids[:limit] for text in texts]
    if "MaskedLM" in type(exact).__name__:
        calls, truth = masked_tokens(exact, rows, arguments.seed)
    else:
        calls, truth = classified(exact, rows, labels)
    tallies = {name: Tally() for name in models}
    at = 0
    for ids, extra in calls:
        got = {name: np.asarray(m(ids, **extra).logits, np.float32) for name, m in models.items()}
        answers = got["float32"].shape[-1]
        wanted = None
        if truth is not None:
            wanted = np.array(truth[at : at + len(got["float32"])])
            at += len(wanted)
        for name, tally in tallies.items():
            tally.add(got["float32"].reshape(-1, answers), got[name].reshape(-1, answers), wanted)
    print(f"{type(exact).__name__}, {len(rows)} texts, {tallies['int8'].count} answers")
    figures = {name: tally.figures(truth is not None) for name, tally in tallies.items()}
    for name, values in figures.items():
        print(f"{name:14}" + "".join(f"  {key} {value:.4f}" for key, value in values.items()))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
