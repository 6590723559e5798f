/* options.h -- the options that qdsend and qdrecv share, as an argp parser to be joined to each one's own.
 *
 * Names are those of qdstat and qdmanage where these have the option.
 *
 * Thread: one, at start.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_OPTIONS_H
#define TRUNKLINE_TOOLS_CLIENT_OPTIONS_H

#include <argp.h>
#include <proton/terminus.h>

#include "tools/client/conn.h"
#include "tools/client/report.h"

/* Keys of options without a letter: the shared ones begin here, each program's own at OPTIONS_OWN. */
enum { OPTIONS_SHARED = 0x100, OPTIONS_OWN = 0x200 };

/* Groups of the help, in its order: each program's own come first. */
enum { OPTIONS_GROUP_OWN = 1, OPTIONS_GROUP_LINK = 10, OPTIONS_GROUP_CONN = 20, OPTIONS_GROUP_OUTPUT = 30 };

struct options {
    struct conn_conf conn;
    char **addresses; /* after options_finish(): without host */
    size_t address_count;
    char **capabilities;
    size_t capability_count;
    const char *link_name;
    uint64_t links;            /* per address */
    int64_t timeout;           /* microseconds, 0 for none */
    int64_t progress_interval; /* as progress_init() takes it */
    enum report_style summary;

    /* private */
    struct url *buses;
    size_t bus_count;
    char **secrets; /* read from files */
    size_t secret_count;
};

/* The parser; its input is a struct options. The program's parser sets state->child_inputs to it. */
extern const struct argp options_argp;

/* What a new struct options must hold before parsing. */
void options_init(struct options *o);

/* Put addresses and buses together, once all is parsed: an operand may name its host, unless -b was given.
 *   Errors: a bad operand, or two hosts: a usage error is written and ends the program.
 */
void options_finish(struct options *o, const struct argp_state *state);

void options_fini(struct options *o);

/* For each program's parser: end with a usage error if the value is bad, naming the option. */
uint64_t options_number(const struct argp_state *state, const char *option, const char *text, uint64_t min,
                        uint64_t max);
double options_rate(const struct argp_state *state, const char *option, const char *text); /* messages per second */
int64_t options_seconds(const struct argp_state *state, const char *option, const char *text);

/* Find a word in a list ended by NULL; a usage error that lists them if it is none. */
int options_choice(const struct argp_state *state, const char *option, const char *text, const char *const *choices);

/* Read a program's command line. Wrong usage (status 2), --help and --version end the program.
 *   own, parser, doc: its own options, whose parser gives `shared` to state->child_inputs[0] and gets `input`.
 */
void options_parse(const struct argp_option *own, argp_parser_t parser, const char *doc, struct options *shared,
                   void *input, int argc, char **argv);

/* Put the asked capabilities on a terminus (AMQP 1.0 part 3.5.3, Source, and 3.5.4, Target). */
void options_put_capabilities(const struct options *o, pn_terminus_t *terminus);

/* The name of a link: the asked one, or the container's own; numbered if there are several.
 *   Ownership: the caller's, to free().
 */
char *options_link_name(const struct options *o, pn_connection_t *pn, const char *role, size_t index);

#endif
