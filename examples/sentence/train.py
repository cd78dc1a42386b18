"""Distil a sentence encoder into the YOSO model that `yosort adopt` made of it.

The student learns, on the same texts, the original's sentence vectors, its hidden states layer by
layer, and how near the texts of a batch are to each other. A text longer than the original reads
well is aimed at what its parts have: see the README. A share of the steps samples attention, with
the hash functions that yosort draws.

transformers' YOSO ignores attention_mask, so no batch holds padding: its rows are of one length.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from attention import SelfAttention
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize, pad
from transformers import BertModel, YosoModel

BATCH_TOKENS = 2048
POSITIONS = 4096
#: Kind of batch -> its share of the steps: whole short texts; windows of documents, as long as
#: the original reads; and longer ones, which cost more a step: fewer in the second half.
SHARES = {"short": 0.68, "window": 0.2, "long": 0.12}
LATE_SHARES = {"short": 0.76, "window": 0.18, "long": 0.06}
SHORTEST, WINDOWS, LONG = 5, (32, 256), {512: 6, 1024: 4, 2048: 1.5, 4096: 0.3}
#: Documents longer than this are aimed at the mean of what the original has of such parts.
PART = 126
#: Of a document so many sentences, spans of so many tokens, are to find it among so many others.
SPANS, SPAN, OTHERS, TEMPERATURE = 4, 24, 256, 0.05
SAMPLED_SHARE, NUM_HASH = 0.4, (32, 64)
#: Exact gradients of sampled attention take n x n memory and time; longer texts are exact.
SAMPLED_UP_TO = 512
WEIGHTS = {"vectors": 5.0, "hidden": 5.0, "relations": 25.0, "found": 0.4}
WARM_UP, CLIP = 50, 2.0


@dataclass(frozen=True)
class Batch:
    """Texts of one length.

    Attributes:
        ids: int64 [texts, n], with the special tokens.
        parts: into how many the original reads each.
        offset: of the student's positions.
        num_hash: functions to sample with; None for exact attention.
        documents: the number of each text's document.
    """

    ids: Tensor
    parts: int = 1
    offset: int = 0
    num_hash: int | None = None
    documents: tuple[int, ...] = ()


class Batches:
    """Draws batches; that of a step is a function of the seed and the step."""

    def __init__(self, corpus: Path, prefix: str, tokenizer: Tokenizer, seed: int) -> None:
        self.seed = seed
        self.cls, self.sep = (tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]"))
        lines = (corpus / f"{prefix}short.txt").read_text(encoding="utf-8").splitlines()
        documents = (corpus / f"{prefix}long.jsonl").read_text(encoding="utf-8").splitlines()
        self.by_length: dict[int, list[list[int]]] = defaultdict(list)
        for encoded in tokenizer.encode_batch(lines, add_special_tokens=False):
            if len(encoded.ids) >= SHORTEST:
                self.by_length[len(encoded.ids)].append(encoded.ids)
        self.lengths = list(self.by_length)
        self.weights = [n * len(rows) for n, rows in self.by_length.items()]
        encodings = tokenizer.encode_batch(
            [json.loads(line) for line in documents], add_special_tokens=False
        )
        self.documents = sorted((e.ids for e in encodings), key=len)

    def tensor(self, rows: list[list[int]]) -> Tensor:
        """Return rows with the special tokens around them."""
        return torch.tensor([[self.cls, *row, self.sep] for row in rows])

    def windows(
        self, draw: random.Random, length: int, count: int
    ) -> tuple[Tensor, tuple[int, ...]]:
        """Return windows of different documents, and the documents' numbers."""
        enough = bisect_left(self.documents, length, key=len)
        picked = draw.sample(
            range(enough, len(self.documents)), min(count, len(self.documents) - enough)
        )
        rows = []
        for i in picked:
            at = draw.randint(0, len(self.documents[i]) - length)
            rows.append(self.documents[i][at : at + length])
        return self.tensor(rows), tuple(picked)

    def draw(self, step: int, shares: dict[str, float]) -> Batch:
        """Return the batch of a step."""
        draw = random.Random(self.seed * 1_000_003 + step)
        kind = draw.choices(list(shares), list(shares.values()))[0]
        sampled = draw.choice(NUM_HASH) if draw.random() < SAMPLED_SHARE else None
        if kind == "long":
            parts = draw.choices(list(LONG), list(LONG.values()))[0] // (PART + 2)
            length = parts * PART
            ids, documents = self.windows(draw, length, max(1, BATCH_TOKENS // length))
            return Batch(ids, parts, 0, sampled if length < SAMPLED_UP_TO else None, documents)
        if kind == "window":
            length = draw.randint(*WINDOWS) - 2
            ids, documents = self.windows(draw, length, max(2, BATCH_TOKENS // (length + 2)))
            # Now and then elsewhere: rows that few long texts reach.
            offset = draw.randint(0, POSITIONS - length - 2) if draw.random() < 0.25 else 0
            return Batch(ids, 1, offset, sampled, documents)
        length = draw.choices(self.lengths, self.weights)[0]
        rows = self.by_length[length]
        rows = draw.sample(rows, min(len(rows), BATCH_TOKENS // (length + 2)))
        return Batch(self.tensor(rows), 1, 0, sampled)


def pooled(hidden: Tensor) -> Tensor:
    """Return the normalised mean of token vectors [..., n, width]."""
    return normalize(hidden.float().mean(-2), dim=-1)


@torch.no_grad()
def aims(teacher: BertModel, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """Return what the original has of a batch: vectors [texts, width], hidden states by layer.

    A text in parts has the normalised mean of their normalised vectors, and the hidden states of
    its tokens without the special ones, [texts, n - 2, width].
    """
    texts, parts = len(batch.ids), batch.parts
    if parts == 1:
        hidden = teacher(batch.ids, output_hidden_states=True).hidden_states[1:]
        return pooled(hidden[-1]), list(hidden)
    inner = batch.ids[:, 1:-1].reshape(texts * parts, -1)
    first, last = batch.ids[:, :1], batch.ids[:, -1:]
    ids = torch.cat([first.repeat(parts, 1), inner, last.repeat(parts, 1)], 1)
    hidden = teacher(ids, output_hidden_states=True).hidden_states[1:]
    vectors = pooled(hidden[-1]).view(texts, parts, -1).mean(1)
    return normalize(vectors, dim=-1), [h[:, 1:-1].reshape(texts, -1, h.shape[-1]) for h in hidden]


def answers(student: YosoModel, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """Return what the student has of a batch, in the form of `aims`."""
    for layer in student.encoder.layer:
        layer.attention.self.num_hash = batch.num_hash
    positions = (torch.arange(batch.ids.shape[1]) + 2 + batch.offset)[None]
    output = student(batch.ids, position_ids=positions, output_hidden_states=True)
    hidden = list(output.hidden_states[1:])
    vectors = pooled(hidden[-1])
    return vectors, hidden if batch.parts == 1 else [h[:, 1:-1] for h in hidden]


class Finding:
    """Whether spans of a document, as the original reads them, find it among recent ones."""

    def __init__(self) -> None:
        self.vectors = torch.zeros(0)
        self.documents = torch.zeros(0, dtype=torch.int64)

    def loss(self, teacher: BertModel, batch: Batch, got: Tensor) -> Tensor:
        """Return the cross-entropy of each span's cosines to the documents, and remember these.

        Args:
            teacher: the original.
            batch: of documents.
            got: the student's vectors of them, [texts, width].
        """
        texts, n = batch.ids.shape
        starts = torch.randint(1, n - 1 - SPAN, (texts, SPANS, 1))
        spans = batch.ids[:, None].expand(-1, SPANS, -1).gather(2, starts + torch.arange(SPAN))
        first, last = (batch.ids[:, at, None, None].expand(-1, SPANS, 1) for at in (0, n - 1))
        with torch.no_grad():
            ids = torch.cat([first, spans, last], 2).flatten(0, 1)
            wanted = pooled(teacher(ids).last_hidden_state)
        numbers = torch.tensor(batch.documents)
        known = torch.cat([got, self.vectors.view(-1, got.shape[1])])
        logits = wanted @ known.T / TEMPERATURE
        again = (numbers[:, None] == self.documents).repeat_interleave(SPANS, 0)
        logits = logits.masked_fill(pad(again, (texts, 0)), -torch.inf)
        self.vectors = known[:OTHERS].detach()
        self.documents = torch.cat([numbers, self.documents])[:OTHERS]
        return cross_entropy(logits, torch.arange(texts).repeat_interleave(SPANS))


def losses(
    student: YosoModel, teacher: BertModel, batch: Batch, finding: Finding
) -> dict[str, Tensor]:
    """Return the parts of the loss.

    vectors: 1 - cosine. hidden: squared error over the variance of the original's, the mean of the
    layers. relations: squared error of the cosines between texts. found: see `Finding`.
    """
    wanted, wanted_hidden = aims(teacher, batch)
    got, got_hidden = answers(student, batch)
    errors = [
        mse_loss(g.float(), w.float()) / w.float().var()
        for g, w in zip(got_hidden, wanted_hidden, strict=True)
    ]
    found = {
        "vectors": (1 - (got * wanted).sum(-1)).mean(),
        "hidden": torch.stack(errors).mean(),
        "relations": mse_loss(got @ got.T, wanted @ wanted.T),
    }
    if batch.parts > 1:
        found["found"] = finding.loss(teacher, batch, got)
    return found


def make_student(folder: Path) -> YosoModel:
    """Load the adopted model with our attention; word vectors stay the original's."""
    student = YosoModel.from_pretrained(folder, dtype=torch.float32).eval()  # eval: no dropout
    for layer in student.encoder.layer:
        layer.attention.self = SelfAttention(layer.attention.self)
    student.embeddings.word_embeddings.requires_grad_(False)
    student.embeddings.token_type_embeddings.requires_grad_(False)
    return student


@torch.no_grad()
def check(student: YosoModel, teacher: BertModel, batches: Batches, count: int) -> dict[str, float]:
    """Return, of held-out batches, the mean cosine to the original: by kind, exact and sampled."""
    torch.manual_seed(0)
    found: dict[str, list[float]] = defaultdict(list)
    for step in range(count):
        batch = batches.draw(step, SHARES)
        wanted, _ = aims(teacher, batch)
        for num_hash in (None, 64):
            exact = Batch(batch.ids, batch.parts, 0, num_hash)
            if num_hash and batch.ids.shape[1] > SAMPLED_UP_TO:
                continue
            got, _ = answers(student, exact)
            length = "long" if batch.parts > 1 else "short"
            name = f"{length} {'exact' if num_hash is None else num_hash}"
            found[name] += (got * wanted).sum(-1).tolist()
    return {name: round(sum(x) / len(x), 4) for name, x in sorted(found.items())}


def save(student: YosoModel, adopted: Path, out: Path) -> None:
    """Write the student beside the adopted model's tokenizer and sentence-transformers' files."""
    shutil.copytree(
        adopted, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors")
    )
    student.save_pretrained(out)
    # transformers writes what it understands of config.json; keep all of the adopted one.
    shutil.copy(adopted / "config.json", out / "config.json")


def main() -> None:
    """Train until the budget of time is spent; write the model, and the log beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original", type=Path, help="folder of the sentence encoder, a BERT")
    parser.add_argument("adopted", type=Path, help="folder that `yosort adopt` made of it")
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--out", type=Path, default=Path("distilled"))
    parser.add_argument("--minutes", type=float, default=60, help="of wall clock, over all runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=7e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--check-every", type=float, default=6, help="minutes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(arguments.original / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    batches = Batches(arguments.corpus, "", tokenizer, arguments.seed)
    held_out = Batches(arguments.corpus, "heldout-", tokenizer, arguments.seed)
    teacher = BertModel.from_pretrained(arguments.original, dtype=torch.float32).eval()
    student = make_student(arguments.adopted)
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=arguments.learning_rate, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.0
    )
    state_path, log_path = arguments.out / "state.pt", arguments.out / "log.jsonl"
    step, spent, tokens = 0, 0.0, 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent, tokens = state["step"], state["spent"], state["tokens"]
    budget, last_saved, last_checked = 60 * arguments.minutes, spent, spent
    sums: dict[str, list[float]] = defaultdict(list)
    finding = Finding()

    def log(entry: dict[str, Any]) -> None:
        line = json.dumps({"step": step, "minutes": round(spent / 60, 2), "tokens": tokens} | entry)
        with log_path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, file=sys.stderr, flush=True)

    def autocast() -> Any:
        return torch.autocast("cpu", torch.bfloat16, enabled=arguments.dtype == "bfloat16")

    with autocast():
        log({"held out": check(student, teacher, held_out, 12)})
    while spent < budget:
        started = time.monotonic()
        torch.manual_seed(arguments.seed * 1_000_003 + step)
        batch = batches.draw(step, SHARES if spent < budget / 2 else LATE_SHARES)
        # A linear warm-up, then a cosine to zero at the end of the budget.
        rate = min(1, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * spent / budget)) / 2
        for group in optimizer.param_groups:
            group["lr"] = arguments.learning_rate * rate
        with autocast():
            parts = losses(student, teacher, batch, finding)
        loss = torch.stack([WEIGHTS[name] * value for name, value in parts.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        for name, value in (parts | {"norm": norm}).items():
            sums[name].append(float(value.detach()))
        step, tokens, spent = (
            step + 1,
            tokens + batch.ids.numel(),
            spent + time.monotonic() - started,
        )
        if step % 25 == 0:
            log({name: round(sum(x) / len(x), 5) for name, x in sums.items()})
            sums.clear()
        if spent - last_checked > 60 * arguments.check_every or spent >= budget:
            with autocast():
                log({"held out": check(student, teacher, held_out, 12)})
            save(student, arguments.adopted, arguments.out / "model")
            last_checked = spent
        if spent - last_saved > 60 or spent >= budget:
            state = {"student": student.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state | {"step": step, "spent": spent, "tokens": tokens}, state_path)
            last_saved = spent


if __name__ == "__main__":
    main()
