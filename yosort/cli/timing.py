"""`yosort bench`: how fast a model is on this machine."""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

from yosort.cli import terminal
from yosort.cli.inspecting import count_parameters
from yosort.cli.messages import note_unused
from yosort.cli.tasks import add_model, add_model_options, choose_model, model_options
from yosort.errors import InputError

if TYPE_CHECKING:
    from yosort.model.heads import YosoModel


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        parents=[common],
        help="time a model on this machine",
        description="Time a model's encoder over lengths, in both forms of attention and in every "
        "type that the device has, in turn.",
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
    from yosort.model.attention import check_mode
    from yosort.model.folder import read_weights
    from yosort.model.heads import YosoModel
    from yosort.ops.choice import CPU_TYPES, GPU_TYPES
    from yosort.tasks import bundled_model

    if arguments.rounds < 1:
        raise InputError.wanted("rounds", "at least 1", got=arguments.rounds)
    arguments.model = choose_model(arguments)
    source = bundled_model() if arguments.model is None else arguments.model
    options = model_options(arguments)
    attention = options.pop("attention")
    check_mode(attention)  # before any file is read
    modes = [attention] if attention else ["expectation", "sampled"]
    first = YosoModel.from_pretrained(source, **options)
    note_unused(arguments, first.with_attention(modes[-1]).attention)
    dtypes = [first.dtype]
    if arguments.dtype is None:
        dtypes = list(CPU_TYPES if first.device == "cpu" else GPU_TYPES)
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
            f"{source}: {parameters:,} parameters on {where}; medians of {arguments.rounds}, "
            "one text at a time"
        )
        for line in terminal.wrap(terminal.printable(title), terminal.width()):
            print(line)
        print(f"{'tokens':>7} {'dtype':8}" + "".join(f"{m:>12}{'tokens/s':>9}" for m in modes))
    models = {first.dtype: first}
    for dtype in dtypes:
        if dtype != first.dtype:
            models[dtype] = YosoModel.from_pretrained(source, **{**options, "dtype": dtype})
    for n in lengths:
        for dtype, medians in _medians(models, modes, n, arguments.rounds).items():
            if not arguments.json:
                cells = [f"{s * 1e3:9,.1f} ms{n / s:9,.0f}" for s in medians.values()]
                print(f"{n:7,} {dtype!s:8}" + "".join(cells), flush=True)
                continue
            found = {
                "model": str(source),
                "parameters": parameters,
                "dtype": str(dtype),
                "device": first.device,
                "num_threads": threads,
                "rounds": arguments.rounds,
                "tokens": n,
                "seconds": medians,
            }
            print(json.dumps(found), flush=True)
    return 0


def _medians(
    models: dict[Any, YosoModel], modes: list[str], n: int, rounds: int
) -> dict[Any, dict[str, float]]:
    """Return each model's median seconds by form of attention for a text of n tokens, in turn."""
    import numpy as np

    (vocabulary,) = {model.config.vocab_size for model in models.values()}
    ids = np.random.default_rng(n).integers(3, vocabulary, (1, n))
    keys = itertools.product(models, modes)
    forms = {(dtype, mode): models[dtype].with_attention(mode) for dtype, mode in keys}
    times: dict[Any, list[float]] = {key: [] for key in forms}
    for round_ in range(rounds + 1):
        for key, model in forms.items():
            start = time.perf_counter()
            model.to_host(model(ids, return_dict=True).last_hidden_state)
            if round_:  # the first one warms up
                times[key].append(time.perf_counter() - start)
    return {
        dtype: {mode: statistics.median(times[dtype, mode]) for mode in modes} for dtype in models
    }
