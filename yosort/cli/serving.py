"""`yosort serve`: a model behind a socket."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from yosort.cli.messages import note_unused
from yosort.cli.tasks import add_model, add_model_options, choose_model, model_options
from yosort.errors import ConfigError, install_hint
from yosort.model.architectures import ALIASES, TASKS, tasks_of
from yosort.serve.limits import Limits

#: Keys that clients must bring, parted by commas.
KEYS = "YOSORT_API_KEY"


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "serve",
        parents=[common],
        help="answer over HTTP, as OpenAI's and text-embeddings-inference's clients ask",
        description="Answer requests for one model: OpenAI's /v1/embeddings, "
        "text-embeddings-inference's routes, and one for each of the model's pipelines. "
        f"{KEYS} in the environment holds the keys that requests must bring, parted by commas.",
        epilog="example: yosort serve MODEL --port 8080",
    )
    add_model(parser)
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="0 for any that is free (8080)")
    parser.add_argument(
        "--served-model-name",
        action="extend",
        nargs="+",
        type=_served,
        metavar="NAME",
        help="what clients may call the model; the first one answers (the folder's, or the hub id)",
    )
    parser.add_argument(
        "--task",
        choices=(*TASKS, *ALIASES),
        help="what to load the model for (what its config.json says)",
    )
    parser.add_argument(
        "--pooling",
        type=str.lower,
        choices=("mean", "cls"),
        help="of embeddings: tokens to one vector (as the model's files say, else mean)",
    )
    parser.add_argument(
        "--auto-truncate",
        action="store_true",
        help="cut texts that are too long, where a request does not say",
    )
    group = parser.add_argument_group("limits")
    for each in fields(Limits):
        group.add_argument(
            f"--{each.name.replace('_', '-')}",
            type=int,
            default=each.default,
            metavar="N",
            help=f"{each.metadata['help']} ({each.default})",
        )
    add_model_options(parser).add_argument(
        "--allow-random-head",
        action="store_true",
        help="with --task, try one that the checkpoint has no head for; answers mean nothing",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal."""
    try:
        from yosort.serve.app import build
        from yosort.serve.server import Server, bind
        from yosort.serve.service import Service
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("starlette", "uvicorn", "prometheus_client"):
            raise
        raise ConfigError(f"yosort serve needs {missing}: {install_hint('serve')}") from None
    limits = Limits(**{each.name: getattr(arguments, each.name) for each in fields(Limits)})
    keys = read_keys(os.environ)
    if not 0 <= arguments.port < 1 << 16:
        raise ConfigError.wanted("port", "0 to 65535", got=arguments.port)
    arguments.model = choose_model(arguments)
    with bind(arguments.host, arguments.port) as bound:  # before a large model is loaded
        pipelines = _load(arguments)
        note_unused(arguments, next(iter(pipelines.values())).model.attention)
        names = tuple(arguments.served_model_name or [_name(arguments.model)])
        pooling, cut = arguments.pooling, arguments.auto_truncate
        service = Service(pipelines, names, limits, pooling=pooling, auto_truncate=cut)
        host, port = bound.getsockname()[:2]

        def started() -> None:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            what = f"{names[0]} ({', '.join(pipelines)})"
            print(f"yosort: serving {what} on http://{where}", file=sys.stderr, flush=True)
            if not keys and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
                note = f"whoever reaches {where} may ask; {KEYS} in the environment sets a key"
                print(f"yosort: {note}", file=sys.stderr, flush=True)

        Server(build(service, keys), service, started).run([bound])
    return 0


def _served(name: str) -> str:
    """Return a name that clients may write."""
    if not name.strip():
        raise argparse.ArgumentTypeError("wanted a name, got an empty one")
    return name


def read_keys(environment: Any) -> tuple[str, ...]:
    """Return the keys that requests must bring; none where the variable is not set.

    Raises:
        ConfigError: it is set to nothing, which would leave the door open.
    """
    text = environment.get(KEYS)
    if text is None:
        return ()
    keys = tuple(key.strip() for key in text.split(","))
    if not all(keys):
        raise ConfigError(
            f"{KEYS}: wanted keys parted by commas, got an empty one; unset, none is asked for"
        )
    return keys


def _load(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the pipelines of the model, which share its weights."""
    from yosort.model.heads import encoder_of
    from yosort.model.loading import load
    from yosort.tasks import bundled_model, pipeline

    options = model_options(arguments)
    if arguments.task:
        loaded = pipeline(
            arguments.task,
            arguments.model,
            allow_random_head=arguments.allow_random_head,
            **options,
        ).model
    elif arguments.allow_random_head:
        raise ConfigError("allow_random_head: wanted with --task, which says which head")
    else:
        loaded = load(bundled_model() if arguments.model is None else arguments.model, **options)
    own = {task.name: task for task in tasks_of(type(loaded).__name__, loaded.config.num_labels)}
    of_encoder = pipeline("feature-extraction", encoder_of(loaded), pooling=arguments.pooling)
    return {
        name: of_encoder if task.model == "YosoModel" else pipeline(name, loaded)
        for name, task in own.items()
    }


def _name(model: str | None) -> str:
    """Return what clients call a model that was given no name."""
    if model is None:
        return "bundled"
    return Path(model).resolve().name if os.path.isdir(model) else model
