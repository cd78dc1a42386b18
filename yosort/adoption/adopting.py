"""`yosort.adopt`: a BERT's or RoBERTa's folder becomes a YOSO model's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from yosort.adoption import original
from yosort.adoption.comparing import LENGTHS, Setting, compare, cosine, encode
from yosort.adoption.fitting import Step, fit
from yosort.adoption.heads import classify, fit_classifier
from yosort.adoption.sources import Source, read_source
from yosort.adoption.texts import Floats, Tokens, own_texts, read_texts
from yosort.arguments import check_count, check_flag, check_path, checks_calls, with_names
from yosort.checkpoint import Sentence, read_sentence, resolve
from yosort.config import YosoConfig
from yosort.errors import CheckpointError, InputError
from yosort.machine import WORTH_ASKING, check_memory, host_memory
from yosort.model.architectures import BASE_PREFIX, POSITIONS
from yosort.model.encoder import Encoder, prepare_encoder
from yosort.model.folder import write_model
from yosort.ops import get_ops
from yosort.replacing import replace_folder
from yosort.saving import check_place, check_room
from yosort.tokenizer import Tokenizer

#: Lengths of a hash code that are tried where none is given, and on how many tokens.
HASH_CODE_LENS = (7, 9, 11)
TRIED_ON = 4096
#: Tokens to read of the texts, where nothing else is said: minutes for a model of 12 layers.
MAX_TOKENS = 65_536


@checks_calls(InputError)
@dataclass(frozen=True)
class Adoption:
    """What `adopt` made, and how near it is to the original on held-out texts.

    Attributes:
        folder: where the new model is.
        architecture: its class.
        hash_code_len: bits of its hash codes.
        texts: how many texts it was fitted on.
        held_out: how many it was measured on.
        tokens: tokens of both.
        pooling: how a text's vector was made, "mean" or "cls".
        layers: for each layer, the distance of its output from the original's over the length of
            the original's (root mean squares), held-out texts, exact.
        settings: the original; the new model exact, and with each number of hash functions.
        classifier_error: root mean square of what the fitted classification head's scores are off,
            where there is one.
    """

    folder: Path
    architecture: str
    hash_code_len: int
    texts: int
    held_out: int
    tokens: int
    pooling: str
    layers: tuple[float, ...]
    settings: tuple[Setting, ...]
    classifier_error: float | None

    def table(self) -> str:
        """Return the settings as lines of text."""
        lines = [
            f"{self.architecture}, hash_code_len={self.hash_code_len}; fitted on {self.texts:,} "
            f"texts, measured on {self.held_out:,} held out ({self.tokens:,} tokens)",
            f"{'':>8}  {'cosine':>7}  {'agreement':>9}"
            + "".join(f"  {f's, {length:,} tokens':>15}" for length in LENGTHS),
        ]
        for s in self.settings:
            agreement = "-" if s.agreement is None else f"{s.agreement:.2%}"
            times = "".join(f"  {'-' if t is None else f'{t:.3f}':>15}" for t in s.seconds)
            lines.append(f"{s.name:>8}  {s.cosine:7.4f}  {agreement:>9}{times}")
        errors = " ".join(f"{error:.3f}" for error in self.layers)
        lines.append(f"error of each layer's output, exact: {errors}")
        if self.classifier_error is not None:
            lines.append(f"the classification head's scores are off by {self.classifier_error:.3g}")
        return "\n".join(lines)


@with_names(InputError)
def adopt(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    texts: Iterable[str] | None = None,
    *,
    positions: int = 4096,
    hash_code_len: int | None = None,
    max_tokens: int = MAX_TOKENS,
    encoder_only: bool = False,
    progress: bool = False,
    num_threads: int | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
) -> Adoption:
    """Make a YOSO model of a BERT or RoBERTa, without training.

    Weights carry over; softmax attention becomes YOSO's, and each layer's output projection is
    fitted to what the original does with the texts. The folder appears only when it is whole.

    Args:
        source: the original's folder, or a hub id: BERT, RoBERTa, XLM-RoBERTa, CamemBERT or
            DistilBERT, with a tokenizer and with safetensors or pytorch_model.bin.
        out: the folder to make, which must not exist.
        texts: what the model will read, at least 20, better 1,500; a fifth is held out to choose
            and to measure. What is longer than the original takes is cut. None: 1,200 English
            sentences and paragraphs that yosort brings along.
        positions: the longest text of the new model, in tokens; the original's position table is
            repeated as often as need be.
        hash_code_len: bits of a hash code, 1 to 16; None: 7, 9 or 11, whichever is nearest to the
            original on held-out texts, exact and with 64 hash functions.
        max_tokens: tokens to read of the texts, at most; memory grows with them.
        encoder_only: leave the head aside.
        progress: show a bar on standard error.
        num_threads: CPU threads of yosort's loops; None for what environment and machine say.
            NumPy's own products follow OPENBLAS_NUM_THREADS or its like.
        revision: as for `load`, like local_files_only, cache_dir and token.
        local_files_only: see above.
        cache_dir: see above.
        token: see above.

    Returns:
        What was made, measured.

    Raises:
        CheckpointError: the source is no such encoder, or cannot be read; `out` exists already, or
            cannot be written.
        ConfigError: sizes that no YOSO model can have.
        InputError: texts that are empty or too few; an option of another type.
        DeviceError: more positions than the memory holds.
    """
    check_count("positions", positions)
    check_count("max_tokens", max_tokens)
    check_flag("encoder_only", encoder_only)
    check_flag("progress", progress)
    if hash_code_len is not None and check_count("hash_code_len", hash_code_len) > 16:
        raise InputError.wanted("hash_code_len", "None or an integer from 1 to 16", hash_code_len)
    target = check_path("out", out)
    check_place(target)
    folder = resolve(
        source,
        revision=revision,
        local_files_only=local_files_only,
        cache_dir=cache_dir,
        token=token,
    )
    found = read_source(folder, encoder_only=encoder_only)
    limit = found.config.max_position_embeddings
    if positions < limit:
        raise InputError.wanted("positions", f"at least the original's {limit}", positions)
    needed = positions * (4 * found.config.hidden_size + 8)  # and the number of each row's original
    if needed >= WORTH_ASKING:
        check_memory(
            needed,
            host_memory(),
            "cpu",
            what="the position table needs",
            hint="fewer positions need less",
        )
    room = sum(weight.size for weight in found.weights.values())
    check_room(target, 4 * (room + positions * found.config.hidden_size))
    sentence = read_sentence(folder)
    if sentence is not None and sentence.refusal is not None:
        if not encoder_only:
            raise CheckpointError(f"{sentence.refusal}; encoder_only=True leaves them all aside")
        sentence = None
    tokenizer = Tokenizer.from_pretrained(folder)
    fitted, held = read_texts(
        own_texts() if texts is None else texts,
        tokenizer,
        sentence or Sentence(),
        longest=limit,
        vocabulary=found.config.vocab_size,
        limit=max_tokens,
    )
    ops = get_ops("cpu", num_threads=num_threads)
    with ops.running():
        theirs = prepare_encoder(found.config, found.weights, ops)
    pooling = "mean" if sentence is None else sentence.pooling
    lengths = HASH_CODE_LENS if hash_code_len is None else (hash_code_len,)
    with _bar(progress, found.config, fitted, held, len(lengths)) as step:
        if len(lengths) > 1:
            lengths = (_choose(found, theirs, lengths, fitted, held, pooling, step),)
        config = replace(found.config, hash_code_len=lengths[0])
        weights, errors = fit(theirs, found.weights, config, fitted, held, step=step)
    weights, off = _with_classifier(found, theirs, config, weights, fitted, held)
    config, weights = _extended(config, weights, positions)
    settings = compare(
        found,
        theirs,
        config,
        weights,
        held,
        pooling=pooling,
        mask_id=tokenizer.mask_token_id,
        special=tokenizer.all_special_ids,
    )
    _write(target, tokenizer, config, found.architecture, weights, sentence)
    return Adoption(
        folder=Path(out),
        architecture=found.architecture,
        hash_code_len=config.hash_code_len,
        texts=len(fitted),
        held_out=len(held),
        tokens=len(fitted.ids) + len(held.ids),
        pooling=pooling,
        layers=errors,
        settings=settings,
        classifier_error=off,
    )


def _choose(
    source: Source,
    theirs: Encoder,
    lengths: tuple[int, ...],
    fitted: Tokens,
    held: Tokens,
    pooling: str,
    step: Step,
) -> int:
    """Return the length of hash codes whose vectors are nearest, exact and sampled, on average."""
    fitted, held = fitted.beginning(TRIED_ON), held.beginning(TRIED_ON // 4)
    wanted = held.pooled(original.encode(theirs, held), pooling)
    scores = []
    for length in lengths:
        config = replace(source.config, hash_code_len=length)
        weights, _ = fit(theirs, source.weights, config, fitted, held, step=step)
        ours = prepare_encoder(config, weights, theirs.ops)
        near = [
            cosine(held.pooled(encode(ours, held, num_hash), pooling), wanted)
            for num_hash in (None, config.num_hash)
        ]
        scores.append((sum(near), length))
    return max(scores)[1]


def _with_classifier(
    source: Source,
    theirs: Encoder,
    config: YosoConfig,
    weights: Mapping[str, Floats],
    fitted: Tokens,
    held: Tokens,
) -> tuple[dict[str, Floats], float | None]:
    """Return the weights with those of a classification head, and its error, if there is one."""
    if source.classifier is None:
        return dict(weights), None
    ops = theirs.ops
    ours = prepare_encoder(config, weights, ops)
    x, wanted = [], []
    for tokens in (fitted, held):
        first = tokens.offsets[:-1]
        x.append(encode(ours, tokens, None)[first])
        wanted.append(classify(ops, source.classifier, original.encode(theirs, tokens)[first]))
    head, error = fit_classifier(
        ops, config, source.classifier, (x[0], x[1]), (wanted[0], wanted[1])
    )
    return {**weights, **head}, error


def _extended(
    config: YosoConfig, weights: Mapping[str, Floats], positions: int
) -> tuple[YosoConfig, dict[str, Floats]]:
    """Repeat the position table until it has so many rows, after the two that count for nothing."""
    name = f"{BASE_PREFIX}{POSITIONS}.weight"
    table = weights[name]
    rows = 2 + np.arange(-2, positions) % (len(table) - 2)
    rows[:2] = 0, 1
    extended = table[rows]
    return replace(config, max_position_embeddings=positions), {**weights, name: extended}


def _write(
    target: Path,
    tokenizer: Tokenizer,
    config: YosoConfig,
    architecture: str,
    weights: Mapping[str, Floats],
    sentence: Sentence | None,
) -> None:
    """Write the model, its tokenizer, and what says how vectors of texts are made of it."""
    tokenizer.model_max_length = config.max_position_embeddings
    sentence = sentence and sentence.with_limit(config.max_position_embeddings)
    config = replace(config, extra={**config.extra, "dtype": "float32", "torch_dtype": "float32"})
    try:
        with replace_folder(target) as new:
            write_model(new, config, architecture, weights, None, None, sentence=sentence)
            tokenizer.save_pretrained(new)
    except (OSError, CheckpointError) as error:
        why = error.__cause__ or error  # in place of the temporary folder's name
        raise CheckpointError(f"{target}: cannot be written: {why}") from error


@contextmanager
def _bar(
    progress: bool, config: YosoConfig, fitted: Tokens, held: Tokens, tries: int
) -> Iterator[Step]:
    """Show how many tokens passed through how many layers, of either model."""
    if not progress:
        yield lambda tokens: None
        return
    from tqdm import tqdm

    total = len(fitted.ids) + len(held.ids)
    if tries > 1:
        part = fitted.beginning(TRIED_ON), held.beginning(TRIED_ON // 4)
        total += tries * sum(len(tokens.ids) for tokens in part)
    passes = 2 * config.num_hidden_layers * total
    with tqdm(total=passes, unit="token", unit_scale=True, desc="fitting") as bar:
        yield bar.update
