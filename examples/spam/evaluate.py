"""Measure the spam classifier on the untouched test side with yosort, beside a linear baseline.

The baseline is scikit-learn's logistic regression over TF-IDF of words and pairs of words, on the
same mails, uncut; its one choice, C, is made on the dev side. yosort reads 4,096 tokens of a mail.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import yosort

Floats = npt.NDArray[np.float64]
BINS = 15


def read_side(path: Path) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the texts and labels of one side."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row["text"] for row in rows], np.array([row["label"] for row in rows])


def measures(spam: Floats, labels: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return how good probabilities of spam [mails] are.

    Accuracy and F1 (of spam) at 0.5; Brier: mean squared error; ECE: the gap between confidence and
    accuracy, averaged over 15 equal bins of confidence by how many mails fall into each.
    """
    guess = (spam > 0.5).astype(np.int64)
    right = guess == labels
    hits = float(np.sum(guess * labels))
    confidence = np.maximum(spam, 1 - spam)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(right[bins == b].mean() - confidence[bins == b].mean()) * np.mean(bins == b)
        for b in np.unique(bins)
    ]
    return {
        "accuracy": float(right.mean()),
        "F1": 2 * hits / float(guess.sum() + labels.sum()),
        "ECE": float(sum(gaps)),
        "Brier": float(np.mean((spam - labels) ** 2)),
    }


def with_yosort(folder: Path, texts: list[str], **options: Any) -> Floats:
    """Return the probability of spam of each text."""
    classify = yosort.pipeline("text-classification", folder, **options)
    answers = classify(texts, top_k=None, overflow="truncate")
    return np.array([{a["label"]: a["score"] for a in answer}["spam"] for answer in answers])


def with_baseline(data: Path, texts: list[str]) -> tuple[Floats, float]:
    """Return the baseline's probability of spam of each text, and the C that did best on dev."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, labels = read_side(data / "train.jsonl")
    dev, dev_labels = read_side(data / "dev.jsonl")
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    features, dev_features = vectorizer.fit_transform(train), vectorizer.transform(dev)
    models = [LogisticRegression(C=c, max_iter=1000).fit(features, labels) for c in (1, 10, 100)]
    best = max(models, key=lambda model: model.score(dev_features, dev_labels))
    return best.predict_proba(vectorizer.transform(texts))[:, 1], float(best.C)


def main() -> None:
    """Print a line for each way to classify; write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name("model"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    texts, labels = read_side(arguments.data / "test.jsonl")
    num_hash = yosort.YosoConfig.from_pretrained(arguments.model).num_hash
    figures: dict[str, Any] = {"mails": len(texts), "spam": int(labels.sum())}
    exact = with_yosort(arguments.model, texts, attention="expectation")
    share = read_side(arguments.data / "train.jsonl")[1].mean()
    figures["the train side's share of spam"] = measures(np.full(len(texts), share), labels)
    figures["yosort, expectation"] = measures(exact, labels)
    runs = [
        with_yosort(arguments.model, texts, attention="sampled", seed=seed)
        for seed in range(arguments.seeds)
    ]
    each = [measures(run, labels) for run in runs]
    figures[f"yosort, sampled {num_hash}"] = {
        **{name: float(np.mean([m[name] for m in each])) for name in each[0]},
        "accuracy of each seed": [m["accuracy"] for m in each],
    }
    baseline, c = with_baseline(arguments.data, texts)
    figures["TF-IDF + logistic regression"] = {**measures(baseline, labels), "C": c}
    for name, row in figures.items():
        if isinstance(row, dict):
            cells = [f"{k} {row[k]:.4f}" for k in ("accuracy", "F1", "ECE", "Brier")]
            print(f"{name:30}" + "  ".join(cells))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
