"""Measure masked-token accuracy on the held-out lines: unigram, transformers, yosort.

15% of a line's tokens, at least one, are replaced by <mask>; each runtime sees the same ones. Lines
that also occur in the training text are left out.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

import yosort

Ids = npt.NDArray[np.int64]
#: ids [batch, n], where masked [batch, n] -> the best 5 ids of each masked token [masked, 5].
Predict = Callable[[Ids, npt.NDArray[np.bool_]], Ids]
BATCH = 64


def best(scores: npt.NDArray[np.float32]) -> Ids:
    """Return the five best ids of each row, best first."""
    return np.argsort(-scores, axis=-1, kind="stable")[:, :5]


def unigram(train_ids: list[list[int]]) -> Predict:
    """Return a predictor that always names the most frequent tokens of the training text."""
    counts = Counter(token for row in train_ids for token in row)
    top = np.array([token for token, _ in counts.most_common(5)])
    return lambda ids, masked: np.tile(top, (int(masked.sum()), 1))


def with_transformers(folder: Path) -> Predict:
    """Return a predictor by transformers' own model."""
    import torch
    from transformers import YosoForMaskedLM

    model = YosoForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()

    def predict(ids: Ids, masked: npt.NDArray[np.bool_]) -> Ids:
        with torch.no_grad():
            return best(model(torch.from_numpy(ids)).logits.numpy()[masked])

    return predict


def with_yosort(folder: Path, attention: str, num_hash: int | None = None) -> Predict:
    """Return a predictor by yosort."""
    model = yosort.YosoForMaskedLM.from_pretrained(folder, attention=attention, num_hash=num_hash)

    def predict(ids: Ids, masked: npt.NDArray[np.bool_]) -> Ids:
        return best(model(ids, positions=np.argwhere(masked)).logits)

    return predict


def batches(
    lines: list[list[int]], special: set[int], seed: int
) -> Iterator[tuple[Ids, npt.NDArray[np.bool_]]]:
    """Yield (ids, masked), lines of one length together: transformers attends to padding."""
    rng = np.random.default_rng(seed)
    by_length: dict[int, list[list[int]]] = defaultdict(list)
    for line in lines:
        by_length[len(line)].append(line)
    for length in sorted(by_length):
        rows = np.array(by_length[length])
        score = rng.random(rows.shape)
        score[np.isin(rows, list(special))] = np.inf
        count = max(1, round(0.15 * length))
        masked = np.argsort(np.argsort(score, axis=1), axis=1) < count
        masked &= np.isfinite(score)
        for at in range(0, len(rows), BATCH):
            yield rows[at : at + BATCH], masked[at : at + BATCH]


def main() -> None:
    """Print a line for each predictor: top-1, top-5, and how often its first guess is ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--model", type=Path, default=Path("model"))
    parser.add_argument("--without-transformers", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    train = (arguments.corpus / "train.txt").read_text(encoding="utf-8").splitlines()
    held_out = (arguments.corpus / "heldout.txt").read_text(encoding="utf-8").splitlines()
    seen = set(train)
    fresh = [line for line in held_out if line not in seen]
    tokenizer = yosort.load(arguments.model).tokenizer
    special = {tokenizer.id_of(role) for role in tokenizer.special_tokens}
    encoded = [tokenizer.encoding(line).ids for line in fresh]

    predictors = {
        "unigram": unigram([tokenizer.encoding(line).ids[1:-1] for line in train]),
        "yosort, expectation": with_yosort(arguments.model, "expectation"),
        "yosort, sampled 64": with_yosort(arguments.model, "sampled", 64),
    }
    if not arguments.without_transformers:
        predictors["transformers"] = with_transformers(arguments.model)
    guesses: dict[str, list[Ids]] = {name: [] for name in predictors}
    wanted = []
    mask_id = tokenizer.id_of("mask_token")
    for ids, masked in batches(encoded, special, arguments.seed):
        wanted.append(ids[masked])
        inputs = np.where(masked, mask_id, ids)
        for name, predict in predictors.items():
            guesses[name].append(predict(inputs, masked))
    truth = np.concatenate(wanted)
    ours = np.concatenate(guesses["yosort, expectation"])
    print(f"{len(fresh)} held-out lines, {len(truth)} masked tokens")
    figures = {}
    for name in predictors:
        guess = np.concatenate(guesses[name])
        figures[name] = {
            "top-1": float(np.mean(guess[:, 0] == truth)),
            "top-5": float(np.mean((guess == truth[:, None]).any(axis=1))),
            "same first guess as yosort": float(np.mean(guess[:, 0] == ours[:, 0])),
        }
        print(f"{name:22}" + "".join(f"  {k} {v:7.2%}" for k, v in figures[name].items()))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
