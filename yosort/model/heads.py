"""The encoder alone and the five heads, under transformers' class names."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Literal, cast

import numpy as np

from yosort.errors import InputError
from yosort.model.answering import States, Wanted
from yosort.model.base import PretrainedModel
from yosort.model.batch import PackedBatch
from yosort.model.encoder import Parameters
from yosort.model.inputs import ArrayLike, Call, first_rows, flatten_choices, read_scored_tokens
from yosort.model.labels import class_loss, read_classes, read_token_labels, span_loss, text_loss
from yosort.model.losses import IGNORE
from yosort.model.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from yosort.model.typed import Output, typed
from yosort.ops.interface import Array, LayerNorm


class YosoModel(PretrainedModel):
    """The encoder: hidden states, no head."""

    @typed
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
        return_dict: Literal[True] | None = None,
        seed: int | None = None,
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
            return_dict: False for a tuple.
            seed: of the hash functions, for this call; of several, a list of outputs, which share
                what no hash function changes: reading, embeddings, the first q, k and v.
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

    def _output(
        self, wanted: Wanted, batch: PackedBatch, scores: Array, states: States
    ) -> ModelOutput:
        return BaseModelOutput(self._unpack(scores, batch), **states)


def encoder_of(model: PretrainedModel) -> YosoModel:
    """Return the encoder of a model of any class, as a model; both share their weights."""
    encoder = YosoModel.__new__(YosoModel)
    vars(encoder).update(vars(model))
    return encoder


class _LabelledModel(PretrainedModel, Generic[Output]):
    """A model whose loss comes from one array of labels."""

    @typed
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
        return_dict: Literal[True] | None = None,
        seed: int | None = None,
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

    @typed
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
        return_dict: Literal[True] | None = None,
        seed: int | None = None,
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
            labels: integers [batch, n]; -100 does not count, nor, unless padding is
                "attended", does a masked token.
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

    @property
    def _width(self) -> int:
        return self.config.vocab_size

    def _want(self, call: Call, batch: PackedBatch) -> Wanted:
        rows, picks, count = None, None, batch.total
        if call.positions is not None:
            scored = read_scored_tokens(call.positions, batch)
            rows, picks = np.unique(scored, return_inverse=True)
            count = len(scored)
        loss = None
        if call.labels is not None:
            if picks is None:
                labels = read_token_labels(call.labels, batch)
            else:
                labels = read_classes("labels", call.labels, count)
            loss = class_loss(labels, self.config.vocab_size)
        return Wanted(rows, picks, size=count * self._width, loss=loss)

    def _score(self, wanted: Wanted, x: Array) -> Array:
        ops = self._ops
        if wanted.picks is not None:
            x = ops.take(x, wanted.picks)
        x = ops.layer_norm(ops.linear(x, self._dense, self.config.hidden_act), self._norm)
        return ops.linear(x, self._decoder)

    def _output(
        self, wanted: Wanted, batch: PackedBatch, scores: Array, states: States
    ) -> ModelOutput:
        logits = scores if wanted.rows is not None else self._unpack(scores, batch)
        return MaskedLMOutput(self._loss(wanted, scores), logits, **states)


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

    def _want(self, call: Call, batch: PackedBatch) -> Wanted:
        loss = None
        if call.labels is not None:
            classes = len(self.config.label_names)
            loss = text_loss(call.labels, batch.shape[0], classes, self.config.problem_type)
        return Wanted(first_rows(batch), loss=loss)

    def _score(self, wanted: Wanted, x: Array) -> Array:
        hidden = self._ops.linear(x, self._dense, self.config.hidden_act)
        return self._ops.linear(hidden, self._out_proj)

    def _output(
        self, wanted: Wanted, batch: PackedBatch, scores: Array, states: States
    ) -> ModelOutput:
        return SequenceClassifierOutput(self._loss(wanted, scores), scores, **states)


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

    def _want(self, call: Call, batch: PackedBatch) -> Wanted:
        loss = None
        if call.labels is not None:
            questions = batch.shape[0] // call.choices
            loss = class_loss(read_classes("labels", call.labels, questions), call.choices)
        return Wanted(first_rows(batch), loss=loss, choices=call.choices)

    def _score(self, wanted: Wanted, x: Array) -> Array:
        hidden = self._ops.linear(x, self._pre_classifier, "relu")
        return self._ops.linear(hidden, self._classifier)

    def _output(
        self, wanted: Wanted, batch: PackedBatch, scores: Array, states: States
    ) -> ModelOutput:
        logits = scores.reshape(len(scores) // wanted.choices, wanted.choices)
        return MultipleChoiceModelOutput(self._loss(wanted, logits), logits, **states)


class YosoForTokenClassification(_LabelledModel[TokenClassifierOutput]):
    """Labels each token by a linear map; the loss counts unmasked tokens.

    Answers a `TokenClassifierOutput`: logits are [batch, n, num_labels]. Labels are integers
    [batch, n]; -100 does not count.
    """

    head: ClassVar[str | None] = "token_classification"

    def _prepare_head(self, parameters: Parameters) -> None:
        self._classifier = self._linear("classifier")

    def _want(self, call: Call, batch: PackedBatch) -> Wanted:
        loss = None
        if call.labels is not None:
            labels = read_token_labels(call.labels, batch)
            if batch.keep is not None:  # masked tokens are attended to, but never counted
                labels = np.where(batch.keep != 0, labels, IGNORE)
            loss = class_loss(labels, len(self.config.label_names))
        return Wanted(loss=loss)

    def _score(self, wanted: Wanted, x: Array) -> Array:
        return self._ops.linear(x, self._classifier)

    def _output(
        self, wanted: Wanted, batch: PackedBatch, scores: Array, states: States
    ) -> ModelOutput:
        logits = self._unpack(scores, batch)
        return TokenClassifierOutput(self._loss(wanted, scores), logits, **states)


class YosoForQuestionAnswering(PretrainedModel):
    """Scores each token as the start and as the end of the answer."""

    head: ClassVar[str | None] = "question_answering"

    @typed
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
        return_dict: Literal[True] | None = None,
        seed: int | None = None,
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

    def _want(self, call: Call, batch: PackedBatch) -> Wanted:
        loss = span_loss(call.start_positions, call.end_positions, batch)
        if call.positions is None:
            return Wanted(loss=loss)
        if loss is not None:
            raise InputError("positions: wanted none beside labels, for the loss reads every token")
        return Wanted(np.unique(read_scored_tokens(call.positions, batch)))

    def _score(self, wanted: Wanted, x: Array) -> Array:
        return self._ops.linear(x, self._qa_outputs)

    def _output(
        self, wanted: Wanted, batch: PackedBatch, scores: Array, states: States
    ) -> ModelOutput:
        if wanted.rows is None:
            scores = self._unpack(scores, batch)
        else:
            texts, n = batch.shape
            scores = self._ops.put(scores, batch.cells[wanted.rows], texts * n)
            scores = scores.reshape(texts, n, 2)
        loss = self._loss(wanted, scores)
        return QuestionAnsweringModelOutput(loss, scores[..., 0], scores[..., 1], **states)
