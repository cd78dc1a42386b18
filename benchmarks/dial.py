"""What num_hash buys on real text: quality, error and time at every setting, for two models.

The spam classifier reads the test side of examples/spam/prepare.py, each mail cut at a length; the
bundled model reads its held-out lines (examples/bundled_model/prepare.py), packed to that length,
15% of the tokens masked; each in float32 and in int8, both held against float32's expectation.
`spam`, `fill-mask` and `time` each fill their part of the JSON file, `draw` makes the plots, and
dial_tables.py the pages' tables: only `time` needs the machine for itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import product
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
DTYPES = ("float32", "int8")
#: Tokens a batch of the classifier, and of packed text at each length of the masked model.
BATCH_TOKENS, PACKED_TOKENS = 16384, 32768
MASKED = 0.15
#: Texts timed at each setting, and rounds over all settings in turn.
TIMED_TEXTS, ROUNDS = 3, 3

Floats = npt.NDArray[np.float32]


def read_mails(path: Path, tokenizer: Any) -> tuple[list[list[int]], npt.NDArray[np.int64]]:
    """Return token ids (without special ones) and labels of the test side."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    ids = [tokenizer.encoding(row["text"], add_special_tokens=False).ids for row in rows]
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


def settings() -> list[tuple[str, dict[str, int]]]:
    """Return (name, options) of every setting and draw: one of the expectation, SEEDS of others."""
    draws = [(str(c), {"num_hash": c, "seed": s}) for c in NUM_HASHES for s in range(SEEDS)]
    return [("expectation", {}), *draws]


def compare(exact: Floats, logits: Floats, truth: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return accuracy, and agreement with, mean and worst error from float32's expectation."""
    best, error = logits.argmax(axis=1), np.abs(logits - exact)
    return {
        "accuracy": float(np.mean(best == truth)),
        "agreement": float(np.mean(best == exact.argmax(axis=1))),
        "error": float(np.mean(error)),
        "worst": float(np.max(error)),
    }


def add(row: dict[str, Any], name: str, figures: dict[str, float]) -> None:
    """Append a draw's figures to its setting's lists."""
    for key, value in figures.items():
        row.setdefault(name, {}).setdefault(key, []).append(value)


def load(folder: Path, dtype: str) -> tuple[Any, Any]:
    """Return a model with the expectation and the same, sampled."""
    exact = yosort.load(folder, attention="expectation", dtype=dtype)
    return exact, exact.with_attention("sampled")


def spam_quality(folder: Path, data: Path) -> dict[str, Any]:
    """Measure the classifier: all mails cut at each length, and those alone that fill it."""
    models = {dtype: load(folder, dtype) for dtype in DTYPES}
    mails, labels = read_mails(data / "test.jsonl", models["float32"][0].tokenizer)
    lengths = np.array([len(ids) + 2 for ids in mails])
    runs = [(dtype, *setting) for dtype in DTYPES for setting in settings()]
    logits = np.zeros((len(runs), len(mails), 2), np.float32)
    report: dict[str, Any] = {dtype: {} for dtype in DTYPES}
    before = 0
    for length in LENGTHS:
        # A mail that an earlier length held whole has the same answer here.
        todo = np.flatnonzero(lengths > before)
        rows = [[0, *mails[i][: length - 2], 2] for i in todo]
        before, full = length, lengths >= length
        for dtype in DTYPES:
            report[dtype][str(length)] = {"texts": len(mails), "filled": int(full.sum())}
        for (dtype, name, options), run in zip(runs, logits, strict=True):
            run[todo] = classify(models[dtype][bool(options)], rows, options)
            figures = compare(logits[0], run, labels)
            only = compare(logits[0, full], run[full], labels[full])
            figures |= {f"{key}, filled": only[key] for key in ("agreement", "error")}
            add(report[dtype][str(length)], name, figures)
        print(f"spam, {length} tokens: done", flush=True)
    return report


def packed(corpus: Path, tokenizer: Any, length: int) -> Floats:
    """Return held-out lines one after another as texts of one length, [texts, length]."""
    train = set((corpus / "train.txt").read_text(encoding="utf-8").splitlines())
    lines = (corpus / "heldout.txt").read_text(encoding="utf-8").splitlines()
    stream: list[int] = []
    for i, line in enumerate(line for line in lines if line not in train):
        text = f" {line}" if i % 2 else line  # as in training, half of them after a space
        stream += tokenizer.encoding(text, add_special_tokens=False).ids
        if len(stream) >= PACKED_TOKENS:
            break
    inner = length - 2
    texts = np.array(stream[: len(stream) // inner * inner]).reshape(-1, inner)
    ends = np.zeros((len(texts), 1), np.int64), np.full((len(texts), 1), 2)
    return np.concatenate([ends[0], texts, ends[1]], axis=1)


def mask_quality(corpus: Path) -> dict[str, Any]:
    """Measure the bundled model's first guesses of masked tokens in packed texts."""
    models = {dtype: load(bundled_model(), dtype) for dtype in DTYPES}
    tokenizer = models["float32"][0].tokenizer
    report: dict[str, Any] = {dtype: {} for dtype in DTYPES}
    for length in LENGTHS:
        ids = packed(corpus, tokenizer, length)
        masked = np.random.default_rng(0).random(ids.shape) < MASKED
        masked[:, [0, -1]] = False
        inputs = np.where(masked, tokenizer.id_of("mask_token"), ids)
        places, truth, exact = np.argwhere(masked), ids[masked], None
        for dtype in DTYPES:
            row = report[dtype][str(length)] = {"texts": len(ids), "masked": len(truth)}
            for name, options in settings():
                model = models[dtype][bool(options)]
                logits = model(inputs, positions=places, **options, return_dict=True).logits
                exact = logits if exact is None else exact  # the first: float32's expectation
                add(row, name, compare(exact, logits, truth))
        print(f"fill-mask, {length} tokens: done", flush=True)
    return report


def seconds(folder: Path, texts: dict[int, Any], call: Callable[[Any, Any, Any], Any]) -> Any:
    """Return the median seconds of one text at each length and setting, settings in turn."""
    models = {dtype: load(folder, dtype) for dtype in DTYPES}
    options = [{}, *({"num_hash": count} for count in NUM_HASHES)]
    report: dict[str, Any] = {dtype: {} for dtype in DTYPES}
    for length, rows in texts.items():
        times: dict[tuple[str, str], list[float]] = defaultdict(list)
        for round_ in range(ROUNDS + 1):
            for row, setting, dtype in product(rows, options, DTYPES):
                draw = {**setting, "seed": round_} if setting else {}
                start = time.perf_counter()
                call(models[dtype][bool(setting)], row, draw)
                if round_:  # the first one warms up
                    name = str(setting.get("num_hash", "expectation"))
                    times[dtype, name].append(time.perf_counter() - start)
        for dtype in DTYPES:
            medians = {name: statistics.median(t) for (d, name), t in times.items() if d == dtype}
            report[dtype][str(length)] = medians
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
    from dial_plots import draw

    for path in draw(report, arguments.out):
        print(path)


if __name__ == "__main__":
    main()
