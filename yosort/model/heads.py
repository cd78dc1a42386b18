"""The encoder alone and the five heads, under transformers' class names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt

from yosort.errors import InputError
from yosort.model import losses
from yosort.model.base import PretrainedModel
from yosort.model.batch import PackedBatch
from yosort.model.encoder import Parameters
from yosort.model.inputs import (
    ArrayLike,
    Call,
    first_rows,
    flatten_choices,
    read_scored_tokens,
    to_numpy,
)
from yosort.model.labels import Labels, read_classes, read_targets, read_token_labels
from yosort.model.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from yosort.ops.interface import Array, LayerNorm

Rows = npt.NDArray[np.int64]
States = dict[str, Any]
#: What a class answers with, where it is asked for one draw and no tuple.
Output = TypeVar("Output", bound=ModelOutput)


class YosoModel(PretrainedModel):
    """The encoder: hidden states, no head."""

    def __call__(
        self,
        input_ids: ArrayLike = None,
        attention_mask: ArrayLike = None,
        token_type_ids: ArrayLike = None,
        position_ids: ArrayLike = None,
        head_mask: ArrayLike = None,
        inputs_embeds: ArrayLike = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        seed: int | Sequence[int] | None = None,
        num_hash: int | None = None,
    ) -> BaseModelOutput:
        """Encode texts.

        Args:
            input_ids: integers [batch, n], token ids; or give inputs_embeds.
            attention_mask: 0 or 1 [batch, n]; 0 marks padding, which comes back as zeros.
            token_type_ids: integers [batch, n]; all 0 by default.
            position_ids: integers [n] or [batch, n], rows of the position table; 2, 3, ... by
                default, whatever the padding.
            head_mask: [heads] or [layers, heads], factors of each head's context.
            inputs_embeds: floats [batch, n, hidden], in place of the word embeddings.
            output_attentions: return each layer's attention context too.
            output_hidden_states: return each layer's output too.
            return_dict: False for a tuple (which type checkers do not see).
            seed: of the hash functions, for this call; of several, a list of outputs (nor do they
                see that), which share what no hash function changes: reading, embeddings, the
                first q, k and v.
            num_hash: how many of them, for this call.

        Raises:
            InputError: an argument the model cannot take, and what was wanted of it.
            DeviceError: not enough memory for the call.
        """
        call = Call(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
            seed=seed,
            num_hash=num_hash,
        )
        return cast(BaseModelOutput, self._forward(call))

    def _answer(
        self, call: Call, batch: PackedBatch, rows: Rows | None, x: Array, states: States
    ) -> ModelOutput:
        return BaseModelOutput(self._unpack(x, batch), **states)


class _LabelledModel(PretrainedModel, Generic[Output]):
    """A model whose loss comes from one array of labels."""

    def __call__(
        self,
        input_ids: ArrayLike = None,
        attention_mask: ArrayLike = None,
        token_type_ids: ArrayLike = None,
        position_ids: ArrayLike = None,
        head_mask: ArrayLike = None,
        inputs_embeds: ArrayLike = None,
        labels: ArrayLike = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        seed: int | Sequence[int] | None = None,
        num_hash: int | None = None,
    ) -> Output:
        """Score texts; `labels` add the loss.

        Args:
            input_ids: integers [batch, n], as in `YosoModel`, like the arguments that follow; in
                multiple choice [batch, choices, n] (inputs_embeds [batch, choices, n, hidden]).
            attention_mask: 0 or 1 [batch, n], or as input_ids.
            token_type_ids: integers [batch, n], or as input_ids.
            position_ids: integers [n] or [batch, n]; in multiple choice as input_ids.
            head_mask: [heads] or [layers, heads].
            inputs_embeds: floats [batch, n, hidden].
            labels: numbers, [batch] or of another shape that the class names.
            output_attentions: return each layer's attention context too.
            output_hidden_states: return each layer's output too.
            return_dict: False for a tuple.
            seed: of the hash functions; of several, a list of outputs.
            num_hash: how many hash functions.

        Raises:
            InputError: an argument the model cannot take, and which shape was wanted.
            DeviceError: not enough memory for the call.
        """
        call = Call(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            labels=labels,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
            seed=seed,
            num_hash=num_hash,
        )
        return cast(Output, self._forward(call))


class YosoForMaskedLM(PretrainedModel):
    """Predicts tokens: dense, activation, LayerNorm, decoder tied to the word embeddings."""

    head: ClassVar[str | None] = "masked_lm"

    def __call__(
        self,
        input_ids: ArrayLike = None,
        attention_mask: ArrayLike = None,
        token_type_ids: ArrayLike = None,
        position_ids: ArrayLike = None,
        head_mask: ArrayLike = None,
        inputs_embeds: ArrayLike = None,
        labels: ArrayLike = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        seed: int | Sequence[int] | None = None,
        num_hash: int | None = None,
        positions: ArrayLike = None,
    ) -> MaskedLMOutput:
        """Score the vocabulary for each token.

        Args:
            input_ids: integers [batch, n], as in `YosoModel`, like the arguments that follow.
            attention_mask: 0 or 1 [batch, n].
            token_type_ids: integers [batch, n].
            position_ids: integers [n] or [batch, n].
            head_mask: [heads] or [layers, heads].
            inputs_embeds: floats [batch, n, hidden].
            labels: integers [batch, n]; -100 does not count, nor does a masked token.
            output_attentions: return each layer's attention context too.
            output_hidden_states: return each layer's output too.
            return_dict: False for a tuple.
            seed: of the hash functions; of several, a list of outputs.
            num_hash: how many hash functions.
            positions: integers [k, 2], pairs (text, token): score these tokens only, and return
                logits [k, vocab_size]. Labels are then [k].

        Raises:
            InputError: an argument the model cannot take, and what was wanted of it.
            DeviceError: not enough memory for the call.
        """
        call = Call(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            labels=labels,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
            seed=seed,
            num_hash=num_hash,
            positions=positions,
        )
        return cast(MaskedLMOutput, self._forward(call))

    def _prepare_head(self, parameters: Parameters) -> None:
        transform = "cls.predictions.transform."
        self._dense = self._linear(transform + "dense")
        self._norm = LayerNorm(
            self._ops.parameter(parameters[transform + "LayerNorm.weight"]),
            self._ops.parameter(parameters[transform + "LayerNorm.bias"]),
            self.config.layer_norm_eps,
        )
        self._decoder = self._linear("cls.predictions.decoder")

    def _wanted_rows(self, call: Call, batch: PackedBatch) -> Rows | None:
        return (
            None if call.positions is None else np.unique(read_scored_tokens(call.positions, batch))
        )

    def _answer_size(self, call: Call, batch: PackedBatch) -> int:
        picked = call.positions
        rows = batch.total if picked is None else len(read_scored_tokens(picked, batch))
        return rows * self.config.vocab_size

    def _answer(
        self, call: Call, batch: PackedBatch, rows: Rows | None, x: Array, states: States
    ) -> ModelOutput:
        ops = self._ops
        if rows is not None:
            x = ops.take(x, np.searchsorted(rows, read_scored_tokens(call.positions, batch)))
        x = ops.layer_norm(ops.linear(x, self._dense, self.config.hidden_act), self._norm)
        logits = ops.linear(x, self._decoder)
        loss = None
        if call.labels is not None:
            loss = losses.cross_entropy(ops.xp, logits, self._labels(call, batch))
        logits = logits if rows is not None else self._unpack(logits, batch)
        return MaskedLMOutput(loss, logits, **states)

    def _labels(self, call: Call, batch: PackedBatch) -> Labels:
        """Return one label a row of logits: a token's, or a picked token's."""
        if call.positions is None:
            return read_token_labels(call.labels, batch)
        return read_classes("labels", call.labels, len(read_scored_tokens(call.positions, batch)))


class YosoForSequenceClassification(_LabelledModel[SequenceClassifierOutput]):
    """Classifies a text from its token 0: dense, hidden_act, out_proj.

    Answers a `SequenceClassifierOutput`: logits are [batch, num_labels]. The loss follows
    config.problem_type, or what labels and num_labels imply (as transformers): mean squared error
    (labels: floats [batch, num_labels], or [batch] of one label), cross-entropy (integers [batch];
    -100 does not count), or binary cross-entropy (floats [batch, num_labels]).
    """

    head: ClassVar[str | None] = "sequence_classification"

    def _prepare_head(self, parameters: Parameters) -> None:
        self._dense = self._linear("classifier.dense")
        self._out_proj = self._linear("classifier.out_proj")

    def _wanted_rows(self, call: Call, batch: PackedBatch) -> Rows | None:
        return first_rows(batch)

    def _answer(
        self, call: Call, batch: PackedBatch, rows: Rows | None, x: Array, states: States
    ) -> ModelOutput:
        logits = self._ops.linear(
            self._ops.linear(x, self._dense, self.config.hidden_act), self._out_proj
        )
        loss = None if call.labels is None else self._loss(logits, call.labels)
        return SequenceClassifierOutput(loss, logits, **states)

    def _loss(self, logits: Array, labels: ArrayLike) -> Array:
        xp, problem = self._ops.xp, self.config.problem_type
        if problem is None:
            if logits.shape[1] == 1:
                problem = "regression"
            else:
                whole = to_numpy("labels", labels).dtype.kind in "iu"
                problem = "single_label_classification" if whole else "multi_label_classification"
        if problem == "single_label_classification":
            return losses.cross_entropy(xp, logits, read_classes("labels", labels, len(logits)))
        targets = read_targets(labels, logits.shape)
        if problem == "regression":
            return losses.mean_squared_error(xp, logits, targets)
        return losses.binary_cross_entropy(xp, logits, targets)


class YosoForMultipleChoice(_LabelledModel[MultipleChoiceModelOutput]):
    """Scores the choices of a question: inputs are [batch, choices, n], one text a choice.

    Answers a `MultipleChoiceModelOutput`: logits are [batch, choices]. Labels are integers [batch],
    the right choice of each.
    """

    head: ClassVar[str | None] = "multiple_choice"

    def _prepare_head(self, parameters: Parameters) -> None:
        self._pre_classifier = self._linear("pre_classifier")
        self._classifier = self._linear("classifier")

    def _forward(self, call: Call) -> Any:
        return super()._forward(flatten_choices(call))

    def _wanted_rows(self, call: Call, batch: PackedBatch) -> Rows | None:
        return first_rows(batch)

    def _answer(
        self, call: Call, batch: PackedBatch, rows: Rows | None, x: Array, states: States
    ) -> ModelOutput:
        ops = self._ops
        logits = ops.linear(ops.linear(x, self._pre_classifier, "relu"), self._classifier)
        logits = logits.reshape(len(x) // call.choices, call.choices)
        loss = None
        if call.labels is not None:
            labels = read_classes("labels", call.labels, len(logits))
            loss = losses.cross_entropy(ops.xp, logits, labels)
        return MultipleChoiceModelOutput(loss, logits, **states)


class YosoForTokenClassification(_LabelledModel[TokenClassifierOutput]):
    """Labels each token by a linear map; the loss counts unmasked tokens.

    Answers a `TokenClassifierOutput`: logits are [batch, n, num_labels]. Labels are integers
    [batch, n]; -100 does not count.
    """

    head: ClassVar[str | None] = "token_classification"

    def _prepare_head(self, parameters: Parameters) -> None:
        self._classifier = self._linear("classifier")

    def _answer(
        self, call: Call, batch: PackedBatch, rows: Rows | None, x: Array, states: States
    ) -> ModelOutput:
        logits = self._ops.linear(x, self._classifier)
        loss = None
        if call.labels is not None:
            labels = read_token_labels(call.labels, batch)
            if batch.keep is not None:  # masked tokens are attended to, but never counted
                labels = np.where(batch.keep != 0, labels, losses.IGNORE)
            loss = losses.cross_entropy(self._ops.xp, logits, labels)
        return TokenClassifierOutput(loss, self._unpack(logits, batch), **states)


class YosoForQuestionAnswering(PretrainedModel):
    """Scores each token as the start and as the end of the answer."""

    head: ClassVar[str | None] = "question_answering"

    def __call__(
        self,
        input_ids: ArrayLike = None,
        attention_mask: ArrayLike = None,
        token_type_ids: ArrayLike = None,
        position_ids: ArrayLike = None,
        head_mask: ArrayLike = None,
        inputs_embeds: ArrayLike = None,
        start_positions: ArrayLike = None,
        end_positions: ArrayLike = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        seed: int | Sequence[int] | None = None,
        num_hash: int | None = None,
        positions: ArrayLike = None,
    ) -> QuestionAnsweringModelOutput:
        """Score answer spans: two numbers a token, `start_logits` and `end_logits` [batch, n].

        Args:
            input_ids: integers [batch, n], as in `YosoModel`, like the arguments that follow.
            attention_mask: 0 or 1 [batch, n].
            token_type_ids: integers [batch, n].
            position_ids: integers [n] or [batch, n].
            head_mask: [heads] or [layers, heads].
            inputs_embeds: floats [batch, n, hidden].
            start_positions: integers [batch], the answers' first tokens; with end_positions they
                add the loss. A position past the end does not count.
            end_positions: integers [batch], their last tokens.
            output_attentions: return each layer's attention context too.
            output_hidden_states: return each layer's output too.
            return_dict: False for a tuple.
            seed: of the hash functions; of several, a list of outputs.
            num_hash: how many hash functions.
            positions: integers [k, 2], pairs (text, token): score these tokens only; the others'
                scores come back as zeros.

        Raises:
            InputError: an argument the model cannot take, or one end's labels without the other's.
            DeviceError: not enough memory for the call.
        """
        call = Call(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            start_positions=start_positions,
            end_positions=end_positions,
            positions=positions,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
            seed=seed,
            num_hash=num_hash,
        )
        return cast(QuestionAnsweringModelOutput, self._forward(call))

    def _prepare_head(self, parameters: Parameters) -> None:
        self._qa_outputs = self._linear("qa_outputs")

    def _wanted_rows(self, call: Call, batch: PackedBatch) -> Rows | None:
        if call.positions is None:
            return None
        if call.start_positions is not None or call.end_positions is not None:
            raise InputError("positions: wanted none beside labels, for the loss reads every token")
        return np.unique(read_scored_tokens(call.positions, batch))

    def _answer(
        self, call: Call, batch: PackedBatch, rows: Rows | None, x: Array, states: States
    ) -> ModelOutput:
        scores = self._ops.linear(x, self._qa_outputs)
        if rows is None:
            scores = self._unpack(scores, batch)
        else:
            texts, n = batch.shape
            scores = self._ops.put(scores, batch.cells[rows], texts * n).reshape(texts, n, 2)
        start, end = scores[..., 0], scores[..., 1]
        loss = None
        if (call.start_positions is None) != (call.end_positions is None):
            given = "end_positions" if call.start_positions is None else "start_positions"
            raise InputError(
                f"wanted both start_positions and end_positions, or neither; got {given} alone"
            )
        if call.start_positions is not None:
            start_loss = self._span_loss(start, "start_positions", call.start_positions, batch)
            end_loss = self._span_loss(end, "end_positions", call.end_positions, batch)
            loss = (start_loss + end_loss) / 2
        return QuestionAnsweringModelOutput(loss, start, end, **states)

    def _span_loss(
        self, scores: Array, name: str, positions: ArrayLike, batch: PackedBatch
    ) -> Array:
        texts, n = batch.shape
        where = read_classes(name, positions, texts).clip(0, n)
        if not batch.is_dense:
            # Masked tokens are no possible answers: out of the softmax, and wrong as a label.
            inside = np.flatnonzero(where < n)
            rows = batch.rows_of(inside * n + where[inside])
            if (rows < 0).any():
                text = int(inside[np.flatnonzero(rows < 0)[0]])
                raise InputError(
                    f"{name}[{text}]: wanted a token that attention_mask keeps, "
                    f"got {int(where[text])}, which it masks"
                )
            held = np.zeros(texts * n, bool)
            held[batch.cells] = True
            xp = self._ops.xp
            scores = xp.where(xp.asarray(held.reshape(texts, n)), scores, -np.inf)
        return losses.cross_entropy(self._ops.xp, scores, where, ignore=n)
