"""Train the bundled masked language model with transformers, from the lines that prepare.py wrote.

transformers' YOSO ignores attention_mask, so no batch holds padding: either lines of one exact
length, or texts packed to a fixed length.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, YosoConfig, YosoForMaskedLM
from transformers.models.yoso import modeling_yoso

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
POSITIONS = 4096
BATCH_TOKENS = 3072
#: Lengths of packed texts and how often each is drawn; attention costs grow with the length.
PACKED_LENGTHS = {128: 10, 256: 5, 512: 2, 1024: 1, 2048: 0.25}


def train_tokenizer(lines: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE with RoBERTa's special tokens."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    mask = AddedToken("<mask>", lstrip=True, special=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL, mask],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(lines, trainer)
    # It leaves the space before a word out of the word's offsets.
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token=mask,
        model_max_length=POSITIONS,
    )


def clamped_expectation() -> None:
    """Replace transformers' expectation by one whose cosines are clamped.

    acos of a cosine that rounding pushed past 1 is NaN, and its own slope at 1 is infinite.
    """
    original = modeling_yoso.YosoCumulation.forward

    def forward(ctx, query_mask, key_mask, query, key, value, config):  # type: ignore[no-untyped-def]
        shrink = 1 - 1e-6
        return original(ctx, query_mask, key_mask, query * shrink, key, value, config)

    modeling_yoso.YosoCumulation.forward = staticmethod(forward)


class Batches:
    """Endless training batches: half single lines of one length, half packed texts."""

    def __init__(self, ids: list[list[int]], seed: int) -> None:
        self.random = random.Random(seed)
        self.ids = ids
        self.by_length: dict[int, list[int]] = defaultdict(list)
        for i, row in enumerate(ids):
            if 4 <= len(row) <= 94:
                self.by_length[len(row)].append(i)
        self.lengths = list(self.by_length)
        self.weights = [n * len(self.by_length[n]) for n in self.lengths]

    def lines(self) -> torch.Tensor:
        """Return lines of one length, [batch, n + 2]."""
        length = self.random.choices(self.lengths, self.weights)[0]
        rows = self.by_length[length]
        count = min(len(rows), BATCH_TOKENS // (length + 2))
        picked = self.random.sample(rows, count)
        return torch.tensor([[0, *self.ids[i], 2] for i in picked])

    def packed(self) -> torch.Tensor:
        """Return runs of consecutive lines cut to one length, [batch, length]."""
        lengths, weights = list(PACKED_LENGTHS), list(PACKED_LENGTHS.values())
        length = self.random.choices(lengths, weights)[0]
        rows = []
        for _ in range(max(1, BATCH_TOKENS // length)):
            at = self.random.randrange(len(self.ids))
            row = [0]
            while len(row) < length - 1:
                row += self.ids[at % len(self.ids)]
                at += 1
            rows.append([*row[: length - 1], 2])
        return torch.tensor(rows)

    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield self.lines() if self.random.random() < 0.6 else self.packed()


def sinusoids(rows: int, width: int) -> torch.Tensor:
    """Return sines and cosines [rows, width] of falling frequency: a start that knows distances.

    Short texts train the first rows of the position table; the others keep this structure.
    """
    angles = torch.arange(rows)[:, None] * 10000 ** -(torch.arange(0, width, 2) / width)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def mask_tokens(
    ids: torch.Tensor, starts_word: torch.Tensor, mask_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose 15% of the tokens, whole words half of the time; 80% masked, 10% random, 10% kept."""
    score = torch.rand(ids.shape)
    if random.random() < 0.5:
        first = starts_word[ids].long()
        word = first.cumsum(1)
        score = torch.gather(torch.rand(ids.shape[0], ids.shape[1] + 1), 1, word)
    chosen = (score < 0.15) & (ids >= len(SPECIAL))
    fate = torch.rand(ids.shape)
    inputs = torch.where(chosen & (fate < 0.8), mask_id, ids)
    noise = torch.randint(len(SPECIAL) + 1, len(starts_word), ids.shape)
    return torch.where(chosen & (fate > 0.9), noise, inputs), chosen


def main() -> None:
    """Train the tokenizer and the model; save both, the model as float16."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("corpus/train.txt"))
    parser.add_argument("--out", type=Path, default=Path("model"))
    parser.add_argument("--cpu-minutes", type=float, default=120, help="of all threads together")
    parser.add_argument("--minutes", type=float, default=85, help="of wall clock, at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="a last.pt of an interrupted run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    random.seed(arguments.seed)
    clamped_expectation()

    lines = arguments.corpus.read_text(encoding="utf-8").splitlines()
    tokenizer = train_tokenizer(lines, arguments.vocab_size)
    tokenizer.save_pretrained(arguments.out)
    # Every second line as it stands after another one, with its space, for the packed texts.
    spaced = [line if i % 2 else f" {line}" for i, line in enumerate(lines)]
    encoded = tokenizer.backend_tokenizer.encode_batch(spaced, add_special_tokens=False)
    ids = [e.ids for e in encoded]
    vocabulary = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    starts_word = torch.tensor([t.startswith("\u0120") or i < 5 for i, t in enumerate(vocabulary)])
    config = YosoConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=POSITIONS,
        hash_code_len=8,
        num_hash=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        conv_window=9,
    )
    model = YosoForMaskedLM(config).train()
    with torch.no_grad():
        table = model.yoso.embeddings.position_embeddings.weight
        table.copy_(sinusoids(*table.shape) * config.initializer_range * math.sqrt(2))
    if arguments.start:
        model.load_state_dict(torch.load(arguments.start, weights_only=True))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
        lr=arguments.learning_rate,
        betas=(0.9, 0.98),
        eps=1e-6,
    )
    mask_id = tokenizer.mask_token_id
    cpu_start, start, saved = time.process_time(), time.time(), 0.0
    tokens, average = 0, 9.0
    for step, clean in enumerate(Batches(ids, arguments.seed)):
        # Whichever budget runs out first: the rate must reach zero on a busy machine as well.
        spent = max(
            (time.process_time() - cpu_start) / (60 * arguments.cpu_minutes),
            (time.time() - start) / (60 * arguments.minutes),
        )
        if spent >= 1:
            break
        # Linear warm-up over 200 steps, then a cosine to zero at the end of the budget.
        rate = (
            arguments.learning_rate * min(1, (step + 1) / 200) * (1 + math.cos(math.pi * spent)) / 2
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        inputs, chosen = mask_tokens(clean, starts_word, mask_id)
        # Now and then at a random offset: it trains the rows that short lines never reach.
        offset = 0 if random.random() < 0.9 else random.randint(0, POSITIONS - clean.shape[1])
        positions = (torch.arange(clean.shape[1]) + 2 + offset)[None]
        hidden = model.yoso(inputs, position_ids=positions).last_hidden_state
        loss = cross_entropy(model.cls(hidden[chosen]), clean[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        tokens += clean.numel()
        average += 0.01 * (loss.item() - average)
        if step % 100 == 0:
            print(f"step {step} spent {spent:.3f} tokens {tokens} loss {average:.3f}", flush=True)
        if time.time() - saved > 300:
            saved = time.time()
            torch.save(model.state_dict(), arguments.out / "last.pt")
    print(f"done: {step} steps, {tokens} tokens, loss {average:.3f}", flush=True)
    (arguments.out / "last.pt").unlink(missing_ok=True)
    model.half().save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
