"""`yosort bench`: how fast a model is on this machine."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

from yosort.cli import terminal
from yosort.cli.inspecting import count_parameters
from yosort.cli.messages import note_unused
from yosort.cli.tasks import add_model, add_model_options, choose_model, model_options
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
    add_model(parser)
    parser.add_argument(
        "--lengths", action="extend", nargs="+", type=int, metavar="N", help="tokens of a text"
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="R", help="medians of so many (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a length")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from yosort.checkpoint import resolve
    from yosort.machine import resolve_num_threads
    from yosort.model.folder import read_weights
    from yosort.model.heads import YosoModel
    from yosort.tasks import bundled_model

    if arguments.rounds < 1:
        raise InputError.wanted("rounds", "at least 1", got=arguments.rounds)
    arguments.model = choose_model(arguments)
    source = bundled_model() if arguments.model is None else arguments.model
    options = model_options(arguments)
    attention = options.pop("attention")
    modes = [attention] if attention else ["expectation", "sampled"]
    models = {mode: YosoModel.from_pretrained(source, attention=mode, **options) for mode in modes}
    first = models[modes[0]]
    note_unused(arguments, models[modes[-1]].attention)
    longest = first.config.max_position_embeddings
    usual = [n for n in (128, 512, 1024, 2048, 4096) if n <= longest] or [longest]
    lengths = arguments.lengths or usual
    for n in lengths:
        if not 1 <= n <= longest:
            raise InputError.wanted("lengths", f"1 to {longest}, the model's positions", got=n)
    hub = {name: options[name] for name in ("revision", "local_files_only")}
    parameters = count_parameters(read_weights(resolve(source, **hub)))
    threads = resolve_num_threads(arguments.num_threads) if first.device == "cpu" else None
    if not arguments.json:
        where = f"{first.device}, {threads} threads" if threads else first.device
        title = (
            f"{source}: {parameters:,} parameters, {first.dtype} on "
            f"{where}; medians of {arguments.rounds}, one text at a time"
        )
        for line in terminal.wrap(terminal.printable(title), terminal.width()):
            print(line)
        print(f"{'tokens':>7}" + "".join(f"{mode:>14}{'tokens/s':>12}" for mode in modes))
    for n in lengths:
        medians = _medians(models, n, arguments.rounds)
        if arguments.json:
            found = {
                "model": str(source),
                "parameters": parameters,
                "dtype": str(first.dtype),
                "device": first.device,
                "num_threads": threads,
                "rounds": arguments.rounds,
                "tokens": n,
                "seconds": medians,
            }
            print(json.dumps(found), flush=True)
            continue
        cells = [f"{s * 1e3:11,.1f} ms{n / s:12,.0f}" for s in medians.values()]
        print(f"{n:7,}" + "".join(cells), flush=True)
    return 0


def _medians(models: dict[str, Any], n: int, rounds: int) -> dict[str, float]:
    """Return the median seconds of each form of attention for a text of n tokens, in turn."""
    import numpy as np

    (vocabulary,) = {model.config.vocab_size for model in models.values()}
    ids = np.random.default_rng(n).integers(3, vocabulary, (1, n))
    times: dict[str, list[float]] = {mode: [] for mode in models}
    for round_ in range(rounds + 1):
        for mode, model in models.items():
            start = time.perf_counter()
            model.to_host(model(ids, return_dict=True).last_hidden_state)
            if round_:  # the first one warms up
                times[mode].append(time.perf_counter() - start)
    return {mode: statistics.median(seconds) for mode, seconds in times.items()}
