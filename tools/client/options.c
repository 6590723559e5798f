#include "tools/client/options.h"

#include <proton/connection.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_MECHANISMS = OPTIONS_SHARED,
    KEY_USER,
    KEY_PASSWORD,
    KEY_PASSWORD_FILE,
    KEY_NO_SASL,
    KEY_CERTIFICATE,
    KEY_SSL_KEY,
    KEY_TRUSTFILE,
    KEY_SSL_PASSWORD,
    KEY_SSL_PASSWORD_FILE,
    KEY_ANY_NAME,
    KEY_CONTAINER,
    KEY_VHOST,
    KEY_IDLE_TIMEOUT,
    KEY_MAX_FRAME,
    KEY_CONNECT_TIMEOUT,
    KEY_RECONNECT,
    KEY_RECONNECT_INTERVAL,
    KEY_RECONNECT_LIMIT,
    KEY_CAPABILITY,
    KEY_LINK_NAME,
    KEY_LINKS,
    KEY_PROGRESS,
    KEY_SUMMARY,
};

static const struct argp_option shared_options[] = {
    {NULL, 0, NULL, 0, "Links:", OPTIONS_GROUP_LINK},
    {"links", KEY_LINKS, "N", 0, "Attach N links to each address (1)", 0},
    {"link-name", KEY_LINK_NAME, "NAME", 0, "Name of the link; of several links NAME.0, NAME.1, ...", 0},
    {"capability", KEY_CAPABILITY, "SYMBOL", 0,
     "Ask for this capability at the address, such as qd.waypoint or queue; may be repeated", 0},

    {NULL, 0, NULL, 0, "Connection:", OPTIONS_GROUP_CONN},
    {"bus", 'b', "URL", 0,
     "Connect to [amqp[s]://][user[:password]@]host[:port] (127.0.0.1:5672); with it, each ADDRESS is taken as it "
     "stands. "
     "Repeated: others to try when one cannot be reached",
     0},
    {"timeout", 't', "SECS", 0, "Give up when nothing has moved for SECS seconds; 0 waits for ever", 0},
    {"connect-timeout", KEY_CONNECT_TIMEOUT, "SECS", 0, "For the connection to be made and answered (10)", 0},
    {"reconnect", KEY_RECONNECT, NULL, 0, "Connect again when the connection is lost or cannot be made", 0},
    {"reconnect-interval", KEY_RECONNECT_INTERVAL, "MIN[:MAX]", 0,
     "Seconds between attempts, doubled each time (0.1:10); implies --reconnect", 0},
    {"reconnect-limit", KEY_RECONNECT_LIMIT, "N", 0, "Give up after N attempts in a row; implies --reconnect", 0},
    {"sasl-mechanisms", KEY_MECHANISMS, "LIST", 0, "Allowed mechanisms (ANONYMOUS; any with a user or certificate)", 0},
    {"sasl-username", KEY_USER, "NAME", 0, "User, instead of the URL's", 0},
    {"sasl-password", KEY_PASSWORD, "TEXT", 0, "Password; other users of this machine can see it", 0},
    {"sasl-password-file", KEY_PASSWORD_FILE, "FILE", 0, "File with the password", 0},
    {"no-sasl", KEY_NO_SASL, NULL, 0, "Do without SASL", 0},
    {"ssl-trustfile", KEY_TRUSTFILE, "FILE", 0, "Trusted authorities (PEM); makes the scheme amqps", 0},
    {"ssl-certificate", KEY_CERTIFICATE, "FILE", 0, "Own certificate (PEM); makes the scheme amqps", 0},
    {"ssl-key", KEY_SSL_KEY, "FILE", 0, "Its private key (PEM)", 0},
    {"ssl-password", KEY_SSL_PASSWORD, "TEXT", 0, "Password of the key", 0},
    {"ssl-password-file", KEY_SSL_PASSWORD_FILE, "FILE", 0, "File with the password of the key", 0},
    {"ssl-disable-peer-name-verify", KEY_ANY_NAME, NULL, 0, "Accept a valid certificate of another host", 0},
    {"container-id", KEY_CONTAINER, "ID", 0, "Container id (made up anew for each run)", 0},
    {"vhost", KEY_VHOST, "NAME", 0, "Virtual host, the hostname of the open (the host of the URL)", 0},
    {"idle-timeout", KEY_IDLE_TIMEOUT, "SECS", 0, "Take the connection for lost after this silence (30; 0: never)", 0},
    {"max-frame-size", KEY_MAX_FRAME, "BYTES", 0, "Largest frame to accept, from 512 (65536)", 0},

    {NULL, 0, NULL, 0, "Output:", OPTIONS_GROUP_OUTPUT},
    {"progress", KEY_PROGRESS, "SECS", OPTION_ARG_OPTIONAL,
     "Show progress on stderr every SECS seconds (1); 0 for none. Without it, only if stderr is a terminal", 0},
    {"summary", KEY_SUMMARY, "STYLE", 0, "Summary on stderr at the end: text (default), json, or none", 0},
    {"verbose", 'v', NULL, 0, "Tell on stderr about connections and links", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, 0},
    {"quiet", 'q', NULL, 0, "No summary, no progress, no words about reconnecting; errors only", 0},
    {0},
};

uint64_t options_number(const struct argp_state *state, const char *option, const char *text, uint64_t min,
                        uint64_t max)
{
    uint64_t value = 0;
    struct fault why;
    if (!tool_number(text, min, max, &value, &why))
        argp_error(state, "%s: %s", option, why.text);
    return value;
}

double options_rate(const struct argp_state *state, const char *option, const char *text)
{
    double value = 0;
    struct fault why;
    if (!tool_real(text, 0.001, 1e7, &value, &why))
        argp_error(state, "%s: %s", option, why.text);
    return value;
}

int64_t options_seconds(const struct argp_state *state, const char *option, const char *text)
{
    int64_t value = 0;
    struct fault why;
    if (!tool_seconds(text, &value, &why))
        argp_error(state, "%s: %s", option, why.text);
    return value;
}

int options_choice(const struct argp_state *state, const char *option, const char *text, const char *const *choices)
{
    char list[200];
    size_t used = 0;
    for (int i = 0; choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0)
            return i;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", choices[i]);
    }
    argp_error(state, "%s: '%s' is none of %s", option, text, list);
    return 0;
}

static void add_text(char ***list, size_t *count, const char *text)
{
    *list = tool_grow(*list, (*count + 1) * sizeof **list);
    (*list)[(*count)++] = tool_dup(text);
}

static const char *read_secret(struct options *o, const struct argp_state *state, const char *option, const char *path)
{
    char *secret = NULL;
    struct fault why;
    if (!tool_secret_file(path, &secret, &why)) {
        argp_error(state, "%s: %s", option, why.text);
        return NULL;
    }
    o->secrets = tool_grow(o->secrets, (o->secret_count + 1) * sizeof *o->secrets);
    o->secrets[o->secret_count++] = secret;
    return secret;
}

static void append_bus(struct options *o, const struct url *url)
{
    o->buses = tool_grow(o->buses, (o->bus_count + 1) * sizeof *o->buses);
    o->buses[o->bus_count++] = *url;
}

static void add_bus(struct options *o, const struct argp_state *state, const char *text)
{
    struct url url;
    struct fault why;
    if (url_parse_bus(text, &url, &why))
        append_bus(o, &url);
    else
        argp_error(state, "--bus: %s", why.text);
}

static void set_interval(struct options *o, const struct argp_state *state, const char *text)
{
    const char *colon = strchr(text, ':');
    char *min = tool_dup_n(text, colon ? (size_t)(colon - text) : strlen(text));
    o->conn.reconnect = true;
    o->conn.backoff_min = options_seconds(state, "--reconnect-interval", min);
    free(min);
    if (colon)
        o->conn.backoff_max = options_seconds(state, "--reconnect-interval", colon + 1);
    if (o->conn.backoff_min == 0)
        argp_error(state, "--reconnect-interval: an interval of 0 would never pause");
    if (o->conn.backoff_max < o->conn.backoff_min) {
        if (colon)
            argp_error(state, "--reconnect-interval: '%s' has a maximum below its minimum", text);
        o->conn.backoff_max = o->conn.backoff_min;
    }
}

static error_t parse_connection_key(struct options *o, int key, char *text, struct argp_state *state)
{
    switch (key) {
    case 'b':
        add_bus(o, state, text);
        break;
    case KEY_CONNECT_TIMEOUT:
        o->conn.connect_timeout = options_seconds(state, "--connect-timeout", text);
        break;
    case KEY_RECONNECT:
        o->conn.reconnect = true;
        break;
    case KEY_RECONNECT_INTERVAL:
        set_interval(o, state, text);
        break;
    case KEY_RECONNECT_LIMIT:
        o->conn.reconnect = true;
        o->conn.reconnect_limit = options_number(state, "--reconnect-limit", text, 1, UINT64_MAX - 1);
        break;
    case KEY_MECHANISMS:
        o->conn.sasl_mechanisms = text;
        break;
    case KEY_USER:
        o->conn.user = text;
        break;
    case KEY_PASSWORD:
        o->conn.password = text;
        break;
    case KEY_PASSWORD_FILE:
        o->conn.password = read_secret(o, state, "--sasl-password-file", text);
        break;
    case KEY_NO_SASL:
        o->conn.no_sasl = true;
        break;
    case KEY_TRUSTFILE:
        o->conn.ssl_trustfile = text;
        break;
    case KEY_CERTIFICATE:
        o->conn.ssl_certificate = text;
        break;
    case KEY_SSL_KEY:
        o->conn.ssl_key = text;
        break;
    case KEY_SSL_PASSWORD:
        o->conn.ssl_password = text;
        break;
    case KEY_SSL_PASSWORD_FILE:
        o->conn.ssl_password = read_secret(o, state, "--ssl-password-file", text);
        break;
    case KEY_ANY_NAME:
        o->conn.ssl_any_name = true;
        break;
    case KEY_CONTAINER:
        o->conn.container_id = text;
        break;
    case KEY_VHOST:
        o->conn.vhost = text;
        break;
    case KEY_IDLE_TIMEOUT:
        o->conn.idle_timeout = options_seconds(state, "--idle-timeout", text);
        break;
    case KEY_MAX_FRAME:
        /* The least that both must be able to take: AMQP 1.0 part 2.3.1, Frame Layout, MIN-MAX-FRAME-SIZE. */
        o->conn.max_frame = (uint32_t)options_number(state, "--max-frame-size", text, 512, UINT32_MAX);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse_key(int key, char *text, struct argp_state *state)
{
    static const char *const summaries[] = {"text", "json", "none", NULL};
    struct options *o = state->input;
    switch (key) {
    case 't':
        o->timeout = options_seconds(state, "--timeout", text);
        break;
    case KEY_CAPABILITY:
        add_text(&o->capabilities, &o->capability_count, text);
        break;
    case KEY_LINK_NAME:
        o->link_name = text;
        break;
    case KEY_LINKS:
        o->links = options_number(state, "--links", text, 1, 30000);
        break;
    case KEY_PROGRESS:
        o->progress_interval = text ? options_seconds(state, "--progress", text) : 1000000;
        break;
    case KEY_SUMMARY:
        o->summary = (enum report_style)options_choice(state, "--summary", text, summaries);
        break;
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        break;
    case 'v':
        o->conn.verbose = true;
        break;
    case 'q':
        o->conn.quiet = true;
        o->summary = REPORT_NONE;
        o->progress_interval = 0;
        break;
    case ARGP_KEY_ARG:
        add_text(&o->addresses, &o->address_count, text);
        break;
    default:
        return parse_connection_key(o, key, text, state);
    }
    return 0;
}

const struct argp options_argp = {.options = shared_options, .parser = parse_key};

void options_init(struct options *o)
{
    *o = (struct options){
        .conn = {.connect_timeout = 10000000,
                 .idle_timeout = 30000000,
                 .max_frame = 65536,
                 .backoff_min = 100000,
                 .backoff_max = 10000000},
        .links = 1,
        .progress_interval = -1,
    };
}

/* Take the host off an operand that has one; all that do must agree. */
static void take_place(struct options *o, const struct argp_state *state, char **operand)
{
    struct url url;
    struct fault why;
    if (!url_parse_operand(*operand, &url, &why)) {
        argp_error(state, "%s", why.text);
        return;
    }
    bool is_first = url.host && o->bus_count == 0;
    if (url.host && !is_first && !url_same_place(&url, &o->buses[0]))
        argp_error(state, "'%s' is at another host or user than the addresses before it: one run has one connection",
                   *operand);
    free(*operand);
    *operand = tool_dup(url.address);
    if (is_first)
        append_bus(o, &url);
    else
        url_fini(&url);
}

void options_finish(struct options *o, const struct argp_state *state)
{
    bool has_bus = o->bus_count > 0;
    if (o->address_count == 0 && has_bus && o->buses[0].address)
        add_text(&o->addresses, &o->address_count, o->buses[0].address);
    for (size_t i = 0; !has_bus && i < o->address_count; i++)
        take_place(o, state, &o->addresses[i]);
    if (o->bus_count == 0)
        add_bus(o, state, "127.0.0.1");
    for (size_t i = 0; i < o->bus_count; i++)
        o->buses[i].tls = o->buses[i].tls || o->conn.ssl_trustfile || o->conn.ssl_certificate;
    o->conn.urls = o->buses;
    o->conn.url_count = o->bus_count;
    if (o->conn.no_sasl && (o->conn.user || o->conn.sasl_mechanisms || o->buses[0].user))
        argp_error(state, "--no-sasl: a user or mechanisms need SASL");
}

static void free_texts(char ***list, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        free((*list)[i]);
    free(*list);
    *list = NULL;
    *count = 0;
}

void options_fini(struct options *o)
{
    for (size_t i = 0; i < o->bus_count; i++)
        url_fini(&o->buses[i]);
    free(o->buses);
    free_texts(&o->addresses, &o->address_count);
    free_texts(&o->capabilities, &o->capability_count);
    free_texts(&o->secrets, &o->secret_count);
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fprintf(stream, "%s\n", TRUNKLINE_VERSION);
}

void options_parse(const struct argp_option *own, argp_parser_t parser, const char *doc, struct options *shared,
                   void *input, int argc, char **argv)
{
    const struct argp_child children[] = {{&options_argp, 0, NULL, 0}, {0}};
    const struct argp argp = {own, parser, "ADDRESS...", doc, children, NULL, NULL};
    options_init(shared);
    argp_program_version_hook = print_version;
    argp_err_exit_status = TOOL_EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, input);
}

void options_put_capabilities(const struct options *o, pn_terminus_t *terminus)
{
    if (o->capability_count == 0)
        return;
    pn_data_t *data = pn_terminus_capabilities(terminus);
    pn_data_put_array(data, false, PN_SYMBOL);
    pn_data_enter(data);
    for (size_t i = 0; i < o->capability_count; i++)
        pn_data_put_symbol(data, pn_bytes(strlen(o->capabilities[i]), o->capabilities[i]));
    pn_data_exit(data);
}

char *options_link_name(const struct options *o, pn_connection_t *pn, const char *role, size_t index)
{
    bool several = o->links * o->address_count > 1;
    char *name;
    int length;
    if (!o->link_name)
        length = asprintf(&name, "%s.%s.%zu", pn_connection_get_container(pn), role, index);
    else if (several)
        length = asprintf(&name, "%s.%zu", o->link_name, index);
    else
        return tool_dup(o->link_name);
    if (length < 0)
        abort();
    return name;
}
