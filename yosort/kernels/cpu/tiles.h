/* A matrix unit: eight registers, each a tile of up to 16 rows of 64 bytes, and instructions that
 * multiply two and add to a third. These are AMX's; YOSORT_EMULATE_TILES gives them in plain C, with
 * the same order of sums, so that the kernels over them run anywhere.
 *
 * Their configuration belongs to the thread, and other libraries change it: it is set at the start of
 * each product and released at its end. Some virtual machines are said to lose what tiles hold when
 * a thread is descheduled. The last tile is a canary: what it holds is known, and is never written.
 * Where it was lost, what was computed since it was last seen is computed again: a whole product, for
 * to look waits for all sums before; a single tile where sums are added to others.
 */
#ifndef YOSORT_TILES_H
#define YOSORT_TILES_H

#include "gemm.h"

#define TILE_ROWS 16
#define CANARY 7

struct ys_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* A tile of floats, of words of int8 or of bfloat16 has LANES columns; one of rows of x, 16 words. */
#define TILE_WORDS 16
#define A_TILE(i) (4 + (i))
#define B_TILE 6

static void ys_tile_shapes(struct ys_tile_config *config) {
    memset(config, 0, sizeof *config);
    config->palette = 1;
    for (int i = 0; i < 8; i++) {
        config->rows[i] = i == CANARY ? 1 : TILE_ROWS;
        config->row_bytes[i] = (uint16_t)(4 * (i == 4 || i == 5 ? TILE_WORDS : LANES));
    }
}

#ifdef YOSORT_EMULATE_TILES

static struct { struct ys_tile_config config; uint8_t bytes[8][TILE_ROWS][64]; } ys_unit;
static long ys_lost_in, ys_lost_every;  /* instructions until all tiles are lost, and from then on; 0: never */

static void ys_tile_may_lose(void) {
    if (ys_lost_in == 0 || --ys_lost_in > 0) return;
    memset(ys_unit.bytes, 0, sizeof ys_unit.bytes);
    ys_lost_in = ys_lost_every;
}
static void ys_tile_setup(const struct ys_tile_config *config) {
    memset(&ys_unit, 0, sizeof ys_unit);
    ys_unit.config = *config;
}
static void ys_tiles_end(void) { memset(&ys_unit, 0, sizeof ys_unit); }
#define ys_tile_zero(t) memset(ys_unit.bytes[t], 0, sizeof ys_unit.bytes[t])

static void ys_tile_load(int t, const void *from, ptrdiff_t stride) {
    ys_tile_may_lose();
    for (int r = 0; r < ys_unit.config.rows[t]; r++)
        memcpy(ys_unit.bytes[t][r], (const char *)from + r * stride, ys_unit.config.row_bytes[t]);
}
static void ys_tile_store(int t, void *to, ptrdiff_t stride) {
    ys_tile_may_lose();
    for (int r = 0; r < ys_unit.config.rows[t]; r++)
        memcpy((char *)to + r * stride, ys_unit.bytes[t][r], ys_unit.config.row_bytes[t]);
}

static float ys_tile_half(const uint8_t *word, int odd) {
    const uint32_t bits = (uint32_t)word[2 * odd] << 16 | (uint32_t)word[2 * odd + 1] << 24;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static void ys_tile_bfloat16(int c, int a, int b) {
    ys_tile_may_lose();
    for (int r = 0; r < TILE_ROWS; r++)
        for (int j = 0; j < ys_unit.config.row_bytes[c] / 4; j++) {
            volatile float sum[2] = {0.0f, 0.0f};       /* each addition rounds */
            float *to = (float *)ys_unit.bytes[c][r] + j;
            for (int k = 0; k < TILE_WORDS; k++)
                for (int odd = 0; odd < 2; odd++)
                    sum[odd] += ys_tile_half(ys_unit.bytes[a][r] + 4 * k, odd) *
                                ys_tile_half(ys_unit.bytes[b][k] + 4 * j, odd);
            sum[0] += sum[1];
            *to += sum[0];
        }
}
static void ys_tile_int8(int c, int a, int b) {
    ys_tile_may_lose();
    for (int r = 0; r < TILE_ROWS; r++)
        for (int j = 0; j < ys_unit.config.row_bytes[c] / 4; j++)
            for (int k = 0; k < 4 * TILE_WORDS; k++)
                ((int32_t *)ys_unit.bytes[c][r])[j] +=
                    (int8_t)ys_unit.bytes[a][r][k] * (int8_t)ys_unit.bytes[b][k / 4][4 * j + k % 4];
}

#else

/* The compilers' own forms name too little of the memory that they read, so that stores before them
 * may be lost; and they need flags that would let the compiler use the unit elsewhere. */
#define YS_TILE_ASM(...) __asm__ volatile(__VA_ARGS__ : "memory")
static void ys_tile_setup(const struct ys_tile_config *config) {
    YS_TILE_ASM("ldtilecfg (%0)" : : "r"(config));
}
static void ys_tiles_end(void) { YS_TILE_ASM("tilerelease" : :); }
#define ys_tile_zero(t) YS_TILE_ASM("tilezero %%tmm%c0" : : "i"(t))
#define ys_tile_load(t, from, stride)                                                             \
    YS_TILE_ASM("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(t), "r"(from), "r"((ptrdiff_t)(stride)))
#define ys_tile_store(t, to, stride)                                                              \
    YS_TILE_ASM("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(t), "r"(to), "r"((ptrdiff_t)(stride)))
#define ys_tile_bfloat16(c, a, b)                                                                 \
    YS_TILE_ASM("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b))
#define ys_tile_int8(c, a, b)                                                                     \
    YS_TILE_ASM("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b))

#endif

static const int32_t ys_canary[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static void ys_tiles_begin(void) {
    struct ys_tile_config config;
    ys_tile_shapes(&config);
    ys_tile_setup(&config);
    ys_tile_load(CANARY, ys_canary, 64);
}

/* Whether tiles hold what they should; where not, the canary is set anew. */
static int ys_tiles_kept(void) {
    int32_t found[16] = {0};
    ys_tile_store(CANARY, found, 64);
    if (memcmp(found, ys_canary, LANES * sizeof *found) == 0) return 1;
    ys_tile_load(CANARY, ys_canary, 64);
    return 0;
}

/* Whether a tile is to be computed again; and whether all of a product is, asking for each tile then:
 * a product may be longer than its thread is left alone. */
#define YS_TILE_LOST(t) ((t)->asks && !ys_tiles_kept())
static int ys_product_lost(struct ys_tile *t) {
    if (t->asks || ys_tiles_kept()) return 0;
    t->asks = 1;
    return 1;
}

/* to [rows, to whole tiles][2 LANES], to_stride bytes apart, = the rows of a tile of y, see gemm.h,
 * `stride` bytes apart, times a panel of words at `b`. Two tiles by two: each that is loaded is used
 * twice. Whether they were kept is for the caller to ask: it waits for them. */
#define YS_TILE_SUMS(DOT, rows, t, stride, b, to, to_stride)                                      \
    do {                                                                                          \
        const char *a_ = (t)->a, *b_ = (const char *)(b);                                         \
        char *to_ = (char *)(to);                                                                 \
        const ptrdiff_t below_ = TILE_ROWS * (ptrdiff_t)(to_stride);                              \
        const int two_ = (rows) > TILE_ROWS;                                                      \
        ys_tile_zero(0);                                                                          \
        ys_tile_zero(1);                                                                          \
        ys_tile_zero(2);                                                                          \
        ys_tile_zero(3);                                                                          \
        for (ptrdiff_t k_ = 0; k_ < (t)->steps; k_ += TILE_WORDS) {                               \
            const char *panel_ = b_ + k_ * 8 * LANES;                                             \
            for (int i_ = 0; i_ < TILE_WORDS / STEPS * (t)->lines; i_++)                          \
                ys_prefetch_later((t)->ahead + k_ * 8 * LANES + i_ * LINE_BYTES);                 \
            ys_tile_load(A_TILE(0), a_ + 4 * k_, stride);                                         \
            if (two_) ys_tile_load(A_TILE(1), a_ + 4 * k_ + TILE_ROWS * (stride), stride);        \
            ys_tile_load(B_TILE, panel_, 8 * LANES);                                              \
            DOT(0, A_TILE(0), B_TILE);                                                            \
            if (two_) DOT(2, A_TILE(1), B_TILE);                                                  \
            ys_tile_load(B_TILE, panel_ + 4 * LANES, 8 * LANES);                                  \
            DOT(1, A_TILE(0), B_TILE);                                                            \
            if (two_) DOT(3, A_TILE(1), B_TILE);                                                  \
        }                                                                                         \
        ys_tile_store(0, to_, to_stride);                                                         \
        ys_tile_store(1, to_ + 4 * LANES, to_stride);                                             \
        if (two_) ys_tile_store(2, to_ + below_, to_stride);                                      \
        if (two_) ys_tile_store(3, to_ + below_ + 4 * LANES, to_stride);                          \
    } while (0)

#endif
