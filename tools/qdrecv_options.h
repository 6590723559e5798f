/* qdrecv_options.h -- what qdrecv is asked to do: its command line, checked as a whole. */
#ifndef TRUNKLINE_TOOLS_QDRECV_OPTIONS_H
#define TRUNKLINE_TOOLS_QDRECV_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/client/options.h"
#include "tools/client/print.h"

enum outcome {
    OUTCOME_ACCEPT,
    OUTCOME_REJECT,
    OUTCOME_RELEASE,
    OUTCOME_MODIFY,
    OUTCOME_MODIFY_FAILED,
    OUTCOME_MODIFY_HERE,
    OUTCOME_NONE
};

enum print { PRINT_NONE, PRINT_COUNT, PRINT_BODY, PRINT_MESSAGES };

struct receive_options {
    struct options common;
    uint64_t count; /* 0: no end */
    uint64_t credit;
    double rate; /* messages per second at most, 0 for no limit */
    bool drain, browse, dynamic, presettled, unsettled;
    const char *selector;
    enum outcome outcome;
    enum print print;
    enum print_style print_style;
    const char *output; /* file for contents, may hold {n} */
    bool latency, check;
    uint64_t limit; /* bytes of a message that may be kept in memory */
    bool reply;
    const char *reply_content;
};

/* Read the command line. Wrong usage and --help end the program. Ownership: texts are argv's; receive_options_fini()
 * frees the rest. */
void receive_options_parse(struct receive_options *out, int argc, char **argv);
void receive_options_fini(struct receive_options *set);

#endif
