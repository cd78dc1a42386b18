"""Every class against transformers itself, live, over random configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CLASSES, inputs_for
from comparing import flatten, relative_error
from tolerances import LOSS, PARITY

import yosort
from yosort.activations import ACTIVATIONS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.parity,
    # transformers' own habits, not ours to mend.
    pytest.mark.filterwarnings("ignore"),
]


def make_pair(
    class_name: str, folder: Path, seed: int, fields: dict[str, Any], **options: Any
) -> tuple[Any, Any]:
    """Return transformers' model with random weights, and ours loaded from what it saved."""
    torch.manual_seed(seed)
    config = transformers.YosoConfig(**fields)
    theirs = getattr(transformers, class_name)(config).eval()
    for name, parameter in theirs.named_parameters():
        # Fresh biases are 0 and scales 1, which would hide a mix-up.
        if parameter.ndim == 1:
            centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            torch.nn.init.normal_(parameter, centre, 0.2)
    theirs.save_pretrained(folder)
    return theirs, getattr(yosort, class_name).from_pretrained(folder, device="cpu", **options)


def compare(theirs: Any, ours: Any, inputs: dict[str, np.ndarray]) -> None:
    """Assert that both give the same fields, and values within tolerance."""
    states = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        wanted = theirs(**{k: torch.tensor(v) for k, v in inputs.items()}, **states)
    got = ours(**inputs, **states)
    assert got.keys() == list(wanted.keys())
    if "loss" in wanted:
        assert relative_error(got.loss, wanted.loss) < LOSS
    fields = zip(flatten(got), flatten(wanted), strict=True)
    for index, (a, b) in enumerate(fields):
        if not ("loss" in wanted and index == 0):
            assert relative_error(a, b) < PARITY, index
    # The last layer may compute fewer rows when no states are asked for: same answers.
    plain = flatten(ours(**inputs))
    for a, b in zip(plain, flatten(got), strict=False):
        assert relative_error(a, b) < PARITY


def random_fields(seed: int) -> dict[str, Any]:
    """Draw a configuration: sizes, code length, activation, convolution, labels, problem.

    Any 48 seeds in a row hold each code length three times, each number of heads four times and
    each activation; what goes with what is drawn.
    """
    rng = np.random.default_rng(seed)
    heads = 1 + seed % 12
    widths = [w for w in range(48, 769) if w % heads == 0]
    return {
        "vocab_size": int(rng.integers(20, 200)),
        "hidden_size": int(rng.choice(widths)),
        "num_hidden_layers": int(rng.integers(1, 4)),
        "num_attention_heads": heads,
        "intermediate_size": int(rng.integers(8, 800)),
        "max_position_embeddings": 80,
        "type_vocab_size": int(rng.integers(1, 4)),
        "hash_code_len": 1 + (seed * 5 + seed // 16) % 16,
        "hidden_act": sorted(ACTIVATIONS)[(seed * 3 + seed // 16) % len(ACTIVATIONS)],
        "conv_window": [None, 1, 3, 9, 35][seed % 5],
        "num_labels": int(rng.integers(1, 6)),
        "problem_type": [None, "multi_label_classification", "regression"][rng.integers(3)],
        "initializer_range": float(rng.choice([0.02, 0.1, 0.2])),
        "layer_norm_eps": float(rng.choice([1e-12, 1e-5])),
    }


@pytest.mark.parametrize("seed", range(48))
def test_random_configurations(seed: int, tmp_path: Path) -> None:
    class_name = CLASSES[(seed + seed // 12) % len(CLASSES)]
    n = [1, 2, 7, 16, 33, 64, 80][seed % 7]
    fields = random_fields(seed)
    if class_name == "YosoForSequenceClassification" and fields["num_labels"] == 1:
        fields["problem_type"] = "regression"
    theirs, ours = make_pair(class_name, tmp_path, seed, fields)
    compare(theirs, ours, inputs_for(class_name, theirs.config, 1 + seed % 3, n, seed))


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("conv_window", [None, 5])
def test_attended_padding(class_name: str, conv_window: int | None, tmp_path: Path) -> None:
    fields = {**random_fields(3), "conv_window": conv_window, "num_labels": 3, "problem_type": None}
    theirs, ours = make_pair(class_name, tmp_path, 3, fields, padding="attended")
    for n in (1, 13, 40):
        inputs = inputs_for(class_name, theirs.config, 4, n, n, padded=True)
        compare(theirs, ours, inputs)
    if class_name == "YosoForMaskedLM":  # upstream counts the padding's labels too
        compare(theirs, ours, {**inputs, "labels": inputs["input_ids"]})


@pytest.mark.parametrize("class_name", CLASSES)
def test_attended_padding_at_the_left(class_name: str, tmp_path: Path) -> None:
    """As a tokenizer of padding_side "left" fills up; classifiers read a padding token then."""
    fields = {**random_fields(3), "conv_window": 5, "num_labels": 3, "problem_type": None}
    theirs, ours = make_pair(class_name, tmp_path, 3, fields, padding="attended")
    inputs = inputs_for(class_name, theirs.config, 4, 13, 13, padded=True)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        inputs[name] = inputs[name][..., ::-1].copy()
    assert (inputs["attention_mask"][..., 0] == 0).any()
    compare(theirs, ours, inputs)


@pytest.mark.parametrize("class_name", CLASSES)
def test_tuples(class_name: str, tmp_path: Path) -> None:
    """return_dict=False leaves out what is not there, as upstream does."""
    fields = {**random_fields(3), "num_labels": 3, "problem_type": None}
    theirs, ours = make_pair(class_name, tmp_path, 3, fields)
    inputs = inputs_for(class_name, theirs.config, 2, 5, 5)
    labels = {name for name in inputs if name == "labels" or name.endswith("_positions")}
    for left_out in (set(), labels):
        given = {name: array for name, array in inputs.items() if name not in left_out}
        with torch.no_grad():
            wanted = theirs(
                **{k: torch.tensor(v) for k, v in given.items()},
                output_hidden_states=True, return_dict=False,
            )  # fmt: skip
        got = ours(**given, output_hidden_states=True, return_dict=False)
        assert isinstance(got, tuple)
        assert len(got) == len(wanted)
        for a, b in zip(got[:-1], wanted[:-1], strict=True):
            assert relative_error(a, b) < LOSS
        for a, b in zip(got[-1], wanted[-1], strict=True):
            assert relative_error(a, b) < PARITY


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations(activation: str, tmp_path: Path) -> None:
    fields = {**random_fields(1), "hidden_act": activation, "initializer_range": 0.2}
    theirs, ours = make_pair("YosoForSequenceClassification", tmp_path, 1, fields)
    compare(theirs, ours, inputs_for("YosoForSequenceClassification", theirs.config, 3, 20, 1))


@pytest.mark.parametrize(
    ("n", "class_name"),
    [
        *((n, "YosoForTokenClassification") for n in (1, 5, 127, 128, 129, 1000)),
        *((4096, class_name) for class_name in CLASSES),
    ],
)
def test_lengths(n: int, class_name: str, tmp_path: Path) -> None:
    fields = {**random_fields(2), "hidden_size": 96, "num_attention_heads": 2, "hash_code_len": 9}
    fields |= {"max_position_embeddings": 4096, "num_labels": 3, "problem_type": None}
    theirs, ours = make_pair(class_name, tmp_path, n, fields)
    compare(theirs, ours, inputs_for(class_name, theirs.config, 1, n, n))


def test_embeddings_and_positions_given(tmp_path: Path) -> None:
    theirs, ours = make_pair("YosoModel", tmp_path, 5, random_fields(5))
    rng = np.random.default_rng(5)
    hidden = theirs.config.hidden_size
    inputs = {
        "inputs_embeds": rng.standard_normal((2, 11, hidden)).astype(np.float32),
        "position_ids": rng.integers(0, 82, (2, 11)),
    }
    compare(theirs, ours, inputs)


def test_yoso_base_size(tmp_path: Path) -> None:
    """The published architecture, vocabulary and depth included, once."""
    theirs, ours = make_pair("YosoForMaskedLM", tmp_path, 9, {})
    assert ours.num_parameters() == theirs.num_parameters()
    without = theirs.num_parameters(only_trainable=True, exclude_embeddings=True)
    assert ours.num_parameters(only_trainable=True, exclude_embeddings=True) == without
    compare(theirs, ours, inputs_for("YosoForMaskedLM", theirs.config, 1, 70, 9))


@pytest.mark.parametrize("num_labels", [1, 3])
@pytest.mark.parametrize("problem", [None, "regression", "multi_label_classification"])
def test_classification_losses(num_labels: int, problem: str | None, tmp_path: Path) -> None:
    fields = {**random_fields(4), "num_labels": num_labels, "problem_type": problem}
    theirs, ours = make_pair("YosoForSequenceClassification", tmp_path, 4, fields)
    inputs = inputs_for("YosoForSequenceClassification", theirs.config, 5, 9, 4)
    compare(theirs, ours, inputs)
    if problem is None and num_labels == 3:
        # Float labels of several classes imply independent ones, as transformers infers.
        theirs.config.problem_type = None
        inputs["labels"] = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
        compare(theirs, ours, inputs)


@pytest.mark.parametrize(("count", "label"), [(3, np.array(2)), (1, np.array(0.5, np.float32))])
def test_one_text_s_label_stands_alone(count: int, label: Any, tmp_path: Path) -> None:
    class_name = "YosoForSequenceClassification"
    fields = {**random_fields(5), "num_labels": count, "problem_type": None}
    theirs, ours = make_pair(class_name, tmp_path, 5, fields)
    inputs = inputs_for(class_name, theirs.config, 1, 9, 5)
    compare(theirs, ours, {**inputs, "labels": label})
    alone = {name: values for name, values in inputs.items() if name != "labels"}
    assert ours(**alone, labels=label.item()).loss == ours(**alone, labels=label[None]).loss


def test_a_config_of_transformers_is_one_of_ours(tmp_path: Path) -> None:
    theirs, ours = make_pair("YosoForMaskedLM", tmp_path, 7, random_fields(7))
    again = yosort.YosoForMaskedLM.from_pretrained(tmp_path, config=theirs.config, device="cpu")
    fields = ours.config.to_dict()
    assert {name: again.config.to_dict()[name] for name in fields if name != "dtype"} == {
        name: value for name, value in fields.items() if name != "dtype"
    }
    assert yosort.load(tmp_path, config=theirs.config).config == again.config
    assert (again([[3, 4, 5]]).logits == ours([[3, 4, 5]]).logits).all()
    made = yosort.AutoModel.from_config(theirs.config)
    assert (made([[3, 4, 5]])[0] == yosort.YosoModel(ours.config)([[3, 4, 5]])[0]).all()
    for call in (yosort.YosoModel, lambda config: yosort.load(tmp_path, config=config)):
        with pytest.raises(yosort.ConfigError, match=r"config: model_type: wanted .*got 'bert'"):
            call(transformers.BertConfig())
        with pytest.raises(yosort.ConfigError, match="config: wanted a YosoConfig"):
            call(transformers.YosoConfig)


@pytest.mark.parametrize("tied", [True, False])
def test_saved_folders_load_into_transformers(tied: bool, tmp_path: Path) -> None:
    fields = {**random_fields(6), "tie_word_embeddings": tied}
    theirs, ours = make_pair("YosoForMaskedLM", tmp_path / "a", 6, fields)
    ours.save_pretrained(tmp_path / "b")
    again, report = transformers.YosoForMaskedLM.from_pretrained(
        tmp_path / "b", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    wanted = dict(theirs.state_dict())
    got = dict(again.state_dict())
    assert set(wanted) == set(got)
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
    assert again.config.to_dict()["hidden_act"] == theirs.config.hidden_act
