"""Time yosort beside its peers, on the same weights, threads and ids; print medians and ratios.

    pip install '.[bench]' && python benchmarks/speed.py

Every runtime sits in a process of its own; they answer in turn, round by round, so that a noisy
machine is noisy for all: each round in another order, and each once the threads of the one before
it have gone to sleep, with an answer that is not timed to wake its own. Before anything is timed,
their outputs are checked to agree.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from peers import PEERS
from plots import draw

HERE = Path(__file__).resolve().parent
#: Each length and how many rounds it gets. What takes a minute a round stops at 4,096 tokens.
ROUNDS = {128: 15, 512: 9, 1024: 7, 2048: 3, 4096: 3, 16384: 3}
#: Seconds from an answer to the next question: threads of OpenMP and onnxruntime spin for up to 0.2
#: seconds, and would slow down whoever comes next.
PAUSE = 0.3
#: Up to so many tokens the answer before the timed one is as long as it: of more it takes too long,
#: and waking up is no part of the time that counts.
SHORT = 1024
LONGEST = {name: 16384 for name in PEERS if name.startswith("yosort sampled")}
#: The ragged batch: texts of log-normal lengths around 150 tokens, cut where users of such encoders
#: usually cut; peers get them `batch` at a time in order of arrival, padded to the longest.
RAGGED = {"texts": 32, "median": 150.0, "sigma": 0.9, "shortest": 8, "longest": 512, "batch": 8}
AGREEMENT = 1e-3
OURS = "yosort YOSO-E"
PEER_NAMES = ["transformers eager", "torch.compile", "onnxruntime", "OpenVINO"]
EXACT = [OURS, *PEER_NAMES]
#: Those of fewer bits, and how far their hidden states may be from the exact ones.
NARROW_AGREEMENT = 0.3
APPROXIMATE = ("sampled", "no attention")
#: Every time is shown as a multiple of these.
REFERENCES = (
    OURS,
    "yosort sampled 32",
    "yosort bfloat16 YOSO-E",
    "yosort bfloat16 sampled 32",
    "yosort int8 YOSO-E",
    "yosort int8 sampled 32",
)


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
        for name in in_turn(present, rounds or ROUNDS.get(n, 3)):
            for _ in range(2 if n <= SHORT else 1):
                answer = workers[name].ask(do="length", n=n)
            results[name][n]["seconds"].append(answer["seconds"])
        print_row(n, {name: results[name][n] for name in present})
    lengths_drawn = draw_lengths()
    request = {"do": "ragged", "lengths": lengths_drawn, "batch": RAGGED["batch"]}
    for name in names:
        workers[name].ask(**request)
        results[name]["ragged"] = {"seconds": []}
    for name in in_turn(names, rounds or 3):
        answer = workers[name].ask(**request)
        results[name]["ragged"]["seconds"].append(answer["seconds"])
    print_row("ragged", {name: results[name]["ragged"] for name in names})
    for worker in workers.values():
        worker.close()
    return results


def in_turn(names: list[str], rounds: int) -> Iterator[str]:
    """Yield all names in each round, in an order drawn for it, after a pause each."""
    draw = random.Random(0)
    for _ in range(rounds):
        for name in draw.sample(names, len(names)):
            time.sleep(PAUSE)
            yield name


def check_agreement(n: int, answers: dict[str, Any]) -> None:
    """Stop unless all runtimes of YOSO-E gave the same hidden states, up to rounding."""
    exact = {name: answer["sample"] for name, answer in answers.items() if name in EXACT}
    for name, answer in answers.items():
        if any(word in name for word in APPROXIMATE):
            continue
        bound = AGREEMENT if name in EXACT else NARROW_AGREEMENT
        for other, theirs in exact.items():
            worst = float(np.abs(np.array(answer["sample"]) - np.array(theirs)).max())
            if worst > bound:
                raise SystemExit(f"n = {n}: {name} and {other} differ by {worst}")


def draw_lengths() -> list[int]:
    """Return the ragged batch's lengths."""
    rng = np.random.default_rng(0)
    drawn = RAGGED["median"] * np.exp(RAGGED["sigma"] * rng.standard_normal(RAGGED["texts"]))
    return [int(n) for n in np.clip(drawn, RAGGED["shortest"], RAGGED["longest"])]


#: What a fresh process runs: import, load, answer; `ids` are 16 tokens, `folder` the model's.
FIRST_ANSWER = {
    OURS: (
        "import yosort",
        "model = yosort.YosoModel.from_pretrained(folder)",
        "model([ids])",
    ),
    "transformers eager": (
        "import torch, transformers",
        "model = transformers.YosoModel.from_pretrained(folder).eval()",
        "with torch.no_grad(): model(torch.tensor([ids]))",
    ),
}
STEPS = ("import", "load", "answer")


def first_answers(folder: Path, rounds: int) -> dict[str, Any]:
    """Time fresh processes from their start to the first answer of 16 tokens, step by step."""
    results: dict[str, Any] = {
        name: {"seconds": [], **{step: [] for step in STEPS}} for name in FIRST_ANSWER
    }
    for _ in range(rounds + 1):
        for name, lines in FIRST_ANSWER.items():
            program = f"import time\nfolder = {str(folder)!r}\nids = list(range(3, 19))\n"
            program += "times = [time.perf_counter()]\n"
            program += "".join(f"{line}\ntimes.append(time.perf_counter())\n" for line in lines)
            program += "print([b - a for a, b in zip(times, times[1:])])"
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", program],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
            results[name]["seconds"].append(time.perf_counter() - start)
            took = json.loads(done.stdout.splitlines()[-1])
            for step, seconds in zip(STEPS, took, strict=True):
                results[name][step].append(seconds)
    for result in results.values():
        for seconds in result.values():
            del seconds[0]  # the first round read the files from the disk
    print_row("first answer", results)
    for name, result in results.items():
        steps = ", ".join(f"{step} {np.median(result[step]):.3f} s" for step in STEPS)
        print(f"  {name:20} {steps}")
    return results


def print_row(what: Any, results: dict[str, Any]) -> None:
    """Print medians, and each one's ratio to yosort's two forms."""
    medians = {name: float(np.median(result["seconds"])) for name, result in results.items()}
    print(f"\n{what}")
    for name, seconds in medians.items():
        spread = (max(results[name]["seconds"]) - min(results[name]["seconds"])) / seconds
        line = f"  {name:28} {seconds:9.4f} s  spread {spread:4.0%}"
        for ours in REFERENCES:
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
        if "onnxruntime int8" in arguments.peers and not (folder / "model-int8.onnx").exists():
            from plain_yoso import quantize

            quantize(folder)
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
    written = [str(arguments.out), *map(str, draw(report, arguments.out))]
    print(f"\nwrote {', '.join(written)}")


def processor() -> str:
    """Return the processor's name as Linux knows it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
