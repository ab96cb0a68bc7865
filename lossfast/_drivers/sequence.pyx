"""Losses of sequences: a batch of them, each a task or, where they are few, two."""

cimport numpy as cnp
from libc.math cimport INFINITY, NAN, ceil, isinf, isnan, log, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc

import numpy as np

from lossfast._drivers.runtime cimport (
    MEAN,
    NONE,
    Frames,
    answer,
    asks_nothing,
    describe_frames,
    frames_of,
    lf_ctc,
    lf_ctc_kernel,
    padded,
    reduction_code,
    results_like,
    run,
    table_of,
    team,
    total,
)

cnp.import_array()

# Nanoseconds on one thread, for the decision whether to wake others: per state and frame, …
cdef double STATE_COST = 0.5
# … with the gradient, …
cdef double GRADIENT_COST = 2.0
# … and per class and frame.
cdef double CLASS_COST = 0.5
# Rows of one sequence that are kept whole up to this size; of a longer sequence one row of √(frames / 2) is kept, and
# the others are computed twice.
cdef Py_ssize_t KEPT_BYTES = 32 << 20
# Gradients from this size on are written around the cache, which they leave before they are read again, …
cdef Py_ssize_t STREAM_BYTES = 32 << 20
# … if their rows are long: the ends of a row are parts of cache lines.
cdef Py_ssize_t STREAM_ROW_BYTES = 4096
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
    cdef Py_ssize_t frames = sequence.ctc.given.frames
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


# ---- arrays of a batch -------------------------------------------------------------------------------------------


cdef const int64_t *integers(cnp.ndarray array, list kept) except NULL:
    """Integers of any kind as int64, side by side; what had to be converted is kept alive in a list."""
    if cnp.PyArray_TYPE(array) != cnp.NPY_INT64 or not cnp.PyArray_ISCARRAY_RO(array):
        array = np.require(array, np.int64, ["C", "A"])
        kept.append(array)
    return <const int64_t *> cnp.PyArray_DATA(array)


cdef cnp.ndarray vector(Py_ssize_t length, int type):
    return cnp.PyArray_EMPTY(1, <cnp.npy_intp *> &length, type, 0)


cdef class Sequences:
    """How many frames and which labels each sequence of a batch has.

    `targets`, integers, holds (sequences, S) labels, of which the first of each row count, or one sequence after the
    other; `input_lengths` and `target_lengths` hold one integer per sequence. `fault` names the first of these
    arguments that has a bad value, which is at the flat index `at`, or at -1 if the labels are too few or too many.
    """

    cdef readonly str fault
    cdef readonly Py_ssize_t at
    cdef readonly Py_ssize_t count
    cdef readonly cnp.ndarray frames
    cdef readonly cnp.ndarray lengths  # numbers of labels
    cdef readonly cnp.ndarray labels  # int32: one sequence after the other, each with the blank behind
    cdef readonly cnp.ndarray feasible  # bool: as many frames as labels, and a blank between equal ones
    cdef readonly Py_ssize_t all_frames
    cdef readonly Py_ssize_t classes
    cdef Py_ssize_t *frame
    cdef Py_ssize_t *length
    cdef int32_t *label
    cdef uint8_t *enough

    def __cinit__(
        self,
        cnp.ndarray targets,
        cnp.ndarray input_lengths,
        cnp.ndarray target_lengths,
        Py_ssize_t frames,
        Py_ssize_t classes,
        Py_ssize_t blank,
    ):
        cdef list kept = []
        cdef const int64_t *target = integers(targets, kept)
        cdef const int64_t *given_frames = integers(input_lengths, kept)
        cdef const int64_t *given_lengths = integers(target_lengths, kept)
        cdef bint rows = cnp.PyArray_NDIM(targets) == 2
        cdef Py_ssize_t most = cnp.PyArray_DIM(targets, 1) if rows else cnp.PyArray_SIZE(targets)
        cdef Py_ssize_t n, k, labels = 0, needed
        cdef const int64_t *row
        cdef int32_t *label
        self.count = cnp.PyArray_SIZE(input_lengths)
        self.all_frames = frames
        self.classes = classes
        for n in range(self.count):
            if not 0 <= given_frames[n] <= frames:
                self.refuse("input_lengths", n)
                return
        for n in range(self.count):
            if not 0 <= given_lengths[n] <= most:
                self.refuse("target_lengths", n)
                return
            labels += given_lengths[n]
        if not rows and labels != most:
            self.refuse("targets", -1)
            return
        self.frames, self.lengths = vector(self.count, cnp.NPY_INTP), vector(self.count, cnp.NPY_INTP)
        self.labels, self.feasible = vector(labels + self.count, cnp.NPY_INT32), vector(self.count, cnp.NPY_BOOL)
        self.frame = <Py_ssize_t *> cnp.PyArray_DATA(self.frames)
        self.length = <Py_ssize_t *> cnp.PyArray_DATA(self.lengths)
        self.label = <int32_t *> cnp.PyArray_DATA(self.labels)
        self.enough = <uint8_t *> cnp.PyArray_DATA(self.feasible)
        label, row = self.label, target
        for n in range(self.count):
            if rows:
                row = target + n * most
            self.frame[n], self.length[n] = given_frames[n], given_lengths[n]
            needed = self.length[n]
            for k in range(self.length[n]):
                if not 0 <= row[k] < classes or row[k] == blank:
                    self.refuse("targets", row - target + k)
                    return
                needed += k > 0 and row[k] == row[k - 1]
                label[k] = <int32_t> row[k]
            label[self.length[n]] = <int32_t> blank
            self.enough[n] = self.frame[n] >= needed
            label += self.length[n] + 1
            row += self.length[n]

    cdef void refuse(self, str name, Py_ssize_t at):
        self.fault, self.at = name, at


cdef cnp.ndarray longest_first(Sequences sequences):
    """The order of the sequences that keeps all threads busy to the end."""
    cdef cnp.ndarray order = vector(sequences.count, cnp.NPY_INTP)
    cdef Py_ssize_t *place = <Py_ssize_t *> cnp.PyArray_DATA(order)
    cdef Py_ssize_t n
    cdef bint alike = True
    for n in range(sequences.count):
        place[n] = n
        alike = alike and sequences.frame[n] == sequences.frame[0] and sequences.length[n] == sequences.length[0]
    return order if alike else np.argsort(-sequences.frames * (2 * sequences.lengths + 1), kind="stable")


# ---- the call ------------------------------------------------------------------------------------------------------


cdef class CTC:
    """The kernel with the settings of a loss."""

    cdef int blank
    cdef int reduction
    cdef bint zero_infinity
    cdef bint logits  # the input holds logits
    cdef bint of_logits  # so does the gradient
    cdef bint batch_first
    cdef bint sparse

    def __init__(
        self,
        *,
        int blank,
        str reduction,
        bint zero_infinity,
        bint logits,
        bint of_logits,
        bint batch_first,
        bint sparse,
    ):
        self.blank = blank
        self.reduction = reduction_code(reduction)
        self.zero_infinity = zero_infinity
        self.logits = logits
        self.of_logits = of_logits
        self.batch_first = batch_first
        self.sparse = sparse

    def run(
        self,
        cnp.ndarray input,
        int itemsize,
        Sequences sequences,
        *,
        cnp.ndarray grad=None,
        cnp.ndarray scale=None,
        object of_logits=None,
        cnp.ndarray columns=None,
        cnp.ndarray column_classes=None,
    ):
        """Negative log-likelihoods, float64; and their gradients, times `scale`, where `grad` is given.

        `input` and `grad` have the axes of the caller's log_probs. `columns`: the places of the gradients by `labels`,
        alike, where these are not the classes themselves but the `column_classes`, (sequences, places).
        """
        cdef Frames given, written
        describe_frames(&given, input, itemsize, self.batch_first)
        if grad is not None:
            describe_frames(&written, grad, itemsize, self.batch_first)
        return self.compute(
            &given,
            itemsize,
            sequences,
            NULL if grad is None else &written,
            NULL if grad is None else <double *> cnp.PyArray_DATA(scale),
            self.of_logits if of_logits is None else of_logits,
            NULL if columns is None else <int32_t *> cnp.PyArray_DATA(columns),
            NULL if columns is None else <int32_t *> cnp.PyArray_DATA(column_classes),
        )

    def quick(self, tuple arrays, bint with_value, int order, dict options):
        """Value and gradient, as the method asks for them, of plain arrays; None where there is more to do.

        Plain: native float arrays in C order with integers beside them that are all in bounds, and no weights. `out`:
        the caller's array for the gradient, if there is one.
        """
        cdef cnp.ndarray x, y, input_lengths, target_lengths, values, shares, scales, grad
        cdef list results = None
        cdef Sequences sequences
        cdef Frames given, written
        cdef double *value
        cdef double *share
        cdef double denominator = 1.0
        cdef int itemsize, k
        cdef Py_ssize_t n
        out = options.get("out") if order else None
        if self.sparse or order > 1 or not asks_nothing(options, None if out is None else "out"):
            return None
        for k in range(4):
            if type(arrays[k]) is not cnp.ndarray or k > 0 and not cnp.PyArray_ISINTEGER(arrays[k]):
                return None
        x, y, input_lengths, target_lengths = arrays
        if (
            (cnp.PyArray_TYPE(x) != cnp.NPY_FLOAT and cnp.PyArray_TYPE(x) != cnp.NPY_DOUBLE)
            or not cnp.PyArray_ISCARRAY_RO(x)
            or not 2 <= cnp.PyArray_NDIM(x) <= 3
            or cnp.PyArray_SIZE(x) == 0
        ):
            return None
        itemsize = cnp.PyArray_ITEMSIZE(x)
        describe_frames(&given, x, itemsize, self.batch_first)
        if (
            not 0 <= self.blank < given.each.classes
            or cnp.PyArray_NDIM(input_lengths) != 1
            or cnp.PyArray_NDIM(target_lengths) != 1
            or cnp.PyArray_SIZE(input_lengths) != given.count
            or cnp.PyArray_SIZE(target_lengths) != given.count
            or not 1 <= cnp.PyArray_NDIM(y) <= 2
            or cnp.PyArray_NDIM(y) == 2 and cnp.PyArray_DIM(y, 0) != given.count
        ):
            return None
        sequences = Sequences(y, input_lengths, target_lengths, given.each.frames, given.each.classes, self.blank)
        if sequences.fault is not None:
            return None
        shares = vector(given.count, cnp.NPY_DOUBLE)
        share = <double *> cnp.PyArray_DATA(shares)
        for n in range(given.count):
            share[n] = 1.0 / max(sequences.length[n], 1) if self.reduction == MEAN else 1.0
        if self.reduction == MEAN:
            denominator = <double> given.count
        grad = None
        if order > 0:
            results = results_like((x,), order, out, (), (x,))  # the integers are copies
            if results is None:
                return None
            grad = results[0]
            describe_frames(&written, grad, itemsize, self.batch_first)
            scales = shares * (1.0 / denominator)
        values = self.compute(
            &given,
            itemsize,
            sequences,
            NULL if grad is None else &written,
            NULL if grad is None else <double *> cnp.PyArray_DATA(scales),
            self.of_logits,
            NULL,
            NULL,
        )
        if self.reduction == NONE:
            result = values.astype(x.dtype).reshape((given.count,) if cnp.PyArray_NDIM(x) == 3 else ())
        else:
            value = <double *> cnp.PyArray_DATA(values)
            for n in range(given.count):
                value[n] *= share[n]
            result = total(value, given.count) / denominator
        return answer(result, with_value, results, order)

    cdef cnp.ndarray compute(
        self,
        Frames *given,
        int itemsize,
        Sequences sequences,
        Frames *written,
        double *scale,
        bint of_logits,
        int32_t *columns,
        int32_t *column_classes,
    ):
        cdef Py_ssize_t count = sequences.count, n, start = 0, longest = 0, most = 0
        cdef Py_ssize_t row_bytes, slots, interval = 0, needed, steps
        cdef double cost = 0.0
        cdef int threads
        cdef bint halves, around_cache = False
        cdef Batch batch
        cdef Task task
        cdef Sequence *s
        cdef char *memory
        cdef cnp.ndarray order = longest_first(sequences), values = vector(count, cnp.NPY_DOUBLE)
        cdef double *value = <double *> cnp.PyArray_DATA(values)
        for n in range(count):
            longest = max(longest, sequences.frame[n])
            most = max(most, sequences.length[n])
            cost += sequences.frame[n] * (2 * sequences.length[n] + 1) * (GRADIENT_COST if written else STATE_COST)
        if written != NULL:
            cost += given.each.frames * count * written.each.classes * CLASS_COST
            around_cache = (
                written.each.direct
                and written.each.input != given.each.input
                and written.each.classes * itemsize >= STREAM_ROW_BYTES
                and given.each.frames * count * written.each.classes * itemsize >= STREAM_BYTES
            )
        if self.logits:
            cost += given.each.frames * count * given.each.classes * CLASS_COST
        batch.kernel = &table_of(itemsize).ctc
        batch.graded = written != NULL
        batch.zero_infinity = self.zero_infinity
        batch.itemsize = itemsize
        threads = team(cost * (itemsize >> 2), 2 * count)
        halves = count < 2 * threads and threads > 1
        if not halves and threads > count:
            threads = count
        row_bytes = batch.kernel.row_reals(most) * itemsize
        if batch.graded:
            interval = 1 if row_bytes * longest <= KEPT_BYTES else <Py_ssize_t> ceil(sqrt(longest / 2.0))
        steps = longest - longest // 2
        batch.sweep_bytes = padded(batch.kernel.sweep_reals(given.each.classes, most) * itemsize)
        batch.kept_bytes = padded((steps + interval - 1) // interval * row_bytes) if interval else 0
        batch.segment_bytes = padded(interval * row_bytes) if interval > 1 else 0
        batch.log_sum_bytes = padded(2 * longest * itemsize) if self.logits else 0
        batch.slot_bytes = batch.log_sum_bytes + 2 * (
            batch.sweep_bytes
            + batch.kept_bytes
            + batch.segment_bytes
            + (batch.sweep_bytes if interval > 1 else 0)
        )
        slots = count if halves else threads
        needed = slots * batch.slot_bytes + count * <Py_ssize_t> sizeof(Sequence) + 64
        memory = <char *> malloc(needed)
        if memory == NULL:
            raise MemoryError(f"{needed} bytes of scratch memory for {slots} sequences at once")
        batch.slots = <char *> ((<uintptr_t> memory + 63) & ~<uintptr_t> 63)
        batch.sequences = <Sequence *> (batch.slots + slots * batch.slot_bytes)
        batch.order = <const Py_ssize_t *> cnp.PyArray_DATA(order)
        for n in range(count):
            s = &batch.sequences[n]
            s.feasible = sequences.enough[n]
            s.bad[0] = s.bad[1] = 0
            s.ctc.given = frames_of(given, n, sequences.frame[n])
            s.ctc.labels = sequences.length[n]
            s.ctc.label = sequences.label + start
            s.ctc.log_sums = memory if self.logits else NULL  # any address: `place` gives it its own
            s.ctc.interval = interval
            if written != NULL:
                s.ctc.grad = <char *> written.each.input + n * written.sequence_stride
                s.ctc.grad_kind = written.each.kind
                s.ctc.grad_swapped = written.each.swapped
                s.ctc.grad_direct = written.each.direct
                s.ctc.around_cache = around_cache
                s.ctc.grad_frame_stride = written.each.frame_stride
                s.ctc.grad_class_stride = written.each.class_stride
                s.ctc.of_logits = of_logits
                s.ctc.columns = written.each.classes
                s.ctc.column = s.ctc.label if columns == NULL else columns + start
                s.ctc.column_class = NULL if columns == NULL else column_classes + n * written.each.classes
                s.ctc.scale = scale[n]
            start += sequences.length[n] + 1
        task.batch = &batch
        task.all_frames = given.each.frames
        if cost <= KEEP_LOCK:
            run_batch(&task, count, 1, False)
        else:
            with nogil:
                run_batch(&task, count, threads, halves)
        for n in range(count):
            value[n] = batch.sequences[n].value
        free(memory)
        return values


def added(const double[::1] values):
    """The sum of one value for each sequence, with the rounding that a plain call has."""
    return total(&values[0], values.shape[0])
