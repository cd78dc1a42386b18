"""Train the spam classifier with transformers, from the sides that prepare.py wrote.

The tokenizer is the bundled model's. So are the word embeddings, as far as half the width holds
them: their main directions. transformers' YOSO ignores attention_mask, so no batch holds padding.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, YosoConfig, YosoForSequenceClassification
from transformers.models.yoso import modeling_yoso

BUNDLED = Path(__file__).resolve().parents[2] / "yosort" / "bundled"
POSITIONS, FIRST_POSITION = 4096, 2
#: How much of a mail is read, and how often: attention costs the square of it.
WINDOWS = {512: 0.84, 1024: 0.1, 2048: 0.045, 4096: 0.015}
#: Texts are cut to one of these, so that several share a batch without padding.
STEPS = [*range(16, 257, 16), 320, 384, 448, 512, 768, 1024, 1536, 2048, 3072, 4096]
MICRO_TOKENS, MICRO_BATCHES = 2048, 4
#: Shares: of tokens hidden, and of windows that begin anywhere in the mail.
HIDDEN, INSIDE = 0.1, 0.25


def read_side(path: Path, tokenizer: PreTrainedTokenizerFast) -> list[tuple[list[int], int]]:
    """Return (token ids, label) of each mail."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts = [row["text"] for row in rows]
    encoded = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    return [(e.ids, row["label"]) for e, row in zip(encoded, rows, strict=True)]


def clamped_expectation() -> None:
    """Keep the cosines that transformers takes the acos of inside its domain.

    acos of a cosine that rounding pushed past 1 is NaN, and its own slope at 1 is infinite.
    """
    original = modeling_yoso.YosoCumulation.forward

    def forward(ctx: Any, query_mask: Any, key_mask: Any, query: Any, *rest: Any) -> Any:
        return original(ctx, query_mask, key_mask, query * (1 - 1e-6), *rest)

    modeling_yoso.YosoCumulation.forward = staticmethod(forward)


def build(tokenizer: PreTrainedTokenizerFast) -> YosoForSequenceClassification:
    """Return the model before training: 2.0 million weights, 4.0 MB as float16."""
    config = YosoConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=POSITIONS,
        hash_code_len=8,
        num_hash=64,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.0,
        conv_window=9,
        id2label={0: "ham", 1: "spam"},
        label2id={"ham": 0, "spam": 1},
    )
    model = YosoForSequenceClassification(config)
    words = model.yoso.embeddings.word_embeddings.weight
    positions = model.yoso.embeddings.position_embeddings.weight
    wide = load_file(BUNDLED / "model.safetensors")["yoso.embeddings.word_embeddings.weight"]
    wide = wide.float() - wide.float().mean(0)
    directions = torch.linalg.svd(wide, full_matrices=False)[2][: words.shape[1]]
    narrow = wide @ directions.T
    rows, width = positions.shape
    angles = torch.arange(rows)[:, None] * 10000 ** -(torch.arange(0, width, 2) / width)
    with torch.no_grad():
        words.copy_(narrow / narrow.std() * 0.05)
        # Few mails reach the last rows: all begin from sines, which know distances.
        positions.copy_(torch.cat([angles.sin(), angles.cos()], dim=1) * 0.02)
    return model


class Batches:
    """Endless micro-batches: each epoch reads every mail once."""

    def __init__(self, mails: list[tuple[list[int], int]], unknown: int, seed: int) -> None:
        self.mails, self.unknown, self.random = mails, unknown, random.Random(seed)

    def window(self, ids: list[int]) -> tuple[list[int], int]:
        """Return the tokens to read of a mail, <s> and </s> included, and where they begin."""
        limit = self.random.choices(list(WINDOWS), list(WINDOWS.values()))[0] - 2
        begin = 0
        if len(ids) > limit and self.random.random() < INSIDE:
            begin = self.random.randrange(min(len(ids), POSITIONS - 2) - min(limit, POSITIONS - 3))
        part = ids[begin : begin + limit][: POSITIONS - 2 - begin]
        part = [self.unknown if self.random.random() < HIDDEN else token for token in part]
        whole = [0, *part, 2]
        length = max((n for n in STEPS if n <= len(whole)), default=len(whole))
        return [*whole[: length - 1], 2], begin

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        while True:
            by_length: dict[int, list[tuple[list[int], int, int]]] = defaultdict(list)
            for ids, label in self.random.sample(self.mails, len(self.mails)):
                row, begin = self.window(ids)
                by_length[len(row)].append((row, begin, label))
            parts = []
            for length, rows in by_length.items():
                size = max(1, MICRO_TOKENS // length)
                parts += [rows[at : at + size] for at in range(0, len(rows), size)]
            self.random.shuffle(parts)
            for part in parts:
                ids = torch.tensor([row for row, _, _ in part])
                places = torch.arange(ids.shape[1])[None] + FIRST_POSITION
                shift = torch.tensor([[begin] for _, begin, _ in part])
                # <s> stays where it always is.
                places = torch.where(places > FIRST_POSITION, places + shift, places)
                yield ids, places, torch.tensor([label for _, _, label in part])


@torch.no_grad()
def accuracy(model: YosoForSequenceClassification, mails: list[tuple[list[int], int]]) -> float:
    """Return the accuracy on mails cut at 512 tokens."""
    model.eval()
    right = 0
    for ids, label in mails:
        row = torch.tensor([[0, *ids[:510], 2]])
        right += int(model(row).logits.argmax()) == label
    model.train()
    return right / len(mails)


def main() -> None:
    """Train for a budget of processor time; save the model as float16 and the tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("trained"))
    parser.add_argument("--cpu-minutes", type=float, default=35)
    parser.add_argument("--minutes", type=float, default=120, help="of wall clock, at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    clamped_expectation()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(BUNDLED)
    train, dev = (read_side(arguments.data / f"{s}.jsonl", tokenizer) for s in ("train", "dev"))
    model = build(tokenizer).train()
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        eps=1e-6,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    last = arguments.out / "last.pt"
    step, before = 0, 0.0
    if last.exists():  # an interrupted run goes on
        kept = torch.load(last, weights_only=True)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        step, before = kept["step"], kept["spent"]
    batches = iter(Batches(train, tokenizer.unk_token_id, arguments.seed + step))
    cpu_start, start = time.process_time(), time.time()
    saved, looked, average = start, before, 0.7

    def spent_share() -> float:
        """Return how much of the budget is gone: of whichever of the two runs out first."""
        return before + max(
            (time.process_time() - cpu_start) / (60 * arguments.cpu_minutes),
            (time.time() - start) / (60 * arguments.minutes),
        )

    while (spent := spent_share()) < 1:
        # Linear warm-up over 100 steps, then a cosine to zero at the end of the budget.
        fade = (1 + math.cos(math.pi * spent)) / 2
        for group in optimizer.param_groups:
            group["lr"] = arguments.learning_rate * min(1, (step + 1) / 100) * fade
        parts = [next(batches) for _ in range(MICRO_BATCHES)]
        count = sum(len(labels) for _, _, labels in parts)
        loss = 0.0
        for ids, places, labels in parts:
            logits = model(ids, position_ids=places).logits
            part = cross_entropy(logits, labels, reduction="sum") / count
            part.backward()
            loss += part.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average += 0.02 * (loss - average)
        step += 1
        if step % 50 == 0:
            print(f"step {step} spent {spent:.3f} loss {average:.4f}", flush=True)
        if spent - looked > 0.1:
            looked = spent
            print(f"step {step} dev accuracy {accuracy(model, dev):.4f}", flush=True)
        if time.time() - saved > 60:
            saved = time.time()
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "step": step, "spent": spent}, last.with_suffix(".new"))
            last.with_suffix(".new").replace(last)
    print(f"done: {step} steps, loss {average:.4f}, dev {accuracy(model, dev):.4f}", flush=True)
    tokenizer.save_pretrained(arguments.out)
    model.config.dtype = "float16"
    model.half().save_pretrained(arguments.out)
    last.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
