"""Losses of the logits of a linear layer: from its input to the gradients by input, weight and bias, block by block.

A block of rows lies in lanes, logits[class][row], as every step takes it: the logits weight · inputᵀ, the loss of rows
in lanes, the gradients slopes · input by the weight and slopesᵀ · weight by the input.

Where the weight is small, a thread takes group after group of blocks through all steps while they are in the cache, and
what the groups have of the gradient by the weight is added up at the end. Else a tile of several blocks goes through
one step after the other, each shared out among the threads by classes, rows or features, so that the weight is read
once for many rows. Which way, and every order of summation, follow from shapes and precision alone: results have the
same bits for any number of threads.
"""

cimport numpy as cnp
from libc.math cimport sqrt
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memset

import numpy as np

from lossfast._drivers.rowwise cimport Call, Rowwise, compute, lay_out
from lossfast._drivers.runtime cimport (
    LF_EXACT,
    LF_FLOAT32,
    LF_FLOAT64,
    LF_GRAD,
    LF_INPUT,
    LF_LANE_MULTIPLE,
    LF_ROW_TABLES,
    LF_TARGET,
    LF_TARGET_GRAD,
    MEAN,
    NONE,
    Space,
    add_factors,
    add_usual_factors,
    answer,
    chosen,
    denominator_of,
    describe,
    empty,
    has_shape,
    kind_of,
    lf_kind,
    lf_product,
    lf_table,
    padded,
    real_bytes,
    results_like,
    run,
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

# Nanoseconds on one thread, for the decision whether to wake others: of a row, of a feature and a logit of each, and of
# a multiply-add of each product.
cdef double ROW_COST = 10, FEATURE_COST = 0.2, LOGIT_COST = 0.5, TERM_COST = 0.008
# Work small enough to keep the interpreter's lock, in multiply-adds of one product.
cdef Py_ssize_t KEEP_LOCK = 1 << 16
cdef double NEGATIVE_INFINITY = -float("inf")

# Rows of a block, and of one where there are so many blocks or nothing to share out. Odd multiples of 16: an even
# distance from class to class brings all of them to few cache sets.
cdef Py_ssize_t ROWS = 48, MANY_ROWS = 144, MANY_BLOCKS = 8
# So few multiply-adds of one product are not shared out.
cdef Py_ssize_t SERIAL_WORK = 1 << 20
# A small weight stays in the caches with a block of that size, …
cdef Py_ssize_t SMALL_WEIGHT = 1 << 20, SMALL_BLOCK = 1 << 20
# … and there are so many blocks to share out, or too few multiply-adds for steps that are shared out.
cdef Py_ssize_t SHARED_BLOCKS = 8, SMALL_WORK = 8 << 20
# There are so many groups at most, whose gradients by the weight fit in that.
cdef Py_ssize_t GROUPS = 32, GROUP_BYTES = 16 << 20
# A tile has the blocks that fit in that, but not more rows than pay.
cdef Py_ssize_t TILE_BYTES = 44 << 20, TILE_ROWS = 1008
# A step has so many tasks for each thread, or more: as many as chunks of the weight of that size.
cdef Py_ssize_t TASKS = 4, CHUNK_BYTES = 512 << 10
# Multiples of so many classes make a chunk of the weight …
cdef Py_ssize_t LEAST_CLASSES = 8
# … of no more than that, which is also how many are summed before the next features are …
cdef Py_ssize_t MOST_CLASSES = 256
# … and so many features, a tile of the product, a strip of it.
cdef Py_ssize_t LEAST_STRIP = 48
# So many rows or classes are worth a copy of a weight or an input whose rows crowd in the cache.
cdef Py_ssize_t WORTH_A_COPY = 192
# Numbers of the weight that are copied or added by one task.
cdef Py_ssize_t TASK_NUMBERS = 16384


# A matrix of any kind and layout (bytes).
cdef struct Matrix:
    bint used
    char *data
    lf_kind kind
    bint swapped
    Py_ssize_t row
    Py_ssize_t column
    bint plain  # REALs, whole REALs apart …
    bint dense  # … and those of a row side by side


cdef struct Layer:
    const lf_table *table
    Call loss  # of rows in lanes; where those are is filled in block by block
    Py_ssize_t itemsize
    Py_ssize_t rows
    Py_ssize_t features
    Py_ssize_t classes
    Matrix input
    Matrix weight
    Matrix target  # probabilities
    Matrix by_input
    Matrix by_weight
    Matrix by_bias  # one row
    Matrix by_target
    const char *bias  # REALs, or NULL
    bint sloped  # whether a gradient by the logits is needed
    bint input_stays  # its rows are read where they are, in whole vectors; …
    bint weight_stays  # … likewise
    bint copied  # the whole weight
    bint small  # the way of small weights …
    bint alone  # … by one thread
    Py_ssize_t weight_numbers
    Py_ssize_t wide  # features of a copy
    Py_ssize_t block_rows
    Py_ssize_t lanes  # of a block: rows in whole vectors
    Py_ssize_t blocks
    Py_ssize_t groups
    Py_ssize_t group_blocks
    Py_ssize_t tile_blocks  # of the present tile, …
    Py_ssize_t tile_start  # … and the first of them
    Py_ssize_t chunk  # classes of a task
    Py_ssize_t piece  # rows of a block that the loss takes at a time
    Py_ssize_t pieces
    Py_ssize_t strip_rows  # of a block, for one strip of features
    Py_ssize_t strip_pieces
    Py_ssize_t strip  # features
    Py_ssize_t strips
    # the memory of a block, of which each thread or each block of a tile has one: its rows of input, then …
    Py_ssize_t columns_at
    Py_ssize_t logits_at
    Py_ssize_t slopes_at
    Py_ssize_t target_at
    Py_ssize_t by_target_at
    Py_ssize_t block_bytes
    char *memory
    # that of a thread
    Py_ssize_t loss_at
    Py_ssize_t scratch_bytes
    char *scratch
    # what is added up
    bint summed_in_place
    char *sums  # the gradient by the weight, C-contiguous: of the first group …
    char *more_sums  # … and of the others
    double *bias_sums  # of each group
    double *partials  # the value of each piece
    char *weight_copy


cdef struct Block:
    Py_ssize_t index
    Py_ssize_t start
    Py_ssize_t n
    Py_ssize_t lanes  # n in whole vectors
    char *rows  # the input [row][feature], …
    Py_ssize_t row  # … so many REALs from row to row; …
    char *columns  # [feature][row] …
    char *logits  # [class][row] …
    char *slopes  # … the gradient by the logits, in their place unless that is needed, …
    char *target  # … and that of the target
    char *by_target


cdef inline Py_ssize_t whole(Py_ssize_t n) noexcept nogil:
    """In whole vectors of any length."""
    return (n + LF_LANE_MULTIPLE - 1) // LF_LANE_MULTIPLE * LF_LANE_MULTIPLE


cdef inline Py_ssize_t spread(Py_ssize_t n) noexcept nogil:
    """In an odd number of them: rows as long are spread over all sets of the cache."""
    return whole(n) + (LF_LANE_MULTIPLE if whole(n) // LF_LANE_MULTIPLE % 2 == 0 else 0)


cdef inline bint crowded(const Matrix *matrix) noexcept nogil:
    """Whether the rows come to an eighth of the sets of a first-level cache or less, of the usual 64 with 64 bytes."""
    return matrix.row % 512 == 0


cdef inline Py_ssize_t parts(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size


cdef inline Py_ssize_t lesser(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a < b else b


cdef inline Py_ssize_t greater(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return a if a > b else b


cdef void load(
    const lf_table *table, const Matrix *matrix, Py_ssize_t row, Py_ssize_t column, Py_ssize_t n, void *to
) noexcept nogil:
    table.load(
        matrix.kind, matrix.swapped, matrix.data + row * matrix.row + column * matrix.column, matrix.column, n, to
    )


cdef void store(
    const lf_table *table, const Matrix *matrix, Py_ssize_t row, Py_ssize_t column, Py_ssize_t n, const void *source
) noexcept nogil:
    table.store(
        matrix.kind, matrix.swapped, matrix.data + row * matrix.row + column * matrix.column, matrix.column, n, source
    )


# ---- the steps for one block ---------------------------------------------------------------------------------------


cdef Block block_in(const Layer *layer, Py_ssize_t index, char *memory) noexcept nogil:
    cdef Block block
    block.index = index
    block.start = index * layer.block_rows
    block.n = lesser(layer.block_rows, layer.rows - block.start)
    block.lanes = whole(block.n)
    block.rows = memory
    block.row = layer.wide
    block.columns = memory + layer.columns_at
    block.logits = memory + layer.logits_at
    block.slopes = memory + layer.slopes_at
    block.target = memory + layer.target_at
    block.by_target = memory + layer.by_target_at
    return block


cdef void take_input(Layer *layer, Block *block, char *scratch, bint may_stay) noexcept nogil:
    """Transpose the rows of the input; a copy of them is filled up with zeros to whole vectors both ways.

    `may_stay`: there need not be a copy unless something is filled up.
    """
    cdef Py_ssize_t i, row_bytes = layer.wide * layer.itemsize, given = layer.features * layer.itemsize
    cdef bint some_ignored = False
    cdef int64_t *labels = <int64_t *> scratch
    if layer.loss.has_labels and layer.loss.ignoring:
        layer.table.gather_labels(&layer.loss.labels, block.start, block.n, labels)
        for i in range(block.n):
            some_ignored |= labels[i] == layer.loss.ignore_index
    if may_stay and block.n == block.lanes and not some_ignored:
        block.rows = layer.input.data + block.start * layer.input.row
        block.row = layer.input.row // layer.itemsize
    else:
        for i in range(block.n):
            if some_ignored and labels[i] == layer.loss.ignore_index:  # its NaN times a slope of 0 would be NaN
                memset(block.rows + i * row_bytes, 0, row_bytes)
            else:
                load(layer.table, &layer.input, block.start + i, 0, layer.features, block.rows + i * row_bytes)
                memset(block.rows + i * row_bytes + given, 0, row_bytes - given)
        memset(block.rows + block.n * row_bytes, 0, (block.lanes - block.n) * row_bytes)
    layer.table.transpose(block.rows, block.row, block.columns, layer.lanes, block.lanes, layer.features)


cdef void take_target(Layer *layer, const Block *block, char *scratch, bint back) noexcept nogil:
    """Transpose the probabilities of the rows; `back`: the gradient by them."""
    cdef Py_ssize_t start, n, i, k
    for k in range(parts(layer.classes, MOST_CLASSES)):
        start = k * MOST_CLASSES
        n = lesser(MOST_CLASSES, layer.classes - start)
        if back:
            layer.table.transpose(
                block.by_target + start * layer.lanes * layer.itemsize, layer.lanes, scratch, n, n, block.n
            )
            for i in range(block.n):
                store(layer.table, &layer.by_target, block.start + i, start, n, scratch + i * n * layer.itemsize)
        else:
            for i in range(block.n):
                load(layer.table, &layer.target, block.start + i, start, n, scratch + i * n * layer.itemsize)
            layer.table.transpose(
                scratch, n, block.target + start * layer.lanes * layer.itemsize, layer.lanes, block.n, n
            )


cdef void take_logits(
    Layer *layer, const Block *block, Py_ssize_t start, Py_ssize_t n, const Matrix *weight
) noexcept nogil:
    """Those of n classes; `weight` begins with them."""
    cdef lf_product product
    product.rows = n
    product.columns = block.lanes
    product.terms = layer.features
    product.a = weight.data
    product.a_row = weight.row // layer.itemsize
    product.a_column = weight.column // layer.itemsize
    product.b = block.columns
    product.b_row = layer.lanes
    product.start = NULL
    if layer.bias != NULL:
        product.start = layer.bias + start * layer.itemsize
    product.c = block.logits + start * layer.lanes * layer.itemsize
    product.c_row = layer.lanes
    product.add = 0
    layer.table.product(&product)


cdef void take_loss(
    Layer *layer, const Block *block, Call *call, Py_ssize_t row, Py_ssize_t n, char *scratch
) noexcept nogil:
    """The values of n rows of the block, and their slopes; `call`: a copy of that of the layer."""
    cdef Py_ssize_t before = block.start * layer.itemsize  # the rows of the call are counted from the first of all
    call.tables[LF_INPUT].data = block.logits - before
    call.tables[LF_TARGET].data = block.target - before
    call.tables[LF_GRAD].data = block.slopes - before
    call.tables[LF_TARGET_GRAD].data = block.by_target - before
    compute(call, block.start + row, n, &layer.partials[block.index * layer.pieces + row // layer.piece], scratch)


cdef void take_by_weight(
    Layer *layer, const Block *block, Py_ssize_t start, Py_ssize_t n, char *sums, double *bias_sums, bint add
) noexcept nogil:
    """What the block contributes to the gradients by the weight and the bias of n classes."""
    cdef char *slopes = block.slopes + start * layer.lanes * layer.itemsize
    cdef Py_ssize_t c
    cdef lf_product product
    if layer.by_weight.used:
        product.rows = n
        product.columns = layer.features
        product.terms = block.n
        product.a = slopes
        product.a_row = layer.lanes
        product.a_column = 1
        product.b = block.rows
        product.b_row = block.row
        product.start = NULL
        product.c = sums + start * layer.features * layer.itemsize
        product.c_row = layer.features
        product.add = add
        layer.table.product(&product)
    if layer.by_bias.used:
        for c in range(n):
            bias_sums[start + c] = layer.table.sum(slopes + c * layer.lanes * layer.itemsize, block.n) + (
                bias_sums[start + c] if add else 0.0
            )


cdef void take_by_input(
    Layer *layer, const Block *block, Py_ssize_t row, Py_ssize_t n, Py_ssize_t start, Py_ssize_t classes,
    const char *weight, Py_ssize_t weight_row, Py_ssize_t features, char *sums, Py_ssize_t sums_row
) noexcept nogil:
    """What some classes contribute to the gradients of n rows by some features; `weight` begins with both."""
    cdef lf_product product
    product.rows = n
    product.columns = features
    product.terms = classes
    product.a = block.slopes + (start * layer.lanes + row) * layer.itemsize
    product.a_row = 1
    product.a_column = layer.lanes
    product.b = weight
    product.b_row = weight_row // layer.itemsize
    product.start = NULL
    product.c = sums
    product.c_row = sums_row // layer.itemsize
    product.add = start > 0
    layer.table.product(&product)


# ---- small weights: all steps for one block ------------------------------------------------------------------------


cdef void copy_task(void *context, Py_ssize_t index, int thread) noexcept nogil:
    """The weight of some classes, in whole vectors."""
    cdef Layer *layer = <Layer *> context
    cdef Py_ssize_t c
    for c in range(index * layer.chunk, lesser((index + 1) * layer.chunk, layer.classes)):
        load(layer.table, &layer.weight, c, 0, layer.features, layer.weight_copy + c * layer.wide * layer.itemsize)


cdef void group_task(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Layer *layer = <Layer *> context
    cdef char *memory = layer.memory + thread * layer.block_bytes
    cdef char *scratch = layer.scratch + thread * layer.scratch_bytes
    cdef char *sums = layer.sums
    cdef double *bias_sums = layer.bias_sums + index * layer.classes
    cdef char *to
    cdef Py_ssize_t first = index * layer.group_blocks, to_row, start, c, i, k
    cdef Call call = layer.loss
    cdef Block block
    if index > 0:
        sums = layer.more_sums + (0 if layer.alone else index - 1) * layer.weight_numbers * layer.itemsize
    for k in range(first, lesser(first + layer.group_blocks, layer.blocks)):
        block = block_in(layer, k, memory)
        take_input(layer, &block, scratch, layer.input_stays)
        if layer.target.used:
            take_target(layer, &block, scratch, False)
        take_logits(layer, &block, 0, layer.classes, &layer.weight)
        take_loss(layer, &block, &call, 0, block.n, scratch + layer.loss_at)
        if layer.by_target.used:
            take_target(layer, &block, scratch, True)
        take_by_weight(layer, &block, 0, layer.classes, sums, bias_sums, k > first)
        if not layer.by_input.used:
            continue
        to = layer.by_input.data + block.start * layer.by_input.row
        to_row = layer.by_input.row
        if not layer.by_input.dense:
            to = memory
            to_row = layer.wide * layer.itemsize
        for c in range(parts(layer.classes, MOST_CLASSES)):
            start = c * MOST_CLASSES
            take_by_input(
                layer, &block, 0, block.n, start, lesser(MOST_CLASSES, layer.classes - start),
                layer.weight.data + start * layer.weight.row, layer.weight.row, layer.features, to, to_row,
            )
        if not layer.by_input.dense:
            for i in range(block.n):
                store(layer.table, &layer.by_input, block.start + i, 0, layer.features, to + i * to_row)
    if layer.by_weight.used and layer.alone and index > 0:
        layer.table.accumulate(layer.sums, sums, 1.0, layer.weight_numbers)


cdef void sum_task(void *context, Py_ssize_t index, int thread) noexcept nogil:
    """The gradient by the weight of some classes: add what the groups have, and convert it."""
    cdef Layer *layer = <Layer *> context
    cdef Py_ssize_t start = index * layer.chunk, n = lesser(layer.chunk, layer.classes - start), g, c
    cdef Py_ssize_t row_bytes = layer.features * layer.itemsize
    for g in range(0 if layer.alone else layer.groups - 1):
        layer.table.accumulate(
            layer.sums + start * row_bytes, layer.more_sums + (g * layer.classes + start) * row_bytes, 1.0,
            n * layer.features,
        )
    if not layer.summed_in_place:
        for c in range(start, start + n):
            store(layer.table, &layer.by_weight, c, 0, layer.features, layer.sums + c * row_bytes)


# ---- others: one step for a tile -----------------------------------------------------------------------------------


cdef inline Block block_of_tile(const Layer *layer, Py_ssize_t k) noexcept nogil:
    return block_in(layer, layer.tile_start + k, layer.memory + k * layer.block_bytes)


cdef void input_step(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Layer *layer = <Layer *> context
    cdef Block block = block_of_tile(layer, index)
    take_input(layer, &block, layer.scratch + thread * layer.scratch_bytes, False)
    if layer.target.used:
        take_target(layer, &block, layer.scratch + thread * layer.scratch_bytes, False)


cdef void logits_step(void *context, Py_ssize_t index, int thread) noexcept nogil:
    """Those of a chunk of classes."""
    cdef Layer *layer = <Layer *> context
    cdef Py_ssize_t start = index * layer.chunk, n = lesser(layer.chunk, layer.classes - start), c, k
    cdef Matrix weight = layer.weight
    cdef Block block
    weight.data += start * weight.row
    if not weight.plain:
        weight.data = layer.scratch + thread * layer.scratch_bytes
        weight.row = layer.features * layer.itemsize
        weight.column = layer.itemsize
        for c in range(n):
            load(layer.table, &layer.weight, start + c, 0, layer.features, weight.data + c * weight.row)
    for k in range(layer.tile_blocks):
        block = block_of_tile(layer, k)
        take_logits(layer, &block, start, n, &weight)


cdef void loss_step(void *context, Py_ssize_t index, int thread) noexcept nogil:
    """A piece of a block."""
    cdef Layer *layer = <Layer *> context
    cdef Block block = block_of_tile(layer, index // layer.pieces)
    cdef Py_ssize_t row = index % layer.pieces * layer.piece
    cdef char *scratch = layer.scratch + thread * layer.scratch_bytes + layer.loss_at
    cdef Call call = layer.loss
    if row < block.n:
        take_loss(layer, &block, &call, row, lesser(layer.piece, block.n - row), scratch)


cdef void by_target_step(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Layer *layer = <Layer *> context
    cdef Block block = block_of_tile(layer, index)
    take_target(layer, &block, layer.scratch + thread * layer.scratch_bytes, True)


cdef void by_weight_step(void *context, Py_ssize_t index, int thread) noexcept nogil:
    """A chunk of classes."""
    cdef Layer *layer = <Layer *> context
    cdef Py_ssize_t start = index * layer.chunk, n = lesser(layer.chunk, layer.classes - start), k
    cdef Block block
    for k in range(layer.tile_blocks):
        block = block_of_tile(layer, k)
        take_by_weight(layer, &block, start, n, layer.sums, layer.bias_sums, layer.tile_start + k > 0)


cdef void by_input_step(void *context, Py_ssize_t index, int thread) noexcept nogil:
    """A strip of features, for a piece of every block: so that the weight is read once for many rows."""
    cdef Layer *layer = <Layer *> context
    cdef Py_ssize_t column = index // layer.strip_pieces * layer.strip
    cdef Py_ssize_t row = index % layer.strip_pieces * layer.strip_rows
    cdef Py_ssize_t features = lesser(layer.strip, layer.features - column)
    cdef Py_ssize_t row_bytes = spread(features) * layer.itemsize, weight_row, start, n, b, c, i, k
    cdef char *copy = layer.scratch + thread * layer.scratch_bytes
    cdef char *sums = copy + MOST_CLASSES * row_bytes
    cdef char *weight
    cdef Block block
    for k in range(parts(layer.classes, MOST_CLASSES)):
        start = k * MOST_CLASSES
        n = lesser(MOST_CLASSES, layer.classes - start)
        weight = layer.weight.data + start * layer.weight.row + column * layer.weight.column
        weight_row = layer.weight.row
        if not layer.weight_stays:
            weight = copy
            weight_row = row_bytes
            for c in range(n):
                load(layer.table, &layer.weight, start + c, column, features, copy + c * row_bytes)
        for b in range(layer.tile_blocks):
            block = block_of_tile(layer, b)
            if row < block.n:
                take_by_input(
                    layer, &block, row, lesser(layer.strip_rows, block.n - row), start, n, weight, weight_row, features,
                    sums + b * layer.strip_rows * row_bytes, row_bytes,
                )
    for b in range(layer.tile_blocks):
        block = block_of_tile(layer, b)
        for i in range(lesser(layer.strip_rows, block.n - row)):
            store(
                layer.table, &layer.by_input, block.start + row + i, column, features,
                sums + (b * layer.strip_rows + i) * row_bytes,
            )


cdef void tiles(Layer *layer, int threads) noexcept nogil:
    cdef Py_ssize_t chunks = parts(layer.classes, layer.chunk), most = layer.tile_blocks
    layer.tile_start = 0
    while layer.tile_start < layer.blocks:
        layer.tile_blocks = lesser(most, layer.blocks - layer.tile_start)
        run(threads, layer.tile_blocks, input_step, layer)
        run(threads, chunks, logits_step, layer)
        run(threads, layer.tile_blocks * layer.pieces, loss_step, layer)
        if layer.by_target.used:
            run(threads, layer.tile_blocks, by_target_step, layer)
        if layer.by_weight.used or layer.by_bias.used:
            run(threads, chunks, by_weight_step, layer)
        if layer.by_input.used:  # last: it may be the input itself
            run(threads, layer.strips * layer.strip_pieces, by_input_step, layer)
        layer.tile_start += layer.tile_blocks


# ---- the call ------------------------------------------------------------------------------------------------------


cdef Py_ssize_t bytes_of_block(Layer *layer, Py_ssize_t rows) noexcept:
    """The memory of a block of so many rows, and where its parts are."""
    cdef Py_ssize_t lanes = whole(lesser(rows, layer.rows))
    cdef Py_ssize_t table_bytes = padded(layer.classes * lanes * layer.itemsize)
    layer.columns_at = padded(lanes * layer.wide * layer.itemsize)
    layer.logits_at = layer.columns_at + padded(layer.features * lanes * layer.itemsize)
    # the gradient by the target needs the logits
    layer.slopes_at = layer.logits_at + (table_bytes if layer.by_target.used and layer.sloped else 0)
    layer.target_at = layer.slopes_at + table_bytes
    layer.by_target_at = layer.target_at + (table_bytes if layer.target.used else 0)
    return layer.by_target_at + (table_bytes if layer.by_target.used else 0)


cdef int plan(Layer *layer) noexcept:
    """Which way, and all sizes that the bits of the results depend on; returns the number of threads."""
    cdef Py_ssize_t weight_bytes
    cdef double cost
    cdef int products
    cdef bint serial
    layer.wide = spread(layer.features)
    layer.weight_numbers = layer.classes * layer.features
    layer.sloped = layer.by_input.used or layer.by_weight.used or layer.by_bias.used
    weight_bytes = layer.classes * layer.wide * layer.itemsize
    serial = layer.rows * layer.weight_numbers <= SERIAL_WORK
    layer.small = (
        weight_bytes <= SMALL_WEIGHT
        and bytes_of_block(layer, ROWS) <= SMALL_BLOCK
        and (layer.rows >= SHARED_BLOCKS * ROWS or layer.rows * layer.weight_numbers <= SMALL_WORK)
    )
    layer.block_rows = ROWS
    if layer.small:
        if (layer.rows >= MANY_BLOCKS * MANY_ROWS or serial) and bytes_of_block(layer, MANY_ROWS) <= SMALL_BLOCK:
            layer.block_rows = MANY_ROWS
    elif bytes_of_block(layer, MANY_ROWS) <= TILE_BYTES:
        layer.block_rows = MANY_ROWS
    elif bytes_of_block(layer, ROWS) > TILE_BYTES:
        layer.block_rows = lesser(ROWS, LF_LANE_MULTIPLE)
    layer.block_rows = lesser(layer.block_rows, layer.rows)
    layer.block_bytes = bytes_of_block(layer, layer.block_rows)
    layer.lanes = whole(layer.block_rows)
    layer.blocks = parts(layer.rows, layer.block_rows)
    layer.piece = layer.block_rows if layer.small else lesser(layer.block_rows, LF_LANE_MULTIPLE)
    layer.pieces = parts(layer.block_rows, layer.piece)
    layer.groups = 1
    if layer.small:
        layer.groups = lesser(GROUPS, greater(1, GROUP_BYTES // greater(1, weight_bytes)))
        layer.group_blocks = parts(layer.blocks, layer.groups)
        layer.groups = parts(layer.blocks, layer.group_blocks)
    layer.input_stays = layer.input.dense and layer.features % LF_LANE_MULTIPLE == 0 and (
        not crowded(&layer.input) or layer.classes < WORTH_A_COPY
    )
    layer.weight_stays = layer.weight.dense and layer.features % LF_LANE_MULTIPLE == 0 and (
        not crowded(&layer.weight) or layer.rows < WORTH_A_COPY
    )
    # only the gradient by the input reads vectors of it; tiles make copies of their own
    layer.copied = layer.small and not (layer.weight_stays if layer.by_input.used else layer.weight.plain)
    layer.summed_in_place = layer.by_weight.dense and (
        layer.by_weight.row == layer.features * layer.itemsize or layer.classes == 1
    )
    products = 1 + layer.by_input.used + layer.by_weight.used
    cost = layer.classes * (LOGIT_COST + TERM_COST * layer.features * products) + FEATURE_COST * layer.features
    return team(
        layer.rows * (ROW_COST + cost) * (layer.itemsize >> 2),
        layer.groups if layer.small else parts(layer.classes, LEAST_CLASSES),
    )


cdef void divide(Layer *layer, int threads) noexcept:
    """The work among the threads, and what scratch memory that takes."""
    cdef Py_ssize_t tasks = TASKS * threads, rows
    layer.alone = threads == 1
    layer.chunk = greater(1, TASK_NUMBERS // greater(1, layer.features))
    layer.loss_at = layer.block_rows * sizeof(int64_t)
    if layer.target.used:
        layer.loss_at = greater(layer.loss_at, layer.block_rows * MOST_CLASSES * layer.itemsize)
    if not layer.small:
        layer.tile_blocks = greater(1, lesser(TILE_BYTES // layer.block_bytes, TILE_ROWS // layer.block_rows))
        layer.tile_blocks = lesser(layer.tile_blocks, layer.blocks)
        layer.chunk = lesser(MOST_CLASSES, parts(layer.classes, tasks))
        layer.chunk = lesser(layer.chunk, CHUNK_BYTES // greater(1, layer.wide * layer.itemsize))
        layer.chunk = greater(1, layer.chunk // LEAST_CLASSES) * LEAST_CLASSES
        # a task reads a strip of the weight and slopes of its rows: least is read where both are about as much
        rows = layer.tile_blocks * layer.block_rows
        layer.strip = greater(LEAST_STRIP, <Py_ssize_t> sqrt(<double> rows * layer.features / tasks))
        layer.strip = spread(lesser(layer.strip, layer.features))
        layer.strips = parts(layer.features, greater(1, layer.strip))
        layer.strip_rows = whole(parts(layer.block_rows, parts(tasks, greater(1, layer.strips))))
        layer.strip_rows = lesser(layer.strip_rows, layer.block_rows)
        layer.strip_pieces = parts(layer.block_rows, layer.strip_rows)
        rows = MOST_CLASSES + layer.tile_blocks * layer.strip_rows
        layer.loss_at = greater(layer.loss_at, rows * layer.strip * layer.itemsize)
        if not layer.weight.plain:
            layer.loss_at = greater(layer.loss_at, layer.chunk * layer.features * layer.itemsize)
    layer.loss_at = padded(layer.loss_at)


cdef void prepare_loss(Layer *layer) noexcept:
    """What the call of the loss has in common for all blocks."""
    cdef Call *call = &layer.loss
    cdef int which
    for which in range(LF_ROW_TABLES):
        call.used[which] = 0
        call.in_place[which] = 1
        call.class_stride[which] = layer.lanes * layer.itemsize
        call.tables[which].ndim = 1
        call.tables[which].strides[0] = layer.itemsize
    call.used[LF_INPUT] = 1
    call.used[LF_TARGET] = layer.target.used
    call.used[LF_GRAD] = layer.sloped
    call.used[LF_TARGET_GRAD] = layer.by_target.used
    call.in_lanes = True
    call.tile = layer.piece
    layer.scratch_bytes = layer.loss_at + padded(lay_out(call))


cdef char *next_part(char **memory, Py_ssize_t bytes) noexcept:
    """So many bytes, and the memory behind them."""
    cdef char *part = memory[0]
    memory[0] += padded(bytes)
    return part


cdef Py_ssize_t share_out(Layer *layer, char *memory, int threads) noexcept:
    """Give every part its memory; returns how much that is."""
    cdef Py_ssize_t sum_bytes = layer.weight_numbers * layer.itemsize, more = layer.groups - 1
    cdef char *end = memory
    if layer.alone:
        more = lesser(more, 1)
    layer.memory = next_part(&end, (threads if layer.small else layer.tile_blocks) * padded(layer.block_bytes))
    layer.scratch = next_part(&end, threads * layer.scratch_bytes)
    layer.partials = <double *> next_part(&end, layer.blocks * layer.pieces * sizeof(double))
    layer.sums = layer.by_weight.data
    if layer.by_weight.used and not layer.summed_in_place:
        layer.sums = next_part(&end, sum_bytes)
    layer.more_sums = next_part(&end, more * sum_bytes if layer.by_weight.used else 0)
    layer.bias_sums = <double *> next_part(
        &end, layer.groups * layer.classes * sizeof(double) if layer.by_bias.used else 0
    )
    layer.weight_copy = next_part(&end, layer.classes * layer.wide * layer.itemsize if layer.copied else 0)
    return end - memory


cdef void compute_all(Layer *layer, int threads) noexcept nogil:
    cdef Py_ssize_t c, g
    if layer.copied:
        run(threads, parts(layer.classes, layer.chunk), copy_task, layer)
        layer.weight.data = layer.weight_copy
        layer.weight.row = layer.wide * layer.itemsize
        layer.weight.column = layer.itemsize
    if layer.small:
        run(threads, layer.groups, group_task, layer)
    else:
        tiles(layer, threads)
    if layer.by_weight.used and ((layer.groups > 1 and not layer.alone) or not layer.summed_in_place):
        run(threads, parts(layer.classes, layer.chunk), sum_task, layer)
    if layer.by_bias.used:
        for g in range(1, layer.groups):
            for c in range(layer.classes):
                layer.bias_sums[c] += layer.bias_sums[g * layer.classes + c]
        store(table_of(8), &layer.by_bias, 0, 0, layer.classes, layer.bias_sums)


cdef double execute(Layer *layer) except? -1.0:
    """Returns the sum of the values."""
    cdef char here[16384 + 64]
    cdef char *memory = here
    cdef cnp.npy_intp bytes
    cdef int threads = plan(layer)
    settle(&layer.loss.space, layer.itemsize, False)
    divide(layer, threads)
    prepare_loss(layer)
    bytes = share_out(layer, memory, threads) + 64
    if bytes > <Py_ssize_t> sizeof(here):
        owner = empty(1, &bytes, cnp.NPY_UINT8)
        memory = cnp.PyArray_BYTES(owner)
    share_out(layer, <char *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63), threads)
    memset(layer.partials, 0, layer.blocks * layer.pieces * sizeof(double))
    if layer.rows * layer.weight_numbers <= KEEP_LOCK:
        compute_all(layer, threads)
    else:
        with nogil:
            compute_all(layer, threads)
    return total(layer.partials, layer.blocks * layer.pieces)


cdef int take_matrix(Matrix *matrix, cnp.ndarray array, Py_ssize_t itemsize) except -1:
    """Take in an array with two axes, or one, which is a row; or None."""
    cdef int last
    matrix.used = array is not None
    matrix.data = NULL
    matrix.row = matrix.column = itemsize
    matrix.plain = matrix.dense = False
    if array is None:
        return 0
    last = cnp.PyArray_NDIM(array) - 1
    matrix.data = cnp.PyArray_BYTES(array)
    matrix.kind = <lf_kind> kind_of(array)
    matrix.swapped = not cnp.PyArray_ISNOTSWAPPED(array)
    matrix.column = cnp.PyArray_STRIDE(array, last)
    if cnp.PyArray_DIM(array, last) < 2:  # NumPy leaves the stride open
        matrix.column = cnp.PyArray_ITEMSIZE(array)
    matrix.row = cnp.PyArray_STRIDE(array, 0) if last > 0 else 0
    matrix.plain = (
        matrix.kind == (LF_FLOAT32 if itemsize == 4 else LF_FLOAT64)
        and not matrix.swapped
        and matrix.row % itemsize == 0
        and matrix.column % itemsize == 0
        and <uintptr_t> matrix.data % <uintptr_t> itemsize == 0
    )
    matrix.dense = matrix.plain and matrix.column == itemsize
    return 0


cdef cnp.ndarray row_of(cnp.ndarray bias, int itemsize):
    """The bias in the precision of a call, contiguous and aligned."""
    cdef cnp.ndarray row
    if bias is None:
        return None
    row = np.ascontiguousarray(bias, np.float32 if itemsize == 4 else np.float64)
    return row if cnp.PyArray_ISALIGNED(row) else row.copy()


cdef dict PLACES = {"input": 0, "linear_weight": 1, "linear_bias": 2}


cdef class Linear:
    """A rowwise loss of the logits of a linear layer."""

    cdef Rowwise loss

    def __init__(self, Rowwise loss):
        """`loss`: of labels or probabilities, without scratch tables."""
        self.loss = loss

    cdef int begin(
        self, Layer *layer, cnp.ndarray input, cnp.ndarray weight, cnp.ndarray bias, int itemsize
    ) except -1:
        """Take in the layer; `bias` is a `row_of` one."""
        layer.rows = cnp.PyArray_DIM(input, 0)
        layer.features = cnp.PyArray_DIM(input, 1)
        layer.classes = cnp.PyArray_DIM(weight, 0)
        layer.itemsize = itemsize
        set_space(&layer.loss.space, 1, shape_of(input))
        self.loss.bind(&layer.loss, layer.classes, itemsize)
        layer.loss.rows = layer.rows
        layer.loss.settings.curvature = LF_EXACT
        layer.loss.settings.floor = NEGATIVE_INFINITY
        layer.table = layer.loss.table
        take_matrix(&layer.input, input, itemsize)
        take_matrix(&layer.weight, weight, itemsize)
        layer.bias = NULL if bias is None else cnp.PyArray_BYTES(bias)
        return 0

    cdef int take_target(self, Layer *layer, cnp.ndarray target) except -1:
        """Take in labels or probabilities of a usual call; returns whether they are."""
        cdef bint integral = cnp.PyArray_ISINTEGER(target)
        take_matrix(&layer.target, None, layer.itemsize)
        if self.loss.probabilities and cnp.PyArray_NDIM(target) == 2:
            if (
                not cnp.PyArray_ISFLOAT(target)
                or real_bytes(target) == 0
                or cnp.PyArray_DIM(target, 0) != layer.rows
                or cnp.PyArray_DIM(target, 1) != layer.classes
                or (self.loss.ignoring and self.loss.ignore_index >= 0)
            ):
                return 0
            take_matrix(&layer.target, target, layer.itemsize)
            return 1
        layer.loss.has_labels = integral and has_shape(target, &layer.loss.space)
        return layer.loss.has_labels and describe(&layer.loss.space, target, &layer.loss.labels)

    def quick(self, tuple arrays, bint with_value, int order, dict options):
        """What a method gives for a usual call with labels inside of the classes, and None for any other.

        `arrays`: input, weight, target and bias. `order`: 0 for the value alone, 1 with gradients. Usual: matrices of
        native floats in any layout, labels or probabilities for their rows, none of them empty; see also
        `add_usual_factors` and, for `out`, `own_array`.
        """
        cdef cnp.ndarray input, weight, target, bias = None
        cdef Layer layer
        cdef tuple predictions, places, others = ()
        cdef list results = []
        cdef double denominator, kept = 0.0, value_sum
        cdef int itemsize = 4, count, k
        cdef list by = [None, None, None]
        sample_weight = wrt = grad_output = out = None
        if options:
            sample_weight, grad_output = options.get("sample_weight"), options.get("grad_output")
            wrt, out = options.get("wrt"), options.get("out")
        predictions = arrays[:2] if arrays[3] is None else (arrays[0], arrays[1], arrays[3])
        for array in predictions:
            if type(array) is not cnp.ndarray or real_bytes(<cnp.ndarray> array) == 0:
                return None
            itemsize = max(itemsize, real_bytes(<cnp.ndarray> array))
        if type(arrays[2]) is not cnp.ndarray:
            return None
        input, weight, target = arrays[0], arrays[1], arrays[2]
        if (
            cnp.PyArray_NDIM(input) != 2
            or cnp.PyArray_NDIM(weight) != 2
            or cnp.PyArray_DIM(input, 1) != cnp.PyArray_DIM(weight, 1)
            or cnp.PyArray_SIZE(input) == 0
            or cnp.PyArray_SIZE(weight) == 0
            or cnp.PyArray_DIM(weight, 0) > 0x7fffffff
            or (self.loss.single is not None and cnp.PyArray_SIZE(self.loss.single) != cnp.PyArray_DIM(weight, 0))
        ):
            return None
        if len(predictions) == 3:
            bias = predictions[2]
            if cnp.PyArray_NDIM(bias) != 1 or cnp.PyArray_DIM(bias, 0) != cnp.PyArray_DIM(weight, 0):
                return None
            bias = row_of(bias, itemsize)
        places = tuple(range(len(predictions))) if wrt is None else chosen(wrt, PLACES)
        if places is None or (2 in places and bias is None):
            return None
        self.begin(&layer, input, weight, bias, itemsize)
        if not self.take_target(&layer, target) or not add_usual_factors(
            &layer.loss.space, 0, &layer.loss.factors, self.loss.reduction, sample_weight, grad_output
        ):
            return None
        if layer.loss.has_labels:
            if self.loss.look(
                target, layer.classes, sample_weight if self.loss.reduction == MEAN else None, &kept
            ) >= 0:
                return None
        if self.loss.counting and layer.loss.has_labels:
            denominator = kept if self.loss.reduction == MEAN else 1.0
            if denominator == 0:
                return None
        elif not denominator_of(&layer.loss.space, self.loss.reduction, None, sample_weight, &denominator):
            return None
        layer.loss.scale = 1.0 / denominator * layer.loss.factors.scale
        if out is not None:
            others = (*predictions, target, sample_weight, grad_output)
        value = None
        if self.loss.reduction == NONE and with_value:
            value = value_array(
                1, layer.loss.space.shape, value_type(predictions, itemsize), None if order else out, (), others
            )
            if value is None:
                return None
            layer.loss.value_wanted = describe(&layer.loss.space, value, &layer.loss.value)
        elif order == 0 and out is not None:
            return None
        if order:
            count = len(places)
            if out is not None and count > 1 and (type(out) is not tuple or len(<tuple> out) != count):
                return None
            for k in range(count):
                array = predictions[places[k]]
                own = out[k] if out is not None and count > 1 else out
                # the gradient by the input may replace it
                made = results_like(
                    (array,), 1, own, (array,) if places[k] == 0 else (), others[places[k] == 0:] + tuple(results)
                )
                if made is None:
                    return None
                results += made
                by[places[k]] = made[0]
        take_matrix(&layer.by_input, by[0], itemsize)
        take_matrix(&layer.by_weight, by[1], itemsize)
        take_matrix(&layer.by_bias, by[2], itemsize)
        take_matrix(&layer.by_target, None, itemsize)
        value_sum = execute(&layer)
        if self.loss.reduction != NONE:
            value = value_sum / denominator
        return answer(value, with_value, results, order)

    def run(
        self,
        cnp.ndarray input,
        cnp.ndarray weight,
        cnp.ndarray bias,
        int itemsize,
        object labels,
        object target,
        tuple weights,
        tuple cotangents,
        double scale,
        object value,
        object by_input,
        object by_weight,
        object by_bias,
        object by_target,
    ):
        """The general call; returns the sum of the weighted values.

        The rows of `input` and of `weight` have the features. `labels`, `value`, `weights` and `cotangents` have a
        number for each row, `target` and `by_target` a row of classes. Labels have been checked, and there are as many
        class factors as classes. Some rows, and some classes.
        """
        cdef Layer layer
        cdef Space *space = &layer.loss.space
        cdef bint fits = True
        bias = row_of(bias, itemsize)
        self.begin(&layer, input, weight, bias, itemsize)
        layer.loss.scale = scale
        take_matrix(&layer.target, target, itemsize)
        take_matrix(&layer.by_input, by_input, itemsize)
        take_matrix(&layer.by_weight, by_weight, itemsize)
        take_matrix(&layer.by_bias, by_bias, itemsize)
        take_matrix(&layer.by_target, by_target, itemsize)
        layer.loss.has_labels = labels is not None
        if labels is not None:
            fits = describe(space, labels, &layer.loss.labels)
        fits = add_factors(space, &layer.loss.factors, weights, cotangents) and fits
        layer.loss.value_wanted = value is not None
        if value is not None:
            fits = describe(space, value, &layer.loss.value) and fits
        if not fits:
            raise ValueError(f"{self.loss.name}: arrays do not fit an input of {layer.rows} rows")
        return execute(&layer)


def set_sizes(**sizes):
    """Sizes of blocks, tiles and tasks (tests, measurements); returns those that they replace."""
    global ROWS, MANY_ROWS, SMALL_WEIGHT, TILE_BYTES, LEAST_CLASSES, MOST_CLASSES, LEAST_STRIP
    before = {
        "rows": ROWS,
        "many_rows": MANY_ROWS,
        "small_weight": SMALL_WEIGHT,
        "tile_bytes": TILE_BYTES,
        "least_classes": LEAST_CLASSES,
        "most_classes": MOST_CLASSES,
        "least_strip": LEAST_STRIP,
    }
    after = {**before, **sizes}
    ROWS, MANY_ROWS, SMALL_WEIGHT = after["rows"], after["many_rows"], after["small_weight"]
    TILE_BYTES, LEAST_STRIP = after["tile_bytes"], after["least_strip"]
    LEAST_CLASSES, MOST_CLASSES = after["least_classes"], after["most_classes"]
    return before
