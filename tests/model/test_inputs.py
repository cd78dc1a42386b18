"""The arguments of a model call: taken to the last value, refused from the first that is none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import yosort
from yosort import ConfigError, InputError, YosoConfig
from yosort.model.batch import pack_mask
from yosort.model.inputs import (
    Call,
    check_range,
    first_rows,
    flatten_choices,
    pack_texts,
    read_head_mask,
    read_ids,
    read_inputs,
    read_scored_tokens,
    to_numpy,
)

CONFIG = YosoConfig(
    vocab_size=9, hidden_size=4, num_attention_heads=2, num_hidden_layers=3, pad_token_id=1,
    max_position_embeddings=5, type_vocab_size=2,
)  # fmt: skip
IDS = [[3, 4, 5], [6, 7, 1]]
MASK = [[1, 1, 1], [1, 1, 0]]


def read(*, padding: str = "masked", **given: Any) -> Any:
    return read_inputs(Call(**given), CONFIG, padding=padding)


def test_tokens_are_packed_with_their_positions_and_types() -> None:
    found = read(input_ids=IDS, attention_mask=MASK)
    assert found.words.tolist() == [3, 4, 5, 6, 7]
    assert found.batch.offsets.tolist() == [0, 3, 5]
    assert found.positions.tolist() == [2, 3, 4, 2, 3]
    assert found.token_types.tolist() == [0] * 5
    found = read(input_ids=IDS, attention_mask=MASK, token_type_ids=[[0, 1, 0], [1, 0, 1]],
                 position_ids=[6, 0, 3])  # fmt: skip
    assert found.token_types.tolist() == [0, 1, 0, 1, 0]
    assert found.positions.tolist() == [6, 0, 3, 6, 0]
    found = read(input_ids=IDS, position_ids=[[0, 1, 2], [3, 4, 5]])
    assert found.positions.tolist() == [0, 1, 2, 3, 4, 5]
    found = read(input_ids=IDS, position_ids=[[4, 0, 2]])
    assert found.positions.tolist() == [4, 0, 2] * 2
    found = read(input_ids=IDS, attention_mask=MASK, padding="attended")
    assert found.words.tolist() == [3, 4, 5, 6, 7, 1]
    assert found.batch.keep.tolist() == [1, 1, 1, 1, 1, 0]


def test_lists_are_packed_as_their_padded_arrays_are() -> None:
    types = [[0, 1, 0], [1, 0]]
    for padding in ("masked", "attended"):
        found = pack_texts([[3, 4, 5], [6, 7]], types, CONFIG, padding=padding)
        wanted = read(input_ids=IDS, attention_mask=MASK, token_type_ids=[*types[:1], [1, 0, 0]],
                      padding=padding)  # fmt: skip
        for name in ("words", "positions", "token_types"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
        np.testing.assert_array_equal(found.batch.offsets, wanted.batch.offsets)
    with pytest.raises(
        InputError, match=r"input_ids\[1, 1\]: wanted a token id from 0 to 8, got 9"
    ):
        pack_texts([[3], [4, 9]], [[0], [0, 0]], CONFIG, padding="masked")
    with pytest.raises(InputError, match=r"wanted at most 5 tokens .* got 6"):
        pack_texts([[3] * 6], [[0] * 6], CONFIG, padding="masked")
    assert pack_texts([], [], CONFIG, padding="masked").words.tolist() == []


LARGEST = math.sqrt(float(np.finfo(np.float32).max) / 16)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "wanted input_ids or inputs_embeds, got neither$"),
        ({"input_ids": IDS, "inputs_embeds": np.zeros((2, 3, 4))}, "inputs_embeds, got both$"),
        ({"input_ids": [3, 4]}, r"shape \[batch, n\], got \[2\]; one text is a batch of one"),
        ({"input_ids": [[[3]]]}, r"shape \[batch, n\], got \[1, 1, 1\]$"),
        ({"input_ids": [[3, -1]]}, r"input_ids\[0, 1\]: wanted a token id from 0 to 8, got -1"),
        ({"input_ids": [[8], [9]]}, r"input_ids\[1, 0\]: wanted a token id from 0 to 8, got 9"),
        ({"input_ids": [[3] * 6]}, "text too long: wanted at most 5 tokens .* got 6"),
        ({"inputs_embeds": np.zeros((1, 2, 5))}, r"shape \[batch, n, 4\], got \[1, 2, 5\]"),
        ({"inputs_embeds": np.zeros((2, 4))}, r"shape \[batch, n, 4\], got \[2, 4\]"),
        ({"inputs_embeds": np.ones((1, 2, 4), bool)}, "wanted numbers, got dtype bool"),
        ({"inputs_embeds": np.full((1, 2, 4), 1.001 * LARGEST)}, r"embeds\[0, 0\]: wanted fin"),
        ({"inputs_embeds": np.full((1, 1, 4), np.nan)}, r"inputs_embeds\[0, 0\]: wanted finite"),
        ({"input_ids": IDS, "position_ids": [7, 0, 0]}, r"position_ids\[0\]: wanted 0 to 6, got 7"),
        ({"input_ids": IDS, "position_ids": [0, 0]}, r"\[3\], \[1, 3\] or \[2, 3\], got \[2\]"),
        ({"input_ids": IDS, "token_type_ids": [[0, 0, 2]] * 2}, r"\[0, 2\]: wanted 0 to 1, got 2"),
        ({"input_ids": IDS, "token_type_ids": [0, 0, 0]}, r"wanted shape \[2, 3\], got \[3\]"),
    ],
)  # fmt: skip
def test_what_no_call_can_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(**given)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("YosoForMaskedLM", ("attention_mask", "token_type_ids", "position_ids", "head_mask")),
        ("YosoForMaskedLM", ("labels", "positions")),
        ("YosoForSequenceClassification", ("labels",)),
        ("YosoForTokenClassification", ("labels",)),
        ("YosoForQuestionAnswering", ("start_positions", "end_positions", "positions")),
    ],
)
def test_an_argument_that_is_no_array_is_named(name: str, arguments: tuple[str, ...]) -> None:
    model = getattr(yosort, name)(CONFIG.override(intermediate_size=4, num_labels=3), device="cpu")
    given: dict[str, Any] = {"start_positions": [0, 0], "end_positions": [0, 0]}
    for argument in arguments:
        others = given if argument in given else {}
        with pytest.raises(InputError, match=f"^{argument}: wanted an array, got a mapping"):
            model(IDS, **{**others, argument: {"a": 1}})
    for argument in ("input_ids", "inputs_embeds"):
        with pytest.raises(InputError, match=f"^{argument}: wanted an array, got a mapping"):
            model(**{argument: {"a": 1}})


def test_values_up_to_the_last_one_are_taken() -> None:
    assert read(input_ids=[[0, 8]]).words.tolist() == [0, 8]
    assert read(input_ids=[[3] * 5]).batch.total == 5
    assert read(input_ids=[[3] * 9], attention_mask=[[1] * 5 + [0] * 4]).batch.total == 5
    assert read(input_ids=[[9, -1]], attention_mask=[[0, 0]]).batch.total == 0
    for sign in (1, -1):
        rows = read(inputs_embeds=np.full((1, 2, 4), sign * 0.999 * LARGEST)).words
        assert rows.dtype == np.float32
    rows = read(
        inputs_embeds=np.stack([np.eye(4)] * 2), attention_mask=[[1, 1, 1, 1], [1, 0, 0, 0]]
    )
    np.testing.assert_array_equal(rows.words, [*np.eye(4), np.eye(4)[0]])


def test_integers_and_their_bounds() -> None:
    assert read_ids("x", [[]]).dtype == np.int64
    assert read_ids("x", np.array([1, 2], np.uint64)).tolist() == [1, 2]
    last = np.array([2**63 - 1], np.uint64)
    assert read_ids("x", last).tolist() == [2**63 - 1]
    for odd, message in (
        (last + np.uint64(1), r"wanted integers below 2 \*\* 63, got 9223372036854775808"),
        (["a"], "wanted integers, got text; a tokenizer makes them"), ([1.0], "got dtype float64"),
        ([True], "got dtype bool"), ({"a": 1}, r"write model\(\*\*inputs\)"),
        ([[1], [1, 2]], "equal lengths"), (np.ma.masked_array([1]), "wanted a plain array"),
        ([None], "wanted numbers in nested lists"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"x: .*{message}"):
            read_ids("x", odd)
    check_range("x", np.array([0, 4]), 5)
    for bad in (-1, 5):
        with pytest.raises(InputError, match=rf"x\[1, 0\]: wanted 0 to 4, got {bad}"):
            check_range("x", np.array([[0, 4], [bad, 9]]), 5)

    class Cupys:
        device = 0

        def get(self) -> Any:
            return np.array([3])

    assert to_numpy("x", Cupys()).tolist() == [3]


def test_choices_become_texts() -> None:
    ids, hidden = np.arange(12).reshape(2, 2, 3), np.arange(48.0).reshape(2, 2, 3, 4)
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    grids = {name: ids + i for i, name in enumerate(names)}
    found = flatten_choices(Call(**grids, labels=[1, 0]))
    assert found.choices == 2
    for name, grid in grids.items():
        np.testing.assert_array_equal(getattr(found, name), grid.reshape(4, 3))
        with pytest.raises(InputError, match=rf"^{name}: wanted shape .*, got \[1, 2, 2, 3\]"):
            flatten_choices(Call(**{name: grid[None]}))
    assert found.labels == [1, 0]
    np.testing.assert_array_equal(
        flatten_choices(Call(inputs_embeds=hidden)).inputs_embeds, hidden.reshape(4, 3, 4)
    )
    assert flatten_choices(Call()).choices == 1
    for given, message in (
        ({"input_ids": ids[0]}, r"input_ids: wanted shape \[batch, choices, n\], got \[2, 3\]"),
        ({"inputs_embeds": ids}, r"wanted shape \[batch, choices, n, hidden\], got \[2, 2, 3\]"),
        ({"input_ids": ids, "token_type_ids": ids[:1]}, r"token_type_ids: .* \[2, 2\].*\[1, 2\]"),
        ({"input_ids": ids[:, :0]}, "at least one choice"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            flatten_choices(Call(**given))


def test_masks_of_heads() -> None:
    assert read_head_mask(None, CONFIG) is None
    found = read_head_mask([1, 0.5], CONFIG)
    assert found is not None
    assert (found.tolist(), found.dtype) == ([[1, 0.5]] * 3, np.float32)
    assert read_head_mask([[True, False]] * 3, CONFIG).tolist() == [[1, 0]] * 3  # type: ignore[union-attr]
    for odd in ([1], [[1, 1]], [["a", "b"]] * 3, 1, [[1, 1, 1]] * 2):
        with pytest.raises(
            InputError, match=r"head_mask: wanted numbers of shape \[2\] or \[3, 2\]"
        ):
            read_head_mask(odd, CONFIG)
    for odd in ([1, np.nan], [1, 1e39]):
        with pytest.raises(InputError, match="head_mask: wanted finite values in float32"):
            read_head_mask(odd, CONFIG)


def test_rows_that_are_scored() -> None:
    batch = pack_mask(np.array([[1, 1, 1], [1, 0, 1]], bool), attended=False)
    assert read_scored_tokens([[1, 2], [0, 0], [1, 0]], batch).tolist() == [4, 0, 3]
    assert first_rows(batch).tolist() == [0, 3]
    for pairs, message in (
        ([[1, 1]], r"tokens that attention_mask keeps, got \(1, 1\)"),
        ([[0, 0], [2, 0]], r"within \[2, 3\], got \(2, 0\)"), ([[0, 3]], r"got \(0, 3\)"),
        ([[-1, 0]], r"got \(-1, 0\)"), ([[0, -1]], r"got \(0, -1\)"), ([0, 0], r"shape \[k, 2\]"),
        ([[0, 0, 0]], r"shape \[k, 2\]"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"positions: wanted .*{message}"):
            read_scored_tokens(pairs, batch)
    masked = pack_mask(np.array([[1, 1], [0, 1]], bool), attended=False)
    with pytest.raises(InputError, match=r"attention_mask\[1, 0\]: wanted 1, .*token 0"):
        first_rows(masked)
    with pytest.raises(InputError, match="at least one token a text"):
        first_rows(pack_mask(np.ones((2, 0), bool), attended=False))


def test_what_torch_s_modules_do_and_what_costs_nothing() -> None:
    model = yosort.YosoModel.from_config(
        YosoConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8,
                   vocab_size=9, max_position_embeddings=5), device="cpu", dtype="float32",
    )  # fmt: skip
    assert model.training is False
    same = (
        model.eval(), model.train(False), model.requires_grad_(False), model.cpu(), model.float(),
        model.to("cpu"), model.to(np.float32), model.to("cpu", "float32"), model.to(),
        model.to(device="cpu"), model.to(dtype="float32"),
    )  # fmt: skip
    assert all(each is model for each in same)
    for call, message in (
        (model.cuda, "device: this model was loaded with device='cpu'; load it with device='cuda'"),
        (lambda: model.cuda(1), "load it with device='cuda:1'"),
        (model.half, "and a CPU computes in .*; load it with dtype='bfloat16'"),
        (model.bfloat16, "load it with dtype='bfloat16'"),
        (lambda: model.to("cpu", np.float16), "load it with dtype='bfloat16'"),
        (lambda: model.to(dtype="int8"), "load it with dtype='int8'"),
        (lambda: model.to("there"), "to: wanted a device or a type, got 'there'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            call()
    for call in (model.train, lambda: model.train(True), model.requires_grad_):
        with pytest.raises(InputError, match="wanted False, got True"):
            call()
