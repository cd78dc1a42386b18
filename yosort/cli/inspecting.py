"""`yosort info`: what a checkpoint is, and what it will do."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from yosort.cli import terminal
from yosort.cli.messages import note_revision
from yosort.cli.tasks import add_model, choose_model, named
from yosort.errors import CheckpointError, one_line
from yosort.model.architectures import ARCHITECTURES, Task, tasks_of

if TYPE_CHECKING:
    from yosort.config import YosoConfig
    from yosort.quantized import Weight

LENGTHS = (512, 4096, 16384)


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "info",
        parents=[common],
        help="show what a checkpoint is and what it will do",
        description="Show a checkpoint's config, sizes, dtypes, tokenizer, attention and memory.",
        epilog="example: yosort info --model path/to/model",
    )
    add_model(parser)
    parser.add_argument(
        "--model",
        type=named,
        metavar="FOLDER|NAME|HUB_ID",
        help="what to show; the bundled one by default",
    )
    parser.add_argument("--int8", action="store_true", help="quantise it, and show the errors")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--revision", help="of a hub id")
    parser.add_argument("--local-files-only", action="store_true", help="do not ask the hub")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is known."""
    from yosort.tasks import bundled_model

    source = choose_model(arguments)
    note_revision(arguments.revision, source)
    facts = collect(
        bundled_model() if source is None else source,
        revision=arguments.revision,
        local_files_only=arguments.local_files_only,
    )
    if arguments.int8:
        facts["int8"] = _try_int8(facts["folder"])
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        terminal.print_facts(_lines(facts))
    return 0


def collect(source: Any, **hub: Any) -> dict[str, Any]:
    """Return the facts of a checkpoint as JSON holds them: numbers, lists, sizes in bytes.

    Args:
        source: a folder, an installed model's name, or a hub id.
        hub: options of the hub, as `from_pretrained` takes them.
    """
    from yosort.checkpoint import read_sentence, resolve
    from yosort.checkpoint.installed import installed_models
    from yosort.config import YosoConfig
    from yosort.model.folder import read_weights
    from yosort.quantized import Quantized
    from yosort.tokenizer import Tokenizer

    folder = resolve(source, **hub)
    config = YosoConfig.from_pretrained(folder)
    state = read_weights(folder)
    dtypes: Counter[str] = Counter()
    for name, array in state.items():
        dtypes[state.types[name]] += array.size
    names = list(config.architectures or ())
    form: dict[str, Any] = {"form": "expectation"}
    if not config.use_expectation:
        form = {"form": "sampled", "num_hash": config.num_hash}
    facts: dict[str, Any] = {
        "folder": str(folder),
        "class": names[0] if names else None,
        "answers": [_answer(task) for name in names for task in tasks_of(name, config.num_labels)],
        "layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "heads": config.num_attention_heads,
        "head_dim": config.head_dim,
        "positions": config.max_position_embeddings,
        "vocabulary": config.vocab_size,
        "parameters": count_parameters(state),
        "stored_as": dict(dtypes),
        "attention": {
            **form,
            "hash_code_len": config.hash_code_len,
            "fast_hash": config.use_fast_hash,
            "conv_window": config.conv_window,
        },
        "bytes": _bytes_in_types(state),
    }
    if any(name in ARCHITECTURES and ARCHITECTURES[name].is_labelled for name in names):
        facts["labels"] = config.label_names
    if any(isinstance(weight, Quantized) for weight in state.values()):
        facts["left_in_float"] = _large_floats(state)
    longest = config.max_position_embeddings
    lengths = (*(n for n in LENGTHS if n < longest), longest)
    facts["bytes_of_tokens"] = {str(n): _working_bytes(config, n) for n in lengths}
    try:
        tokenizer = Tokenizer.from_pretrained(folder)
        facts["tokenizer"] = {
            "tokens": tokenizer.backend.get_vocab_size(),
            "special": list(dict.fromkeys(tokenizer.special_tokens.values())),
        }
    except CheckpointError as error:
        facts["tokenizer"] = {"error": one_line(error)}
    sentence = read_sentence(folder)
    if sentence is not None:
        facts["sentence"] = {
            name: value for name, value in vars(sentence).items() if name != "files"
        }
    facts["installed"] = ["bundled", *dict.fromkeys(offer.name for offer in installed_models())]
    return facts


def _answer(task: Task) -> str:
    return f"yosort {task.command}" if task.command else f'yosort.pipeline("{task.name}") in Python'


def count_parameters(state: Mapping[str, Weight]) -> int:
    """Return the number of a checkpoint's weights; what a tied model shares counts once."""
    from yosort.model.parameters import stored

    return sum(weight.size for weight in stored(state).values())


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield facts as a reader sees them."""
    yield "folder", facts["folder"]
    yield "class", facts["class"] or "not named"
    yield "answers", ", ".join(facts["answers"]) or "unknown"
    heads = f"{facts['heads']} heads of {facts['head_dim']}"
    yield "layers", f"{facts['layers']}, {facts['hidden_size']} wide, {heads}"
    yield "positions", f"{facts['positions']:,}"
    yield "vocabulary", f"{facts['vocabulary']:,}"
    if "labels" in facts:
        labels = facts["labels"]
        yield "labels", ", ".join(labels[:8]) + (f", ... ({len(labels)})" if labels[8:] else "")
    yield "parameters", f"{facts['parameters']:,}"
    count = sum(facts["stored_as"].values())
    yield "stored as", ", ".join(f"{k} ({n / count:.0%})" for k, n in facts["stored_as"].items())
    form = facts["attention"]
    mode = "expectation" if "num_hash" not in form else f"sampled, {form['num_hash']} hashes"
    kind = "fast (Hadamard)" if form["fast_hash"] else "slow (Gaussian)"
    window = f"; convolution of {form['conv_window']}" if form["conv_window"] else ""
    yield "attention", f"{mode}; {form['hash_code_len']}-bit codes, {kind} hash{window}"
    if "left_in_float" in facts:
        yield "left in float", ", ".join(facts["left_in_float"]) or "no product"
    sizes = [f"{size / 2**20:,.0f} MB as {name}" for name, size in facts["bytes"].items()]
    yield "memory, weights", f"about {', '.join(sizes)}"
    for n, size in facts["bytes_of_tokens"].items():
        # Half a megabyte is the least that is worth telling apart.
        yield f"memory, {int(n):,} tokens", f"about {max(1, round(size / 2**20)):,} MB more"
    found = facts["tokenizer"]
    if "error" in found:
        yield "tokenizer", f"none ({found['error']})"
    else:
        yield "tokenizer", f"{found['tokens']:,} tokens; special: {', '.join(found['special'])}"
    if "sentence" in facts:
        yield "text's vector", _sentence_line(facts["sentence"], facts["positions"])
    if "int8" in facts:
        yield "int8", _int8_line(facts["int8"])


def _sentence_line(said: dict[str, Any], positions: int) -> str:
    """Say how sentence-transformers' files want the vector of a text made."""
    if said["refusal"] is not None:
        return f"not as its files say: {said['refusal']}"
    parts = [f"{said['pooling']} of its tokens"]
    if said["normalize"]:
        parts.append("divided by its length")
    if said["max_length"] is not None and said["max_length"] < positions:
        parts.append(f"texts cut at {said['max_length']:,} tokens")
    if said["do_lower_case"]:
        parts.append("lower case")
    if said["prompt"]:
        parts.append(f"{said['prompt']!r} before each")
    return ", ".join(parts)


def _large_floats(state: Mapping[str, Weight]) -> list[str]:
    """Return the encoder's matrices that an int8 checkpoint holds in floating point."""
    from yosort.quantized import Quantized

    return [
        name
        for name, weight in state.items()
        if ".encoder." in name and len(weight.shape) == 2 and not isinstance(weight, Quantized)
    ]


def _bytes_in_types(state: Mapping[str, Weight]) -> dict[str, int]:
    """Bytes of the weights in each type of the CPU's: products of the encoder, in int8 tables, too.

    All else is float32. int8 counts a scale for each row, and what a file left in float as such.
    """
    from yosort.quantized import Quantized
    from yosort.tuning.int8 import TABLES

    sizes = {"float32": 0, "bfloat16": 0, "int8": 0}
    stored_small = any(isinstance(weight, Quantized) for weight in state.values())
    for name, weight in state.items():
        of_product = len(weight.shape) == 2 and ".encoder." in name
        small = of_product or name in TABLES
        if stored_small:
            small = isinstance(weight, Quantized)
        sizes["float32"] += 4 * weight.size
        sizes["bfloat16"] += (2 if of_product else 4) * weight.size
        sizes["int8"] += weight.size + 4 * weight.shape[0] if small else 4 * weight.size
    return sizes


def _try_int8(folder: str) -> dict[str, Any]:
    """Load with dtype="int8"; return what came of the products: errors, and which stay float32."""
    import yosort
    from yosort.tuning.int8 import left_in_float

    errors = yosort.load(folder, device="cpu", dtype="int8").int8_errors
    return {"errors": dict(errors), "left_in_float": left_in_float(errors)}


def _int8_line(found: dict[str, Any]) -> str:
    errors, left = found["errors"], found["left_in_float"]
    if not errors:
        return "stored so: nothing to try"
    name, worst = max(errors.items(), key=lambda entry: entry[1])
    return (
        f"{len(errors) - len(left)} of {len(errors)} products; largest error {worst:.4f} "
        f"({name}); left in float32: {', '.join(left) or 'none'}"
    )


def _working_bytes(config: YosoConfig, n: int) -> int:
    """Bytes beside the weights for one text of n tokens: rows of two layers, codes of a group."""
    rows = n * (8 * config.hidden_size) * 4
    codes = 0
    if not config.use_expectation:
        codes = min(16 << 20, 4 * n * config.num_hash * config.num_attention_heads)
    return rows + codes
