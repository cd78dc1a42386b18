"""Weight names in any dialect -> transformers', which `model.architectures` lists.

Canonical names are transformers', with the base model under `yoso.`:

    yoso.embeddings.*  yoso.encoder.layer.N.*  cls.predictions.*  classifier.*  pre_classifier.*
    qa_outputs.*

Three dialects are read. transformers' heads write these names; its bare YosoModel leaves `yoso.`
out; the code of the paper (github.com/mlpen/YOSO) has `model.` with its own module names, of which
there are two generations (`transformer_N` and `backbone.backbone.encoders.N`). What training wraps
around a model (`module.`, `_orig_mod.` ...) and TensorFlow's `gamma` and `beta` may be on top of
any.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from yosort.checkpoint.stored import FLOATS, Array, State
from yosort.errors import CheckpointError, quote
from yosort.model import architectures as own
from yosort.model.architectures import BASE_PREFIX, HEAD_PREFIXES, layer_prefix

#: What the name of an int8 weight's scales ends in, after the weight's own.
SCALE = "_scale"

# The authors' module names -> ours, below the embeddings, below a layer, and at the top.
_EMBEDDINGS = {
    "word_embeddings": own.WORDS,
    "position_embeddings": own.POSITIONS,
    "token_type_embeddings": own.TOKEN_TYPES,
    "norm": own.EMBEDDINGS_NORM,
}
_LAYER = {
    "mha.W_q": own.QUERY,
    "mha.W_k": own.KEY,
    "mha.W_v": own.VALUE,
    "mha.attn.conv": own.CONVOLUTION,
    "mha.ff": own.OUTPUT,
    "norm1": own.NORM1,
    "ff.0": own.UP,
    "ff1": own.UP,
    "ff.2": own.DOWN,
    "ff2": own.DOWN,
    "norm2": own.NORM2,
}
_TOP = {
    "mlm.dense": own.TRANSFORM,
    "mlm.norm": own.TRANSFORM_NORM,
    "mlm.mlm_class": own.DECODER,
    "qahead": own.ANSWER_ENDS,
}
# Sentence heads of the authors' BERT pretraining; transformers has no pooler for YOSO, and its own
# conversion dropped them too.
_DROPPED = ("model.pooler.", "sen_class.")
# What cannot be converted without changing what the model computes, and why.
_UNSUPPORTED = {
    "sen_classifer.": "the authors' classification head applies tanh where transformers applies "
    "hidden_act; no YosoForSequenceClassification equals it",
    "model.embeddings.dense.": "embedding_dim differs from dim; transformers' YOSO has no such "
    "projection",
}
_UNSUPPORTED_PARTS = {
    ".mlpblock.": "a model of the Long Range Arena experiments (pre-LayerNorm), which "
    "transformers' YOSO is not",
}

_ORIGINAL_LAYER = re.compile(
    r"model\.(?:backbone\.){0,2}(?:(?:transformer_|encoders\.)(\d{1,6})|(transformer|encoder))\.(.+)"
)
# What wraps a whole model, and so is before every one of its names: DataParallel and DeepSpeed,
# torch.compile, FSDP, checkpointed activations, sentence-transformers.
_WRAPPERS = (
    "module.",
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
    "_forward_module.",
    "0.auto_model.",
    "0.model.",
    "auto_model.",
)
# Attributes that hold a model in somebody's class (Lightning's habit), but are the authors' and
# transformers' own, too: a wrapper only if what is below still reads as a model.
_PERHAPS = ("model.", "yoso.", "encoder.", "backbone.", "net.")
_BELOW = ("yoso.", "encoder.layer.", "model.", *_WRAPPERS)
# Wrappers of single modules within a model.
_WITHIN = re.compile(r"\.(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")
#: Where the weights of a model are, and what those are called; all else is no weight of it.
_WEIGHT = re.compile(
    rf"(?:{'|'.join(map(re.escape, (BASE_PREFIX, *HEAD_PREFIXES)))})(?:.+\.)?(?:weight|bias)"
)
_LEAF = re.compile(r"(.+)\.(weight|bias)")
_BUFFERS = re.compile(r"(?:yoso\.|model\.)?embeddings\.(?:position_ids|token_type_ids)")
_OLD_NORM = {"gamma": "weight", "beta": "bias"}


def is_original(names: Iterable[str]) -> bool:
    """Whether the names are those of the authors' code."""
    return any(name.startswith("model.embeddings.") for name in _unwrapped(names).values())


def is_shared(names: Iterable[str]) -> bool:
    """Whether the names are the authors' with one layer's weights for all layers."""
    matches = (_ORIGINAL_LAYER.fullmatch(name) for name in _unwrapped(names).values())
    return any(match is not None and match[2] is not None for match in matches)


def canonical_names(names: Iterable[str]) -> dict[str, str | None]:
    """Map the names of a checkpoint to canonical ones.

    Args:
        names: all the names of one checkpoint, in any dialect.

    Returns:
        The canonical name of each; None for what is no weight of a YOSO model (position buffers,
        the sentence heads of the authors' pretraining). A name of no dialect stays as it is, for
        the loader to report. A layer that all layers share is named as layer 0.

    Raises:
        CheckpointError: the checkpoint is one of the authors' that transformers' architecture
            cannot express, or two of its names mean the same weight.
    """
    result: dict[str, str | None] = {}
    sources: dict[str, str] = {}
    for name, plain in _unwrapped(names).items():
        target = _canonical(name, plain)
        result[name] = target
        if target is None:
            continue
        if target in sources:
            raise CheckpointError(
                f"wanted each weight once, got {quote(sources[target])} and {quote(name)}, "
                f"which are both {quote(target)}"
            )
        sources[target] = name
    return result


def to_canonical(state: Mapping[str, Array]) -> State:
    """Rename the weights of a checkpoint to canonical names; what is no weight is left out.

    Ties are not filled in: `model.parameters` does that, for every source alike. Integers and
    booleans that are no weight (`num_batches_tracked`, positions, masks) are left out.

    Args:
        state: weights by name, as `read_state` returns them.

    Raises:
        CheckpointError: as `canonical_names`, or a weight is neither floating point nor int8 with
            its scales.
    """
    source = State.of(state)
    names = canonical_names(source).items()
    renamed = {to: source.tensor(name) for name, to in names if to is not None}
    odd = [
        name
        for name, tensor in renamed.items()
        if tensor.dtype not in FLOATS and not (tensor.dtype == "I8" and name + SCALE in renamed)
    ]
    wrong = [name for name in odd if _WEIGHT.fullmatch(name)]
    if wrong:
        raise CheckpointError(
            f"wanted weights of the dtypes {', '.join(FLOATS)}, got "
            f"{quote(wrong[0])} in {renamed[wrong[0]].dtype} ({len(wrong)} such weights); "
            "of quantised checkpoints only our own are read"
        )
    return State({name: tensor for name, tensor in renamed.items() if name not in odd})


def _unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Return each name without the wrappers that all the names have, in any stack."""
    plain = {name: _WITHIN.sub("", name) for name in names}
    while wrapper := _wrapper(plain.values()):
        plain = {name: rest[len(wrapper) :] for name, rest in plain.items()}
    return plain


def _wrapper(names: Collection[str]) -> str | None:
    for wrapper in (*_WRAPPERS, *_PERHAPS):
        if not names or not all(name.startswith(wrapper) for name in names):
            continue
        below = (name[len(wrapper) :] for name in names)
        if wrapper in _WRAPPERS or any(name.startswith(_BELOW) for name in below):
            return wrapper
    return None


def _canonical(source: str, name: str) -> str | None:
    head, _, leaf = name.rpartition(".")
    if leaf in _OLD_NORM and head.endswith(("LayerNorm", "norm", "norm1", "norm2")):
        name = f"{head}.{_OLD_NORM[leaf]}"
    if _BUFFERS.fullmatch(name) or name.startswith(_DROPPED):
        return None
    for prefix, reason in _UNSUPPORTED.items():
        if name.startswith(prefix):
            raise CheckpointError(f"{quote(source)}: unsupported: {reason}")
    for part, reason in _UNSUPPORTED_PARTS.items():
        if part in name:
            raise CheckpointError(f"{quote(source)}: unsupported: {reason}")
    if name.startswith(("embeddings.", "encoder.")):
        return BASE_PREFIX + name
    return _from_original(name) or name


def _from_original(name: str) -> str | None:
    match = _ORIGINAL_LAYER.fullmatch(name)
    if match is not None:
        index, rest, table = int(match[1] or 0), match[3], _LAYER
        prefix = BASE_PREFIX + layer_prefix(index)
    elif name.startswith("model.embeddings."):
        rest, table, prefix = name[len("model.embeddings.") :], _EMBEDDINGS, BASE_PREFIX
    else:
        rest, table, prefix = name, _TOP, ""
    leaf = _LEAF.fullmatch(rest)
    if leaf is None or leaf[1] not in table:
        return None
    return f"{prefix}{table[leaf[1]]}.{leaf[2]}"
