#include "tools/qdrecv_options.h"

#include <argp.h>
#include <string.h>

#include "tools/client/tool.h"

enum {
    KEY_CREDIT = OPTIONS_OWN,
    KEY_DRAIN,
    KEY_BROWSE,
    KEY_SELECTOR,
    KEY_DYNAMIC,
    KEY_PRESETTLED,
    KEY_UNSETTLED,
    KEY_OUTCOME,
    KEY_RATE,
    KEY_PRINT,
    KEY_LATENCY,
    KEY_CHECK,
    KEY_LIMIT,
    KEY_REPLY,
    KEY_REPLY_CONTENT,
};

static const char *const outcome_choices[] = {
    "accept", "reject", "release", "modify", "modify-failed", "modify-undeliverable", "none", NULL};

static const char *const print_choices[] = {"none", "count", "body", "message", "json", "python", NULL};

static const struct argp_option own_options[] = {
    {NULL, 0, NULL, 0, "Receiving:", OPTIONS_GROUP_OWN},
    {"count", 'c', "N", 0, "End after N messages (0: none)", 0},
    {"drain", KEY_DRAIN, NULL, 0, "Take what is there and end; with --timeout SECS, once nothing has come for SECS", 0},
    {"credit", KEY_CREDIT, "N", 0, "Let N messages be under way to each link (100)", 0},
    {"rate", KEY_RATE, "N", 0, "Take at most N messages a second: give credit so fast only", 0},
    {"browse", KEY_BROWSE, NULL, 0, "Get copies and leave the messages where they are", 0},
    {"selector", KEY_SELECTOR, "TEXT", 0, "Only messages that this JMS selector matches", 0},
    {"dynamic", KEY_DYNAMIC, NULL, 0,
     "Instead of ADDRESS, receive at a new one that the peer makes; it is told on stderr", 0},
    {"presettled", KEY_PRESETTLED, NULL, 0, "Ask for messages sent settled", 0},
    {"unsettled", KEY_UNSETTLED, NULL, 0, "Ask for messages sent unsettled; default: as the peer likes", 0},
    {"outcome", KEY_OUTCOME, "OUTCOME", 0,
     "Settle with accept (default), reject, release, modify, modify-failed or modify-undeliverable; none leaves "
     "messages unsettled",
     0},

    {NULL, 0, NULL, 0, "Messages:", 2},
    {"print", KEY_PRINT, "STYLE", 0,
     "On stdout: message (all of it, default), json (one line each), python (as drain did), body (content and a "
     "newline), "
     "count (a number at the end), or none",
     0},
    {"output", 'o', "FILE", 0,
     "Write contents to FILE as they arrive, of any size, nothing else is printed; - for stdout; {n} in it, the "
     "message's number: "
     "a file each",
     0},
    {"max-kept", KEY_LIMIT, "BYTES", 0, "Largest message that may be kept in memory for printing (64M)", 0},
    {"latency", KEY_LATENCY, NULL, 0, "Show how long messages took that `qdsend --latency' stamped", 0},
    {"check-numbers", KEY_CHECK, NULL, 0,
     "Look for missing and repeated messages of one `qdsend --number'; either is a failure", 0},

    {NULL, 0, NULL, 0, "Replies:", 3},
    {"reply", KEY_REPLY, NULL, 0, "Answer each message that has a reply-to with its own content", 0},
    {"reply-content", KEY_REPLY_CONTENT, "TEXT", 0, "Answer with this text instead; implies --reply", 0},
    {0},
};

static void set_print(struct receive_options *set, const struct argp_state *state, const char *text)
{
    int choice = options_choice(state, "--print", text, print_choices);
    set->print = choice < PRINT_MESSAGES ? (enum print)choice : PRINT_MESSAGES;
    set->print_style = choice > PRINT_MESSAGES ? (enum print_style)(choice - PRINT_MESSAGES) : PRINT_HUMAN;
}

static void finish_settings(struct receive_options *set, bool print_given, const struct argp_state *state)
{
    options_finish(&set->common, state);
    if (set->common.address_count == 0 && !set->dynamic)
        argp_error(state, "no ADDRESS to receive from");
    if (set->dynamic && set->common.address_count > 0)
        argp_error(state, "--dynamic: the peer makes the address, so none can be given (name the host by --bus)");
    if (set->output && print_given && set->print != PRINT_NONE && set->print != PRINT_COUNT)
        argp_error(state, "--output: contents go to the file, so they cannot be printed, too");
    if (set->output && set->reply)
        argp_error(state, "--output: with --reply, contents are kept for the reply, so they cannot be streamed");
    if (set->output && !print_given)
        set->print = PRINT_NONE;
    if (set->output && strstr(set->output, "{n}") && set->common.links * set->common.address_count > 1)
        argp_error(state,
                   "--output: a file for each message needs a single link, as several may be under way on several");
    if (set->output && set->common.links * set->common.address_count > 1)
        argp_error(state, "--output: needs a single link, or contents would mix");
    if (set->presettled && set->unsettled)
        argp_error(state, "--presettled and --unsettled contradict each other");
}

static error_t parse_key(int key, char *text, struct argp_state *state)
{
    static bool print_given;
    struct receive_options *set = state->input;
    struct fault why;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &set->common;
        break;
    case ARGP_KEY_END:
        finish_settings(set, print_given, state);
        break;
    case 'c':
        set->count = options_number(state, "--count", text, 0, UINT64_MAX - 1);
        break;
    case 'o':
        set->output = text;
        break;
    case KEY_CREDIT:
        set->credit = options_number(state, "--credit", text, 1, 1000000);
        break;
    case KEY_RATE:
        set->rate = options_rate(state, "--rate", text);
        break;
    case KEY_DRAIN:
        set->drain = true;
        break;
    case KEY_BROWSE:
        set->browse = true;
        break;
    case KEY_SELECTOR:
        set->selector = text;
        break;
    case KEY_DYNAMIC:
        set->dynamic = true;
        break;
    case KEY_PRESETTLED:
        set->presettled = true;
        break;
    case KEY_UNSETTLED:
        set->unsettled = true;
        break;
    case KEY_OUTCOME:
        set->outcome = (enum outcome)options_choice(state, "--outcome", text, outcome_choices);
        break;
    case KEY_PRINT:
        print_given = true;
        set_print(set, state, text);
        break;
    case KEY_LATENCY:
        set->latency = true;
        break;
    case KEY_CHECK:
        set->check = true;
        break;
    case KEY_LIMIT:
        if (!tool_size(text, INT64_MAX, &set->limit, &why))
            argp_error(state, "--max-kept: %s", why.text);
        break;
    case KEY_REPLY_CONTENT:
        set->reply_content = text;
        set->reply = true;
        break;
    case KEY_REPLY:
        set->reply = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const char doc[] = "Receive messages from each ADDRESS: an address, host:port/address, or "
                          "amqp[s]://[user[:password]@]host[:port]/address. "
                          "Without --count, --drain or --timeout it waits for ever."
                          "\vExamples:\n"
                          "  qdrecv examples\n"
                          "  qdrecv -b router:5672 orders -c 1000 --print json\n"
                          "  qdrecv queue --drain --print body\n"
                          "  qdrecv queue --browse --drain --print count\n"
                          "  qdrecv big -c 1 -o image.iso\n"
                          "  qdrecv service --reply --print none\n"
                          "  qdrecv load --timeout 5 --latency --check-numbers --print none\n"
                          "\n"
                          "Exit status: 0 as asked (also if interrupted with no --count to reach); 1 not so, or no "
                          "connection; 2 wrong usage.";

void receive_options_parse(struct receive_options *out, int argc, char **argv)
{
    *out =
        (struct receive_options){.credit = 100, .limit = 64 << 20, .print = PRINT_MESSAGES, .print_style = PRINT_HUMAN};
    options_parse(own_options, parse_key, doc, &out->common, out, argc, argv);
}

void receive_options_fini(struct receive_options *set)
{
    options_fini(&set->common);
}
