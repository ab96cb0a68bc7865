"""What bounds a loss on this machine, through the threads that it uses: traffic, and exponentials from the cache."""

cimport numpy as cnp
from libc.stdlib cimport free, malloc

from lossfast._drivers.runtime cimport LF_BLOCK, lf_table, padded, place_of, run, table_of, team

cnp.import_array()

# Nanoseconds per element on one thread, as the elementwise driver estimates them.
cdef double COST = 0.5
# Elements of one task of exponentials: two arrays of them stay in a first-level cache of 32 KiB in either precision.
cdef enum:
    IN_CACHE = 1024


cdef struct Subtraction:
    const lf_table *table
    const char *a
    const char *b
    char *c
    Py_ssize_t n
    Py_ssize_t itemsize
    int around_cache


cdef void subtract_block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Subtraction *d = <Subtraction *> context
    cdef Py_ssize_t start = index * LF_BLOCK, n = d.n - start
    if n > LF_BLOCK:
        n = LF_BLOCK
    start *= d.itemsize
    d.table.subtract(n, d.a + start, d.b + start, d.c + start, d.around_cache)


cdef int plain(cnp.ndarray array, cnp.ndarray like, str name) except -1:
    """Refuse what the kernels cannot read in place."""
    if not cnp.PyArray_ISCARRAY_RO(array) or array.dtype.kind != "f" or array.itemsize not in (4, 8):
        raise ValueError(f"{name}: expected a contiguous array of float32 or float64, not {array.dtype}")
    if array.dtype != like.dtype or array.size != like.size:
        raise ValueError(f"{name} has {array.size} elements of {array.dtype}; expected {like.size} of {like.dtype}")
    return 0


def subtract(cnp.ndarray a, cnp.ndarray b, cnp.ndarray c, bint around_cache):
    """c = a - b; `around_cache`: with stores that do not fetch what they overwrite."""
    cdef Subtraction d
    plain(a, a, "a")
    plain(b, a, "b")
    plain(c, a, "c")
    if not cnp.PyArray_ISWRITEABLE(c):
        raise ValueError("c: expected a writeable array")
    if around_cache and a.size and <size_t> cnp.PyArray_DATA(c) % 64:
        raise ValueError("c: expected an array that begins with a cache line of 64 bytes")
    d.n, d.itemsize = a.size, a.itemsize
    d.table = table_of(<int> d.itemsize)
    d.a, d.b, d.c = <char *> cnp.PyArray_DATA(a), <char *> cnp.PyArray_DATA(b), <char *> cnp.PyArray_DATA(c)
    d.around_cache = around_cache
    cdef Py_ssize_t blocks = (d.n + LF_BLOCK - 1) // LF_BLOCK
    cdef int threads = team(d.n * COST * (d.itemsize >> 2), blocks)
    with nogil:
        run(threads, blocks, subtract_block, &d)


cdef struct Exponentials:
    void (*loop)(Py_ssize_t n, const void *input, void *output) noexcept nogil
    const char *x
    char *results
    Py_ssize_t bytes


cdef void exponential_block(void *context, Py_ssize_t index, int thread) noexcept nogil:
    cdef Exponentials *e = <Exponentials *> context
    e.loop(IN_CACHE, e.x, e.results + thread * e.bytes)


def exponentials(cnp.ndarray x, Py_ssize_t times):
    """Take the exponentials of 1024 numbers, none positive, so many times; nothing leaves the first-level cache."""
    cdef Exponentials e
    cdef const lf_table *table
    cdef int threads
    plain(x, x, "x")
    if x.size != IN_CACHE:
        raise ValueError(f"x has {x.size} elements; expected {IN_CACHE}")
    table = table_of(<int> x.itemsize)
    e.loop = table.maps[place_of("maps", "exp_nonpositive")].loop
    e.x, e.bytes = <char *> cnp.PyArray_DATA(x), padded(IN_CACHE * x.itemsize)
    threads = team(times * IN_CACHE * COST, times)
    e.results = <char *> malloc(threads * e.bytes)
    if e.results == NULL:
        raise MemoryError(f"{threads * e.bytes} bytes for the results of {threads} threads")
    with nogil:
        run(threads, times, exponential_block, &e)
    free(e.results)
