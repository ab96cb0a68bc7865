/* Losses of embeddings: rows of features, compared with each other. A loss states one row:
 *
 *     PAIRWISE(name, embeddings, (parameters…)) { … *pair->value = …; return 0; }
 *
 * `embeddings` is how many are compared, `pair` the row and the parameters are doubles of these names; what is returned
 * is whether the target left the domain of the loss. The body reads every embedding before it writes a gradient, and
 * feature i of all of them before feature i of a gradient: a gradient may be written over the embedding it is of.
 *
 * What there is once per row is a double, in both precisions: sums over the features, distances, the value before it is
 * rounded. In float32 the squares of the features are exact doubles, which neither overflow nor vanish. */
#ifndef LF_PAIRWISE_H
#define LF_PAIRWISE_H

#include "abi.h"
#include "blocks.h"
#include "elementwise.h"
#include "real.h"

typedef struct {
    ptrdiff_t features;
    const ptrdiff_t *lengths; /* as in lf_pair_settings */
    const REAL *embeddings[LF_MAX_EMBEDDINGS];
    double target, scale; /* the scale multiplies gradients */
    REAL *value;
    REAL *grads[LF_MAX_EMBEDDINGS]; /* all, or NULL */
    REAL *target_grad;              /* or NULL */
} PAIR;

static ALWAYS_INLINE void take_row(PAIR *pair, int k, const lf_pairs *pairs, ptrdiff_t row) {
    pair->embeddings[k] = (const REAL *)pairs->embeddings[k] + row * pairs->strides[k];
    pair->grads[k] = pairs->grads[k] ? (REAL *)pairs->grads[k] + row * pairs->grad_strides[k] : NULL;
}

#define LF_DOUBLES(...) LF_CAT(LF_DOUBLES_, LF_COUNT(__VA_ARGS__))(__VA_ARGS__)
#define LF_DOUBLES_0()
#define LF_DOUBLES_1(a) , const double a
#define LF_DOUBLES_2(a, b) LF_DOUBLES_1(a), const double b
#define LF_DOUBLES_3(a, b, c) LF_DOUBLES_2(a, b), const double c
#define LF_DOUBLES_4(a, b, c, d) LF_DOUBLES_3(a, b, c), const double d

/* As in ELEMENTWISE, the loop stands before the body. Its rows are taken one by one without a loop, which would leave
 * them in memory. */
#define PAIRWISE(name, count, PARAMETERS)                                                                              \
    static ALWAYS_INLINE int name##_pair(const PAIR *pair LF_DOUBLES PARAMETERS);                                      \
    static int name##_pairs(const lf_pair_settings *settings, const lf_pairs *pairs) {                                 \
        const double p0 = settings->parameters[0], p1 = settings->parameters[1], p2 = settings->parameters[2],         \
                     p3 = settings->parameters[3];                                                                     \
        int invalid = 0;                                                                                               \
        for (ptrdiff_t row = 0; row < pairs->rows; row++) {                                                            \
            PAIR pair;                                                                                                 \
            pair.features = settings->features;                                                                        \
            pair.lengths = settings->lengths;                                                                          \
            pair.target = pairs->target ? (double)((const REAL *)pairs->target)[row] : 0.0;                            \
            pair.scale = (double)((const REAL *)pairs->scale)[row];                                                    \
            pair.value = (REAL *)pairs->value + row;                                                                   \
            pair.target_grad = pairs->target_grad ? (REAL *)pairs->target_grad + row : NULL;                           \
            take_row(&pair, 0, pairs, row);                                                                            \
            take_row(&pair, 1, pairs, row);                                                                            \
            if ((count) > 2)                                                                                           \
                take_row(&pair, 2, pairs, row);                                                                        \
            invalid |= name##_pair(&pair LF_SETTINGS PARAMETERS);                                                      \
        }                                                                                                              \
        (void)p0, (void)p1, (void)p2, (void)p3;                                                                        \
        return invalid;                                                                                                \
    }                                                                                                                  \
    enum { name##_embeddings = (count), name##_parameters = LF_COUNT PARAMETERS };                                     \
    static ALWAYS_INLINE int name##_pair(const PAIR *pair LF_DOUBLES PARAMETERS)

#define PAIRWISE_ENTRY(name) {#name, name##_embeddings, name##_parameters, name##_pairs},

/* ---- sums over the features ---------------------------------------------------------------------------------- */

/* A product and a sum of doubles, rounded once where the target can. */
#if defined(__FMA__) || defined(__aarch64__)
#define DOUBLE_FMA(a, b, c) __builtin_fma(a, b, c)
#else
#define DOUBLE_FMA(a, b, c) ((a) * (b) + (c))
#endif

/* As many lanes whatever the vector length: the order of a sum is that of the features, not of the processor. */
enum { LF_PAIR_LANES = 16 };

#define LF_ADD(a, b) ((a) + (b))
#define LF_MAX_OR_NAN(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))

/* Declares `result`, what is left of `initial` when STEP has put every feature i into the double `sum` and JOIN has put
 * the sums of the lanes together. The last features come with those before, which are not counted twice: one by one
 * they would take longer than all the others. Short rows have fewer lanes. */
#define LF_REDUCE(result, n, initial, JOIN, ...)                                                                       \
    double result = initial;                                                                                           \
    if ((n) >= LF_PAIR_LANES)                                                                                          \
        LF_REDUCE_IN_LANES(LF_PAIR_LANES, result, n, initial, JOIN, __VA_ARGS__)                                       \
    else if ((n) >= LF_PAIR_LANES / 2)                                                                                 \
        LF_REDUCE_IN_LANES(LF_PAIR_LANES / 2, result, n, initial, JOIN, __VA_ARGS__)                                   \
    else if ((n) >= LF_PAIR_LANES / 4)                                                                                 \
        LF_REDUCE_IN_LANES(LF_PAIR_LANES / 4, result, n, initial, JOIN, __VA_ARGS__)                                   \
    else                                                                                                               \
        for (ptrdiff_t i = 0; i < (n); i++) {                                                                          \
            double sum = result;                                                                                       \
            __VA_ARGS__;                                                                                               \
            result = sum;                                                                                              \
        }

#define LF_REDUCE_IN_LANES(count, result, n, initial, JOIN, ...)                                                       \
    {                                                                                                                  \
        double lanes[count];                                                                                           \
        _Pragma("omp simd") for (int lane = 0; lane < (count); lane++) lanes[lane] = initial;                          \
        ptrdiff_t first = 0;                                                                                           \
        for (; first + (count) <= (n); first += (count))                                                               \
            LF_FOR_LANES(count, 1, __VA_ARGS__)                                                                        \
        if (first < (n)) {                                                                                             \
            const int done = (int)((count) - ((n) - first));                                                           \
            first = (n) - (count);                                                                                     \
            LF_FOR_LANES(count, lane >= done, __VA_ARGS__)                                                             \
        }                                                                                                              \
        for (int lane = 0; lane < (count) / 2; lane++)                                                                 \
            lanes[lane] = JOIN(lanes[lane], lanes[lane + (count) / 2]);                                                \
        for (int lane = 0; lane < (count) / 4; lane++)                                                                 \
            lanes[lane] = JOIN(lanes[lane], lanes[lane + (count) / 4]);                                                \
        for (int lane = 0; lane < (count) / 8; lane++)                                                                 \
            lanes[lane] = JOIN(lanes[lane], lanes[lane + (count) / 8]);                                                \
        for (int lane = 0; lane < (count) / 16; lane++)                                                                \
            lanes[lane] = JOIN(lanes[lane], lanes[lane + (count) / 16]);                                               \
        result = lanes[0];                                                                                             \
    }

/* simd: were they unrolled first, conversions would stay scalar. */
#define LF_FOR_LANES(count, counts, ...)                                                                               \
    _Pragma("omp simd") for (int lane = 0; lane < (count); lane++) {                                                   \
        const ptrdiff_t i = first + lane;                                                                              \
        double sum = lanes[lane];                                                                                      \
        __VA_ARGS__;                                                                                                   \
        lanes[lane] = (counts) ? sum : lanes[lane];                                                                    \
    }

/* ---- what every row can be given ----------------------------------------------------------------------------- */

/* One number as every gradient: 0 for a row without loss, NaN for one without a value. */
static ALWAYS_INLINE void fill_gradients(const PAIR *pair, int embeddings, double value) {
    fill(pair->grads[0], pair->features, value);
    fill(pair->grads[1], pair->features, value);
    if (embeddings > 2)
        fill(pair->grads[2], pair->features, value);
}

#endif
