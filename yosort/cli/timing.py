"""`yosort bench`: how fast a model is on this machine."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np

from yosort.cli.tasks import add_model_options, model_options
from yosort.errors import InputError


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        parents=[common],
        help="time a model on this machine",
        description="Time a model's encoder over lengths, in both forms of attention, in turn.",
        epilog="example: yosort bench --lengths 128 512 4096 --rounds 5",
    )
    parser.add_argument("--lengths", nargs="+", type=int, metavar="N", help="tokens of a text")
    parser.add_argument("--rounds", type=int, default=5, metavar="R", help="medians of so many (5)")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from yosort.heads import YosoModel
    from yosort.tasks import bundled_model
    from yosort.threads import resolve_num_threads

    if arguments.rounds < 1:
        raise InputError(f"--rounds: wanted at least 1, got {arguments.rounds}")
    source = arguments.model or bundled_model()
    options = model_options(arguments)
    modes = [options.pop("attention")] if arguments.attention else ["expectation", "sampled"]
    options.pop("attention", None)
    models = {mode: YosoModel.from_pretrained(source, attention=mode, **options) for mode in modes}
    config = models[modes[0]].config
    longest = config.max_position_embeddings
    usual = [n for n in (128, 512, 1024, 2048, 4096) if n <= longest] or [longest]
    lengths = arguments.lengths or usual
    for n in lengths:
        if not 1 <= n <= longest:
            raise InputError(f"--lengths: wanted 1 to {longest}, the model's positions, got {n}")
    first = models[modes[0]]
    threads = resolve_num_threads(arguments.num_threads)
    where = f"{first.device}, {threads} threads" if first.device == "cpu" else first.device
    print(
        f"{source}: {first.num_parameters():,} weights, {first.dtype} on {where}; "
        f"medians of {arguments.rounds}, one text at a time"
    )
    print(f"{'tokens':>8}" + "".join(f"{mode:>16}{'tokens/s':>12}" for mode in modes))
    for n in lengths:
        ids = np.random.default_rng(n).integers(3, config.vocab_size, (1, n))
        times: dict[str, list[float]] = {mode: [] for mode in modes}
        for round_ in range(arguments.rounds + 1):
            for mode, model in models.items():
                start = time.perf_counter()
                model.to_host(model(ids, return_dict=True).last_hidden_state)
                if round_:  # the first one warms up
                    times[mode].append(time.perf_counter() - start)
        medians = [statistics.median(times[mode]) for mode in modes]
        cells = [f"{seconds * 1e3:13,.1f} ms{n / seconds:12,.0f}" for seconds in medians]
        print(f"{n:8,}" + "".join(cells), flush=True)
    return 0
