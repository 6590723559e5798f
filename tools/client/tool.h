/* tool.h -- what every module of the command-line clients needs: errors as text, memory, clocks, numbers.
 *
 * A command-line program has one use for an error: to tell a person. So functions here return true, or false with the
 * sentence to print in a struct fault; the caller prints it or puts words in front of it, nobody branches on its
 * content.
 *
 * Thread: any, no state.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_TOOL_H
#define TRUNKLINE_TOOLS_CLIENT_TOOL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses of qdsend and qdrecv; part of their contract, see the manual pages. */
enum { TOOL_EXIT_OK = 0, TOOL_EXIT_FAILED = 1, TOOL_EXIT_USAGE = 2 };

struct fault {
    char text[512];
};

/* Write the sentence; a longer one is cut.
 *   Result: always false, so that a failing function can end with `return fault_set(...)`.
 */
bool fault_set(struct fault *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool fault_vset(struct fault *f, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* Memory that is never NULL: without memory the program ends with a message, status 1.
 *   Ownership: the caller's, to free().
 *   Result:    tool_alloc zeroes; tool_dup and tool_dup_n copy a string, tool_dup keeps NULL NULL.
 */
void *tool_alloc(size_t size);
void *tool_grow(void *block, size_t size);
char *tool_dup(const char *text);
char *tool_dup_n(const char *text, size_t length);

int64_t tool_mono_us(void);  /* monotonic microseconds */
int64_t tool_epoch_ns(void); /* nanoseconds since 1970, the clock that two machines share */
/* The earlier of two times; 0 is none. */
int64_t tool_earlier(int64_t a, int64_t b);

/* Read a decimal number, whole text, between min and max.
 *   Errors: not a number or out of range; *why names the text and what is allowed.
 */
bool tool_number(const char *text, uint64_t min, uint64_t max, uint64_t *out, struct fault *why);

/* Read a size in bytes with an optional suffix K, M or G (1024, 1024^2, 1024^3).
 *   Errors: as tool_number.
 */
bool tool_size(const char *text, uint64_t max, uint64_t *out, struct fault *why);

/* Read seconds, fractions allowed.
 *   Units:  *out in microseconds.
 *   Errors: not a number, negative, or more than ten years.
 */
bool tool_seconds(const char *text, int64_t *out, struct fault *why);

/* Read a number that may be a fraction, such as a rate.
 *   Errors: not a number, below min or above max.
 */
bool tool_real(const char *text, double min, double max, double *out, struct fault *why);

/* Read a password file: its text without blanks at both ends.
 *   Ownership: *out is the caller's.
 *   Errors:    cannot be read, or larger than 64 KiB.
 */
bool tool_secret_file(const char *path, char **out, struct fault *why);

#endif
