/* Decoding of connectionist temporal classification (Graves et al. 2006, doi:10.1145/1143844.1143891), one sequence at
 * a time: the best path through given labels (Viterbi), the best class of every frame, and the best labellings of all
 * by prefix beam search (Hannun et al. 2014, arXiv:1408.2873). */
#ifndef LF_DECODING_H
#define LF_DECODING_H

#include "abi.h"
#include "blocks.h"
#include "frames.h"
#include "real.h"
#include "rowwise.h"
#include "vmath.h"

static ptrdiff_t decoding_padded(ptrdiff_t n) {
    return (n + LF_LANE_MULTIPLE - 1) / LF_LANE_MULTIPLE * LF_LANE_MULTIPLE;
}

/* ---- the best path through given labels ---------------------------------------------------------------------- */

/* A row holds, for each state at a frame, the log-probability of the best way there, less what is the same for all. The
 * states are blank, label 0, blank, label 1, …, blank: blank l, state 2 l, stands before label l, state 2 l + 1. No
 * pointer back is kept: along the one path that is wanted, rows are compared once more. */

/* Frames after which the best state's value is taken off, so that values are small and rounded little. */
enum { ALIGN_NORMALISE = 16 };
/* REALs before the first label, of which the last is label -1: there is no way there. */
enum { ALIGN_MARGIN = LF_LANE_MULTIPLE };
/* What -inf and NaN count as: a way through them remains one, unlike that to a state out of reach. */
#define ALIGN_LEAST R(-1e30)

typedef struct {
    const lf_alignment *alignment;
    ptrdiff_t states, row_reals; /* blanks, or labels and one that is none, in whole vectors */
    int32_t *label;
    REAL *skip; /* 0 where a path may leave out the blank before a label, else -inf */
    REAL *emission, *input;
    REAL *starts; /* for each segment the row before it, … */
    REAL *rows;   /* … and, for one at a time, that row and its own */
} ALIGNMENT;

static ptrdiff_t align_row_reals(ptrdiff_t labels) { return 2 * decoding_padded(labels + 1) + ALIGN_MARGIN; }

static ptrdiff_t align_segments(ptrdiff_t frames, ptrdiff_t segment) { return (frames + segment - 1) / segment; }

static ptrdiff_t align_reals(ptrdiff_t frames, ptrdiff_t classes, ptrdiff_t labels, ptrdiff_t segment) {
    return 3 * decoding_padded(labels + 1) + decoding_padded(classes) +
           (align_segments(frames, segment) + segment + 1) * align_row_reals(labels);
}

static ALWAYS_INLINE REAL *align_labels(const ALIGNMENT *a, REAL *row) { return row + a->states + ALIGN_MARGIN; }

static ALWAYS_INLINE REAL greater_of(REAL a, REAL b) { return a > b ? a : b; }

static ALIGNMENT align_begin(const lf_alignment *alignment) {
    const ptrdiff_t L = alignment->labels, n = decoding_padded(L + 1);
    REAL *memory = alignment->memory, *starts = memory + 3 * n + decoding_padded(alignment->frames.classes);
    const ALIGNMENT a = {.alignment = alignment,
                         .states = n,
                         .row_reals = align_row_reals(L),
                         .label = (int32_t *)memory,
                         .skip = memory + n,
                         .emission = memory + 2 * n,
                         .input = memory + 3 * n,
                         .starts = starts,
                         .rows = starts +
                                 align_segments(alignment->frames.frames, alignment->segment) * align_row_reals(L)};
    for (ptrdiff_t l = 0; l < n; l++) {
        a.label[l] = alignment->label[l < L ? l : L];
        a.skip[l] = l > 0 && l < L && a.label[l] != a.label[l - 1] ? R(0.0) : -REAL_INF;
    }
    fill(starts, a.row_reals, -INFINITY);
    starts[0] = R(0.0); /* blank 0, from which the first frame is blank 0 or label 0 */
    return a;
}

static void align_step(const ALIGNMENT *a, ptrdiff_t t, REAL *before, REAL *row) {
    const ptrdiff_t n = a->states;
    const lf_alignment *alignment = a->alignment;
    const REAL *x = frame_row(&alignment->frames, t, a->input);
    const int32_t *label = a->label;
    REAL *restrict emission = a->emission;
    labels_prefetch(&alignment->frames, t + FRAMES_AHEAD, label, alignment->labels + 1);
#pragma omp simd
    for (ptrdiff_t l = 0; l < n; l++) {
        const REAL y = x[label[l]], floored = y > ALIGN_LEAST ? y : ALIGN_LEAST;
        emission[l] = floored < -ALIGN_LEAST ? floored : -ALIGN_LEAST;
    }
    const REAL blank_emission = emission[alignment->labels];
    for (ptrdiff_t l = alignment->labels; l < n; l++)
        emission[l] = -REAL_INF;
    const REAL *restrict old_blank = before, *restrict old_label = align_labels(a, before), *restrict skip = a->skip;
    REAL *restrict blank = row, *restrict labels = align_labels(a, row);
    labels[-1] = -REAL_INF;
#pragma omp simd
    for (ptrdiff_t l = 0; l < n; l++) {
        const REAL stay = old_label[l], from_blank = old_blank[l], from_label = old_label[l - 1];
        blank[l] = greater_of(from_blank, from_label) + blank_emission;
        labels[l] = greater_of(greater_of(stay, from_blank), from_label + skip[l]) + emission[l];
    }
    if ((t + 1) % ALIGN_NORMALISE == 0) {
        const REAL best = greater_of(row_max(blank, n), row_max(labels, n));
#pragma omp simd
        for (ptrdiff_t l = 0; l < n; l++)
            blank[l] -= best, labels[l] -= best;
    }
}

/* The rows of a segment; returns its number of frames. */
static ptrdiff_t align_segment(const ALIGNMENT *a, ptrdiff_t segment) {
    const ptrdiff_t start = segment * a->alignment->segment, rest = a->alignment->frames.frames - start,
                    frames = rest < a->alignment->segment ? rest : a->alignment->segment;
    memcpy(a->rows, a->starts + segment * a->row_reals, (size_t)a->row_reals * sizeof(REAL));
    for (ptrdiff_t i = 0; i < frames; i++)
        align_step(a, start + i, a->rows + i * a->row_reals, a->rows + (i + 1) * a->row_reals);
    return frames;
}

static REAL align_value(const ALIGNMENT *a, REAL *row, ptrdiff_t state) {
    return state % 2 == 0 ? row[state / 2] : align_labels(a, row)[(state + 1) / 2 - 1];
}

/* The state before, of equals the nearest. */
static ptrdiff_t align_back(const ALIGNMENT *a, REAL *row, ptrdiff_t state) {
    ptrdiff_t best = state;
    if (align_value(a, row, state - 1) > align_value(a, row, best))
        best = state - 1;
    if (state % 2 == 1 && a->skip[state / 2] == R(0.0) && align_value(a, row, state - 2) > align_value(a, row, best))
        best = state - 2;
    return best;
}

static void align(const lf_alignment *alignment) {
    const lf_frames *frames = &alignment->frames;
    const ptrdiff_t L = alignment->labels, segments = align_segments(frames->frames, alignment->segment);
    if (segments == 0)
        return;
    const ALIGNMENT a = align_begin(alignment);
    ptrdiff_t count = align_segment(&a, 0), size = alignment->score_kind == LF_FLOAT64   ? 8
                                                   : alignment->score_kind == LF_FLOAT32 ? 4
                                                                                         : 2;
    for (ptrdiff_t segment = 1; segment < segments; segment++) {
        memcpy(a.starts + segment * a.row_reals, a.rows + count * a.row_reals, (size_t)a.row_reals * sizeof(REAL));
        count = align_segment(&a, segment);
    }
    REAL *const last = a.rows + count * a.row_reals;
    REAL score = R(0.0); /* a kind that load does not know is none of log_probs */
    ptrdiff_t state = align_value(&a, last, 2 * L) > align_value(&a, last, 2 * L - 1) ? 2 * L : 2 * L - 1;
    for (ptrdiff_t segment = segments - 1; segment >= 0; segment--) {
        if (segment < segments - 1)
            count = align_segment(&a, segment);
        for (ptrdiff_t i = count - 1; i >= 0; i--) {
            const ptrdiff_t t = segment * alignment->segment + i;
            const int32_t class = alignment->label[state % 2 == 0 ? L : state / 2];
            alignment->path[t] = class;
            load(frames->kind, frames->swapped, frames->input + t * frames->frame_stride + class * frames->class_stride,
                 0, 1, &score);
            store(alignment->score_kind, 0, alignment->scores + t * size, 0, 1, &score);
            state = align_back(&a, a.rows + i * a.row_reals, state);
        }
    }
}

/* ---- the best class of every frame --------------------------------------------------------------------------- */

/* The first class of the greatest, or the first NaN. */
static ptrdiff_t greedy_class(const REAL *x, ptrdiff_t n) {
    const REAL max = row_max(x, n);
    IREAL nan = 0;
#pragma omp simd reduction(| : nan)
    for (ptrdiff_t c = 0; c < n; c++)
        nan |= NONZERO_IF(x[c] != x[c]);
    if (!nan)
        return row_argmax(x, n, max);
    ptrdiff_t first = 0;
    while (x[first] == x[first])
        first++;
    return first;
}

static ptrdiff_t greedy(const lf_frames *frames, int32_t blank, ptrdiff_t start, ptrdiff_t end, void *row,
                        int64_t *labels) {
    ptrdiff_t count = 0, before = start ? greedy_class(frame_row(frames, start - 1, row), frames->classes) : blank;
    for (ptrdiff_t t = start; t < end; t++) {
        frame_prefetch(frames, t + FRAMES_AHEAD);
        const ptrdiff_t class = greedy_class(frame_row(frames, t, row), frames->classes);
        if (class != before && class != blank)
            labels[count++] = class;
        before = class;
    }
    return count;
}

/* ---- the best labellings ------------------------------------------------------------------------------------- */

/* The beam holds the best prefixes of labellings, the best first. Each knows the log-probabilities of all paths that
 * collapse to it and end in a blank, and of those that end in its last label. A frame prolongs them by a blank or by
 * their last label, which leaves them what they are, or by another label; what becomes of a prefix in that way and what
 * becomes a prefix of the beam by its own last label add up. The prefixes are nodes of a tree, one for each labelling,
 * in which those that lead to no prefix of the beam make room for others: after t frames B prefixes hold on to at most
 * B t nodes beside the root. */

#if LF_REAL_BITS == 64

typedef struct {
    int32_t parent, label;  /* -1 at the root */
    int32_t child, sibling; /* -1: none */
    int32_t rank;           /* in the beam, or one of the below */
} PREFIX;

enum { NOT_IN_BEAM = -1, VACANT = -2 };

/* Candidates that are sorted by counting the better ones of each: no branch that is hard to foresee. */
enum { RUN = 32 };

/* The prefixes of a beam by rank. */
typedef struct {
    REAL *total, *blank, *label; /* log-probabilities of all paths, of those that end in a blank, in a label */
    int32_t *prefix, *last;      /* node and last label, -1 at the root */
} BEAM;

/* What the next beam is chosen from: prefixes as they stay, of class -1, and prolonged by another class. */
typedef struct {
    REAL *log_prob;
    int32_t *rank, *class;
} CANDIDATES;

typedef struct {
    const lf_beam *settings;
    ptrdiff_t size;
    int bad; /* a NaN or an infinite probability was met */
    BEAM beam, next;
    BEAM stay;      /* what prefixes become without another label; no nodes */
    REAL *joining;  /* log-probability that comes from the prefix that is shorter by one label */
    REAL *emission; /* of the last labels */
    REAL *input;
    int32_t *of_class; /* per class the first prefix of the beam that ends in it and whose parent is in it too, or -1 */
    int32_t *same_class; /* the next of these */
    int32_t *exists;     /* the last class by which a prefix would become another one of the beam */
    CANDIDATES candidates, sorted;
    ptrdiff_t count;
    REAL threshold; /* what is not better has no place */
    PREFIX *prefixes;
    int32_t used, vacant; /* nodes; the first that is free to be used again, or -1 */
} SEARCH;

/* Takes memory off an allocation; with NULL it is counted only. */
static void *search_take(char *memory, size_t *used, size_t bytes) {
    char *const taken = memory ? memory + *used : NULL;
    *used += (bytes + 63) / 64 * 64;
    return taken;
}

static BEAM search_take_beam(char *memory, size_t *used, size_t size) {
    BEAM beam;
    beam.total = search_take(memory, used, size * sizeof(REAL));
    beam.blank = search_take(memory, used, size * sizeof(REAL));
    beam.label = search_take(memory, used, size * sizeof(REAL));
    beam.prefix = search_take(memory, used, size * sizeof(int32_t));
    beam.last = search_take(memory, used, size * sizeof(int32_t));
    return beam;
}

static ptrdiff_t search_capacity(ptrdiff_t beam) { return (2 * beam + RUN - 1) / RUN * RUN; }

static CANDIDATES search_take_candidates(char *memory, size_t *used, ptrdiff_t beam) {
    const size_t capacity = (size_t)search_capacity(beam);
    CANDIDATES candidates;
    candidates.log_prob = search_take(memory, used, capacity * sizeof(REAL));
    candidates.rank = search_take(memory, used, capacity * sizeof(int32_t));
    candidates.class = search_take(memory, used, capacity * sizeof(int32_t));
    return candidates;
}

static size_t search_layout(SEARCH *s, char *memory, ptrdiff_t frames, ptrdiff_t classes, ptrdiff_t beam) {
    const size_t size = (size_t)decoding_padded(beam), nodes = (size_t)beam * (size_t)frames + 1;
    size_t used = 0;
    search_take(memory, &used, sizeof(SEARCH));
    s->beam = search_take_beam(memory, &used, size);
    s->next = search_take_beam(memory, &used, size);
    s->stay = search_take_beam(memory, &used, size);
    s->joining = search_take(memory, &used, size * sizeof(REAL));
    s->emission = search_take(memory, &used, size * sizeof(REAL));
    s->input = search_take(memory, &used, (size_t)classes * sizeof(REAL));
    s->of_class = search_take(memory, &used, (size_t)classes * sizeof(int32_t));
    s->same_class = search_take(memory, &used, size * sizeof(int32_t));
    s->exists = search_take(memory, &used, size * sizeof(int32_t));
    s->candidates = search_take_candidates(memory, &used, beam);
    s->sorted = search_take_candidates(memory, &used, beam);
    s->prefixes = search_take(memory, &used, nodes * sizeof(PREFIX));
    return used;
}

static size_t search_bytes(ptrdiff_t frames, ptrdiff_t classes, ptrdiff_t beam) {
    SEARCH s;
    return search_layout(&s, NULL, frames, classes, beam);
}

/* log(e^a + e^b) */
static ALWAYS_INLINE REAL log_of_sum(REAL a, REAL b) {
    const REAL high = a > b ? a : b, low = a > b ? b : a, d = low > -REAL_INF ? low - high : -REAL_INF;
    return high + lf_log1p_unit(lf_exp_nonpositive(d));
}

/* NaN and infinite probabilities count as 0 in the search. */
static ALWAYS_INLINE REAL probable(REAL x) { return x < REAL_INF ? x : -REAL_INF; }

/* ---- its candidates */

static void search_add(SEARCH *s, REAL log_prob, int32_t rank, int32_t class) {
    const CANDIDATES c = s->candidates;
    c.log_prob[s->count] = log_prob;
    c.rank[s->count] = rank;
    c.class[s->count++] = class;
}

static ALWAYS_INLINE void search_move(CANDIDATES to, ptrdiff_t at, CANDIDATES from, ptrdiff_t i) {
    to.log_prob[at] = from.log_prob[i];
    to.rank[at] = from.rank[i];
    to.class[at] = from.class[i];
}

/* RUN candidates or fewer, from `start` on. */
static void search_sort_run(CANDIDATES from, CANDIDATES to, ptrdiff_t start, ptrdiff_t count) {
    REAL x[RUN], order[RUN], place[RUN] = {0}; /* numbers all: of integers and doubles SSE2 makes no vectors */
    for (int i = 0; i < RUN; i++)
        x[i] = i < count ? from.log_prob[start + i] : -REAL_INF, order[i] = (REAL)i;
    for (int j = 0; j < (int)count; j++) {
        const REAL other = x[j], earlier = (REAL)j;
#pragma omp simd
        for (int i = 0; i < RUN; i++)
            place[i] += (other > x[i]) | ((other == x[i]) & (earlier < order[i])) ? R(1.0) : R(0.0);
    }
    for (ptrdiff_t i = 0; i < count; i++)
        search_move(to, start + (ptrdiff_t)place[i], from, start + i);
}

/* Two runs that are neighbours. */
static void search_merge(CANDIDATES from, CANDIDATES to, ptrdiff_t start, ptrdiff_t middle, ptrdiff_t end) {
    ptrdiff_t a = start, b = middle;
    for (ptrdiff_t at = start; at < end; at++) {
        const int second = a == middle || (b < end && from.log_prob[b] > from.log_prob[a]);
        search_move(to, at, from, second ? b : a);
        a += !second, b += second;
    }
}

/* The best first, equals as they were, and no more than the beam holds. */
static void search_settle(SEARCH *s) {
    const ptrdiff_t count = s->count, beam = s->settings->beam;
    for (ptrdiff_t start = 0; start < count; start += RUN)
        search_sort_run(s->candidates, s->sorted, start, count - start < RUN ? count - start : RUN);
    for (ptrdiff_t run = RUN; run < count; run *= 2) {
        const CANDIDATES from = s->sorted;
        for (ptrdiff_t start = 0; start < count; start += 2 * run) {
            const ptrdiff_t middle = start + run < count ? start + run : count,
                            end = middle + run < count ? middle + run : count;
            search_merge(from, s->candidates, start, middle, end);
        }
        s->sorted = s->candidates;
        s->candidates = from;
    }
    const CANDIDATES done = s->sorted;
    s->sorted = s->candidates;
    s->candidates = done;
    if (count >= beam) {
        s->count = beam;
        s->threshold = done.log_prob[beam - 1];
    }
}

/* The prefixes of the beam prolonged by one class. */
static void search_prolong(SEARCH *s, ptrdiff_t class, REAL log_prob) {
    const BEAM *b = &s->beam;
    const ptrdiff_t capacity = search_capacity(s->settings->beam);
    for (int32_t r = s->of_class[class]; r >= 0; r = s->same_class[r])
        s->exists[s->prefixes[s->prefixes[b->prefix[r]].parent].rank] = (int32_t)class;
    for (ptrdiff_t r = 0; r < s->size; r++) {
        REAL all = b->total[r] + log_prob;
        if (!(all > s->threshold))
            break;
        if (s->exists[r] == class)
            continue;
        if (b->last[r] == class) {
            all = b->blank[r] + log_prob;
            if (!(all > s->threshold))
                continue;
        }
        if (s->count == capacity)
            search_settle(s);
        search_add(s, all, (int32_t)r, (int32_t)class);
    }
}

/* Classes that are looked at together: a bit for each. */
enum { LOOK = 4 * LF_ROW_LANES };

/* Which of LOOK classes are probable enough; and whether one is no probability. Half of the bits at a time are added up
 * as a number, without rounding: of doubles and integers SSE2 makes no vectors. */
static UREAL search_look(const REAL *x, REAL least, int *bad) {
    static const REAL bit[LF_ROW_LANES] = {0x1p0, 0x1p1, 0x1p2,  0x1p3,  0x1p4,  0x1p5,  0x1p6,  0x1p7,
                                           0x1p8, 0x1p9, 0x1p10, 0x1p11, 0x1p12, 0x1p13, 0x1p14, 0x1p15};
    UREAL all = 0;
    REAL improper = R(0.0);
    for (int half = 0; half < 2; half++, x += LOOK / 2) {
        REAL found = R(0.0);
#pragma omp simd reduction(+ : found, improper)
        for (int lane = 0; lane < LF_ROW_LANES; lane++) {
            const REAL y = x[lane], z = x[lane + LF_ROW_LANES], low = y >= least ? bit[lane] : R(0.0);
            const REAL high = z >= least ? bit[lane] : R(0.0);
            found += low + high * R(0x1p16);
            improper += (y < REAL_INF) & (z < REAL_INF) ? R(0.0) : R(1.0);
        }
        all |= (UREAL)(IREAL)found << (half * LOOK / 2);
    }
    *bad |= improper != R(0.0);
    return all;
}

/* What the prefixes of the beam become, and all that could be better than the worst of these. */
static void search_candidates(SEARCH *s, const REAL *x) {
    const BEAM *b = &s->beam, *stay = &s->stay;
    const ptrdiff_t beam = s->settings->beam, classes = s->settings->frames.classes, blank = s->settings->blank;
    const ptrdiff_t size = s->size, padded = decoding_padded(size);
    const REAL blank_emission = probable(x[blank]);
    for (ptrdiff_t r = 0; r < size; r++) {
        const int32_t last = b->last[r], parent = s->prefixes[b->prefix[r]].parent,
                      from = parent < 0 ? NOT_IN_BEAM : s->prefixes[parent].rank;
        s->emission[r] = last < 0 ? -REAL_INF : probable(x[last]);
        s->joining[r] = from < 0 ? -REAL_INF : b->last[from] == last ? b->blank[from] : b->total[from];
        s->exists[r] = -1;
        if (from >= 0) {
            s->same_class[r] = s->of_class[last];
            s->of_class[last] = (int32_t)r;
        }
    }
#pragma omp simd
    for (ptrdiff_t r = 0; r < padded; r++) {
        stay->blank[r] = b->total[r] + blank_emission;
        stay->label[r] = log_of_sum(b->label[r], s->joining[r]) + s->emission[r];
        stay->total[r] = log_of_sum(stay->blank[r], stay->label[r]);
    }
    s->count = 0;
    s->threshold = size < beam ? -REAL_INF : REAL_INF;
    for (ptrdiff_t r = 0; r < size; r++) {
        search_add(s, stay->total[r], (int32_t)r, -1);
        if (size == beam && stay->total[r] < s->threshold)
            s->threshold = stay->total[r];
    }
    for (ptrdiff_t start = 0; start < classes; start += LOOK) {
        /* a class too improbable for the best prefix is so for all; the sum that decides is rounded */
        const REAL best = b->total[0], least = s->threshold - best - REAL_EPS * (ABS(s->threshold) + ABS(best));
        UREAL found;
        if (start + LOOK <= classes) {
            found = search_look(x + start, least, &s->bad);
        } else {
            REAL rest[LOOK];
            fill(rest, LOOK, -INFINITY);
            memcpy(rest, x + start, (size_t)(classes - start) * sizeof(REAL));
            found = search_look(rest, least, &s->bad) & (((UREAL)1 << (classes - start)) - 1);
        }
        for (; found; found &= found - 1) {
            const ptrdiff_t class = start + __builtin_ctzll(found);
            if (class != blank && x[class] < REAL_INF)
                search_prolong(s, class, x[class]);
        }
    }
    for (ptrdiff_t r = 0; r < size; r++)
        if (b->last[r] >= 0)
            s->of_class[b->last[r]] = -1;
    search_settle(s);
}

/* ---- its tree */

/* The child of a node by a label. It may be there already: as the beginning of a prefix of the beam. */
static int32_t search_child(SEARCH *s, int32_t parent, int32_t label) {
    PREFIX *const p = s->prefixes;
    for (int32_t child = p[parent].child; child >= 0; child = p[child].sibling)
        if (p[child].label == label)
            return child;
    const int32_t made = s->vacant >= 0 ? s->vacant : s->used;
    if (s->vacant >= 0)
        s->vacant = p[made].sibling;
    else
        s->used++;
    p[made] = (PREFIX){parent, label, -1, p[parent].child, NOT_IN_BEAM};
    p[parent].child = made;
    return made;
}

/* A node that has left the beam goes, if nothing hangs on it, and so do those that it alone hung on. */
static void search_release(SEARCH *s, int32_t node) {
    PREFIX *const p = s->prefixes;
    while (p[node].rank == NOT_IN_BEAM && p[node].child < 0 && p[node].parent >= 0) {
        const int32_t parent = p[node].parent;
        int32_t *link = &p[parent].child;
        while (*link != node)
            link = &p[*link].sibling;
        *link = p[node].sibling;
        p[node].rank = VACANT;
        p[node].sibling = s->vacant;
        s->vacant = node;
        node = parent;
    }
}

/* The best candidates are the next beam. */
static void search_advance(SEARCH *s) {
    const BEAM old = s->beam, new = s->next, *stay = &s->stay;
    const ptrdiff_t size = s->size;
    for (ptrdiff_t r = 0; r < size; r++)
        s->prefixes[old.prefix[r]].rank = NOT_IN_BEAM;
    for (ptrdiff_t rank = 0; rank < s->count; rank++) {
        const int32_t from = s->candidates.rank[rank], class = s->candidates.class[rank];
        new.total[rank] = s->candidates.log_prob[rank];
        if (class < 0) {
            new.blank[rank] = stay->blank[from];
            new.label[rank] = stay->label[from];
            new.prefix[rank] = old.prefix[from];
            new.last[rank] = old.last[from];
        } else {
            new.blank[rank] = -REAL_INF;
            new.label[rank] = new.total[rank];
            new.prefix[rank] = search_child(s, old.prefix[from], class);
            new.last[rank] = class;
        }
        s->prefixes[new.prefix[rank]].rank = (int32_t)rank;
    }
    for (ptrdiff_t r = 0; r < size; r++)
        search_release(s, old.prefix[r]);
    s->beam = new;
    s->next = old;
    s->size = s->count;
}

static ptrdiff_t search(const lf_beam *settings) {
    const lf_frames *frames = &settings->frames;
    SEARCH *s = settings->memory;
    const size_t reals = (size_t)decoding_padded(settings->beam);
    *s = (SEARCH){.settings = settings, .size = 1, .used = 1, .vacant = -1};
    search_layout(s, settings->memory, frames->frames, frames->classes, settings->beam);
    /* of the last vector, numbers that are none are computed with too */
    fill(s->beam.total, (ptrdiff_t)reals, -INFINITY);
    fill(s->beam.label, (ptrdiff_t)reals, -INFINITY);
    fill(s->next.total, (ptrdiff_t)reals, -INFINITY);
    fill(s->next.label, (ptrdiff_t)reals, -INFINITY);
    fill(s->joining, (ptrdiff_t)reals, -INFINITY);
    fill(s->emission, (ptrdiff_t)reals, -INFINITY);
    for (ptrdiff_t c = 0; c < frames->classes; c++)
        s->of_class[c] = -1;
    s->prefixes[0] = (PREFIX){-1, -1, -1, -1, 0};
    s->beam.total[0] = s->beam.blank[0] = R(0.0);
    s->beam.label[0] = -REAL_INF;
    s->beam.prefix[0] = 0;
    s->beam.last[0] = -1;
    for (ptrdiff_t t = 0; t < frames->frames; t++) {
        frame_prefetch(frames, t + FRAMES_AHEAD);
        search_candidates(s, frame_row(frames, t, s->input));
        search_advance(s);
    }
    ptrdiff_t found = s->size;
    while (found > 1 && s->beam.total[found - 1] == -REAL_INF)
        found--;
    return found;
}

static double search_log_prob(const lf_beam *settings, ptrdiff_t rank) {
    const SEARCH *s = settings->memory;
    return s->bad ? REAL_NAN : s->beam.total[rank];
}

static ptrdiff_t search_labelling(const lf_beam *settings, ptrdiff_t rank, int64_t *labels) {
    const SEARCH *s = settings->memory;
    ptrdiff_t count = 0;
    for (int32_t node = s->beam.prefix[rank]; s->prefixes[node].parent >= 0; node = s->prefixes[node].parent)
        count++;
    if (labels)
        for (int32_t node = s->beam.prefix[rank], l = (int32_t)count; l > 0; node = s->prefixes[node].parent)
            labels[--l] = s->prefixes[node].label;
    return count;
}

#define LF_DECODING {align_reals, align, greedy, search_bytes, search, search_log_prob, search_labelling}
#else
#define LF_DECODING {align_reals, align, greedy, NULL, NULL, NULL, NULL}
#endif

#endif
