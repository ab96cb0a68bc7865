# What the drivers share: the kernel tables (kernels/abi.h), threads, and the description of arrays.
cimport numpy as cnp
from libc.math cimport fabs, isfinite
from libc.stdint cimport int32_t, int64_t

cdef extern from "abi.h" nogil:
    enum:
        LF_MAX_OPERANDS, LF_MAX_PARAMETERS, LF_MAX_DIMS, LF_BLOCK, LF_LANES, LF_LANE_MULTIPLE
        LF_ROW_LANES, LF_TOGETHER, LF_DRAFT_BYTES
        LF_INPUT, LF_TARGET, LF_GRAD, LF_HESS, LF_TARGET_GRAD, LF_ROW_TABLES
        LF_OUT_VALUE, LF_OUT_GRAD, LF_OUT_HESS, LF_OUTPUTS
        LF_VALUE, LF_VALUE_GRAD, LF_VALUE_GRAD_HESS, LF_VALUE_GRADS, LF_EVERYTHING, LF_LOOPS

    ctypedef enum lf_kind:
        LF_BOOL, LF_INT8, LF_UINT8, LF_INT16, LF_UINT16, LF_INT32, LF_UINT32, LF_INT64, LF_UINT64
        LF_FLOAT16, LF_BFLOAT16, LF_FLOAT32, LF_FLOAT64, LF_KINDS

    ctypedef enum lf_curvature:
        LF_EXACT, LF_FISHER, LF_MAJORIZER, LF_UNIT

    ctypedef struct lf_array:
        char *data
        lf_kind kind
        int swapped
        int direct
        int ndim
        const Py_ssize_t *shape
        Py_ssize_t strides[64]  # LF_MAX_DIMS

    ctypedef struct lf_settings:
        double parameters[4]  # LF_MAX_PARAMETERS
        double scale
        double floor
        lf_curvature curvature
        const void *context

    ctypedef int (*lf_elementwise_loop)(
        Py_ssize_t n, const void *const *operands, const lf_settings *settings, void *const *outputs
    ) noexcept nogil

    ctypedef int (*lf_elementwise_sum)(
        Py_ssize_t n, const void *const *operands, const lf_settings *settings, void *grad, int around_cache,
        double *sum
    ) noexcept nogil

    ctypedef struct lf_elementwise:
        const char *name
        int operands
        int parameters
        lf_elementwise_loop loops[5]  # LF_LOOPS
        lf_elementwise_sum value_sum
        lf_elementwise_sum value_sum_grad

    ctypedef struct lf_row_settings:
        Py_ssize_t classes
        double parameters[4]  # LF_MAX_PARAMETERS
        const void *class_weight
        double floor
        lf_curvature curvature

    ctypedef struct lf_rows:
        Py_ssize_t lanes
        Py_ssize_t stride
        Py_ssize_t own_stride
        Py_ssize_t next[5]  # LF_ROW_TABLES
        const void *input
        const int32_t *label
        Py_ssize_t labels
        const void *target
        const void *scale
        void *value
        void *grad
        void *hess
        void *target_grad
        void *scratch
        void *draft
        Py_ssize_t draft_next
        int around_cache

    ctypedef void (*lf_rowwise_kernel)(const lf_row_settings *settings, const lf_rows *rows) noexcept nogil

    ctypedef struct lf_rowwise:
        const char *name
        lf_rowwise_kernel row
        lf_rowwise_kernel lanes
        Py_ssize_t few_classes
        int scratch
        int label_alone

    enum:
        LF_MAX_EMBEDDINGS

    ctypedef struct lf_pair_settings:
        Py_ssize_t features
        Py_ssize_t lengths[3]  # LF_MAX_EMBEDDINGS
        double parameters[4]  # LF_MAX_PARAMETERS

    ctypedef struct lf_pairs:
        Py_ssize_t rows
        const void *embeddings[3]
        Py_ssize_t strides[3]
        const void *target
        const void *scale
        void *value
        void *grads[3]
        Py_ssize_t grad_strides[3]
        void *target_grad

    ctypedef struct lf_pairwise:
        const char *name
        int embeddings
        int parameters
        int (*rows)(const lf_pair_settings *settings, const lf_pairs *pairs) noexcept nogil

    ctypedef struct lf_map:
        const char *name
        void (*loop)(Py_ssize_t n, const void *input, void *output) noexcept nogil

    ctypedef struct lf_frames:
        Py_ssize_t frames
        Py_ssize_t classes
        const char *input
        lf_kind kind
        int swapped
        int direct
        Py_ssize_t frame_stride
        Py_ssize_t class_stride

    ctypedef struct lf_ctc:
        lf_frames given
        Py_ssize_t labels
        const int32_t *label
        void *log_sums
        char *grad
        lf_kind grad_kind
        int grad_swapped
        int grad_direct
        int around_cache
        int of_logits
        Py_ssize_t grad_frame_stride
        Py_ssize_t grad_class_stride
        Py_ssize_t columns
        const int32_t *column
        const int32_t *column_class
        double scale
        Py_ssize_t interval
        void *sweeps[2]
        void *kept[2]
        void *segments[2]
        void *again[2]

    ctypedef struct lf_ctc_kernel:
        Py_ssize_t (*row_reals)(Py_ssize_t labels) noexcept nogil
        Py_ssize_t (*sweep_reals)(Py_ssize_t classes, Py_ssize_t labels) noexcept nogil
        int (*sweep)(const lf_ctc *ctc, int backward) noexcept nogil
        void (*total)(const lf_ctc *ctc, double *fraction, double *exponent) noexcept nogil
        void (*finish)(const lf_ctc *ctc, int backward, double exponent) noexcept nogil
        void (*fill)(const lf_ctc *ctc, Py_ssize_t start, Py_ssize_t end, double value) noexcept nogil

    ctypedef struct lf_alignment:
        lf_frames frames
        Py_ssize_t labels
        const int32_t *label
        Py_ssize_t segment
        void *memory
        int64_t *path
        char *scores
        lf_kind score_kind

    ctypedef struct lf_beam:
        lf_frames frames
        int32_t blank
        Py_ssize_t beam
        void *memory

    ctypedef struct lf_decoding:
        Py_ssize_t (*align_reals)(
            Py_ssize_t frames, Py_ssize_t classes, Py_ssize_t labels, Py_ssize_t segment
        ) noexcept nogil
        void (*align)(const lf_alignment *alignment) noexcept nogil
        Py_ssize_t (*greedy)(
            const lf_frames *frames, int32_t blank, Py_ssize_t start, Py_ssize_t end, void *row, int64_t *labels
        ) noexcept nogil
        size_t (*search_bytes)(Py_ssize_t frames, Py_ssize_t classes, Py_ssize_t beam) noexcept nogil
        Py_ssize_t (*search)(const lf_beam *beam) noexcept nogil
        double (*log_prob)(const lf_beam *beam, Py_ssize_t rank) noexcept nogil
        Py_ssize_t (*labelling)(const lf_beam *beam, Py_ssize_t rank, int64_t *labels) noexcept nogil

    ctypedef struct lf_product:
        Py_ssize_t rows
        Py_ssize_t columns
        Py_ssize_t terms
        const void *a
        Py_ssize_t a_row
        Py_ssize_t a_column
        const void *b
        Py_ssize_t b_row
        const void *start
        void *c
        Py_ssize_t c_row
        int add

    ctypedef struct lf_table:
        const lf_elementwise *elementwise
        const lf_rowwise *const *rowwise
        const lf_pairwise *pairwise
        const lf_map *maps
        int elementwise_count
        int rowwise_count
        int pairwise_count
        int map_count
        lf_ctc_kernel ctc
        lf_decoding decoding
        const void *(*gather)(const lf_array *array, Py_ssize_t start, Py_ssize_t n, void *scratch) noexcept nogil
        void (*gather_labels)(const lf_array *array, Py_ssize_t start, Py_ssize_t n, int64_t *labels) noexcept nogil
        int (*outside)(const int64_t *labels, Py_ssize_t n, int64_t low, int64_t high) noexcept nogil
        void (*narrow_labels)(
            const int64_t *labels, Py_ssize_t n, int64_t classes, int ignoring, int64_t ignore_index, int32_t *to
        ) noexcept nogil
        Py_ssize_t (*load_list)(
            lf_kind kind, int swapped, const char *source, Py_ssize_t stride, Py_ssize_t n, int32_t *to,
            Py_ssize_t to_stride
        ) noexcept nogil
        void (*scatter)(const lf_array *array, Py_ssize_t start, Py_ssize_t n, const void *values) noexcept nogil
        void (*load)(
            lf_kind kind, int swapped, const char *source, Py_ssize_t stride, Py_ssize_t n, void *to
        ) noexcept nogil
        void (*store)(
            lf_kind kind, int swapped, char *to, Py_ssize_t stride, Py_ssize_t n, const void *source
        ) noexcept nogil
        void (*transpose)(
            const void *source, Py_ssize_t from_stride, void *to, Py_ssize_t to_stride, Py_ssize_t rows,
            Py_ssize_t columns
        ) noexcept nogil
        void (*fill)(void *to, Py_ssize_t n, double value) noexcept nogil
        void (*multiply)(void *product, const void *factor, Py_ssize_t n) noexcept nogil
        void (*accumulate)(void *total, const void *part, double factor, Py_ssize_t n) noexcept nogil
        double (*sum)(const void *values, Py_ssize_t n) noexcept nogil
        void (*product)(const lf_product *product) noexcept nogil
        void (*sum_rows)(
            const void *values, Py_ssize_t rows, Py_ssize_t length, double divisor, void *sums
        ) noexcept nogil
        void (*subtract)(
            Py_ssize_t n, const void *a, const void *b, void *c, int around_cache
        ) noexcept nogil

    void lf_prefetch(const char *start, Py_ssize_t bytes)

ctypedef void (*lf_task)(void *context, Py_ssize_t block, int thread) noexcept nogil

cdef enum:
    NONE = 0
    MEAN = 1
    SUM = 2
    BATCHMEAN = 3

cdef int reduction_code(str reduction) except -1
cdef int set_curvature(str curvature, int type_number, lf_curvature *code, double *floor) except -1
cdef tuple chosen(object wrt, dict places)
cdef bint asks_nothing(dict options, str but=*)

cdef inline Py_ssize_t padded(Py_ssize_t bytes) noexcept nogil:
    """Whole cache lines."""
    return (bytes + 63) & ~<Py_ssize_t> 63

cdef const lf_table *table_of(int itemsize) noexcept nogil
cdef int place_of(str shape, str name) except -1
cdef int set_parameters(double *parameters, str name, tuple given, int most) except -1
cdef int team(double serial_nanoseconds, Py_ssize_t blocks) noexcept nogil
cdef void run(int threads, Py_ssize_t blocks, lf_task task, void *context) noexcept nogil
cdef void run_unlocked(int threads, Py_ssize_t blocks, lf_task task, void *context, Py_ssize_t elements) noexcept
cdef double total(const double *partials, Py_ssize_t count) noexcept nogil


cdef inline void add_partial(double *result, double *error, double partial) noexcept nogil:
    """With the rounding errors added up beside (Neumaier 1974)."""
    cdef double rounded = result[0] + partial
    if fabs(result[0]) >= fabs(partial):
        error[0] += (result[0] - rounded) + partial
    else:
        error[0] += (partial - rounded) + result[0]
    result[0] = rounded


cdef inline double added_up(double result, double error) noexcept nogil:
    """What came of it."""
    return result + error if isfinite(error) else result

# ---- scratch memory ------------------------------------------------------------------------------------------------

cdef enum:
    # bytes that a call has on its own stack, for `allocate`
    SMALL = 8192

cdef struct Memory:
    void *allocated  # to be freed
    char *slots  # one for each thread, on cache lines
    Py_ssize_t slot_bytes
    char *rest  # behind them

cdef int allocate(
    Memory *memory, int threads, Py_ssize_t slot_bytes, Py_ssize_t rest_bytes, char *small, str hint=*
) except -1

# ---- the arrays of a call ------------------------------------------------------------------------------------------

# The axes that arrays share, and those arrays, which point to its shape.
cdef struct Space:
    int ndim
    Py_ssize_t shape[64]  # LF_MAX_DIMS
    Py_ssize_t size
    int count
    lf_array *arrays[16]
    bint plain  # each of them has every element, one after the other in C order

# What multiplies losses and their derivatives: weights, and then cotangents, of the derivatives alone.
cdef struct Factors:
    int weights
    int cotangents
    lf_array array[3]
    double scale  # of the derivatives too

cdef int kind_of(cnp.ndarray array) except -1
cdef int value_type(tuple predictions, int itemsize) noexcept
cdef void set_space(Space *space, int ndim, const Py_ssize_t *shape) noexcept
cdef int describe(Space *space, cnp.ndarray array, lf_array *described, int inner=*) except -1
cdef int describe_rows(
    Space *space, cnp.ndarray array, int behind, Py_ssize_t length, lf_array *described, Py_ssize_t *stride
) except -1
cdef void settle(Space *space, int itemsize, bint in_order) noexcept
cdef int add_factors(Space *space, Factors *factors, tuple weights, tuple cotangents) except -1
cdef int add_usual_factors(
    Space *space, int inner, Factors *factors, int reduction, object sample_weight, object grad_output
) except -1
cdef int denominator_of(
    const Space *losses, int reduction, object in_mean, object sample_weight, double *denominator
) except -1


cdef inline const Py_ssize_t *shape_of(cnp.ndarray array) noexcept:
    return <const Py_ssize_t *> cnp.PyArray_DIMS(array)


cdef inline int real_bytes(cnp.ndarray prediction) noexcept:
    """Of the precision that an array of native floats is computed in; 0 for what `usual` calls do not have."""
    cdef int number = cnp.PyArray_TYPE(prediction)
    if not cnp.PyArray_ISNOTSWAPPED(prediction):
        return 0
    return 8 if number == cnp.NPY_DOUBLE else 4 if number == cnp.NPY_FLOAT or number == cnp.NPY_FLOAT16 else 0


cdef inline bint has_shape(cnp.ndarray array, const Space *space) noexcept:
    """Whether an array has the shape of a space that is not settled."""
    cdef int axis
    if cnp.PyArray_NDIM(array) != space.ndim:
        return False
    for axis in range(space.ndim):
        if cnp.PyArray_DIM(array, axis) != space.shape[axis]:
            return False
    return True


cdef inline bint same_shape(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef int axis
    if cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b):
        return False
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, axis) != cnp.PyArray_DIM(b, axis):
            return False
    return True


cdef inline char *row_pointer(const lf_array *array, Py_ssize_t row) noexcept nogil:
    cdef char *pointer = array.data
    cdef int axis = array.ndim - 1
    while axis > 0:
        pointer += (row % array.shape[axis]) * array.strides[axis]
        row //= array.shape[axis]
        axis -= 1
    return pointer + row * array.strides[0]


cdef inline bint native(const lf_array *array, Py_ssize_t itemsize) noexcept nogil:
    """Every row begins with an aligned REAL."""
    cdef int axis
    for axis in range(array.ndim):
        if array.strides[axis] % itemsize != 0:
            return False
    return (
        not array.swapped
        and array.kind == (LF_FLOAT32 if itemsize == 4 else LF_FLOAT64)
        and <size_t> array.data % <size_t> itemsize == 0
    )

# ---- results -------------------------------------------------------------------------------------------------------

cdef cnp.ndarray empty(int ndim, cnp.npy_intp *dims, int type)
cdef cnp.ndarray value_array(
    int ndim, const Py_ssize_t *shape, int type_number, object out, tuple replaceable, tuple others
)
cdef list results_like(tuple arguments, int order, object out, tuple replaceable, tuple others)
cdef object answer(object value, bint with_value, list results, int order)

# ---- frames --------------------------------------------------------------------------------------------------------

# An array with axes of frames, sequences and classes, or of frames and classes: what its sequences have in common.
cdef struct Frames:
    lf_frames each
    Py_ssize_t count
    Py_ssize_t sequence_stride  # bytes

cdef int describe_frames(Frames *described, cnp.ndarray array, int itemsize, bint batch_first) except -1


cdef inline lf_frames frames_of(const Frames *batch, Py_ssize_t n, Py_ssize_t frames) noexcept nogil:
    """Those of one sequence, so many."""
    cdef lf_frames own = batch.each
    own.frames = frames
    own.input += n * batch.sequence_stride
    return own
