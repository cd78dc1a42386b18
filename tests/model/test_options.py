"""The options of loading: checked before any file is read, config fields among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import ENTITIES, make

import yosort
from yosort import CheckpointError, ConfigError, DeviceError, InputError
from yosort.model.base import PretrainedModel
from yosort.model.options import LoadOptions, read_loading
from yosort.saving import read_size

TEXT = [[0, 713, 16, 10, 1296, 2]]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of three named labels."""
    return make(
        tmp_path_factory.mktemp("classifier") / "model", "YosoForSequenceClassification",
        id2label={0: "bad", 1: "fair", 2: "good"}, num_labels=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "flaot32"}, "dtype: wanted .*, got 'flaot32'"),
        ({"device": "tpu"}, "device: wanted"),
        ({"device": "mps"}, "device: wanted .*, got 'mps'"),
        ({"device": "cpu:1"}, "device: wanted .*, got 'cpu:1'"),
        ({"device": True}, "device: wanted .*, got True"),
        ({"attention": "exact"}, "attention: wanted"),
        ({"padding": "left"}, "padding: wanted one of masked, attended"),
        ({"seed": -1}, "seed: wanted"),
        ({"num_hash": 0}, "num_hash: wanted"),
        ({"num_threads": 0}, "num_threads: wanted"),
        ({"allow_random_head": 1}, "allow_random_head: wanted True or False"),
        ({"num_label": 3}, r"num_label: no such option; did you mean num_labels\?"),
        ({"devcie": "cpu"}, r"devcie: no such option; did you mean device\?"),
        ({"torch_dtype": "float16", "dtype": "int8"}, "torch_dtype: wanted dtype or torch_dtype"),
        ({"attn_implementation": "sdpa"}, 'attn_implementation: no such option; attention="'),
        ({"load_in_8bit": True}, 'load_in_8bit: no such option; dtype="int8"'),
        ({"zzz": 1}, "zzz: no such option; there are .*attention.*use_fast_hash"),
    ],
)
def test_options_are_checked_before_any_file_is_read(options: dict[str, Any], message: str) -> None:
    for load in (yosort.YosoModel.from_pretrained, yosort.load):
        with pytest.raises((ConfigError, InputError), match=message):
            load("no/such/folder/at/all", **options)
    with pytest.raises((ConfigError, InputError), match=message):
        yosort.pipeline("feature-extraction", "no/such/folder/at/all", **options)


class Device:
    """As torch prints its own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


Device.__module__ = "torch"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"device": -1}, {"device": "cpu"}),
        ({"device": 0}, {"device": "cuda:0"}),
        ({"device": np.int64(1)}, {"device": "cuda:1"}),
        ({"device": "CPU"}, {"device": "cpu"}),
        ({"device": "cpu:0"}, {"device": "cpu"}),
        ({"device": Device("cpu:0")}, {"device": "cpu"}),
        ({"device_map": {"": "cpu:0"}}, {"device": "cpu"}),
        ({"use_auth_token": None, "token": None}, {}),
        ({"device": "CUDA:1"}, {"device": "cuda:1"}),
        ({"device": None}, {"device": "auto"}),
        ({"device": Device("cuda:1")}, {"device": "cuda:1"}),
        ({"device_map": "auto"}, {"device": "auto"}),
        ({"device_map": "cpu"}, {"device": "cpu"}),
        ({"dtype": "FLOAT16"}, {"dtype": "float16"}),
        ({"dtype": "half"}, {"dtype": "float16"}),
        ({"dtype": "fp16"}, {"dtype": "float16"}),
        ({"dtype": "fp32"}, {"dtype": "float32"}),
        ({"dtype": "float"}, {"dtype": "float32"}),
        ({"dtype": "bf16"}, {"dtype": "bfloat16"}),
        ({"torch_dtype": Device("torch.bfloat16")}, {"dtype": "bfloat16"}),
        ({"dtype": np.float32}, {"dtype": "float32"}),
        ({"dtype": np.dtype("float16")}, {"dtype": "float16"}),
        ({"dtype": None}, {"dtype": "float32"}),
        ({"torch_dtype": "auto"}, {"dtype": "float32"}),
        ({"torch_dtype": Device("torch.float16")}, {"dtype": "float16"}),
        ({"torch_dtype": None, "dtype": "int8"}, {"dtype": "int8"}),
        ({"attention": "Sampled"}, {"attention": "sampled"}),
        ({"attention": "AUTO:30"}, {"attention": "auto:30"}),
        ({"padding": "Attended"}, {"padding": "attended"}),
        ({"low_cpu_mem_usage": True, "trust_remote_code": False}, {}),
        ({"use_fast": True, "use_safetensors": None, "weights_only": True}, {}),
    ],
)
def test_other_words_for_the_same(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert read_loading(given).options == LoadOptions(**wanted)


@pytest.mark.parametrize(
    "given",
    [
        {"dtype": "float32", "torch_dtype": "bfloat16"},
        {"device": "auto", "device_map": "cpu"},
        {"allow_random_head": False, "ignore_mismatched_sizes": True},
        {"token": "a", "use_auth_token": "b"},
    ],
)
def test_two_words_for_one_option(given: dict[str, Any], classifier: Path) -> None:
    """What is written counts, the default's value too."""
    loaders: list[Any] = [
        yosort.load, yosort.YosoForSequenceClassification.from_pretrained,
        lambda folder, **given: yosort.pipeline("text-classification", folder, **given),
    ]  # fmt: skip
    for load in loaders:
        with pytest.raises(ConfigError, match=f"{list(given)[1]}: wanted .*, got both"):
            load(classifier, **given)
    same = yosort.AutoModelForSequenceClassification.from_pretrained(
        classifier, torch_dtype="bfloat16", dtype=None
    )
    assert same.dtype == "bfloat16"


def test_fields_replace_those_of_the_file(classifier: Path) -> None:
    load = yosort.YosoForSequenceClassification.from_pretrained
    model = load(
        classifier, device="cpu", output_hidden_states=True, problem_type="regression",
        id2label={0: "a", 1: "b", 2: "c"},
    )  # fmt: skip
    assert model.config.label_names == ["a", "b", "c"]
    assert model.config.label2id == {"a": 0, "b": 1, "c": 2}
    assert model.config.problem_type == "regression"
    assert len(model(TEXT).hidden_states or ()) == 3
    assert load(classifier, num_labels=3).config.label_names == ["bad", "fair", "good"]


def test_a_whole_config_replaces_the_file(classifier: Path, tmp_path: Path) -> None:
    config = yosort.YosoConfig.from_pretrained(classifier).override(hash_code_len=9)
    exact = yosort.load(classifier)(TEXT).logits
    assert not np.allclose(yosort.load(classifier, config=config)(TEXT).logits, exact)
    config.save_pretrained(tmp_path / "elsewhere")
    again = yosort.load(classifier, config=tmp_path / "elsewhere", hash_code_len=4)
    np.testing.assert_array_equal(again(TEXT).logits, exact)


def test_a_head_of_another_shape(classifier: Path, caplog: pytest.LogCaptureFixture) -> None:
    load = yosort.YosoForSequenceClassification.from_pretrained
    with pytest.raises(CheckpointError) as caught:
        load(classifier, num_labels=5)
    message = str(caught.value)
    assert "classifier.out_proj.weight: wanted [5, 32], got [3, 32]" in message
    assert "classifier.out_proj.bias: wanted [5], got [3]" in message
    assert "num_labels" in message
    assert "allow_random_head=True" in message
    for word in ("allow_random_head", "ignore_mismatched_sizes"):
        model = load(classifier, num_labels=5, **{word: True})
        assert model(TEXT).logits.shape == (1, 5)
        assert model.config.label_names == [f"LABEL_{i}" for i in range(5)]
    assert "2 weights of the sequence_classification head drawn at random" in caplog.text
    # What fits stays: of the head its first layer.
    kept = "classifier.dense.weight"
    np.testing.assert_array_equal(model._parameters[kept], load(classifier)._parameters[kept])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_labels": 2, "id2label": ENTITIES}, "num_labels: wanted 5, .* id2label, got 2"),
        ({"id2label": {1: "a"}}, "id2label: wanted the keys 0 to 0"),
        ({"num_labels": 0}, "num_labels: wanted"),
        ({"hash_code_len": 17}, "hash_code_len: wanted"),
        ({"hidden_siez": 3}, r"hidden_siez: no such option; did you mean hidden_size\?"),
        ({"extra": {}}, "extra: no such option"),
    ],
)
def test_fields_that_no_model_has(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        yosort.YosoConfig().override(**fields)


def test_what_was_chosen_at_load_is_saved(classifier: Path, tmp_path: Path) -> None:
    model = yosort.load(classifier, attention="sampled", num_hash=7)
    assert (model.config.use_expectation, model.config.num_hash) == (False, 7)
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert (saved["use_expectation"], saved["num_hash"]) == (False, 7)
    again = yosort.load(tmp_path)
    assert (again.attention, again.num_hash) == ("sampled", 7)
    np.testing.assert_array_equal(again(TEXT).logits, model(TEXT).logits)
    assert again.with_attention("expectation").config.use_expectation
    assert again.with_attention(None).attention == "sampled"
    assert yosort.load(classifier, use_expectation=False).attention == "sampled"


def test_what_torch_asks_of_a_module(classifier: Path, tmp_path: Path) -> None:
    model = yosort.load(classifier, device="cpu")
    for same in (
        model.eval(), model.to("cpu"), model.to(device=-1, dtype="float32"), model.cpu(),
        model.float(), model.train(False), model.requires_grad_(False), model.to(np.float32),
        model.to(), model.to("auto"), model.to(None), model.to(device="auto", dtype="auto"),
    ):  # fmt: skip
        assert same is model
    assert not model.training
    with pytest.raises(ConfigError, match="load it with dtype='bfloat16'"):
        model.bfloat16()
    rounded = yosort.load(classifier, device="cpu", dtype="bfloat16")
    assert rounded.bfloat16() is rounded
    cpu = "and a CPU computes in float32 or bfloat16 or int8; load it with dtype='bfloat16'"
    for refused, action in (
        (model.half, cpu), (lambda: model.to(Device("torch.float16")), cpu),
        (lambda: model.to("cpu", "half"), cpu),
        (lambda: model.to("cuda", "half"), "load it with device='cuda', dtype='float16'"),
        (lambda: model.to("cuda", "bf16"), "float16; load it with device='cuda', dtype='float16'"),
        (rounded.float, "load it with dtype='float32'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=f"{action}$"):
            refused()
    for move in (model.cuda, lambda: model.to("cuda:1"), lambda: model.cuda(0)):
        with pytest.raises(ConfigError, match="loaded with device='cpu'; load it with device='cud"):
            move()
    for neither in ("gpu please", 3.5):
        with pytest.raises(ConfigError, match="to: wanted a device or a type"):
            model.to(neither)
    with pytest.raises(InputError, match="yosort computes answers only; train with transformers"):
        model.train()
    for name, words in (("generate", "fill-mask"), ("state_dict", "save_pretrained")):
        assert not hasattr(model, name)
        with pytest.raises(AttributeError, match=words):
            getattr(model, name)
    model.config.save_pretrained(tmp_path / "made")
    assert yosort.AutoConfig.from_pretrained(tmp_path / "made") == model.config
    assert model.config.model_type == "yoso"
    other = yosort.AutoConfig.from_pretrained(tmp_path / "made", num_labels=4)
    assert other.label_names == ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]
    with pytest.raises(ConfigError, match="num_label: no such option; did you mean num_labels"):
        yosort.AutoConfig.from_pretrained(tmp_path / "made", num_label=4)
    with pytest.raises(ConfigError, match="nobody/nothing"):
        yosort.AutoConfig.from_pretrained("nobody/nothing", local_files_only=True)
    assert yosort.AutoModel is yosort.YosoModel
    assert yosort.AutoModelForSequenceClassification is yosort.YosoForSequenceClassification


def test_names_for_a_reader(classifier: Path) -> None:
    shown = repr(yosort.load(classifier, device="cpu"))
    assert shown.startswith("YosoForSequenceClassification(")
    assert repr(str(classifier)) in shown
    assert "attention='expectation', device='cpu', dtype='float32'" in shown
    assert "top_k=2" in repr(yosort.pipeline("text-classification", classifier, top_k=2))
    assert set(dir(yosort)) == {*yosort.__all__, "ops", "tasks"}


def test_gpu_types_fail_before_weights_are_read(
    classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any) -> None:
        pytest.fail("weights were read")

    monkeypatch.setattr("yosort.model.base.read_weights", read)
    wanted = 'dtype: wanted "float32" or "bfloat16" or "int8" on the CPU'
    with pytest.raises(ConfigError, match=wanted):
        yosort.load(classifier, device="cpu", dtype="float16")
    with pytest.raises(DeviceError):
        yosort.load(classifier, device="cuda:7")


def test_every_class_takes_every_option() -> None:
    classes = [getattr(yosort, name) for name in yosort.__all__ if name.startswith("Yoso")]
    models = [cls for cls in classes if issubclass(cls, PretrainedModel)]
    assert len(models) == 6
    for cls in models:
        with pytest.raises(ConfigError, match="no such option; did you mean num_threads"):
            cls.from_pretrained("nowhere/at/all", num_thread=1)


def test_words_of_transformers_in_every_place(classifier: Path) -> None:
    named = {"pretrained_model_name_or_path": classifier, "trust_remote_code": True}
    model = yosort.YosoForSequenceClassification.from_pretrained(**named)
    assert yosort.AutoConfig.from_pretrained(**named).label_names == ["bad", "fair", "good"]
    tokenizer = yosort.AutoTokenizer.from_pretrained(**named, use_auth_token=None)
    assert tokenizer.is_fast
    assert tokenizer.backend_tokenizer is tokenizer.backend
    classify: Any = yosort.pipeline("text-classification", classifier, use_fast=True)
    assert classify.torch_dtype == np.float32
    config = yosort.YosoConfig.from_pretrained(classifier, id2label={0: "x", 1: "y", 2: "z"})
    other: Any = yosort.pipeline("text-classification", classifier, config=config)
    assert other("a")[0]["label"] in ("x", "y", "z")
    assert model.config.to_json_string() == model.config.to_json()
    output = model(TEXT)
    assert output.get("logits") is output.logits
    assert output.get("loss") is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(TEXT, atention_mask=[[1]]), InputError, "did you mean attention_mask"),
        (lambda m: m({"input_ids": TEXT}), InputError, r"write model\(\*\*inputs\)"),
        (lambda m: yosort.YosoConfig(hiden_size=5), ConfigError, "did you mean hidden_size"),
        (
            lambda m: yosort.load(m.name_or_path, config={"num_labels": 3}),
            ConfigError, "config: wanted a YosoConfig, .*YosoConfig.from_dict makes one",
        ),
        (lambda m: yosort.YosoModel(Device("x")), ConfigError, "got Device of torch"),
        (lambda m: yosort.load("x", force_download=True), ConfigError, "snapshot_download"),
        (
            lambda m: yosort.pipeline("text-classification", m)("a", text_pair="b"),
            InputError, 'a dictionary is a pair: {"text": ',
        ),
    ],
)  # fmt: skip
def test_what_no_call_takes_is_named(
    classifier: Path, call: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(yosort.load(classifier, device="cpu"))


def test_an_empty_second_text_is_none(classifier: Path) -> None:
    classify: Any = yosort.pipeline("text-classification", classifier)
    assert classify({"text": "a", "text_pair": ""}) == classify(["a"])[0]
    assert classify({"text": "a", "text_pair": "b"}) != classify(["a"])[0]
    with pytest.raises(InputError, match=r"text_pair\[0\]: wanted a text, got None"):
        classify.tokenizer(["a"], [None])


def test_saving_takes_what_it_does_anyway_and_refuses_the_rest(
    classifier: Path, tmp_path: Path
) -> None:
    model = yosort.load(classifier, device="cpu")
    model.save_pretrained(
        save_directory=tmp_path / "a", safe_serialization=True, push_to_hub=False, variant=None
    )
    assert yosort.load(tmp_path / "a", device="cpu").num_parameters() == model.num_parameters()
    for options, message in (
        ({"safe_serialization": False}, "safe_serialization: wanted True, got False; weights are"),
        ({"push_to_hub": True}, "push_to_hub: wanted False, got True; .*upload_folder"),
        ({"variant": "fp16"}, "variant: wanted None, got 'fp16'; .*rename"),
        ({"state_dict": {}}, "state_dict: wanted None, .*safetensors.numpy.save_file"),
        ({"max_shard_sise": 3}, r"max_shard_sise: no such option; did you mean max_shard_size\?"),
        ({"max_shard_size": "5 parsecs"}, 'max_shard_size: wanted bytes, such as 1000 or "5GB"'),
        ({"max_shard_size": 0}, "max_shard_size: wanted an integer of at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            model.save_pretrained(tmp_path / "b", **options)
    assert not (tmp_path / "b").exists()


def test_saving_in_shards(classifier: Path, tmp_path: Path) -> None:
    model = yosort.load(classifier, device="cpu")
    model.save_pretrained(tmp_path, max_shard_size="100kB")
    shards = list(tmp_path.glob("model-*.safetensors"))
    assert len(shards) == 2
    text: Any = TEXT
    assert (yosort.load(tmp_path, device="cpu")(text).logits == model(text).logits).all()
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("text", "size"), [("5GB", 5 * 10**9), ("1.5 kib", 1536), ("7B", 7), (9, 9), (None, None)]
)
def test_sizes(text: Any, size: int | None) -> None:
    assert read_size("max_shard_size", text) == size


def test_device_map_and_use_safetensors(classifier: Path, tmp_path: Path) -> None:
    assert yosort.load(classifier, device_map={"": "cpu"}).device == "cpu"
    assert yosort.load(classifier, device_map={"": -1}, use_safetensors=True).device == "cpu"
    with pytest.raises(ConfigError, match="device_map: wanted one device for the whole model"):
        yosort.load(classifier, device_map={"yoso": "cpu"})
    with pytest.raises(CheckpointError, match=r"use_safetensors: wanted True or None, .*got False"):
        yosort.load(classifier, use_safetensors=False)
    with pytest.raises(ConfigError, match="use_safetensors: wanted True or False, got 'no'"):
        yosort.load(classifier, use_safetensors="no")
    (tmp_path / "config.json").write_bytes((classifier / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"wanted False or None, .*holds none, got True"):
        yosort.load(tmp_path, use_safetensors=True)


def test_a_model_of_a_config(classifier: Path) -> None:
    config = yosort.AutoConfig.from_pretrained(classifier)
    model: Any = yosort.AutoModelForSequenceClassification.from_config(
        config, torch_dtype="float32"
    )
    other: Any = yosort.YosoForSequenceClassification(config)
    assert (model(TEXT).logits == other(TEXT).logits).all()


def test_outputs_copy_and_name_what_they_lack(classifier: Path) -> None:
    model: Any = yosort.load(classifier, device="cpu")
    output = model(TEXT)
    assert output.copy() is not output
    assert output.copy().logits is output.logits
    assert output.attentions is None
    for name, message in (
        ("pooler_output", r"last_hidden_state\[:, 0\]"),
        ("last_hidden_state", "there are loss, logits, hidden_states, attentions"),
        ("update", "dict\\(output\\) may be changed"),
    ):
        with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{message}"):
            getattr(output, name)
    assert not hasattr(output, "pooler_output")


#: What transformers' signatures set to nothing, as scripts pass it on.
UNSET: dict[str, Any] = {
    "force_download": False, "proxies": None, "subfolder": "", "gguf_file": None, "mirror": None,
    "code_revision": "main", "resume_download": None, "use_auth_token": None,
}  # fmt: skip
#: None of what a tokenizer's folder says: as it says.
UNSAID = dict.fromkeys(
    (
        "tokenizer_type", "chat_template", "add_prefix_space", "additional_special_tokens",
        "padding_side", "truncation_side", "pad_token", "mask_token", "model_input_names",
        "clean_up_tokenization_spaces", "split_special_tokens", "do_lower_case", "vocab_file",
    )
)  # fmt: skip


def test_what_is_not_set_asks_for_nothing(classifier: Path) -> None:
    model = yosort.load(
        classifier, **UNSET, load_in_8bit=False, tp_size=None, from_flax=False,
        offload_buffers=False, quantization_config=None,
        output_loading_info=False, attn_implementation=None, state_dict=None,
    )  # fmt: skip
    assert model.config == yosort.AutoConfig.from_pretrained(classifier, **UNSET)
    tokenizer = yosort.AutoTokenizer.from_pretrained(
        classifier, config=model.config, **UNSET, **UNSAID
    )
    assert tokenizer.init_kwargs == model.tokenizer.init_kwargs  # type: ignore[union-attr]
    assert tokenizer.pad_token == "<pad>"
    unlimited = yosort.AutoTokenizer.from_pretrained(classifier, model_max_length=None)
    assert unlimited.model_max_length == int(1e30)
    with pytest.raises(ConfigError, match=r"padd_token: no such option; did you mean pad_token\?"):
        yosort.AutoTokenizer.from_pretrained(classifier, padd_token=None)
    run: Any = yosort.pipeline(
        "text-classification", classifier, feature_extractor=None, framework=None, **UNSET
    )
    assert run(["a"], return_all_scores=None) == run(["a"])
    readers: tuple[Any, ...] = (yosort.load, yosort.AutoConfig.from_pretrained)
    for read in (*readers, yosort.AutoTokenizer.from_pretrained):
        for name, value in (("force_download", True), ("subfolder", "x"), ("proxies", {"a": "b"})):
            with pytest.raises(ConfigError, match=f"^{name}: no such option; "):
                read(classifier, **{name: value})
    with pytest.raises(ConfigError, match="state_dict: no such option; save the weights"):
        yosort.load(classifier, state_dict=np.ones(3))


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("model.lm_head", "a model is immutable"),
        ("model.register_forward_hook(print)", "output_hidden_states=True"),
        ("model.load_adapter('x')", "merge the adapter with PEFT first"),
        ("model.config.to_json_file('x')", "save_pretrained"),
        ("tokenizer.batch_encode_plus(['a'])", r"tokenizer\(texts\)"),
        ("tokenizer.additional_special_tokens", "extra_special_tokens has them"),
        ("tokenizer('a').convert_to_tensors('np')", 'return_tensors="np" of the call'),
    ],
)
def test_attributes_that_are_not_here_say_what_is(classifier: Path, code: str, hint: str) -> None:
    model = yosort.load(classifier)
    with pytest.raises(AttributeError, match=f"no (attribute )?'\\w+': .*{hint}"):
        eval(code, {"model": model, "tokenizer": model.tokenizer})
    assert (model.config.torch_dtype, model.config.is_encoder_decoder) == (None, False)
