/* Memory of results: what NumPy's allocation handler (NEP 49) asks for. */
#ifndef LF_BUFFERS_H
#define LF_BUFFERS_H

#include <stddef.h>

/* Smaller results are NumPy's own: beginning on a cache line gains them less than the handler costs. */
enum { LF_BUFFER_BYTES = 1 << 16 };

void *lf_buffer_malloc(void *context, size_t size);
void *lf_buffer_calloc(void *context, size_t count, size_t size);
void *lf_buffer_realloc(void *context, void *memory, size_t size);
void lf_buffer_free(void *context, void *memory, size_t size);

/* Keep at most so many bytes of what was freed; give back what is more. */
void lf_set_kept_bytes(size_t most);
size_t lf_most_kept_bytes(void);
/* Kept at the moment. */
size_t lf_kept_bytes(void);

#endif
