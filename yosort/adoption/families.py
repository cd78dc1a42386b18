"""What families of encoders call their weights and their settings, in YOSO's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yosort.model import architectures as own
from yosort.model.architectures import BASE_PREFIX, MLM_BIAS, TRANSFORM, TRANSFORM_NORM


@dataclass(frozen=True)
class Family:
    """Encoders whose layers compute what YOSO's do, but for the attention.

    Attributes:
        prefix: an expression of what stands before the encoder's names in a model with a head.
        offset: the first row of the position table that a text uses; None: pad_token_id + 1.
        fields: names of config.json's fields, by YOSO's, where they differ.
        modules: what stands for parts of names, tried as expressions, each on every name.
        head_act: the activation of the masked language model's head; None: hidden_act.
        token_types: whether there is a table of token types.
    """

    prefix: str
    offset: int | None = 0
    fields: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    head_act: str | None = None
    token_types: bool = True

    def rename(self, name: str) -> str:
        """Return YOSO's name of a weight; one that had no prefix before it has none after it."""
        name = re.sub(rf"^(?:{self.prefix})\.", BASE_PREFIX, name)
        for module, ours in self.modules.items():
            name = re.sub(module, ours, name)
        return name


_LM_HEAD = {
    r"^lm_head\.dense\.": f"{TRANSFORM}.",
    r"^lm_head\.layer_norm\.": f"{TRANSFORM_NORM}.",
    r"^lm_head\.decoder\.": f"{own.DECODER}.",
    r"^lm_head\.bias$": MLM_BIAS,
}
_ROBERTA = Family("roberta|xlm_roberta|camembert", offset=None, modules=_LM_HEAD, head_act="gelu")
_LAYER = r"transformer\.layer\.(\d+)\."
_OURS = r"encoder.layer.\1."

#: By config.json's model_type.
FAMILIES = {
    "bert": Family("bert"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": Family(
        "distilbert",
        fields={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
            "hidden_act": "activation",
        },
        modules={
            f"{_LAYER}attention.q_lin": _OURS + own.QUERY,
            f"{_LAYER}attention.k_lin": _OURS + own.KEY,
            f"{_LAYER}attention.v_lin": _OURS + own.VALUE,
            f"{_LAYER}attention.out_lin": _OURS + own.OUTPUT,
            f"{_LAYER}sa_layer_norm": _OURS + own.NORM1,
            f"{_LAYER}ffn.lin1": _OURS + own.UP,
            f"{_LAYER}ffn.lin2": _OURS + own.DOWN,
            f"{_LAYER}output_layer_norm": _OURS + own.NORM2,
            "^vocab_transform": TRANSFORM,
            "^vocab_layer_norm": TRANSFORM_NORM,
            "^vocab_projector.bias$": MLM_BIAS,
            "^vocab_projector": own.DECODER,
        },
        token_types=False,
    ),
}

#: Why others are not adopted, by model_type.
REFUSED = {
    **dict.fromkeys(
        ("deberta", "deberta-v2", "mpnet", "t5", "mt5", "xlnet"),
        "its attention adds a bias for the distance of two tokens (relative positions)",
    ),
    **dict.fromkeys(
        (
            "modernbert",
            "nomic_bert",
            "new",
            "gte",
            "roformer",
            "eurobert",
            "neobert",
            "jina_bert_v3",
        ),
        "its attention turns queries and keys by their positions (rotary)",
    ),
    "jina_bert": "its attention subtracts what grows with the distance of two tokens (ALiBi)",
    **dict.fromkeys(
        ("roberta-prelayernorm", "xlm-roberta-xl", "vit", "nystromformer", "megatron-bert"),
        "it normalises before attention (pre-norm), YOSO after it",
    ),
    "albert": "its layers share weights and its embeddings are factorised",
    "electra": "its embeddings have a projection and its heads shapes that YOSO has not",
    **dict.fromkeys(
        ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "bart", "opt", "phi"),
        "it is a decoder, whose tokens see only those before them",
    ),
    "yoso": "it is a YOSO model already; `yosort convert` makes a folder of it",
}


def refusal(fields: Mapping[str, Any]) -> str | None:
    """Return why a config's model is not adopted, or None."""
    kind = fields.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        named = REFUSED.get(kind) if isinstance(kind, str) else None
        return f"{named or 'this is none of the families that are adopted'} ({known} are)"
    if fields.get("position_embedding_type", "absolute") != "absolute":
        return REFUSED["mpnet"]
    if fields.get("is_decoder") or fields.get("add_cross_attention"):
        return REFUSED["gpt2"]
    if fields.get("embedding_size", fields.get("hidden_size")) != fields.get("hidden_size"):
        return "its embeddings are narrower than its layers"
    return None
