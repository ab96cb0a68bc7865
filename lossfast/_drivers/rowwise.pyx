"""Losses of one row of classes at a time: labels, lists of labels or target probabilities, any class axis, rows side by
side in lanes.

An array with a class axis is described by its row axes, as any other array of the call, and by the distance between its
classes. Rows are walked in the memory order of the input.
"""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from lossfast._drivers.runtime cimport (
    LF_DRAFT_BYTES,
    LF_EXACT,
    LF_FLOAT32,
    LF_FLOAT64,
    LF_GRAD,
    LF_HESS,
    LF_INPUT,
    LF_INT64,
    LF_LANES,
    LF_LANE_MULTIPLE,
    LF_MAX_PARAMETERS,
    LF_ROW_LANES,
    LF_ROW_TABLES,
    LF_TARGET,
    LF_TARGET_GRAD,
    LF_TOGETHER,
    MEAN,
    NONE,
    SUM,
    describe,
    empty,
    lf_array,
    lf_curvature,
    lf_prefetch,
    lf_row_settings,
    lf_rows,
    lf_rowwise,
    lf_table,
    native,
    padded,
    reduction_code,
    result_like,
    row_pointer,
    run,
    settle,
    table_of,
    team,
    total,
)

cnp.import_array()

# Nanoseconds per element on one thread, for the decision whether to wake others.
cdef double COST = 0.8
# Elements of one array in one block of rows: enough to pay for the hand-over, small enough for the second-level cache.
cdef Py_ssize_t BLOCK_ELEMENTS = 16384
# Gradients of so many bytes are written around the cache …
cdef Py_ssize_t STREAM_BYTES = 32 << 20
# … row by row, if one has a good many cache lines.
cdef Py_ssize_t STREAM_ROW_BYTES = 1024
# So much of the next row's label list is fetched, which is all of most lists.
cdef Py_ssize_t LIST_PREFETCH_BYTES = 64
# Labels checked in one block.
cdef Py_ssize_t LABEL_BLOCK = 16384
# Work small enough to keep the interpreter's lock.
cdef Py_ssize_t KEEP_LOCK = 4096
cdef double NEGATIVE_INFINITY = -float("inf")

cdef struct Call:
    const lf_table *table
    const lf_rowwise *kernel
    lf_row_settings settings
    Py_ssize_t rows
    Py_ssize_t itemsize
    double scale
    lf_array tables[5]  # LF_ROW_TABLES; the row axes
    Py_ssize_t class_stride[5]  # bytes
    int used[5]
    int in_place[5]  # a tile of it can be handed to the kernel as it stands
    bint has_labels  # one for every row …
    bint has_lists  # … or a list of them, which is a table
    lf_array labels
    Py_ssize_t list_stride  # bytes
    bint ignoring
    int64_t ignore_index
    int multipliers  # of value, gradients and Hessians …
    int cotangents  # … and of gradients and Hessians alone, behind them
    lf_array multiplier[3]
    int value_wanted
    lf_array value
    int in_lanes
    int crossing  # a tile may go on from one run of the last row axis into the next
    Py_ssize_t tile  # rows of one block
    Py_ssize_t tiles_per_run
    Py_ssize_t blocks
    double *partials
    char *scratch
    Py_ssize_t scratch_bytes
    Py_ssize_t labels_at  # in the scratch memory of a thread; before them the numbers of a row each
    Py_ssize_t tables_at
    Py_ssize_t kernel_scratch_at
    Py_ssize_t draft_at
    Py_ssize_t draft_bytes
    bint side_by_side  # the kernel takes all rows of a tile at once
    bint draft_is_grad  # its rows are whole vectors
    bint around_cache  # gradients are written so


cdef inline Py_ssize_t lane_stride(Py_ssize_t rows) noexcept nogil:
    return (rows + LF_LANE_MULTIPLE - 1) // LF_LANE_MULTIPLE * LF_LANE_MULTIPLE


cdef void load_row(Call *call, int which, Py_ssize_t row, void *to) noexcept nogil:
    cdef lf_array *array = &call.tables[which]
    call.table.load(
        array.kind, array.swapped, row_pointer(array, row), call.class_stride[which], call.settings.classes, to
    )


cdef void store_row(Call *call, int which, Py_ssize_t row, const void *source) noexcept nogil:
    cdef lf_array *array = &call.tables[which]
    call.table.store(
        array.kind, array.swapped, row_pointer(array, row), call.class_stride[which], call.settings.classes, source
    )


cdef inline bint rows_are_blocks(Call *call, int which) noexcept nogil:
    """Row after row of native classes, side by side: a tile is one transposition."""
    cdef lf_array *array = &call.tables[which]
    return (
        array.ndim == 1
        and call.class_stride[which] == call.itemsize
        and array.strides[0] % call.itemsize == 0
        and native(array, call.itemsize)
    )


cdef Py_ssize_t load_lists(Call *call, Py_ssize_t start, Py_ssize_t n, int32_t *labels) noexcept nogil:
    """The label lists of n rows in lanes, filled up with -1 to the longest; returns how long that is."""
    cdef Py_ssize_t lengths[256]  # LF_LANES
    cdef Py_ssize_t stride = lane_stride(call.tile), longest = 0, lane, k
    for lane in range(n):
        lengths[lane] = call.table.load_list(
            call.labels.kind, call.labels.swapped, row_pointer(&call.labels, start + lane), call.list_stride,
            call.settings.classes, labels + lane, stride,
        )
        if lengths[lane] > longest:
            longest = lengths[lane]
    for lane in range(n):
        for k in range(lengths[lane], longest):
            labels[k * stride + lane] = -1
    return longest


cdef void run_lanes(Call *call, Py_ssize_t start, lf_rows *rows, char *scratch) noexcept nogil:
    """One tile of rows in lanes: where it stands if every table allows it, else through transposed copies."""
    cdef Py_ssize_t classes = call.settings.classes, n = rows.lanes, c, lane, stride
    cdef Py_ssize_t tile_bytes = padded(classes * lane_stride(call.tile) * call.itemsize)
    cdef char *tiles[5]
    cdef char *row = scratch + LF_ROW_TABLES * tile_bytes
    cdef bint in_place = True
    cdef int which
    for which in range(LF_ROW_TABLES):
        in_place = in_place and (not call.used[which] or call.in_place[which])
        tiles[which] = NULL
    stride = 0
    if in_place:
        rows.stride = call.class_stride[LF_INPUT] // call.itemsize
        for which in range(LF_ROW_TABLES):
            if call.used[which]:
                tiles[which] = row_pointer(&call.tables[which], start)
    else:
        rows.stride = lane_stride(n)
        stride = rows.stride
        for which in range(LF_ROW_TABLES):
            if call.used[which]:
                tiles[which] = scratch + which * tile_bytes
        for which in range(LF_GRAD):
            if not call.used[which]:
                continue
            if rows_are_blocks(call, which):
                call.table.transpose(
                    row_pointer(&call.tables[which], start), call.tables[which].strides[0] // call.itemsize,
                    tiles[which], stride, n, classes,
                )
            else:
                for lane in range(n):
                    load_row(call, which, start + lane, row)
                    for c in range(classes):
                        memcpy(
                            tiles[which] + (c * stride + lane) * call.itemsize, row + c * call.itemsize, call.itemsize
                        )
    rows.input = tiles[LF_INPUT]
    rows.target = tiles[LF_TARGET]
    rows.grad = tiles[LF_GRAD]
    rows.hess = tiles[LF_HESS]
    rows.target_grad = tiles[LF_TARGET_GRAD]
    call.kernel.lanes(&call.settings, rows)
    if in_place:
        return
    for which in range(LF_GRAD, LF_ROW_TABLES):
        if not call.used[which]:
            continue
        if rows_are_blocks(call, which):
            call.table.transpose(
                tiles[which], stride, row_pointer(&call.tables[which], start),
                call.tables[which].strides[0] // call.itemsize, classes, n,
            )
        else:
            for lane in range(n):
                for c in range(classes):
                    memcpy(row + c * call.itemsize, tiles[which] + (c * stride + lane) * call.itemsize, call.itemsize)
                store_row(call, which, start + lane, row)


cdef bint side_by_side(Call *call) noexcept nogil:
    """Whether the kernel can take all rows of a tile as they stand."""
    cdef int which
    for which in range(LF_ROW_TABLES):
        if call.used[which] and not (
            call.in_place[which]
            and call.tables[which].ndim == 1
            and call.tables[which].strides[0] % call.itemsize == 0
        ):
            return False
    return not call.has_lists


cdef inline void hand_over(Call *call, lf_rows *rows, void **at, char *scratch) noexcept nogil:
    """To the kernel."""
    rows.input = at[LF_INPUT]
    rows.target = at[LF_TARGET]
    rows.grad = at[LF_GRAD]
    rows.hess = at[LF_HESS]
    rows.target_grad = at[LF_TARGET_GRAD]
    rows.draft = rows.grad
    rows.draft_next = rows.next[LF_GRAD]
    rows.around_cache = call.around_cache
    if call.draft_bytes:
        rows.draft = scratch + call.draft_at
        rows.draft_next = lane_stride(call.settings.classes)
    call.kernel.row(&call.settings, rows)


cdef void run_rows(Call *call, Py_ssize_t start, lf_rows *tile, int32_t *labels, char *scratch) noexcept nogil:
    """Row after row, where they stand if their classes are side by side, else each through a copy."""
    cdef Py_ssize_t row_bytes = padded(call.settings.classes * call.itemsize), row, end = start + tile.lanes
    cdef char *copies = scratch + call.tables_at
    cdef const char *scale = <const char *> tile.scale
    cdef char *value = <char *> tile.value
    cdef void *at[5]  # LF_ROW_TABLES
    cdef lf_rows rows = tile[0]
    cdef int which
    rows.stride = rows.own_stride = 1
    if call.side_by_side:
        for which in range(LF_ROW_TABLES):
            at[which] = NULL
            rows.next[which] = 0
            if call.used[which]:
                at[which] = row_pointer(&call.tables[which], start)
                rows.next[which] = call.tables[which].strides[0] // call.itemsize
        hand_over(call, &rows, at, scratch)
        return
    rows.lanes = 1
    for row in range(start, end):
        for which in range(LF_ROW_TABLES):
            at[which] = NULL
            rows.next[which] = 0
            if call.used[which]:
                at[which] = copies + which * row_bytes
                if call.in_place[which]:
                    at[which] = row_pointer(&call.tables[which], row)
                elif which < LF_GRAD:
                    load_row(call, which, row, at[which])
        if call.has_labels:
            rows.label = &labels[row - start]
        elif call.has_lists:
            rows.labels = call.table.load_list(
                call.labels.kind, call.labels.swapped, row_pointer(&call.labels, row), call.list_stride,
                call.settings.classes, labels, 1,
            )
            if row + 1 < end:
                lf_prefetch(row_pointer(&call.labels, row + 1), LIST_PREFETCH_BYTES)
        rows.scale = scale + (row - start) * call.itemsize
        rows.value = value + (row - start) * call.itemsize
        hand_over(call, &rows, at, scratch)
        for which in range(LF_GRAD, LF_ROW_TABLES):
            if call.used[which] and not call.in_place[which]:
                store_row(call, which, row, at[which])


cdef void block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Call *call = <Call *> context
    cdef const lf_table *table = call.table
    cdef Py_ssize_t start, n, run_length, row_bytes = padded(call.tile * call.itemsize)
    cdef char *scratch = call.scratch + thread * call.scratch_bytes
    cdef char *scales = scratch
    cdef char *values = scratch + row_bytes
    cdef char *factors = scratch + 2 * row_bytes
    cdef int64_t *wide_labels = <int64_t *> (scratch + 3 * row_bytes)
    cdef int32_t *labels = <int32_t *> (scratch + call.labels_at)
    cdef const void *factor
    cdef lf_rows rows
    cdef int m
    run_length = call.rows if call.crossing else call.tables[LF_INPUT].shape[call.tables[LF_INPUT].ndim - 1]
    start = index // call.tiles_per_run * run_length + index % call.tiles_per_run * call.tile
    n = run_length - index % call.tiles_per_run * call.tile
    if n > call.tile:
        n = call.tile
    if call.has_labels:
        table.gather_labels(&call.labels, start, n, wide_labels)
        # checked before; once more, because another thread may have written since
        table.narrow_labels(wide_labels, n, call.settings.classes, call.ignoring, call.ignore_index, labels)
    table.fill(scales, n, call.scale)
    for m in range(call.multipliers + call.cotangents):
        table.multiply(scales, table.gather(&call.multiplier[m], start, n, factors), n)
    rows.lanes = n
    rows.own_stride = lane_stride(call.tile)
    rows.label = labels if call.has_labels or call.has_lists else NULL
    rows.labels = 1
    rows.scale = scales
    rows.value = values
    rows.scratch = scratch + call.kernel_scratch_at
    if call.in_lanes:
        if call.has_lists:
            rows.labels = load_lists(call, start, n, labels)
        run_lanes(call, start, &rows, scratch + call.tables_at)
    else:
        run_rows(call, start, &rows, labels, scratch)
    if call.partials != NULL or call.value_wanted:
        for m in range(call.multipliers):
            factor = table.gather(&call.multiplier[m], start, n, factors)
            table.multiply(values, factor, n)
    if call.partials != NULL:
        call.partials[index] = table.sum(values, n)
    if call.value_wanted:
        table.scatter(&call.value, start, n, values)


cdef void plan(Call *call) noexcept:
    """Lanes or rows, and how many rows to a block; every choice follows from shapes and layouts alone."""
    cdef lf_array *input = &call.tables[LF_INPUT]
    cdef Py_ssize_t classes = call.settings.classes, inner = input.shape[input.ndim - 1]
    cdef Py_ssize_t inner_stride = input.strides[input.ndim - 1]
    cdef bint has_lanes = call.kernel.lanes != NULL
    cdef bint few = has_lanes and classes <= call.kernel.few_classes
    cdef bint across = inner_stride == call.itemsize and inner >= LF_LANE_MULTIPLE and native(input, call.itemsize)
    cdef lf_array *array
    cdef int which
    across = across and has_lanes and (call.class_stride[LF_INPUT] != call.itemsize or classes == 1)
    call.in_lanes = few or across
    for which in range(LF_ROW_TABLES):
        array = &call.tables[which]
        if not call.used[which]:
            continue
        if call.in_lanes:
            call.in_place[which] = (
                across
                and native(array, call.itemsize)
                and array.strides[array.ndim - 1] == call.itemsize
                and call.class_stride[which] == call.class_stride[LF_INPUT]
                and call.class_stride[which] % call.itemsize == 0
            )
        else:
            call.in_place[which] = native(array, call.itemsize) and call.class_stride[which] == call.itemsize
    if call.in_lanes:
        call.tile = BLOCK_ELEMENTS // (classes if classes > 0 else 1) // LF_LANE_MULTIPLE * LF_LANE_MULTIPLE
        if call.tile < LF_LANE_MULTIPLE:
            call.tile = LF_LANE_MULTIPLE
        if call.tile > LF_LANES:
            call.tile = LF_LANES
        if call.tile % (2 * LF_LANE_MULTIPLE) == 0:  # an even stride brings all classes to few cache sets
            call.tile -= LF_LANE_MULTIPLE
        call.crossing = not across
    else:
        call.tile = BLOCK_ELEMENTS // (classes if classes > 0 else 1)
        if call.tile < 1:
            call.tile = 1
        if call.tile > 1024:
            call.tile = 1024
        call.crossing = True
    if call.tile > call.rows:
        call.tile = call.rows
    if call.crossing:
        inner = call.rows
    call.tiles_per_run = (inner + call.tile - 1) // call.tile
    call.blocks = call.rows // inner * call.tiles_per_run
    call.side_by_side = not call.in_lanes and side_by_side(call)
    call.around_cache = (
        call.side_by_side
        and call.used[LF_GRAD]
        and call.tables[LF_GRAD].data != input.data  # which is in the cache already
        and classes * call.itemsize >= STREAM_ROW_BYTES
        and call.rows * classes * call.itemsize >= STREAM_BYTES
    )
    array = &call.tables[LF_GRAD]
    call.draft_is_grad = (
        call.side_by_side
        and call.used[LF_GRAD]
        and not call.around_cache
        and classes % LF_ROW_LANES == 0
        and <size_t> array.data % 64 == 0
        and array.strides[0] % 64 == 0
    )


cdef int execute(Call *call, double *sum_of_values) except -1:
    cdef Py_ssize_t classes = call.settings.classes, lanes, row_bytes, table_bytes, needed, together
    cdef int threads, which
    cdef void *memory
    cdef char small[8192 + 64]
    plan(call)
    threads = team(call.rows * call.settings.classes * COST * (call.itemsize >> 2), call.blocks)
    lanes = lane_stride(call.tile) if call.in_lanes else 1
    row_bytes = padded(call.tile * call.itemsize)
    # a copy of every table and one row, where not all of them are used as they stand
    table_bytes = 0
    for which in range(LF_ROW_TABLES):
        if call.used[which] and not call.in_place[which]:
            table_bytes = LF_ROW_TABLES * padded(classes * lanes * call.itemsize) + padded(classes * call.itemsize)
    call.labels_at = 3 * row_bytes + padded(call.tile * 8)
    call.tables_at = call.labels_at + padded((classes * lanes if call.has_lists else call.tile) * 4)
    call.kernel_scratch_at = call.tables_at + table_bytes
    call.draft_at = call.kernel_scratch_at + padded(
        call.kernel.scratch * lane_stride(classes) * lanes * call.itemsize
    )
    call.draft_bytes = 0
    if classes and not call.in_lanes and not call.draft_is_grad and (call.used[LF_GRAD] or classes <= BLOCK_ELEMENTS):
        together = min(LF_TOGETHER, max(1, LF_DRAFT_BYTES // (classes * call.itemsize)))
        call.draft_bytes = padded(together * lane_stride(classes) * call.itemsize)
    call.scratch_bytes = call.draft_at + call.draft_bytes
    needed = threads * call.scratch_bytes + call.blocks * <Py_ssize_t> sizeof(double)
    memory = NULL
    if needed <= 8192:
        call.scratch = <char *> ((<uintptr_t> small + 63) & ~<uintptr_t> 63)
    else:
        memory = malloc(needed + 64)
        if memory == NULL:
            raise MemoryError(f"{needed} bytes of scratch memory for {threads} threads")
        call.scratch = <char *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
    call.partials = <double *> (call.scratch + threads * call.scratch_bytes)
    if call.rows * call.settings.classes <= KEEP_LOCK:
        run(1, call.blocks, block, call)
    else:
        with nogil:
            run(threads, call.blocks, block, call)
    sum_of_values[0] = total(call.partials, call.blocks)
    free(memory)
    return 0


# ---- labels --------------------------------------------------------------------------------------------------------


cdef struct Scan:
    const lf_table *table
    lf_array labels
    bint in_place  # contiguous int64
    lf_array weight  # of the rows
    bint weighted
    const double *class_weight
    int64_t low
    int64_t high
    Py_ssize_t n
    bint counting
    bint ignoring
    int64_t ignore_index
    double *partials
    Py_ssize_t *outside  # per block, the flat index of its first bad label, or -1
    char *scratch
    Py_ssize_t scratch_bytes


cdef void scan_block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Scan *scan = <Scan *> context
    cdef Py_ssize_t start = index * LABEL_BLOCK, n = scan.n - start, i
    cdef int64_t *labels = <int64_t *> (scan.scratch + thread * scan.scratch_bytes)
    cdef double *given = <double *> (labels + LABEL_BLOCK)
    cdef double *weights = given + LABEL_BLOCK
    cdef const double *row_weight = NULL
    cdef int64_t label
    if n > LABEL_BLOCK:
        n = LABEL_BLOCK
    scan.outside[index] = -1
    if scan.in_place:
        labels = <int64_t *> scan.labels.data + start
    else:
        scan.table.gather_labels(&scan.labels, start, n, labels)
    if not scan.counting and not scan.table.outside(labels, n, scan.low, scan.high):
        return
    if scan.weighted:
        row_weight = <const double *> scan.table.gather(&scan.weight, start, n, given)
    for i in range(n):
        label = labels[i]
        weights[i] = 0.0
        if scan.ignoring and label == scan.ignore_index:
            continue
        if label < scan.low or label >= scan.high:
            scan.outside[index] = start + i
            return
        weights[i] = scan.class_weight[label] if scan.class_weight != NULL else 1.0
        if row_weight != NULL:
            weights[i] *= row_weight[i]
    scan.partials[index] = scan.table.sum(weights, n)


def scan_labels(
    object labels,
    int64_t low,
    int64_t high,
    *,
    object ignore_index=None,
    bint counting=False,
    object class_weight=None,
    object row_weight=None,
):
    """Look for the first label outside of [low, high), in C order: (its flat index or -1, the sum of weights).

    The sum is over the labels that are not ignored, and 0 unless it is asked for (`counting`). `class_weight`: float64,
    contiguous, or None. `row_weight` broadcasts to the labels, or None.
    """
    cdef Scan scan
    cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
    cdef lf_array *arrays[2]
    cdef cnp.ndarray weights
    cdef Py_ssize_t k, blocks
    cdef int threads, count = 1
    cdef void *memory
    shape = labels.shape
    scan.n = labels.size
    if scan.n == 0:
        return -1, 0.0
    for k in range(len(shape)):
        dims[k] = shape[k]
    scan.table = table_of(8)
    scan.low = low
    scan.high = high
    scan.ignoring = ignore_index is not None
    scan.ignore_index = ignore_index if ignore_index is not None else 0
    scan.counting = counting or scan.ignoring
    scan.class_weight = NULL
    if class_weight is not None:
        weights = class_weight
        scan.class_weight = <const double *> cnp.PyArray_DATA(weights)
    describe(labels, shape, &scan.labels)
    arrays[0] = &scan.labels
    scan.weighted = row_weight is not None
    if scan.weighted:
        describe(row_weight, shape, &scan.weight)
        arrays[1] = &scan.weight
        count = 2
    settle(len(shape), dims, arrays, count, 8, True)
    scan.in_place = (
        scan.labels.kind == LF_INT64
        and not scan.labels.swapped
        and scan.labels.ndim == 1
        and scan.labels.strides[0] == 8
        and <size_t> scan.labels.data % 8 == 0
    )
    blocks = (scan.n + LABEL_BLOCK - 1) // LABEL_BLOCK
    threads = team(scan.n * (1.0 if scan.counting else 0.3), blocks)
    scan.scratch_bytes = 3 * LABEL_BLOCK * <Py_ssize_t> sizeof(double)
    memory = malloc(threads * scan.scratch_bytes + blocks * (sizeof(double) + sizeof(Py_ssize_t)) + 64)
    if memory == NULL:
        raise MemoryError("no scratch memory for labels")
    scan.scratch = <char *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
    scan.partials = <double *> (scan.scratch + threads * scan.scratch_bytes)
    scan.outside = <Py_ssize_t *> (scan.partials + blocks)
    with nogil:
        run(threads, blocks, scan_block, &scan)
    outside = -1
    for k in range(blocks):
        if scan.outside[k] >= 0:
            outside = scan.outside[k]
            break
    weight_sum = total(scan.partials, blocks) if outside < 0 and scan.counting else 0.0
    free(memory)
    return outside, weight_sum


# ---- the entry -----------------------------------------------------------------------------------------------------


cdef int describe_table(object array, int axis, lf_array *described, Py_ssize_t *class_stride) except -1:
    """Describe an array with a class axis: its row axes and the distance between its classes."""
    cdef int k
    describe(array, array.shape, described)
    class_stride[0] = described.strides[axis]
    described.ndim -= 1
    for k in range(axis, described.ndim):
        described.strides[k] = described.strides[k + 1]
    return 0


cdef int find(str name) except -2:
    cdef const lf_table *table = table_of(8)
    cdef bytes wanted = name.encode()
    cdef int k
    for k in range(table.rowwise_count):
        if table.rowwise[k].name == wanted:
            return k
    raise LookupError(f"no rowwise kernel is named {name!r}")


cdef class Rowwise:
    """The kernel of one loss over a class axis; instruction set and precision are chosen at each call."""

    cdef int index
    cdef double parameters[4]  # LF_MAX_PARAMETERS
    cdef bint ignoring
    cdef int64_t ignore_index
    cdef bint lists
    cdef int reduction
    cdef readonly str name

    def __init__(
        self, str name, tuple parameters=(), *, object ignore_index=None, bint lists=False, str reduction="sum"
    ):
        """`ignore_index`: the label that counts nothing, if there is one; `lists`: every row has a list of labels."""
        cdef int k
        self.index = find(name)
        self.name = name
        if len(parameters) > LF_MAX_PARAMETERS:
            raise ValueError(f"{name} takes {LF_MAX_PARAMETERS} parameters at most, not {parameters}")
        for k in range(LF_MAX_PARAMETERS):
            self.parameters[k] = parameters[k] if k < len(parameters) else 0.0
        self.ignoring = ignore_index is not None
        self.ignore_index = ignore_index if ignore_index is not None else 0
        self.lists = lists
        self.reduction = reduction_code(reduction)

    cdef void prepare(
        self, Call *call, Py_ssize_t classes, double scale, double floor, lf_curvature curvature
    ) noexcept:
        """What a call takes from the loss, and what it adds to that; `itemsize` is set."""
        cdef int k
        call.table = table_of(call.itemsize)
        call.kernel = call.table.rowwise[self.index]
        call.settings.classes = classes
        for k in range(LF_MAX_PARAMETERS):
            call.settings.parameters[k] = self.parameters[k]
        call.settings.class_weight = NULL
        call.settings.floor = floor
        call.settings.curvature = curvature
        call.scale = scale
        call.ignoring = self.ignoring
        call.ignore_index = self.ignore_index

    def quick(self, tuple arrays, int order, out=None):
        """Value, gradient and Hessian, as many as `order` says, of plain rows; None where there is more to do.

        Plain: the input an (N, C) native float array, aligned and C-contiguous, the target N contiguous int64 labels
        that are all inside or ignored, not all ignored, or as many lists of them; no weights. `out`: the caller's array
        for the gradient, if there is one.
        """
        cdef cnp.ndarray x, y, array
        cdef Call call
        cdef Py_ssize_t dims[1]
        cdef Py_ssize_t i, kept = 0, classes
        cdef const int64_t *labels
        cdef double value_sum
        cdef int which
        if type(arrays[0]) is not cnp.ndarray or type(arrays[1]) is not cnp.ndarray:
            return None
        x = <cnp.ndarray> arrays[0]
        y = <cnp.ndarray> arrays[1]
        if (
            cnp.PyArray_NDIM(x) != 2
            or cnp.PyArray_NDIM(y) != (2 if self.lists else 1)
            or cnp.PyArray_DIM(x, 0) != cnp.PyArray_DIM(y, 0)
            or (cnp.PyArray_TYPE(x) != cnp.NPY_FLOAT and cnp.PyArray_TYPE(x) != cnp.NPY_DOUBLE)
            or cnp.PyArray_TYPE(y) != cnp.NPY_INT64
            or not cnp.PyArray_ISCARRAY_RO(x)
            or not cnp.PyArray_ISCARRAY_RO(y)
        ):
            return None
        call.rows = cnp.PyArray_DIM(x, 0)
        classes = cnp.PyArray_DIM(x, 1)
        if call.rows == 0 or classes == 0 or classes > 0x7fffffff or call.rows > 65536:
            return None
        call.itemsize = cnp.PyArray_ITEMSIZE(x)
        labels = <const int64_t *> cnp.PyArray_DATA(y)
        if self.lists:
            kept = call.rows
            if (
                cnp.PyArray_DIM(y, 1) != classes
                or call.rows * classes > 65536
                or table_of(call.itemsize).outside(labels, call.rows * classes, -1, classes)
            ):
                return None
        elif (
            not (self.ignoring and 0 <= self.ignore_index < classes)
            and not table_of(call.itemsize).outside(labels, call.rows, 0, classes)
        ):
            kept = call.rows
        else:
            for i in range(call.rows):
                if self.ignoring and labels[i] == self.ignore_index:
                    continue
                if labels[i] < 0 or labels[i] >= classes:
                    return None
                kept += 1
            if kept == 0:
                return None
        self.prepare(
            &call, classes, 1.0 / <double> kept if self.reduction == MEAN else 1.0, NEGATIVE_INFINITY, LF_EXACT
        )
        for which in range(LF_ROW_TABLES):
            call.used[which] = call.in_place[which] = 0
        dims[0] = call.rows
        grad = result_like(x, out, arrays) if order > 0 else None
        if order > 0 and grad is None:
            return None
        hess = empty(2, cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x)) if order > 1 else None
        for which, table in ((LF_INPUT, x), (LF_GRAD, grad), (LF_HESS, hess)):
            if table is None:
                continue
            array = table
            call.used[which] = 1
            call.tables[which].data = <char *> cnp.PyArray_DATA(array)
            call.class_stride[which] = call.itemsize
            call.tables[which].kind = LF_FLOAT32 if call.itemsize == 4 else LF_FLOAT64
            call.tables[which].swapped = 0
            call.tables[which].ndim = 1
            call.tables[which].shape = dims
            call.tables[which].strides[0] = classes * call.itemsize
        call.has_labels = not self.lists
        call.has_lists = self.lists
        call.list_stride = sizeof(int64_t)
        call.labels.data = <char *> labels
        call.labels.kind = LF_INT64
        call.labels.swapped = 0
        call.labels.ndim = 1
        call.labels.shape = dims
        call.labels.strides[0] = sizeof(int64_t) * (classes if self.lists else 1)
        call.multipliers = call.cotangents = 0
        call.value_wanted = self.reduction == NONE
        value = None
        if call.value_wanted:
            array = value = empty(1, cnp.PyArray_DIMS(y), cnp.PyArray_TYPE(x))
            call.value.data = <char *> cnp.PyArray_DATA(array)
            call.value.direct = 1
        execute(&call, &value_sum)
        if self.reduction == MEAN:
            value = value_sum / <double> kept
        elif self.reduction == SUM:
            value = value_sum
        return value if order == 0 else (value, grad) if order == 1 else (value, grad, hess)

    def run(
        self,
        object input,
        int axis,
        int itemsize,
        object labels,
        object target,
        object class_weight,
        tuple multipliers,
        tuple cotangents,
        double scale,
        double floor,
        int curvature,
        object value,
        object grad,
        object hess,
        object target_grad,
    ):
        """The general call; returns the sum of the weighted values.

        `input`, `target`, `grad`, `hess`, `target_grad` and lists of labels share a shape with the classes at `axis`;
        labels and `value` have the shape without it and the multipliers broadcast to that. Labels have been checked.
        `class_weight` is contiguous and of the precision in use. Not empty.
        """
        cdef Call call
        cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
        cdef lf_array *arrays[16]
        cdef cnp.ndarray weights
        cdef int k, count = 0
        cdef double value_sum = 0.0
        shape = input.shape[:axis] + input.shape[axis + 1 :]
        call.rows = 1
        for k in range(len(shape)):
            dims[k] = shape[k]
            call.rows *= dims[k]
        call.itemsize = itemsize
        self.prepare(&call, input.shape[axis], scale, floor, <lf_curvature> curvature)
        if class_weight is not None:
            weights = class_weight
            call.settings.class_weight = cnp.PyArray_DATA(weights)
        for k, array in enumerate((input, target, grad, hess, target_grad)):
            call.used[k] = array is not None
            call.in_place[k] = 0
            if array is not None:
                describe_table(array, axis, &call.tables[k], &call.class_stride[k])
                arrays[count] = &call.tables[k]
                count += 1
        call.has_labels = labels is not None and not self.lists
        call.has_lists = labels is not None and self.lists
        if labels is not None:
            if self.lists:
                describe_table(labels, axis, &call.labels, &call.list_stride)
            else:
                describe(labels, shape, &call.labels)
            arrays[count] = &call.labels
            count += 1
        call.multipliers = len(multipliers)
        call.cotangents = len(cotangents)
        for k, array in enumerate(multipliers + cotangents):
            describe(array, shape, &call.multiplier[k])
            arrays[count] = &call.multiplier[k]
            count += 1
        call.value_wanted = value is not None
        if value is not None:
            describe(value, shape, &call.value)
            arrays[count] = &call.value
            count += 1
        settle(len(shape), dims, arrays, count, itemsize, False)
        execute(&call, &value_sum)
        return value_sum
