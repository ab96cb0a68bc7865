"""Losses of one row of classes at a time: labels, lists of labels or target probabilities, any class axis, rows side by
side in lanes.

An array with a class axis is described by its row axes, as any other array of the call, and by the distance between its
classes. Rows are walked in the memory order of the input.
"""

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

import numpy as np

from lossfast._drivers.runtime cimport (
    LF_DRAFT_BYTES,
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
    SMALL,
    Memory,
    Space,
    add_factors,
    add_usual_factors,
    allocate,
    answer,
    denominator_of,
    describe,
    describe_rows,
    has_shape,
    lf_array,
    lf_curvature,
    lf_prefetch,
    lf_rows,
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
    set_curvature,
    set_parameters,
    set_space,
    settle,
    shape_of,
    table_of,
    team,
    total,
    value_array,
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


cdef void compute(Call *call, Py_ssize_t start, Py_ssize_t n, double *partial, char *scratch) noexcept nogil:
    """n rows from `start`, in scratch memory as `lay_out` says; the sum of their values goes to `partial`."""
    cdef const lf_table *table = call.table
    cdef Py_ssize_t row_bytes = padded(call.tile * call.itemsize)
    cdef char *scales = scratch
    cdef char *values = scratch + row_bytes
    cdef char *factors = scratch + 2 * row_bytes
    cdef int64_t *wide_labels = <int64_t *> (scratch + 3 * row_bytes)
    cdef int32_t *labels = <int32_t *> (scratch + call.labels_at)
    cdef const void *factor
    cdef lf_rows rows
    cdef int m
    if call.has_labels:
        table.gather_labels(&call.labels, start, n, wide_labels)
        # checked before; once more, because another thread may have written since
        table.narrow_labels(wide_labels, n, call.settings.classes, call.ignoring, call.ignore_index, labels)
    table.fill(scales, n, call.scale)
    for m in range(call.factors.weights + call.factors.cotangents):
        table.multiply(scales, table.gather(&call.factors.array[m], start, n, factors), n)
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
    for m in range(call.factors.weights):
        factor = table.gather(&call.factors.array[m], start, n, factors)
        table.multiply(values, factor, n)
    partial[0] = table.sum(values, n)
    if call.value_wanted:
        table.scatter(&call.value, start, n, values)


cdef void block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Call *call = <Call *> context
    cdef Py_ssize_t start, n, run_length
    run_length = call.rows if call.crossing else call.tables[LF_INPUT].shape[call.tables[LF_INPUT].ndim - 1]
    start = index // call.tiles_per_run * run_length + index % call.tiles_per_run * call.tile
    n = run_length - index % call.tiles_per_run * call.tile
    if n > call.tile:
        n = call.tile
    compute(call, start, n, &call.partials[index], call.memory.slots + thread * call.memory.slot_bytes)


cdef inline Py_ssize_t elements_per_row(Call *call) noexcept nogil:
    """How many elements of a row are read or written, at least one; what is scattered counts as more."""
    if call.kernel.label_alone and not (call.used[LF_GRAD] or call.used[LF_HESS]):
        return min(call.settings.classes, 8) or 1
    return call.settings.classes or 1


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
        call.tile = BLOCK_ELEMENTS // elements_per_row(call)
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


cdef Py_ssize_t lay_out(Call *call) noexcept:
    """Where things are in the scratch memory of a thread; returns how much that is."""
    cdef Py_ssize_t classes = call.settings.classes, lanes = lane_stride(call.tile) if call.in_lanes else 1
    cdef Py_ssize_t row_bytes = padded(call.tile * call.itemsize), table_bytes = 0, together
    cdef int which
    # a copy of every table and one row, where not all of them are used as they stand
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
    return call.draft_at + call.draft_bytes


cdef int execute(Call *call, double *sum_of_values) except -1:
    cdef Py_ssize_t classes = call.settings.classes
    cdef int threads
    cdef char small[SMALL]
    settle(&call.space, call.itemsize, False)
    call.rows = call.space.size
    plan(call)
    threads = team(call.rows * elements_per_row(call) * COST * (call.itemsize >> 2), call.blocks)
    allocate(&call.memory, threads, lay_out(call), call.blocks * <Py_ssize_t> sizeof(double), small)
    call.partials = <double *> call.memory.rest
    run_unlocked(threads, call.blocks, block, call, call.rows * classes)
    sum_of_values[0] = total(call.partials, call.blocks)
    free(call.memory.allocated)
    return 0


# ---- labels --------------------------------------------------------------------------------------------------------


cdef struct Scan:
    Space space
    const lf_table *table
    lf_array labels
    bint in_place  # contiguous int64
    lf_array weight  # of the rows
    bint weighted
    const double *class_weight
    int64_t low
    int64_t high
    bint counting
    bint ignoring
    int64_t ignore_index
    Memory memory
    double *partials
    Py_ssize_t *outside  # per block, the flat index of its first bad label, or -1


cdef Py_ssize_t count_kept(const Scan *scan, const int64_t *labels, Py_ssize_t n) noexcept nogil:
    """How many labels are not ignored, or -1 if one of them is outside."""
    cdef uint64_t range_ = <uint64_t> scan.high - <uint64_t> scan.low
    cdef Py_ssize_t kept = 0, bad = 0, i
    cdef bint counts
    for i in range(n):
        counts = not scan.ignoring or labels[i] != scan.ignore_index
        kept += counts
        bad += counts & (<uint64_t> labels[i] - <uint64_t> scan.low >= range_)
    return -1 if bad else kept


cdef void scan_block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Scan *scan = <Scan *> context
    cdef Py_ssize_t start = index * LABEL_BLOCK, n = scan.space.size - start, third = scan.memory.slot_bytes // 3, i
    cdef char *scratch = scan.memory.slots + thread * scan.memory.slot_bytes
    cdef int64_t *labels = <int64_t *> scratch
    cdef double *weights = <double *> (scratch + third)
    cdef const double *row_weight = NULL
    cdef int64_t label
    cdef bint all_count
    if n > LABEL_BLOCK:
        n = LABEL_BLOCK
    scan.outside[index] = -1
    if scan.in_place:
        labels = <int64_t *> scan.labels.data + start
    else:
        scan.table.gather_labels(&scan.labels, start, n, labels)
    if not scan.counting and not scan.table.outside(labels, n, scan.low, scan.high):
        return
    if scan.class_weight == NULL and not scan.weighted:
        all_count = not (scan.ignoring and scan.low <= scan.ignore_index < scan.high)
        if all_count and not scan.table.outside(labels, n, scan.low, scan.high):
            scan.partials[index] = <double> n
            return
        i = count_kept(scan, labels, n)
        scan.partials[index] = <double> i
        if i >= 0:
            return
    if scan.weighted:
        row_weight = <const double *> scan.table.gather(&scan.weight, start, n, scratch + 2 * third)
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


cdef Py_ssize_t scan(Scan *scan, cnp.ndarray labels, cnp.ndarray row_weight, double *weight_sum) except -2:
    """Look for the first label outside of [low, high), in C order: its flat index or -1, and the sum of weights.

    The limits and what counts are set; there are labels. A label that is not ignored weighs as much as its class times
    `row_weight`, which broadcasts to the labels, or None. The sum is not made unless there is something to count.
    """
    cdef Py_ssize_t blocks, k, outside = -1
    cdef int threads
    cdef char small[SMALL]
    set_space(&scan.space, cnp.PyArray_NDIM(labels), shape_of(labels))
    describe(&scan.space, labels, &scan.labels)
    scan.weighted = row_weight is not None
    if scan.weighted:
        describe(&scan.space, row_weight, &scan.weight)
    settle(&scan.space, 8, True)
    scan.table = table_of(8)
    scan.in_place = (
        scan.labels.kind == LF_INT64
        and not scan.labels.swapped
        and scan.labels.ndim == 1
        and scan.labels.strides[0] == 8
        and <size_t> scan.labels.data % 8 == 0
    )
    blocks = (scan.space.size + LABEL_BLOCK - 1) // LABEL_BLOCK
    threads = team(scan.space.size * (1.0 if scan.counting else 0.3), blocks)
    allocate(
        &scan.memory, threads, 3 * padded(min(scan.space.size, LABEL_BLOCK) * 8),
        blocks * <Py_ssize_t> (sizeof(double) + sizeof(Py_ssize_t)), small
    )
    scan.partials = <double *> scan.memory.rest
    scan.outside = <Py_ssize_t *> (scan.partials + blocks)
    run_unlocked(threads, blocks, scan_block, scan, scan.space.size)
    for k in range(blocks):
        if scan.outside[k] >= 0:
            outside = scan.outside[k]
            break
    weight_sum[0] = total(scan.partials, blocks) if outside < 0 and scan.counting else 0.0
    free(scan.memory.allocated)
    return outside


# ---- the entry -----------------------------------------------------------------------------------------------------


cdef class Rowwise:
    """The kernel of one loss over a class axis; instruction set and precision are chosen at each call."""

    def __init__(
        self,
        str name,
        tuple parameters=(),
        *,
        object ignore_index=None,
        bint lists=False,
        bint probabilities=False,
        object class_factors=None,
        bint factors_in_mean=False,
        int most_axes=64,
        str reduction="sum",
    ):
        """`ignore_index`: the label that counts nothing, if there is one; `lists`: every row has a list of labels;
        `probabilities`: it may have a share of every class; `class_factors`: one for each class, or None, and whether
        that of a label is its share of a mean; `most_axes`: of an input.
        """
        self.index = place_of("rowwise", name)
        self.name = name
        set_parameters(self.parameters, name, parameters, LF_MAX_PARAMETERS)
        self.ignoring = ignore_index is not None
        self.ignore_index = ignore_index if ignore_index is not None else 0
        self.lists = lists
        self.probabilities = probabilities
        if class_factors is not None:
            self.single = np.ascontiguousarray(class_factors, np.float32)
            self.double_ = np.ascontiguousarray(class_factors, np.float64)
        self.factors_in_mean = factors_in_mean and class_factors is not None
        self.counting = self.ignoring or self.factors_in_mean
        self.most_axes = most_axes
        self.reduction = reduction_code(reduction)

    cdef void bind(self, Call *call, Py_ssize_t classes, int itemsize) noexcept:
        """Set what the loss brings to a call, which has no arrays yet."""
        cdef int k
        call.itemsize = itemsize
        call.table = table_of(itemsize)
        call.kernel = call.table.rowwise[self.index]
        call.settings.classes = classes
        for k in range(LF_MAX_PARAMETERS):
            call.settings.parameters[k] = self.parameters[k]
        call.settings.class_weight = NULL
        if self.single is not None:
            call.settings.class_weight = cnp.PyArray_DATA(self.single if itemsize == 4 else self.double_)
        call.ignoring = self.ignoring
        call.ignore_index = self.ignore_index
        for k in range(LF_ROW_TABLES):
            call.used[k] = call.in_place[k] = False
        call.has_labels = call.has_lists = call.value_wanted = False
        call.factors.weights = 0

    def scan(self, cnp.ndarray labels, Py_ssize_t classes, object row_weight):
        """The flat index of the first label outside of the classes, or -1, and the weight of the labels that count.

        None if each counts alike. Class factors, if there are any, are as many as classes.
        """
        cdef double weight = 0.0
        cdef Py_ssize_t outside = -1
        if cnp.PyArray_SIZE(labels):
            outside = self.look(labels, classes, row_weight, &weight)
        return outside, weight if self.counting else None

    cdef Py_ssize_t look(self, cnp.ndarray labels, Py_ssize_t classes, object row_weight, double *weight) except -2:
        cdef Scan call
        call.low = -1 if self.lists else 0
        call.high = classes
        call.counting = self.counting
        call.ignoring = self.ignoring
        call.ignore_index = self.ignore_index
        call.class_weight = <const double *> cnp.PyArray_DATA(self.double_) if self.factors_in_mean else NULL
        return scan(&call, labels, row_weight if self.counting else None, weight)

    cdef int prepare(self, cnp.ndarray x, cnp.ndarray y, Call *call) except -1:
        """Take in the arrays of a usual call; returns whether it is one.

        Usual: arrays of any layout, native floats and labels for them, lists of labels or probabilities.
        """
        cdef int ndim = cnp.PyArray_NDIM(x), itemsize = real_bytes(x), axis, k
        cdef int behind = ndim - 2 if ndim > 1 else 0
        cdef Py_ssize_t classes
        cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
        cdef bint integral = cnp.PyArray_ISINTEGER(y)
        if itemsize == 0 or not 1 <= ndim <= self.most_axes or cnp.PyArray_SIZE(x) == 0:
            return 0
        axis = ndim - 1 - behind
        classes = cnp.PyArray_DIM(x, axis)
        if classes > 0x7fffffff or self.single is not None and cnp.PyArray_SIZE(self.single) != classes:
            return 0
        for k in range(ndim - 1):
            dims[k] = cnp.PyArray_DIM(x, k + (k >= axis))
        set_space(&call.space, ndim - 1, dims)
        self.bind(call, classes, itemsize)
        if not take_table(call, LF_INPUT, x, behind):
            return 0
        if self.lists:
            call.has_lists = integral and same_shape(x, y)
            return call.has_lists and describe_rows(
                &call.space, y, behind, classes, &call.labels, &call.list_stride
            )
        if self.probabilities and same_shape(x, y):
            if not cnp.PyArray_ISFLOAT(y) or self.ignoring and self.ignore_index >= 0:
                return 0
            return take_table(call, LF_TARGET, y, behind)
        call.has_labels = integral and has_shape(y, &call.space)
        return call.has_labels and describe(&call.space, y, &call.labels)

    def quick(self, tuple arrays, bint with_value, int order, dict options):
        """What a method gives for a usual call with labels inside of the classes, and None for any other.

        `order`: 0 for the value alone, 1 with the gradient by the input, 2 with the Hessian. Usual arrays: see
        `prepare`, `add_usual_factors` and, for `out`, `own_array`.
        """
        cdef Call call
        cdef cnp.ndarray x, y
        cdef double denominator, kept = 0.0, value_sum
        cdef tuple replaceable = (), others = ()
        cdef list results = None
        cdef int behind, k, type_number
        sample_weight = wrt = grad_output = out = None
        if options:
            sample_weight, grad_output = options.get("sample_weight"), options.get("grad_output")
            wrt, out = options.get("wrt"), options.get("out")
        if wrt is not None and (type(wrt) is not str or wrt != "input"):
            return None
        if type(arrays[0]) is not cnp.ndarray or type(arrays[1]) is not cnp.ndarray:
            return None
        x = <cnp.ndarray> arrays[0]
        y = <cnp.ndarray> arrays[1]
        if not self.prepare(x, y, &call) or not add_usual_factors(
            &call.space, 0, &call.factors, self.reduction, sample_weight, grad_output
        ):
            return None
        if not call.used[LF_TARGET]:
            if self.look(y, call.settings.classes, sample_weight if self.reduction == MEAN else None, &kept) >= 0:
                return None
        if self.counting and not call.used[LF_TARGET]:
            denominator = kept if self.reduction == MEAN else 1.0
            if denominator == 0:
                return None
        elif not denominator_of(&call.space, self.reduction, None, sample_weight, &denominator):
            return None
        call.scale = 1.0 / denominator * call.factors.scale
        if out is not None:
            replaceable, others = (x,), (y, sample_weight, grad_output)
        type_number = cnp.PyArray_TYPE(x)
        set_curvature(options.get("curvature", "exact"), type_number, &call.settings.curvature, &call.settings.floor)
        value = None
        if self.reduction == NONE and with_value:
            value = value_array(
                call.space.ndim, call.space.shape, type_number, None if order else out, replaceable, others
            )
            if value is None:
                return None
            call.value_wanted = describe(&call.space, value, &call.value)
        elif order == 0 and out is not None:
            return None
        if order:
            behind = call.space.ndim - 1 if call.space.ndim else 0
            results = results_like((x,), order, out, replaceable, others)
            if results is None:
                return None
            for k in range(order):
                take_table(&call, LF_GRAD + k, results[k], behind)
        execute(&call, &value_sum)
        if self.reduction != NONE:
            value = value_sum / denominator
        return answer(value, with_value, results, order)

    def run(
        self,
        object input,
        int axis,
        int itemsize,
        object labels,
        object target,
        tuple weights,
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
        labels and `value` have the shape without it and the weights and cotangents broadcast to that. Labels have been
        checked, and there are as many class factors as classes. Not empty.
        """
        cdef Call call
        cdef Py_ssize_t dims[64]  # LF_MAX_DIMS
        cdef int k, behind = input.ndim - 1 - axis
        cdef double value_sum = 0.0
        cdef bint fits = True
        shape = input.shape[:axis] + input.shape[axis + 1 :]
        for k in range(len(shape)):
            dims[k] = shape[k]
        set_space(&call.space, len(shape), dims)
        self.bind(&call, input.shape[axis], itemsize)
        call.settings.floor = floor
        call.settings.curvature = <lf_curvature> curvature
        call.scale = scale
        for k, array in enumerate((input, target, grad, hess, target_grad)):
            if array is not None:
                fits = take_table(&call, k, array, behind) and fits
        call.has_labels = labels is not None and not self.lists
        call.has_lists = labels is not None and self.lists
        if call.has_labels:
            fits = describe(&call.space, labels, &call.labels) and fits
        if call.has_lists:
            fits = describe_rows(
                &call.space, labels, behind, call.settings.classes, &call.labels, &call.list_stride
            ) and fits
        fits = add_factors(&call.space, &call.factors, weights, cotangents) and fits
        if value is not None:
            call.value_wanted = describe(&call.space, value, &call.value)
            fits = fits and call.value_wanted
        if not fits:
            raise ValueError(f"{self.name}: arrays do not fit an input of shape {input.shape}")
        execute(&call, &value_sum)
        return value_sum


cdef int take_table(Call *call, int which, cnp.ndarray array, int behind) except -1:
    """Take in an array with classes; returns whether it fits."""
    call.used[which] = True
    return describe_rows(
        &call.space, array, behind, call.settings.classes, &call.tables[which], &call.class_stride[which]
    )
