"""kill -9 at random moments: what was being written is then whole, the old or the new.

    python tests/reliability/kills.py save --kills 300

A process writes over and over; another kills it after a random time, looks at what is there, and
starts the next. Prints one line of JSON; the exit status is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import yosort  # noqa: E402
from yosort.conversion import convert  # noqa: E402

CONFIG = yosort.YosoConfig(
    vocab_size=8192, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=48, max_position_embeddings=64, hash_code_len=4, pad_token_id=1,
)  # fmt: skip
#: Two models that only differ in what is easily mixed: the weights, and a field of the config.
BOTH = [(0, CONFIG), (1, replace(CONFIG, hash_code_len=5))]
TEXTS = [f"the king and the {word} were by the river" for word in ("sea", "house", "day")] * 10


def kill_after(work: Callable[[], object], seconds: float | None) -> bool:
    """Run `work` in a forked process for so long (None: to its end); whether it was cut short."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os._exit(int(bool(work())))
        os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def make(seed: int, config: yosort.YosoConfig) -> yosort.YosoModel:
    """Return one of the two models."""
    return yosort.YosoModel(config, seed, device="cpu", num_threads=1)


def which(folder: Path) -> set[int]:
    """Return which of the two models a folder holds: one, or none if it is a mixture."""
    found = yosort.YosoModel.from_pretrained(folder, device="cpu", num_threads=1)
    words = np.asarray(found._parameters["yoso.embeddings.word_embeddings.weight"])
    return {
        seed
        for seed, config in BOTH
        if found.config.hash_code_len == config.hash_code_len
        and np.array_equal(
            words, make(seed, config)._parameters["yoso.embeddings.word_embeddings.weight"]
        )
    }


def kill_writers(kind: str, kills: int, draw: random.Random, scratch: Path) -> dict[str, object]:
    """Kill `save_pretrained` or `convert` while they replace one model by the other."""
    models = [make(seed, config) for seed, config in BOTH]
    sources = [scratch / f"source{seed}" for seed, _ in BOTH]
    for model, source in zip(models, sources, strict=True):
        model.save_pretrained(source)
    target = scratch / "target"
    lost, seen = [], {0: 0, 1: 0}

    def work() -> None:
        while True:
            for model, source in zip(models, sources, strict=True):
                if kind == "save":
                    model.save_pretrained(target)
                else:
                    convert(source, target, overwrite=True)

    models[0].save_pretrained(target)
    for kill in range(kills):
        kill_after(work, draw.uniform(0.0, 0.12))
        try:
            held = which(target)
        except yosort.YosortError as error:
            lost.append(f"kill {kill}: {error}")
            continue
        if len(held) == 1:
            seen[held.pop()] += 1
        else:
            lost.append(f"kill {kill}: a mixture of the two")
    return {"kind": kind, "kills": kills, "found": list(seen.values()), "lost": lost}


def kill_embed(suffix: str, kills: int, draw: random.Random, scratch: Path) -> dict[str, object]:
    """Kill `yosort embed --resume` until it ends by itself, over and over: all rows, in order."""
    from yosort.cli import main
    from yosort.tasks import bundled_model

    make(*BOTH[0]).save_pretrained(scratch / "model")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(bundled_model() / name, scratch / "model")
    (scratch / "in.txt").write_text("".join(f"{text} {i}\n" for i, text in enumerate(TEXTS)))
    command = ["embed", "--model", str(scratch / "model"), "--input", str(scratch / "in.txt")]
    # A batch a text, so that each row's bits do not depend on where a run began.
    command += ["--batch-tokens", "1", "--num-threads", "1", "--output"]
    whole = scratch / f"whole.{suffix}"
    part = scratch / f"part.{suffix}"
    # In a process of its own, too: a fork after the tokenizer's threads began would warn.
    began = time.monotonic()
    kill_after(lambda: main([*command, str(whole)]), None)
    took = time.monotonic() - began
    wanted = whole.read_bytes()
    finished = survived = 0
    lost: list[str] = []
    while not lost:
        # After the last kill the run may end by itself, and its file is compared.
        seconds = draw.uniform(0.0, took) if survived < kills else None
        if kill_after(lambda: main([*command, str(part), "--resume"]), seconds):
            survived += 1
            if suffix == "npy" and part.exists() and part.stat().st_size:
                try:
                    np.load(part)
                except ValueError as error:
                    lost.append(f"kill {survived}: {error}")
            continue
        finished += 1
        if part.read_bytes() != wanted:
            lost.append(f"after kill {survived}: the finished file differs")
        part.unlink()
        if survived >= kills:
            break
    return {"kind": suffix, "kills": survived, "finished": finished, "lost": lost}


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("save", "convert", "npy", "jsonl"))
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    run = kill_writers if arguments.kind in ("save", "convert") else kill_embed
    with tempfile.TemporaryDirectory() as scratch:
        line = run(arguments.kind, arguments.kills, draw, Path(scratch))
    print(json.dumps(line))
    return 1 if line["lost"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
