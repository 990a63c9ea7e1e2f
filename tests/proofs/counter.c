/* What tells callgrind to count, and to write down what it has counted. For `tests.proofs.instructions`. */

#include <valgrind/callgrind.h>

void begin(void) { CALLGRIND_START_INSTRUMENTATION; }

void toggle(void) { CALLGRIND_TOGGLE_COLLECT; }

void write_down(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
