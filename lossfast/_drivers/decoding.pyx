"""Decoders of sequences: a batch of them, each a task."""

cimport numpy as cnp
from libc.math cimport ceil, sqrt
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from lossfast._drivers.runtime cimport (
    Frames,
    Memory,
    allocate,
    describe_frames,
    frames_of,
    kind_of,
    lf_alignment,
    lf_beam,
    lf_decoding,
    lf_frames,
    lf_kind,
    run,
    table_of,
    team,
)

cnp.import_array()

# Nanoseconds on one thread, for the decision whether to wake others: per state and frame of an alignment, per class and
# frame that is looked through, and per frame and prefix of a beam.
cdef double STATE_COST = 0.3
cdef double CLASS_COST = 0.3
cdef double PREFIX_COST = 50.0
# Memory for the rows of one alignment up to which they are kept; of a longer one √frames are computed at a time, twice.
cdef Py_ssize_t KEPT_BYTES = 32 << 20
# Frames of a task that looks for the greatest class.
cdef Py_ssize_t GREEDY_FRAMES = 256


# ---- alignment -----------------------------------------------------------------------------------------------------


cdef struct Alignments:
    const lf_decoding *kernel
    lf_alignment *alignments
    const Py_ssize_t *order
    Memory memory
    Py_ssize_t all_frames
    Py_ssize_t score_bytes


cdef void align_one(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Alignments *batch = <Alignments *> context
    cdef lf_alignment *a = &batch.alignments[batch.order[index]]
    cdef Py_ssize_t t
    a.memory = batch.memory.slots + thread * batch.memory.slot_bytes
    batch.kernel.align(a)
    for t in range(a.frames.frames, batch.all_frames):
        a.path[t] = -1
    memset(a.scores + a.frames.frames * batch.score_bytes, 0, (batch.all_frames - a.frames.frames) * batch.score_bytes)


def forced_align(
    cnp.ndarray input,
    int itemsize,
    cnp.ndarray labels,
    const Py_ssize_t[::1] frames,
    const Py_ssize_t[::1] lengths,
    const Py_ssize_t[::1] order,
    cnp.ndarray path,
    cnp.ndarray scores,
):
    """Write the best path of each sequence through its labels, and the log-probabilities of its classes.

    `input` is (frames, sequences, classes) of any layout, `path` int64 and `scores`, both (sequences, frames), are
    contiguous. `labels` holds, int32 and contiguous, for one sequence after the other its labels and the blank. No
    sequence has fewer frames than it needs. `order`: the sequences, the longest first.
    """
    cdef Py_ssize_t count = frames.shape[0], n, start = 0, longest = 1, most = 0, segment, needed
    cdef double cost = 0.0
    cdef int threads
    cdef Alignments batch
    cdef Frames given
    cdef lf_alignment *a
    cdef const int32_t *label = <const int32_t *> cnp.PyArray_DATA(labels)
    describe_frames(&given, input, itemsize, False)
    for n in range(count):
        longest = max(longest, frames[n])
        most = max(most, lengths[n])
        cost += frames[n] * (2 * lengths[n] + 1) * STATE_COST
    batch.kernel = &table_of(itemsize).decoding
    batch.order = &order[0]
    batch.all_frames = cnp.PyArray_DIM(input, 0)
    batch.score_bytes = cnp.PyArray_ITEMSIZE(scores)
    threads = team(cost * (itemsize >> 2), count)
    segment = longest
    needed = batch.kernel.align_reals(longest, given.each.classes, most, segment) * itemsize
    if needed > KEPT_BYTES:
        segment = <Py_ssize_t> ceil(sqrt(<double> longest))
        needed = batch.kernel.align_reals(longest, given.each.classes, most, segment) * itemsize
    batch.alignments = <lf_alignment *> calloc(count, sizeof(lf_alignment))
    if batch.alignments == NULL:
        raise MemoryError(f"{count} alignments")
    try:
        for n in range(count):
            a = &batch.alignments[n]
            a.frames = frames_of(&given, n, frames[n])
            a.labels = lengths[n]
            a.label = label + start
            a.segment = segment
            a.path = <int64_t *> cnp.PyArray_DATA(path) + n * batch.all_frames
            a.scores = <char *> cnp.PyArray_DATA(scores) + n * batch.all_frames * batch.score_bytes
            a.score_kind = <lf_kind> kind_of(scores)
            start += lengths[n] + 1
        allocate(&batch.memory, threads, needed, 0, NULL)
        with nogil:
            run(threads, count, align_one, &batch)
        free(batch.memory.allocated)
    finally:
        free(batch.alignments)


# ---- the best class of every frame ---------------------------------------------------------------------------------


cdef struct Greedy:
    const lf_decoding *kernel
    Frames given
    int32_t blank
    const Py_ssize_t *lengths
    Py_ssize_t all_frames
    Py_ssize_t parts  # of each sequence
    int64_t *labels  # all_frames for each sequence, those of each part where it begins
    Py_ssize_t *counts  # for each part
    Memory memory


cdef void decode_part(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Greedy *batch = <Greedy *> context
    cdef Py_ssize_t n = index // batch.parts, start = index % batch.parts * GREEDY_FRAMES
    cdef Py_ssize_t end = min(start + GREEDY_FRAMES, batch.lengths[n])
    cdef lf_frames frames = frames_of(&batch.given, n, batch.lengths[n])
    batch.counts[index] = 0
    if start < end:
        batch.counts[index] = batch.kernel.greedy(
            &frames, batch.blank, start, end, batch.memory.slots + thread * batch.memory.slot_bytes,
            batch.labels + n * batch.all_frames + start
        )


def greedy_decode(cnp.ndarray input, int itemsize, const Py_ssize_t[::1] frames, int32_t blank):
    """The best class of every frame, without repetitions and then blanks: a list of int64 arrays."""
    cdef Py_ssize_t count = frames.shape[0], n, part, size, at
    cdef double cost = 0.0
    cdef int threads
    cdef Greedy batch
    cdef cnp.ndarray labels
    cdef list found = []
    for n in range(count):
        cost += frames[n] * cnp.PyArray_DIM(input, 2) * CLASS_COST
    batch.kernel = &table_of(itemsize).decoding
    describe_frames(&batch.given, input, itemsize, False)
    batch.blank = blank
    batch.lengths = &frames[0]
    batch.all_frames = cnp.PyArray_DIM(input, 0)
    batch.parts = (batch.all_frames + GREEDY_FRAMES - 1) // GREEDY_FRAMES
    threads = team(cost * (itemsize >> 2), count * batch.parts)
    batch.labels = <int64_t *> malloc(count * (batch.all_frames + batch.parts) * sizeof(int64_t))
    if batch.labels == NULL:
        raise MemoryError(f"labels of {count} sequences of {batch.all_frames} frames")
    batch.counts = <Py_ssize_t *> (batch.labels + count * batch.all_frames)
    try:
        allocate(&batch.memory, threads, batch.given.each.classes * itemsize, 0, NULL)
        with nogil:
            run(threads, count * batch.parts, decode_part, &batch)
        free(batch.memory.allocated)
        for n in range(count):
            size = 0
            for part in range(batch.parts):
                size += batch.counts[n * batch.parts + part]
            labels = cnp.PyArray_EMPTY(1, <cnp.npy_intp *> &size, cnp.NPY_INT64, 0)
            at = 0
            for part in range(batch.parts):
                size = batch.counts[n * batch.parts + part]
                memcpy(
                    <int64_t *> cnp.PyArray_DATA(labels) + at,
                    batch.labels + n * batch.all_frames + part * GREEDY_FRAMES,
                    size * sizeof(int64_t),
                )
                at += size
            found.append(labels)
    finally:
        free(batch.labels)
    return found


# ---- beam search ---------------------------------------------------------------------------------------------------


cdef struct Found:
    Py_ssize_t count
    double *log_probs  # [count], and the beginning of the memory of all three
    Py_ssize_t *lengths
    int64_t *labels  # of one labelling after the other


cdef struct Searches:
    const lf_decoding *kernel
    lf_beam *searches
    Found *found
    const Py_ssize_t *order
    Py_ssize_t n_best
    Memory memory


cdef void search_one(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Searches *batch = <Searches *> context
    cdef lf_beam *search = &batch.searches[batch.order[index]]
    cdef Found *found = &batch.found[batch.order[index]]
    cdef Py_ssize_t rank, labels = 0
    search.memory = batch.memory.slots + thread * batch.memory.slot_bytes
    found.count = min(batch.kernel.search(search), batch.n_best)
    for rank in range(found.count):
        labels += batch.kernel.labelling(search, rank, NULL)
    found.log_probs = <double *> malloc(
        found.count * (sizeof(double) + sizeof(Py_ssize_t)) + labels * sizeof(int64_t)
    )
    if found.log_probs == NULL:
        return
    found.lengths = <Py_ssize_t *> (found.log_probs + found.count)
    found.labels = <int64_t *> (found.lengths + found.count)
    labels = 0
    for rank in range(found.count):
        found.log_probs[rank] = batch.kernel.log_prob(search, rank)
        found.lengths[rank] = batch.kernel.labelling(search, rank, found.labels + labels)
        labels += found.lengths[rank]


cdef list taken(Found *found):
    """The labellings of one sequence."""
    cdef Py_ssize_t rank, at = 0
    cdef cnp.ndarray labels
    cdef list result = []
    if found.log_probs == NULL:
        raise MemoryError(f"{found.count} labellings")
    for rank in range(found.count):
        labels = cnp.PyArray_EMPTY(1, <cnp.npy_intp *> &found.lengths[rank], cnp.NPY_INT64, 0)
        memcpy(cnp.PyArray_DATA(labels), found.labels + at, found.lengths[rank] * sizeof(int64_t))
        at += found.lengths[rank]
        result.append((labels, found.log_probs[rank]))
    return result


def beam_search(
    cnp.ndarray input,
    const Py_ssize_t[::1] frames,
    int32_t blank,
    Py_ssize_t beam,
    Py_ssize_t n_best,
    const Py_ssize_t[::1] order,
):
    """The best labellings of each sequence with their log-probabilities: a list of lists of (int64 array, float).

    `beam` times the frames of the longest sequence is less than 2^31. `order`: the sequences, the longest first.
    """
    cdef Py_ssize_t count = frames.shape[0], n, longest = 0, classes = cnp.PyArray_DIM(input, 2)
    cdef double cost = 0.0
    cdef int threads
    cdef Searches batch
    cdef Frames given
    cdef lf_beam *search
    describe_frames(&given, input, 8, False)
    for n in range(count):
        longest = max(longest, frames[n])
        cost += frames[n] * (beam * PREFIX_COST + classes * CLASS_COST)
    batch.kernel = &table_of(8).decoding
    batch.order = &order[0]
    batch.n_best = n_best
    threads = team(cost, count)
    batch.searches = <lf_beam *> calloc(count, sizeof(lf_beam))
    batch.found = <Found *> calloc(count, sizeof(Found))
    batch.memory.allocated = NULL
    try:
        if batch.searches == NULL or batch.found == NULL:
            raise MemoryError(f"{count} searches")
        for n in range(count):
            search = &batch.searches[n]
            search.frames = frames_of(&given, n, frames[n])
            search.blank = blank
            search.beam = beam
        allocate(
            &batch.memory, threads, batch.kernel.search_bytes(longest, classes, beam), 0, NULL,
            f": beam = {beam} prefixes of up to {longest} labels each; use a narrower beam"
        )
        with nogil:
            run(threads, count, search_one, &batch)
        return [taken(&batch.found[n]) for n in range(count)]
    finally:
        free(batch.memory.allocated)
        if batch.found != NULL:
            for n in range(count):
                free(batch.found[n].log_probs)
        free(batch.found)
        free(batch.searches)
