"""Draw what dial.py measured, and print it as Markdown tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

#: task -> what its accuracy is called
TASKS = {"spam": "accuracy", "fill-mask": "top-1"}


def counts_of(row: dict[str, Any]) -> list[int]:
    """Return the settings of num_hash that a row holds."""
    return sorted(int(name) for name in row if name.isdigit())


def draw(report: dict[str, Any], beside: Path) -> list[Path]:
    """Write a plot for each model beside the JSON file; return their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    # Fixed ids and no date: the same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "yosort"
    from matplotlib import pyplot as plt

    written = []
    for task, name in TASKS.items():
        figure, (quality, price) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
        for i, (length, row) in enumerate(report[task].items()):
            color, counts = f"C{i}", counts_of(row)
            label = f"{int(length):,} tokens"
            runs = [100 * np.array(row[str(count)]["accuracy"]) for count in counts]
            means = [run.mean() for run in runs]
            errors = [run.std(ddof=1) for run in runs]
            quality.errorbar(counts, means, errors, marker="o", ms=3, color=color, label=label)
            quality.axhline(100 * row["expectation"]["accuracy"], color=color, ls=":", lw=1)
            seconds = report["seconds"][task][length]
            # Of mails cut at a length, those that fill it: the others are shorter at every length.
            part = "agreement, filled" if task == "spam" else "agreement"
            differ = [100 * (1 - np.mean(row[str(count)][part])) for count in counts]
            times = [1e3 * seconds[str(count)] for count in counts]
            price.plot(times, differ, marker="o", ms=3, color=color, label=label)
            price.axvline(1e3 * seconds["expectation"], color=color, ls=":", lw=1)
        quality.set_xscale("log", base=2)
        quality.set_xticks(counts, [str(count) for count in counts])
        quality.set(xlabel="num_hash; dotted: expectation", ylabel=f"{name}, %")
        price.set_xscale("log")
        price.set(
            xlabel="ms a text (8 to 256 hashes); dotted: expectation",
            ylabel="answers that differ from the expectation's, %",
            ylim=(0, None),
        )
        quality.legend(fontsize=8)
        for axes in (quality, price):
            axes.grid(alpha=0.3)
        path = beside.with_name(f"{beside.stem}-{task}.svg")
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
        written.append(path)
    return written


def tables(report: dict[str, Any]) -> str:
    """Return a Markdown table for each model."""
    lines = []
    for task, name in TASKS.items():
        lines += [
            "",
            f"| tokens | num_hash | {name}, % | agreement, % | mean error of a score | ms a text |",
            "|---|---|---|---|---|---|",
        ]
        for length, row in report[task].items():
            seconds = report["seconds"][task][length]
            exact = 100 * row["expectation"]["accuracy"]
            first = f"| {int(length):,} | expectation | {exact:.2f} | | |"
            lines.append(f"{first} {1e3 * seconds['expectation']:.1f} |")
            for count in counts_of(row):
                part = row[str(count)]
                run = 100 * np.array(part["accuracy"])
                cells = [f"{run.mean():.2f} ± {run.std(ddof=1):.2f}"]
                for key, scale, form in (("agreement", 100, ".2f"), ("error", 1, ".3f")):
                    cell = f"{scale * np.mean(part[key]):{form}}"
                    if f"{key}, filled" in part:
                        cell += f" ({scale * np.mean(part[f'{key}, filled']):{form}})"
                    cells.append(cell)
                cells.append(f"{1e3 * seconds[str(count)]:.1f}")
                lines.append(f"| | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)
