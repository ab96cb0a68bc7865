"""Losses of embeddings: rows of features that are compared with each other, one loss per row.

An embedding is described by its row axes, as any other array of the call, and by the distance between its features.
"""

cimport numpy as cnp
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc

from lossfast._drivers.runtime cimport (
    LF_FLOAT32,
    LF_FLOAT64,
    LF_INT64,
    LF_MAX_EMBEDDINGS,
    LF_MAX_PARAMETERS,
    MEAN,
    NONE,
    SUM,
    describe,
    empty,
    lf_array,
    lf_pair_settings,
    lf_pairs,
    lf_pairwise,
    lf_table,
    native,
    padded,
    reduction_code,
    row_pointer,
    run,
    settle,
    table_of,
    team,
    total,
)

cnp.import_array()

# Nanoseconds per feature of one embedding on one thread, for the decision whether to wake others.
cdef double COST = 0.3
# Features of one embedding in one block of rows, and rows at most: enough to pay for the hand-over.
cdef Py_ssize_t BLOCK_FEATURES = 16384
cdef Py_ssize_t BLOCK_ROWS = 1024
# Work small enough to keep the interpreter's lock.
cdef Py_ssize_t KEEP_LOCK = 4096

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
    const lf_table *table
    const lf_pairwise *kernel
    lf_pair_settings settings
    Py_ssize_t rows
    Py_ssize_t itemsize
    double scale
    lf_array tables[6]  # TABLES; the row axes
    Py_ssize_t feature_stride[6]  # bytes
    int used[6]
    int in_place[6]  # its rows can be handed to the kernel as they stand
    int graded  # by any of the embeddings
    int copied  # some rows cannot
    int has_target
    lf_array target
    int target_grad_wanted
    lf_array target_grad
    int multipliers  # of value and gradients …
    int cotangents  # … and of gradients alone, behind them
    lf_array multiplier[3]
    int value_wanted
    lf_array value
    Py_ssize_t tile  # rows of one block
    Py_ssize_t blocks
    double *partials
    char *scratch
    Py_ssize_t scratch_bytes
    int invalid


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
    cdef char *scratch = call.scratch + thread * call.scratch_bytes
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
    for m in range(call.multipliers + call.cotangents):
        table.multiply(columns[SCALES], table.gather(&call.multiplier[m], start, n, columns[FACTORS]), n)
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
            call.invalid = 1  # every thread that writes writes the same
        for which in range(GRADS, TABLES):
            if call.used[which] and not call.in_place[which]:
                store_row(call, which, row, copies + which * row_bytes)
        done += count
    for m in range(call.multipliers):
        table.multiply(columns[VALUES], table.gather(&call.multiplier[m], start, n, columns[FACTORS]), n)
    if call.partials != NULL:
        call.partials[index] = table.sum(columns[VALUES], n)
    if call.value_wanted:
        table.scatter(&call.value, start, n, columns[VALUES])
    if call.target_grad_wanted:
        table.scatter(&call.target_grad, start, n, columns[TARGET_GRADS])


cdef int execute(Call *call, double *sum_of_values) except -1:
    cdef Py_ssize_t features = call.settings.features, needed
    cdef lf_array *array
    cdef int threads, which
    cdef void *memory = NULL
    cdef char small[8192 + 64]
    call.invalid = call.graded = call.copied = 0
    for which in range(TABLES):
        array = &call.tables[which]
        call.in_place[which] = (
            call.used[which]
            and native(array, call.itemsize)
            and (call.feature_stride[which] == call.itemsize or features < 2)
        )
        call.copied = call.copied or (call.used[which] and not call.in_place[which])
        call.graded = call.graded or (which >= GRADS and call.used[which])
    call.tile = BLOCK_FEATURES // (features if features > 0 else 1)
    if call.tile < 1:
        call.tile = 1
    if call.tile > BLOCK_ROWS:
        call.tile = BLOCK_ROWS
    if call.tile > call.rows:
        call.tile = call.rows
    call.blocks = (call.rows + call.tile - 1) // call.tile
    threads = team(call.rows * features * call.kernel.embeddings * COST * (call.itemsize >> 2), call.blocks)
    call.scratch_bytes = COLUMNS * padded(call.tile * call.itemsize) + TABLES * padded(features * call.itemsize)
    needed = threads * call.scratch_bytes + call.blocks * <Py_ssize_t> sizeof(double)
    if needed <= 8192:
        call.scratch = <char *> ((<uintptr_t> small + 63) & ~<uintptr_t> 63)
    else:
        memory = malloc(needed + 64)
        if memory == NULL:
            raise MemoryError(f"{needed} bytes of scratch memory for {threads} threads")
        call.scratch = <char *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
    call.partials = <double *> (call.scratch + threads * call.scratch_bytes)
    if call.rows * features <= KEEP_LOCK:
        run(1, call.blocks, block, call)
    else:
        with nogil:
            run(threads, call.blocks, block, call)
    sum_of_values[0] = total(call.partials, call.blocks)
    free(memory)
    return 0


cdef int take_table(Call *call, int which, object array, object shape) except -1:
    """Describe an array with features: its row axes and the distance between its features."""
    call.used[which] = array is not None
    if array is None:
        return 0
    describe(array, shape, &call.tables[which])
    call.tables[which].ndim -= 1
    call.feature_stride[which] = call.tables[which].strides[call.tables[which].ndim]
    return 0


cdef class Pairwise:
    """The bound kernel of one loss of embeddings; instruction set and precision are chosen at each call."""

    cdef int index, embeddings
    cdef double parameters[4]
    cdef int reduction
    cdef readonly str name

    def __init__(self, str name, tuple parameters=(), *, str reduction="sum"):
        cdef const lf_table *table = table_of(8)
        cdef bytes wanted = name.encode()
        cdef int k
        self.name = name
        self.reduction = reduction_code(reduction)
        self.index = -1
        for k in range(table.pairwise_count):
            if table.pairwise[k].name == wanted:
                self.index = k
        if self.index < 0:
            raise LookupError(f"no pairwise kernel is named {name!r}")
        self.embeddings = table.pairwise[self.index].embeddings
        if len(parameters) != table.pairwise[self.index].parameters:
            raise TypeError(f"{name!r} takes {table.pairwise[self.index].parameters} parameters: {parameters}")
        for k in range(LF_MAX_PARAMETERS):
            self.parameters[k] = parameters[k] if k < len(parameters) else 0.0

    cdef void settings(self, Call *call, Py_ssize_t features, int itemsize) noexcept:
        cdef int k
        call.itemsize = itemsize
        call.table = table_of(itemsize)
        call.kernel = &call.table.pairwise[self.index]
        call.settings.features = features
        for k in range(LF_MAX_PARAMETERS):
            call.settings.parameters[k] = self.parameters[k]
        for k in range(LF_MAX_EMBEDDINGS):
            call.settings.lengths[k] = features

    def quick(self, tuple arrays, int order, out=None):
        """Value, and the gradients by all embeddings if `order` is 1, of plain arrays; None where there is more to do.

        Plain: embeddings alike in shape, (N, D) or (D), and in native float dtype, aligned, C-contiguous, not empty; a
        target of N, or one, contiguous float32, float64 or int64 numbers, inside the domain.
        """
        cdef cnp.ndarray first, array
        cdef Call call
        cdef Py_ssize_t dims[1]
        cdef Py_ssize_t features
        cdef int k, ndim, axis, kind
        cdef double value_sum
        if type(arrays[0]) is not cnp.ndarray or out is not None:
            return None
        first = <cnp.ndarray> arrays[0]
        ndim = cnp.PyArray_NDIM(first)
        if ndim < 1 or ndim > 2 or (
            cnp.PyArray_TYPE(first) != cnp.NPY_FLOAT and cnp.PyArray_TYPE(first) != cnp.NPY_DOUBLE
        ):
            return None
        features = cnp.PyArray_DIM(first, ndim - 1)
        call.rows = cnp.PyArray_DIM(first, 0) if ndim == 2 else 1
        if features == 0 or call.rows == 0:
            return None
        dims[0] = call.rows
        self.settings(&call, features, cnp.PyArray_ITEMSIZE(first))
        for k in range(TABLES):
            call.used[k] = 0
        for k in range(self.embeddings):
            if type(arrays[k]) is not cnp.ndarray:
                return None
            array = <cnp.ndarray> arrays[k]
            if (
                cnp.PyArray_TYPE(array) != cnp.PyArray_TYPE(first)
                or not cnp.PyArray_ISCARRAY_RO(array)
                or cnp.PyArray_NDIM(array) != ndim
            ):
                return None
            for axis in range(ndim):
                if cnp.PyArray_DIM(array, axis) != cnp.PyArray_DIM(first, axis):
                    return None
            plain_table(&call, k, array, dims)
        call.has_target = len(arrays) > self.embeddings
        if call.has_target:
            if type(arrays[self.embeddings]) is not cnp.ndarray:
                return None
            array = <cnp.ndarray> arrays[self.embeddings]
            kind = cnp.PyArray_TYPE(array)
            if kind == cnp.NPY_FLOAT:
                call.target.kind = LF_FLOAT32
            elif kind == cnp.NPY_DOUBLE:
                call.target.kind = LF_FLOAT64
            elif kind == cnp.NPY_INT64:
                call.target.kind = LF_INT64
            else:
                return None
            if (
                cnp.PyArray_NDIM(array) != ndim - 1
                or (ndim == 2 and cnp.PyArray_DIM(array, 0) != call.rows)
                or not cnp.PyArray_ISCARRAY_RO(array)
            ):
                return None
            call.target.data = <char *> cnp.PyArray_DATA(array)
            call.target.swapped = 0
            call.target.direct = kind == cnp.PyArray_TYPE(first)
            call.target.ndim = 1
            call.target.shape = dims
            call.target.strides[0] = cnp.PyArray_ITEMSIZE(array)
        call.target_grad_wanted = 0
        call.multipliers = call.cotangents = 0
        call.scale = 1.0 / <double> call.rows if self.reduction == MEAN else 1.0
        call.value_wanted = self.reduction == NONE
        value = None
        if call.value_wanted:
            array = value = empty(ndim - 1, cnp.PyArray_DIMS(first), cnp.PyArray_TYPE(first))
            call.value.data = <char *> cnp.PyArray_DATA(array)
            call.value.direct = 1
        grads = []
        if order:
            for k in range(self.embeddings):
                array = empty(ndim, cnp.PyArray_DIMS(first), cnp.PyArray_TYPE(first))
                grads.append(array)
                plain_table(&call, GRADS + k, array, dims)
        execute(&call, &value_sum)
        if call.invalid:
            return None
        if self.reduction == MEAN:
            value = value_sum / <double> call.rows
        elif self.reduction == SUM:
            value = value_sum
        return (value, tuple(grads)) if order else value

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
        cdef lf_array *arrays[16]
        cdef int k, count = 0, lead = 0, axes = len(shape) - 1
        cdef double value_sum = 0.0
        rows = shape[:axes]
        call.rows = 1
        for k in range(axes):
            dims[k] = shape[k]
            call.rows *= dims[k]
        self.settings(&call, shape[axes], itemsize)
        call.scale = scale
        for k in range(TABLES):
            call.used[k] = 0
        for k in range(self.embeddings):
            call.settings.lengths[k] = min(shape[axes], embeddings[k].shape[embeddings[k].ndim - 1])
            take_table(&call, k, embeddings[k], shape)
            take_table(&call, GRADS + k, grads[k], shape)
        for k in range(TABLES):
            if call.used[k]:
                arrays[count] = &call.tables[k]
                count += 1
        call.has_target = target is not None
        if call.has_target:
            describe(target, rows, &call.target)
            arrays[count] = &call.target
            count += 1
        call.target_grad_wanted = target_grad is not None
        if call.target_grad_wanted:
            describe(target_grad, rows, &call.target_grad)
            arrays[count] = &call.target_grad
            count += 1
        call.multipliers = len(multipliers)
        call.cotangents = len(cotangents)
        for k, array in enumerate(multipliers + cotangents):
            describe(array, rows, &call.multiplier[k])
            arrays[count] = &call.multiplier[k]
            count += 1
        call.value_wanted = value is not None
        if call.value_wanted:
            describe(value, rows, &call.value)
            arrays[count] = &call.value
            count += 1
        # rows are walked in the memory order of an embedding that is not broadcast
        for k in range(self.embeddings):
            if embeddings[k].shape == shape:
                lead = k
                break
        arrays[0], arrays[lead] = arrays[lead], arrays[0]
        settle(axes, dims, arrays, count, itemsize, False)
        execute(&call, &value_sum)
        return value_sum


cdef void plain_table(Call *call, int which, cnp.ndarray array, Py_ssize_t *rows) noexcept:
    """Describe a native C-contiguous array of rows."""
    cdef lf_array *table = &call.tables[which]
    call.used[which] = 1
    call.feature_stride[which] = call.itemsize
    table.data = <char *> cnp.PyArray_DATA(array)
    table.kind = LF_FLOAT32 if call.itemsize == 4 else LF_FLOAT64
    table.swapped = 0
    table.ndim = 1
    table.shape = rows
    table.strides[0] = call.settings.features * call.itemsize
