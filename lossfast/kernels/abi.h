/* What the drivers know of the kernels: the structures they share and the table that every build exports.
 *
 * A table exists once per precision and instruction set. REAL arrays cross this border as void pointers, because one
 * declaration serves the float and the double table. */
#ifndef LF_ABI_H
#define LF_ABI_H

#include <stddef.h>
#include <stdint.h>

enum { LF_MAX_OPERANDS = 4, LF_MAX_PARAMETERS = 4, LF_MAX_DIMS = 64 };

/* Elements of one block: the unit of work, of scratch memory and of summation. 2048 doubles are 16 KiB, so the three
 * to four blocks that a kernel has in hand stay in a 32 KiB first-level cache in float32 and in the second in float64.
 * Partial sums are formed per block: changing this number changes the last bits of published values. */
enum { LF_BLOCK = 2048 };

/* ---- arrays -------------------------------------------------------------------------------------------------- */

typedef enum {
    LF_BOOL,
    LF_INT8,
    LF_UINT8,
    LF_INT16,
    LF_UINT16,
    LF_INT32,
    LF_UINT32,
    LF_INT64,
    LF_UINT64,
    LF_FLOAT16,
    LF_BFLOAT16,
    LF_FLOAT32,
    LF_FLOAT64,
    LF_KINDS
} lf_kind;

/* An array seen as one axis after another of a common iteration space; a broadcast axis has stride 0. */
typedef struct {
    char *data;
    lf_kind kind;
    int swapped; /* bytes in the order that is not the machine's */
    int direct;  /* aligned, native, contiguous REAL: used in place, never copied */
    int ndim;
    const ptrdiff_t *shape; /* shared by all arrays of a call */
    ptrdiff_t strides[LF_MAX_DIMS];
} lf_array;

/* ---- elementwise losses -------------------------------------------------------------------------------------- */

/* One loop per combination of outputs that is worth code of its own; LF_EVERYTHING serves the rest. */
enum { LF_VALUE, LF_VALUE_GRAD, LF_VALUE_GRAD_HESS, LF_VALUE_GRADS, LF_EVERYTHING, LF_LOOPS };

typedef enum { LF_EXACT, LF_FISHER, LF_MAJORIZER, LF_UNIT } lf_curvature;

typedef struct {
    double parameters[LF_MAX_PARAMETERS];
    double scale; /* multiplies gradients and Hessians */
    double floor; /* the least Hessian before scaling; -inf leaves it alone */
    lf_curvature curvature;
    const void *context; /* of a loop that is not a kernel of the table */
} lf_settings;

/* outputs: value, the gradients of the operands, their Hessians. LF_VALUE_GRAD and LF_VALUE_GRAD_HESS write those of
 * the first operand, LF_VALUE_GRADS and LF_EVERYTHING those of all of them; each writes all its outputs. An output may
 * be an operand itself. Returns whether an operand left the domain of the loss. */
enum { LF_OUT_VALUE = 0, LF_OUT_GRAD = 1, LF_OUT_HESS = 1 + LF_MAX_OPERANDS, LF_OUTPUTS = 1 + 2 * LF_MAX_OPERANDS };
typedef int (*lf_elementwise_loop)(ptrdiff_t n, const void *const *operands, const lf_settings *settings,
                                   void *const *outputs);

/* Value, or value and gradient by the first operand, where of the values only the sum is wanted: one pass. The sum has
 * the bits of lf_table.sum. `grad` NULL: none; around the cache it has to be aligned to 16 bytes. */
typedef int (*lf_elementwise_sum)(ptrdiff_t n, const void *const *operands, const lf_settings *settings, void *grad,
                                  int around_cache, double *sum);

typedef struct {
    const char *name;
    int operands, parameters;
    lf_elementwise_loop loops[LF_LOOPS];
    lf_elementwise_sum value_sum, value_sum_grad;
} lf_elementwise;

/* ---- rowwise losses: one loss per row of classes ------------------------------------------------------------- */

/* Rows in lanes: as many rows of one tile are computed side by side. A multiple of every vector length. */
enum { LF_LANES = 256, LF_LANE_MULTIPLE = 16 };
/* Rows one after another: their classes in vectors of so many, whatever an instruction set has; and what comes once for
 * each row in vectors over so many rows, of together so many bytes. */
enum { LF_ROW_LANES = 16, LF_TOGETHER = 16, LF_DRAFT_BYTES = 32768 };

typedef struct {
    ptrdiff_t classes;
    double parameters[LF_MAX_PARAMETERS];
    const void *class_weight; /* REAL[classes], or NULL for ones */
    double floor;             /* as in lf_settings */
    lf_curvature curvature;
} lf_row_settings;

/* The arrays with a class axis that a call can have. */
enum { LF_INPUT, LF_TARGET, LF_GRAD, LF_HESS, LF_TARGET_GRAD, LF_ROW_TABLES };

/* `lanes` rows: one after another, each with its classes side by side and next[table] REALs from the one before; or in
 * lanes, with class c of lane l at [c * stride + l]. What the driver makes for the kernel, the labels and the scratch
 * memory, has a stride of its own in lanes: own_stride; else it is that of one row, and lists come with one row. */
typedef struct {
    ptrdiff_t lanes, stride, own_stride, next[LF_ROW_TABLES];
    const void *input; /* REAL */
    const int32_t
        *label;         /* label k of lane l at [k * own_stride + l], -1 where there is none; NULL for probabilities */
    ptrdiff_t labels;   /* of the lane that has most; 1 unless the target holds lists of them */
    const void *target; /* REAL probabilities, or NULL */
    const void *scale;  /* REAL per lane: multiplies gradients and Hessians */
    void *value;        /* REAL per lane */
    void *grad, *hess, *target_grad; /* as input; NULL where not wanted; grad or hess may be input */
    void *scratch;                   /* as many tables as the kernel asks for */
    /* Rows one after another: where gradients, or only exponentials, are made, in whole vectors; each row is aligned
     * and has room for a multiple of LF_ROW_LANES. It is grad itself where that is so, else memory for as many rows as
     * are computed together; NULL with very many classes and no gradient. */
    void *draft;
    ptrdiff_t draft_next;
    int around_cache; /* grad is written so, and is not the draft */
} lf_rows;

typedef void (*lf_rowwise_kernel)(const lf_row_settings *settings, const lf_rows *rows);

typedef struct {
    const char *name;
    lf_rowwise_kernel row;   /* rows one after another: vectors along the classes */
    lf_rowwise_kernel lanes; /* rows in lanes: vectors across the rows; NULL: row after row, whatever the layout */
    ptrdiff_t few_classes;   /* so many classes or fewer are better off in lanes, transposed if need be */
    int scratch;             /* tables of working memory, with a REAL for every class and lane */
    int label_alone;         /* of a row its label's class is all that is read */
} lf_rowwise;

/* ---- pairwise losses: one loss per row of embeddings that are compared with each other ----------------------- */

enum { LF_MAX_EMBEDDINGS = 3 };

typedef struct {
    ptrdiff_t features;
    ptrdiff_t lengths[LF_MAX_EMBEDDINGS]; /* of each embedding: features, or 1 where its only one is repeated */
    double parameters[LF_MAX_PARAMETERS];
} lf_pair_settings;

/* `rows` rows whose features are side by side; of embedding k they begin strides[k] REALs apart. */
typedef struct {
    ptrdiff_t rows;
    const void *embeddings[LF_MAX_EMBEDDINGS]; /* REAL */
    ptrdiff_t strides[LF_MAX_EMBEDDINGS];
    const void *target;             /* REAL per row, or NULL */
    const void *scale;              /* REAL per row: multiplies gradients */
    void *value;                    /* REAL per row */
    void *grads[LF_MAX_EMBEDDINGS]; /* all of them, or all NULL; may be the embeddings, element by element */
    ptrdiff_t grad_strides[LF_MAX_EMBEDDINGS];
    void *target_grad; /* REAL per row, or NULL */
} lf_pairs;

/* Returns whether a target left the domain of the loss. */
typedef int (*lf_pairwise_kernel)(const lf_pair_settings *settings, const lf_pairs *pairs);

typedef struct {
    const char *name;
    int embeddings, parameters;
    lf_pairwise_kernel rows;
} lf_pairwise;

/* ---- maps: one array in, one out (sigmoid, softplus, …) ------------------------------------------------------ */

typedef struct {
    const char *name;
    void (*loop)(ptrdiff_t n, const void *input, void *output);
} lf_map;

/* Memory that is needed soon; the processor's own prefetching stops at every page. */
static inline void lf_prefetch(const char *from, ptrdiff_t bytes) {
    for (ptrdiff_t line = 0; line < bytes; line += 64)
        __builtin_prefetch(from + line);
}

/* ---- sequences ------------------------------------------------------------------------------------------------ */

/* What a sequence has for each frame and class, log-probabilities or logits, of any kind and at any strides (bytes);
 * direct: REALs, side by side. */
typedef struct {
    ptrdiff_t frames, classes;
    const char *input;
    lf_kind kind;
    int swapped, direct;
    ptrdiff_t frame_stride, class_stride;
} lf_frames;

/* One sequence of a connectionist temporal classification and the memory that it is computed in. */
typedef struct {
    lf_frames given;
    ptrdiff_t labels;
    const int32_t *label; /* [labels + 1]: the labels, then the blank */
    void *log_sums;       /* with logits two REALs per frame, else NULL */
    /* the gradient, likewise, multiplied by scale; of_logits: probability less occupancy, else -occupancy */
    char *grad;
    lf_kind grad_kind;
    int grad_swapped, grad_direct, around_cache, of_logits;
    ptrdiff_t grad_frame_stride, grad_class_stride, columns;
    const int32_t *column;       /* [labels + 1]: where the gradient by a label, and by the blank, stands */
    const int32_t *column_class; /* [columns]: the classes that the gradient has, or NULL for all; the first, once more,
                                    where a sequence has fewer */
    double scale;
    ptrdiff_t interval; /* of the steps whose rows are kept: 0 for none, 1 for all */
    void *sweeps[2];    /* forward and backward; sweep_reals REALs each */
    void *kept[2];      /* row_reals per kept step */
    void *segments[2];  /* with an interval above 1: row_reals per step of one interval … */
    void *again[2];     /* … and sweep_reals, to compute what was not kept */
} lf_ctc;

typedef struct {
    ptrdiff_t (*row_reals)(ptrdiff_t labels);
    ptrdiff_t (*sweep_reals)(ptrdiff_t classes, ptrdiff_t labels);
    /* both sweeps, in any order or at once; then the total; then both may be finished, in any order or at once */
    int (*sweep)(const lf_ctc *ctc, int backward);
    void (*total)(const lf_ctc *ctc, double *fraction, double *exponent);
    void (*finish)(const lf_ctc *ctc, int backward, double exponent);
    void (*fill)(const lf_ctc *ctc, ptrdiff_t start, ptrdiff_t end, double value);
} lf_ctc_kernel;

/* ---- decoding of sequences ------------------------------------------------------------------------------------ */

typedef struct {
    lf_frames frames;
    ptrdiff_t labels;
    const int32_t *label; /* [labels + 1]: the labels, then the blank */
    ptrdiff_t segment;    /* frames whose rows are in memory at once; if not all, the others are computed twice */
    void *memory;         /* align_reals */
    int64_t *path;        /* per frame its class … */
    char *scores;         /* … and the log-probability of that, contiguous */
    lf_kind score_kind;
} lf_alignment;

typedef struct {
    lf_frames frames;
    int32_t blank;
    ptrdiff_t beam;
    void *memory; /* search_bytes; holds the result */
} lf_beam;

typedef struct {
    ptrdiff_t (*align_reals)(ptrdiff_t frames, ptrdiff_t classes, ptrdiff_t labels, ptrdiff_t segment);
    void (*align)(const lf_alignment *alignment);
    /* the labels of [start, end), of which the first is compared with the frame before; returns how many */
    ptrdiff_t (*greedy)(const lf_frames *frames, int32_t blank, ptrdiff_t start, ptrdiff_t end, void *row,
                        int64_t *labels);
    /* in the float64 table alone, which serves every kind; `direct` then means float64 */
    size_t (*search_bytes)(ptrdiff_t frames, ptrdiff_t classes, ptrdiff_t beam);
    /* returns how many labellings were found, at least one, the best first */
    ptrdiff_t (*search)(const lf_beam *beam);
    double (*log_prob)(const lf_beam *beam, ptrdiff_t rank);
    /* returns how many; NULL: only that */
    ptrdiff_t (*labelling)(const lf_beam *beam, ptrdiff_t rank, int64_t *labels);
} lf_decoding;

/* ---- products of matrices -------------------------------------------------------------------------------------- */

/* c = start + a b, or c += a b, of REALs whose places in a row or column are so many REALs apart, or one. */
typedef struct {
    ptrdiff_t rows, columns, terms; /* c has rows and columns, a has rows and terms */
    const void *a;
    ptrdiff_t a_row, a_column;
    const void *b; /* its rows are read to the next multiple of LF_LANE_MULTIPLE columns */
    ptrdiff_t b_row;
    const void *start; /* a REAL for each row, or NULL for zeros */
    void *c;
    ptrdiff_t c_row;
    int add;
} lf_product;

/* ---- the table ----------------------------------------------------------------------------------------------- */

typedef struct {
    const lf_elementwise *elementwise;
    const lf_rowwise *const *rowwise;
    const lf_pairwise *pairwise;
    const lf_map *maps;
    int elementwise_count, rowwise_count, pairwise_count, map_count;
    lf_ctc_kernel ctc;
    lf_decoding decoding;

    /* n elements from flat index `start`: the array itself where it is direct, else a converted copy in scratch */
    const void *(*gather)(const lf_array *array, ptrdiff_t start, ptrdiff_t n, void *scratch);
    /* integer labels; those beyond int64 saturate */
    void (*gather_labels)(const lf_array *array, ptrdiff_t start, ptrdiff_t n, int64_t *labels);
    /* whether a label is outside of [low, high); high < 2^62 */
    int (*outside)(const int64_t *labels, ptrdiff_t n, int64_t low, int64_t high);
    /* labels of rows: -1 for those that are ignored or outside of [0, classes) */
    void (*narrow_labels)(const int64_t *labels, ptrdiff_t n, int64_t classes, int ignoring, int64_t ignore_index,
                          int32_t *to);
    /* the labels of a list of n before the first that is none of n classes; returns how many, `to_stride` apart */
    ptrdiff_t (*load_list)(lf_kind kind, int swapped, const char *from, ptrdiff_t stride, ptrdiff_t n, int32_t *to,
                           ptrdiff_t to_stride);
    /* the other way round; nothing happens where values is the array's own memory */
    void (*scatter)(const lf_array *array, ptrdiff_t start, ptrdiff_t n, const void *values);
    /* n elements, `stride` bytes apart, of any kind to or from contiguous REAL */
    void (*load)(lf_kind kind, int swapped, const char *from, ptrdiff_t stride, ptrdiff_t n, void *to);
    void (*store)(lf_kind kind, int swapped, char *to, ptrdiff_t stride, ptrdiff_t n, const void *from);
    void (*transpose)(const void *from, ptrdiff_t from_stride, void *to, ptrdiff_t to_stride, ptrdiff_t rows,
                      ptrdiff_t columns);
    void (*fill)(void *to, ptrdiff_t n, double value);
    void (*multiply)(void *product, const void *factor, ptrdiff_t n);
    /* total += part * factor, both rounded; a part that is the total itself is the first */
    void (*accumulate)(void *total, const void *part, double factor, ptrdiff_t n);
    double (*sum)(const void *values, ptrdiff_t n);
    void (*product)(const lf_product *product);
    /* of every row of `length`, divided; `sums` may be `values` */
    void (*sum_rows)(const void *values, ptrdiff_t rows, ptrdiff_t length, double divisor, void *sums);
    /* c = a - b: the least that a loss with a gradient moves, to measure the memory with */
    void (*subtract)(ptrdiff_t n, const void *a, const void *b, void *c, int around_cache);
} lf_table;

#endif
