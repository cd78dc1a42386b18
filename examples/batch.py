"""Classify, tag, embed, ... every line of a file, with no dependency but yosort.

    python examples/batch.py embed texts.txt vectors.jsonl

`yosort embed` does this and more; start from here where its formats do not fit. Memory stays flat
however long the file is, and a failing line leaves its error in its place.
"""

from __future__ import annotations

import argparse
import json

import yosort
from yosort.tasks.stream import Failure

TASKS = {
    "fill-mask": ("fill-mask", {"top_k": 1}),
    "classify": ("text-classification", {}),
    "ner": ("token-classification", {"aggregation_strategy": "simple"}),
    "embed": ("feature-extraction", {"pooling": "mean", "normalize": True}),
}


def main() -> None:
    """Answer each line of a file by a JSON line of another."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--model", help="a folder or hub id; the bundled one by default")
    arguments = parser.parse_args()
    task, options = TASKS[arguments.task]
    run = yosort.pipeline(task, arguments.model)
    failed = 0
    with (
        open(arguments.input, encoding="utf-8") as lines,
        open(arguments.output, "w", encoding="utf-8") as output,
    ):
        texts = (line.rstrip("\n") for line in lines)
        for result in run(texts, on_error="collect", progress=True, **options):
            if isinstance(result, Failure):
                failed += 1
                result = result.to_dict()
            output.write(json.dumps(result, ensure_ascii=False) + "\n")
    print(f"{failed} lines failed" if failed else "every line answered")


if __name__ == "__main__":
    main()
