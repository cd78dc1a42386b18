"""Draw what speed.py measured: time and peak memory over the length, log-log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

PANELS = {"seconds": "seconds a text", "peak": "peak resident memory, MB"}


def draw(report: dict[str, Any], beside: Path) -> list[Path]:
    """Write speed-seconds.svg and speed-peak.svg beside the JSON file; return their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    # Fixed ids and no date: the same figures give the same file.
    mpl.rcParams["svg.hashsalt"] = "yosort"
    from matplotlib import pyplot as plt

    written = []
    for field, label in PANELS.items():
        figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
        for name, by_length in report["results"].items():
            points = sorted((int(n), row) for n, row in by_length.items() if n != "ragged")
            if name == "yosort, no attention" or not points:
                continue
            lengths = [n for n, _ in points]
            values = [float(np.median(row[field])) for _, row in points]
            ours = name.startswith("yosort")
            axes.loglog(
                lengths,
                values,
                label=name,
                marker="o" if ours else "x",
                ms=4,
                linestyle="-" if ours else "--",
                linewidth=2 if ours else 1,
            )
        ticks = sorted({int(n) for row in report["results"].values() for n in row if n != "ragged"})
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axes.minorticks_off()
        axes.set(xlabel="tokens", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        path = beside.with_name(f"{beside.stem}-{field}.svg")
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
        written.append(path)
    return written
