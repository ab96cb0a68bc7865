/* Which instruction sets this build has, which of them this processor and its operating system run, and which is in
 * use. */
#ifndef LF_CPU_H
#define LF_CPU_H

#include "abi.h"

int lf_isa_count(void);
const char *lf_isa_name(int isa);
/* built and runnable here */
int lf_isa_available(int isa);
int lf_isa_active(void);
/* every later call computes with this one */
void lf_isa_activate(int isa);

const lf_table *lf_table_f32(void);
const lf_table *lf_table_f64(void);

#endif
