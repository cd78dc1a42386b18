"""The lines of a first run as the tables of docs/gpu.md, with the card named."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table; "" where there are no rows."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    head = list(head)
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]) if lines else ""


def number(value: Any) -> str:
    """Return a figure to three digits, and nothing for none."""
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _card(lines: list[Row]) -> str:
    for row in lines:
        if row.get("what") == "environment" and "device" in row:
            return (
                f"On one {row['device']} (compute capability {row['compute_capability']}, "
                f"{row['multiprocessors']} multiprocessors), driver {row['driver']}, "
                f"NVRTC {'.'.join(map(str, row['nvrtc']))}, CuPy {row['cupy']}:"
            )
    return "On a card that did not say its name:"


def _times(lines: list[Row]) -> str:
    speed = next((row["bytes_per_second"] for row in lines if row.get("what") == "copy"), None)
    rows = []
    for row in lines:
        if row.get("what") in ("time of a kernel", "time of a forward", "time of a peer"):
            if "error" in row or "left_out" in row:
                continue
            ratio = None
            if speed and "bytes" in row:
                ratio = row["gpu_ms"] * speed / row["bytes"] / 1e3
            wall = row.get("wall_ms", row.get("ms"))
            shape = f"{row['batch']} x {row['n']}"
            figures = map(number, (row.get("gpu_ms"), row.get("host_ms"), wall, ratio))
            rows.append((row["name"], row.get("dtype", ""), shape, *figures))
    head = ("what", "type", "batch x n", "GPU, ms", "host, ms", "wall, ms", "GPU over its floor")
    text = table(head, rows)
    return f"{text}\n\nA copy moves {speed / 1e9:,.0f} GB/s: that is the floor." if speed else text


def _differences(lines: list[Row]) -> str:
    rows = [
        (row["of"], number(row["worst"]))
        for row in lines
        if row.get("what") == "difference from the CPU" and "worst" in row
    ]
    return table(("difference from the CPU", "largest, relative; codes: how many"), rows)


def _kernels(lines: list[Row]) -> str:
    rows = [
        (f"`{r['name']}`", r["dtype"], r["registers"], r["spilled_bytes"], f"{r['shared_bytes']:,}")
        for r in lines
        if r.get("what") == "kernel as loaded" and "registers" in r
    ]
    return table(("kernel, as loaded", "type", "registers", "spilled bytes", "shared bytes"), rows)


def _checks(lines: list[Row]) -> str:
    """Everything else that was said: checks, tools, what failed, how each stage ended."""
    shown = {"environment", "copy", "difference from the CPU", "kernel as loaded"}
    rows = []
    for row in lines:
        known = row.get("what", "") in shown or row.get("what", "").startswith("time of")
        if known and "error" not in row:
            continue
        said = {k: v for k, v in row.items() if k not in ("stage", "what", "limit")}
        words = "; ".join(f"{k.replace('_', ' ')}: {v}" for k, v in said.items())
        rows.append((row["stage"], row.get("what", ""), words.replace("|", "/").replace("\n", " ")))
    return table(("stage", "what", "said"), rows)


def tables(files: Iterable[Path]) -> str:
    """Return the tables of some files of lines."""
    lines = [
        json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()
    ]
    parts = (_card(lines), _differences(lines), _times(lines), _kernels(lines), _checks(lines))
    return "\n\n".join(part for part in parts if part)
