"""`yosort info`: what a checkpoint is, and what it will do."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from yosort.checkpoint import resolve
from yosort.config import YosoConfig
from yosort.errors import CheckpointError
from yosort.folder import read_weights
from yosort.quantized import Quantized, Weight
from yosort.tokenizer import Tokenizer

LENGTHS = (512, 4096, 16384)
#: What each class answers on the command line; every one of them embeds, too.
COMMANDS = {
    "YosoForMaskedLM": "yosort fill-mask, yosort embed",
    "YosoForSequenceClassification": "yosort classify, yosort embed",
    "YosoForTokenClassification": "yosort ner, yosort embed",
    "YosoForQuestionAnswering": "yosort qa, yosort embed",
    "YosoForMultipleChoice": 'yosort.pipeline("multiple-choice") in Python, yosort embed',
    "YosoModel": "yosort embed",
}
_LABELLED = ("YosoForSequenceClassification", "YosoForTokenClassification")


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "info",
        parents=[common],
        help="show what a checkpoint is and what it will do",
        description="Show a checkpoint's config, sizes, dtypes, tokenizer, attention and memory.",
        epilog="example: yosort info path/to/model",
    )
    parser.add_argument("model", nargs="?", help="a folder or hub id; the bundled one by default")
    parser.add_argument("--int8", action="store_true", help="quantise it, and show the errors")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--revision", help="of a hub id")
    parser.add_argument("--local-files-only", action="store_true", help="do not ask the hub")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is known."""
    from yosort.tasks import bundled_model

    facts = collect(
        arguments.model or bundled_model(),
        revision=arguments.revision,
        local_files_only=arguments.local_files_only,
    )
    if arguments.int8:
        facts["int8"] = _try_int8(facts["folder"])
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False))
        return 0
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
    return 0


def collect(source: Any, **hub: Any) -> dict[str, Any]:
    """Return the facts of a checkpoint, in the order to show them.

    Args:
        source: a folder or a hub id.
        hub: options of the hub, as `from_pretrained` takes them.
    """
    folder = resolve(source, **hub)
    config = YosoConfig.from_pretrained(folder)
    state = read_weights(folder)
    count = sum(array.size for array in state.values())
    dtypes: Counter[str] = Counter()
    for name, array in state.items():
        dtypes[state.types[name]] += array.size
    names = config.architectures or ()
    labels = list((config.id2label or {}).values())
    more = f", ... ({len(labels)})" if len(labels) > 8 else ""
    mode = "expectation" if config.use_expectation else f"sampled, {config.num_hash} hashes"
    kind = "fast (Hadamard)" if config.use_fast_hash else "slow (Gaussian)"
    facts: dict[str, Any] = {
        "folder": str(folder),
        "class": ", ".join(names) or "not named",
        "answers": "; ".join(COMMANDS[name] for name in names if name in COMMANDS) or "unknown",
        "layers": f"{config.num_hidden_layers}, {config.hidden_size} wide, "
        f"{config.num_attention_heads} heads of {config.head_dim}",
        "positions": f"{config.max_position_embeddings:,}",
        "vocabulary": f"{config.vocab_size:,}",
        "labels": ", ".join(labels[:8]) + more,
        "parameters": f"{count:,}",
        "stored as": ", ".join(f"{name} ({n / count:.0%})" for name, n in dtypes.items()),
        "attention": f"{mode}; {config.hash_code_len}-bit codes, {kind} hash"
        + (f"; convolution of {config.conv_window}" if config.conv_window else ""),
    }
    memory = f"about {count * 4 / 2**20:,.0f} MB as float32"
    if any(isinstance(weight, Quantized) for weight in state.values()):
        facts["left in float"] = ", ".join(_large_floats(state)) or "no product"
        memory = (
            f"about {_int8_bytes(state) / 2**20:,.0f} MB as int8, {memory.removeprefix('about ')}"
        )
    if not any(name in _LABELLED for name in names):
        del facts["labels"]
    facts["memory, weights"] = memory
    longest = config.max_position_embeddings
    for n in (*(n for n in LENGTHS if n < longest), longest):
        # Half a megabyte is the least that is worth telling apart.
        size = max(1, round(_working_bytes(config, n) / 2**20))
        facts[f"memory, {n:,} tokens"] = f"about {size:,} MB more"
    try:
        tokenizer = Tokenizer.from_pretrained(folder)
        special = ", ".join(dict.fromkeys(tokenizer.special_tokens.values()))
        facts["tokenizer"] = f"{tokenizer.backend.get_vocab_size():,} tokens; special: {special}"
    except CheckpointError as error:
        facts["tokenizer"] = f"none ({error})"
    return facts


def _large_floats(state: Mapping[str, Weight]) -> list[str]:
    """Return the encoder's matrices that an int8 checkpoint holds in floating point."""
    return [
        name
        for name, weight in state.items()
        if ".encoder." in name and len(weight.shape) == 2 and not isinstance(weight, Quantized)
    ]


def _int8_bytes(state: Mapping[str, Weight]) -> int:
    """Bytes of the weights of an int8 checkpoint: integers with their scales, others in float32."""
    return sum(
        weight.values.nbytes + weight.scales.nbytes
        if isinstance(weight, Quantized)
        else 4 * weight.size
        for weight in state.values()
    )


def _try_int8(folder: str) -> str:
    """Load with dtype="int8"; return what came of the products."""
    import yosort

    ops: Any = yosort.load(folder, device="cpu", dtype="int8")._ops
    if not ops.errors:
        return "stored so: nothing to try"
    name, worst = max(ops.errors.items(), key=lambda entry: entry[1])
    return (
        f"{len(ops.errors) - len(ops.left)} of {len(ops.errors)} products; largest error "
        f"{worst:.4f} ({name}); left in float32: {', '.join(ops.left) or 'none'}"
    )


def _working_bytes(config: YosoConfig, n: int) -> int:
    """Bytes beside the weights for one text of n tokens: rows of two layers, codes of a group."""
    rows = n * (8 * config.hidden_size) * 4
    codes = 0
    if not config.use_expectation:
        codes = min(16 << 20, 4 * n * config.num_hash * config.num_attention_heads)
    return rows + codes
