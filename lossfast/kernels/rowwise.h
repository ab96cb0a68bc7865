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
/* Rows of so many classes pay more for what they do once than lanes do for being transposed; measured with AVX-512, and
 * in float64 it is half as many with AVX2. */
enum { LF_FEW_CLASSES = LF_REAL_BITS == 32 ? 60 : 32 };
/* A row of so many is fetched while the one before it is computed. */
enum { LF_FETCHED_CLASSES = 8192 / sizeof(REAL) };
/* Classes whose exponentials a lane adds in REAL before they go to its float64 sum. */
enum { LF_CLASS_BLOCK = 16 };

/* ---- one row ------------------------------------------------------------------------------------------------- */

/* Loops over the classes are loops of whole vectors: the compiler's epilogue would be a scalar each. The last of them
 * is loaded and stored with a mask, where there are such instructions. */
static ALWAYS_INLINE ptrdiff_t whole_vectors(ptrdiff_t n) {
    return (n + LF_ROW_LANES - 1) / LF_ROW_LANES * LF_ROW_LANES;
}

static ALWAYS_INLINE void load_last(const REAL *x, ptrdiff_t n, REAL padding, REAL *lanes) {
    const IREAL left = (IREAL)n; /* a mask of the vectors' own width */
    for (IREAL lane = 0; lane < LF_ROW_LANES; lane++)
        lanes[lane] = lane < left ? x[lane] : padding;
}

static ALWAYS_INLINE void store_last(const REAL *lanes, ptrdiff_t n, REAL *to) {
    const IREAL left = (IREAL)n;
    for (IREAL lane = 0; lane < LF_ROW_LANES; lane++)
        if (lane < left)
            to[lane] = lanes[lane];
}

/* LF_ROW_LANES of the n numbers, from `at`: themselves, or the last of them in `few`. */
static ALWAYS_INLINE const REAL *lanes_at(const REAL *x, ptrdiff_t at, ptrdiff_t n, REAL padding, REAL *few) {
    if (at + LF_ROW_LANES <= n)
        return x + at;
    load_last(x + at, n - at, padding, few);
    return few;
}

/* 0 from lane n on. A scalar store instead would keep the next load of the vector waiting. */
static ALWAYS_INLINE void keep_lanes(REAL *lanes, ptrdiff_t n) {
    const IREAL left = (IREAL)n;
    for (IREAL lane = 0; lane < LF_ROW_LANES; lane++)
        lanes[lane] = lane < left ? lanes[lane] : R(0.0);
}

/* 0 for one class of whole vectors, likewise. */
static ALWAYS_INLINE void clear_class(REAL *row, ptrdiff_t c) {
    const IREAL at = (IREAL)(c % LF_ROW_LANES);
    REAL *lanes = row + (c - at);
    for (IREAL lane = 0; lane < LF_ROW_LANES; lane++)
        lanes[lane] = lane == at ? R(0.0) : lanes[lane];
}

static ALWAYS_INLINE void greater_lanes(REAL *max, const REAL *x, int lanes) {
    for (int lane = 0; lane < lanes; lane++)
        max[lane] = x[lane] > max[lane] ? x[lane] : max[lane];
}

/* As in sum_of_lanes, halves of a vector stay in registers. */
typedef REAL OCT __attribute__((vector_size(8 * sizeof(REAL))));
typedef IREAL OCT_MASK __attribute__((vector_size(8 * sizeof(REAL))));
typedef IREAL QUAD_MASK __attribute__((vector_size(4 * sizeof(REAL))));
#define GREATER(TYPE, MASK, a, b) ((TYPE)(((MASK)(a) & ((a) > (b))) | ((MASK)(b) & ~((a) > (b)))))

static ALWAYS_INLINE REAL max_of_lanes(const REAL *lanes) { /* LF_ROW_LANES of them */
    OCT first, second;
    QUAD low, high;
    memcpy(&first, lanes, sizeof first);
    memcpy(&second, lanes + 8, sizeof second);
    first = GREATER(OCT, OCT_MASK, first, second);
    memcpy(&low, &first, sizeof low);
    memcpy(&high, (const char *)&first + sizeof low, sizeof high);
    low = GREATER(QUAD, QUAD_MASK, low, high);
    const REAL even = low[0] > low[2] ? low[0] : low[2], odd = low[1] > low[3] ? low[1] : low[3];
    return even > odd ? even : odd;
}

/* As greater_lanes for four vectors at once, which first meet among themselves. */
static ALWAYS_INLINE void greater_of_four(REAL *max, const REAL *x) {
    for (int lane = 0; lane < LF_ROW_LANES; lane++) {
        const REAL a = x[lane], b = x[lane + LF_ROW_LANES], c = x[lane + 2 * LF_ROW_LANES],
                   d = x[lane + 3 * LF_ROW_LANES];
        const REAL first = a > b ? a : b, second = d > c ? d : c, greater = first > second ? first : second;
        max[lane] = greater > max[lane] ? greater : max[lane];
    }
}

/* NaN may be passed over; the exponentials find it. */
static REAL row_max(const REAL *x, ptrdiff_t n) {
    enum { WIDE = 4 * LF_ROW_LANES };
    REAL max[LF_ROW_LANES];
    for (int lane = 0; lane < LF_ROW_LANES; lane++)
        max[lane] = -REAL_INF;
    ptrdiff_t i = 0;
    for (; i + WIDE <= n; i += WIDE)
        greater_of_four(max, x + i);
    if (i < n && n >= WIDE) {
        greater_of_four(max, x + n - WIDE);
    } else if (i < n) {
        for (; i + LF_ROW_LANES <= n; i += LF_ROW_LANES)
            greater_lanes(max, x + i, LF_ROW_LANES);
        if (n >= LF_ROW_LANES)
            greater_lanes(max, x + n - LF_ROW_LANES, LF_ROW_LANES);
        else
            greater_lanes(max, x, (int)n);
    }
    return max_of_lanes(max);
}

/* The class of the maximum, or the last class of a row that has none (all NaN). */
static ptrdiff_t row_argmax(const REAL *x, ptrdiff_t n, REAL max) {
    enum { WIDE = 4 * LF_ROW_LANES };
    ptrdiff_t c = 0;
    for (IREAL found = 0; c + WIDE < n; c += WIDE) { /* a loop that may end early is no vector loop */
#pragma omp simd reduction(| : found)
        for (int lane = 0; lane < WIDE; lane++)
            found |= NONZERO_IF(x[c + lane] == max);
        if (found)
            break;
    }
    const ptrdiff_t end = c + WIDE < n ? c + WIDE : n;
    REAL first[LF_ROW_LANES]; /* how far before c, of those that are the maximum: below 0, and exact */
    for (int lane = 0; lane < LF_ROW_LANES; lane++)
        first[lane] = (REAL)(c - (n - 1));
    for (ptrdiff_t at = end - 1 - (end - 1 - c) % LF_ROW_LANES; at >= c; at -= LF_ROW_LANES) {
        REAL few[LF_ROW_LANES];
        const REAL *lanes = lanes_at(x, at, n, REAL_NAN, few), before = (REAL)(c - at);
#pragma omp simd
        for (int lane = 0; lane < LF_ROW_LANES; lane++)
            first[lane] = lanes[lane] == max ? before - (REAL)lane : first[lane];
    }
    return c - (ptrdiff_t)max_of_lanes(first);
}

/* e^(x - max), in whole vectors, the last of them once more with those before: 0 behind the last class, and for the
 * class `without` if that is one of them. The exponentials may replace x only where x is whole vectors. */
static ALWAYS_INLINE void row_exps(const REAL *x, ptrdiff_t n, REAL max, ptrdiff_t without, REAL *exps) {
    const ptrdiff_t whole = n / LF_ROW_LANES * LF_ROW_LANES;
#pragma omp simd
    for (ptrdiff_t i = 0; i < whole; i++)
        exps[i] = lf_exp_nonpositive(x[i] - max);
    if (whole < n) {
        REAL few[LF_ROW_LANES];
        const REAL *last = x + n - LF_ROW_LANES;
        REAL *to = exps + n - LF_ROW_LANES;
        if (!whole) {
            load_last(x, n, -REAL_INF, few);
            last = few, to = exps;
        }
        memset(exps + whole, 0, LF_ROW_LANES * sizeof(REAL));
#pragma omp simd
        for (int lane = 0; lane < LF_ROW_LANES; lane++)
            to[lane] = lf_exp_nonpositive(last[lane] - max);
    }
    if (without >= 0 && without < n)
        clear_class(exps, without);
}

/* The sum of whole vectors. Four terms meet in REAL before they go to float64: half the conversions, and at most one
 * ulp in all. */
static ALWAYS_INLINE double row_sum(const REAL *x, ptrdiff_t n) {
    double lanes[LF_ROW_LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + 4 * LF_ROW_LANES <= n; i += 4 * LF_ROW_LANES)
        for (int lane = 0; lane < LF_ROW_LANES; lane++) {
            const REAL *y = x + i + lane;
            lanes[lane] += (double)((y[0] + y[LF_ROW_LANES]) + (y[2 * LF_ROW_LANES] + y[3 * LF_ROW_LANES]));
        }
    for (; i < n; i += LF_ROW_LANES)
        for (int lane = 0; lane < LF_ROW_LANES; lane++)
            lanes[lane] += (double)x[i + lane];
    return sum_of_lanes(lanes, LF_ROW_LANES);
}

/* The sum of e^(x - max) over all classes but `without`. The exponentials stay in `exps`, or nowhere if that is NULL;
 * that of `without` is left to the caller: kept out of the sum, it cannot swallow the small ones beside it. */
static REAL row_exp_sum(const REAL *x, ptrdiff_t n, REAL max, ptrdiff_t without, REAL *exps) {
    REAL buffer[LF_ROW_BLOCK];
    double total = 0.0;
    for (ptrdiff_t start = 0; start < n; start += LF_ROW_BLOCK) {
        const ptrdiff_t count = n - start < LF_ROW_BLOCK ? n - start : LF_ROW_BLOCK;
        REAL *to = exps ? exps + start : buffer;
        row_exps(x + start, count, max, without - start, to);
        total += row_sum(to, whole_vectors(count));
    }
    return (REAL)total;
}

/* ---- rows one after another ------------------------------------------------------------------------------------ */

/* `count` of the rows, from `start`. */
static __attribute__((noinline)) lf_rows some_rows(const lf_rows *rows, ptrdiff_t start, ptrdiff_t count) {
#define FROM_START(type, member, step) (type *)(rows->member ? (type *)rows->member + start * (step) : NULL)
    const ptrdiff_t *next = rows->next;
    lf_rows some = *rows;
    some.lanes = count;
    some.input = FROM_START(const REAL, input, next[LF_INPUT]);
    some.label = FROM_START(const int32_t, label, 1);
    some.target = FROM_START(const REAL, target, next[LF_TARGET]);
    some.scale = FROM_START(const REAL, scale, 1);
    some.value = FROM_START(REAL, value, 1);
    some.grad = FROM_START(REAL, grad, next[LF_GRAD]);
    some.hess = FROM_START(REAL, hess, next[LF_HESS]);
    some.target_grad = FROM_START(REAL, target_grad, next[LF_TARGET_GRAD]);
    if (rows->draft == rows->grad)
        some.draft = some.grad;
    return some;
#undef FROM_START
}

/* Calls `some` for as many rows at a time as the draft has room for, and the first-level cache. */
static ALWAYS_INLINE void together(const lf_row_settings *settings, const lf_rows *rows, lf_rowwise_kernel some) {
    const ptrdiff_t fitting = LF_DRAFT_BYTES / (ptrdiff_t)sizeof(REAL) / settings->classes;
    const ptrdiff_t step = fitting < 1 ? 1 : fitting < LF_TOGETHER ? fitting : LF_TOGETHER;
    for (ptrdiff_t start = 0; start < rows->lanes; start += step) {
        const ptrdiff_t left = rows->lanes - start;
        const lf_rows now = some_rows(rows, start, left < step ? left : step);
        some(settings, &now);
    }
}

/* Calls `one` for each row. */
static ALWAYS_INLINE void one_by_one(const lf_row_settings *settings, const lf_rows *rows, lf_rowwise_kernel one) {
    for (ptrdiff_t l = 0; l < rows->lanes; l++) {
        const lf_rows row = some_rows(rows, l, 1);
        one(settings, &row);
    }
}

/* Of up to LF_TOGETHER rows: what the softmax is made of, with one class kept apart. */
typedef struct {
    REAL max[LF_LANES], x_apart[LF_LANES], rest[LF_LANES]; /* the sum of the exponentials, but for the one apart */
    int32_t apart[LF_LANES], kept[LF_LANES];
} SOFTMAX;

/* Row l of a table. */
#define ROW(rows, member, TABLE, l) ((REAL *)(rows)->member + (l) * (rows)->next[TABLE])

/* The draft of a row, to be changed. */
static ALWAYS_INLINE REAL *draft_row(const lf_rows *rows, ptrdiff_t l) {
    return (REAL *)rows->draft + l * rows->draft_next;
}

/* All but the sums: rows that are not kept have nothing, nor do those that are not there. */
static void rows_max(const lf_row_settings *settings, const lf_rows *rows, SOFTMAX *s) {
    const ptrdiff_t n = settings->classes;
    for (ptrdiff_t l = 0; l < LF_TOGETHER; l++) {
        s->kept[l] = l < rows->lanes && (!rows->label || rows->label[l] >= 0);
        s->apart[l] = 0;
        s->max[l] = s->x_apart[l] = R(0.0);
        s->rest[l] = R(1.0);
        if (!s->kept[l])
            continue;
        const REAL *x = ROW(rows, input, LF_INPUT, l);
        if (l + 1 < rows->lanes && n <= LF_FETCHED_CLASSES)
            lf_prefetch((const char *)(x + rows->next[LF_INPUT]), n * (ptrdiff_t)sizeof(REAL));
        s->max[l] = row_max(x, n);
        s->apart[l] = rows->label ? rows->label[l] : (int32_t)row_argmax(x, n, s->max[l]);
        s->x_apart[l] = x[s->apart[l]];
    }
}

/* The exponentials, into the draft, which the input may be, and their sums. */
static void rows_exp_sum(const lf_row_settings *settings, const lf_rows *rows, SOFTMAX *s) {
    const ptrdiff_t n = settings->classes;
    if (!rows->draft || n > LF_ROW_BLOCK) {
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            if (s->kept[l])
                s->rest[l] = row_exp_sum(ROW(rows, input, LF_INPUT, l), n, s->max[l], s->apart[l],
                                         rows->draft ? draft_row(rows, l) : NULL);
        return;
    }
    /* in two passes: a vector that was just stored in part is not to be waited for */
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        if (s->kept[l])
            row_exps(ROW(rows, input, LF_INPUT, l), n, s->max[l], s->apart[l], draft_row(rows, l));
    for (ptrdiff_t l = 0; l < rows->lanes; l++)
        if (s->kept[l])
            s->rest[l] = (REAL)row_sum(draft_row(rows, l), whole_vectors(n));
}

static ALWAYS_INLINE void scale_row(const REAL *from, ptrdiff_t n, REAL slope, REAL *to) {
#pragma omp simd
    for (ptrdiff_t c = 0; c < n; c++)
        to[c] = from[c] * slope;
}

/* The draft of a row, times `slope`, becomes its gradient, with its own number at one class. */
static ALWAYS_INLINE void finish_row(const lf_rows *rows, ptrdiff_t l, ptrdiff_t n, REAL slope, ptrdiff_t apart,
                                     REAL at_apart) {
    REAL *draft = draft_row(rows, l), *grad = ROW(rows, grad, LF_GRAD, l), *to = rows->around_cache ? draft : grad;
    const ptrdiff_t whole = n / LF_ROW_LANES * LF_ROW_LANES;
    scale_row(draft, whole, slope, to);
    if (whole < n) {
        REAL last[LF_ROW_LANES];
        scale_row(draft + whole, LF_ROW_LANES, slope, last);
        store_last(last, n - whole, to + whole);
    }
    to[apart] = at_apart;
    if (to != grad)
        put_around_cache(grad, to, n);
}

/* ---- rows in lanes ------------------------------------------------------------------------------------------- */

static void lanes_max(const lf_rows *rows, ptrdiff_t classes, REAL *restrict max) {
    for (ptrdiff_t l = 0; l < LF_LANES; l++)
        max[l] = -REAL_INF;
    for (ptrdiff_t c = 0; c < classes; c++) {
        const REAL *x = (const REAL *)rows->input + c * rows->stride;
#pragma omp simd
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            max[l] = x[l] > max[l] ? x[l] : max[l];
    }
}

static void lanes_argmax(const lf_rows *rows, ptrdiff_t classes, const REAL *restrict max, int32_t *restrict top) {
    for (ptrdiff_t l = 0; l < LF_LANES; l++)
        top[l] = (int32_t)(classes - 1);
    for (ptrdiff_t c = classes - 1; c-- > 0;) {
        const REAL *x = (const REAL *)rows->input + c * rows->stride;
#pragma omp simd
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            top[l] = x[l] == max[l] ? (int32_t)c : top[l];
    }
}

/* All but the sums. */
static void lanes_softmax(const lf_rows *rows, ptrdiff_t classes, SOFTMAX *s) {
    const REAL *x = rows->input;
    lanes_max(rows, classes, s->max);
    if (!rows->label)
        lanes_argmax(rows, classes, s->max, s->apart);
    for (ptrdiff_t l = 0; l < rows->lanes; l++) {
        s->kept[l] = !rows->label || rows->label[l] >= 0;
        if (rows->label)
            s->apart[l] = s->kept[l] ? rows->label[l] : 0;
        s->x_apart[l] = x[s->apart[l] * rows->stride + l];
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
#pragma omp simd
        for (ptrdiff_t l = 0; l < rows->lanes; l++)
            wide[l] += (double)partial[l];
    }
#pragma omp simd
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

/* The same number for every class of row l in gradient and Hessian, where they are wanted: 0 or NaN. */
static void fill_row(const lf_row_settings *settings, const lf_rows *rows, ptrdiff_t l, REAL value) {
    if (rows->grad)
        fill(ROW(rows, grad, LF_GRAD, l), settings->classes, (double)value);
    if (rows->hess)
        fill(ROW(rows, hess, LF_HESS, l), settings->classes, (double)value);
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

/* Lanes whose label counts nothing have no gradient and no Hessian, whatever stands there. */
static void clear_lanes(const lf_row_settings *settings, const lf_rows *rows) {
    for (ptrdiff_t l = 0; rows->label && l < rows->lanes; l++)
        for (ptrdiff_t c = 0; rows->label[l] < 0 && c < settings->classes; c++) {
            ((REAL *)rows->grad)[c * rows->stride + l] = R(0.0);
            if (rows->hess)
                ((REAL *)rows->hess)[c * rows->stride + l] = R(0.0);
        }
}

/* The curvature that is wanted, out of the loops; the majorizer is the exact one. */
typedef struct {
    UREAL unit;
    REAL floor;
} CURVATURE;

static ALWAYS_INLINE CURVATURE curvature_of(const lf_row_settings *settings) {
    return (CURVATURE){mask_of(settings->curvature == LF_UNIT), (REAL)settings->floor};
}

/* A Hessian in it, before scaling. */
static ALWAYS_INLINE REAL curved(CURVATURE curvature, REAL exact) {
    return AT_LEAST(either(curvature.unit, R(1.0) + NAN_OF(exact, exact), exact), curvature.floor);
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

/* n terms; slope and hess are NULL where they are not wanted, and may replace the logits; `one_label`: the label is the
 * same for all of them. */
typedef void class_terms(ptrdiff_t n, const REAL *logit, const REAL *at_label, int one_label,
                         const lf_row_settings *settings, REAL *value, REAL *slope, REAL *hess);

static ALWAYS_INLINE void terms_row(const lf_row_settings *settings, const lf_rows *rows, ptrdiff_t l,
                                    class_terms *terms);
static ALWAYS_INLINE void terms_lanes(const lf_row_settings *settings, const lf_rows *rows, class_terms *terms);

#define LF_TERM_LOOP(name, PARAMETERS, STORE)                                                                          \
    _Pragma("omp simd") for (ptrdiff_t i = 0; i < n; i++) {                                                            \
        const TERM_POINT point = name##_term(logit[i], at_label[i * label_stride] LF_SETTINGS PARAMETERS);             \
        value[i] = point.value;                                                                                        \
        STORE                                                                                                          \
    }

#define LF_TERM_LOOPS(name, PARAMETERS)                                                                                \
    if (hess) {                                                                                                        \
        LF_TERM_LOOP(name, PARAMETERS, slope[i] = point.slope; hess[i] = point.hess;)                                  \
    } else if (slope) {                                                                                                \
        LF_TERM_LOOP(name, PARAMETERS, slope[i] = point.slope;)                                                        \
    } else {                                                                                                           \
        LF_TERM_LOOP(name, PARAMETERS, )                                                                               \
    }

#define CLASS_TERM(name, PARAMETERS)                                                                                   \
    static ALWAYS_INLINE TERM_POINT name##_term(REAL logit, REAL at_label LF_REALS PARAMETERS);                        \
    static ALWAYS_INLINE void name##_terms(ptrdiff_t n, const REAL *logit, const REAL *at_label, int one_label,        \
                                           const lf_row_settings *settings, REAL *value, REAL *slope, REAL *hess) {    \
        const REAL p0 = (REAL)settings->parameters[0], p1 = (REAL)settings->parameters[1],                             \
                   p2 = (REAL)settings->parameters[2], p3 = (REAL)settings->parameters[3];                             \
        (void)p0, (void)p1, (void)p2, (void)p3;                                                                        \
        if (one_label) {                                                                                               \
            enum { label_stride = 0 };                                                                                 \
            LF_TERM_LOOPS(name, PARAMETERS)                                                                            \
        } else {                                                                                                       \
            enum { label_stride = 1 };                                                                                 \
            LF_TERM_LOOPS(name, PARAMETERS)                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    static void name##_some(const lf_row_settings *settings, const lf_rows *rows) {                                    \
        for (ptrdiff_t l = 0; l < rows->lanes; l++)                                                                    \
            terms_row(settings, rows, l, name##_terms);                                                                \
    }                                                                                                                  \
    static void name##_row(const lf_row_settings *settings, const lf_rows *rows) {                                     \
        together(settings, rows, name##_some);                                                                         \
    }                                                                                                                  \
    static void name##_lanes(const lf_row_settings *settings, const lf_rows *rows) {                                   \
        terms_lanes(settings, rows, name##_terms);                                                                     \
    }                                                                                                                  \
    static ALWAYS_INLINE TERM_POINT name##_term(REAL logit, REAL at_label LF_REALS PARAMETERS)

/* The terms of n classes of one row; value and slope in whole vectors, 0 at the label and behind the last class. */
static ALWAYS_INLINE void row_terms(const lf_row_settings *settings, class_terms *terms, ptrdiff_t n, const REAL *x,
                                    const REAL *at_label, ptrdiff_t label, REAL *value, REAL *slope, REAL *hess) {
    const ptrdiff_t whole = n / LF_ROW_LANES * LF_ROW_LANES, left = n - whole;
    if (left) {
        REAL last[LF_ROW_LANES], curves[LF_ROW_LANES];
        load_last(x + whole, left, *at_label, last);
        terms(LF_ROW_LANES, last, at_label, 1, settings, value + whole, slope ? slope + whole : NULL,
              hess ? curves : NULL);
        keep_lanes(value + whole, left);
        if (slope)
            keep_lanes(slope + whole, left);
        if (hess)
            store_last(curves, left, hess + whole);
    }
    terms(whole, x, at_label, 1, settings, value, slope, hess);
    if (label >= 0 && label < n) {
        clear_class(value, label);
        if (slope)
            clear_class(slope, label);
    }
}

static ALWAYS_INLINE void terms_row(const lf_row_settings *settings, const lf_rows *rows, ptrdiff_t l,
                                    class_terms *terms) {
    const ptrdiff_t n = settings->classes, label = rows->label[l];
    const REAL *x = ROW(rows, input, LF_INPUT, l), scale = ((const REAL *)rows->scale)[l];
    REAL *slopes = rows->grad ? draft_row(rows, l) : NULL, *hess = rows->hess ? ROW(rows, hess, LF_HESS, l) : NULL;
    REAL *value = (REAL *)rows->value + l, values[LF_ROW_BLOCK];
    if (label < 0) {
        *value = R(0.0);
        fill_row(settings, rows, l, R(0.0));
        return;
    }
    const REAL weight = class_weight(settings, label), share = weight / (REAL)n, slope_share = share * scale,
               at_label = x[label];
    const CURVATURE curvature = curvature_of(settings);
    double total = (double)NAN_OF(at_label, at_label), all_slopes = 0.0;
    for (ptrdiff_t start = 0; start < n; start += LF_ROW_BLOCK) {
        const ptrdiff_t count = n - start < LF_ROW_BLOCK ? n - start : LF_ROW_BLOCK;
        REAL *s = slopes ? slopes + start : NULL, *h = hess ? hess + start : NULL;
        row_terms(settings, terms, count, x + start, &at_label, label - start, values, s, h);
        total += row_sum(values, whole_vectors(count));
        all_slopes += s ? row_sum(s, whole_vectors(count)) : 0.0;
    }
    *value = (REAL)(total * (double)weight / (double)n);
    if (total != total) {
        fill_row(settings, rows, l, REAL_NAN);
        return;
    }
    if (slopes)
        finish_row(rows, l, n, slope_share, label, R(0.0) - (REAL)all_slopes * slope_share);
    if (hess) {
        hess[label] = R(0.0);
        const double curve = sum(hess, n);
#pragma omp simd
        for (ptrdiff_t c = 0; c < n; c++)
            hess[c] = curved(curvature, hess[c] * share) * scale;
        hess[label] = curved(curvature, (REAL)curve * share) * scale;
    }
}

static ALWAYS_INLINE void terms_lanes(const lf_row_settings *settings, const lf_rows *rows, class_terms *terms) {
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
        terms(lanes, x + c * stride, at_label, 0, settings, value, g ? slope : NULL, h ? curve : NULL);
#pragma omp simd
        for (ptrdiff_t l = 0; l < lanes; l++)
            values[l] += rows->label[l] == (int32_t)c ? 0.0 : (double)value[l];
        if (g)
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
                const REAL own = slope[l], scaled = own * slope_share[l];
                slopes[l] += rows->label[l] == (int32_t)c ? 0.0 : (double)own;
                g[l] = rows->label[l] < 0 ? R(0.0) : scaled;
            }
        if (h)
#pragma omp simd
            for (ptrdiff_t l = 0; l < lanes; l++) {
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
