/* report.h -- the summary at the end and the progress line on the way, both on standard error.
 *
 * Thread: one at a time.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_REPORT_H
#define TRUNKLINE_TOOLS_CLIENT_REPORT_H

#include <stdio.h>

#include "tools/client/histogram.h"
#include "tools/client/tool.h"

enum report_style { REPORT_TEXT, REPORT_JSON, REPORT_NONE };

struct report_count {
    const char *name;
    uint64_t value;
    bool is_usual; /* shown in text even if 0; JSON has all */
};

struct report {
    const char *tool;
    const struct report_count *counts;
    size_t count_count;
    uint64_t messages, bytes;        /* for the rates */
    int64_t elapsed;                 /* microseconds */
    const char *latency_name;        /* of what, in the text */
    const struct histogram *latency; /* nanoseconds; NULL or empty for none */
    const char *error;               /* what went wrong; NULL for nothing */
};

/* Write the summary: one line, in text a second one for latencies; JSON is one object on one line. */
void report_summary(FILE *out, enum report_style style, const struct report *r);

struct progress {
    int64_t interval; /* microseconds; 0 for no progress line */
    bool in_place;    /* a terminal: overwrite the line */
    int64_t next;
    int64_t last_time;
    uint64_t last_messages;
    bool is_shown; /* a line without a newline stands there */
};

/* Prepare: interval < 0 asks for a second on a terminal, none elsewhere. */
void progress_init(struct progress *p, int64_t interval, FILE *out);

/* Write the line if it is time.
 *   Units:  now in monotonic microseconds.
 *   Result: when to call again, 0 for never.
 */
int64_t progress_show(struct progress *p, FILE *out, int64_t now, const struct report *r);

/* The end of a run: end the progress line, say what went wrong, write the summary.
 *   Result: the program's exit status.
 */
int report_end(struct progress *p, FILE *out, enum report_style style, const struct report *r);

/* Make room for other output: end the line that stands there. */
void progress_end(struct progress *p, FILE *out);

/* Write n with commas between thousands. buffer has at least 32 bytes and is returned. */
const char *report_commas(uint64_t n, char *buffer);

#endif
