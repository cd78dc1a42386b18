"""`yosort.calibrate`: what num_hash buys on a user's own texts, and from which length on."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import (
    check_choice,
    check_count,
    check_path,
    check_several,
    checks_calls,
    with_names,
)
from yosort.errors import InputError
from yosort.model import heads
from yosort.model.attention import draw_hash_functions
from yosort.model.base import PretrainedModel
from yosort.model.loading import load
from yosort.model.options import read_loading
from yosort.tasks import pipeline
from yosort.tasks.batch import Row, cut
from yosort.tasks.stream import NOT_FINITE, is_finite
from yosort.tuning.costs import Costs, measure_costs

Floats = npt.NDArray[np.float64]
NUM_HASHES = (8, 16, 32, 64, 128, 256)
#: Share of a text's tokens to mask where a masked language model gets texts without masks.
MASKED = 0.15
#: More draws tell nothing new: the error of a mean over them is below a thirtieth of one draw's.
MAX_SEEDS = 1000


@dataclass(frozen=True)
class Setting:
    """One position of the dial, measured.

    Attributes:
        num_hash: hash functions; None for the expectation.
        agreement: share of decisions (best label, token, start, end or choice) that are the
            expectation's; for embeddings, mean cosine between a text's mean vectors.
        error: mean absolute difference of scores (logits) from the expectation's; for embeddings,
            mean distance of the mean vectors over their length.
        seconds: of one text, on average.
    """

    num_hash: int | None
    agreement: float
    error: float
    seconds: float


@checks_calls(InputError)
@dataclass(frozen=True)
class Calibration:
    """What `calibrate` found.

    Attributes:
        settings: the expectation, then each num_hash in ascending order.
        texts: how many texts were measured.
        tokens: their tokens, on average.
        within: the share of decisions that were allowed to differ.
        num_hash: the least number of hash functions that keeps within it, or None.
        costs: of attention on this machine.
        attention: "auto:N", with N from costs and num_hash; "expectation" where that is None.
    """

    settings: tuple[Setting, ...]
    texts: int
    tokens: float
    within: float
    num_hash: int | None
    costs: Costs
    attention: str

    def table(self) -> str:
        """Return the settings as lines of text, and what follows from them."""
        lines = [f"{self.texts} texts of {self.tokens:,.0f} tokens on average"]
        lines.append(f"{'num_hash':>12}  {'agreement':>9}  {'mean error':>10}  {'ms a text':>9}")
        for s in self.settings:
            name = "expectation" if s.num_hash is None else str(s.num_hash)
            cells = f"{s.agreement:9.2%}  {s.error:10.4f}  {s.seconds * 1e3:9.2f}"
            lines.append(f"{name:>12}  {cells}")
        if self.num_hash is None:
            lines.append(f"no num_hash tried keeps within {self.within:.2%}: use the expectation")
        else:
            lines.append(f"num_hash={self.num_hash} is the least within {self.within:.2%}")
            lines.append(
                f"attention={self.attention!r} samples where that is faster on this machine"
            )
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw disagreement and error over the time of a text; needs matplotlib.

        Raises:
            InputError: matplotlib is not installed, or cannot write there.
        """
        target = check_plot(path)
        from matplotlib.figure import Figure

        exact, *sampled = self.settings
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        for axes, (label, values) in zip(
            figure.subplots(1, 2),
            {
                "decisions that differ, %": [100 * (1 - s.agreement) for s in sampled],
                "mean error of a score": [s.error for s in sampled],
            }.items(),
            strict=True,
        ):
            times = [s.seconds * 1e3 for s in sampled]
            axes.plot(times, values, marker="o")
            for s, x, y in zip(sampled, times, values, strict=True):
                axes.annotate(str(s.num_hash), (x, y), (4, 4), textcoords="offset points")
            axes.axvline(exact.seconds * 1e3, linestyle="--", label="expectation")
            axes.set(xlabel="ms a text", ylabel=label, ylim=(0, None))
            axes.legend()
        try:
            figure.savefig(target)
        # ValueError: a format that it does not know.
        except (OSError, ValueError) as error:
            raise InputError(f"{target}: cannot be written: {error}") from error


def check_plot(path: str | os.PathLike[str]) -> Path:
    """Return where a plot goes, or raise InputError if it cannot be drawn, before any work.

    Raises:
        InputError: no path, no matplotlib, a format that it does not write, or no such folder.
    """
    target = check_path("plot", path, InputError)
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise InputError("plot: wanted matplotlib; pip install matplotlib") from None
    known = FigureCanvasBase.get_supported_filetypes()
    if target.suffix.lower().removeprefix(".") not in known:
        raise InputError.wanted("plot", f"a name in {', '.join(sorted(known))}", str(path))
    if not target.parent.is_dir():
        raise InputError.wanted("plot", "a folder that exists", str(target.parent))
    return target


@with_names(InputError)
def calibrate(
    model: str | os.PathLike[str] | PretrainedModel,
    inputs: Iterable[Any],
    *,
    num_hashes: Iterable[int] = NUM_HASHES,
    seeds: int = 5,
    within: float = 0.01,
    limit: int = 64,
    batch_tokens: int = 16384,
    overflow: str = "error",
    **options: Any,
) -> Calibration:
    """Run a sample of inputs with the expectation and with each num_hash.

    Args:
        model: a folder, an installed model's name, a hub id, or a loaded model of any class.
        inputs: as the class's pipeline takes them: texts, or dictionaries. Of texts without a mask,
            a masked language model gets 15% of the tokens masked.
        num_hashes: the settings to try; 8, 16, 32, 64, 128 and 256 unless told.
        seeds: draws of hash functions, and rounds of timing, a setting.
        within: share of decisions that may differ from the expectation's.
        limit: how many inputs to run, evenly spread over all.
        batch_tokens: tokens the model gets at once.
        overflow: "error" or "truncate" for texts past max_position_embeddings.
        options: of `from_pretrained`, where the model is not loaded yet.

    Raises:
        InputError: no inputs, one that the pipeline cannot take, or an option that does not fit.
        ConfigError: as `load`, like CheckpointError and DeviceError.
    """
    tried = sorted({check_count("num_hashes", n) for n in check_several("num_hashes", num_hashes)})
    if not tried:
        raise InputError.wanted("num_hashes", "at least one", got="none")
    overflow = check_choice("overflow", overflow, ("error", "truncate"))
    for name, value in (("seeds", seeds), ("limit", limit), ("batch_tokens", batch_tokens)):
        check_count(name, value)
    if seeds > MAX_SEEDS:
        raise InputError.wanted("seeds", f"at most {MAX_SEEDS:,}", seeds)
    number = isinstance(within, (int, float, np.floating)) and not isinstance(within, bool)
    if not number or not 0 <= within < 1:
        raise InputError.wanted("within", "a number from 0 to below 1", within)
    read_loading(options)  # before any file is read
    values = check_several("inputs", inputs)
    if isinstance(model, PretrainedModel):
        if options:
            raise InputError(f"options {sorted(options)} only apply to a model that is yet to load")
        loaded = model
    else:
        loaded = load(model, **options)
    if not values:
        raise InputError.wanted("inputs", "at least one text", got="none")
    chosen = np.linspace(0, len(values) - 1, min(limit, len(values))).round().astype(int)
    texts = _prepare(loaded, {i: values[i] for i in chosen.tolist()}, overflow)
    expectation, sampled = (loaded.with_attention(form) for form in ("expectation", "sampled"))
    run = _Runner(loaded, texts, batch_tokens)
    exact, _ = run(expectation, {})  # warms up, too
    if not is_finite(exact):
        raise InputError(NOT_FINITE)
    times: dict[int | None, list[float]] = {m: [] for m in (None, *tried)}
    found: dict[int, list[tuple[float, float]]] = {m: [] for m in tried}
    for seed in range(seeds):
        times[None].append(run(expectation, {})[1])
        for count in tried:
            answers, seconds = run(sampled, {"seed": seed, "num_hash": count})
            times[count].append(seconds)
            found[count].append(
                _compare(exact, answers, vectors=isinstance(loaded, heads.YosoModel))
            )
    settings = [Setting(None, 1.0, 0.0, statistics.median(times[None]) / len(texts))]
    for count in tried:
        agreement, error = np.mean(found[count], axis=0).tolist()
        seconds = statistics.median(times[count]) / len(texts)
        settings.append(Setting(count, agreement, error, seconds))
    fitting = [s.num_hash for s in settings[1:] if 1 - s.agreement <= within + 1e-12]
    least = fitting[0] if fitting else None
    functions = draw_hash_functions(loaded.config, loaded.num_hash, (0, 0))
    costs = measure_costs(loaded.ops, loaded.config, functions)
    return Calibration(
        settings=tuple(settings),
        texts=len(texts),
        tokens=float(np.mean([sum(len(row.ids) for row in rows) for rows in texts])),
        within=within,
        num_hash=least,
        costs=costs,
        attention="expectation"
        if least is None
        else f"auto:{costs.sampled_from(loaded.config, least)}",
    )


def _prepare(model: PretrainedModel, values: dict[int, Any], overflow: str) -> list[list[Row]]:
    """Return the rows of each input as its class's pipeline reads it, masked where none is."""
    task = pipeline(model=model)
    options = task.read(task.options(overflow=overflow))
    rng = np.random.default_rng(0)
    texts = []
    for index, value in values.items():
        try:
            if isinstance(value, InputError):  # one that could not be read
                raise value
            if isinstance(model, heads.YosoForMaskedLM) and isinstance(value, str):
                (row,) = task.encode(value, None, options).rows
                texts.append([_masked(row, task.tokenizer, rng)])
            else:
                texts.append(task.prepare(value, options).rows)
        except InputError as error:
            raise InputError(f"inputs[{index}]: {error}") from error
    return texts


def _masked(row: Row, tokenizer: Any, rng: np.random.Generator) -> Row:
    mask_id = tokenizer.id_of("mask_token")
    if mask_id in row.ids or len(row.ids) < 3:
        return row
    inner = len(row.ids) - 2
    places = 1 + rng.choice(inner, max(1, round(MASKED * inner)), replace=False)
    ids = np.array(row.ids)
    ids[places] = mask_id
    return Row(ids.tolist(), row.type_ids)


class _Padded:
    """Rows side by side, as users give them to a model, whose whole call is timed."""

    def __init__(self, rows: list[Row], pad: int) -> None:
        self.lengths = [len(row.ids) for row in rows]
        shape = (len(rows), max(self.lengths))
        self.ids = np.full(shape, pad, np.int64)
        self.mask = np.zeros(shape, np.int64)
        self.types = np.zeros(shape, np.int64)
        for i, row in enumerate(rows):
            n = len(row.ids)
            self.ids[i, :n], self.mask[i, :n], self.types[i, :n] = row.ids, 1, row.type_ids

    def inputs(self) -> dict[str, Any]:
        """Return the model's arguments."""
        return {
            "input_ids": self.ids,
            "attention_mask": self.mask,
            "token_type_ids": self.types,
        }


class _Runner:
    """Runs all inputs through a model, in batches of one fixed order.

    The rows of a question with choices stay together; other rows are sorted by length.
    """

    def __init__(self, model: PretrainedModel, texts: list[list[Row]], batch_tokens: int) -> None:
        self.choices = isinstance(model, heads.YosoForMultipleChoice)
        self.mask_id = None
        pad = model.config.pad_token_id or 0
        if isinstance(model, heads.YosoForMaskedLM) and model.tokenizer is not None:
            self.mask_id = model.tokenizer.id_of("mask_token")
        if self.choices:
            self.batches = [_Padded(rows, pad) for rows in texts]
        else:
            rows = [row for text in texts for row in text]
            batches = cut([len(row.ids) for row in rows], batch_tokens)
            self.batches = [_Padded([rows[i] for i in batch], pad) for batch in batches]

    def __call__(self, model: Any, options: dict[str, Any]) -> tuple[list[Floats], float]:
        """Return the scores [decisions, classes] of each batch or row, and the seconds it took."""
        answers: list[Floats] = []
        seconds = 0.0
        for batch in self.batches:
            inputs = batch.inputs()
            if self.choices:
                inputs = {name: array[None] for name, array in inputs.items()}
            if self.mask_id is not None:
                inputs["positions"] = np.argwhere((batch.ids == self.mask_id) & (batch.mask == 1))
            start = time.perf_counter()
            output = model(**inputs, **options, return_dict=True)
            arrays = [model.to_host(array) for array in output.values()]
            seconds += time.perf_counter() - start
            answers += self._decisions(model, batch, arrays)
        return answers, seconds

    def _decisions(self, model: Any, batch: _Padded, arrays: list[Any]) -> list[Floats]:
        scores = [np.asarray(array, np.float64) for array in arrays]
        if isinstance(model, heads.YosoModel):
            pairs = zip(scores[0], batch.lengths, strict=True)
            return [np.stack([states[:n].mean(axis=0) for states, n in pairs])]
        if isinstance(model, heads.YosoForTokenClassification):
            return [scores[0][batch.mask == 1]]
        if isinstance(model, heads.YosoForQuestionAnswering):
            return [side[i : i + 1, :n] for side in scores for i, n in enumerate(batch.lengths)]
        return scores


def _compare(exact: list[Floats], got: list[Floats], *, vectors: bool) -> tuple[float, float]:
    """Return (agreement, error) of scores or vectors, as `Setting` defines them."""
    agreement, error = [], []
    for wanted, scores in zip(exact, got, strict=True):
        if vectors:
            lengths = np.linalg.norm(wanted, axis=1), np.linalg.norm(scores, axis=1)
            agreement.append((wanted * scores).sum(axis=1) / (lengths[0] * lengths[1]))
            error.append(np.linalg.norm(wanted - scores, axis=1) / lengths[0])
        else:
            agreement.append(wanted.argmax(axis=1) == scores.argmax(axis=1))
            error.append(np.abs(wanted - scores).mean(axis=1))
    return float(np.mean(np.concatenate(agreement))), float(np.mean(np.concatenate(error)))
