/* Products of matrices that caches hold, such as the blocks of a linear layer: c = start + a b, or c += a b.
 *
 * A tile of c stays in registers while numbers of a, one at a time, meet whole vectors of b. Neither is packed, so that
 * either may be transposed for free and small products cost little more than their arithmetic. Measured in float32 on
 * one core of a Zen 5, at 7000 x 64 x 100 and 2000 x 256 x 1000: 250 GFLOP/s with AVX-512 and 125 with AVX2, where
 * NumPy's OpenBLAS 0.3.31, which takes its Haswell kernels there, has 120 to 130; at 300 x 64 x 10: 200 and 100,
 * OpenBLAS 60 to 80. */
#ifndef LF_PRODUCT_H
#define LF_PRODUCT_H

#include "abi.h"
#include "real.h"

/* The sums of a tile, one row of vectors of b and a number of a fill the registers, 32 of them or 16, and the sums are
 * enough to hide the latency of two multiply-adds in each cycle. */
#if defined(__AVX512F__)
enum { LF_VECTOR = 64 / sizeof(REAL), LF_TILE_VECTORS = 3 };
#define LF_TILE_ROWS 8
#elif defined(__AVX__)
enum { LF_VECTOR = 32 / sizeof(REAL), LF_TILE_VECTORS = 3 };
#define LF_TILE_ROWS 4
#elif defined(__aarch64__)
enum { LF_VECTOR = 16 / sizeof(REAL), LF_TILE_VECTORS = 3 };
#define LF_TILE_ROWS 8
#else
enum { LF_VECTOR = 16 / sizeof(REAL), LF_TILE_VECTORS = 3 };
#define LF_TILE_ROWS 4
#endif

/* `rows` by `vectors` vectors of c from row i and column j. The compiler has to know both, or sums are no registers. */
static ALWAYS_INLINE void product_tile(int rows, int vectors, const lf_product *product, ptrdiff_t i, ptrdiff_t j,
                                       REAL *restrict c, ptrdiff_t c_row, int add) {
    const ptrdiff_t a_row = product->a_row, a_column = product->a_column, b_row = product->b_row;
    const REAL *a = (const REAL *)product->a + i * a_row, *b = (const REAL *)product->b + j, *start = product->start;
    REAL sums[LF_TILE_ROWS][LF_TILE_VECTORS * LF_VECTOR];
    for (int r = 0; r < rows; r++)
        for (int l = 0; l < vectors * LF_VECTOR; l++)
            sums[r][l] = R(0.0);
    for (ptrdiff_t k = 0; k < product->terms; k++)
        for (int r = 0; r < rows; r++) {
            const REAL x = a[r * a_row + k * a_column];
#pragma omp simd
            for (int l = 0; l < vectors * LF_VECTOR; l++)
                sums[r][l] = FMA(x, b[k * b_row + l], sums[r][l]);
        }
    for (int r = 0; r < rows; r++) {
        const REAL first = start ? start[i + r] : R(0.0);
        if (add) {
#pragma omp simd
            for (int l = 0; l < vectors * LF_VECTOR; l++)
                c[r * c_row + l] += sums[r][l];
        } else {
#pragma omp simd
            for (int l = 0; l < vectors * LF_VECTOR; l++)
                c[r * c_row + l] = first + sums[r][l];
        }
    }
}

typedef void tile_of_product(const lf_product *product, ptrdiff_t i, ptrdiff_t j, REAL *c, ptrdiff_t c_row, int add);

#define LF_TILE(rows, vectors)                                                                                         \
    static void product_##rows##_by_##vectors(const lf_product *product, ptrdiff_t i, ptrdiff_t j, REAL *c,            \
                                              ptrdiff_t c_row, int add) {                                              \
        product_tile(rows, vectors, product, i, j, c, c_row, add);                                                     \
    }
#define LF_TILES(rows) LF_TILE(rows, 1) LF_TILE(rows, 2) LF_TILE(rows, 3)
#define LF_TILES_OF(rows) {product_##rows##_by_1, product_##rows##_by_2, product_##rows##_by_3}
LF_TILES(1)
LF_TILES(2)
LF_TILES(4)
#if LF_TILE_ROWS == 8
LF_TILES(8)
#endif

static void matrix_product(const lf_product *product) {
    static tile_of_product *const tiles[][LF_TILE_VECTORS] = {
        LF_TILES_OF(1),
        LF_TILES_OF(2),
        LF_TILES_OF(4),
#if LF_TILE_ROWS == 8
        LF_TILES_OF(8),
#endif
    };
    enum { HEIGHTS = sizeof tiles / sizeof *tiles };
    REAL edge[LF_TILE_ROWS][LF_VECTOR]; /* of the last columns, where their vector is not whole */
    for (ptrdiff_t j = 0; j < product->columns;) {
        const ptrdiff_t left = (product->columns - j) / LF_VECTOR;
        /* 2 and 2 rather than 3 and 1 */
        const ptrdiff_t vectors = left == 0 ? 1 : left == 4 ? 2 : left < LF_TILE_VECTORS ? left : LF_TILE_VECTORS;
        ptrdiff_t i = 0;
        for (int height = HEIGHTS; height--;)
            for (const ptrdiff_t rows = (ptrdiff_t)1 << height; i + rows <= product->rows; i += rows) {
                REAL *c = (REAL *)product->c + i * product->c_row + j;
                if (left) {
                    tiles[height][vectors - 1](product, i, j, c, product->c_row, product->add);
                    continue;
                }
                tiles[height][0](product, i, j, *edge, LF_VECTOR, 0);
                for (ptrdiff_t r = 0; r < rows; r++)
                    for (ptrdiff_t l = 0; l < product->columns - j; l++)
                        c[r * product->c_row + l] = (product->add ? c[r * product->c_row + l] : R(0.0)) + edge[r][l];
            }
        j += vectors * LF_VECTOR;
    }
}

#endif
