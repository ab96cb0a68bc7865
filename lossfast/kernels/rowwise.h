/* What losses over a class axis share: maximum, exponentials and their sum for one row (vectors along the classes) and
 * for many rows in lanes (vectors across the rows); and how a loss that is a sum over the classes becomes both.
 *
 *     ROWWISE(name, .lanes = name_lanes, …)
 *
 * lists a loss whose name_row(settings, rows) stands above it, with the members of lf_rowwise that are not 0. Few
 * enough classes are better off in lanes; a kernel that needs more memory than a block of classes asks for scratch
 * tables. */
#ifndef LF_ROWWISE_H
#define LF_ROWWISE_H

#include "abi.h"
#include "blocks.h"
#include "elementwise.h"
#include "real.h"
#include "vmath.h"

/* Classes of one row that are exponentiated and summed while they are in the first-level cache. */
enum { LF_ROW_BLOCK = 1024 };
/* Rows of so many classes pay more for what they do once than lanes do for being transposed (measured; the crossing is
 * about 300 and, with AVX2, 60). */
enum { LF_FEW_CLASSES = LF_REAL_BITS == 32 ? 256 : 64 };
/* Classes whose exponentials a lane adds in REAL before they go to its float64 sum. */
enum { LF_CLASS_BLOCK = 16 };

/* ---- one row ------------------------------------------------------------------------------------------------- */

/* Classes side by side in a vector, whatever its length. The last of them are taken once more with those before, where
 * their number is no multiple: the compiler's epilogue would be a scalar each. */
enum { LF_ROW_LANES = 16 };

static ALWAYS_INLINE void greater_lanes(REAL *max, const REAL *x, int lanes) {
    for (int lane = 0; lane < lanes; lane++)
        max[lane] = x[lane] > max[lane] ? x[lane] : max[lane];
}

/* NaN is passed over; the exponentials find it. */
static REAL row_max(const REAL *x, ptrdiff_t n) {
    enum { WIDE = 4 * LF_ROW_LANES };
    REAL max[WIDE];
    for (int lane = 0; lane < WIDE; lane++)
        max[lane] = -REAL_INF;
    ptrdiff_t i = 0;
    for (; i + WIDE <= n; i += WIDE)
        greater_lanes(max, x + i, WIDE);
    for (; i + LF_ROW_LANES <= n; i += LF_ROW_LANES)
        greater_lanes(max, x + i, LF_ROW_LANES);
    if (n >= LF_ROW_LANES)
        greater_lanes(max, x + n - LF_ROW_LANES, LF_ROW_LANES);
    else
        greater_lanes(max, x, (int)n);
    for (int half = WIDE / 2; half; half /= 2)
        greater_lanes(max, max + half, half);
    return max[0];
}

/* The class of the maximum, or the last class of a row that has none (all NaN). */
static ptrdiff_t row_argmax(const REAL *x, ptrdiff_t n, REAL max) {
    enum { WIDE = 4 * LF_ROW_LANES };
    ptrdiff_t c = 0;
    for (IREAL found = 0; c + WIDE < n; c += WIDE) { /* a loop that may end early is no vector loop */
#pragma omp simd reduction(| : found)
        for (int lane = 0; lane < WIDE; lane++)
            found |= x[c + lane] == max;
        if (found)
            break;
    }
    while (c < n - 1 && x[c] != max)
        c++;
    return c;
}

static ALWAYS_INLINE void exp_lanes(REAL *lanes, REAL max) {
#pragma omp simd
    for (int lane = 0; lane < LF_ROW_LANES; lane++)
        lanes[lane] = lf_exp_nonpositive(lanes[lane] - max);
}

/* row_exp_sum for the classes of one block. Four terms meet in REAL before their sum goes to float64: half the
 * conversions, and at most one ulp in all. */
static double block_exp_sum(const REAL *x, ptrdiff_t n, REAL max, ptrdiff_t without, REAL *exps) {
    const ptrdiff_t whole = n / LF_ROW_LANES * LF_ROW_LANES, tail = n - LF_ROW_LANES;
    double lanes[LF_ROW_LANES] = {0};
    REAL last[LF_ROW_LANES];
    if (tail < 0) {
        for (int lane = 0; lane < LF_ROW_LANES; lane++)
            last[lane] = lane < n ? x[lane] : -REAL_INF;
        exp_lanes(last, max);
        if (without >= 0)
            last[without] = R(0.0);
        memcpy(exps, last, (size_t)n * sizeof(REAL));
        return sum(last, LF_ROW_LANES);
    }
    memcpy(last, x + tail, sizeof last); /* before an exponential can replace it */
#pragma omp simd
    for (ptrdiff_t i = 0; i < whole; i++)
        exps[i] = lf_exp_nonpositive(x[i] - max);
    if (without >= 0 && without < whole)
        exps[without] = R(0.0);
    ptrdiff_t i = 0;
    for (; i + 4 * LF_ROW_LANES <= whole; i += 4 * LF_ROW_LANES)
        for (int lane = 0; lane < LF_ROW_LANES; lane++) {
            const REAL *y = exps + i + lane;
            lanes[lane] += (double)((y[0] + y[LF_ROW_LANES]) + (y[2 * LF_ROW_LANES] + y[3 * LF_ROW_LANES]));
        }
    for (; i < whole; i += LF_ROW_LANES)
        for (int lane = 0; lane < LF_ROW_LANES; lane++)
            lanes[lane] += (double)exps[i + lane];
    if (whole < n) {
        exp_lanes(last, max);
        if (without >= tail)
            last[without - tail] = R(0.0);
        for (int lane = 0; lane < LF_ROW_LANES; lane++)
            lanes[lane] += lane >= whole - tail ? (double)last[lane] : 0.0;
        memcpy(exps + tail, last, sizeof last);
    }
    return sum_of_lanes(lanes, LF_ROW_LANES);
}

/* The sum of e^(x - max) over all classes but `without`. The exponentials stay in `exps`, or nowhere if that is NULL;
 * that of `without` is left to the caller: kept out of the sum, it cannot swallow the small ones beside it. */
static REAL row_exp_sum(const REAL *x, ptrdiff_t n, REAL max, ptrdiff_t without, REAL *exps) {
    REAL buffer[LF_ROW_BLOCK];
    double total = 0.0;
    for (ptrdiff_t start = 0; start < n; start += LF_ROW_BLOCK) {
        const ptrdiff_t count = n - start < LF_ROW_BLOCK ? n - start : LF_ROW_BLOCK, at = without - start;
        total += block_exp_sum(x + start, count, max, at >= 0 && at < count ? at : -1, exps ? exps + start : buffer);
    }
    return (REAL)total;
}

/* ---- rows in lanes ------------------------------------------------------------------------------------------- */

static void lanes_max(const lf_rows *rows, ptrdiff_t classes, REAL *restrict max) {
    for (ptrdiff_t l = 0; l < LF_LANES; l++)
        max[l] = -REAL_INF;
    for (ptrdiff_t c = 0; c < classes; c++) {
        const REAL *x = (const REAL *)rows->input + c * rows->stride;
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            max[l] = x[l] > max[l] ? x[l] : max[l];
    }
}

static void lanes_argmax(const lf_rows *rows, ptrdiff_t classes, const REAL *restrict max, int32_t *restrict top) {
    for (ptrdiff_t l = 0; l < LF_LANES; l++)
        top[l] = (int32_t)(classes - 1);
    for (ptrdiff_t c = classes - 1; c-- > 0;) {
        const REAL *x = (const REAL *)rows->input + c * rows->stride;
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            top[l] = x[l] == max[l] ? (int32_t)c : top[l];
    }
}

/* As row_exp_sum, lane by lane; that of `without` is among the exponentials. */
static void lanes_exp_sum(const lf_rows *rows, ptrdiff_t classes, const REAL *restrict max,
                          const int32_t *restrict without, REAL *exps, ptrdiff_t exps_stride, REAL *restrict total) {
    double wide[LF_LANES];
    REAL partial[LF_LANES], buffer[LF_LANES];
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        wide[l] = 0.0;
    for (ptrdiff_t start = 0; start < classes; start += LF_CLASS_BLOCK) {
        const ptrdiff_t end = start + LF_CLASS_BLOCK < classes ? start + LF_CLASS_BLOCK : classes;
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            partial[l] = R(0.0);
        for (ptrdiff_t c = start; c < end; c++) {
            const REAL *x = (const REAL *)rows->input + c * rows->stride;
            REAL *e = exps ? exps + c * exps_stride : buffer;
#pragma omp simd
            for (ptrdiff_t l = 0; l < rows->lanes; l++) {
                const REAL exp = lf_exp_nonpositive(x[l] - max[l]);
                partial[l] += without[l] == (int32_t)c ? R(0.0) : exp;
                e[l] = exp;
            }
        }
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            wide[l] += (double)partial[l];
    }
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        total[l] = (REAL)wide[l];
}

/* log(total) of a softmax, `apart` being the class whose exponential is not in `rest`; NaN where the greatest logit is
 * infinite, which no sum need show. */
static ALWAYS_INLINE REAL log_of_total(int apart_is_top, REAL rest, REAL total, REAL exp_apart) {
    return lf_log1p(apart_is_top ? rest : total - R(1.0)) + (exp_apart - exp_apart);
}

/* ---- what every kernel needs --------------------------------------------------------------------------------- */

static ALWAYS_INLINE REAL class_weight(const lf_row_settings *settings, ptrdiff_t c) {
    return settings->class_weight ? ((const REAL *)settings->class_weight)[c] : R(1.0);
}

/* One of the scratch tables, of `own_stride` from class to class. One row may write whole vectors behind its last. */
static ALWAYS_INLINE REAL *scratch_table(const lf_row_settings *settings, const lf_rows *rows, int which) {
    const ptrdiff_t classes = (settings->classes + LF_ROW_LANES - 1) / LF_ROW_LANES * LF_ROW_LANES;
    return (REAL *)rows->scratch + which * classes * rows->own_stride;
}

/* The same number for every class of a row in gradient and Hessian, where they are wanted: 0 or NaN. */
static void fill_row(const lf_row_settings *settings, const lf_rows *rows, REAL value) {
    if (rows->grad)
        fill(rows->grad, settings->classes, (double)value);
    if (rows->hess)
        fill(rows->hess, settings->classes, (double)value);
}

/* Lanes with a NaN in `nan_or_zero` get it in gradient and Hessian, whatever stands there. */
static void spoil_lanes(const lf_row_settings *settings, const lf_rows *rows, const REAL *nan_or_zero) {
    int clean = 1;
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        clean &= nan_or_zero[l] == R(0.0);
    for (ptrdiff_t c = 0; !clean && c < settings->classes; c++)
        for (ptrdiff_t l = 0; l < rows->lanes; l++) {
            const ptrdiff_t at = c * rows->stride + l;
            if (rows->grad)
                ((REAL *)rows->grad)[at] += nan_or_zero[l];
            if (rows->hess)
                ((REAL *)rows->hess)[at] += nan_or_zero[l];
        }
}

/* The curvature that is wanted, out of the loops; the majorizer is the exact one. */
typedef struct {
    int unit;
    REAL floor;
} CURVATURE;

static ALWAYS_INLINE CURVATURE curvature_of(const lf_row_settings *settings) {
    return (CURVATURE){settings->curvature == LF_UNIT, (REAL)settings->floor};
}

/* A Hessian in it, before scaling. */
static ALWAYS_INLINE REAL curved(CURVATURE curvature, REAL exact) {
    return AT_LEAST(curvature.unit & (exact == exact) ? R(1.0) : exact, curvature.floor);
}

#define ROWWISE(name_, ...) static const lf_rowwise name_##_entry = {.name = #name_, .row = name_##_row, __VA_ARGS__};
#define ROWWISE_ENTRY(name) &name##_entry,

/* ---- sums of a term per class ---------------------------------------------------------------------------------- */

/* A loss that is w_y / C times the sum, over the classes but the label's, of a term f(x_c, x_y) in x_c - x_y:
 *
 *     CLASS_TERM(name, (parameters…)) { return (TERM_POINT){.value = …, .slope = …, .hess = …}; }
 *
 * The body sees one class as `logit` and the label's as `at_label`, REALs like the parameters, and states value and
 * derivatives by x_c; those by x_y are the negative and the sum over the classes. name_row and name_lanes come from
 * it. A NaN among the terms or at the label spoils the whole row. */
typedef struct {
    REAL value, slope, hess;
} TERM_POINT;

/* n terms; slope and hess are NULL where they are not wanted. */
typedef void class_terms(ptrdiff_t n, const REAL *logit, const REAL *at_label, const lf_row_settings *settings,
                         REAL *value, REAL *slope, REAL *hess);

static void terms_row(const lf_row_settings *settings, const lf_rows *rows, class_terms *terms);
static void terms_lanes(const lf_row_settings *settings, const lf_rows *rows, class_terms *terms);

#define LF_TERM_LOOP(name, PARAMETERS, member)                                                                         \
    _Pragma("omp simd") for (ptrdiff_t i = 0; i < n; i++) member[i] =                                                  \
        name##_term(logit[i], at_label[i] LF_SETTINGS PARAMETERS).member;

#define CLASS_TERM(name, PARAMETERS)                                                                                   \
    static ALWAYS_INLINE TERM_POINT name##_term(REAL logit, REAL at_label LF_REALS PARAMETERS);                        \
    static void name##_terms(ptrdiff_t n, const REAL *logit, const REAL *at_label, const lf_row_settings *settings,    \
                             REAL *value, REAL *slope, REAL *hess) {                                                   \
        const REAL p0 = (REAL)settings->parameters[0], p1 = (REAL)settings->parameters[1],                             \
                   p2 = (REAL)settings->parameters[2], p3 = (REAL)settings->parameters[3];                             \
        (void)p0, (void)p1, (void)p2, (void)p3;                                                                        \
        LF_TERM_LOOP(name, PARAMETERS, value)                                                                          \
        if (slope) {                                                                                                   \
            LF_TERM_LOOP(name, PARAMETERS, slope)                                                                      \
        }                                                                                                              \
        if (hess) {                                                                                                    \
            LF_TERM_LOOP(name, PARAMETERS, hess)                                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    static void name##_row(const lf_row_settings *settings, const lf_rows *rows) {                                     \
        terms_row(settings, rows, name##_terms);                                                                       \
    }                                                                                                                  \
    static void name##_lanes(const lf_row_settings *settings, const lf_rows *rows) {                                   \
        terms_lanes(settings, rows, name##_terms);                                                                     \
    }                                                                                                                  \
    static ALWAYS_INLINE TERM_POINT name##_term(REAL logit, REAL at_label LF_REALS PARAMETERS)

/* Four terms meet in REAL before they go to float64, as in block_exp_sum. */
static ALWAYS_INLINE void add_terms(const REAL *terms, double *lanes) {
    for (int start = 0; start < LF_LANES; start += 4 * LF_ROW_LANES)
        for (int lane = 0; lane < LF_ROW_LANES; lane++) {
            const REAL *y = terms + start + lane;
            lanes[lane] += (double)((y[0] + y[LF_ROW_LANES]) + (y[2 * LF_ROW_LANES] + y[3 * LF_ROW_LANES]));
        }
}

static void terms_row(const lf_row_settings *settings, const lf_rows *rows, class_terms *terms) {
    const ptrdiff_t n = settings->classes;
    const REAL *x = rows->input, scale = *(const REAL *)rows->scale;
    REAL *grad = rows->grad, *hess = rows->hess;
    const int32_t label = *rows->label;
    if (label < 0) {
        *(REAL *)rows->value = R(0.0);
        fill_row(settings, rows, R(0.0));
        return;
    }
    const REAL share = class_weight(settings, label) / (REAL)n, slope_share = share * scale;
    const CURVATURE curvature = curvature_of(settings);
    REAL at_label[LF_LANES], last[LF_LANES], value[LF_LANES], slope[LF_LANES], curve[LF_LANES];
    double values[LF_ROW_LANES] = {0}, slopes[LF_ROW_LANES] = {0}, curves[LF_ROW_LANES] = {0};
    for (int i = 0; i < LF_LANES; i++)
        at_label[i] = x[label];
    for (ptrdiff_t start = 0; start < n; start += LF_LANES) {
        const ptrdiff_t count = n - start < LF_LANES ? n - start : LF_LANES;
        const ptrdiff_t whole = (count + LF_ROW_LANES - 1) / LF_ROW_LANES * LF_ROW_LANES;
        if (count < whole) {
            memcpy(last, x + start, (size_t)count * sizeof(REAL));
            memcpy(last + count, at_label, (size_t)(whole - count) * sizeof(REAL));
        }
        terms(whole, count < whole ? last : x + start, at_label, settings, value, grad ? slope : NULL,
              hess ? curve : NULL);
        for (ptrdiff_t i = count; i < LF_LANES; i++)
            value[i] = slope[i] = curve[i] = R(0.0);
        if (label >= start && label < start + count)
            value[label - start] = slope[label - start] = curve[label - start] = R(0.0);
        add_terms(value, values);
        if (grad) {
            add_terms(slope, slopes);
            for (ptrdiff_t i = 0; i < count; i++)
                grad[start + i] = slope[i] * slope_share;
        }
        if (hess) {
            add_terms(curve, curves);
            for (ptrdiff_t i = 0; i < count; i++)
                hess[start + i] = curved(curvature, curve[i] * share) * scale;
        }
    }
    const double total = sum_of_lanes(values, LF_ROW_LANES) + (double)NAN_OF(*at_label, *at_label);
    *(REAL *)rows->value = (REAL)(total * (double)class_weight(settings, label) / (double)n);
    if (grad)
        grad[label] = R(0.0) - (REAL)sum_of_lanes(slopes, LF_ROW_LANES) * slope_share;
    if (hess)
        hess[label] = curved(curvature, (REAL)sum_of_lanes(curves, LF_ROW_LANES) * share) * scale;
    if (total != total)
        fill_row(settings, rows, REAL_NAN);
}

static void terms_lanes(const lf_row_settings *settings, const lf_rows *rows, class_terms *terms) {
    const ptrdiff_t n = settings->classes, stride = rows->stride, lanes = rows->lanes;
    const REAL *x = rows->input, *scale = rows->scale;
    REAL *grad = rows->grad, *hess = rows->hess;
    REAL at_label[LF_LANES], share[LF_LANES], slope_share[LF_LANES], value[LF_LANES], slope[LF_LANES], curve[LF_LANES];
    REAL nan_or_zero[LF_LANES];
    double values[LF_LANES], slopes[LF_LANES], curves[LF_LANES];
    const CURVATURE curvature = curvature_of(settings);
    for (ptrdiff_t l = 0; l < lanes; l++) {
        const int32_t label = rows->label[l];
        at_label[l] = x[(label < 0 ? 0 : label) * stride + l];
        share[l] = label < 0 ? R(0.0) : class_weight(settings, label) / (REAL)n;
        slope_share[l] = share[l] * scale[l];
        values[l] = slopes[l] = curves[l] = 0.0;
    }
    for (ptrdiff_t c = 0; c < n; c++) {
        REAL *g = grad ? grad + c * stride : NULL, *h = hess ? hess + c * stride : NULL;
        terms(lanes, x + c * stride, at_label, settings, value, g ? slope : NULL, h ? curve : NULL);
        for (ptrdiff_t l = 0; l < lanes; l++)
            values[l] += rows->label[l] == (int32_t)c ? 0.0 : (double)value[l];
        for (ptrdiff_t l = 0; g && l < lanes; l++) {
            const REAL own = slope[l], scaled = own * slope_share[l];
            slopes[l] += rows->label[l] == (int32_t)c ? 0.0 : (double)own;
            g[l] = rows->label[l] < 0 ? R(0.0) : scaled;
        }
        for (ptrdiff_t l = 0; h && l < lanes; l++) {
            const REAL own = curve[l], scaled = curved(curvature, own * share[l]) * scale[l];
            curves[l] += rows->label[l] == (int32_t)c ? 0.0 : (double)own;
            h[l] = rows->label[l] < 0 ? R(0.0) : scaled;
        }
    }
    for (ptrdiff_t l = 0; l < lanes; l++) {
        const ptrdiff_t at = rows->label[l] * stride + l;
        const int kept = rows->label[l] >= 0;
        const double total = values[l] + (double)NAN_OF(at_label[l], at_label[l]);
        nan_or_zero[l] = kept && total != total ? REAL_NAN : R(0.0);
        ((REAL *)rows->value)[l] =
            kept ? (REAL)(total * (double)class_weight(settings, rows->label[l]) / (double)n) : R(0.0);
        if (grad && kept)
            grad[at] = R(0.0) - (REAL)slopes[l] * slope_share[l]; /* 0, not -0, where nothing is violated */
        if (hess && kept)
            hess[at] = curved(curvature, (REAL)curves[l] * share[l]) * scale[l];
    }
    spoil_lanes(settings, rows, nan_or_zero);
}

#endif
