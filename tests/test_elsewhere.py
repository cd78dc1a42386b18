"""What transformers has: it is here, or an error says what to do instead."""

from __future__ import annotations

import importlib
import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import yosort
from yosort import elsewhere
from yosort.tasks import bundled_model

#: torch's own words on how it makes modules.
OF_TORCH = {"T_destination", "call_super_init", "dump_patches"}

#: Those of transformers that people import from.
MODULES = [
    "configuration_utils", "data", "data.data_collator", "file_utils", "generation",
    "modeling_outputs", "modeling_utils", "models", "models.auto",
    "models.auto.configuration_auto", "models.auto.modeling_auto",
    "models.auto.tokenization_auto", "models.yoso", "models.yoso.configuration_yoso",
    "models.yoso.modeling_yoso", "pipelines", "pipelines.base", "pipelines.feature_extraction",
    "pipelines.fill_mask", "pipelines.pt_utils", "pipelines.question_answering",
    "pipelines.text_classification", "pipelines.token_classification", "tokenization_utils",
    "tokenization_utils_base", "tokenization_utils_fast", "tokenization_utils_tokenizers",
    "trainer", "trainer_callback", "trainer_utils", "training_args", "utils", "utils.generic",
    "utils.logging",
]  # fmt: skip


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    p = yosort.pipeline("fill-mask", device="cpu")
    tokenizer = p.tokenizer
    return {
        "pipeline": p,
        "tokenizer": tokenizer,
        "model": p.model,
        "config": p.model.config,
        "encoding": tokenizer("a"),
        "output": p.model([[0, 5, 2]]),
        "Tokenizer": yosort.AutoTokenizer,
        "Config": yosort.AutoConfig,
        "Model": yosort.AutoModel,
    }


@pytest.mark.parametrize(
    ("owner", "name", "message"),
    [
        ("tokenizer", "apply_chat_template", "YOSO is an encoder"),
        ("tokenizer", "chat_template", "YOSO is an encoder"),
        ("tokenizer", "add_tokens", "change and save it with transformers"),
        ("tokenizer", "init_inputs", "init_kwargs has what it was made with"),
        ("tokenizer", "special_tokens_map_extended", "special_tokens_map and"),
        ("tokenizer", "all_special_tokens_extended", "special_tokens_map and"),
        ("tokenizer", "_encode_plus", r"the call itself does it: tokenizer\(text\)"),
        ("tokenizer", "no_padding", "a call's options say it"),
        ("tokenizer", "enable_truncation", "a call's options say it"),
        ("tokenizer", "set_truncation_and_padding", "a call's options say it"),
        ("tokenizer", "truncate_sequences", "a call's options say it"),
        ("tokenizer", "save_vocabulary", "save_pretrained writes tokenizer.json"),
        ("tokenizer", "encode_batch", r"the call itself does it: tokenizer\(text\)"),
        ("tokenizer", "batch_encode_plus", r"the call itself does it: tokenizer\(texts\)"),
        ("tokenizer", "decode_batch", "batch_decode does it"),
        ("tokenizer", "additional_special_tokens_ids", "extra_special_tokens has them"),
        ("tokenizer", "create_token_type_ids_from_sequences", "return_token_type_ids=True"),
        ("tokenizer", "as_target_tokenizer", "encoders, which have no target texts"),
        ("tokenizer", "prepare_seq2seq_batch", "encoders, which have no target texts"),
        ("config", "get_config_dict", r"from_pretrained\(folder\).to_dict\(\)"),
        ("config", "push_to_hub", "huggingface_hub.upload_folder"),
        ("config", "update", r"config.override\(name=...\) returns another"),
        ("config", "_name_or_path", "name_or_path says it"),
        ("config", "_attn_implementation", 'attention="expectation" or "sampled" at load'),
        ("config", "_attn_implementation_internal", 'attention="expectation" or "sampled" at load'),
        ("config", "_commit_hash", "the folder's files are all that is known"),
        ("model", "generate", "YOSO is an encoder and writes no text"),
        ("model", "prepare_inputs_for_generation", "YOSO is an encoder and writes no text"),
        ("model", "hf_device_map", "model.device says it"),
        ("model", "embeddings", "safetensors.numpy.load_file"),
        ("model", "encoder", "safetensors.numpy.load_file"),
        ("model", "classifier", "safetensors.numpy.load_file"),
        ("model", "qa_outputs", "safetensors.numpy.load_file"),
        ("model", "state_dict", "safetensors.numpy.load_file"),
        ("model", "resize_token_embeddings", "train with transformers"),
        ("model", "named_buffers", "safetensors.numpy.load_file"),
        ("model", "register_forward_pre_hook", "output_hidden_states=True"),
        ("model", "add_adapter", "merge the adapter with PEFT"),
        ("pipeline", "postprocess", "the pipeline itself does it all"),
        ("pipeline", "framework", "yosort is its own"),
        ("pipeline", "create_sample", "a call takes question= and context="),
        ("pipeline", "aggregate", 'aggregation_strategy="simple"'),
        ("pipeline", "group_sub_entities", 'aggregation_strategy="simple"'),
        ("pipeline", "gather_pre_entities", 'aggregation_strategy="simple"'),
        ("pipeline", "top_k", r"repr\(p\) shows what was given"),
        ("pipeline", "ignore_labels", r"repr\(p\) shows what was given"),
        ("pipeline", "max_seq_len", r"repr\(p\) shows what was given"),
        ("encoding", "words", "word_ids returns the word"),
        ("output", "cross_attentions", "YOSO is an encoder"),
        ("output", "pooler_output", r"last_hidden_state\[:, 0\]"),
        ("Tokenizer", "register", "classes of one's own"),
        ("Config", "register_for_auto_class", "classes of one's own"),
        ("Model", "register", "classes of one's own"),
    ],
)
def test_an_attribute_that_is_not_here(
    ours: dict[str, Any], owner: str, name: str, message: str
) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{message}"):
        getattr(ours[owner], name)
    assert getattr(ours[owner], name, 3) == 3


@pytest.mark.parametrize(
    ("where", "names", "message"),
    [
        ("load", "load_in_8bit load_in_4bit quantization_config", 'dtype="int8" quantises at load'),
        ("load", "attn_implementation experts_implementation", 'attention="expectation" or "sam'),
        ("load", "tp_plan tp_size device_mesh distributed_config max_memory", "on one device"),
        ("load", "offload_folder offload_buffers offload_state_dict", "mapped from their file"),
        ("load", "adapter_name adapter_kwargs", "merge the adapter with PEFT"),
        ("load", "from_tf from_flax", "with transformers first"),
        ("load", "use_kernels kernel_config allow_all_kernels", "yosort is its own"),
        ("load", "key_mapping", "rename the weights in the file"),
        ("load", "output_loading_info", "what is missing is an error here"),
        ("load", "state_dict", "save the weights into a folder"),
        ("load", "variant", "name a folder that holds these weights"),
        ("load", "generation_config", "an encoder and writes no text"),
        ("tokenizer", "tokenizer_type", "the folder's own files say"),
        ("tokenizer", "from_slow", "no slow tokenizer"),
        ("tokenizer", "chat_template", "an encoder, which is not chatted with"),
        ("load tokenizer", "force_download subfolder", "huggingface_hub.snapshot_download"),
        ("load tokenizer", "return_unused_kwargs", "a keyword that is no field is named"),
        ("load tokenizer", "proxies", "HTTPS_PROXY"),
        ("load tokenizer", "mirror", "HF_ENDPOINT"),
        ("load tokenizer", "gguf_file", "that the file was made from"),
        ("call", "use_cache past_key_values", "there is nothing to cache"),
        ("call", "decoder_input_ids", "no decoder"),
        ("encode", "text_target text_pair_target max_target_length", "have no target texts"),
        ("encode", "tokenizer_kwargs", "not chatted with"),
        ("encode", "add_prefix_space do_lower_case tokenizer_file vocab_file", "part of the fol"),
        ("encode", "add_bos_token add_eos_token", "part of the folder"),
        ("encode", "additional_special_tokens extra_special_tokens", "part of the folder"),
        ("decode", "spaces_between_special_tokens", "says where spaces stand"),
        ("pipeline", "return_all_scores", "top_k=None gives the score of every label"),
        ("pipeline", "grouped_entities", 'aggregation_strategy="simple" joins'),
        ("pipeline", "ignore_subwords", 'aggregation_strategy="first" labels words'),
        ("pipeline", "add_special_tokens return_attention_mask return_token_type_ids",
         r"tokenizer\(text, return_tensors='np'\) takes it"),
        ("pipeline", "truncation_side", "Tokenizer.from_pretrained takes it"),
        ("pipeline", "pipeline_class", "the task's name chooses it"),
        ("pipeline", "device device_map dtype torch_dtype", "it was done at load"),
        ("pipeline", "feature_extractor image_processor processor", "texts"),
    ],
)  # fmt: skip
def test_an_option_that_is_not_here(
    ours: dict[str, Any], where: str, names: str, message: str
) -> None:
    calls: dict[str, Callable[..., Any]] = {
        "load": partial(yosort.load, bundled_model()),
        "tokenizer": partial(yosort.AutoTokenizer.from_pretrained, bundled_model()),
        "call": partial(ours["model"], [[0, 5, 2]]),
        "encode": partial(ours["tokenizer"], "a"),
        "decode": partial(ours["tokenizer"].decode, [5]),
        "pipeline": partial(ours["pipeline"], "a <mask>"),
    }
    for call, name in itertools.product(where.split(), names.split()):
        with pytest.raises(yosort.YosortError, match=f"^{name}: no such option; .*{message}"):
            calls[call](**{name: "x"})


@pytest.mark.parametrize(
    "line",
    [
        "from yosort.pipelines import pipeline, TextClassificationPipeline as found",
        "from yosort.pipelines.token_classification import TokenClassificationPipeline as found",
        "from yosort import FillMaskPipeline, MaskedLMOutput, BatchEncoding as found",
        "from yosort.models.yoso import YosoConfig, YosoModel as found",
        "from yosort.models.yoso.modeling_yoso import YosoForMaskedLM as found",
        "from yosort.models.auto.tokenization_auto import AutoTokenizer as found",
        "import yosort.models.yoso; found = yosort.models.yoso.modeling_yoso.YosoModel",
        "import yosort.pipelines as parts; found = parts.Pipeline",
    ],
)
def test_imports_that_are_written_already(line: str) -> None:
    names: dict[str, Any] = {}
    exec(line, names)
    found = names["found"]
    assert getattr(importlib.import_module(found.__module__), found.__name__) is found


def test_modules_of_transformers_that_people_import_from() -> None:
    """Each is there: what is asked of it is answered by a hint, not by its being missing."""
    for name in MODULES:
        module = importlib.import_module(f"yosort.{name}")
        with pytest.raises(AttributeError, match="train with transformers"):
            _ = module.Trainer


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from yosort.pipelines import SummarizationPipeline", "names the tasks"),
        ("from yosort.pipelines.pt_utils import KeyDataset", "any iterable is"),
        ("from yosort.trainer import Trainer", "train with transformers"),
        ("from yosort.modeling_utils import PreTrainedModel", "no base in common to test for"),
        ("from yosort.models.yoso import YosoForCausalLM", "YOSO is an encoder"),
        ("from yosort import NerPipeline", "TokenClassificationPipeline is the class"),
        ("from yosort import BertModel", "`yosort adopt` makes one"),
        ("from yosort import BertTokenizerFast", "AutoTokenizer.from_pretrained reads whichever"),
        ("from yosort.utils import TensorType", 'return_tensors="np"'),
        ("from yosort.pipelines.text_classification import ClassificationFunction", "function_to"),
        ("from yosort.models.yoso.modeling_yoso import YosoLayer", "yosort.ops has the attention"),
        ("from yosort.utils.logging import set_verbosity_error", "of the standard library"),
        ("from yosort.models.bert import BertModel", "No module named 'yosort.models.bert'"),
        ("from yosort.pipelines import nothing", "has no nothing: dir.yosort. lists"),
        ("from yosort import nothing", "cannot import name 'nothing'"),
        ("from yosort.pipelines.base import get_supported_tasks", "names the tasks"),
        ("from yosort.pipelines.token_classification import AggregationStrategy", "texts do: agg"),
        ("from yosort.utils.logging import get_verbosity", "of the standard library"),
    ],
)
def test_imports_of_what_is_not_here(line: str, message: str) -> None:
    with pytest.raises(ImportError, match=message):
        exec(line, {})


@pytest.mark.parametrize("module", ["pipelines", "models.yoso", "utils"])
def test_all_names_of_a_module(module: str) -> None:
    names: dict[str, Any] = {}
    exec(f"from yosort.{module} import *", names)
    assert names["YosoModel"] is yosort.YosoModel
    assert names["pipeline"] is yosort.pipeline


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("zero-shot-classification", 'a model of entailment answers it as "text-classification"'),
        ("Summarization", "there is no decoder"),
        ("translation_en_to_de", "there is no decoder"),
        ("text-generation", "there is no decoder"),
        ("text2text-generation", "there is no decoder"),
        ("conversational", "there is no decoder"),
        ("image-classification", "yosort reads texts alone"),
        ("text-clasification", "one of fill-mask"),
    ],
)
def test_a_task_that_is_not_here(task: str, message: str) -> None:
    with pytest.raises(yosort.ConfigError, match=f"task: wanted .*{message}"):
        yosort.pipeline(task)


def test_a_module_of_another_name_is_asked_for_attributes() -> None:
    assert not hasattr(yosort.pipelines, "nothing")  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"yosort.utils has no get_logger: .*standard"):
        yosort.utils.get_logger()  # type: ignore[attr-defined]


def test_a_name_of_nothing_has_no_hint(ours: dict[str, Any]) -> None:
    for owner in ("tokenizer", "config", "model", "pipeline", "Tokenizer", "Config", "Model"):
        with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
            ours[owner].nothing  # noqa: B018


def test_what_is_cheap_is_here(ours: dict[str, Any]) -> None:
    tokenizer, model = ours["tokenizer"], ours["model"]
    mask = tokenizer.mask_token_id
    assert tokenizer.added_tokens_encoder == tokenizer.get_added_vocab()
    assert tokenizer.added_tokens_encoder["<mask>"] == mask
    assert tokenizer.added_tokens_decoder[mask].content == "<mask>"
    assert tokenizer.num_special_tokens_to_add() == 2

    assert (model.base_model_prefix, model.main_input_name) == ("yoso", "input_ids")


#: Of what transformers 5.2 has for a masked language model, by its name in `ours`.
ATTRIBUTES = Path(__file__).parent / "data" / "transformers_attributes.json"
TABLES = {
    "pipeline": elsewhere.PIPELINES,
    "model": elsewhere.MODELS,
    "config": elsewhere.CONFIGS,
    "tokenizer": elsewhere.TOKENIZERS,
    "encoding": elsewhere.ENCODINGS,
    "output": elsewhere.OUTPUTS,
}


@pytest.mark.parametrize("owner", TABLES)
def test_every_attribute_of_transformers_is_here_or_explained(
    ours: dict[str, Any], owner: str
) -> None:
    names = json.loads(ATTRIBUTES.read_text())[owner]
    assert len(names) > 10
    bare = [n for n in names if not hasattr(ours[owner], n)]
    assert {n for n in bare if not elsewhere.instead_of(n, TABLES[owner])} <= OF_TORCH


@pytest.mark.parity
def test_these_are_the_attributes_of_transformers(ours: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    ours["pipeline"].save_pretrained(tmp_path)
    pipeline = transformers.pipeline("fill-mask", str(tmp_path))
    theirs = {
        "pipeline": pipeline,
        "model": pipeline.model,
        "config": pipeline.model.config,
        "tokenizer": pipeline.tokenizer,
        "encoding": pipeline.tokenizer("a"),
        "output": pipeline.model(**pipeline.tokenizer("a", return_tensors="pt")),
    }
    found = {owner: [n for n in dir(x) if not n.startswith("_")] for owner, x in theirs.items()}
    assert json.loads(ATTRIBUTES.read_text()) == found


def test_no_hint_stands_for_what_is_here(ours: dict[str, Any]) -> None:
    for owner, table in TABLES.items():
        for name in dir(ours[owner]):
            assert not elsewhere.instead_of(name, table), (owner, name)
    for name in (*yosort.__all__, *yosort._ALIASES):
        hint = elsewhere.instead_of(name)
        assert hint is None or hasattr(yosort, name)


def test_a_config_says_where_it_comes_from(ours: dict[str, Any], tmp_path: Path) -> None:
    config = ours["config"]
    config.save_pretrained(tmp_path)
    found = yosort.AutoConfig.from_pretrained(str(tmp_path), num_labels=3)
    assert (found.name_or_path, found.num_labels) == (str(tmp_path), 3)
    again = yosort.YosoConfig.from_json_file(tmp_path / "config.json")
    assert again == config
    assert yosort.YosoConfig(name_or_path="here").name_or_path == "here"
    assert yosort.YosoConfig().name_or_path == ""
    assert "name_or_path" not in again.to_dict()
    with pytest.raises(yosort.ConfigError, match="name_or_path: wanted a text, got 3"):
        yosort.YosoConfig(name_or_path=3)  # type: ignore[arg-type]
