"""What transformers has and yosort has not, and what to do instead.

Tables of names, of attributes by class, and of options by call. Keys of `NAMES` and of attributes
are expressions that match whole names; those of options are names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

TRAINING = "yosort computes answers only; train with transformers, whose folders load here"
_UPLOAD = "save_pretrained writes a folder, huggingface_hub.upload_folder uploads it"
_INT8 = 'dtype="int8" quantises at load'
_OWN = "yosort is its own; leave it out"
_TEXTS = "texts are all that is read, by the tokenizer"
_NO_OTHERS = "classes of one's own are not looked up here; call them themselves"
_ENCODER = "YOSO is an encoder: load picks the class that a folder's config.json names"
_ONE_DEVICE = "a model is on one device; device= names it"

#: Modules that imports are written from: they hold the names of the first one.
MODULES = (
    "configuration_utils", "data", "data.data_collator", "file_utils", "generation",
    "modeling_outputs", "modeling_utils", "models", "models.auto",
    "models.auto.configuration_auto", "models.auto.modeling_auto", "models.auto.tokenization_auto",
    "models.yoso", "models.yoso.configuration_yoso", "models.yoso.modeling_yoso", "pipelines",
    "pipelines.base", "pipelines.feature_extraction", "pipelines.fill_mask",
    "pipelines.pt_utils", "pipelines.question_answering", "pipelines.text_classification",
    "pipelines.token_classification", "tokenization_utils", "tokenization_utils_base",
    "tokenization_utils_fast", "tokenization_utils_tokenizers", "trainer", "trainer_callback",
    "trainer_utils", "training_args", "utils", "utils.generic", "utils.logging",
)  # fmt: skip
#: Names of the module.
NAMES = {
    r"(Seq2Seq)?Trainer|(Seq2Seq)?TrainingArguments|\w+Callback|get_\w*scheduler?\w*|EvalPrediction"
    r"|HfArgumentParser": "train with transformers, whose folders load here",
    r"AutoModel\w+|GenerationConfig|\w*Streamer|AutoBackbone|YosoFor\w*(LM|Generation)|"
    r"StoppingCriteria\w*": _ENCODER,
    r"(Yoso)?PreTrainedModel": "YosoModel and the classes of heads have no base in common to test "
    "for; hasattr(x, 'config') tells a model",
    r"(Bert|Roberta|XLMRoberta|DistilBert|Electra|Albert|MPNet|Deberta|ModernBert)"
    r"(?!\w*Tokenizer)\w*": "yosort runs YOSO; `yosort adopt` makes one of a BERT's or "
    "RoBERTa's folder",
    r"PipelineException": "yosort.InputError is what calls raise",
    r"NerPipeline": "TokenClassificationPipeline is the class",
    r"\w*Tokenizer(Fast|Base)?|SpecialTokensMixin": "AutoTokenizer.from_pretrained reads whichever "
    "a folder has",
    r"PreTrainedConfig|PretrainedConfig|\w*CONFIG_MAPPING\w*": "YosoConfig is the only one",
    r"DataCollator\w+|default_data_collator": "Tokenizer.pad makes a batch of rows",
    r"\w+Pipeline|PIPELINE_REGISTRY|PipelineRegistry": "help(yosort.pipeline) names the tasks",
    r"KeyDataset|KeyPairDataset": "a column, rows[name], is several inputs; any iterable is",
    r"Yoso\w+|lsh_cumulation|hashing|normalize": "yosort.ops has the attention as functions; the "
    "layers are no modules, nor made one by one",
    r"Auto(Processor|FeatureExtractor|ImageProcessor|VideoProcessor)": "yosort reads texts alone: "
    "AutoTokenizer",
    r"AddedToken": "tokenizers.AddedToken is the class",
    r"PaddingStrategy|TruncationStrategy": 'texts do: padding="longest"',
    r"TensorType": 'texts do: return_tensors="np"',
    r"BitsAndBytesConfig|\w+QuantizationConfig|QuantoConfig|GPTQConfig": 'dtype="int8" at load',
    r"set_seed": "seed= of load, or of a call, is that of the hash functions",
    r"AggregationStrategy": 'texts do: aggregation_strategy="simple"',
    r"ClassificationFunction": 'texts do: function_to_apply="softmax"',
    r"get_supported_tasks|SUPPORTED_TASKS|check_task|\w+ArgumentHandler": "help(yosort.pipeline) "
    "names the tasks",
    r"logging|get_logger|[gs]et_verbosity\w*": 'logging.getLogger("yosort") of the standard '
    "library",
    r"is_\w+_available": "importlib.util.find_spec asks for a package",
}

_EVERYWHERE = {"push_to_hub": _UPLOAD, "register|register_for_auto_class": _NO_OTHERS}

_WEIGHTS = "a model is immutable; safetensors.numpy.load_file reads what save_pretrained wrote"
_ENCODER_ALONE = "YosoModel.from_pretrained loads the encoder alone from the same folder"
_NO_DECODER = "YOSO is an encoder; there is no decoder"
_LOADED = "it was done at load, which takes the options; leave it out"
_ATTENTION = 'attention="expectation" or "sampled" at load, or model.with_attention'
_CACHE = "an encoder reads a text at once: there is nothing to cache"
#: Attributes of models.
MODELS = {
    **_EVERYWHERE,
    r"generate|can_generate|generation_config|prepare_inputs_for_generation": "YOSO is an encoder "
    'and writes no text; yosort.pipeline("fill-mask") fills masks',
    r"forward|get_compiled_call": "call the model itself",
    r"(named_)?(parameters|buffers|modules|children)|named_non_persistent_buffers|state_dict"
    r"|load_state_dict|apply|smart_apply|retrieve_modules_from_names"
    r"|(get|set)_((in|out)put_embeddings|submodule|extra_state|position_embeddings)"
    r"|get_(parameter|buffer|parameter_or_buffer)|(add|register)_(module|buffer|parameter)"
    r"|embeddings|classifier|encoder|cls|lm_head|qa_outputs": _WEIGHTS,
    r"resize_\w+|zero_grad|gradient_checkpointing_\w+|\w+_input_require_grads"
    r"|\w*gradient_checkpointing|loss_(function|type)": TRAINING,
    r"compile|dequantize|kernelize|(set_)?use_kernels|extra_repr": "there is nothing of the kind "
    "to do; leave it out",
    r"yoso|base_model|get_encoder": _ENCODER_ALONE,
    r"(get|set)_decoder|set_encoder|create_extended_attention_mask_for_decoder": _NO_DECODER,
    r"register_\w*hook": "output_hidden_states=True returns what each layer answers",
    r"share_memory": "weights are mapped from their file, which processes share already",
    r"get_memory_footprint": "yosort info says what a model needs",
    r"\w+_adapters?|active_adapters|get_adapter_state_dict|enable_peft_hotswap": "merge the "
    "adapter with PEFT first, save the model, and load that folder",
    r"hf_device_map": "model.device says it",
    r"num_labels": "model.config.num_labels says it",
    r"double": 'float64 is not computed in; dtype="float32" is at load',
    r"type": "model.dtype says it; dtype= at load chooses it",
    r"xpu|ipu|mtia|npu|to_empty": 'there are the CPU and CUDA: device="cuda" at load',
    r"tie_weights|\w*tied_weights\w*": "weights are tied at load, as config.tie_word_embeddings "
    "says",
    r"(post_)?init(ialize)?(_weights)?|get_init_context": _LOADED,
    r"get_correct_\w+|set_(attn|experts)_implementation|is_backend_compatible": _ATTENTION,
    r"(get_extended|invert)_attention_mask|warn_if_padding_and_no_attention_mask": "a call takes "
    "attention_mask [batch, n] as it is",
    r"(supports_)?[tp]p_(plan|size)": _ONE_DEVICE,
    r"config_class": "YosoConfig is that of every model",
    r"dummy_inputs": "[[0, 5, 2]] is an input of any model",
    r"input_modalities|can_record_outputs": "YOSO reads texts",
    r"(add_)?model_tags": _UPLOAD,
}

_CHANGE = "a config is immutable; config.override(name=...) returns another"
#: Attributes of configs.
CONFIGS = {
    **_EVERYWHERE,
    r"update(_from_string)?": _CHANGE,
    r"to_json_file": "save_pretrained(folder) writes config.json; to_json() returns its text",
    r"get_config_dict": "from_pretrained(folder).to_dict() returns it",
    r"get_text_config|sub_configs|base_config_key|has_no_defaults_at_init": "there is this config "
    "alone, of texts",
    r"_name_or_path": "name_or_path says it",
    r"_attn_implementation\w*": _ATTENTION,
    r"_commit_hash": "the folder's files are all that is known",
    r"attribute_map": "fields have one name each: to_dict lists them",
    r"base_model_\wp_plan": _ONE_DEVICE,
    r"chunk_size_feed_forward": "layers are computed in parts of their own choice",
    r"dict_dtype_to_str": "dtype is a text already",
    r"\w*rope\w*|default_theta": 'positions are "absolute", the only ones that YOSO has',
}

_TRAINED = "a tokenizer is as its folder has it; change and save it with transformers"
_ADDED = "a call adds special tokens: tokenizer(text)"
_CHAT = "YOSO is an encoder, which is not chatted with"
_BACKEND = "tokenizer.backend, a tokenizers.Tokenizer, has it"
_NOT_SLOW = "there is no slow tokenizer, nor files of one"
_TARGETS = "yosort's models are encoders, which have no target texts: tokenize them as texts"
#: Attributes of tokenizers.
TOKENIZERS = {
    **_EVERYWHERE,
    r"add_tokens|add_special_tokens|train_new_from_iterator|sanitize_special_tokens"
    r"|convert_added_tokens|update_post_processor": _TRAINED,
    r"save_vocabulary": "save_pretrained writes tokenizer.json, which holds the vocabulary",
    r"(_?encode|prepare)_(plus|for_model)|encode_batch": "the call itself does it: tokenizer(text)",
    r"batch_encode_plus": "the call itself does it: tokenizer(texts)",
    r"decode_batch": "batch_decode does it",
    r"additional_special_tokens(_ids)?": "extra_special_tokens has them",
    r"build_inputs_with_special_tokens|add_(bos|eos)_token": _ADDED,
    r"create_token_type_ids_from_sequences": "a call returns them: return_token_type_ids=True",
    r"(set_truncation_and|no|enable)_(padding|truncation)|truncate_sequences": "a call's options "
    "say it: truncation=, padding=, max_length=",
    r"\w*chat_templates?|parse_response": _CHAT,
    r"init_inputs": "init_kwargs has what it was made with",
    r"special_tokens_map_extended|all_special_tokens_extended": "special_tokens_map and "
    "all_special_tokens have them; added_tokens_decoder how each is found",
    r"SPECIAL_TOKENS_ATTRIBUTES": "special_tokens_map has them by role",
    r"add_prefix_space|do_lower_case|normalizer|pre_tokenizer|post_processor|decoder|model": (
        _BACKEND
    ),
    r"slow_tokenizer_class|can_save_slow_tokenizer|convert_to_native_format|files_loaded|vocab_file"
    r"|vocab_files_names|pretrained_vocab_files_map": _NOT_SLOW,
    r"as_target_tokenizer|prepare_seq2seq_batch": _TARGETS,
    r"verbose|deprecation_warnings": 'logging.getLogger("yosort") says what is said',
}
#: Attributes of what a tokenizer returns.
ENCODINGS = {
    r"convert_to_tensors": 'return_tensors="np" of the call, or of tokenizer.pad, makes arrays',
    r"words": "word_ids returns the word of each token",
}
#: Attributes of what a model returns.
OUTPUTS = {
    r"pooler_output": "YOSO has no pooler; last_hidden_state[:, 0] is the first token's state",
    r"cross_attentions": "YOSO is an encoder",
    r"past_key_values": "YOSO is an encoder",
    r"update|pop|popitem|setdefault|clear|move_to_end|fromkeys": (
        "an output is immutable; dict(output) may be changed"
    ),
}
#: Attributes of pipelines.
PIPELINES = {
    **_EVERYWHERE,
    r"preprocess|forward|postprocess|run_single|run_multi|iterate|get_iterator": "the pipeline "
    "itself does it all; model(**tokenizer(text, return_tensors='np')) the parts",
    r"ensure_tensor_on_device": "a model moves what it is given to its own device",
    r"device_placement|get_inference_context": "a model is on the device that it was loaded with",
    r"feature_extractor|image_processor|processor": _TEXTS,
    r"framework": "yosort is its own",
    r"check_model_type": "pipeline(task) does it",
    r"create_sample": "a call takes question= and context=",
    r"aggregate|group_(sub_)?entities|gather_pre_entities": "a call does it: p(text, "
    'aggregation_strategy="simple")',
    r"top_k|function_to_apply|handle_impossible_answer|aggregation_strategy|ignore_labels|targets"
    r"|doc_stride|max_answer_len|max_seq_len": "repr(p) shows what was given at construction; a "
    "call may say another",
    r"ensure_exactly_one_mask_token|get_masked_index|get_target_ids": "a call does it: p(text, "
    "targets=)",
    r"binary_output|default_input_names|call_count": "there is nothing of the kind; leave it out",
}

_SAVED = "it is part of the folder: save the tokenizer so with transformers, and load that"
#: Options that change no answer here, and what is said, once, of one that is set; "" for nothing: a
#: checkpoint's code is never run, and fetching goes on anyway.
WITHOUT_EFFECT = dict.fromkeys(("trust_remote_code", "code_revision", "resume_download"), "")
#: Of loading a model: weights are mapped into memory, and no file is unpickled that could run code.
LOADING_WITHOUT_EFFECT = {
    **WITHOUT_EFFECT,
    **dict.fromkeys(("low_cpu_mem_usage", "weights_only"), ""),
    "use_fast": _NOT_SLOW,
    "framework": "yosort is its own",
}
#: Of loading a tokenizer, which needs no model's config; `legacy` is SentencePiece's.
TOKENIZER_WITHOUT_EFFECT = {
    **WITHOUT_EFFECT,
    **dict.fromkeys(("config", "legacy"), ""),
    "use_fast": _NOT_SLOW,
}
#: Of pipelines: there are no worker processes, and no answer depends on how a batch is filled up.
PIPELINE_WITHOUT_EFFECT = {
    **dict.fromkeys(("num_workers", "pad_to_multiple_of", "padding_side", "verbose", "task"), ""),
    "framework": "yosort is its own",
    "binary_output": "results are as ever; pickle.dump(result, file) writes one",
}
#: What an option of these tables is where it asks for nothing: also None, and "". Of others: False.
USUAL: dict[str, bool | str] = {
    **dict.fromkeys(("use_fast", "add_special_tokens", "return_attention_mask"), True),
    "framework": "np",
    "attn_implementation": "eager",
}
#: Options of fetching anything.
FETCHING = {
    "force_download": "huggingface_hub.snapshot_download(id, force_download=True) fetches it anew",
    "subfolder": "name the folder itself; of a hub id, the one in the folder that "
    "huggingface_hub.snapshot_download(id) returns",
    "return_unused_kwargs": "a keyword that is no field is named in an error",
    "proxies": "the environment variable HTTPS_PROXY names one",
    "mirror": "the environment variable HF_ENDPOINT names one",
    "gguf_file": "name the folder of the checkpoint that the file was made from",
}
#: Options of loading a model.
LOADING = {
    **FETCHING,
    **dict.fromkeys(("attn_implementation", "experts_implementation"), _ATTENTION),
    **dict.fromkeys(("load_in_8bit", "load_in_4bit", "quantization_config"), _INT8),
    "key_mapping": "rename the weights in the file",
    **dict.fromkeys(("tp_plan", "tp_size", "device_mesh", "distributed_config"), _ONE_DEVICE),
    "max_memory": _ONE_DEVICE,
    **dict.fromkeys(("offload_folder", "offload_buffers", "offload_state_dict"), "weights are "
    "mapped from their file already"),
    "output_loading_info": "what is missing is an error here, and what is left over a warning",
    "state_dict": "save the weights into a folder, and load that",
    **dict.fromkeys(("from_tf", "from_flax"), "convert the checkpoint with transformers first"),
    "variant": "name a folder that holds these weights as model.safetensors",
    **dict.fromkeys(("adapter_name", "adapter_kwargs"), "merge the adapter with PEFT first"),
    **dict.fromkeys(("use_kernels", "kernel_config", "allow_all_kernels"), _OWN),
    "generation_config": "YOSO is an encoder and writes no text",
}  # fmt: skip
#: Options of loading a tokenizer.
TOKENIZER_LOADING = {
    **FETCHING,
    "tokenizer_type": "the folder's own files say which tokenizer it is",
    "from_slow": "there is no slow tokenizer here",
    "chat_template": _CHAT,
}
_CALLED = "tokenizer(text, return_tensors='np') takes it; model(**inputs) is the rest"
#: Options of pipelines.
PIPELINE_CALLS = {
    "return_all_scores": "top_k=None gives the score of every label",
    "grouped_entities": 'aggregation_strategy="simple" joins neighbours of one label',
    "ignore_subwords": 'aggregation_strategy="first" labels words by their first token',
    "add_special_tokens": f"a model reads texts with them, as it was trained; {_CALLED}",
    "return_attention_mask": _CALLED,
    "return_token_type_ids": _CALLED,
    "truncation_side": "Tokenizer.from_pretrained takes it; tokenizer= what it returns",
    "pipeline_class": "the task's name chooses it",
    **dict.fromkeys(("device", "device_map", "dtype", "torch_dtype"), _LOADED),
    **dict.fromkeys(("feature_extractor", "image_processor", "processor"), _TEXTS),
}
#: Tasks that are none here.
TASKS = {
    r"zero-shot-classification": 'a model of entailment answers it as "text-classification", of '
    "pairs of a text and a sentence for each label",
    r"(text2text|text)-generation|summarization|translation\w*|conversational": _NO_DECODER,
    r".*(image|audio|video|speech|visual|document|table|depth|mask-generation|any-to-any).*": (
        "yosort reads texts alone"
    ),
}
#: Options of a model's call.
MODEL_CALLS = {"use_cache": _CACHE, "past_key_values": _CACHE, "decoder_input_ids": _NO_DECODER}
#: Options of a tokenizer's call.
TOKENIZER_CALLS = {
    **dict.fromkeys(("text_target", "text_pair_target", "max_target_length"), _TARGETS),
    "tokenizer_kwargs": _CHAT,
    **dict.fromkeys(("add_prefix_space", "do_lower_case", "tokenizer_file", "vocab_file"), _SAVED),
    **dict.fromkeys(("add_bos_token", "add_eos_token"), _SAVED),
    **dict.fromkeys(("additional_special_tokens", "extra_special_tokens"), _SAVED),
}
#: Options of making text of ids.
DECODING = {"spaces_between_special_tokens": "the tokenizer's decoder says where spaces stand"}


@cache
def _pattern(names: str) -> re.Pattern[str]:
    return re.compile(names)


def instead_of(name: str, table: Mapping[str, str] = MappingProxyType(NAMES)) -> str | None:
    """Return what to do in place of a name of transformers; None of any other name."""
    return next((hint for names, hint in table.items() if _pattern(names).fullmatch(name)), None)


def no_attribute(what: str, name: str, table: Mapping[str, str]) -> AttributeError:
    """Return the error of an attribute that is not there, and what to do instead, if known."""
    hint = instead_of(name, table)
    return AttributeError(f"{what} has no attribute {name!r}" + (f": {hint}" if hint else ""))


class _Hinting(type):
    """The type of classes whose own attributes are asked for, too: `AutoModel.register`."""

    _instead: Mapping[str, str]

    if not TYPE_CHECKING:  # a checker would take every name for one

        def __getattr__(cls, name: str) -> Any:
            raise no_attribute(f"type object {cls.__name__!r}", name, cls._instead)


class Hinted(metaclass=_Hinting):
    """Base of what transformers has, too: an attribute that is not there says what to do instead.

    A class names its table as `_instead`.
    """

    _instead: ClassVar[Mapping[str, str]] = MappingProxyType({})

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(f"{type(self).__name__!r} object", name, self._instead)
