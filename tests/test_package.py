"""What importing yosort brings along, and what it must not."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import yosort

FORBIDDEN = ("torch", "transformers", "cupy", "huggingface_hub", "requests", "httpx", "urllib3")


def modules_after(code: str, folder: Path) -> set[str]:
    """Run code in a fresh interpreter and return the top-level modules it leaves loaded.

    It runs in `folder`: in a source tree, the uncompiled package would shadow the installed one.
    """
    program = code + "\nimport sys; print('\\n'.join({m.split('.')[0] for m in sys.modules}))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=folder
    )
    return set(result.stdout.split())


def test_import_brings_no_framework_and_no_network_code(tmp_path: Path) -> None:
    loaded = modules_after("import yosort", tmp_path)
    assert not loaded & {*FORBIDDEN, "socket", "ssl", "http"}
    assert "yosort" in loaded


def test_a_local_model_is_loaded_and_run_without_them_too(tmp_path: Path) -> None:
    config = yosort.YosoConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=8,
    )  # fmt: skip
    yosort.YosoModel(config).save_pretrained(tmp_path)
    loaded = modules_after(
        f"import yosort\nyosort.load({str(tmp_path)!r})([[1, 2, 3]])\nyosort.ops.hash_signs",
        tmp_path,
    )
    assert not loaded & {*FORBIDDEN, "http"}


def test_every_public_name_resolves() -> None:
    for name in yosort.__all__:
        assert getattr(yosort, name) is not None
    assert set(yosort.__all__) <= set(dir(yosort))
    with pytest.raises(AttributeError, match="no_such_name"):
        yosort.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Trainer", "train with transformers, whose folders load here"),
        ("PreTrainedModel", "YosoModel and the classes of heads have no base in common"),
        ("RobertaForMaskedLM", "yosort runs YOSO; `yosort adopt` makes one"),
        ("PipelineException", "yosort.InputError is what calls raise"),
        ("NerPipeline", "TokenClassificationPipeline is the class"),
        ("PretrainedConfig", "YosoConfig is the only one"),
        ("KeyDataset", r"a column, rows\[name\], is several inputs"),
        ("YosoSelfAttention", "yosort.ops has the attention as functions"),
        ("AutoProcessor", "yosort reads texts alone: AutoTokenizer"),
        ("AddedToken", "tokenizers.AddedToken is the class"),
        ("PaddingStrategy", 'texts do: padding="longest"'),
        ("TensorType", 'texts do: return_tensors="np"'),
        ("AggregationStrategy", 'texts do: aggregation_strategy="simple"'),
        ("ClassificationFunction", 'texts do: function_to_apply="softmax"'),
        ("SUPPORTED_TASKS", r"help\(yosort.pipeline\) names the tasks"),
        ("get_logger", r'logging.getLogger\("yosort"\) of the standard library'),
        ("is_torch_available", "importlib.util.find_spec asks for a package"),
        ("Seq2SeqTrainingArguments", "train with transformers"),
        ("get_linear_schedule_with_warmup", "train with transformers"),
        ("AlbertTokenizerFast", "AutoTokenizer.from_pretrained reads whichever"),
        ("AutoModelForCausalLM", "YOSO is an encoder"),
        ("DataCollatorWithPadding", "Tokenizer.pad makes a batch"),
        ("SummarizationPipeline", r"help\(yosort.pipeline\) names the tasks"),
        ("BitsAndBytesConfig", 'dtype="int8" at load'),
        ("set_seed", "seed= of load"),
        ("EvalPrediction", "train with transformers"),
        ("HfArgumentParser", "train with transformers"),
        ("EarlyStoppingCallback", "train with transformers"),
        ("GenerationConfig", "YOSO is an encoder"),
        ("TextStreamer", "YOSO is an encoder"),
        ("AutoBackbone", "YOSO is an encoder"),
        ("StoppingCriteriaList", "YOSO is an encoder"),
        ("PreTrainedTokenizerBase", "AutoTokenizer.from_pretrained reads whichever"),
        ("SpecialTokensMixin", "AutoTokenizer.from_pretrained reads whichever"),
        ("CONFIG_MAPPING", "YosoConfig is the only one"),
        ("default_data_collator", "Tokenizer.pad makes a batch"),
        ("PIPELINE_REGISTRY", r"help\(yosort.pipeline\) names the tasks"),
        ("PipelineRegistry", r"help\(yosort.pipeline\) names the tasks"),
        ("KeyPairDataset", r"a column, rows\[name\], is several inputs"),
        ("lsh_cumulation", "yosort.ops has the attention as functions"),
        ("hashing", "yosort.ops has the attention as functions"),
        ("normalize", "yosort.ops has the attention as functions"),
        ("TruncationStrategy", 'texts do: padding="longest"'),
        ("QuantoConfig", 'dtype="int8" at load'),
        ("GPTQConfig", 'dtype="int8" at load'),
        ("get_supported_tasks", r"help\(yosort.pipeline\) names the tasks"),
        ("check_task", r"help\(yosort.pipeline\) names the tasks"),
        ("QuestionAnsweringArgumentHandler", r"help\(yosort.pipeline\) names the tasks"),
    ],
)
def test_names_of_transformers_that_are_not_here_say_what_is(name: str, hint: str) -> None:
    with pytest.raises(ImportError, match=f"yosort has no {name}: {hint}"):
        exec(f"from yosort import {name}")
    with pytest.raises(AttributeError, match=f"yosort has no {name}: {hint}"):
        getattr(yosort, name)
    assert not hasattr(yosort, name)
    assert getattr(yosort, name, 3) == 3


def test_modules_and_unknown_names_are_imported_as_ever() -> None:
    exec("from yosort import config, elsewhere")
    with pytest.raises(ImportError, match="cannot import name 'Treiner'"):
        exec("from yosort import Treiner")


def test_versions_agree() -> None:
    assert importlib.metadata.version("yosort") == yosort.__version__


def test_types_are_shipped() -> None:
    assert Path(yosort.__file__).with_name("py.typed").is_file()


def test_the_tree_says_nothing_about_where_it_was_written() -> None:
    root = Path(__file__).resolve().parent.parent
    if not (root / "pyproject.toml").is_file():
        pytest.skip("not run from a source tree")
    words = [b"/" + b"work/", b".." + b"/shared", b"/tmp" + b"/w/"]
    for path in root.rglob("*"):
        if path.suffix in {".py", ".pyx", ".md", ".toml", ".h", ".c", ".build"} and not any(
            part.startswith((".", "build")) for part in path.relative_to(root).parts
        ):
            data = path.read_bytes()
            assert not any(word in data for word in words), path
