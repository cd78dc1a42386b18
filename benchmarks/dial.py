"""What num_hash buys on real text: quality, error and time at every setting, for two models.

The spam classifier reads the test side of examples/spam/prepare.py, each mail cut at a length; the
bundled model reads its held-out lines (examples/bundled_model/prepare.py), packed to that length,
15% of the tokens masked. `spam`, `fill-mask` and `time` each fill their part of the JSON file,
`draw` makes the plots and prints the tables: only `time` needs the machine for itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import yosort
from yosort.tasks import bundled_model

ROOT = Path(__file__).resolve().parents[1]
LENGTHS = (512, 1024, 2048, 4096)
NUM_HASHES = (8, 16, 32, 64, 128, 256)
SEEDS = 5
#: Tokens a batch of the classifier, and of packed text at each length of the masked model.
BATCH_TOKENS, PACKED_TOKENS = 16384, 32768
MASKED = 0.15
#: Texts timed at each setting, and rounds over all settings in turn.
TIMED_TEXTS, ROUNDS = 3, 3

Floats = npt.NDArray[np.float32]
#: (attention options) -> scores [decisions, classes]
Scores = Callable[[dict[str, Any]], Floats]


def read_mails(path: Path, tokenizer: Any) -> tuple[list[list[int]], npt.NDArray[np.int64]]:
    """Return token ids (without special ones) and labels of the test side."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    ids = [tokenizer.encode(row["text"], add_special_tokens=False).ids for row in rows]
    return ids, np.array([row["label"] for row in rows])


def classify(model: Any, rows: list[list[int]], options: dict[str, Any]) -> Floats:
    """Return the logits [rows, labels], in batches of rows of about one length."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True)
    logits = np.zeros((len(rows), 2), np.float32)
    while order:
        count = max(1, BATCH_TOKENS // len(rows[order[0]]))
        batch, order = order[:count], order[count:]
        ids = np.full((len(batch), len(rows[batch[0]])), 1)
        mask = np.zeros_like(ids)
        for at, i in enumerate(batch):
            ids[at, : len(rows[i])], mask[at, : len(rows[i])] = rows[i], 1
        logits[batch] = model(ids, mask, **options, return_dict=True).logits
    return logits


def settings() -> list[tuple[int, int]]:
    """Return every (num_hash, seed)."""
    return [(count, seed) for count in NUM_HASHES for seed in range(SEEDS)]


def compare(
    exact: Floats, sampled: Sequence[Floats], truth: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Return accuracy, agreement with the expectation and mean error of a score, a seed each."""
    wanted = exact.argmax(axis=1)
    return {
        "accuracy": [float(np.mean(s.argmax(axis=1) == truth)) for s in sampled],
        "agreement": [float(np.mean(s.argmax(axis=1) == wanted)) for s in sampled],
        "error": [float(np.mean(np.abs(s - exact))) for s in sampled],
    }


def spam_quality(folder: Path, data: Path) -> dict[str, Any]:
    """Measure the classifier: all mails cut at each length, and those alone that fill it."""
    exact = yosort.load(folder, attention="expectation")
    sampled = exact.with_attention("sampled")
    mails, labels = read_mails(data / "test.jsonl", exact.tokenizer)
    lengths = np.array([len(ids) + 2 for ids in mails])
    logits = {key: np.zeros((len(mails), 2), np.float32) for key in ("exact", *settings())}
    report: dict[str, Any] = {}
    before = 0
    for length in LENGTHS:
        # A mail that an earlier length held whole has the same answer here.
        todo = np.flatnonzero(lengths > before)
        rows = [[0, *mails[i][: length - 2], 2] for i in todo]
        before = length
        logits["exact"][todo] = classify(exact, rows, {})
        for count, seed in settings():
            options = {"num_hash": count, "seed": seed}
            logits[count, seed][todo] = classify(sampled, rows, options)
        full = lengths >= length
        row: dict[str, Any] = {"texts": len(mails), "filled": int(full.sum())}
        row["expectation"] = {"accuracy": float(np.mean(logits["exact"].argmax(1) == labels))}
        for count in NUM_HASHES:
            runs = [logits[count, seed] for seed in range(SEEDS)]
            row[str(count)] = compare(logits["exact"], runs, labels)
            only = compare(logits["exact"][full], [run[full] for run in runs], labels[full])
            row[str(count)] |= {f"{name}, filled": only[name] for name in ("agreement", "error")}
        report[str(length)] = row
        print(f"spam, {length} tokens: done", flush=True)
    return report


def packed(corpus: Path, tokenizer: Any, length: int) -> Floats:
    """Return held-out lines one after another as texts of one length, [texts, length]."""
    train = set((corpus / "train.txt").read_text(encoding="utf-8").splitlines())
    lines = (corpus / "heldout.txt").read_text(encoding="utf-8").splitlines()
    stream: list[int] = []
    for i, line in enumerate(line for line in lines if line not in train):
        text = f" {line}" if i % 2 else line  # as in training, half of them after a space
        stream += tokenizer.encode(text, add_special_tokens=False).ids
        if len(stream) >= PACKED_TOKENS:
            break
    inner = length - 2
    texts = np.array(stream[: len(stream) // inner * inner]).reshape(-1, inner)
    ends = np.zeros((len(texts), 1), np.int64), np.full((len(texts), 1), 2)
    return np.concatenate([ends[0], texts, ends[1]], axis=1)


def mask_quality(corpus: Path) -> dict[str, Any]:
    """Measure the bundled model's first guesses of masked tokens in packed texts."""
    exact = yosort.load(bundled_model(), attention="expectation")
    sampled = exact.with_attention("sampled")
    report: dict[str, Any] = {}
    for length in LENGTHS:
        ids = packed(corpus, exact.tokenizer, length)
        masked = np.random.default_rng(0).random(ids.shape) < MASKED
        masked[:, [0, -1]] = False
        inputs = np.where(masked, exact.tokenizer.id_of("mask_token"), ids)
        places, truth = np.argwhere(masked), ids[masked]

        def scores(model: Any, **options: Any) -> Floats:
            return model(inputs, positions=places, **options, return_dict=True).logits  # noqa: B023

        wanted = scores(exact)
        row: dict[str, Any] = {"texts": len(ids), "masked": len(truth)}
        row["expectation"] = {"accuracy": float(np.mean(wanted.argmax(1) == truth))}
        for count in NUM_HASHES:
            parts = [
                compare(wanted, [scores(sampled, num_hash=count, seed=seed)], truth)
                for seed in range(SEEDS)
            ]
            row[str(count)] = {name: [p[name][0] for p in parts] for name in parts[0]}
        report[str(length)] = row
        print(f"fill-mask, {length} tokens: done", flush=True)
    return report


def seconds(folder: Path, texts: dict[int, Any], call: Callable[[Any, Any, Any], Any]) -> Any:
    """Return the median seconds of one text at each length and setting, settings in turn."""
    exact = yosort.load(folder, attention="expectation")
    sampled = exact.with_attention("sampled")
    report: dict[str, dict[str, float]] = {}
    for length, rows in texts.items():
        times: dict[str, list[float]] = {}
        for round_ in range(ROUNDS + 1):
            for row in rows:
                for count in (None, *NUM_HASHES):
                    model = exact if count is None else sampled
                    options = {} if count is None else {"num_hash": count, "seed": round_}
                    start = time.perf_counter()
                    call(model, row, options)
                    if round_:  # the first one warms up
                        name = "expectation" if count is None else str(count)
                        times.setdefault(name, []).append(time.perf_counter() - start)
        report[str(length)] = {name: statistics.median(t) for name, t in times.items()}
    return report


def spam_seconds(folder: Path, data: Path) -> Any:
    """Time the classifier on mails that fill each length."""
    tokenizer = yosort.load(folder).tokenizer
    mails, _ = read_mails(data / "test.jsonl", tokenizer)
    texts = {}
    for length in LENGTHS:
        full = [[0, *ids[: length - 2], 2] for ids in mails if len(ids) + 2 >= length]
        texts[length] = full[:TIMED_TEXTS]
    return seconds(folder, texts, lambda model, row, options: model([row], **options))


def mask_seconds(corpus: Path) -> Any:
    """Time the bundled model on packed texts, 15% of the tokens scored."""
    tokenizer = yosort.load(bundled_model()).tokenizer
    texts = {n: packed(corpus, tokenizer, n)[:TIMED_TEXTS] for n in LENGTHS}

    def call(model: Any, row: Any, options: dict[str, Any]) -> None:
        places = [(0, i) for i in range(1, len(row), round(1 / MASKED))]
        model(row[None], positions=places, **options)

    return seconds(bundled_model(), texts, call)


def main() -> None:
    """Measure a part, or draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("spam", "fill-mask", "time", "draw"))
    parser.add_argument("--model", type=Path, default=ROOT / "examples" / "spam" / "model")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "dial.json")
    arguments = parser.parse_args()
    report = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    if arguments.part == "spam":
        report["spam"] = spam_quality(arguments.model, arguments.data)
    elif arguments.part == "fill-mask":
        report["fill-mask"] = mask_quality(arguments.corpus)
    elif arguments.part == "time":
        report["seconds"] = {
            "spam": spam_seconds(arguments.model, arguments.data),
            "fill-mask": mask_seconds(arguments.corpus),
        }
    if arguments.part != "draw":
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        return
    from dial_plots import draw, tables

    for path in draw(report, arguments.out):
        print(path)
    print(tables(report))


if __name__ == "__main__":
    main()
