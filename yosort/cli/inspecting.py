"""`yosort info`: what a checkpoint is, and what it will do."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import Any

from yosort.checkpoint import read_state, resolve
from yosort.config import YosoConfig
from yosort.errors import CheckpointError
from yosort.tokenizer import Tokenizer

LENGTHS = (512, 4096, 16384)


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
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is known."""
    from yosort.tasks import bundled_model

    facts = collect(arguments.model or bundled_model())
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False))
        return 0
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
    return 0


def collect(source: Any) -> dict[str, Any]:
    """Return the facts of a checkpoint, in the order to show them."""
    folder = resolve(source)
    config = YosoConfig.from_pretrained(folder)
    state = read_state(folder)
    count = sum(array.size for array in state.values())
    dtypes = Counter({str(a.dtype): 0 for a in state.values()})
    for array in state.values():
        dtypes[str(array.dtype)] += array.size
    mode = "expectation" if config.use_expectation else f"sampled, {config.num_hash} hashes"
    kind = "fast (Hadamard)" if config.use_fast_hash else "slow (Gaussian)"
    facts: dict[str, Any] = {
        "folder": str(folder),
        "class": ", ".join(config.architectures or ()) or "not named",
        "layers": f"{config.num_hidden_layers}, {config.hidden_size} wide, "
        f"{config.num_attention_heads} heads of {config.head_dim}",
        "positions": config.max_position_embeddings,
        "vocabulary": config.vocab_size,
        "labels": ", ".join(list((config.id2label or {}).values())[:8]),
        "parameters": f"{count:,}",
        "stored as": ", ".join(f"{name} ({n / count:.0%})" for name, n in dtypes.items()),
        "attention": f"{mode}; {config.hash_code_len}-bit codes, {kind} hash"
        + (f"; convolution of {config.conv_window}" if config.conv_window else ""),
    }
    for n in LENGTHS:
        if n <= config.max_position_embeddings:
            facts[f"memory, {n:,} tokens"] = f"about {_working_bytes(config, n) / 2**20:,.0f} MB"
    try:
        tokenizer = Tokenizer.from_pretrained(folder)
        special = ", ".join(dict.fromkeys(tokenizer.special_tokens.values()))
        facts["tokenizer"] = f"{tokenizer.backend.get_vocab_size():,} tokens; special: {special}"
    except CheckpointError as error:
        facts["tokenizer"] = f"none ({error})"
    return facts


def _working_bytes(config: YosoConfig, n: int) -> int:
    """Bytes beside the weights for one text of n tokens: rows of two layers, codes of a group."""
    rows = n * (8 * config.hidden_size) * 4
    codes = 0
    if not config.use_expectation:
        codes = min(16 << 20, 4 * n * config.num_hash * config.num_attention_heads)
    return rows + codes
