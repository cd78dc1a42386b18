"""The commands of the tasks: fill-mask, classify, rerank, ner, qa, embed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from yosort.cli import reading, screen, terminal
from yosort.errors import InputError
from yosort.model.architectures import TASKS, Task

Show = Callable[[Any, int], Iterator[str]]


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add every task's command."""
    fill = _command(
        commands,
        common,
        TASKS["fill-mask"],
        "predict the tokens behind <mask>",
        'yosort fill-mask "Paris is the <mask> of France."',
    )
    fill.add_argument("--top-k", type=int, default=5, metavar="K", help="answers a mask (5)")
    fill.add_argument(
        "--targets",
        action="extend",
        nargs="+",
        type=terminal.typed,
        metavar="WORD",
        help="choose among these words; write them last",
    )
    _finish(fill, TASKS["fill-mask"], ("top_k", "targets"), screen.show_masks)

    classify = _command(
        commands,
        common,
        TASKS["text-classification"],
        "label texts",
        'yosort classify --model FOLDER "a text" --top-k 3',
    )
    classify.add_argument(
        "--top-k", type=_count, default=1, metavar="K", help="labels a text, or all (1)"
    )
    classify.add_argument(
        "--function-to-apply",
        type=str.lower,
        choices=("softmax", "sigmoid", "none"),
        help="scores to probabilities; else what config.json says",
    )
    labelling = ("top_k", "function_to_apply")
    _finish(classify, TASKS["text-classification"], labelling, screen.show_labels)

    rerank = _command(
        commands,
        common,
        TASKS["text-ranking"],
        "rank documents for queries",
        'yosort rerank --model FOLDER --documents-file FILE "a query"',
    )
    rerank.add_argument(
        "--documents",
        action="extend",
        nargs="+",
        type=terminal.typed,
        metavar="TEXT",
        help="the documents of all queries; write them last",
    )
    rerank.add_argument(
        "--documents-file", type=Path, metavar="FILE", help="the same, a line each, from a file"
    )
    rerank.add_argument("--top-k", type=int, metavar="K", help="documents a query (all)")
    rerank.add_argument(
        "--function-to-apply",
        type=str.lower,
        choices=("softmax", "sigmoid", "none"),
        help="logits to scores; else sigmoid, or what config.json says",
    )
    rerank.add_argument(
        "--label", metavar="NAME", help="whose score ranks, where a model has several labels"
    )
    ranking = ("top_k", "function_to_apply", "label")
    _finish(rerank, TASKS["text-ranking"], ranking, screen.show_ranks)

    ner = _command(
        commands,
        common,
        TASKS["token-classification"],
        "label tokens, words or entities",
        'yosort ner --model FOLDER "..."',
    )
    ner.add_argument(
        "--aggregation-strategy",
        type=str.lower,
        choices=("none", "simple", "first", "average", "max"),
        default="simple",
        help="none: tokens; simple: neighbours of one label; the others label words first (simple)",
    )
    ner.add_argument(
        "--ignore-labels",
        action="extend",
        nargs="*",
        type=terminal.typed,
        metavar="LABEL",
        help="leave these out (O); write them last",
    )
    ner.add_argument("--stride", type=int, metavar="N", help="overlap of a long text's windows")
    ner.add_argument(
        "--is-split-into-words",
        action="store_true",
        help="texts are words: JSON lists under `words`, or lines cut at white space",
    )
    tagging = ("aggregation_strategy", "ignore_labels", "stride", "is_split_into_words")
    task = TASKS["token-classification"]
    _finish(ner, task, tagging, screen.show_entities, keys=(*task.keys, "words"))

    qa = _command(
        commands,
        common,
        TASKS["question-answering"],
        "answer questions from a context",
        'yosort qa --model FOLDER --context "..." "Who wrote it?"',
    )
    qa.add_argument(
        "--context", type=terminal.typed, metavar="TEXT", help="the context of all questions"
    )
    qa.add_argument("--context-file", type=Path, metavar="FILE", help="the same, from a file")
    qa.add_argument("--top-k", type=int, default=1, metavar="K", help="answers a question (1)")
    qa.add_argument("--max-answer-len", type=int, default=15, metavar="N", help="tokens (15)")
    qa.add_argument("--doc-stride", type=int, metavar="N", help="tokens windows overlap by")
    qa.add_argument("--max-seq-len", type=int, metavar="N", help="tokens of a window")
    qa.add_argument("--max-question-len", type=int, metavar="N", help="refuse longer ones")
    qa.add_argument("--handle-impossible-answer", action="store_true", help="may answer nothing")
    qa.add_argument(
        "--no-align-to-words",
        dest="align_to_words",
        action="store_false",
        help="answers may begin and end within words",
    )
    limits = ("max_answer_len", "doc_stride", "max_seq_len", "max_question_len")
    answering = ("top_k", *limits, "handle_impossible_answer", "align_to_words")
    _finish(qa, TASKS["question-answering"], answering, screen.show_answers)

    embed = _command(
        commands,
        common,
        TASKS["feature-extraction"],
        "turn texts into vectors",
        "yosort embed --input texts.txt --output vectors.npy",
    )
    embed.add_argument(
        "--pooling",
        type=str.lower,
        choices=("mean", "cls", "none"),
        help="tokens to one (as the model's files say, else mean)",
    )
    embed.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="divide by the vector's length, or not (as the model's files say, else not)",
    )
    embed.add_argument(
        "--chunks",
        type=int,
        metavar="N",
        help="a vector for every N tokens at most of a text that is read whole: a line a part",
    )
    embed.add_argument(
        "--spans",
        action="store_true",
        help="the same for the parts that objects name under `spans`: [[start, end], ...]",
    )
    _finish(embed, TASKS["feature-extraction"], ("pooling", "normalize", "chunks"), None)


def _count(text: str) -> int | None:
    """Return a number; None of "all", as transformers' top_k has it."""
    try:
        return None if text.lower() == "all" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"wanted a number or all, got {text!r}") from None


def _command(
    commands: Any, common: argparse.ArgumentParser, task: Task, what: str, example: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        task.command,
        parents=[common],
        help=what,
        description=f"{what[0].upper()}{what[1:]}. Writes a JSON line for each, in their order; "
        "on a terminal, texts given as arguments are answered in plain lines.",
        epilog=f"example: {example}",
    )
    noun = {"query": "queries"}.get(task.keys[0], f"{task.keys[0]}s")
    parser.add_argument(
        "text",
        nargs="*",
        type=terminal.typed,
        help=f"{noun}; without any, --input or lines of standard input",
    )
    return parser


def _finish(
    parser: argparse.ArgumentParser,
    task: Task,
    options: tuple[str, ...],
    show: Show | None,
    keys: tuple[str, ...] = (),
) -> None:
    """Add what all tasks share, and say how to run this one."""
    keys = keys or task.keys
    reading.add_arguments(parser, keys)
    group = parser.add_argument_group("output")
    group.add_argument("--output", type=Path, metavar="FILE", help=".jsonl, .csv or .npy")
    group.add_argument("--resume", action="store_true", help="continue an interrupted --output")
    group.add_argument(
        "--overflow",
        type=str.lower,
        choices=("error", "truncate", "stride"),
        help="texts that are too long: refuse, cut, or (ner, qa) read in windows",
    )
    group.add_argument(
        "--on-error",
        type=str.lower,
        choices=("raise", "collect"),
        default="raise",
        help="a failing text ends the run, or leaves {index, error} in its place (raise)",
    )
    if task.name != "question-answering":  # which reads in windows, of --max-seq-len
        group.add_argument("--max-length", type=int, metavar="N", help="cut texts to N tokens")
    group.add_argument("--batch-size", type=int, metavar="N", help="texts at once, at most")
    group.add_argument(
        "--batch-tokens", type=int, default=16384, metavar="N", help="computed at once (16384)"
    )
    group.add_argument(
        "--samples",
        type=int,
        default=1,
        metavar="K",
        help="draws of hash functions; several give each score a standard error (1)",
    )
    add_model_options(parser).add_argument(
        "--allow-random-head",
        action="store_true",
        help="try a task that the checkpoint has no head for; answers mean nothing",
    )
    parser.set_defaults(run=lambda arguments: _run(arguments, task.name, keys, options, show))


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add MODEL to a command of which it is the one thing that stands without an option."""
    parser.add_argument(
        "source", nargs="?", type=named, metavar="MODEL", help="the same as --model MODEL"
    )


def choose_model(arguments: argparse.Namespace) -> str | None:
    """Return what MODEL or --model names; None: the bundled one.

    Raises:
        InputError: both.
    """
    source: str | None = arguments.source
    model: str | None = arguments.model
    if source is not None and model is not None:
        raise InputError.wanted("--model", "one", got=f"{source} and {model}")
    return model if source is None else source


def named(model: str) -> str | None:
    """Return a model's name as `pipeline` takes it; None: the one on board, which has a name."""
    return None if model == "bundled" else model


def add_model_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of loading a model, and return their group."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", type=named, metavar="FOLDER|NAME|HUB_ID", help="the bundled one by default"
    )
    group.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N (auto)"
    )
    group.add_argument(
        "--dtype",
        metavar="TYPE",
        help="float32; bfloat16 or int8 on a CPU; float16 on a GPU (float32)",
    )
    group.add_argument(
        "--attention",
        metavar="FORM",
        help="expectation; sampled; auto: sampled where that is faster; auto:N: from N tokens on "
        "(config.json's)",
    )
    group.add_argument("--num-hash", type=int, metavar="M", help="hashes of sampled attention")
    group.add_argument("--seed", type=int, metavar="N", help="of the hash functions (0)")
    group.add_argument("--num-threads", type=int, metavar="T", help="CPU threads")
    group.add_argument("--revision", help="of a hub id")
    group.add_argument("--local-files-only", action="store_true", help="do not ask the hub")
    return group


def model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `from_pretrained` that were given."""
    names = [
        "device",
        "dtype",
        "attention",
        "num_hash",
        "seed",
        "num_threads",
        "revision",
        "local_files_only",
    ]
    return {name: getattr(arguments, name) for name in names}


def _run(
    arguments: argparse.Namespace,
    task: str,
    keys: tuple[str, ...],
    options: tuple[str, ...],
    show: Show | None,
) -> int:
    from yosort.cli.running import run

    # What is not given is the model's to say; of labels, None asks for all.
    given = {
        name: value
        for name in (*options, "overflow", "max_length", "batch_size")
        if (value := getattr(arguments, name, None)) is not None or name == "top_k"
    }
    loading = {**model_options(arguments), "allow_random_head": arguments.allow_random_head}
    return run(arguments, task, keys, given, loading, show)
