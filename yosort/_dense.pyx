# cython: language_level=3
"""The choice of kernels; linear maps, the rest of a layer, layer normalisation with them.

Arrays are float32 and checked by the callers in ops/cpu/. Loops run without the GIL.
"""

from libc.stdint cimport int8_t, int64_t

from functools import reduce
from itertools import accumulate

import numpy as np

from yosort._kernels cimport ceil_div, ys_kernels, ys_linear, ys_product, ys_request_tiles, ys_tail, ys_variant
from yosort._threads cimport ThreadPool, ys_pool_run

from yosort._threads import on_a_cache_line
from yosort.quantized import Quantized

# Fewer rows than this a thread, and the columns are shared out instead: each weight is then read
# by one core only.
cdef int64_t FEW_ROWS = 24


def _activation_codes():
    cdef const char *const *names = ys_variant(0).activations
    codes = {}
    while names[len(codes)] != NULL:
        codes[names[len(codes)].decode()] = len(codes)
    return codes


#: The number of each activation.
ACTIVATION_CODES = _activation_codes()


def request_tiles():
    """Ask the system for the processor's matrix unit.

    Returns:
        Whether its table is there from now on; None where there is no unit, or none that was compiled.
    """
    granted = ys_request_tiles()
    return None if granted < 0 else bool(granted)


def available_instruction_sets():
    """Return the names of the kernel tables this processor can run, best first."""
    cdef const ys_kernels *table = ys_variant(0)
    names = []
    while table != NULL:
        names.append(table.name.decode())
        table = ys_variant(len(names))
    return names


cdef class Kernels:
    """One kernel table, by the name of its instruction set; None for the best."""

    def __cinit__(self, str name=None):
        names = available_instruction_sets()
        if name is not None and name not in names:
            raise ValueError(f"no kernels for {name!r}; there are {names}")
        self.table = ys_variant(0 if name is None else names.index(name))

    @property
    def name(self):
        """The instruction set."""
        return self.table.name.decode()

    @property
    def slice(self):
        """Value dims that one table of buckets holds."""
        return self.table.slice

    @property
    def products(self):
        """Names of the ways to multiply by a weight."""
        names = []
        while self.table.products[len(names)] != NULL:
            names.append(self.table.products[len(names)].name.decode())
        return names

    def multiplies(self, str name):
        """Whether an instruction multiplies just what this product does; else float32's does."""
        return self.product(name).native

    cdef const ys_product *product(self, str name) except NULL:
        names = self.products
        if name not in names:
            raise ValueError(f"no product {name!r}; there are {names}")
        return self.table.products[names.index(name)]


def quantize(Kernels kernels, weight):
    """Return weight [out, in] as int8 with a scale for each row; a `Quantized` comes back as it is."""
    if isinstance(weight, Quantized):
        return weight
    cdef const float[:, ::1] source = np.ascontiguousarray(weight, np.float32)
    cdef Py_ssize_t rows = source.shape[0], depth = source.shape[1], r
    values, scales = np.zeros((rows, depth), np.int8), np.zeros(rows, np.float32)
    cdef int8_t[:, ::1] target = values
    cdef float[::1] scale = scales
    if depth:
        with nogil:
            for r in range(rows):
                scale[r] = kernels.table.quantize_row(&source[r, 0], depth, &target[r, 0])
    return Quantized(values, scales)


cdef class PackedLinear:
    """Weight [out, in] in the panels of a product, and its bias; immutable.

    kind: the product's name, one of `Kernels.products`: "float32"; "bfloat16"; "int8", a product of
    integers; or, in a float32 product, "narrow", int8 weights, and "rounded", those of bfloat16.
    """

    def __cinit__(self, Kernels kernels, weights, biases, str kind="float32"):
        """Pack the rows of several weights [out_i, in] as one, converting them on the way."""
        cdef const ys_product *product = kernels.product(kind)
        cdef Py_ssize_t depth = weights[0].shape[1], count, at = 0
        cdef Py_ssize_t columns = sum(w.shape[0] for w in weights)
        cdef Py_ssize_t panels = ceil_div(columns, product.nr)
        cdef char *target
        cdef const void *source
        self.in_features, self.out_features = depth, columns
        self.padded_bias = np.zeros(panels * product.nr, np.float32)
        self.scales = np.zeros(panels * product.nr, np.float32) if product.quantized else None
        size = panels * product.panel_bytes(depth)
        self.panels = on_a_cache_line((size + 3) // 4 * 4).view(np.float32)
        target = <char *><size_t>self.panels.ctypes.data
        # About 4 MB at a time: a half-precision checkpoint is never whole in float32 twice.
        step = max(1, (1 << 20) // (max(depth, 1) * product.nr)) * product.nr
        for rows in _blocks(weights, step):
            count = rows.shape[0]
            if product.quantized:
                rows = quantize(kernels, rows)
                self.scales[at : at + count] = rows.scales
                rows = np.ascontiguousarray(rows.values)
            else:
                rows = np.ascontiguousarray(rows, np.float32)
            source = <const void *><size_t>rows.ctypes.data
            if depth and count:
                with nogil:
                    product.pack_weight(source, depth, count, depth,
                                        target + at // product.nr * product.panel_bytes(depth))
            at += count
        at = 0
        for weight, bias in zip(weights, biases, strict=True):
            if bias is not None:
                self.padded_bias[at : at + weight.shape[0]] = bias
            at += weight.shape[0]
        self.map.product, self.map.depth, self.map.columns = product, depth, columns
        self.map.panels = target
        self.map.bias = <const float *><size_t>self.padded_bias.ctypes.data
        if product.quantized:
            self.map.scales = <const float *><size_t>self.scales.ctypes.data

    @property
    def kind(self):
        """The product's name."""
        return self.map.product.name.decode()

    def rows(self, ids):
        """Return the float32 weights [len(ids), in] of the outputs `ids` of a "narrow" map."""
        panel = self.map.product.nr
        values = self.panels.view(np.int8)[: self.scales.size * self.in_features]
        values = values.reshape(-1, self.in_features, panel)[ids // panel, :, ids % panel]
        return values.astype(np.float32) * self.scales[ids][:, None]

    @property
    def nbytes(self):
        """Bytes held."""
        scales = 0 if self.scales is None else self.scales.nbytes
        return self.panels.nbytes + self.padded_bias.nbytes + scales


def _blocks(weights, step):
    """Yield [step, in] blocks of the weights' rows laid end to end, the last one shorter."""
    *starts, total = accumulate((w.shape[0] for w in weights), initial=0)
    for at in range(0, total, step):
        parts = [w[max(at - s, 0) : max(at + step - s, 0)] for w, s in zip(weights, starts)]
        yield reduce(_join, [part for part in parts if part.shape[0]])


def _join(first, second):
    if isinstance(first, Quantized) and isinstance(second, Quantized):
        return first.followed_by(second)
    return np.concatenate([first, second])


cdef struct LinearJob:
    const ys_kernels *kernels
    const ys_linear *map
    const float *x
    int64_t stride, rows, row_block, column_block, column_blocks
    int activation
    float *out
    float *scratch
    int64_t scratch_size


cdef void linear_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef LinearJob *job = <LinearJob *>argument
    cdef int64_t row = unit // job.column_blocks * job.row_block
    cdef int64_t column = unit % job.column_blocks * job.column_block
    cdef int64_t columns = job.map.columns
    job.kernels.linear_rows(
        job.map, job.x + row * job.stride, job.stride, min(job.row_block, job.rows - row),
        job.activation, column,
        min(column + job.column_block, columns), job.out + row * columns + column, columns,
        job.scratch + worker * job.scratch_size,
    )


cdef int64_t row_blocks_of(int64_t rows, int threads, int64_t block) noexcept nogil:
    """How many blocks to cut rows into: a multiple of the threads, near `block` rows each."""
    cdef int64_t rounds = ceil_div(rows, threads * block)
    return max(rounds * threads, 1)


def linear(Kernels kernels, ThreadPool pool, const float[:, :] x, PackedLinear packed, int activation,
           float[:, ::1] out):
    """Compute out = activation(x W^T + b): x [rows, in] (any row stride), out [rows, out]."""
    cdef LinearJob job
    cdef int threads = pool.pool.size
    cdef const ys_product *product = packed.map.product
    cdef int64_t rows = x.shape[0], columns = packed.out_features, units
    cdef float[::1] scratch
    if rows == 0 or columns == 0:
        return
    job.kernels, job.map = kernels.table, &packed.map
    job.x, job.stride, job.rows = &x[0, 0], x.strides[0] // <Py_ssize_t>sizeof(float), rows
    job.activation, job.out = activation, &out[0, 0]
    if rows >= threads * FEW_ROWS:
        job.row_block = ceil_div(rows, row_blocks_of(rows, threads, product.mc))
        job.column_block, job.column_blocks = columns, 1
    else:
        # Four shares a thread even out cores of unequal speed.
        job.row_block = min(rows, product.mc)
        job.column_block = max(1, ceil_div(columns, product.nr) // (4 * threads)) * product.nr
        job.column_blocks = ceil_div(columns, job.column_block)
    units = ceil_div(rows, job.row_block) * job.column_blocks
    job.scratch_size = kernels.table.packed_rows(job.map, job.row_block)
    scratch = pool.workspace.floats(threads * job.scratch_size + 1)
    job.scratch = &scratch[0]
    with nogil:
        ys_pool_run(&pool.pool, linear_unit, &job, units)


cdef struct TailJob:
    const ys_kernels *kernels
    ys_tail tail
    int64_t rows, row_block
    float *scratch
    int64_t scratch_size


cdef void tail_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef TailJob *job = <TailJob *>argument
    cdef int64_t first = unit * job.row_block
    job.kernels.tail_rows(
        &job.tail, first, min(job.row_block, job.rows - first), job.scratch + worker * job.scratch_size
    )


def worth_fusing(ThreadPool pool, Py_ssize_t rows):
    """Whether `layer_tail` beats its steps one by one: enough rows for each thread's block."""
    return rows >= pool.pool.size * FEW_ROWS


def layer_tail(Kernels kernels, ThreadPool pool, const float[:, :] context, const float[:, :] x,
               PackedLinear output, const float[::1] scale1, const float[::1] shift1, float eps1,
               PackedLinear up, int activation, PackedLinear down,
               const float[::1] scale2, const float[::1] shift2, float eps2,
               PackedLinear following, float[:, ::1] out, next_out):
    """Finish a layer, see kernels/cpu/layer.h: context and x [rows, hidden] (any row stride), out alike.

    following and next_out [rows, following.out_features] may be None.
    """
    cdef TailJob job
    cdef int threads = pool.pool.size
    cdef float[:, ::1] next_view
    cdef float[::1] scratch
    job.rows = x.shape[0]
    if job.rows == 0:
        return
    job.kernels = kernels.table
    job.tail.output, job.tail.up, job.tail.down = output.map, up.map, down.map
    job.tail.norm1.scale, job.tail.norm1.shift, job.tail.norm1.eps = &scale1[0], &shift1[0], eps1
    job.tail.norm2.scale, job.tail.norm2.shift, job.tail.norm2.eps = &scale2[0], &shift2[0], eps2
    job.tail.activation = activation
    job.tail.context, job.tail.x = &context[0, 0], &x[0, 0]
    job.tail.context_stride = context.strides[0] // <Py_ssize_t>sizeof(float)
    job.tail.x_stride = x.strides[0] // <Py_ssize_t>sizeof(float)
    job.tail.out = &out[0, 0]
    job.tail.next.panels = NULL
    if following is not None:
        next_view = next_out
        job.tail.next, job.tail.next_out = following.map, &next_view[0, 0]
    job.row_block = ceil_div(job.rows, row_blocks_of(job.rows, threads, down.map.product.mc))
    job.scratch_size = kernels.table.tail_scratch(&job.tail, job.row_block)
    scratch = pool.workspace.floats(threads * job.scratch_size)
    job.scratch = &scratch[0]
    with nogil:
        ys_pool_run(&pool.pool, tail_unit, &job, ceil_div(job.rows, job.row_block))


cdef struct NormJob:
    const ys_kernels *kernels
    const float *x
    const float *residual
    const float *scale
    const float *shift
    float eps
    int64_t rows, width
    float *out


cdef int64_t NORM_ROWS = 32


cdef void norm_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef NormJob *job = <NormJob *>argument
    cdef int64_t row
    cdef const float *residual = NULL
    for row in range(unit * NORM_ROWS, min((unit + 1) * NORM_ROWS, job.rows)):
        if job.residual != NULL:
            residual = job.residual + row * job.width
        job.kernels.layer_norm_row(
            job.x + row * job.width, residual, job.scale, job.shift, job.eps, job.width,
            job.out + row * job.width,
        )


def layer_norm(Kernels kernels, ThreadPool pool, const float[:, ::1] x, residual,
               const float[::1] scale, const float[::1] shift, float eps, float[:, ::1] out):
    """Compute out = norm(x + residual) * scale + shift; residual [rows, width] may be None."""
    cdef NormJob job
    cdef const float[:, ::1] residual_view
    job.rows, job.width = x.shape[0], x.shape[1]
    if job.rows == 0:
        return
    job.residual = NULL
    if residual is not None:
        residual_view = residual
        job.residual = &residual_view[0, 0]
    job.kernels, job.x, job.out = kernels.table, &x[0, 0], &out[0, 0]
    job.scale, job.shift, job.eps = &scale[0], &shift[0], eps
    with nogil:
        ys_pool_run(&pool.pool, norm_unit, &job, ceil_div(job.rows, NORM_ROWS))
