"""One Ray actor beside the plain pipeline: what an engine costs, in one run.

    pip install '.[ray]' && python benchmarks/distributed.py [--texts 4096] [--rounds 3]

The same texts, model and threads, in turn, medians, and the vectors have to be the same to the bit.
The job is Ray Data's `map_batches`, from its first block that is done to its last, so that starting
a node and an actor, which a job does once, is left out and told beside. Lengths are those of
batching.py.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
from batching import draw

import yosort
from yosort.distributed import BatchPipeline
from yosort.machine import resolve_num_threads
from yosort.tasks import bundled_model

#: Blocks of a job; a block is a batch.
BLOCKS = 8


def main() -> None:
    """Print tokens a second of both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=str(bundled_model()))
    parser.add_argument("--texts", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    import ray

    threads = resolve_num_threads(None)
    options: dict[str, Any] = {"task": "feature-extraction", "model": arguments.model}
    options |= {"num_threads": threads, "overflow": "truncate"}
    plain = yosort.pipeline(**options, pooling="mean", return_tensors=True)
    texts = draw(plain.tokenizer, arguments.texts)
    tokens = np.array([len(plain.tokenizer.encoding(text)) for text in texts])
    ray.init(num_cpus=threads, include_dashboard=False, log_to_driver=False)
    rows = ray.data.from_items(
        [{"id": i, "text": text} for i, text in enumerate(texts)], override_num_blocks=BLOCKS
    )
    job = rows.map_batches(
        BatchPipeline,
        fn_constructor_kwargs=options,
        batch_size=None,
        num_cpus=threads,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    print(f"{len(texts)} texts, {tokens.sum()} tokens, {threads} threads")
    speeds: dict[str, list[float]] = {"the pipeline": [], "one actor": []}
    first = []
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        wanted = np.array(plain(texts))
        speeds["the pipeline"].append(tokens.sum() / (time.perf_counter() - start))
        start = time.perf_counter()
        times, found = [], []
        for block in job.iter_batches(batch_size=None):
            times.append(time.perf_counter())
            found.append(block)
        later = np.concatenate([block["id"] for block in found[1:]])
        speeds["one actor"].append(tokens[later].sum() / (times[-1] - times[0]))
        first.append(times[0] - start)
        if not all((block["vector"] == wanted[block["id"]]).all() for block in found):
            raise SystemExit("the actor's vectors have other bits than the pipeline's")
    usual = statistics.median(speeds["the pipeline"])
    for name, measured in speeds.items():
        median = statistics.median(measured)
        print(f"{name:14} {median:8.0f} tokens/s  {median / usual - 1:+.1%}")
    print(f"the first block after {statistics.median(first):.1f} s, its own work included")


if __name__ == "__main__":
    main()
