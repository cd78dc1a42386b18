"""Time yosort beside its peers, on the same weights, threads and ids; print medians and ratios.

    pip install '.[bench]' && python benchmarks/speed.py

Every runtime sits in a process of its own; they answer in turn, round by round, so that a noisy
machine is noisy for all. Before anything is timed, their outputs are checked to agree.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers import PEERS

HERE = Path(__file__).resolve().parent
#: Each length and how many rounds it gets. Peers that take minutes are given fewer lengths.
ROUNDS = {128: 15, 512: 9, 1024: 7, 2048: 3, 4096: 3, 16384: 3}
LONGEST = {"yosort sampled 32": 16384, "yosort sampled 64": 16384, "yosort YOSO-E": 4096}
#: Lengths of the ragged batch: log-normal around 150 tokens, as short and long documents mix.
RAGGED = {"texts": 64, "median": 150.0, "sigma": 0.9, "shortest": 8, "longest": 1024, "batch": 16}
AGREEMENT = 1e-3
EXACT = [name for name in PEERS if "sampled" not in name]
FP32_PEERS = ["transformers eager", "torch.compile", "onnxruntime", "OpenVINO"]


class Worker:
    """A peer's process, started and asked over pipes."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_VERBOSITY": "error",
        }
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if "-v" in sys.argv else subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the worker died; run with -v to see why")
        return dict(json.loads(line))

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        assert self.process.stdin is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self._read()

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def make_model(folder: Path, small: bool) -> None:
    """Save a YOSO-base of random weights with transformers, and export it."""
    import torch
    import transformers
    from plain_yoso import export

    torch.manual_seed(0)
    # hash_code_len and sizes are transformers' defaults: the published architecture. Positions
    # reach 16,384 so that sampled attention can be shown there.
    fields = {"max_position_embeddings": 16384}
    if small:
        fields |= {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    transformers.YosoModel(transformers.YosoConfig(**fields)).save_pretrained(folder)
    export(folder)


def measure(
    folder: Path, names: list[str], lengths: list[int], threads: int, rounds: int | None
) -> dict[str, Any]:
    """Return {peer: {n: {seconds: [...], peak: megabytes}}}, all peers in turn each round."""
    workers = {name: Worker(name, folder, threads) for name in names}
    results: dict[str, Any] = {name: {} for name in names}
    for n in lengths:
        present = [name for name in names if n <= LONGEST.get(name, 4096)]
        answers = {name: workers[name].ask(do="length", n=n) for name in present}  # warms up
        check_agreement(n, answers)
        for name in present:
            results[name][n] = {"seconds": [], "peak": answers[name]["peak"]}
        for _ in range(rounds or ROUNDS.get(n, 3)):
            for name in present:
                answer = workers[name].ask(do="length", n=n)
                results[name][n]["seconds"].append(answer["seconds"])
        print_row(n, {name: results[name][n] for name in present})
    lengths_drawn = draw_lengths()
    request = {"do": "ragged", "lengths": lengths_drawn, "batch": RAGGED["batch"]}
    for name in names:
        workers[name].ask(**request)
        results[name]["ragged"] = {"seconds": []}
    for _ in range(rounds or 3):
        for name in names:
            answer = workers[name].ask(**request)
            results[name]["ragged"]["seconds"].append(answer["seconds"])
    print_row("ragged", {name: results[name]["ragged"] for name in names})
    for worker in workers.values():
        worker.close()
    return results


def check_agreement(n: int, answers: dict[str, Any]) -> None:
    """Stop unless all exact runtimes gave the same hidden states, up to rounding."""
    exact = {name: answer["sample"] for name, answer in answers.items() if name in EXACT}
    for name, sample in exact.items():
        for other, theirs in exact.items():
            worst = float(np.abs(np.array(sample) - np.array(theirs)).max())
            if worst > AGREEMENT:
                raise SystemExit(f"n = {n}: {name} and {other} differ by {worst}")


def draw_lengths() -> list[int]:
    """Return the ragged batch's lengths."""
    rng = np.random.default_rng(0)
    drawn = RAGGED["median"] * np.exp(RAGGED["sigma"] * rng.standard_normal(RAGGED["texts"]))
    return [int(n) for n in np.clip(drawn, RAGGED["shortest"], RAGGED["longest"])]


FIRST_ANSWER = {
    "yosort YOSO-E": "import yosort\nm = yosort.YosoModel.from_pretrained(FOLDER)\n"
    "m([list(range(3, 19))])",
    "transformers eager": "import torch, transformers\n"
    "m = transformers.YosoModel.from_pretrained(FOLDER).eval()\n"
    "torch.no_grad().__enter__()\nm(torch.tensor([list(range(3, 19))]))",
}


def first_answers(folder: Path, rounds: int) -> dict[str, Any]:
    """Time fresh processes from start to the first answer of 16 tokens."""
    results: dict[str, Any] = {name: {"seconds": []} for name in FIRST_ANSWER}
    for _ in range(rounds + 1):
        for name, code in FIRST_ANSWER.items():
            program = code.replace("FOLDER", repr(str(folder)))
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", program],
                check=True,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
            results[name]["seconds"].append(time.perf_counter() - start)
    for result in results.values():
        del result["seconds"][0]  # the first round read the files from the disk
    print_row("first answer", results)
    return results


def print_row(what: Any, results: dict[str, Any]) -> None:
    """Print medians, and each one's ratio to yosort's two forms."""
    medians = {name: float(np.median(result["seconds"])) for name, result in results.items()}
    print(f"\n{what}")
    for name, seconds in medians.items():
        spread = (max(results[name]["seconds"]) - min(results[name]["seconds"])) / seconds
        line = f"  {name:20} {seconds:9.4f} s  spread {spread:4.0%}"
        for ours in ("yosort YOSO-E", "yosort sampled 32"):
            if ours in medians and name != ours:
                line += f"  {seconds / medians[ours]:6.2f} x {ours[7:]}"
        if "peak" in results[name]:
            line += f"  peak {results[name]['peak']:6.0f} MB"
        print(line, flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--lengths", nargs="+", type=int, default=list(ROUNDS))
    parser.add_argument("--rounds", type=int, help="instead of the default of each length")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path, help="keep the model here, or take it from here")
    parser.add_argument("--small", action="store_true", help="a small model, to try the script")
    parser.add_argument("--out", type=Path, default=Path("speed.json"))
    parser.add_argument("-v", action="store_true", help="show what the peers print")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "model.onnx").exists():
            make_model(folder, arguments.small)
        results = measure(
            folder, arguments.peers, arguments.lengths, arguments.threads, arguments.rounds
        )
        first = first_answers(folder, arguments.rounds or 5)
    report = {
        "machine": {"processor": processor(), "threads": arguments.threads},
        "python": platform.python_version(),
        "ragged": RAGGED,
        "results": results,
        "first answer": first,
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwrote {arguments.out}")


def processor() -> str:
    """Return the processor's name as Linux knows it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
