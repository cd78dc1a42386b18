"""One list of op cases: what each draws, how a backend runs it, and its definition's answer.

A case's arrays are float32 from a seed. A backend gets them in its own type, and is judged by the
definition of what it got, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tolerances import BFLOAT16, BFLOAT16_ROUNDING, HALF_ROUNDING, INT8, OP, POLE

from yosort.activations import ACTIVATIONS
from yosort.model.encoder import Layer
from yosort.ops import definitions
from yosort.ops.hashing import gaussian_projection, hash_signs
from yosort.ops.interface import EmbeddingTables, HashFunctions, LayerNorm, LayerTail, Layout

Arrays = dict[str, np.ndarray]
#: A definition's answer, and how far from it each value may be.
Answer = tuple[np.ndarray, Any]
#: The linear maps of a layer's tail, and the one after it.
MAPS = ("output", "up", "down", "next")


def draw(seed: int, *shape: int) -> np.ndarray:
    """Return standard normals, float32."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def layout_of(
    lengths: Any, heads: int, hash_code_len: int, rows: Any = None, sampled: Any = False
) -> Layout:
    """Return the layout of packed texts; `rows` are the queries, None for every token.

    `sampled` says of each text, or of all, whether its attention is.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    queries = offsets if rows is None else np.searchsorted(rows, offsets)
    forms = np.broadcast_to(sampled, len(lengths))
    return Layout(heads, hash_code_len, queries, offsets, forms)


def texts_of(lengths: Any) -> list[slice]:
    """Return the rows of each packed text."""
    ends = np.cumsum(lengths)
    return [slice(int(end - n), int(end)) for n, end in zip(lengths, ends, strict=True)]


def split(qkv: Any) -> tuple[Any, Any, Any]:
    """Return the columns of q, k and v, as a layer's one product has them."""
    width = qkv.shape[1] // 3
    return qkv[:, :width], qkv[:, width : 2 * width], qkv[:, 2 * width :]


def near(value: np.ndarray, tolerance: float = OP) -> Answer:
    """Allow so much of the largest magnitude."""
    return value, tolerance * np.abs(value).max(initial=0.0)


def exact_product(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return x @ weight.T + bias."""
    return np.asarray(x @ weight.T + bias)


def place_norm(ops: Any, a: Arrays, name: str, eps: float) -> LayerNorm:
    """Prepare the layer normalisation whose scale and shift go by `name`."""
    return LayerNorm(ops.parameter(a[f"{name}.scale"]), ops.parameter(a[f"{name}.shift"]), eps)


def draw_norm(name: str, seed: int, width: int) -> Arrays:
    """Draw a scale and a shift."""
    return {f"{name}.scale": draw(seed, width), f"{name}.shift": draw(seed + 1, width)}


def norm_of(x: np.ndarray, a: Arrays, name: str, eps: float) -> np.ndarray:
    """Return x normalised, by the definition."""
    return definitions.layer_norm(x, a[f"{name}.scale"], a[f"{name}.shift"], eps)


class Case:
    """One op, with arguments of one shape.

    `draw` returns its arguments; `run` a backend's answers; `answers` the definition's, where the
    backend says what its products and tables hold.

    Attributes:
        roundings: how many times in a row a backend rounds to its type, at most.
        weighs: whether it multiplies by weights or reads tables: what may be quantised.
    """

    roundings, weighs = 1, False

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, vars(self).values()))})"


@dataclass(frozen=True)
class Linear(Case):
    """activation(x @ weight.T + bias); x is a column slice, the weights come in two parts."""

    rows: int
    depth: int
    columns: int
    activation: str = "linear"
    roundings, weighs = 2, True

    def draw(self) -> Arrays:
        x, weight = draw(1, self.rows, self.depth + 5), draw(2, self.columns, self.depth)
        return {"x": x, "weight": weight, "bias": draw(3, self.columns)}

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        x, parts = ops.from_host(a["x"])[:, 2 : self.depth + 2], [self.columns // 3]
        packed = ops.linear_map(np.split(a["weight"], parts), np.split(a["bias"], parts))
        return [ops.linear(x, packed, self.activation)]

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        product = backend.product(a["x"][:, 2 : self.depth + 2], a["weight"], a["bias"])
        return [near(definitions.activate(product, self.activation))]


@dataclass(frozen=True)
class Activation(Case):
    """An activation by itself: the map is the identity of one column."""

    activation: str
    reach: float
    points: int

    def draw(self) -> Arrays:
        return {"x": np.linspace(-self.reach, self.reach, self.points, dtype=np.float32)[:, None]}

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        identity = ops.linear_map([np.ones((1, 1), np.float32)], [np.zeros(1, np.float32)])
        return [ops.linear(ops.from_host(a["x"]), identity, self.activation)]

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        wanted = definitions.activate(a["x"], self.activation)
        return [(wanted, OP / 10 * np.maximum(np.abs(wanted), 1.0))]


@dataclass(frozen=True)
class Norm(Case):
    """Layer normalisation of rows that have a mean."""

    rows: int
    width: int
    scale: float = 3.0
    mean: float = 1.0
    eps: float = 1e-6
    tolerance: float = OP

    def draw(self) -> Arrays:
        x = draw(1, self.rows, self.width) * np.float32(self.scale) + np.float32(self.mean)
        return {"x": x} | draw_norm("norm", 2, self.width)

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        return [ops.layer_norm(ops.from_host(a["x"]), place_norm(ops, a, "norm", self.eps))]

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        return [near(norm_of(a["x"], a, "norm", self.eps), self.tolerance)]


@dataclass(frozen=True)
class AddNorm(Case):
    """norm(residual + x @ weight.T + bias)."""

    rows: int
    depth: int
    width: int
    tolerance: float = OP
    roundings, weighs = 3, True

    def draw(self) -> Arrays:
        linear, norm = Linear(self.rows, self.depth, self.width), draw_norm("norm", 5, self.width)
        return linear.draw() | norm | {"residual": draw(4, self.rows, self.width)}

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        x, residual = ops.from_host(a["x"])[:, 2 : self.depth + 2], ops.from_host(a["residual"])
        packed = ops.linear_map([a["weight"]], [a["bias"]])
        return [ops.add_norm(x, packed, residual, place_norm(ops, a, "norm", 1e-5))]

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        product = backend.product(a["x"][:, 2 : self.depth + 2], a["weight"], a["bias"])
        return [near(norm_of(a["residual"] + product, a, "norm", 1e-5), self.tolerance)]


@dataclass(frozen=True)
class Embed(Case):
    """Word, position and type embeddings and their norm; words are ids, or rows in their place."""

    words: int
    width: int
    types: int = 2
    ids: bool = True
    weighs = True

    def draw(self) -> Arrays:
        sizes = {"word": self.words, "position": 12, "type": self.types, "rows": 5}
        tables = {name: draw(i, n, self.width) for i, (name, n) in enumerate(sizes.items())}
        return tables | draw_norm("norm", 9, self.width)

    def numbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ids, positions and types [5]: the first and the last of each among them."""
        sizes = self.words, 12, self.types
        return tuple(np.array([n // 2, n - 1, 0, n - 1, n // 3]) for n in sizes)

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        norm, (ids, *others) = place_norm(ops, a, "norm", 1e-6), self.numbers()
        tables = EmbeddingTables(*(ops.table(a[n]) for n in ("word", "position", "type")), norm)
        return [ops.embed(tables, ids if self.ids else a["rows"], *others)]

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        ids, positions, types = self.numbers()
        words = backend.table(a["word"])[ids] if self.ids else a["rows"]
        total = words + backend.table(a["position"])[positions] + a["type"][types]
        return [near(norm_of(total, a, "norm", 1e-6))]


@dataclass(frozen=True)
class Tail(Case):
    """What follows a layer's attention, and the next layer's map; fused where a backend can.

    `exact` is the map that is not quantised, even where the others are.
    """

    rows: int
    hidden: int
    middle: int
    following: bool = True
    exact: str = ""
    fused: bool = True
    roundings, weighs, eps = 9, True, {"norm1": 1e-6, "norm2": 0.25}

    def draw(self) -> Arrays:
        hidden, middle = self.hidden, self.middle
        a = {"context": draw(40, self.rows, 3 * hidden), "x": draw(41, self.rows, hidden)}
        shapes = (hidden, hidden), (middle, hidden), (hidden, middle), (3 * hidden, hidden)
        for seed, (name, (out, into)) in enumerate(zip(MAPS, shapes, strict=True)):
            a[name] = draw(seed, out, into) / np.float32(into**0.5)
            a[f"{name}.bias"] = draw(seed + 10, out)
        return a | draw_norm("norm1", 20, hidden) | draw_norm("norm2", 30, hidden)

    def prepare(self, ops: Any, a: Arrays) -> tuple[LayerTail, Any]:
        """Return the tail and the next layer's map."""
        output, up, down, after = (
            ops.linear_map([a[name]], [a[f"{name}.bias"]], head=name == self.exact) for name in MAPS
        )
        first, second = (place_norm(ops, a, name, eps) for name, eps in self.eps.items())
        tail = LayerTail(output, first, up, "gelu", down, second)
        return tail, after if self.following else None

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        return self.apply(ops, *self.prepare(ops, a), a)

    def apply(self, ops: Any, tail: LayerTail, following: Any, a: Arrays) -> list[Any]:
        """Return the answers of maps that are prepared."""
        context, x = ops.from_host(a["context"])[:, : self.hidden], ops.from_host(a["x"])
        fused = ops.fuse(tail, following) if self.fused else None
        if fused is not None:
            return list(fused(context, x))[: 1 + self.following]
        out = Layer(None, None, tail).finish(ops, context, x)
        return [out, ops.linear(out, following)] if self.following else [out]

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        def product(x: np.ndarray, name: str) -> np.ndarray:
            product = exact_product if name == self.exact else backend.product
            return product(x, a[name], a[f"{name}.bias"])

        x = a["x"] + product(a["context"][:, : self.hidden], "output")
        attended = norm_of(x, a, "norm1", self.eps["norm1"])
        inner = definitions.activate(product(attended, "up"), "gelu")
        out = norm_of(attended + product(inner, "down"), a, "norm2", self.eps["norm2"])
        # What is rounded again after a step may go to the neighbour.
        tolerance = {"int8": INT8, "bfloat16": BFLOAT16}.get(backend.kind.split(",")[0], 3 * OP)
        return [near(out, tolerance), near(product(out, "next"), tolerance)][: 1 + self.following]


@dataclass(frozen=True)
class Attention(Case):
    """Both forms of attention over ragged texts, of every token or of each `step`-th alone.

    `form` is "expectation", "fast" or "gaussian", the hash of sampled attention.
    """

    form: str
    heads: int
    width: int
    num_hash: int
    hash_code_len: int
    lengths: tuple[int, ...]
    step: int = 1

    def draw(self) -> Arrays:
        qkv = draw(1, sum(self.lengths), 3 * self.heads * self.width)
        if len(qkv) > 3:  # rows without a direction, whose projections of 0 set no bit
            split(qkv)[0][2] = 0
            split(qkv)[1][-1] = 0
        return {"qkv": qkv}

    def functions(self) -> HashFunctions:
        """Draw the hash functions."""
        sizes = self.num_hash, self.hash_code_len, self.width
        if self.form == "fast":
            return HashFunctions(self.num_hash, hash_signs(*sizes, heads=self.heads, seed=3))
        projection = gaussian_projection(*sizes, heads=self.heads, seed=3)
        return HashFunctions(self.num_hash, projection=projection)

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Return the definition's codes of rows [rows, heads * width], [heads, rows, num_hash]."""
        rows, functions = x.reshape(len(x), self.heads, self.width).swapaxes(0, 1), self.functions()
        sizes = {"num_hash": self.num_hash, "hash_code_len": self.hash_code_len}
        if self.form == "fast":
            return definitions.fast_hash(rows.astype(np.float32), functions.signs, **sizes)
        return definitions.gaussian_hash(rows, functions.projection, **sizes)

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        rows = np.arange(0, len(a["qkv"]), self.step)
        return [self.attend(ops, a["qkv"], self.lengths, None if self.step == 1 else rows)]

    def attend(
        self, ops: Any, qkv: np.ndarray, lengths: Any, rows: Any = None, sampled: Any = None
    ) -> Any:
        """Return the context of these texts, or some of its rows; `sampled` as of `layout_of`."""
        if sampled is None:
            sampled = self.form != "expectation"
        layout = ops.layout(layout_of(lengths, self.heads, self.hash_code_len, rows, sampled))
        query, key, value = split(ops.from_host(qkv))
        if rows is not None:
            query = ops.take(query, rows)
        if self.form == "expectation":
            return ops.attention(query, key, value, layout)
        functions = ops.hash_functions(self.functions())
        return ops.attention(query, key, value, layout, functions)

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        """Normalise sums that are near the definition's: what cancels in them is less certain."""
        query, key, value = split(a["qkv"])
        context, bounds = np.zeros(query.shape), np.zeros(query.shape)
        codes = [None if self.form == "expectation" else self.codes(x) for x in (query, key)]
        for text in texts_of(self.lengths):
            for head in range(self.heads):
                at = text, slice(head * self.width, (head + 1) * self.width)
                q, k, v = query[at], key[at], value[at]
                both = np.concatenate([v, np.abs(v)], axis=1)[None]
                if self.form == "expectation":
                    narrow = backend.attention_type == "bfloat16"
                    direction = (
                        definitions.bfloat16_directions if narrow else definitions.l2_normalize
                    )
                    q, k = (direction(x)[None] for x in (q, k))
                    error = error_of_weights(q, k, self.hash_code_len)[0] @ np.abs(v)
                    sums = definitions.expected_attention(
                        q, k, both, hash_code_len=self.hash_code_len
                    )
                    roundings = {"bfloat16": 2 * BFLOAT16_ROUNDING, "float16": HALF_ROUNDING}
                    rounding = roundings.get(backend.attention_type, 0.0)  # of weights, values
                    error = error + rounding * sums[0, :, self.width :]
                else:
                    here = [c[head : head + 1, text] for c in codes]
                    sums = definitions.lsh_cumulation(*here, both, hash_code_len=self.hash_code_len)
                    error = self.unclear(np.concatenate([q, k]), head) * np.abs(v).sum(axis=0)
                error = error + OP / 10 * sums[0, :, self.width :]
                length = np.linalg.norm(sums[0, :, : self.width], axis=1, keepdims=True)
                error = np.linalg.norm(error, axis=1, keepdims=True)
                context[at] = definitions.l2_normalize(sums[0, :, : self.width])
                bounds[at] = np.clip(2 * error / np.maximum(length, 1e-12), OP, 1)
        return [(context[:: self.step], bounds[:: self.step])]

    def unclear(self, x: np.ndarray, head: int) -> float:
        """Return the share of hash functions that tell nothing: a projection near 0 may turn."""
        if self.form == "fast":
            return 0.0
        near_zero = (np.abs(x @ self.functions().projection[head]) < OP) & x.any(axis=1)[:, None]
        return float(near_zero.any(axis=0).reshape(self.num_hash, -1).any(axis=1).mean())


class Codes(Attention):
    """The keys' codes of the fast hash, the same bits on every backend that hands them out."""

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        functions = ops.hash_functions(self.functions())
        return [ops.codes(split(ops.from_host(a["qkv"]))[1], functions, self.hash_code_len)]

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        return [(self.codes(split(a["qkv"])[1]).swapaxes(1, 2), 0)]


@dataclass(frozen=True)
class Convolution(Case):
    """context + the convolution of value over slots that a mask leaves gaps between."""

    lengths: tuple[int, ...]
    heads: int
    window: int
    gaps: bool = True
    keep: bool = False
    step: int = 1
    width: int = 5

    def draw(self) -> Arrays:
        total, width = sum(self.lengths), self.heads * self.width
        a = {"value": draw(2, total, 2 * width), "weight": draw(3, self.heads, self.window)}
        return a | {"context": draw(1, total, width)[:: self.step]}

    def layout(self) -> Layout:
        """Return the layout, with values that must not be seen where some are kept."""
        total = sum(self.lengths)
        rng, rows = np.random.default_rng(total), np.arange(0, total, self.step)
        steps = rng.integers(1, 4 if self.gaps else 2, total).astype(np.int32)
        slots = np.concatenate([np.cumsum(steps[text]) for text in texts_of(self.lengths)])
        kept = rng.integers(0, 2, total).astype(np.float32) if self.keep else None
        layout = layout_of(self.lengths, self.heads, 4, rows)
        slots = slots.astype(np.int32)
        return replace(layout, query_slots=slots[rows], slots=slots, keep=kept)

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        value = ops.from_host(a["value"])[:, : self.heads * self.width]
        weight, layout = ops.parameter(a["weight"]), ops.layout(self.layout())
        return [ops.add_convolution(ops.from_host(a["context"]), value, weight, layout)]

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        layout = self.layout()
        value = a["value"][:, : self.heads * self.width]
        value = value if layout.keep is None else value * layout.keep[:, None]
        value = value.reshape(len(value), self.heads, self.width)
        parts = [
            definitions.depthwise_convolution(value[text], a["weight"], layout.slots[text])
            for text in texts_of(self.lengths)
        ]
        out = np.concatenate(parts)[:: self.step]
        return [near(a["context"] + out.reshape(a["context"].shape))]


@dataclass(frozen=True)
class TakePut(Case):
    """Rows out of an array, and back to their places among zeros."""

    rows: int
    taken: tuple[int, ...]

    def draw(self) -> Arrays:
        return {"x": draw(1, self.rows, 7)}

    def run(self, ops: Any, a: Arrays) -> list[Any]:
        rows = np.array(self.taken, np.int64)
        taken = ops.take(ops.from_host(a["x"]), rows)
        return [taken, ops.put(taken, ops.from_host(rows), self.rows)]

    def answers(self, a: Arrays, backend: Any) -> list[Answer]:
        rows, put = np.array(self.taken, np.int64), np.zeros_like(a["x"])
        put[rows] = a["x"][rows]
        return [(a["x"][rows], 0.0), (put, 0.0)]


def error_of_weights(q: np.ndarray, k: np.ndarray, hash_code_len: int) -> np.ndarray:
    """Return how far each weight p ** tau of expected attention may be off in float32.

    An error of p is one of tau * p ** (tau - 1), small where p is. Near the poles, where the cosine
    is 1 or -1, p knows less; one dimension has nothing else.
    """
    cosine = np.clip(q.astype(np.float64) @ k.astype(np.float64).swapaxes(-1, -2), -1, 1)
    p = 1 - np.arccos(cosine) / np.pi
    p_error = np.where(np.abs(cosine) > 0.99, POLE, OP / 10)
    return np.asarray(hash_code_len * p_error * np.minimum(p + p_error, 1) ** (hash_code_len - 1))


#: heads, head_dim, num_hash, hash_code_len, lengths of the texts: every length of code once. Long
#: codes take many passes on a GPU, wide heads many blocks: never both, for the emulator's sake.
SHAPES = [
    (1, 8, 1, 1, (1,)),
    (2, 8, 3, 2, (4, 0, 9)),
    (1, 1, 5, 3, (6,)),
    (3, 5, 4, 4, (0, 3, 8, 0)),
    (3, 16, 13, 5, (13, 24, 3)),
    (5, 8, 3, 6, (2, 7)),
    (1, 17, 6, 7, (11,)),
    (1, 48, 130, 8, (21,)),
    (2, 64, 32, 9, (7, 1, 33)),
    (2, 128, 5, 10, (5, 12)),
    (1, 33, 6, 11, (2, 2, 2, 40)),
    (4, 20, 9, 12, (64,)),
    (2, 3, 2, 13, (9, 4)),
    (1, 16, 3, 14, (5,)),
    (1, 7, 2, 15, (3, 3)),
    (1, 8, 5, 16, (5, 12)),
    (2, 72, 4, 9, (5, 18)),  # more value dims than a block of tensor cores has, not twice as many
    (1, 300, 600, 1, (3,)),
    (1, 520, 2, 11, (2, 3)),
]
FORMS = ["expectation", "fast", "gaussian"]
#: One name of each formula.
FORMULAS = sorted({formula: name for name, formula in ACTIVATIONS.items()}.values())

CASES: list[Case] = [
    *(Linear(*sizes) for sizes in ((0, 7, 11), (1, 33, 70), (5, 385, 33), (60, 700, 129))),
    *(Linear(18, 7, 11, activation) for activation in sorted(ACTIVATIONS)),
    *(Activation(formula, reach, 1_001) for formula in FORMULAS for reach in (1e-3, 12, 200)),
    *(Norm(rows, width) for rows, width in ((0, 8), (5, 1), (5, 31), (5, 64), (5, 300), (5, 768))),
    Norm(20, 64, 1.0, 100.0, 1e-12),  # the squares' mean less the mean's square would lose it all
    *(AddNorm(*sizes) for sizes in ((0, 5, 8), (6, 24, 31), (9, 300, 64))),
    *(Embed(9, width) for width in (1, 31, 64, 300, 768)),
    *(Embed(70, 33), Embed(9, 33, types=1), Embed(9, 31, ids=False), Embed(70, 64, 1, ids=False)),
    *(Tail(6, 24, 40, following) for following in (False, True)),
    *(Tail(*sizes) for sizes in ((0, 8, 8), (5, 33, 1), (5, 1, 3), (5, 48, 80))),
    *(Attention(form, *shape) for form in FORMS for shape in SHAPES),
    *(Attention(form, *shape, step=2) for form in FORMS for shape in SHAPES[3:15:3]),
    *(Attention(form, 2, 8, 3, 4, (0, 0)) for form in FORMS),
    Attention("expectation", 1, 8, 1, 4, (400, 3)),  # more keys than a block of them
    *(Codes("fast", *shape) for shape in SHAPES),
    Codes(
        "fast", 1, 1100, 2, 13, (7, 5)
    ),  # a transform of 2,048, and more rows than a block takes of it
    *(
        Convolution((5, 0, 6), 2, 5, keep=keep, step=step)
        for keep in (False, True)
        for step in (1, 3)
    ),
    *(Convolution((3, 9), 3, window, gaps=False) for window in (1, 3, 35)),
    *(TakePut(9, rows) for rows in ((), (0, 8), (3, 1, 2))),
]

#: Shapes that nobody made up, for the backends that are quick enough.
ANY_LINEAR = st.builds(
    Linear,
    st.integers(0, 150),
    st.integers(1, 900) | st.integers(1, 2100),
    st.integers(1, 100),
)
ANY_NORM = st.builds(
    Norm,
    st.integers(0, 70),
    st.integers(1, 130),
    st.sampled_from([1e-3, 1.0, 1e3]),
    mean=st.just(0.0),
    eps=st.just(1e-5),
    tolerance=st.just(10 * OP),
)
ANY_ADD_NORM = st.builds(
    AddNorm, st.integers(0, 70), st.integers(1, 40), st.integers(1, 130), st.just(10 * OP)
)
ANY_LENGTHS = st.lists(st.integers(0, 70), min_size=1, max_size=6).map(tuple)
ANY_ATTENTION = st.builds(
    Attention,
    st.sampled_from(FORMS),
    st.integers(1, 3),
    st.integers(1, 80),
    st.integers(1, 20),
    st.integers(1, 16),
    ANY_LENGTHS,
)
ANY_CONVOLUTION = st.builds(
    Convolution,
    ANY_LENGTHS,
    st.integers(1, 3),
    st.sampled_from([1, 3, 9, 35]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 3),
)
