/* How the body of an elementwise loss becomes its loops.
 *
 *     ELEMENTWISE(name, (operands…), (parameters…)) { return (POINT){ .value = …, .grad = {…}, … }; }
 *
 * The body computes one element: operands and parameters are REALs of these names. It states everything that is known
 * of the point; each loop keeps what its caller wants and the compiler drops the rest, so value, gradient and Hessian
 * have the same bits whichever of them are asked for. Write it without branches: ternaries become vector selects.
 *
 * Members left out are 0: .grad and .hess per operand, .fisher and .majorizer where the loss has them (also per
 * operand), .invalid = NONZERO_IF(…) | NONZERO_IF(…) where an operand is outside of the domain (NaN is not). */
#ifndef LF_ELEMENTWISE_H
#define LF_ELEMENTWISE_H

#include "abi.h"
#include "blocks.h"
#include "real.h"
#include "vmath.h"

typedef struct {
    REAL value, grad[LF_MAX_OPERANDS], hess[LF_MAX_OPERANDS], fisher[LF_MAX_OPERANDS], majorizer[LF_MAX_OPERANDS];
    IREAL invalid;
} POINT;

/* NaN passes through both. */
#define CLAMP(x, low, high) ((x) < (low) ? (low) : (x) > (high) ? (high) : (x))
#define AT_LEAST(x, low) ((x) < (low) ? (low) : (x))

/* 0 * inf is 0 where the factor 0 says that the term is absent. */
#define TERM(factor, x) ((factor) == R(0.0) ? R(0.0) : (factor) * (x))

/* NaN where a or b is, else 0. */
#define NAN_OF(a, b) ((a) == (a) && (b) == (b) ? R(0.0) : (a) + (b))

/* Token plumbing: how many names stand in (a, b, c), and what to make of each. */
#define LF_CAT(a, b) LF_CAT_(a, b)
#define LF_CAT_(a, b) a##b
#define LF_COUNT(...) LF_COUNT_(0, ##__VA_ARGS__, 4, 3, 2, 1, 0)
#define LF_COUNT_(zero, a, b, c, d, count, ...) count
#define LF_REALS(...) LF_CAT(LF_REALS_, LF_COUNT(__VA_ARGS__))(__VA_ARGS__)
#define LF_REALS_0()
#define LF_REALS_1(a) , const REAL a
#define LF_REALS_2(a, b) LF_REALS_1(a), const REAL b
#define LF_REALS_3(a, b, c) LF_REALS_2(a, b), const REAL c
#define LF_REALS_4(a, b, c, d) LF_REALS_3(a, b, c), const REAL d
#define LF_LOADS(...) LF_CAT(LF_LOADS_, LF_COUNT(__VA_ARGS__))
#define LF_LOADS_1 , o0[i]
#define LF_LOADS_2 LF_LOADS_1, o1[i]
#define LF_LOADS_3 LF_LOADS_2, o2[i]
#define LF_LOADS_4 LF_LOADS_3, o3[i]
#define LF_SETTINGS(...) LF_CAT(LF_SETTINGS_, LF_COUNT(__VA_ARGS__))
#define LF_SETTINGS_0
#define LF_SETTINGS_1 , p0
#define LF_SETTINGS_2 LF_SETTINGS_1, p1
#define LF_SETTINGS_3 LF_SETTINGS_2, p2
#define LF_SETTINGS_4 LF_SETTINGS_3, p3

#define LF_LOOP_INPUTS(OPERANDS)                                                                                       \
    enum { K = LF_COUNT OPERANDS };                                                                                    \
    const REAL *o0 = operands[0], *o1 = K > 1 ? operands[1] : NULL, *o2 = K > 2 ? operands[2] : NULL,                  \
               *o3 = K > 3 ? operands[3] : NULL;                                                                       \
    const REAL p0 = (REAL)settings->parameters[0], p1 = (REAL)settings->parameters[1],                                 \
               p2 = (REAL)settings->parameters[2], p3 = (REAL)settings->parameters[3], scale = (REAL)settings->scale;  \
    (void)o1, (void)o2, (void)o3, (void)p0, (void)p1, (void)p2, (void)p3, (void)scale;

/* simd: iterations are independent. An output is either another array or the very operand that it replaces. */
#define LF_LOOP(name, suffix, OPERANDS, PARAMETERS, STORE)                                                             \
    static int name##suffix(ptrdiff_t n, const void *const *operands, const lf_settings *settings,                     \
                            void *const *outputs) {                                                                    \
        LF_LOOP_INPUTS(OPERANDS)                                                                                       \
        const REAL floor_ = (REAL)settings->floor;                                                                     \
        const UREAL fisher = mask_of(settings->curvature == LF_FISHER),                                                \
                    exact = mask_of(settings->curvature == LF_EXACT),                                                  \
                    majorizer = mask_of(settings->curvature == LF_MAJORIZER);                                          \
        REAL *value = outputs[LF_OUT_VALUE], *g0 = outputs[LF_OUT_GRAD], *h0 = outputs[LF_OUT_HESS];                   \
        REAL *g1 = outputs[LF_OUT_GRAD + 1], *g2 = outputs[LF_OUT_GRAD + 2], *g3 = outputs[LF_OUT_GRAD + 3],           \
             *h1 = outputs[LF_OUT_HESS + 1], *h2 = outputs[LF_OUT_HESS + 2], *h3 = outputs[LF_OUT_HESS + 3];           \
        (void)floor_, (void)fisher, (void)majorizer, (void)exact, (void)g0, (void)g1, (void)g2, (void)g3, (void)h0,    \
            (void)h1, (void)h2, (void)h3;                                                                              \
        IREAL invalid = 0;                                                                                             \
        _Pragma("omp simd reduction(| : invalid)") for (ptrdiff_t i = 0; i < n; i++) {                                 \
            const POINT point = name##_point((REAL)0 LF_LOADS OPERANDS LF_SETTINGS PARAMETERS);                        \
            invalid |= point.invalid;                                                                                  \
            value[i] = point.value;                                                                                    \
            STORE                                                                                                      \
        }                                                                                                              \
        return invalid != 0;                                                                                           \
    }

/* Some lanes at a time: computed, their values added up, their gradients written while the next are on their way. The
 * lanes are those of sum(), so that the bits are too. Around the cache the lines follow the lanes at a distance, since
 * what was just stored cannot be loaded across its ends. */
#define LF_SUM_LOOP(name, suffix, OPERANDS, PARAMETERS, GRAD)                                                          \
    static int name##suffix(ptrdiff_t n, const void *const *operands, const lf_settings *settings, void *grad_,        \
                            int around_cache, double *sum_) {                                                          \
        LF_LOOP_INPUTS(OPERANDS)                                                                                       \
        REAL *grad = grad_;                                                                                            \
        REAL block[LF_BLOCK], *to = around_cache ? block : grad;                                                       \
        ptrdiff_t line = around_cache ? before_line(grad, n) : 0;                                                      \
        double sums[LF_SUM_LANES] = {0};                                                                               \
        IREAL invalid[LF_SUM_LANES] = {0}, any = 0;                                                                    \
        for (ptrdiff_t start = 0; start < n; start += LF_SUM_LANES) {                                                  \
            const int lanes = n - start < LF_SUM_LANES ? (int)(n - start) : LF_SUM_LANES;                              \
            REAL value[LF_SUM_LANES], slope[LF_SUM_LANES];                                                             \
            if (lanes == LF_SUM_LANES) {                                                                               \
                if (around_cache) {                                                                                    \
                    LF_FETCH OPERANDS                                                                                  \
                }                                                                                                      \
                LF_SUM_STEP(name, OPERANDS, PARAMETERS, GRAD, LF_SUM_LANES)                                            \
                if (GRAD) {                                                                                            \
                    memcpy(to + start, slope, sizeof slope);                                                           \
                    if (around_cache)                                                                                  \
                        line = put_lines(grad, block, line, start - LF_SUM_LANES);                                     \
                }                                                                                                      \
            } else {                                                                                                   \
                LF_SUM_STEP(name, OPERANDS, PARAMETERS, GRAD, lanes)                                                   \
                if (GRAD)                                                                                              \
                    memcpy(to + start, slope, (size_t)lanes * sizeof(REAL));                                           \
            }                                                                                                          \
        }                                                                                                              \
        if (GRAD && around_cache) {                                                                                    \
            memcpy(grad, block, (size_t)before_line(grad, n) * sizeof(REAL));                                          \
            put_around_cache(grad + line, block + line, n - line);                                                     \
        }                                                                                                              \
        *sum_ = sum_of_lanes(sums, LF_SUM_LANES);                                                                      \
        (void)grad, (void)to, (void)line;                                                                              \
        for (int lane = 0; lane < LF_SUM_LANES; lane++)                                                                \
            any |= invalid[lane];                                                                                      \
        return any != 0;                                                                                               \
    }

#define LF_SUM_STEP(name, OPERANDS, PARAMETERS, GRAD, count)                                                           \
    _Pragma("omp simd") for (int lane = 0; lane < count; lane++) {                                                     \
        const ptrdiff_t i = start + lane;                                                                              \
        const POINT point = name##_point((REAL)0 LF_LOADS OPERANDS LF_SETTINGS PARAMETERS);                            \
        invalid[lane] |= point.invalid;                                                                                \
        value[lane] = point.value;                                                                                     \
        if (GRAD)                                                                                                      \
            slope[lane] = point.grad[0] * scale;                                                                       \
    }                                                                                                                  \
    for (int lane = 0; lane < count; lane++)                                                                           \
        sums[lane] += (double)value[lane];

#define LF_FETCH(...) LF_CAT(LF_FETCH_, LF_COUNT(__VA_ARGS__))
#define LF_FETCH_1 fetch_lanes(o0 + start);
#define LF_FETCH_2 LF_FETCH_1 fetch_lanes(o1 + start);
#define LF_FETCH_3 LF_FETCH_2 fetch_lanes(o2 + start);
#define LF_FETCH_4 LF_FETCH_3 fetch_lanes(o3 + start);

#define LF_STORE_NOTHING
#define LF_STORE_GRAD g0[i] = point.grad[0] * scale;
#define LF_STORE_GRAD_OF(k)                                                                                            \
    if (K > k)                                                                                                         \
        g##k[i] = point.grad[k] * scale;
#define LF_STORE_GRADS LF_STORE_GRAD_OF(0) LF_STORE_GRAD_OF(1) LF_STORE_GRAD_OF(2) LF_STORE_GRAD_OF(3)
#define LF_STORE_GRAD_HESS LF_STORE_GRAD h0[i] = AT_LEAST(point.hess[0], floor_) * scale;
#define LF_HESS(x) (AT_LEAST(x, floor_) * scale)
#define LF_STORE_OPERAND(k)                                                                                            \
    if (K > k) {                                                                                                       \
        const REAL unit = point.value == point.value ? R(1.0) : point.value;                                           \
        g##k[i] = point.grad[k] * scale;                                                                               \
        h##k[i] = either(                                                                                              \
            fisher, LF_HESS(point.fisher[k]),                                                                          \
            either(majorizer, LF_HESS(point.majorizer[k]), either(exact, LF_HESS(point.hess[k]), LF_HESS(unit))));     \
    }
#define LF_STORE_EVERYTHING LF_STORE_OPERAND(0) LF_STORE_OPERAND(1) LF_STORE_OPERAND(2) LF_STORE_OPERAND(3)

/* The loops stand before the body that they call: the macro ends in its signature. */
#define ELEMENTWISE(name, OPERANDS, PARAMETERS)                                                                        \
    static ALWAYS_INLINE POINT name##_point(REAL nothing LF_REALS OPERANDS LF_REALS PARAMETERS);                       \
    LF_LOOP(name, _value, OPERANDS, PARAMETERS, LF_STORE_NOTHING)                                                      \
    LF_LOOP(name, _value_grad, OPERANDS, PARAMETERS, LF_STORE_GRAD)                                                    \
    LF_LOOP(name, _value_grad_hess, OPERANDS, PARAMETERS, LF_STORE_GRAD_HESS)                                          \
    LF_LOOP(name, _value_grads, OPERANDS, PARAMETERS, LF_STORE_GRADS)                                                  \
    LF_LOOP(name, _everything, OPERANDS, PARAMETERS, LF_STORE_EVERYTHING)                                              \
    LF_SUM_LOOP(name, _value_sum, OPERANDS, PARAMETERS, 0)                                                             \
    LF_SUM_LOOP(name, _value_sum_grad, OPERANDS, PARAMETERS, 1)                                                        \
    enum { name##_operands = LF_COUNT OPERANDS, name##_parameters = LF_COUNT PARAMETERS };                             \
    static ALWAYS_INLINE POINT name##_point(__attribute__((unused)) REAL nothing LF_REALS OPERANDS LF_REALS PARAMETERS)

#define ELEMENTWISE_ENTRY(name)                                                                                        \
    {#name,                                                                                                            \
     name##_operands,                                                                                                  \
     name##_parameters,                                                                                                \
     {name##_value, name##_value_grad, name##_value_grad_hess, name##_value_grads, name##_everything},                 \
     name##_value_sum,                                                                                                 \
     name##_value_sum_grad},

#endif
