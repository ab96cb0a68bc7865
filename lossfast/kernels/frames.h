/* Rows of classes of the frames of a sequence. In a batch they lie far apart, where the processor's own prefetching
 * does not find the next. */
#ifndef LF_FRAMES_H
#define LF_FRAMES_H

#include "abi.h"
#include "blocks.h"
#include "real.h"

/* Frames that are fetched before their turn. */
enum { FRAMES_AHEAD = 2 };
/* Bytes of each: the rest of a longer row the processor finds. */
enum { FRAME_FETCHED = 4096 };

/* The classes of a frame: the caller's own row, or a copy of it. */
static const REAL *frame_row(const lf_frames *frames, ptrdiff_t t, REAL *copy) {
    const char *row = frames->input + t * frames->frame_stride;
    if (frames->direct)
        return (const REAL *)row;
    load(frames->kind, frames->swapped, row, frames->class_stride, frames->classes, copy);
    return copy;
}

static void frame_prefetch(const lf_frames *frames, ptrdiff_t t) {
    const ptrdiff_t bytes = frames->classes * frames->class_stride;
    if (0 <= t && t < frames->frames && bytes > 0)
        lf_prefetch(frames->input + t * frames->frame_stride, bytes < FRAME_FETCHED ? bytes : FRAME_FETCHED);
}

/* As much of a frame as the labels need. */
static void labels_prefetch(const lf_frames *frames, ptrdiff_t t, const int32_t *label, ptrdiff_t labels) {
    if (!frames->direct || frames->classes * (ptrdiff_t)sizeof(REAL) <= FRAME_FETCHED)
        frame_prefetch(frames, t);
    else if (0 <= t && t < frames->frames)
        for (ptrdiff_t l = 0; l < labels; l++)
            __builtin_prefetch((const REAL *)(frames->input + t * frames->frame_stride) + label[l]);
}

#endif
