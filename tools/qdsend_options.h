/* qdsend_options.h -- what qdsend is asked to do: its command line, checked as a whole. */
#ifndef TRUNKLINE_TOOLS_QDSEND_OPTIONS_H
#define TRUNKLINE_TOOLS_QDSEND_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/client/compose.h"
#include "tools/client/options.h"
#include "tools/client/print.h"

enum { SEND_OPTIONS_IN_MEMORY = 1 << 20 }; /* larger content is streamed */

struct send_options {
    struct options common;
    struct compose_conf compose;
    uint64_t count; /* 0: for ever */
    bool count_given;
    double rate; /* messages per second, 0: as fast as it goes */
    const char *content, *file;
    uint64_t size;
    bool size_given, lines;
    int body; /* 0: by content; else 1 + index of body_choices */
    bool latency, presettled, anonymous, request;
    uint64_t in_flight; /* 0: default */
    bool resend;
    uint64_t resend_limit; /* 0: any number */
    int64_t resend_delay;
    bool print;
    enum print_style print_style;
};

/* Read the command line. Wrong usage and --help end the program. Ownership: texts are argv's; send_options_fini() frees
 * the rest. */
void send_options_parse(struct send_options *out, int argc, char **argv);
void send_options_fini(struct send_options *set);

#endif
