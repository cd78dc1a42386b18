"""Put the figures of the dial into the pages that show them, in the place of their old tables.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; the words around it are written by
hand. Run as a script: from docs/dial.json, docs/dial-variance.json and examples/spam/measured.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from dial_plots import EXACT, TASKS, counts_of

ROOT = Path(__file__).resolve().parents[1]
#: int8, and what stands beside it in brackets
DTYPES = ("int8", "float32")
#: page -> the tables that it shows
PAGES = {
    "docs/dial.md": ("classifiers", "spam", "fill-mask", "variance"),
    "docs/int8.md": ("spam, int8", "fill-mask, int8"),
    "examples/spam/README.md": ("classifiers",),
}


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"|{'|'.join(f' {c} ' if c else ' ' for c in cells)}|" for cells in lines)


def settings_of(rows: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Yield (length, its cell, setting), the cell empty but for a length's first setting."""
    for length, row in rows.items():
        for setting in (EXACT, *counts_of(row)):
            yield length, f"{int(length):,}" if setting == EXACT else "", setting


def cell(part: dict[str, Any], key: str, scale: float, form: str) -> str:
    """Return a figure's mean over draws, and in brackets that of the texts that fill the length."""
    text = f"{scale * np.mean(part[key]):{form}}"
    if f"{key}, filled" in part:
        text += f" ({scale * np.mean(part[f'{key}, filled']):{form}})"
    return text


def dial_table(task: str, report: dict[str, Any]) -> str:
    """Return the table of a model in float32."""

    def rows() -> Iterable[list[str]]:
        for length, first, setting in settings_of(report[task]["float32"]):
            part = report[task]["float32"][length][setting]
            run = 100 * np.array(part["accuracy"])
            spread = f" ± {run.std(ddof=1):.2f}" if len(run) > 1 else ""
            compared = [cell(part, "agreement", 100, ".2f"), cell(part, "error", 1, ".3f")]
            time = f"{1e3 * report['seconds'][task]['float32'][length][setting]:.1f}"
            cells = [f"{run.mean():.2f}{spread}", *(compared if spread else ["", ""]), time]
            yield [first, setting, *cells]

    head = ["tokens", "num_hash", f"{TASKS[task]}, %", "agreement, %"]
    return markdown([*head, "mean error of a score", "ms a text"], rows())


def int8_table(task: str, report: dict[str, Any]) -> str:
    """Return the table of a model in int8, float32's figures in brackets."""
    # The worst error is the worst of all draws.
    columns = (
        ("accuracy", 100, ".2f", np.mean),
        ("agreement", 100, ".2f", np.mean),
        ("error", 1, ".3f", np.mean),
        ("worst", 1, ".2f", np.max),
    )

    def rows() -> Iterable[list[str]]:
        for length, first, setting in settings_of(report[task]["int8"]):
            cells = []
            for key, scale, form, over in columns:
                values = [scale * over(report[task][d][length][setting][key]) for d in DTYPES]
                cells.append("{:{form}} ({:{form}})".format(*values, form=form))
            times = [1e3 * report["seconds"][task][d][length][setting] for d in DTYPES]
            yield [first, setting, *cells, "{:.1f} ({:.1f})".format(*times)]

    head = ["tokens", "num_hash", f"{TASKS[task]}, %", "agreement, %", "mean error"]
    return markdown([*head, "worst error", "ms a text"], rows())


def classifiers_table(measured: dict[str, Any]) -> str:
    """Return the table of the classifier and what it is compared with, on the test side."""
    seeds = len(measured["yosort, sampled 64"]["accuracy of each seed"])
    names = {
        "the train side's share of spam": "always ham",
        "yosort, expectation": "yosort, expectation",
        "yosort, sampled 64": f"yosort, sampled with the config's 64 hashes, mean of {seeds} seeds",
        "TF-IDF + logistic regression": "TF-IDF + logistic regression (scikit-learn)",
    }
    rows = [
        [name, f"{100 * row['accuracy']:.2f}%", *(f"{row[k]:.3f}" for k in ("F1", "ECE", "Brier"))]
        for row, name in ((measured[key], name) for key, name in names.items())
    ]
    return markdown(["", "accuracy", "F1 (spam)", "ECE", "Brier"], rows)


def variance_table(figures: dict[str, Any]) -> str:
    """Return the table of ways to draw hash functions."""
    names = list(dict.fromkeys(key.rsplit(", ", 1)[0] for key in figures))
    counts = list(dict.fromkeys(key.rsplit(", ", 1)[1] for key in figures))
    kinds = ("bias", "spread", "total")
    head = [f"{count}: {kind}" if kind == "bias" else kind for count in counts for kind in kinds]
    rows = [
        [name, *(f"{100 * figures[f'{name}, {c}'][kind]:.1f}%" for c in counts for kind in kinds)]
        for name in names
    ]
    return markdown(["way", *head], rows)


def tables() -> dict[str, str]:
    """Return every table by name."""
    report, variance, measured = (
        json.loads((ROOT / path).read_text(encoding="utf-8"))
        for path in ("docs/dial.json", "docs/dial-variance.json", "examples/spam/measured.json")
    )
    return {
        "classifiers": classifiers_table(measured),
        **{task: dial_table(task, report) for task in TASKS},
        **{f"{task}, int8": int8_table(task, report) for task in TASKS},
        "variance": variance_table(variance),
    }


def with_tables(page: str, names: Iterable[str], made: dict[str, str]) -> str:
    """Return the text of a page with its tables replaced."""
    for name in names:
        begin = f"<!-- table: {name} -->\n\n"
        if page.count(begin) != 1:
            raise SystemExit(f"wanted one place for the table {name!r}, found {page.count(begin)}")
        before, _, rest = page.partition(begin)
        _, end, after = rest.partition("\n\n<!-- end -->")
        if not end:
            raise SystemExit(f"the table {name!r} has no end")
        page = before + begin + made[name] + end + after
    return page


def main() -> None:
    """Rewrite the pages."""
    made = tables()
    for path, names in PAGES.items():
        page = (ROOT / path).read_text(encoding="utf-8")
        (ROOT / path).write_text(with_tables(page, names, made), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
