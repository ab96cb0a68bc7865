"""Losses of embeddings: rows of features that are compared with each other, one loss per row.

An embedding is described by its row axes, as any other array of the call, and by the distance between its features.
"""

cimport numpy as cnp
from libc.stdlib cimport free

from lossfast._drivers.runtime cimport (
    LF_MAX_EMBEDDINGS,
    LF_MAX_PARAMETERS,
    NONE,
    SMALL,
    Factors,
    Memory,
    Space,
    add_factors,
    add_usual_factors,
    allocate,
    answer,
    chosen,
    denominator_of,
    describe,
    describe_rows,
    has_shape,
    lf_array,
    lf_pair_settings,
    lf_pairs,
    lf_pairwise,
    lf_table,
    native,
    padded,
    place_of,
    real_bytes,
    reduction_code,
    results_like,
    row_pointer,
    run_unlocked,
    same_shape,
    set_parameters,
    set_space,
    settle,
    shape_of,
    table_of,
    team,
    total,
    value_array,
    value_type,
)

cnp.import_array()

# Nanoseconds per feature of one embedding on one thread, for the decision whether to wake others.
cdef double COST = 0.3
# Features of one embedding in one block of rows, and rows at most: enough to pay for the hand-over.
cdef Py_ssize_t BLOCK_FEATURES = 16384
cdef Py_ssize_t BLOCK_ROWS = 1024

cdef enum:
    # arrays with features: the embeddings, then their gradients
    GRADS = 3  # LF_MAX_EMBEDDINGS
    TABLES = 6
    # arrays of rows that every thread has a block of
    SCALES = 0
    VALUES = 1
    FACTORS = 2
    TARGETS = 3
    TARGET_GRADS = 4
    COLUMNS = 5


cdef struct Call:
    Space space  # of the rows
    const lf_table *table
    const lf_pairwise *kernel
    lf_pair_settings settings
    Py_ssize_t rows
    Py_ssize_t itemsize
    double scale
    lf_array tables[6]  # TABLES; the row axes
    Py_ssize_t feature_stride[6]  # bytes
    bint used[6]
    bint in_place[6]  # its rows can be handed to the kernel as they stand
    bint graded  # by any of the embeddings
    bint copied  # some rows cannot
    bint has_target
    lf_array target
    bint target_grad_wanted
    lf_array target_grad
    Factors factors
    bint value_wanted
    lf_array value
    Py_ssize_t tile  # rows of one block
    Py_ssize_t blocks
    Memory memory
    double *partials
    bint invalid


cdef void load_row(Call *call, int which, Py_ssize_t row, void *to) noexcept nogil:
    cdef lf_array *array = &call.tables[which]
    call.table.load(
        array.kind, array.swapped, row_pointer(array, row), call.feature_stride[which], call.settings.features, to
    )


cdef void store_row(Call *call, int which, Py_ssize_t row, const void *source) noexcept nogil:
    cdef lf_array *array = &call.tables[which]
    call.table.store(
        array.kind, array.swapped, row_pointer(array, row), call.feature_stride[which], call.settings.features, source
    )


cdef void point(Call *call, lf_pairs *pairs, int which, char *data, Py_ssize_t stride) noexcept nogil:
    """Set where the rows of an embedding or of its gradient are."""
    if which < GRADS:
        pairs.embeddings[which] = data
        pairs.strides[which] = stride // call.itemsize
    else:
        pairs.grads[which - GRADS] = data
        pairs.grad_strides[which - GRADS] = stride // call.itemsize


cdef void block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Call *call = <Call *> context
    cdef const lf_table *table = call.table
    cdef Py_ssize_t start = index * call.tile, n = call.rows - start, row, count, inner, done
    cdef Py_ssize_t column_bytes = padded(call.tile * call.itemsize)
    cdef Py_ssize_t row_bytes = padded(call.settings.features * call.itemsize)
    cdef char *scratch = call.memory.slots + thread * call.memory.slot_bytes
    cdef char *columns[5]
    cdef char *copies = scratch + COLUMNS * column_bytes
    cdef const char *targets = NULL
    cdef lf_array *lead = &call.tables[0]
    cdef lf_pairs pairs
    cdef int m, which
    if n > call.tile:
        n = call.tile
    for m in range(COLUMNS):
        columns[m] = scratch + m * column_bytes
    table.fill(columns[SCALES], n, call.scale)
    for m in range(call.factors.weights + call.factors.cotangents):
        table.multiply(columns[SCALES], table.gather(&call.factors.array[m], start, n, columns[FACTORS]), n)
    if call.has_target:
        targets = <const char *> table.gather(&call.target, start, n, columns[TARGETS])
    for which in range(TABLES):  # those that are nowhere else go to a row of scratch memory
        if call.used[which]:
            point(call, &pairs, which, copies + which * row_bytes, 0)
        elif which >= GRADS:
            point(call, &pairs, which, copies + which * row_bytes if call.graded else NULL, 0)
    inner = lead.shape[lead.ndim - 1]
    done = 0
    while done < n:
        row = start + done
        count = 1 if call.copied else inner - row % inner
        if count > n - done:
            count = n - done
        for which in range(TABLES):
            if call.in_place[which]:
                point(
                    call, &pairs, which, row_pointer(&call.tables[which], row),
                    call.tables[which].strides[call.tables[which].ndim - 1],
                )
            elif call.used[which] and which < GRADS:
                load_row(call, which, row, copies + which * row_bytes)
        pairs.rows = count
        pairs.target = targets + done * call.itemsize if call.has_target else NULL
        pairs.scale = columns[SCALES] + done * call.itemsize
        pairs.value = columns[VALUES] + done * call.itemsize
        pairs.target_grad = columns[TARGET_GRADS] + done * call.itemsize if call.target_grad_wanted else NULL
        if call.kernel.rows(&call.settings, &pairs):
            call.invalid = True  # every thread that writes writes the same
        for which in range(GRADS, TABLES):
            if call.used[which] and not call.in_place[which]:
                store_row(call, which, row, copies + which * row_bytes)
        done += count
    for m in range(call.factors.weights):
        table.multiply(columns[VALUES], table.gather(&call.factors.array[m], start, n, columns[FACTORS]), n)
    if call.partials != NULL:
        call.partials[index] = table.sum(columns[VALUES], n)
    if call.value_wanted:
        table.scatter(&call.value, start, n, columns[VALUES])
    if call.target_grad_wanted:
        table.scatter(&call.target_grad, start, n, columns[TARGET_GRADS])


cdef int execute(Call *call, double *sum_of_values) except -1:
    cdef Py_ssize_t features = call.settings.features
    cdef lf_array *array
    cdef int threads, which
    cdef char small[SMALL]
    settle(&call.space, call.itemsize, False)
    call.rows = call.space.size
    call.invalid = call.graded = call.copied = False
    for which in range(TABLES):
        array = &call.tables[which]
        call.in_place[which] = (
            call.used[which]
            and native(array, call.itemsize)
            and (call.feature_stride[which] == call.itemsize or features < 2)
        )
        call.copied = call.copied or (call.used[which] and not call.in_place[which])
        call.graded = call.graded or (which >= GRADS and call.used[which])
    call.tile = max(BLOCK_FEATURES // max(features, 1), 1)
    call.tile = min(call.tile, BLOCK_ROWS, call.rows)
    call.blocks = (call.rows + call.tile - 1) // call.tile
    threads = team(call.rows * features * call.kernel.embeddings * COST * (call.itemsize >> 2), call.blocks)
    allocate(
        &call.memory, threads, COLUMNS * padded(call.tile * call.itemsize) + TABLES * padded(features * call.itemsize),
        call.blocks * <Py_ssize_t> sizeof(double), small
    )
    call.partials = <double *> call.memory.rest
    run_unlocked(threads, call.blocks, block, call, call.rows * features)
    sum_of_values[0] = total(call.partials, call.blocks)
    free(call.memory.allocated)
    return 0


cdef class Pairwise:
    """The bound kernel of one loss of embeddings; instruction set and precision are chosen at each call."""

    cdef int index, embeddings, most_axes
    cdef double parameters[4]  # LF_MAX_PARAMETERS
    cdef bint has_domain
    cdef dict differentiable
    cdef tuple predictions
    cdef int reduction
    cdef readonly str name

    def __init__(
        self,
        str name,
        tuple parameters=(),
        *,
        dict differentiable=None,
        int most_axes=64,
        bint has_domain=False,
        str reduction="sum",
    ):
        """What `quick` has to know: the embeddings by their names, how many axes they may have, and whether a target
        may be outside of the domain.
        """
        cdef const lf_pairwise *kernel
        self.name = name
        self.differentiable = differentiable or {}
        self.most_axes = most_axes
        self.has_domain = has_domain
        self.reduction = reduction_code(reduction)
        self.index = place_of("pairwise", name)
        kernel = &table_of(8).pairwise[self.index]
        set_parameters(self.parameters, name, parameters, kernel.parameters)
        self.embeddings = kernel.embeddings
        self.predictions = tuple(range(self.embeddings))

    cdef void bind(self, Call *call, Py_ssize_t features, int itemsize) noexcept:
        """Set what the loss brings to a call, which has no arrays yet."""
        cdef int k
        call.itemsize = itemsize
        call.table = table_of(itemsize)
        call.kernel = &call.table.pairwise[self.index]
        call.settings.features = features
        for k in range(LF_MAX_PARAMETERS):
            call.settings.parameters[k] = self.parameters[k]
        for k in range(LF_MAX_EMBEDDINGS):
            call.settings.lengths[k] = features
        for k in range(TABLES):
            call.used[k] = False
        call.has_target = call.target_grad_wanted = call.value_wanted = False
        call.factors.weights = 0

    cdef int prepare(self, tuple embeddings, tuple targets, Call *call) except -1:
        """Take in the arrays of a usual call, which is one without weights so far; returns whether it is one.

        Usual: arrays of real numbers, of any layout, the embeddings native floats of one shape, the target of theirs
        without its last axis.
        """
        cdef cnp.ndarray first, array
        cdef int k, bytes, itemsize = 4, ndim
        if type(embeddings[0]) is not cnp.ndarray:
            return 0
        first = <cnp.ndarray> embeddings[0]
        ndim = cnp.PyArray_NDIM(first)
        if not 1 <= ndim <= self.most_axes or cnp.PyArray_SIZE(first) == 0:
            return 0
        for k in range(self.embeddings):
            if type(embeddings[k]) is not cnp.ndarray:
                return 0
            array = <cnp.ndarray> embeddings[k]
            bytes = real_bytes(array)
            if bytes == 0 or not same_shape(array, first):
                return 0
            itemsize = max(itemsize, bytes)
        set_space(&call.space, ndim - 1, shape_of(first))
        self.bind(call, cnp.PyArray_DIM(first, ndim - 1), itemsize)
        for k in range(self.embeddings):
            if not take_table(call, k, <cnp.ndarray> embeddings[k]):
                return 0
        for target in targets:
            if type(target) is not cnp.ndarray:
                return 0
            array = <cnp.ndarray> target
            if not has_shape(array, &call.space) or not describe(&call.space, array, &call.target):
                return 0
            call.has_target = True
        return 1

    def quick(self, tuple arrays, bint with_value, int order, dict options):
        """What a method gives for a usual call inside of the domain, and None for any other.

        `order`: 0 for the value alone, 1 with gradients. Usual arrays: see `prepare`, `add_usual_factors` and, for
        `out`, `own_array`; a target outside of the domain is known when it is written.
        """
        cdef Call call
        cdef double denominator, value_sum
        cdef tuple embeddings = arrays[: self.embeddings], by = self.predictions, replaceable = (), others = ()
        cdef list results = None
        cdef int k
        sample_weight = wrt = grad_output = out = None
        if options:
            sample_weight, grad_output = options.get("sample_weight"), options.get("grad_output")
            wrt, out = options.get("wrt"), options.get("out")
        if wrt is not None:
            by = chosen(wrt, self.differentiable)
        if by is None or not self.prepare(embeddings, arrays[self.embeddings :], &call):
            return None
        if not add_usual_factors(
            &call.space, 0, &call.factors, self.reduction, sample_weight, grad_output
        ) or not denominator_of(&call.space, self.reduction, None, sample_weight, &denominator):
            return None
        call.scale = 1.0 / denominator * call.factors.scale
        if out is not None:
            others = (sample_weight, grad_output, *arrays)
            if not self.has_domain:  # which is checked before an argument is replaced
                replaceable, others = embeddings, (sample_weight, grad_output, *arrays[self.embeddings :])
        value = None
        if self.reduction == NONE and with_value:
            value = value_array(
                call.space.ndim, call.space.shape, value_type(embeddings, call.itemsize), None if order else out,
                replaceable, others
            )
            if value is None:
                return None
            call.value_wanted = describe(&call.space, value, &call.value)
        elif order == 0 and out is not None:
            return None
        if order:
            graded = embeddings if wrt is None else tuple([embeddings[<int> place] for place in by])
            results = results_like(graded, order, out, replaceable, others)
            if results is None:
                return None
            for k in range(len(by)):
                take_table(&call, GRADS + <int> by[k], results[k])
        execute(&call, &value_sum)
        if call.invalid:
            return None
        if self.reduction != NONE:
            value = value_sum / denominator
        return answer(value, with_value, results, order)

    def run(
        self,
        tuple embeddings,
        tuple shape,
        int itemsize,
        object target,
        tuple multipliers,
        tuple cotangents,
        double scale,
        object value,
        tuple grads,
        object target_grad,
    ):
        """The general call; returns the sum of the weighted values.

        The embeddings broadcast to `shape`, which `grads` have, an array or None for each embedding. `target` and the
        multipliers broadcast to the shape without its last axis, which `value` and `target_grad` have. Some rows.
        """
        cdef Call call
        cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
        cdef int k, lead = 0, axes = len(shape) - 1
        cdef double value_sum = 0.0
        cdef bint fits = True
        for k in range(axes):
            dims[k] = shape[k]
        set_space(&call.space, axes, dims)
        self.bind(&call, shape[axes], itemsize)
        call.scale = scale
        for k in range(self.embeddings):
            call.settings.lengths[k] = min(shape[axes], embeddings[k].shape[embeddings[k].ndim - 1])
            fits = take_table(&call, k, embeddings[k]) and fits
        for k in range(self.embeddings):
            if grads[k] is not None:
                fits = take_table(&call, GRADS + k, grads[k]) and fits
        if target is not None:
            call.has_target = describe(&call.space, target, &call.target)
            fits = fits and call.has_target
        if target_grad is not None:
            call.target_grad_wanted = describe(&call.space, target_grad, &call.target_grad)
            fits = fits and call.target_grad_wanted
        fits = add_factors(&call.space, &call.factors, multipliers, cotangents) and fits
        if value is not None:
            call.value_wanted = describe(&call.space, value, &call.value)
            fits = fits and call.value_wanted
        if not fits:
            raise ValueError(f"{self.name}: arrays do not broadcast to {shape}")
        # rows are walked in the memory order of an embedding that is not broadcast
        for k in range(self.embeddings):
            if embeddings[k].shape == shape:
                lead = k
                break
        call.space.arrays[0], call.space.arrays[lead] = call.space.arrays[lead], call.space.arrays[0]
        execute(&call, &value_sum)
        return value_sum


cdef int take_table(Call *call, int which, cnp.ndarray array) except -1:
    """Take in an array with features; returns whether it fits."""
    call.used[which] = True
    return describe_rows(
        &call.space, array, 0, call.settings.features, &call.tables[which], &call.feature_stride[which]
    )
