/* A fresh gradient beyond the cache costs more in page faults than its computation does, and one that begins within a
 * cache line has all its vectors split. So results begin on a line, great ones ask for huge pages, and some that were
 * freed are kept for the next call, which mostly wants as many bytes. Great ones are offered to the system meanwhile
 * (MADV_FREE): what it takes because memory is short costs a page fault again, as new memory does. */
#define _GNU_SOURCE
#include "buffers.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <malloc.h>
#else
#include <sys/mman.h>
#endif

enum { LINE = 64, HUGE_PAGE = 2 << 20, HUGE_FROM = 2 * HUGE_PAGE, OFFERED_FROM = 32 << 20, PLACES = 16 };

/* One line before the memory that is handed out. */
typedef struct {
    size_t block_bytes;
} HEADER;

typedef struct {
    char *block;
    size_t bytes;
} KEPT;

/* The newest last. Whoever finds them busy does without: nobody waits, and a fork cannot leave a lock behind. */
static KEPT kept[PLACES];
static int places;
static size_t kept_bytes;
static atomic_size_t most_kept_bytes = (size_t)256 << 20;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static int begin(void) { return !atomic_flag_test_and_set_explicit(&busy, memory_order_acquire); }
static void end(void) { atomic_flag_clear_explicit(&busy, memory_order_release); }

static char *new_block(size_t bytes) {
#if defined(_WIN32)
    return _aligned_malloc(bytes, LINE);
#else
    void *block;
    if (posix_memalign(&block, bytes >= HUGE_FROM ? HUGE_PAGE : LINE, bytes))
        return NULL;
#if defined(MADV_HUGEPAGE)
    if (bytes >= HUGE_FROM)
        madvise(block, bytes, MADV_HUGEPAGE); /* advice: without it pages are small */
#endif
    return block;
#endif
}

static void free_block(char *block) {
#if defined(_WIN32)
    _aligned_free(block);
#else
    free(block);
#endif
}

/* What a block for `size` bytes takes, in whole lines; 0 if there are not so many. */
static size_t block_bytes(size_t size) { return size > SIZE_MAX - 2 * LINE ? 0 : (size + 2 * LINE - 1) / LINE * LINE; }

/* Take out a kept block, the newest of so many bytes, or the oldest with 0; NULL if there is none. */
static char *take(size_t bytes) {
    for (int i = places; i-- > 0;) {
        const int at = bytes ? i : 0;
        if (bytes && kept[at].bytes != bytes)
            continue;
        char *const block = kept[at].block;
        kept_bytes -= kept[at].bytes;
        memmove(kept + at, kept + at + 1, (size_t)(--places - at) * sizeof *kept);
        return block;
    }
    return NULL;
}

void *lf_buffer_malloc(void *context, size_t size) {
    const size_t bytes = block_bytes(size);
    char *block = NULL;
    (void)context;
    if (!bytes)
        return NULL;
    if (bytes >= LF_BUFFER_BYTES && begin()) {
        block = take(bytes);
        end();
    }
    if (!block)
        block = new_block(bytes);
    if (!block)
        return NULL;
    ((HEADER *)(void *)block)->block_bytes = bytes;
    return block + LINE;
}

void lf_buffer_free(void *context, void *memory, size_t size) {
    (void)context, (void)size; /* the size that NumPy says is that of an array whose shape may have been changed */
    if (!memory)
        return;
    char *block = (char *)memory - LINE;
    const size_t bytes = ((HEADER *)(void *)block)->block_bytes, most = atomic_load(&most_kept_bytes);
    if (bytes < LF_BUFFER_BYTES || bytes > most || !begin()) {
        free_block(block);
        return;
    }
    char *surplus[PLACES];
    int count = 0;
    while (places == PLACES || kept_bytes + bytes > most)
        surplus[count++] = take(0);
    kept[places++] = (KEPT){block, bytes};
    kept_bytes += bytes;
#if defined(MADV_FREE)
    /* Whole huge pages, which a block begins with: a part would split one. Of less it costs as much as computing it. */
    if (bytes >= OFFERED_FROM)
        madvise(block, bytes / HUGE_PAGE * HUGE_PAGE, MADV_FREE);
#endif
    end();
    while (count)
        free_block(surplus[--count]);
}

void *lf_buffer_calloc(void *context, size_t count, size_t size) {
    const size_t bytes = size && count > SIZE_MAX / size ? SIZE_MAX : count * size;
    void *memory = lf_buffer_malloc(context, bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

void *lf_buffer_realloc(void *context, void *memory, size_t size) {
    void *moved = lf_buffer_malloc(context, size);
    if (moved && memory) {
        const size_t had = ((const HEADER *)(const void *)((const char *)memory - LINE))->block_bytes - LINE;
        memcpy(moved, memory, had < size ? had : size);
        lf_buffer_free(context, memory, 0);
    }
    return moved;
}

void lf_set_kept_bytes(size_t most) {
    atomic_store(&most_kept_bytes, most);
    for (char *block = NULL;;) {
        if (!begin())
            return; /* whoever frees next finds the new limit */
        block = kept_bytes > most ? take(0) : NULL;
        end();
        if (!block)
            return;
        free_block(block);
    }
}

size_t lf_most_kept_bytes(void) { return atomic_load(&most_kept_bytes); }

size_t lf_kept_bytes(void) {
    size_t bytes = 0;
    if (begin()) {
        bytes = kept_bytes;
        end();
    }
    return bytes;
}
