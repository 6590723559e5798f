#include "tools/qdsend_options.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client/tool.h"

enum {
    KEY_RATE = OPTIONS_OWN,
    KEY_SIZE,
    KEY_LINES,
    KEY_BODY,
    KEY_LITERAL,
    KEY_ID,
    KEY_CORRELATION_ID,
    KEY_ID_TYPE,
    KEY_USER_ID,
    KEY_SUBJECT,
    KEY_REPLY_TO,
    KEY_TO,
    KEY_CONTENT_TYPE,
    KEY_CONTENT_ENCODING,
    KEY_GROUP_ID,
    KEY_DURABLE,
    KEY_TTL,
    KEY_PRIORITY,
    KEY_ANNOTATION,
    KEY_NUMBER,
    KEY_LATENCY,
    KEY_PRESETTLED,
    KEY_IN_FLIGHT,
    KEY_RESEND,
    KEY_RESEND_DELAY,
    KEY_ANONYMOUS,
    KEY_REQUEST,
    KEY_PRINT,
};

static const char *const body_choices[] = {"string", "data", NULL};
static const char *const print_choices[] = {"message", "json", "python", NULL};

static const struct argp_option own_options[] = {
    {NULL, 0, NULL, 0, "Sending:", OPTIONS_GROUP_OWN},
    {"count", 'c', "N", 0, "Send N messages (1; with --lines as many as there are lines); 0 for ever", 0},
    {"rate", KEY_RATE, "N", 0, "Send N messages a second, fractions allowed", 0},
    {"presettled", KEY_PRESETTLED, NULL, 0, "Send settled: at most once, no outcomes", 0},
    {"in-flight", KEY_IN_FLIGHT, "N", 0, "At most N messages without outcome or reply (5000; with --request 1)", 0},
    {"resend", KEY_RESEND, "N", OPTION_ARG_OPTIONAL,
     "Send released and modified messages again, each at most N times, until accepted", 0},
    {"resend-delay", KEY_RESEND_DELAY, "SECS", 0, "Wait before sending one again (0.1)", 0},
    {"anonymous", KEY_ANONYMOUS, NULL, 0, "Attach to no address; messages carry ADDRESS in their `to'", 0},
    {"latency", KEY_LATENCY, NULL, 0,
     "Stamp messages for `qdrecv --latency', and show how long outcomes, or replies, took", 0},
    {"number", KEY_NUMBER, NULL, 0, "Number messages (property sn) for `qdrecv --check-numbers'", 0},

    {NULL, 0, NULL, 0, "Requests:", 2},
    {"request", KEY_REQUEST, NULL, 0, "Send requests, and wait for a reply to each at an address that the peer makes",
     0},
    {"print", KEY_PRINT, "STYLE", 0, "Print the replies on stdout: message, json or python", 0},

    {NULL, 0, NULL, 0, "Content ({n} in any text is the message's number):", 3},
    {"content", 'm', "TEXT", 0, "A text", 0},
    {"map", 'M', "NAME[:TYPE]=TEXT", 0, "A map with this entry; repeat for more", 0},
    {"list", 'L', "[TYPE:]TEXT", 0, "A list with this element; repeat for more", 0},
    {"size", KEY_SIZE, "BYTES", 0, "Content of this size, with K, M or G if you like", 0},
    {"file", 'f', "FILE", 0, "The content of a file, - for stdin: streamed, of any size", 0},
    {"lines", KEY_LINES, NULL, 0, "Each line of stdin is a message", 0},
    {"body", KEY_BODY, "KIND", 0,
     "Send content as string, or as data (bytes); default: data for --size and --file, else string", 0},
    {"literal", KEY_LITERAL, NULL, 0, "{n} is just that", 0},

    {NULL, 0, NULL, 0, "Message:", 4},
    {"property", 'P', "NAME[:TYPE]=TEXT", 0, "Application property; may be repeated", 0},
    {"annotation", KEY_ANNOTATION, "NAME[:TYPE]=TEXT", 0, "Message annotation; may be repeated", 0},
    {"subject", KEY_SUBJECT, "TEXT", 0, "Subject", 0},
    {"id", KEY_ID, "TEXT", 0, "Message id", 0},
    {"correlation-id", KEY_CORRELATION_ID, "TEXT", 0, "Correlation id", 0},
    {"id-type", KEY_ID_TYPE, "TYPE", 0, "Type of both ids: string (default), ulong, uuid or binary", 0},
    {"user-id", KEY_USER_ID, "TEXT", 0, "User id", 0},
    {"reply-to", KEY_REPLY_TO, "ADDRESS", 0, "Address for replies; nobody here waits for them", 0},
    {"to", KEY_TO, "ADDRESS", 0, "Address in the message itself", 0},
    {"content-type", KEY_CONTENT_TYPE, "TYPE", 0, "MIME type", 0},
    {"content-encoding", KEY_CONTENT_ENCODING, "NAME", 0, "Encoding, such as gzip", 0},
    {"group-id", KEY_GROUP_ID, "TEXT", 0, "Group id", 0},
    {"durable", KEY_DURABLE, NULL, 0, "Durable", 0},
    {"priority", KEY_PRIORITY, "N", 0, "Priority, 0 to 255 (4)", 0},
    {"ttl", KEY_TTL, "SECS", 0, "Time to live", 0},
    {0},
};

static void add_named(const struct argp_state *state, const char *option, struct value_list *list, const char *text)
{
    struct fault why;
    if (!value_list_add_named(list, text, &why))
        argp_error(state, "%s: %s", option, why.text);
}

static void set_id_type(struct send_options *set, const struct argp_state *state, const char *text)
{
    static const char *const choices[] = {"string", "ulong", "uuid", "binary", NULL};
    static const enum value_type types[] = {VALUE_STRING, VALUE_ULONG, VALUE_UUID, VALUE_BINARY};
    set->compose.id_type = types[options_choice(state, "--id-type", text, choices)];
}

static error_t parse_message_key(struct send_options *set, int key, char *text, struct argp_state *state)
{
    struct compose_conf *m = &set->compose;
    switch (key) {
    case 'P':
        add_named(state, "--property", &m->properties, text);
        break;
    case KEY_ANNOTATION:
        add_named(state, "--annotation", &m->annotations, text);
        break;
    case KEY_SUBJECT:
        m->subject = text;
        break;
    case KEY_ID:
        m->id = text;
        break;
    case KEY_CORRELATION_ID:
        m->correlation_id = text;
        break;
    case KEY_ID_TYPE:
        set_id_type(set, state, text);
        break;
    case KEY_USER_ID:
        m->user_id = text;
        break;
    case KEY_REPLY_TO:
        m->reply_to = text;
        break;
    case KEY_TO:
        m->to = text;
        break;
    case KEY_CONTENT_TYPE:
        m->content_type = text;
        break;
    case KEY_CONTENT_ENCODING:
        m->content_encoding = text;
        break;
    case KEY_GROUP_ID:
        m->group_id = text;
        break;
    case KEY_DURABLE:
        m->durable = true;
        break;
    case KEY_PRIORITY:
        m->priority = (int)options_number(state, "--priority", text, 0, 255);
        break;
    case KEY_TTL: {
        int64_t ttl = options_seconds(state, "--ttl", text) / 1000;
        if (ttl < 1 || ttl > UINT32_MAX)
            argp_error(state, "--ttl: '%s' is out of range: allowed are 0.001 to 4294967 seconds", text);
        m->ttl_ms = (uint32_t)ttl;
        break;
    }
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse_content_key(struct send_options *set, int key, char *text, struct argp_state *state)
{
    struct fault why;
    switch (key) {
    case 'm':
        set->content = text;
        break;
    case 'M':
        add_named(state, "--map", &set->compose.items, text);
        set->compose.body = COMPOSE_MAP;
        break;
    case 'L':
        if (!value_list_add_plain(&set->compose.items, text, &why))
            argp_error(state, "--list: %s", why.text);
        set->compose.body = COMPOSE_LIST;
        break;
    case KEY_SIZE:
        if (!tool_size(text, INT64_MAX, &set->size, &why))
            argp_error(state, "--size: %s", why.text);
        set->size_given = true;
        break;
    case 'f':
        set->file = text;
        break;
    case KEY_LINES:
        set->lines = true;
        break;
    case KEY_BODY:
        set->body = 1 + options_choice(state, "--body", text, body_choices);
        break;
    case KEY_LITERAL:
        set->compose.literal = true;
        break;
    default:
        return parse_message_key(set, key, text, state);
    }
    return 0;
}

static bool has_named(const struct value_list *list)
{
    return list->count > 0 && list->items[0].name;
}

static bool has_plain(const struct value_list *list)
{
    return list->count > 0 && !list->items[list->count - 1].name;
}

/* One source of content, and its kind. */
static void settle_content(struct send_options *set, const struct argp_state *state)
{
    struct compose_conf *m = &set->compose;
    int sources = (set->content != NULL) + (set->file != NULL) + set->size_given + set->lines + (m->items.count > 0);
    if (sources > 1 || (has_named(&m->items) && has_plain(&m->items)))
        argp_error(state, "only one of --content, --map, --list, --size, --file and --lines can be the content");
    if (m->items.count > 0) {
        if (set->body)
            argp_error(state, "--body: a map or list is neither string nor data");
        return;
    }
    bool is_streamed = set->file || (set->size_given && set->size > SEND_OPTIONS_IN_MEMORY);
    bool is_data = set->body ? set->body == 2 : is_streamed || set->size_given;
    if (is_streamed && !is_data)
        argp_error(state, "--body: content that is streamed (a file, or more than 1 MiB) can only be data");
    m->body = is_streamed ? COMPOSE_NOTHING : is_data ? COMPOSE_DATA : COMPOSE_STRING;
    m->content = set->content ? pn_bytes(strlen(set->content), set->content) : pn_bytes(0, "");
    if (set->size_given && !is_streamed) {
        char *pattern = tool_alloc(set->size + 1);
        for (uint64_t i = 0; i < set->size; i++)
            pattern[i] = (char)('a' + i % 26);
        m->content = pn_bytes(set->size, pattern);
    }
}

static void finish(struct send_options *set, const struct argp_state *state)
{
    options_finish(&set->common, state);
    if (set->common.address_count == 0)
        argp_error(state, "no ADDRESS to send to");
    settle_content(set, state);
    if (!set->count_given)
        set->count = set->lines ? 0 : 1;
    if (set->in_flight == 0)
        set->in_flight = set->request ? 1 : 5000;
    if (set->presettled && set->resend)
        argp_error(state, "--resend: presettled messages have no outcome that could ask for it");
    if (set->request && (set->compose.reply_to || set->compose.correlation_id || set->compose.id))
        argp_error(state, "--request: it sets --reply-to, --id and --correlation-id itself, to know its replies");
    if (set->print && !set->request)
        argp_error(state, "--print: there are only replies to print, with --request");
    if (set->anonymous && set->compose.to)
        argp_error(state, "--to: with --anonymous ADDRESS is the `to' of the messages");
    set->compose.request = set->request;
    set->compose.stamp = set->latency;
}

static error_t parse_key(int key, char *text, struct argp_state *state)
{
    struct send_options *set = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &set->common;
        break;
    case ARGP_KEY_END:
        finish(set, state);
        break;
    case 'c':
        set->count = options_number(state, "--count", text, 0, UINT64_MAX - 1);
        set->count_given = true;
        break;
    case KEY_RATE:
        set->rate = options_rate(state, "--rate", text);
        break;
    case KEY_PRESETTLED:
        set->presettled = true;
        break;
    case KEY_IN_FLIGHT:
        set->in_flight = options_number(state, "--in-flight", text, 1, 1000000);
        break;
    case KEY_RESEND:
        set->resend = true;
        set->resend_limit = text ? options_number(state, "--resend", text, 1, UINT64_MAX - 1) : 0;
        break;
    case KEY_RESEND_DELAY:
        set->resend_delay = options_seconds(state, "--resend-delay", text);
        break;
    case KEY_ANONYMOUS:
        set->anonymous = true;
        break;
    case KEY_LATENCY:
        set->latency = true;
        break;
    case KEY_NUMBER:
        set->compose.number = true;
        break;
    case KEY_REQUEST:
        set->request = true;
        break;
    case KEY_PRINT:
        set->print = true;
        set->print_style = (enum print_style)options_choice(state, "--print", text, print_choices);
        break;
    default:
        return parse_content_key(set, key, text, state);
    }
    return 0;
}

static const char doc[] =
    "Send messages to each ADDRESS: an address, host:port/address, or amqp[s]://[user[:password]@]host[:port]/address."
    "\vTYPE is string (if none is given), null, bool, byte, ubyte, short, ushort, int, uint, long, ulong, float, "
    "double, char, "
    "timestamp (ms), uuid, symbol or binary (text, or 0x and hexadecimal digits).\n"
    "\n"
    "Examples:\n"
    "  qdsend examples -m hello\n"
    "  qdsend -b router:5672 orders -c 1000 --rate 50 -P region=eu -P count:int={n}\n"
    "  qdsend amqp://me:secret@host/q --durable -M item=bolt -M amount:int=3\n"
    "  qdsend big -f image.iso\n"
    "  qdsend service --request -m ping -c 10 --print message --latency\n"
    "  qdsend a b c --anonymous --reconnect -c 0 --size 100 --progress\n"
    "\n"
    "Exit status: 0 all sent and, unless presettled, accepted (and answered); 1 not so, or no connection; 2 wrong "
    "usage.";

void send_options_parse(struct send_options *out, int argc, char **argv)
{
    *out = (struct send_options){.compose = {.priority = -1}, .resend_delay = 100000};
    options_parse(own_options, parse_key, doc, &out->common, out, argc, argv);
}

void send_options_fini(struct send_options *set)
{
    if (set->size_given && set->compose.body != COMPOSE_NOTHING)
        free((char *)set->compose.content.start);
    value_list_fini(&set->compose.properties);
    value_list_fini(&set->compose.annotations);
    value_list_fini(&set->compose.items);
    options_fini(&set->common);
}
