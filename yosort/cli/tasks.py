"""The commands of the tasks: fill-mask, classify, ner, qa, embed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yosort.cli import reading, screen
from yosort.errors import InputError

if TYPE_CHECKING:
    from yosort.cli.writing import Writer

Show = Callable[[Any, int], Iterator[str]]


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add every task's command."""
    fill = _command(
        commands,
        common,
        "fill-mask",
        "predict the tokens behind <mask>",
        'yosort fill-mask "Paris is the <mask> of France."',
    )
    fill.add_argument("--top-k", type=int, default=5, metavar="K", help="answers a mask (5)")
    fill.add_argument(
        "--targets", nargs="+", metavar="WORD", help="choose among these words; write them last"
    )
    _finish(fill, "fill-mask", ("text",), ("top_k", "targets"), screen.show_masks)

    classify = _command(
        commands,
        common,
        "classify",
        "label texts",
        'yosort classify --model FOLDER "a text" --top-k 3',
    )
    classify.add_argument("--top-k", type=int, default=1, metavar="K", help="labels a text (1)")
    classify.add_argument(
        "--function-to-apply",
        type=str.lower,
        choices=("softmax", "sigmoid", "none"),
        help="scores to probabilities; else what config.json says",
    )
    keys = ("text", "text_pair")
    _finish(
        classify, "text-classification", keys, ("top_k", "function_to_apply"), screen.show_labels
    )

    ner = _command(
        commands,
        common,
        "ner",
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
    ner.add_argument("--ignore-labels", nargs="*", metavar="LABEL", help="leave these out (O)")
    ner.add_argument("--stride", type=int, metavar="N", help="overlap of a long text's windows")
    ner.add_argument(
        "--is-split-into-words",
        action="store_true",
        help="texts are words: JSON lists under `words`, or lines cut at white space",
    )
    tagging = ("aggregation_strategy", "ignore_labels", "stride", "is_split_into_words")
    _finish(ner, "token-classification", ("text", "words"), tagging, screen.show_entities)

    qa = _command(
        commands,
        common,
        "qa",
        "answer questions from a context",
        'yosort qa --model FOLDER --context "..." "Who wrote it?"',
    )
    qa.add_argument("--context", metavar="TEXT", help="the context of all questions")
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
    _finish(qa, "question-answering", ("question", "context"), answering, screen.show_answers)

    embed = _command(
        commands,
        common,
        "embed",
        "turn texts into vectors",
        "yosort embed --input texts.txt --output vectors.npy",
    )
    embed.add_argument(
        "--pooling",
        type=str.lower,
        choices=("mean", "cls", "none"),
        default="mean",
        help="tokens to one (mean)",
    )
    embed.add_argument("--normalize", action="store_true", help="divide by the vector's length")
    _finish(embed, "feature-extraction", ("text",), ("pooling", "normalize"), None)


def _command(
    commands: Any, common: argparse.ArgumentParser, name: str, what: str, example: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        parents=[common],
        help=what,
        description=f"{what[0].upper()}{what[1:]}. Writes a JSON line for each, in their order; "
        "on a terminal, texts given as arguments are answered in plain lines.",
        epilog=f"example: {example}",
    )
    noun = "questions" if name == "qa" else "texts"
    parser.add_argument(
        "text", nargs="*", help=f"{noun}; without any, --input or lines of standard input"
    )
    return parser


def _finish(
    parser: argparse.ArgumentParser,
    task: str,
    keys: tuple[str, ...],
    options: tuple[str, ...],
    show: Show | None,
) -> None:
    """Add what all tasks share, and say how to run this one."""
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
    parser.set_defaults(run=lambda arguments: _run(arguments, task, keys, options, show))


def add_model_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of loading a model, and return their group."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", metavar="FOLDER|HUB_ID", help="the bundled one by default")
    group.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N (auto)"
    )
    group.add_argument(
        "--dtype",
        default="float32",
        metavar="TYPE",
        help="float32; float16 on a GPU; int8 on a CPU (float32)",
    )
    group.add_argument(
        "--attention",
        metavar="FORM",
        help="expectation; sampled; auto: sampled where that is faster; auto:N: from N tokens on "
        "(config.json's)",
    )
    group.add_argument("--num-hash", type=int, metavar="M", help="hashes of sampled attention")
    group.add_argument("--seed", type=int, default=0, help="of the hash functions (0)")
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
    from yosort.cli import writing
    from yosort.tasks import pipeline
    from yosort.tasks.stream import Failure

    reading.check(arguments)
    context = _context(arguments) if task == "question-answering" else None
    run = pipeline(
        task,
        arguments.model,
        samples=arguments.samples,
        **model_options(arguments),
        allow_random_head=arguments.allow_random_head,
    )
    given = {name: getattr(arguments, name) for name in options}
    if arguments.overflow:
        given["overflow"] = arguments.overflow
    inputs = reading.read(arguments, keys)
    if task == "question-answering":
        inputs = _with_context(inputs, context)
    elif given.get("is_split_into_words"):
        inputs = (value.split() if isinstance(value, str) else value for value in inputs)
    writer: Writer
    if show and arguments.text and arguments.output is None and sys.stdout.isatty():
        writer = screen.Screen(show, arguments.text)
    else:
        fields, width = _forms(arguments, task, run.model.config.hidden_size)
        writer = writing.open_writer(
            arguments.output, resume=arguments.resume, fields=fields, width=width
        )
    skipped = sum(1 for _ in islice(inputs, writer.done))
    if skipped < writer.done:
        raise InputError(
            f"{arguments.output}: holds {writer.done} results, but there are {skipped} inputs"
        )
    run.first_index = skipped
    failures, written = 0, writer.done
    try:
        for result in run(
            inputs,
            **given,
            batch_tokens=arguments.batch_tokens,
            on_error=arguments.on_error,
            progress=arguments.output is not None and sys.stderr.isatty(),
        ):
            if isinstance(result, Failure):
                failures += 1
                result = Failure(result.index, InputError(arguments.words(result.error)))
            writer.write(result)
            written += 1
    except KeyboardInterrupt:
        hint = f" in {arguments.output}; --resume goes on" if arguments.output else ""
        print(f"yosort: interrupted after {written} results{hint}", file=sys.stderr)
        return 130
    except InputError:
        if arguments.output and written:
            print(f"yosort: {written} results are in {arguments.output}", file=sys.stderr)
        raise
    finally:
        writer.close()
    if failures:
        print(f"yosort: {failures} of {written} inputs failed", file=sys.stderr)
    return 1 if failures else 0


def _forms(
    arguments: argparse.Namespace, task: str, hidden_size: int
) -> tuple[tuple[str, ...] | str, int | str]:
    """Return a .csv's columns and a .npy's width, or why the results fit into neither."""
    vectors = "results are vectors"
    if task == "feature-extraction":
        pooled = arguments.pooling != "none"
        return vectors, hidden_size if pooled else "wanted --pooling cls or mean, a row a text,"
    columns = {
        "fill-mask": ("score", "token", "token_str", "sequence"),
        "text-classification": ("label", "score"),
        "question-answering": ("score", "start", "end", "answer"),
    }
    fields: tuple[str, ...] | str = "a text has any number of entities: no rows"
    if task in columns:
        one = arguments.top_k == 1
        error = ("standard_error",) if arguments.samples > 1 else ()
        fields = (*columns[task], *error) if one else "wanted --top-k 1, a row a text,"
    return fields, "results are no vectors"


def _context(arguments: argparse.Namespace) -> str | None:
    if arguments.context is not None and arguments.context_file is not None:
        raise InputError("wanted --context or --context-file, got both")
    if arguments.context_file is None:
        return str(arguments.context) if arguments.context is not None else None
    try:
        return str(arguments.context_file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError(
            f"{arguments.context_file}: wanted text in UTF-8, got other bytes"
        ) from None
    except OSError as error:
        raise InputError(f"{arguments.context_file}: cannot be read: {error.strerror}") from None


def _with_context(inputs: Iterator[Any], context: str | None) -> Iterator[Any]:
    """Yield questions with their own context, or the one for all."""
    for value in inputs:
        if isinstance(value, str):
            value = {"question": value}
        if isinstance(value, dict) and "context" not in value:
            if context is None:
                raise InputError(
                    "wanted a context: --context TEXT, --context-file FILE, or an --input with "
                    "question and context"
                )
            value = {**value, "context": context}
        yield value
