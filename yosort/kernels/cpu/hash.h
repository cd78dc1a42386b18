/* The fast hash: random rotations H D3 H D2 H D1 by Walsh-Hadamard transforms, bits their signs.
 *
 * LANES tokens at a time, one a lane: x lies transposed as [width] vectors, so every butterfly is
 * one vector addition and one subtraction, and no step mixes lanes. Additions pair the same numbers
 * in the same stages (stride 1, 2, 4, ...) as the definition in ops/definitions.py and nothing is
 * multiplied, so codes agree with it bit for bit.
 */
#ifndef YOSORT_HASH_H
#define YOSORT_HASH_H

#include "simd.h"

#define YS_BUTTERFLY(a, b) do { const vf s_ = (a) + (b), d_ = (a) - (b); (a) = s_; (b) = d_; } while (0)

/* One radix-8 pass, which is three stages: strides s, 2s, 4s over groups of 8s. from may be to. */
YS_INLINE void ys_radix8(const vf *from, const int32_t *signs, vf *to, int width, int s) {
    for (int group = 0; group < width; group += 8 * s)
        for (int i = group; i < group + s; i++) {
            vf v[8];
            for (int j = 0; j < 8; j++) {
                v[j] = from[i + j * s];
                if (signs) v[j] = vf_from_bits(vi_bits(v[j]) ^ vi_set1(signs[i + j * s]));
            }
            for (int j = 0; j < 8; j += 2) YS_BUTTERFLY(v[j], v[j + 1]);
            for (int j = 0; j < 8; j += 4) { YS_BUTTERFLY(v[j], v[j + 2]); YS_BUTTERFLY(v[j + 1], v[j + 3]); }
            for (int j = 0; j < 4; j++) YS_BUTTERFLY(v[j], v[j + 4]);
            for (int j = 0; j < 8; j++) to[i + j * s] = v[j];
        }
}

/* One radix-4 pass: strides s, 2s. */
YS_INLINE void ys_radix4(vf *x, int width, int s) {
    for (int group = 0; group < width; group += 4 * s)
        for (int i = group; i < group + s; i++) {
            vf v[4];
            for (int j = 0; j < 4; j++) v[j] = x[i + j * s];
            for (int j = 0; j < 4; j += 2) YS_BUTTERFLY(v[j], v[j + 1]);
            for (int j = 0; j < 2; j++) YS_BUTTERFLY(v[j], v[j + 2]);
            for (int j = 0; j < 4; j++) x[i + j * s] = v[j];
        }
}

/* One stage; signs as of radix 8. */
YS_INLINE void ys_radix2(const vf *from, const int32_t *signs, vf *to, int width, int s) {
    for (int group = 0; group < width; group += 2 * s)
        for (int i = group; i < group + s; i++) {
            vf a = from[i], b = from[i + s];
            if (signs) {
                a = vf_from_bits(vi_bits(a) ^ vi_set1(signs[i]));
                b = vf_from_bits(vi_bits(b) ^ vi_set1(signs[i + s]));
            }
            YS_BUTTERFLY(a, b);
            to[i] = a;
            to[i + s] = b;
        }
}

/* to = H D from, D the diagonal of signs (0 or the sign bit of a float). */
YS_INLINE void ys_rotate(const vf *from, const int32_t *signs, vf *to, int width) {
    int s;
    if (width >= 8) {
        ys_radix8(from, signs, to, width, 1);
        s = 8;
    } else if (width >= 2) {
        ys_radix2(from, signs, to, width, 1);
        s = 2;
    } else {
        to[0] = vf_from_bits(vi_bits(from[0]) ^ vi_set1(signs[0]));
        return;
    }
    for (; 8 * s <= width; s *= 8) ys_radix8(to, NULL, to, width, s);
    if (4 * s == width) ys_radix4(to, width, s);
    if (2 * s == width) ys_radix2(to, NULL, to, width, s);
}

/* The rotations of a part, its signs `step` apart. */
YS_INLINE void ys_rotate_thrice(const vf *from, const int32_t *signs, ptrdiff_t step, vf *to, int width) {
    ys_rotate(from, signs, to, width);
    ys_rotate(to, signs + step, to, width);
    ys_rotate(to, signs + 2 * step, to, width);
}

#ifdef MANY_REGISTERS
#  ifdef __clang__
#    define YS_UNROLL _Pragma("unroll")
#  else
#    define YS_UNROLL _Pragma("GCC unroll 32")
#  endif
/* The same of 32 rows, which stay in registers on the way. */
YS_INLINE void ys_rotate_32(const vf *from, const int32_t *signs, ptrdiff_t step, vf *to) {
    vf v[32];
    YS_UNROLL for (int i = 0; i < 32; i++) v[i] = from[i];
    for (int turn = 0; turn < 3; turn++, signs += step) {
        YS_UNROLL for (int i = 0; i < 32; i++) v[i] = vf_from_bits(vi_bits(v[i]) ^ vi_set1(signs[i]));
        YS_UNROLL for (int s = 1; s < 32; s *= 2)
            YS_UNROLL for (int i = 0; i < 32; i++)
                if (!(i & s)) YS_BUTTERFLY(v[i], v[i + s]);
    }
    YS_UNROLL for (int i = 0; i < 32; i++) to[i] = v[i];
}
#else
YS_INLINE void ys_rotate_32(const vf *from, const int32_t *signs, ptrdiff_t step, vf *to) {
    ys_rotate_thrice(from, signs, step, to, 32);
}
#endif

#ifndef YS_OR_WHERE_POSITIVE
YS_INLINE vi vi_or_where_positive(vi code, vf x, vi bits) { return code | (vi_positive(x) & bits); }
#endif

/* Codes of one part: function h, bit b is x[h * hash_code_len + b] > 0. */
YS_INLINE void ys_store_codes(const vf *x, int functions, int hash_code_len, int count,
                              uint16_t *codes, ptrdiff_t codes_stride) {
    for (int h = 0; h < functions; h++) {
        vi code = vi_set1(0);
        vi bit = vi_set1(1);
        for (int b = 0; b < hash_code_len; b++, bit += bit)
            code = vi_or_where_positive(code, x[h * hash_code_len + b], bit);
        int32_t lanes[LANES];
        memcpy(lanes, &code, sizeof lanes);
        uint16_t *row = codes + h * codes_stride;
        if (count == LANES)
            for (int i = 0; i < LANES; i++) row[i] = (uint16_t)lanes[i];
        else
            for (int i = 0; i < count; i++) row[i] = (uint16_t)lanes[i];
    }
}

/* tokens [dim] = the columns of `here` rows of x, LANES at most; what further lanes hold is unused. */
YS_INLINE void ys_transpose_rows(const float *x, ptrdiff_t stride, int here, int dim, vf *tokens) {
    int d = 0;
#if LANES > 1
    for (; d + LANES <= dim; d += LANES) {
        vf row[LANES], turned[LANES];
        for (int i = 0; i < LANES; i++) row[i] = vf_load(x + (i < here ? i : here - 1) * stride + d);
        /* The index of a lane, row then column, turns by one bit each time: the columns come first. */
        for (int turn = 1; turn < LANES; turn *= 2) {
            for (int i = 0; i < LANES / 2; i++) {
                turned[2 * i] = vf_lower(row[i], row[i + LANES / 2]);
                turned[2 * i + 1] = vf_upper(row[i], row[i + LANES / 2]);
            }
            memcpy(row, turned, sizeof row);
        }
        memcpy(tokens + d, row, sizeof row);
    }
#endif
    for (; d < dim; d++)
        for (int i = 0; i < here; i++) ((float *)(tokens + d))[i] = x[i * stride + d];
}

/* Hash `count` tokens of one head.
 *
 * x: [count] rows of `dim` floats, `stride` apart. signs: [3][parts][width], 0 or 0x80000000.
 * codes: [num_hash] rows of `count`, `codes_stride` apart. scratch: 2 * width vectors. */
static void ys_hash_tokens(const float *x, ptrdiff_t stride, ptrdiff_t count, int dim,
                           const int32_t *signs, int parts, int width, int num_hash,
                           int hash_code_len, uint16_t *codes, ptrdiff_t codes_stride,
                           float *scratch) {
    vf *tokens = (vf *)scratch, *rotated = tokens + width;
    const int per_part = width / hash_code_len;
    memset(tokens, 0, (size_t)width * sizeof(vf));
    for (ptrdiff_t first = 0; first < count; first += LANES) {
        const int here = count - first < LANES ? (int)(count - first) : LANES;
        ys_transpose_rows(x + first * stride, stride, here, dim, tokens);
        for (ptrdiff_t next = first + LANES; next < first + 2 * LANES && next < count; next++)
            ys_prefetch(x + next * stride, dim);
        for (int p = 0; p < parts; p++) {
            const int32_t *sign = signs + (ptrdiff_t)p * width;
            const ptrdiff_t step = (ptrdiff_t)parts * width;
            switch (width) {            /* the usual widths, with every loop unrolled for them */
            case 32: ys_rotate_32(tokens, sign, step, rotated); break;
            case 64: ys_rotate_thrice(tokens, sign, step, rotated, 64); break;
            default: ys_rotate_thrice(tokens, sign, step, rotated, width);
            }
            const int left = num_hash - p * per_part;
            ys_store_codes(rotated, left < per_part ? left : per_part, hash_code_len, here,
                           codes + (ptrdiff_t)p * per_part * codes_stride + first, codes_stride);
        }
    }
}

/* The slow hash's codes: bit b of function h is projected[token][h * hash_code_len + b] > 0.
 * codes: [num_hash] rows of `count`, `codes_stride` apart. */
static void ys_sign_codes(const float *projected, ptrdiff_t stride, ptrdiff_t count, int num_hash,
                          int hash_code_len, uint16_t *codes, ptrdiff_t codes_stride) {
    for (ptrdiff_t i = 0; i < count; i++)
        for (int h = 0; h < num_hash; h++) {
            const float *bits = projected + i * stride + (ptrdiff_t)h * hash_code_len;
            unsigned code = 0;
            for (int b = 0; b < hash_code_len; b++) code |= (unsigned)(bits[b] > 0.0f) << b;
            codes[h * codes_stride + i] = (uint16_t)code;
        }
}

#endif
