"""Every parameter of every head by transformers' name: shapes, checks, random values."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from yosort.config import YosoConfig
from yosort.errors import CheckpointError, show
from yosort.model.architectures import (
    ARCHITECTURES,
    BASE_PREFIX,
    DECODER_BIAS,
    DECODER_WEIGHT,
    EMBEDDINGS,
    HEAD_PREFIXES,
    LAYER,
    MLM_BIAS,
    TIES,
    WORD_EMBEDDINGS,
    Weights,
    layer_prefix,
)
from yosort.quantized import Weight
from yosort.widened import Widened

_log = logging.getLogger("yosort")

State = Mapping[str, Weight]
Shapes = dict[str, tuple[int, ...]]


def sizes(config: YosoConfig) -> dict[str, int | None]:
    """Return the sizes that the shapes of `architectures` name; None: the config has none."""
    return {
        "vocabulary": config.vocab_size,
        # Positions count from 2, as in RoBERTa: the first two rows are never used.
        "positions": config.max_position_embeddings + 2,
        "token_types": config.type_vocab_size,
        "hidden": config.hidden_size,
        "inner": config.intermediate_size,
        "heads": config.num_attention_heads,
        "window": config.conv_window,
        "labels": len(config.label_names),
    }


def base_shapes(config: YosoConfig) -> Shapes:
    """Return the encoder's parameters (names with the `yoso.` prefix) and their shapes."""
    layers = range(config.num_hidden_layers)
    weights = {layer_prefix(i) + name: shape for i in layers for name, shape in LAYER.items()}
    shapes = _shapes({**EMBEDDINGS, **weights}, config)
    return {BASE_PREFIX + name: shape for name, shape in shapes.items()}


def head_shapes(config: YosoConfig, head: str | None) -> Shapes:
    """Return the parameters of a head (None: none) and their shapes."""
    found = [row.weights for row in ARCHITECTURES.values() if row.head == head]
    if not found:
        raise ValueError(f"no such head: {head}")
    return _shapes(found[0], config)


def _shapes(weights: Weights, config: YosoConfig) -> Shapes:
    known = sizes(config)
    shapes: Shapes = {}
    for name, shape in weights.items():
        numbers = [known[size] if isinstance(size, str) else size for size in shape]
        if None not in numbers:
            shapes[name] = tuple(number for number in numbers if number is not None)
    return shapes


def stored(parameters: State) -> dict[str, Weight]:
    """Return the parameters that a file must hold: shared ones once, under the name kept by ties.

    transformers leaves out the decoder's weight and bias when they are tied, and so does this.
    """
    left_out = {
        name
        for name, source in ((DECODER_WEIGHT, WORD_EMBEDDINGS), (DECODER_BIAS, MLM_BIAS))
        if name in parameters and parameters[name] is parameters[source]
    }
    return {name: array for name, array in parameters.items() if name not in left_out}


class OtherHeadError(CheckpointError):
    """Weights of which the encoder's are right, and the head's are not."""


def select(
    state: State, config: YosoConfig, head: str | None, *, where: str, allow_random_head: bool
) -> tuple[dict[str, Weight], list[str]]:
    """Pick a model's parameters out of a checkpoint, ties filled in.

    Args:
        state: the checkpoint under canonical names (`yoso.` before the encoder's).
        config: says what must be there, and how large.
        head: the wanted head, or None for the bare encoder.
        where: what messages call the checkpoint.
        allow_random_head: let the whole head be absent, or weights of it have another shape.

    Returns:
        The parameters by name, and the names of the head's that must be drawn at random.

    Raises:
        CheckpointError: all missing, unexpected and wrongly shaped weights, in one message.
    """
    base, own = base_shapes(config), head_shapes(config, head)
    wanted = {**base, **own}
    found = {name: state[name] for name in wanted if name in state}
    _tie(found, own, config)
    missing = [name for name in wanted if name not in found]
    # Heads share names ("classifier.weight"), so a head is random only if none of it is there.
    random = [name for name in missing if name in own]
    bare = not any(name in state for name in own)
    if allow_random_head and bare:
        missing = [name for name in missing if name not in own]
    else:
        random = []
    unexpected = [name for name in state if name not in wanted and not _is_foreign_head(name, own)]
    misshapen = [
        name
        for name, shape in wanted.items()
        if name in found and tuple(found[name].shape) != shape
    ]
    if missing and not any(name in state for name in wanted):
        raise CheckpointError(
            f"{where}: wanted the weights of a YOSO model, such as {', '.join(list(wanted)[:2])}; "
            f"got none of them, but {_some(state)}"
        )
    if allow_random_head:  # as transformers' ignore_mismatched_sizes
        random += [name for name in misshapen if name in own]
        misshapen = [name for name in misshapen if name not in own]
        found = {name: weight for name, weight in found.items() if name not in random}
    shapes = [
        f"{name}: wanted {list(wanted[name])}, got {list(found[name].shape)}" for name in misshapen
    ]
    other_head = bool(misshapen) and all(name in own for name in misshapen)
    _report(where, state, missing, unexpected, shapes, own, bare, other_head)
    strangers = [name for name in state if not name.startswith((BASE_PREFIX, *HEAD_PREFIXES))]
    if strangers:
        _log.warning("%s: left aside, for no YOSO model has them: %s", where, _some(strangers))
    return found, random


def _tie(found: dict[str, Weight], own: Shapes, config: YosoConfig) -> None:
    """Fill in what a tied checkpoint leaves out, and share what it holds twice.

    Where both of a pair are there and differ, both count as they are: so transformers reads them.
    """
    if not config.tie_word_embeddings:
        return
    for name, source in TIES:
        if name not in own or source not in found:
            continue
        if name not in found or _are_equal(found[name], found[source]):
            found[name] = found[source]


def _are_equal(first: Weight, second: Weight) -> bool:
    if isinstance(first, Widened) and isinstance(second, Widened):
        return np.array_equal(first.bits, second.bits)
    return first.shape == second.shape and np.array_equal(first, second)


def _is_foreign_head(name: str, own: Shapes) -> bool:
    """Whether a weight belongs to another head than the wanted one, which is left aside."""
    return not name.startswith(BASE_PREFIX) and (not own or name.split(".")[0] not in _roots(own))


def _roots(names: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def _some(names: Collection[str]) -> str:
    shown = ", ".join(show(name) for name in list(names)[:6])
    return f"{shown or 'nothing'}{f' ... ({len(names)} names)' if len(names) > 6 else ''}"


def _report(
    where: str,
    state: State,
    missing: list[str],
    unexpected: list[str],
    misshapen: list[str],
    own: Shapes,
    bare: bool,
    other_head: bool,
) -> None:
    kinds = (("missing", missing), ("unexpected", unexpected), ("wrong shape", misshapen))
    lines = [f"  {kind}: {entry}" for kind, entries in kinds for entry in entries]
    if not lines:
        return
    hint = ""
    aside = [name for name in state if not name.startswith(BASE_PREFIX) and name not in own]
    aside.sort(key=lambda name: name.startswith(HEAD_PREFIXES))  # names of nothing known first
    if aside and missing:
        hint = f"\nThe checkpoint holds besides: {_some(aside)}."
    # A head drawn at random helps if nothing else is wrong.
    if bare and len(lines) == len([name for name in missing if name in own]):
        hint += (
            "\nThe checkpoint has no such head. Load it into the class that its config names, "
            "or pass allow_random_head=True to draw the head at random."
        )
    elif other_head and not missing and not unexpected:
        hint = (
            "\nThe head has another shape than the checkpoint's: load it with the checkpoint's "
            "num_labels, or pass allow_random_head=True to draw what does "
            "not fit at random."
        )
    of_head = not any(n.startswith(BASE_PREFIX) for n in (*missing, *unexpected, *misshapen))
    raise (OtherHeadError if of_head else CheckpointError)(
        f"{where}: {len(lines)} weights do not fit the model that the config describes:\n"
        + "\n".join(lines)
        + hint
    )


def random_parameters(
    names: Iterable[str], config: YosoConfig, head: str | None, seed: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Draw parameters as the paper's BERT does: N(0, initializer_range), biases 0, scales 1.

    Each parameter has a stream of its own, so that what one is does not depend on the others.
    """
    shapes = {**base_shapes(config), **head_shapes(config, head)}
    drawn: dict[str, npt.NDArray[np.float32]] = {}
    for name in names:
        shape = shapes[name]
        if name.endswith("LayerNorm.weight"):
            drawn[name] = np.ones(shape, np.float32)
        elif name.endswith("bias"):
            drawn[name] = np.zeros(shape, np.float32)
        else:
            stream = np.random.default_rng([seed, *name.encode()])
            values = stream.standard_normal(shape, np.float32) * np.float32(
                config.initializer_range
            )
            drawn[name] = values
            if name == WORD_EMBEDDINGS and config.pad_token_id is not None:
                values[config.pad_token_id] = 0.0
    return drawn
