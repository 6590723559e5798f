/* What is done with a message that has come, its outcome, and the files it goes to (qdrecv_priv.h). */
#include <errno.h>
#include <inttypes.h>
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <stdlib.h>
#include <string.h>

#include "tools/qdrecv_priv.h"

/* Go to the value of a property. */
static bool find_property(pn_data_t *data, const char *name)
{
    pn_data_rewind(data);
    return pn_data_next(data) && pn_data_get_map(data) > 0 && pn_data_enter(data) && pn_data_lookup(data, name);
}

static void measure(struct receiver *r, pn_message_t *head)
{
    pn_data_t *data = pn_message_properties(head);
    if (!find_property(data, "ts") || pn_data_type(data) != PN_LONG) {
        r->unstamped++;
        return;
    }
    int64_t latency = tool_epoch_ns() - pn_data_get_long(data);
    if (latency < 0)
        r->from_future++; /* the sender's clock is ahead of ours */
    histogram_add(&r->latency, latency < 0 ? 0 : (uint64_t)latency);
}

static void check_number(struct receiver *r, pn_message_t *head)
{
    pn_data_t *data = pn_message_properties(head);
    struct fault why;
    if (!find_property(data, "sn") || pn_data_type(data) != PN_ULONG)
        r->unnumbered++;
    else if (!sequence_add(&r->sequence, pn_data_get_ulong(data), &why))
        conn_fail(&r->conn, "--check-numbers: %s", why.text);
}

static void put_message(struct receiver *r, struct in_link *l, pn_message_t *head, const struct print_body *body)
{
    progress_end(&r->progress, stderr);
    print_one_message(stdout, head, body, &(struct print_origin){.number = r->received, .address = l->source},
                      r->set->print_style);
}

/* Bodies on stdout end with a newline each, so that texts are lines; a value that is not text is printed as one. */
static void put_body(const struct print_body *body)
{
    if (body->kind == PRINT_BODY_DATA) {
        fwrite(body->bytes.start, 1, body->bytes.size, stdout);
    } else if (body->kind != PRINT_BODY_NONE) {
        pn_data_rewind(body->values);
        while (pn_data_next(body->values)) {
            pn_type_t type = pn_data_type(body->values);
            pn_bytes_t bytes = pn_data_get_bytes(body->values);
            if (type == PN_STRING || type == PN_SYMBOL || type == PN_BINARY)
                fwrite(bytes.start, 1, bytes.size, stdout);
            else
                print_value(stdout, body->values, PRINT_HUMAN);
        }
    }
    fputc('\n', stdout);
}

static bool wants_message(const struct receiver *r)
{
    return r->in_conf.want_head || r->in_conf.want_body || r->set->output;
}

/* Bytes and text went to the file as they came; a map or list follows here, as text. */
static void put_kept_values(struct receiver *r, const struct print_body *body)
{
    if (body->kind != PRINT_BODY_VALUE && body->kind != PRINT_BODY_SEQUENCE)
        return;
    pn_data_rewind(body->values);
    while (pn_data_next(body->values))
        print_value(r->output, body->values, PRINT_HUMAN);
}

bool receiver_use(struct receiver *r, struct in_link *l, pn_delivery_t *d)
{
    pn_message_t *head;
    struct print_body body;
    struct fault why;
    if (!wants_message(r))
        return false;
    if (!incoming_message(l->in, &head, &body, &why)) {
        r->bad++;
        progress_end(&r->progress, stderr);
        fprintf(stderr, "qdrecv: message %" PRIu64 ": %s\n", r->received, why.text);
        return false;
    }
    if (r->set->latency)
        measure(r, head);
    if (r->set->check)
        check_number(r, head);
    if (r->set->output)
        put_kept_values(r, &body);
    if (r->set->print == PRINT_MESSAGES)
        put_message(r, l, head, &body);
    else if (r->set->print == PRINT_BODY)
        put_body(&body);
    return r->set->reply && receiver_answer(r, d, head, &body);
}

/* ---- outcomes ---- */

static void settle_with(struct receiver *r, pn_delivery_t *d, enum outcome outcome)
{
    pn_disposition_t *local = pn_delivery_local(d);
    switch (outcome) {
    case OUTCOME_ACCEPT:
        pn_delivery_update(d, PN_ACCEPTED);
        break;
    case OUTCOME_REJECT:
        pn_condition_set_name(pn_disposition_condition(local), "qdrecv:rejected");
        pn_condition_set_description(pn_disposition_condition(local), "rejected as asked by --outcome");
        pn_delivery_update(d, PN_REJECTED);
        break;
    case OUTCOME_RELEASE:
        pn_delivery_update(d, PN_RELEASED);
        break;
    case OUTCOME_MODIFY_FAILED:
    case OUTCOME_MODIFY_HERE:
        pn_disposition_set_failed(local, outcome == OUTCOME_MODIFY_FAILED);
        pn_disposition_set_undeliverable(local, outcome == OUTCOME_MODIFY_HERE);
        pn_delivery_update(d, PN_MODIFIED);
        break;
    case OUTCOME_MODIFY:
        pn_delivery_update(d, PN_MODIFIED);
        break;
    case OUTCOME_NONE:
        return; /* stays unsettled; the peer takes it back when we go */
    }
    r->settled++;
    pn_delivery_settle(d);
}

void receiver_settle(struct receiver *r, pn_delivery_t *d)
{
    if (pn_delivery_settled(d))
        pn_delivery_settle(d); /* sent so: there is nothing to say */
    else
        settle_with(r, d, r->set->outcome);
}

/* ---- output files ---- */

bool receiver_open_output(struct receiver *r, struct fault *why)
{
    const char *path = r->set->output;
    if (!path || strstr(path, "{n}"))
        return true;
    r->output = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    return r->output || fault_set(why, "cannot create %s: %s", path, strerror(errno));
}

bool receiver_close_output(struct receiver *r, struct fault *why)
{
    bool ok = true;
    if (r->output && r->output != stdout)
        ok = fclose(r->output) == 0 || fault_set(why, "cannot write %s: %s", r->set->output, strerror(errno));
    r->output = NULL;
    if (r->set->print == PRINT_COUNT)
        printf("%" PRIu64 "\n", r->received);
    if (fflush(stdout) != 0 || ferror(stdout))
        ok = fault_set(why, "cannot write to stdout: %s", strerror(errno));
    return ok;
}

bool receiver_open_own_output(struct receiver *r, struct in_link *l)
{
    const char *hit = r->set->output ? strstr(r->set->output, "{n}") : NULL;
    if (!hit)
        return true;
    char *path;
    if (asprintf(&path, "%.*s%" PRIu64 "%s", (int)(hit - r->set->output), r->set->output, r->received + 1, hit + 3) < 0)
        abort();
    FILE *f = fopen(path, "we");
    if (!f)
        conn_fail(&r->conn, "cannot create %s: %s", path, strerror(errno));
    r->output = f;
    free(r->output_path);
    r->output_path = path;
    incoming_set_content(l->in, f);
    return f != NULL;
}

void receiver_close_own_output(struct receiver *r, bool is_whole)
{
    if (!r->output_path || !r->output)
        return;
    if (fclose(r->output) != 0)
        conn_fail(&r->conn, "cannot write %s: %s", r->output_path, strerror(errno));
    r->output = NULL;
    if (!is_whole)
        remove(r->output_path);
}

void receiver_flush_outputs(struct receiver *r)
{
    if (fflush(stdout) != 0)
        conn_fail(&r->conn, "cannot write to stdout: %s", strerror(errno));
    if (r->output && r->output != stdout && fflush(r->output) != 0)
        conn_fail(&r->conn, "cannot write %s: %s", r->output_path ? r->output_path : r->set->output, strerror(errno));
}
