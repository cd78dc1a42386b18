"""Names of transformers that yosort has no counterpart of, and what to do instead."""

from __future__ import annotations

import re

_TRAINING = "train with transformers, whose folders load here"
_ENCODER = "YOSO is an encoder: load picks the class that a folder's config.json names"
_TEXTS = "yosort reads texts alone: AutoTokenizer"
#: What to do, by expressions that match whole names.
_INSTEAD = {
    r"(Seq2Seq)?Trainer|(Seq2Seq)?TrainingArguments|\w+Callback|get_\w*scheduler?\w*": _TRAINING,
    r"AutoModel\w+|Yoso\w*PreTrainedModel|PreTrainedModel|GenerationConfig": _ENCODER,
    r"\w*Tokenizer(Fast|Base)?": "AutoTokenizer.from_pretrained reads whichever a folder has",
    r"PreTrainedConfig|PretrainedConfig": "YosoConfig is the only one",
    r"DataCollator\w+|default_data_collator": "Tokenizer.pad makes a batch of rows",
    r"\w*Pipeline": "pipeline(task) makes one",
    r"Auto(Processor|FeatureExtractor|ImageProcessor|VideoProcessor)": _TEXTS,
    r"BatchEncoding": "a call of Tokenizer returns one; yosort.tokenizer.encodings has its class",
    r"BitsAndBytesConfig|\w+QuantizationConfig|QuantoConfig|GPTQConfig": 'dtype="int8" at load',
    r"set_seed": "seed= of load, or of a call, is that of the hash functions",
    r"logging": 'logging.getLogger("yosort") of the standard library',
}


def instead_of(name: str) -> str | None:
    """Return what to do in place of a name of transformers; None of any other name."""
    return next((hint for names, hint in _INSTEAD.items() if re.fullmatch(names, name)), None)
