"""The course of a call: all of it read and checked, then encoded, then answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_flag, is_row
from yosort.config import YosoConfig
from yosort.errors import InputError
from yosort.machine import WORTH_ASKING, check_memory
from yosort.model.attention import Attention, check_num_hash, check_seed, draw_attention
from yosort.model.batch import PackedBatch
from yosort.model.encoder import Encoded, Encoder, PackedInputs
from yosort.model.inputs import Call, read_head_mask, read_inputs
from yosort.model.labels import Loss
from yosort.model.memory import numbers_of_call
from yosort.model.outputs import ModelOutput
from yosort.ops.interface import Array, Ops

States = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What a call asks of the head, read and checked.

    Attributes:
        rows: int64 [k] ascending, the packed rows that the head reads; None for all.
        picks: int64 [m], the row of `rows` for each answer, where answers repeat or are reordered.
        size: how many numbers the largest array of the answer holds; 0 where it is small.
        loss: of the scores; None without labels.
        choices: texts of one question.
    """

    rows: npt.NDArray[np.int64] | None = None
    picks: npt.NDArray[np.int64] | None = None
    size: int = 0
    loss: Loss | None = None
    choices: int = 1


@dataclass(frozen=True)
class Request:
    """A call, read and checked: all that the encoder, the head and the output need.

    Attributes:
        inputs: the packed tokens.
        wanted: what the head is asked for.
        attentions: one for each answer.
        head_mask: float32 [layers, heads], or None.
        keep_hidden_states: return every layer's output.
        keep_contexts: return every layer's attention context.
        named: answer with an output, not with a tuple.
    """

    inputs: PackedInputs
    wanted: Wanted
    attentions: tuple[Attention, ...]
    head_mask: npt.NDArray[np.float32] | None = None
    keep_hidden_states: bool = False
    keep_contexts: bool = False
    named: bool = True


class Answering:
    """A model once it is set up: what its heads say of themselves, and how a call goes."""

    config: YosoConfig
    padding: str
    _ops: Ops
    _encoder: Encoder
    _attention: Attention
    _mode: str
    _seed: int

    @property
    def _width(self) -> int:
        """How many scores of a row there are, where they are more than a hidden state; else 0."""
        return 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer for texts; see each class for its arguments and its output."""
        raise NotImplementedError

    def _want(self, call: Call, batch: PackedBatch) -> Wanted:
        """Read and check what a call asks of the head."""
        return Wanted()

    def _score(self, wanted: Wanted, x: Array) -> Array:
        """Return the head's scores, packed, of the rows that it wants, x [rows, hidden]."""
        return x

    def _output(
        self, wanted: Wanted, batch: PackedBatch, scores: Array, states: States
    ) -> ModelOutput:
        """Return scores, packed, as a call's output."""
        raise NotImplementedError

    def _loss(self, wanted: Wanted, scores: Array) -> Array | None:
        return None if wanted.loss is None else wanted.loss(self._ops.xp, scores)

    def _forward(self, call: Call) -> Any:
        """Run a call: read all of it, encode, answer."""
        with self._ops.running():
            request = self._read(call)
            batch = request.inputs.batch
            outputs: list[Any] = []
            for scores, encoded in self._run(request):
                states = {
                    name: tuple(self._unpack(rows, batch) for rows in kept)
                    for name, kept, asked in (
                        ("hidden_states", encoded.hidden_states, request.keep_hidden_states),
                        ("attentions", encoded.contexts, request.keep_contexts),
                    )
                    if asked
                }
                output = self._output(request.wanted, batch, scores, states)
                outputs.append(output if request.named else output.to_tuple())
        return outputs if _are_several(call.seed) else outputs[0]

    def _read(self, call: Call) -> Request:
        """Read and check all arguments of a call, before anything is computed."""
        config = self.config
        inputs = read_inputs(call, config, padding=self.padding)
        states, contexts = config.output_hidden_states, config.output_attentions
        request = Request(
            inputs,
            self._want(call, inputs.batch),
            self._attentions_of(call.seed, call.num_hash),
            read_head_mask(call.head_mask, config),
            _chosen("output_hidden_states", call.output_hidden_states, states),
            _chosen("output_attentions", call.output_attentions, contexts),
            _chosen("return_dict", call.return_dict, config.return_dict),
        )
        self._check_memory(request)
        return request

    def _run(self, request: Request) -> Iterator[tuple[Array, Encoded]]:
        """Yield the head's scores and what the encoder returned, for each attention."""
        ops, rows, mask = self._ops, request.wanted.rows, request.head_mask
        all_rows = rows is None or request.keep_hidden_states or request.keep_contexts
        for encoded in self._encoder(
            request.inputs,
            request.attentions,
            rows=None if all_rows else rows,
            head_mask=None if mask is None else ops.from_host(mask),
            keep_hidden_states=request.keep_hidden_states,
            keep_contexts=request.keep_contexts,
        ):
            x = encoded.last
            if all_rows and rows is not None:
                x = ops.take(x, rows)
            yield self._score(request.wanted, x), encoded

    def _check_memory(self, request: Request) -> None:
        """Refuse a call that cannot fit, before it starts. Raises DeviceError."""
        numbers = numbers_of_call(
            self.config,
            request.inputs.batch,
            answer=request.wanted.size,
            keep_hidden_states=request.keep_hidden_states,
            keep_contexts=request.keep_contexts,
        )
        needed = numbers * self._ops.dtype.itemsize
        if needed >= WORTH_ASKING:
            check_memory(
                needed,
                self._ops.available_memory(),
                self._ops.device,
                what="the call needs",
                hint="smaller batches or shorter texts need less",
            )

    def _attentions_of(self, seed: Any, num_hash: Any) -> tuple[Attention, ...]:
        """Return the model's own attention, or others of a call's seed, seeds or number."""
        if seed is None and num_hash is None:
            return (self._attention,)
        seeds = seed if _are_several(seed) else [seed]
        if not len(seeds):
            raise InputError("seed: wanted at least one, got an empty list")
        count = self.config.num_hash if num_hash is None else check_num_hash(num_hash)
        numbers = [self._seed if one is None else check_seed(one) for one in seeds]
        return tuple(
            draw_attention(self._ops, self.config, self._mode, count, number) for number in numbers
        )

    def _unpack(self, x: Array, batch: PackedBatch) -> Array:
        """Return packed rows [total, ...] as [texts, n, ...], zeros where masked."""
        cells = batch.shape[0] * batch.shape[1]
        padded = x if batch.is_dense else self._ops.put(x, batch.cells, cells)
        return padded.reshape(*batch.shape, *x.shape[1:])


def _are_several(seed: Any) -> bool:
    """Whether a call names a list of seeds, and gets a list of outputs."""
    return is_row(seed) or isinstance(seed, (list, tuple, range))


def _chosen(name: str, argument: bool | None, default: bool) -> bool:
    return default if argument is None else check_flag(name, argument)


def score_packed(
    model: Answering,
    inputs: PackedInputs,
    rows: npt.NDArray[np.int64] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Array]:
    """Return a head's scores of packed tokens, packed: for callers that need no padding.

    Args:
        model: any.
        inputs: the tokens.
        rows: int64 [k] ascending, the packed rows that the head reads; None for all.
        seeds: of the hash functions; None for the model's own.

    Returns:
        For each seed [k or total, scores of a row].

    Raises:
        DeviceError: not enough memory for the call.
    """
    count = inputs.batch.total if rows is None else len(rows)
    with model._ops.running():
        wanted = Wanted(rows, size=count * model._width)
        request = Request(inputs, wanted, model._attentions_of(seeds, None))
        model._check_memory(request)
        return [scores for scores, _ in model._run(request)]
