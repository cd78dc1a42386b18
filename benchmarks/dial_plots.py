"""Draw what dial.py measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: task -> what its accuracy is called
TASKS = {"spam": "accuracy", "fill-mask": "top-1"}
EXACT = "expectation"


def counts_of(row: dict[str, Any]) -> list[str]:
    """Return the settings of num_hash that a row holds."""
    return sorted((name for name in row if name.isdigit()), key=int)


def draw(report: dict[str, Any], beside: Path) -> list[Path]:
    """Write a plot for each model and dtype beside the JSON file; return their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    # Fixed ids and no date: the same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "yosort"

    written = []
    for task in TASKS:
        for dtype, rows in report[task].items():
            figure = draw_one(task, rows, report["seconds"][task][dtype])
            suffix = "" if dtype == "float32" else f"-{dtype}"
            path = beside.with_name(f"{beside.stem}-{task}{suffix}.svg")
            figure.savefig(path, metadata={"Date": None})
            written.append(path)
    return written


def draw_one(task: str, rows: dict[str, Any], seconds: dict[str, Any]) -> Any:
    """Return the figure of one model in one dtype: quality over num_hash, difference over time."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    quality, price = figure.subplots(1, 2)
    # Of mails cut at a length, those that fill it: the others are shorter at every length.
    part = "agreement, filled" if task == "spam" else "agreement"
    for i, (length, row) in enumerate(rows.items()):
        color, counts = f"C{i}", counts_of(row)
        label = f"{int(length):,} tokens"
        runs = [100 * np.array(row[count]["accuracy"]) for count in counts]
        means, errors = [run.mean() for run in runs], [run.std(ddof=1) for run in runs]
        numbers = [int(count) for count in counts]
        quality.errorbar(numbers, means, errors, marker="o", ms=3, color=color, label=label)
        quality.axhline(100 * row[EXACT]["accuracy"][0], color=color, ls=":", lw=1)
        differ = [100 * (1 - np.mean(row[count][part])) for count in counts]
        times = [1e3 * seconds[length][count] for count in counts]
        price.plot(times, differ, marker="o", ms=3, color=color, label=label)
        price.axvline(1e3 * seconds[length][EXACT], color=color, ls=":", lw=1)
    quality.set_xscale("log", base=2)
    quality.set_xticks(numbers, counts)
    quality.set(xlabel="num_hash; dotted: expectation", ylabel=f"{TASKS[task]}, %")
    price.set_xscale("log")
    price.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    price.xaxis.set_major_formatter("{x:g}")
    price.xaxis.set_minor_locator(NullLocator())
    price.set(
        xlabel="ms a text (8 to 256 hashes); dotted: expectation",
        ylabel="answers that differ from the expectation's, %",
        ylim=(0, None),
    )
    quality.legend(fontsize=8)
    for axes in (quality, price):
        axes.grid(alpha=0.3)
    return figure
