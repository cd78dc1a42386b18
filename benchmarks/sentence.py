r"""Measure a YOSO sentence model beside the original it was made of, run as its users run it.

    python benchmarks/sentence.py export MINILM exported        # beside it, ONNX and its int8 form
    python benchmarks/sentence.py documents exported documents.jsonl
    python benchmarks/sentence.py quality exported OURS documents.jsonl sentence.json \
        --pairs pairs.csv --intents intents.csv
    python benchmarks/sentence.py times exported OURS documents.jsonl sentence.json
    python benchmarks/sentence.py show sentence.json            # tables, and a plot beside it

Pairs are rows of two sentences and a score, without a heading; intents are rows of a text and its
category, below one. Documents are manual pages of this machine, each to be found by a sentence from
its middle. `quality` and `times` add to the file; nothing is left out of it.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sentence_documents import Found, pick, read, write
from sentence_encoders import NUM_HASHES, ORIGINALS, OURS, Vectors, export, longest
from sentence_times import COLUMNS, times
from tokenizers import Tokenizer

Encode = Callable[[Sequence[str]], Vectors]
#: Sampled answers depend on the draw: they are measured with so many, and their mean is shown.
SEEDS = {"pairs": 3, "intents": 1, "documents": 1}
#: The forms whose quality the plot shows, and those that are measured: sentence-transformers gives
#: the vectors that onnxruntime gives, and only its time differs.
PLOTTED = (
    "original, onnxruntime",
    "yosort, exact",
    *(f"yosort, sampled {m}" for m in NUM_HASHES),
)
MEASURED = (
    "original, onnxruntime",
    "original, onnxruntime int8",
    *PLOTTED[1:],
    "yosort int8, exact",
    "yosort int8, sampled 32",
)


def ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ranks, the mean of them where values are the same."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the correlation of ranks."""
    return float(np.corrcoef(ranks(np.asarray(a)), ranks(np.asarray(b)))[0, 1])


def on_pairs(encode: Encode, path: Path) -> float:
    """Return Spearman's correlation of cosines with the scores of a file."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    left, right = (encode([row[i] for row in rows]) for i in (0, 1))
    return spearman((left * right).sum(1), [float(row[2]) for row in rows])


def on_intents(encode: Encode, path: Path) -> float:
    """Return how often a text's nearest neighbour has its category."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    vectors, labels = encode([row[0] for row in rows]), np.array([row[1] for row in rows])
    right = 0
    for at in range(0, len(rows), 1000):
        cosines = vectors[at : at + 1000] @ vectors.T
        cosines[np.arange(len(cosines)), np.arange(at, at + len(cosines))] = -1
        right += int((labels[cosines.argmax(1)] == labels[at : at + 1000]).sum())
    return right / len(rows)


def found_first(scores: npt.NDArray[np.float32]) -> float:
    """Return how often a question's own document has the best score, [questions, documents]."""
    return float((scores.argmax(1) == np.arange(len(scores))).mean())


def on_documents(encode: Encode, found: list[Found]) -> float:
    """Return how often a question finds its document first, a vector a document."""
    questions = encode([f.question for f in found])
    return found_first(questions @ encode([f.document for f in found]).T)


def chunks(text: str, tokenizer: Tokenizer, length: int) -> list[str]:
    """Return a text in pieces of so many tokens, special ones included."""
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    starts = range(0, len(offsets), length - 2)
    return [text[offsets[a][0] : offsets[min(a + length - 2, len(offsets)) - 1][1]] for a in starts]


def on_chunks(encode: Encode, found: list[Found], original: Path) -> dict[str, float]:
    """Return how often a question finds its document first by its chunks: their best, or mean."""
    tokenizer = Tokenizer.from_file(str(original / "tokenizer.json"))
    tokenizer.no_truncation()
    pieces = [chunks(f.document, tokenizer, longest(original)) for f in found]
    vectors = encode([piece for group in pieces for piece in group])
    first = np.append(0, np.cumsum([len(group) for group in pieces])[:-1])
    questions = encode([f.question for f in found])
    means = np.add.reduceat(vectors, first)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    best = np.maximum.reduceat(questions @ vectors.T, first, axis=1)
    return {"best chunk": found_first(best), "mean of chunks": found_first(questions @ means.T)}


def quality(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the report's "quality", {form: {measure: values by seed}}, after each form."""
    found = read(arguments.documents)
    measures: dict[str, Callable[[Encode], float]] = {
        "pairs": partial(on_pairs, path=arguments.pairs),
        "intents": partial(on_intents, path=arguments.intents),
        "documents": partial(on_documents, found=found),
    }
    figures: dict[str, dict[str, Any]] = {}
    for name in MEASURED:
        if arguments.only not in name:
            continue
        folder = arguments.ours if name in OURS else arguments.original
        rows: dict[str, Any] = {what: [] for what in measures}
        for seed in range(max(SEEDS.values()) if "sampled" in name else 1):
            make = (ORIGINALS | OURS)[name]
            encode = make(folder, arguments.threads, **({"seed": seed} if seed else {})).encode
            for what, measure in measures.items():
                if seed < SEEDS[what]:
                    rows[what].append(measure(encode))
        if name in ORIGINALS:
            rows |= on_chunks(encode, found, arguments.original)
        figures[name] = rows
        print(name, rows, flush=True)
        yield {"quality": figures, "documents": len(found)}


def table(rows: dict[str, dict[str, Any]], columns: dict[str, str]) -> str:
    """Return rows as Markdown; values by seed as their mean."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [
            format(float(np.mean(row[key])), form) if key in row else ""
            for key, form in columns.items()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(figures: dict[str, dict[str, Any]], path: Path) -> None:
    """Plot each measure over the number of hash functions, the exact model and the original."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "yosort"  # the same figures give the same file
    from matplotlib import pyplot as plt

    titles = {
        "pairs": "pairs of sentences, Spearman",
        "intents": "intents, nearest neighbour",
        "documents": "long documents, found first",
    }
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.2), layout="constrained")
    for axes, (what, title) in zip(panels, titles.items(), strict=True):
        values = np.array([figures[f"yosort, sampled {m}"][what] for m in NUM_HASHES])
        axes.plot(NUM_HASHES, values.mean(1), marker="o", color="C0", label="sampled")
        axes.fill_between(NUM_HASHES, values.min(1), values.max(1), color="C0", alpha=0.2)
        original = figures["original, onnxruntime"]
        axes.axhline(*figures["yosort, exact"][what], color="C0", ls="--", label="exact")
        axes.axhline(*original[what], color="C1", label="original")
        if what == "documents":
            axes.axhline(original["mean of chunks"], color="C1", ls="--", label="its chunks, mean")
            axes.axhline(original["best chunk"], color="C1", ls=":", label="its chunks, best")
        axes.set_xscale("log", base=2)
        axes.set_xticks(NUM_HASHES, [str(m) for m in NUM_HASHES])
        axes.set(title=title, xlabel="num_hash")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def tables(report: dict[str, Any]) -> list[str]:
    """Return what a report has, as tables."""
    quality = {"pairs": ".4f", "intents": ".2%", "documents": ".1%"}
    forms = {
        "quality": quality | {"mean of chunks": ".1%", "best chunk": ".1%"},
        "times": dict.fromkeys(COLUMNS.values(), ".3g") | {"peak MB": ".0f"},
    }
    order = [*MEASURED, *ORIGINALS, *OURS]
    return [
        table(dict(sorted(report[part].items(), key=lambda row: order.index(row[0]))), form)
        for part, form in forms.items()
        if part in report
    ]


def show(path: Path) -> None:
    """Print a report's tables; draw the plot beside it, once all it shows has been measured."""
    report = json.loads(path.read_text(encoding="utf-8"))
    print("\n\n".join(tables(report)))
    if all(name in report.get("quality", {}) for name in PLOTTED):
        draw(report["quality"], path.with_suffix(".svg"))


def make_documents(arguments: argparse.Namespace) -> None:
    """Write the documents and their questions."""
    tokenizer = Tokenizer.from_file(str(arguments.original / "tokenizer.json"))
    tokenizer.no_truncation()
    found = pick(arguments.manuals, tokenizer, arguments.count, arguments.seed)
    write(arguments.documents, found)
    print(f"{len(found)} documents")


def add(
    step: Callable[[argparse.Namespace], Iterator[dict[str, Any]]], arguments: argparse.Namespace
) -> None:
    """Add what a step measures to the report, as it comes, and show it."""
    out: Path = arguments.report
    report = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for found in step(arguments):
        for key, value in found.items():
            report[key] = report.get(key, {}) | value if isinstance(value, dict) else value
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show(out)


def main() -> None:
    """Do one step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(required=True)
    paths = {
        "original": "folder of the sentence encoder, a BERT",
        "exported": "folder to write it to with its ONNX files",
        "ours": "folder of the YOSO model made of it",
        "documents": "what the first step writes",
        "report": "JSON file that the steps add to",
    }
    for name, run, needed in (
        ("export", lambda a: export(a.original, a.exported), ["original", "exported"]),
        ("documents", make_documents, ["original", "documents"]),
        ("quality", partial(add, quality), ["original", "ours", "documents", "report"]),
        ("times", partial(add, times), ["original", "ours", "documents", "report"]),
        ("show", lambda arguments: show(arguments.report), ["report"]),
    ):
        step = steps.add_parser(name)
        step.set_defaults(run=run)
        for path in needed:
            step.add_argument(path, type=Path, help=paths[path])
        if name == "documents":
            step.add_argument("--manuals", type=Path, default=Path("/usr/share/man"))
            step.add_argument("--count", type=int, default=300)
            step.add_argument("--seed", type=int, default=0)
        if name == "quality":
            step.add_argument("--pairs", type=Path, required=True)
            step.add_argument("--intents", type=Path, required=True)
        if name == "times":
            step.add_argument("--rounds", type=int, default=5)
        if name in ("quality", "times"):
            step.add_argument("--threads", type=int, default=2)
            step.add_argument("--only", default="", help="forms whose names have this in them")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
