"""Losses of sequences: a batch of them, each a task or, where they are few, two."""

cimport numpy as cnp
from libc.math cimport INFINITY, NAN, ceil, isinf, isnan, log, sqrt
from libc.stdint cimport int32_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc

from lossfast._drivers.runtime cimport (
    LF_FLOAT32,
    LF_FLOAT64,
    kind_of,
    lf_ctc,
    lf_ctc_kernel,
    lf_kind,
    padded,
    run,
    table_of,
    team,
)

cnp.import_array()

# Nanoseconds on one thread, for the decision whether to wake others: per state and frame, and per class and frame.
cdef double STATE_COST = 1.0
cdef double CLASS_COST = 0.5
# Rows of one sequence that are kept whole up to this size; of a longer sequence one row of √(frames / 2) is kept, and
# the others are computed twice.
cdef Py_ssize_t KEPT_BYTES = 32 << 20
# Work small enough to keep the interpreter's lock: classes and states times frames.
cdef Py_ssize_t KEEP_LOCK = 2048
cdef double LN2 = 0.6931471805599453094


cdef struct Sequence:
    lf_ctc ctc
    int feasible
    int bad[2]
    double value
    double exponent


cdef struct Batch:
    const lf_ctc_kernel *kernel
    Sequence *sequences
    const Py_ssize_t *order
    int graded
    int zero_infinity
    Py_ssize_t itemsize
    char *slots  # memory for one sequence each: of a thread, or, with halves apart, of every sequence
    Py_ssize_t slot_bytes
    Py_ssize_t sweep_bytes
    Py_ssize_t kept_bytes
    Py_ssize_t segment_bytes
    Py_ssize_t log_sum_bytes


cdef void place(Batch *batch, Sequence *sequence, Py_ssize_t slot) noexcept nogil:
    """Give a sequence its memory."""
    cdef char *memory = batch.slots + slot * batch.slot_bytes
    cdef int half
    for half in range(2):
        sequence.ctc.sweeps[half] = memory
        memory += batch.sweep_bytes
        sequence.ctc.kept[half] = memory
        memory += batch.kept_bytes
        sequence.ctc.segments[half] = memory
        memory += batch.segment_bytes
        sequence.ctc.again[half] = memory
        memory += batch.sweep_bytes if sequence.ctc.interval > 1 else 0
    if sequence.ctc.log_sums != NULL:
        sequence.ctc.log_sums = memory


cdef void evaluate(Batch *batch, Sequence *sequence) noexcept nogil:
    """The value, once both sweeps have met."""
    cdef double fraction
    sequence.value = INFINITY
    if sequence.feasible:
        batch.kernel.total(&sequence.ctc, &fraction, &sequence.exponent)
        if sequence.bad[0] or sequence.bad[1]:
            sequence.value = NAN
        elif not isinf(sequence.exponent):
            sequence.value = 0.0 - (log(fraction) + sequence.exponent * LN2)
    if batch.zero_infinity and isinf(sequence.value):
        sequence.value = 0.0
        sequence.feasible = 0


cdef inline bint differentiable(Sequence *sequence) noexcept nogil:
    return sequence.feasible and not isinf(sequence.value) and not isnan(sequence.value)


cdef void fill_rest(Batch *batch, Sequence *sequence, Py_ssize_t all_frames) noexcept nogil:
    """The gradient where it is the same everywhere: beyond the sequence, and where there is none."""
    cdef Py_ssize_t frames = sequence.ctc.frames
    if not differentiable(sequence):
        batch.kernel.fill(&sequence.ctc, 0, frames, 0.0 if sequence.value == 0.0 else NAN)
    batch.kernel.fill(&sequence.ctc, frames, all_frames, 0.0)


cdef struct Task:
    Batch *batch
    Py_ssize_t all_frames


cdef void whole(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Task *task = <Task *> context
    cdef Batch *batch = task.batch
    cdef Sequence *sequence = &batch.sequences[batch.order[index]]
    place(batch, sequence, thread)
    if sequence.feasible:
        sequence.bad[0] = batch.kernel.sweep(&sequence.ctc, 0)
        sequence.bad[1] = batch.kernel.sweep(&sequence.ctc, 1)
    evaluate(batch, sequence)
    if batch.graded:
        if differentiable(sequence):
            batch.kernel.finish(&sequence.ctc, 0, sequence.exponent)
            batch.kernel.finish(&sequence.ctc, 1, sequence.exponent)
        fill_rest(batch, sequence, task.all_frames)


cdef void first_half(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Batch *batch = (<Task *> context).batch
    cdef Sequence *sequence = &batch.sequences[batch.order[index // 2]]
    if sequence.feasible:
        sequence.bad[index % 2] = batch.kernel.sweep(&sequence.ctc, index % 2)


cdef void second_half(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Batch *batch = (<Task *> context).batch
    cdef Sequence *sequence = &batch.sequences[batch.order[index // 2]]
    if differentiable(sequence):
        batch.kernel.finish(&sequence.ctc, index % 2, sequence.exponent)


cdef void run_batch(Task *task, Py_ssize_t count, int threads, bint halves) noexcept nogil:
    cdef Batch *batch = task.batch
    cdef Py_ssize_t n
    if not halves:
        run(threads, count, whole, task)
        return
    for n in range(count):
        place(batch, &batch.sequences[batch.order[n]], n)
    run(threads, 2 * count, first_half, task)
    for n in range(count):
        evaluate(batch, &batch.sequences[n])
    if batch.graded:
        run(threads, 2 * count, second_half, task)
        for n in range(count):
            fill_rest(batch, &batch.sequences[n], task.all_frames)


cdef bint direct(cnp.ndarray a, Py_ssize_t itemsize) except -1:
    """Whether every row of classes can be used as it stands."""
    cdef int axis
    for axis in range(2):
        if cnp.PyArray_STRIDE(a, axis) % itemsize:
            return False
    return (
        kind_of(a.dtype) == (LF_FLOAT32 if itemsize == 4 else LF_FLOAT64)
        and a.dtype.isnative
        and cnp.PyArray_STRIDE(a, 2) == itemsize
        and <size_t> cnp.PyArray_DATA(a) % <size_t> itemsize == 0
    )


def ctc(
    cnp.ndarray input,
    int itemsize,
    cnp.ndarray labels,
    const Py_ssize_t[::1] frames,
    const Py_ssize_t[::1] lengths,
    const uint8_t[::1] feasible,
    const Py_ssize_t[::1] order,
    *,
    bint logits,
    bint zero_infinity,
    object grad=None,
    bint of_logits=True,
    const double[::1] scale=None,
    cnp.ndarray columns=None,
    cnp.ndarray column_classes=None,
):
    """Negative log-likelihoods of sequences, and their gradients where `grad` is given.

    `input`, and `grad`, are (frames, sequences, classes) of any layout. `labels` holds, int32 and contiguous, for one
    sequence after the other its labels and the blank; `columns`, alike, the places of their gradients where these are
    not the classes themselves but the `column_classes`, (sequences, places). `order`: the sequences, the longest first.
    """
    cdef Py_ssize_t count = frames.shape[0], n, start = 0, longest = 0, most = 0, classes = input.shape[2]
    cdef Py_ssize_t row_bytes, slots, interval, needed, steps
    cdef double cost = 0.0
    cdef int threads
    cdef bint halves
    cdef Batch batch
    cdef Task task
    cdef Sequence *s
    cdef cnp.ndarray g
    cdef void *memory
    cdef cnp.ndarray values = cnp.PyArray_EMPTY(1, <cnp.npy_intp *> &count, cnp.NPY_DOUBLE, 0)
    cdef double *value = <double *> cnp.PyArray_DATA(values)
    cdef const int32_t *label = <const int32_t *> cnp.PyArray_DATA(labels)
    for n in range(count):
        longest = max(longest, frames[n])
        most = max(most, lengths[n])
        cost += frames[n] * ((2 * lengths[n] + 1) * STATE_COST + (classes * CLASS_COST if grad is not None else 0.0))
    if logits:
        cost += count * longest * classes * CLASS_COST
    batch.kernel = &table_of(itemsize).ctc
    batch.graded = grad is not None
    batch.zero_infinity = zero_infinity
    batch.itemsize = itemsize
    threads = team(cost * (itemsize >> 2), 2 * count)
    halves = count < 2 * threads and threads > 1
    if not halves and threads > count:
        threads = count
    row_bytes = batch.kernel.row_reals(most) * itemsize
    interval = 0
    if batch.graded:
        interval = 1 if row_bytes * longest <= KEPT_BYTES else <Py_ssize_t> ceil(sqrt(longest / 2.0))
    steps = longest - longest // 2
    batch.sweep_bytes = padded(batch.kernel.sweep_reals(classes, most) * itemsize)
    batch.kept_bytes = padded((steps + interval - 1) // interval * row_bytes) if interval else 0
    batch.segment_bytes = padded(interval * row_bytes) if interval > 1 else 0
    batch.log_sum_bytes = padded(2 * longest * itemsize) if logits else 0
    batch.slot_bytes = (
        2 * (batch.sweep_bytes + batch.kept_bytes + batch.segment_bytes + (batch.sweep_bytes if interval > 1 else 0))
        + batch.log_sum_bytes
    )
    slots = count if halves else threads
    needed = slots * batch.slot_bytes + count * <Py_ssize_t> sizeof(Sequence) + 64
    memory = malloc(needed)
    if memory == NULL:
        raise MemoryError(f"{needed} bytes of scratch memory for {slots} sequences at once")
    batch.slots = <char *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
    batch.sequences = <Sequence *> (batch.slots + slots * batch.slot_bytes)
    batch.order = &order[0]
    for n in range(count):
        s = &batch.sequences[n]
        s.ctc.frames = frames[n]
        s.ctc.classes = classes
        s.ctc.labels = lengths[n]
        s.ctc.label = label + start
        s.ctc.input = <const char *> cnp.PyArray_DATA(input) + n * cnp.PyArray_STRIDE(input, 1)
        s.ctc.kind = <lf_kind> kind_of(input.dtype)
        s.ctc.swapped = not input.dtype.isnative
        s.ctc.direct = direct(input, itemsize)
        s.ctc.frame_stride = cnp.PyArray_STRIDE(input, 0)
        s.ctc.class_stride = cnp.PyArray_STRIDE(input, 2)
        s.ctc.log_sums = memory if logits else NULL  # any address: `place` gives it its own
        s.ctc.interval = interval
        s.feasible = feasible[n]
        s.bad[0] = s.bad[1] = 0
        if batch.graded:
            g = grad
            s.ctc.grad = <char *> cnp.PyArray_DATA(g) + n * cnp.PyArray_STRIDE(g, 1)
            s.ctc.grad_kind = <lf_kind> kind_of(g.dtype)
            s.ctc.grad_swapped = not g.dtype.isnative
            s.ctc.grad_direct = direct(g, itemsize)
            s.ctc.grad_frame_stride = cnp.PyArray_STRIDE(g, 0)
            s.ctc.grad_class_stride = cnp.PyArray_STRIDE(g, 2)
            s.ctc.of_logits = of_logits
            s.ctc.columns = g.shape[2]
            s.ctc.column = s.ctc.label
            s.ctc.column_class = NULL
            if columns is not None:
                s.ctc.column = <const int32_t *> cnp.PyArray_DATA(columns) + start
                s.ctc.column_class = <const int32_t *> cnp.PyArray_DATA(column_classes) + n * s.ctc.columns
            s.ctc.scale = scale[n]
        start += lengths[n] + 1
    task.batch = &batch
    task.all_frames = input.shape[0]
    if cost <= KEEP_LOCK:
        run_batch(&task, count, 1, False)
    else:
        with nogil:
            run_batch(&task, count, threads, halves)
    for n in range(count):
        value[n] = batch.sequences[n].value
    free(memory)
    return values
