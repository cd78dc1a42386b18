"""One pipeline in a thread pool: calls share the model, and run without Python's lock.

    python examples/threads.py texts.txt

Many short requests at once go through best with a thread each (`num_threads=1`) on as many workers
as there are cores. For one long list in one place, call the pipeline with the list: it batches.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yosort


def main() -> None:
    """Embed each line by itself, as requests would come, and print each one's nearest other."""
    texts = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    embed = yosort.pipeline("feature-extraction", num_threads=1)

    def vector(text: str) -> list[float]:
        return embed(text, pooling="mean", normalize=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        vectors = list(pool.map(vector, texts))
    for i, text in enumerate(texts):
        others = [j for j in range(len(texts)) if j != i]
        nearest = max(
            others, key=lambda j: sum(a * b for a, b in zip(vectors[i], vectors[j], strict=True))
        )
        print(f"{text}  ->  {texts[nearest]}")


if __name__ == "__main__":
    main()
