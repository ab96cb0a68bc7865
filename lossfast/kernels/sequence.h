/* Connectionist temporal classification of one sequence (Graves et al. 2006, doi:10.1145/1143844.1143891).
 *
 * Probabilities of paths are kept as m 2^e with e a REAL of their own: a step of the recursion then has neither exp nor
 * log, nothing underflows however long the sequence, and no error grows with |log p| as it does for logarithms.
 *
 * A path runs over the states blank, label 0, blank, label 1, …, blank: blank l stands before label l. u_t(s) is the
 * probability of all ways into state s at frame t without that frame's emission y_t(s), and a row keeps u_t(s) y_t(s).
 * Backwards in time the recursion is the same with the labels in reverse order. The forward sweep takes the first half
 * of the frames and the backward sweep the second; then each goes on through the other's half, where the product of its
 * u_t(s) and the other's row is the probability of all paths through s at t. Both halves may run at once. */
#ifndef LF_SEQUENCE_H
#define LF_SEQUENCE_H

#include "abi.h"
#include "blocks.h"
#include "frames.h"
#include "real.h"
#include "rowwise.h"
#include "vmath.h"

/* The exponent of 0, which no sum of exponents comes near to; a log-probability below counts as -inf. */
#define CTC_ZERO R(-1e30)
#define CTC_IS_ZERO(e) ((e) < R(-1e29))
/* Terms 2^-100 of the greatest are as good as nothing; the mantissas, which stay within 2^±20, remain normal. */
#define CTC_NEGLIGIBLE R(-100.0)
/* Frames between normalisations: a step makes a mantissa at most 3 √2 times as great and at least 1/√2. */
enum { CTC_NORMALISE = 8 };
/* Classes computed while as many of the next frame are fetched. */
enum { CTC_BLOCK = 256 };
/* REALs before the first state of a row, for the states that are none: label -1, and what stands against the states
 * that fill the last vector. All have probability 0. */
enum { CTC_MARGIN = LF_LANE_MULTIPLE };

/* One row: mantissas and exponents of blanks and labels, each of `stride` REALs. */
typedef struct {
    REAL *blank_m, *blank_e, *label_m, *label_e;
} CTC_ROW;

/* ---- numbers ------------------------------------------------------------------------------------------------- */

/* m 2^d for an integer d; below CTC_NEGLIGIBLE it is held there. */
static ALWAYS_INLINE REAL ctc_shift(REAL m, REAL d) {
    const REAL held = d < CTC_NEGLIGIBLE ? CTC_NEGLIGIBLE : d;
    return real_of(bits_of(m) + (bits_of(held + VM_SHIFT) << VM_MANTISSA_BITS));
}

static ALWAYS_INLINE REAL ctc_greater(REAL a, REAL b) { return a > b ? a : b; }

/* e^x = m 2^e. Beyond 2^20 the fraction of x log2 e is lost, as most of it is in x itself. */
static ALWAYS_INLINE void ctc_exp(REAL x, REAL *m, REAL *e) {
    const int far = ABS(x) > R(0x1p20), zero = !(x > R(-5e29));
    const REAL near = far ? R(0.0) : x, n = FMA(near, VM_LOG2E, VM_SHIFT) - VM_SHIFT;
    const VM_REDUCED r = vm_reduce(near, n);
    *m = zero ? R(1.0) : R(1.0) + (r.high + r.rest);
    *e = zero ? CTC_ZERO : far ? x * VM_LOG2E : n;
}

static void ctc_normalise(REAL *restrict m, REAL *restrict e, ptrdiff_t n) {
#pragma omp simd
    for (ptrdiff_t i = 0; i < n; i++) {
        const UREAL bits = bits_of(m[i]);
        e[i] += real_of((bits >> VM_MANTISSA_BITS) | VM_INTEGER_BITS) - (VM_INTEGER + (REAL)VM_BIAS);
        m[i] = real_of((bits & VM_MANTISSA_MASK) | VM_ONE);
    }
}

/* ---- one sequence in one direction --------------------------------------------------------------------------- */

/* What a sweep needs beside the sequence: `ctc_sweep_reals` REALs. */
typedef struct {
    const lf_ctc *ctc;
    int backward;
    ptrdiff_t stride, states; /* blanks, or labels and one that is none, in whole vectors */
    int32_t *label;           /* in the order of the sweep */
    REAL *skip;               /* 0 where a path may leave out the blank before a label, else CTC_ZERO */
    REAL *emission_m, *emission_e, blank_m, blank_e;
    REAL *blanks, *labels; /* weights of the states of one frame */
    REAL *rows[2];         /* this step's and the one before it */
    const REAL *x;         /* the row of classes, … */
    REAL *input, *output;  /* … which is a copy where the caller's cannot be used as it is, and the gradient */
    int bad;               /* a NaN or an infinite probability was met */
} CTC_SWEEP;

static ptrdiff_t ctc_padded(ptrdiff_t n) { return (n + LF_LANE_MULTIPLE - 1) / LF_LANE_MULTIPLE * LF_LANE_MULTIPLE; }

static ptrdiff_t ctc_stride(ptrdiff_t labels) { return CTC_MARGIN + ctc_padded(labels + 1); }

static ptrdiff_t ctc_row_reals(ptrdiff_t labels) { return 4 * ctc_stride(labels); }

static ptrdiff_t ctc_sweep_reals(ptrdiff_t classes, ptrdiff_t labels) {
    return 14 * ctc_stride(labels) + 2 * ctc_padded(classes);
}

static CTC_ROW ctc_row(REAL *memory, ptrdiff_t stride) {
    memory += CTC_MARGIN;
    return (CTC_ROW){memory, memory + stride, memory + 2 * stride, memory + 3 * stride};
}

static void ctc_clear(REAL *m, REAL *e, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        m[i] = R(1.0), e[i] = CTC_ZERO;
}

/* The frame of a step; the forward sweep takes them as they come. */
static ptrdiff_t ctc_frame(const CTC_SWEEP *sweep, ptrdiff_t step) {
    return sweep->backward ? sweep->ctc->given.frames - 1 - step : step;
}

/* Steps until the sweeps meet. */
static ptrdiff_t ctc_half(const lf_ctc *ctc, int backward) {
    return backward ? ctc->given.frames - ctc->given.frames / 2 : ctc->given.frames / 2;
}

static CTC_SWEEP ctc_sweep_in(REAL *memory, const lf_ctc *ctc, int backward) {
    const ptrdiff_t stride = ctc_stride(ctc->labels), row = ctc_row_reals(ctc->labels);
    REAL *rows = memory + 6 * stride, *input = rows + 2 * row;
    return (CTC_SWEEP){.ctc = ctc,
                       .backward = backward,
                       .stride = stride,
                       .states = stride - CTC_MARGIN,
                       .label = (int32_t *)memory,
                       .skip = memory + stride,
                       .emission_m = memory + 2 * stride,
                       .emission_e = memory + 3 * stride,
                       .blanks = memory + 4 * stride,
                       .labels = memory + 5 * stride,
                       .rows = {rows, rows + row},
                       .input = input,
                       .output = input + ctc_padded(ctc->given.classes)};
}

static CTC_SWEEP ctc_begin(REAL *memory, const lf_ctc *ctc, int backward) {
    CTC_SWEEP sweep = ctc_sweep_in(memory, ctc, backward);
    const ptrdiff_t L = ctc->labels;
#pragma omp simd
    for (ptrdiff_t l = 0; l < L; l++)
        sweep.label[l] = ctc->label[backward ? L - 1 - l : l];
    for (ptrdiff_t l = 0; l < sweep.states; l++)
        sweep.skip[l] = l > 0 && l < L && sweep.label[l] != sweep.label[l - 1] ? R(0.0) : CTC_ZERO;
    ctc_clear(sweep.emission_m, sweep.emission_e, sweep.states);
    return sweep;
}

/* The row before the first step: blank 0 alone, from which the first frame is blank 0 or label 0. */
static void ctc_start(const CTC_SWEEP *sweep, REAL *memory) {
    const CTC_ROW row = ctc_row(memory, sweep->stride);
    ctc_clear(row.blank_m - CTC_MARGIN, row.blank_e - CTC_MARGIN, sweep->stride);
    ctc_clear(row.label_m - CTC_MARGIN, row.label_e - CTC_MARGIN, sweep->stride);
    row.blank_e[0] = R(0.0);
}

/* Probabilities of the labels and of the blank at the frame of a step. With logits, their log-softmax is found at the
 * first visit and kept as the greatest logit and the logarithm of the sum. */
static void ctc_emissions(CTC_SWEEP *sweep, ptrdiff_t step, int first_visit) {
    const lf_ctc *ctc = sweep->ctc;
    const ptrdiff_t t = ctc_frame(sweep, step);
    const ptrdiff_t L = ctc->labels;
    REAL *restrict m = sweep->emission_m, *restrict e = sweep->emission_e, max = R(0.0), log_sum = R(0.0);
    const REAL *const x = sweep->x = frame_row(&ctc->given, t, sweep->input);
    if (first_visit || ctc->column_class || !ctc->of_logits) /* else the gradient fetches all of it */
        labels_prefetch(&ctc->given, ctc_frame(sweep, step + FRAMES_AHEAD), ctc->label, L + 1);
    if (ctc->log_sums) {
        REAL *kept = (REAL *)ctc->log_sums + 2 * t;
        if (first_visit) {
            max = row_max(x, ctc->given.classes);
            log_sum = row_exp_sum(x, ctc->given.classes, max, row_argmax(x, ctc->given.classes, max), NULL);
            kept[0] = max;
            kept[1] = lf_log1p(log_sum) + (max - max); /* NaN where the greatest logit is infinite */
        }
        max = kept[0], log_sum = kept[1];
    }
    for (ptrdiff_t l = 0; l < L; l++)
        m[l] = x[sweep->label[l]];
    for (ptrdiff_t l = L; l < sweep->states; l++)
        m[l] = -REAL_INF;
    const REAL blank = (x[ctc->label[L]] - max) - log_sum;
    REAL worst = R(0.0); /* a number: of integers and doubles SSE2 makes no vectors */
#pragma omp simd reduction(max : worst)
    for (ptrdiff_t l = 0; l < sweep->states; l++) {
        const REAL log_prob = (m[l] - max) - log_sum;
        worst = log_prob < REAL_INF ? worst : REAL_INF;
        ctc_exp(log_prob, &m[l], &e[l]);
    }
    ctc_exp(blank, &sweep->blank_m, &sweep->blank_e);
    sweep->bad |= worst > R(0.0) || !(blank < REAL_INF) || log_sum != log_sum;
}

/* u of one blank and one label; with the emissions they are the row's next. */
typedef struct {
    REAL blank_m, blank_e, label_m, label_e;
} CTC_STATES;

static ALWAYS_INLINE CTC_STATES ctc_advance(REAL blank_m, REAL blank_e, REAL label_m, REAL label_e, REAL before_m,
                                            REAL before_e, REAL skip) {
    const REAL e2 = ctc_greater(blank_e, before_e), skipped_e = before_e + skip,
               e3 = ctc_greater(ctc_greater(label_e, blank_e), skipped_e);
    return (CTC_STATES){
        ctc_shift(blank_m, blank_e - e2) + ctc_shift(before_m, before_e - e2),
        e2,
        (ctc_shift(label_m, label_e - e3) + ctc_shift(blank_m, blank_e - e3)) + ctc_shift(before_m, skipped_e - e3),
        e3,
    };
}

/* The row of one step, normalised now and then; to weigh the states, which the compiler has to know, is to multiply u
 * by the row of the other sweep at this frame, over 2^exponent. */
static ALWAYS_INLINE void ctc_advance_row(int weigh, const CTC_SWEEP *sweep, ptrdiff_t step, REAL *before_, REAL *row_,
                                          const REAL *other_, REAL exponent) {
    const ptrdiff_t stride = sweep->stride, L = sweep->ctc->labels, n = sweep->states;
    const CTC_ROW row = ctc_row(row_, stride), b = ctc_row(before_, stride), other = ctc_row((REAL *)other_, stride);
    const REAL *restrict emission_m = sweep->emission_m, *restrict emission_e = sweep->emission_e,
                         *restrict skip = sweep->skip;
    const REAL y_m = sweep->blank_m, y_e = sweep->blank_e;
    REAL *restrict blank_m = row.blank_m, *restrict blank_e = row.blank_e, *restrict label_m = row.label_m,
                   *restrict label_e = row.label_e, *restrict blanks = sweep->blanks, *restrict labels = sweep->labels;
    ctc_clear(blank_m - CTC_MARGIN, blank_e - CTC_MARGIN, CTC_MARGIN);
    ctc_clear(label_m - CTC_MARGIN, label_e - CTC_MARGIN, CTC_MARGIN);
#pragma omp simd
    for (ptrdiff_t l = 0; l < n; l++) {
        const CTC_STATES u = ctc_advance(b.blank_m[l], b.blank_e[l], b.label_m[l], b.label_e[l], b.label_m[l - 1],
                                         b.label_e[l - 1], skip[l]);
        if (weigh) {
            const REAL d_blank = u.blank_e + other.blank_e[L - l] - exponent,
                       d_label = u.label_e + other.label_e[L - 1 - l] - exponent;
            const REAL blank = ctc_shift(u.blank_m * other.blank_m[L - l], d_blank),
                       label = ctc_shift(u.label_m * other.label_m[L - 1 - l], d_label);
            blanks[l] = d_blank < CTC_NEGLIGIBLE ? R(0.0) : blank;
            labels[l] = d_label < CTC_NEGLIGIBLE ? R(0.0) : label;
        }
        blank_m[l] = u.blank_m * y_m, blank_e[l] = u.blank_e + y_e;
        label_m[l] = u.label_m * emission_m[l], label_e[l] = u.label_e + emission_e[l];
    }
    if (step % CTC_NORMALISE == 0) {
        ctc_normalise(blank_m, blank_e, n);
        ctc_normalise(label_m, label_e, n);
    }
}

static void ctc_step(const CTC_SWEEP *sweep, ptrdiff_t step, REAL *before, REAL *row) {
    ctc_advance_row(0, sweep, step, before, row, NULL, R(0.0));
}

static void ctc_weigh(const CTC_SWEEP *sweep, ptrdiff_t step, REAL *before, REAL *row, const REAL *other,
                      REAL exponent) {
    ctc_advance_row(1, sweep, step, before, row, other, exponent);
}

/* The greatest exponent of u, at the step after `before`, times the row of the other sweep at that frame. */
static REAL ctc_greatest(const CTC_SWEEP *sweep, REAL *before, const REAL *other_) {
    const CTC_ROW b = ctc_row(before, sweep->stride), other = ctc_row((REAL *)other_, sweep->stride);
    const ptrdiff_t L = sweep->ctc->labels;
    REAL greatest = R(-3e30);
    for (ptrdiff_t l = 0; l <= L; l++) {
        const CTC_STATES u = ctc_advance(b.blank_m[l], b.blank_e[l], b.label_m[l], b.label_e[l], b.label_m[l - 1],
                                         b.label_e[l - 1], sweep->skip[l]);
        greatest = ctc_greater(greatest, u.blank_e + other.blank_e[L - l]);
        greatest = ctc_greater(greatest, u.label_e + other.label_e[L - 1 - l]);
    }
    return greatest;
}

/* ---- to where the sweeps meet -------------------------------------------------------------------------------- */

static REAL *ctc_kept(const lf_ctc *ctc, int backward, ptrdiff_t index) {
    return (REAL *)ctc->kept[backward] + index * ctc_row_reals(ctc->labels);
}

/* One half of the frames; every `interval`-th row is kept, none with interval 0, and the last in rows[0]. Returns
 * whether an emission was no probability. */
static int ctc_sweep(const lf_ctc *ctc, int backward) {
    CTC_SWEEP sweep = ctc_begin(ctc->sweeps[backward], ctc, backward);
    const ptrdiff_t steps = ctc_half(ctc, backward);
    REAL *before = sweep.rows[1];
    ctc_start(&sweep, before);
    for (ptrdiff_t step = 0; step < steps; step++) {
        REAL *row = sweep.rows[step % 2];
        if (ctc->interval && step % ctc->interval == 0)
            row = ctc_kept(ctc, backward, step / ctc->interval);
        ctc_emissions(&sweep, step, 1);
        ctc_step(&sweep, step, before, row);
        before = row;
    }
    if (before != sweep.rows[0])
        memcpy(sweep.rows[0], before, (size_t)ctc_row_reals(ctc->labels) * sizeof(REAL));
    return sweep.bad;
}

/* The probability of the labels, fraction 2^exponent: the forward sweep's next step against the backward sweep's last.
 * An exponent of -inf says 0. */
static void ctc_total(const lf_ctc *ctc, double *fraction, double *exponent) {
    const CTC_SWEEP sweep = ctc_sweep_in(ctc->sweeps[0], ctc, 0), back = ctc_sweep_in(ctc->sweeps[1], ctc, 1);
    const REAL greatest = ctc_greatest(&sweep, sweep.rows[0], back.rows[0]);
    ctc_weigh(&sweep, 1, sweep.rows[0], sweep.rows[1], back.rows[0], greatest);
    *fraction = sum(sweep.blanks, sweep.states) + sum(sweep.labels, sweep.states);
    *exponent = CTC_IS_ZERO(greatest) ? -(double)INFINITY : (double)greatest;
}

/* ---- the gradient -------------------------------------------------------------------------------------------- */

/* The gradient of one frame: scale times the probability of each class, where it is that of the logits, less its
 * occupancy. It may be written over the row of classes. */
static void ctc_gradient(const CTC_SWEEP *sweep, ptrdiff_t t, const char *next) {
    const lf_ctc *ctc = sweep->ctc;
    const ptrdiff_t L = ctc->labels, columns = ctc->columns;
    const double blanks = sum(sweep->blanks, sweep->states), labels = sum(sweep->labels, sweep->states);
    const REAL scale = (REAL)ctc->scale, share = (REAL)(ctc->scale / (blanks + labels)), *x = sweep->x;
    char *given = ctc->grad + t * ctc->grad_frame_stride;
    REAL *grad = ctc->grad_direct && !ctc->around_cache ? (REAL *)given : sweep->output;
    if (ctc->of_logits) {
        const REAL *kept = (const REAL *)ctc->log_sums + 2 * t;
        const REAL max = ctc->log_sums ? kept[0] : R(0.0), log_sum = ctc->log_sums ? kept[1] : R(0.0);
        if (ctc->column_class) {
            grad[0] = x[ctc->column_class[0]];
            for (ptrdiff_t k = 1; k < columns; k++) /* what fills a row up counts nothing */
                grad[k] = ctc->column_class[k] == ctc->column_class[0] ? -REAL_INF : x[ctc->column_class[k]];
            x = grad;
        }
        for (ptrdiff_t start = 0; start < columns; start += CTC_BLOCK) {
            const ptrdiff_t end = columns - start < CTC_BLOCK ? columns : start + CTC_BLOCK;
            if (next)
                lf_prefetch((const char *)((const REAL *)next + start), (end - start) * (ptrdiff_t)sizeof(REAL));
#pragma omp simd
            for (ptrdiff_t c = start; c < end; c++)
                grad[c] = scale * lf_exp((x[c] - max) - log_sum);
        }
    } else {
        memset(grad, 0, (size_t)columns * sizeof(REAL));
    }
    grad[ctc->column[L]] -= share * (REAL)blanks;
    for (ptrdiff_t l = 0; l < L; l++)
        grad[ctc->column[sweep->backward ? L - 1 - l : l]] -= share * sweep->labels[l];
    if (ctc->around_cache)
        put_around_cache((REAL *)given, grad, columns);
    else if (grad != (REAL *)given)
        store(ctc->grad_kind, ctc->grad_swapped, given, ctc->grad_class_stride, columns, grad);
}

/* A gradient that is the same everywhere, for frames from `start` on. */
static void ctc_fill(const lf_ctc *ctc, ptrdiff_t start, ptrdiff_t end, double value) {
    REAL *grad = (REAL *)ctc->sweeps[0];
    if (start < end)
        fill(grad, ctc->columns, value);
    for (ptrdiff_t t = start; t < end; t++)
        store(ctc->grad_kind, ctc->grad_swapped, ctc->grad + t * ctc->grad_frame_stride, ctc->grad_class_stride,
              ctc->columns, grad);
}

/* The rest of a sweep, through the frames whose rows the other sweep kept: their gradients. Where it kept one row of
 * many, the others are computed once more, segment after segment. */
static void ctc_finish(const lf_ctc *ctc, int backward, double exponent) {
    const ptrdiff_t first = ctc_half(ctc, backward), kept = ctc_half(ctc, !backward), interval = ctc->interval;
    const ptrdiff_t row_reals = ctc_row_reals(ctc->labels);
    CTC_SWEEP sweep = ctc_sweep_in(ctc->sweeps[backward], ctc, backward), other = {0};
    REAL *rows = ctc->segments[backward], *before = sweep.rows[0], *row = sweep.rows[1];
    if (interval > 1)
        other = ctc_begin(ctc->again[backward], ctc, !backward);
    for (ptrdiff_t step = first; step < first + kept; step++) {
        const ptrdiff_t t = ctc_frame(&sweep, step), index = first + kept - 1 - step; /* the other sweep's step */
        const ptrdiff_t segment = index / interval, place = index % interval;
        const REAL *others = ctc_kept(ctc, !backward, segment);
        if (interval > 1) {
            if (index == kept - 1 || place == interval - 1) {
                memcpy(rows, others, (size_t)row_reals * sizeof(REAL));
                for (ptrdiff_t i = 1; i <= place; i++) {
                    ctc_emissions(&other, index - place + i, 0);
                    ctc_step(&other, index - place + i, rows + (i - 1) * row_reals, rows + i * row_reals);
                }
            }
            others = rows + place * row_reals;
        }
        ctc_emissions(&sweep, step, 0);
        /* exponents so great are rounded themselves, each frame's in its own way */
        const int far = exponent < -0x1p22;
        ctc_weigh(&sweep, step, before, row, others, far ? ctc_greatest(&sweep, before, others) : (REAL)exponent);
        const char *next = NULL;
        if (ctc->given.direct && !ctc->column_class && step + 1 < first + kept)
            next = ctc->given.input + ctc_frame(&sweep, step + 1) * ctc->given.frame_stride;
        ctc_gradient(&sweep, t, next);
        REAL *const done = before;
        before = row;
        row = done;
    }
}

#endif
