"""A job on two nodes of Ray's, of which one is killed amid its work: python two_nodes.py MODEL OUT.

Each worker answers two batches and then waits for the kill, so that it comes amid the job however
fast or slow the machine is. OUT gets the rows (found.npz) and what happened (job.json).
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster

from yosort.distributed import BatchPipeline

BLOCKS, ROWS = 12, 96


def wait_for(there: Callable[[], bool]) -> None:
    """Return when something is there."""
    while not there():
        time.sleep(0.05)


class Worker(BatchPipeline):
    """A pipeline that tells which node it is on, and waits: for its like, and for the kill."""

    def __init__(self, where: str, **options: Any) -> None:
        super().__init__(**options)
        self.where, self.calls = Path(where), 0
        self.node = ray.get_runtime_context().get_node_id()
        (self.where / f"node-{self.node}").touch()

    def __call__(self, batch: Any) -> Any:
        """See `BatchPipeline`."""
        killed = self.where / "killed"
        wait_for(lambda: len([*self.where.glob("node-*")]) > 1)
        if self.calls == 2:
            wait_for(killed.exists)
        self.calls += 1
        answered = super().__call__(batch)
        (self.where / f"call-{uuid.uuid4()}").touch()
        return {**answered, "node": np.array([self.node] * len(batch["id"]))}


def main(model: str, where: Path) -> None:
    """Run the job, and kill the second node once rows have come from there."""
    node = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False)  # by the head, which stays
    victim = cluster.add_node(**node)
    texts = [f"line {i} of a file, " + "and on " * (i % 7) for i in range(ROWS)]
    rows = ray.data.from_items(
        [{"id": i, "text": text} for i, text in enumerate(texts)], override_num_blocks=BLOCKS
    )
    options = {"task": "feature-extraction", "model": model, "device": "cpu"}
    answers = rows.map_batches(
        Worker,
        fn_constructor_kwargs={"where": str(where), **options},
        batch_size=None,  # a block a call
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=2),
    )
    found: list[dict[str, Any]] = []
    calls = None
    for batch in answers.iter_batches(batch_size=None):
        found.append(batch)
        if calls is None and victim.node_id in batch["node"]:
            calls = len([*where.glob("call-*")])
            cluster.remove_node(victim, allow_graceful=False)
            (where / "killed").touch()
    job = {
        "blocks": BLOCKS, "rows": ROWS, "texts": texts, "killed": victim.node_id,
        "calls_at_the_kill": calls, "nodes": sorted({n for b in found for n in b["node"]}),
    }  # fmt: skip
    assert not any(error for batch in found for error in batch["error"])
    columns = {name: np.concatenate([b[name] for b in found]) for name in ("id", "vector")}
    np.savez(where / "found.npz", **columns)
    (where / "job.json").write_text(json.dumps(job), encoding="utf-8")
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
