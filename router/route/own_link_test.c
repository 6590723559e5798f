#include <router/route/fake_engine.h>
#include <router/route/own_link.h>
#include <router/route/registry.h>

/* ---- in place of the connection and of control ---- */

static struct connection_settings settings;
static struct own_link *own;
static struct link *made;
static enum err attach_result;
static bool stopping;

struct link *connection_new_link(struct connection *c)
{
    made = new_link("own", true, NULL);
    free(made->wanted);
    made->name = made->wanted = NULL;
    assert_ptr_equal(c, &conn);
    return made;
}

void connection_drop_link(struct link *l)
{
    assert_ptr_equal(l, made);
    assert_ptr_equal(links[link_count - 1], l);
    link_slots_remove(here->slots, l);
    link_count--;
    free(l->wanted);
    free(l);
    made = NULL;
    say("dropped; ");
}

void connection_register_link(struct link *l)
{
    (void)l;
    say("registered; ");
}

bool registry_is_stopping(void)
{
    return stopping;
}

void registry_post(struct letter *l)
{
    letters[letter_count++] = l;
}

void registry_set_receiving(struct link *l, bool receives)
{
    assert_ptr_equal(l, made);
    say(receives ? "receives; " : "receives no more; ");
}

void registry_part(struct link *l)
{
    assert_ptr_equal(l, made);
    say("parts; ");
}

static struct registry_quiet *quiet; /* to be called, as the routes are published and every worker is quiet */

void registry_when_quiet(struct registry_quiet *q)
{
    assert_null(quiet);
    quiet = q;
}

static void all_are_quiet(void)
{
    struct registry_quiet *q = quiet;
    assert_non_null(q);
    quiet = NULL;
    q->fn(q->p);
}

static uint32_t unsettled; /* deliveries of an incoming link */

uint32_t amqp_link_unsettled(const struct amqp_link *lk)
{
    assert_false(lk->is_sender);
    return unsettled;
}

enum err amqp_link_attach(struct amqp_session *s, struct amqp_link *lk, const struct amqp_attach *a)
{
    assert_non_null(s);
    assert_memory_equal(a->name, "qdlink.", 7);
    assert_int_equal(strlen(a->name), 22);
    assert_int_equal(a->snd_settle_mode, 2);
    say("attach %s %s%s->%s%s%s%s%s; ", a->is_sender ? "sender" : "receiver", a->no_source ? "null" : "",
        a->source ? a->source : "", a->no_target ? "null" : "", a->target ? a->target : "",
        a->dynamic ? " dynamic" : "", a->source_capability ? " " : "",
        a->source_capability ? a->source_capability : "");
    assert_ptr_equal(a->source_capability, a->target_capability);
    lk->is_sender = a->is_sender;
    if (attach_result == OK)
        lk->session = s;
    return attach_result;
}

/* Links that were asked for a session's: what an event costs. */
static int walked;

struct amqp_link *amqp_session_next_link(const struct amqp_session *s, uint32_t *position)
{
    while (*position < (uint32_t)link_count) {
        struct link *l = links[(*position)++];
        if (l->amqp.session == s) {
            walked++;
            return &l->amqp;
        }
    }
    return NULL;
}

/* ---- the owner ---- */

static void on_attached(struct own_link_owner *o, const struct own_link_answer *a)
{
    (void)o;
    say("attached %s; ", a->address ? a->address : "-");
}

static void on_ended(struct own_link_owner *o, const struct own_link_end *e)
{
    (void)o;
    say("ended%s%s %s %s; ", e->was_attached ? "" : " unattached", e->with_session ? " with its session" : "",
        e->condition ? e->condition : "-", e->description ? e->description : "-");
}

static void on_received(struct own_link_owner *o, const uint8_t *message, size_t n)
{
    (void)o;
    say("received %.*s; ", (int)n, (const char *)message);
}

static void on_refused(struct own_link_owner *o, const struct own_link_end *e)
{
    (void)o;
    say("refused %s; ", e->condition);
}

static struct own_link_owner owner = {.attached = on_attached, .refused = on_refused, .ended = on_ended};

static void deliver_letters(void)
{
    int n = letter_count;
    struct letter *all[64];
    memcpy(all, letters, sizeof all);
    letter_count = 0;
    for (int i = 0; i < n; i++)
        all[i]->deliver(all[i]);
}

static int own_setup(void **state)
{
    setup(state);
    atomic_init(&conn.refs, 1);
    conn.settings = &settings;
    settings.role = ROLE_ROUTE_CONTAINER;
    attach_result = OK;
    stopping = false;
    there.kind = AMQP_TERMINUS_NODE;
    there.address = "there";
    letter_count = 0;
    made = NULL;
    return 0;
}

static int own_teardown(void **state) NO_THREAD_SAFETY
{
    own_link_close(&own);
    deliver_letters();
    if (made && made->own) {
        own_link_unref(made->own);
        free(made->name);
    }
    made = NULL;
    int r = teardown(state);
    /* Nobody holds the connection but the test. */
    assert_int_equal(conn.refs, 1);
    return r;
}

static void open_sender(void) NO_THREAD_SAFETY
{
    struct own_link_conf conf = {.conn = &conn, .is_sender = true, .target = "q", .key = "M0q"};
    own = own_link_open(&conf, &owner);
}

static void open_receiver(void) NO_THREAD_SAFETY
{
    struct own_link_conf conf = {
        .conn = &conn, .dynamic = true, .no_target = true, .key = "Lreplies", .capacity = 100, .capability = "cap"};
    own = own_link_open(&conf, &owner);
}

/* What control does with LINK_GONE of it. */
static void leaves(void) NO_THREAD_SAFETY
{
    made->gone = true;
    own_link_gone(made);
    own_link_left(made);
}

static void registers(void) NO_THREAD_SAFETY
{
    own_link_registered(made);
}

static void test_own_link_sender_is_attached_and_registered(void **state)
{
    (void)state;
    open_sender();
    assert_said("");
    deliver_letters();
    assert_said("begin; attach sender ->q; ");
    assert_string_equal(made->wanted, "q");
    assert_true(made->is_ours && !made->is_incoming && made->out.queue.next);
    own_link_answered(made);
    assert_said("registered; ");
    registers();
    assert_said("attached there; ");
    leaves();
    assert_said("ended - -; ");
}

/* Messages that are for whoever has opened the link. */
static void test_own_link_whose_owner_takes_messages_is_served(void **state) NO_THREAD_SAFETY
{
    (void)state;
    owner.received = on_received;
    open_receiver();
    owner.received = NULL;
    deliver_letters();
    own_link_answered(made);
    registers();
    assert_true(made->is_served);
    made->answered = true;
    incoming_start(made);
    said[0] = 0;
    comes(made, "hi", true, true, false, false);
    assert_said("request #0 of 7 octets to its owner; ");
    owner.received = on_received;
    own_link_take(own, (const uint8_t *)"hi", 2);
    assert_said("received hi; ");
    owner.received = NULL;
    /* Its credit waits until control has served it. */
    struct answer served = {.link = made->token, .flags = ORIGIN_SETTLED, .done = true};
    incoming_answer(made, &served);
    assert_said("replies: credit +1; ");
}

static void test_own_link_receiver_is_told_the_address_that_the_peer_made(void **state)
{
    (void)state;
    open_receiver();
    deliver_letters();
    assert_said("begin; attach receiver ->null dynamic cap; ");
    assert_true(made->is_incoming);
    assert_int_equal(made->capacity, 100);
    own_link_answered(made);
    registers();
    assert_said("registered; attached there; ");
}

static void test_own_link_edge_begins_the_session_of_its_services_at_once(void **state) NO_THREAD_SAFETY
{
    (void)state;
    settings.role = ROLE_EDGE;
    conn.connector = (struct connector *)&conn; /* only looked at whether it is there */
    open_sender();
    deliver_letters();
    assert_said("begin; begin; attach sender ->q; ");
    assert_non_null(conn.own_sessions[OWN_SESSION_SERVICES]);
    own_link_session_gone(&conn, conn.own_sessions[OWN_SESSION_MESSAGES]);
    assert_null(conn.own_sessions[OWN_SESSION_MESSAGES]);
}

static void test_own_link_refused_ends_with_the_peers_error(void **state)
{
    (void)state;
    open_sender();
    deliver_letters();
    said[0] = 0;
    there.kind = AMQP_TERMINUS_NULL;
    there.address = NULL;
    own_link_answered(made);
    assert_said("");
    struct amqp_error e = {.condition = "amqp:not-found", .description = "no such queue"};
    own_link_detached(made, &e);
    leaves();
    assert_said("ended unattached amqp:not-found no such queue; ");
    pass_time(OWN_LINK_REFUSAL_MS);
    assert_said("");
}

static void refuse_without_detach(void)
{
    open_sender();
    deliver_letters();
    there.kind = AMQP_TERMINUS_NULL;
    there.address = NULL;
    own_link_answered(made);
    said[0] = 0;
    pass_time(OWN_LINK_REFUSAL_MS);
    assert_said("q: detach; ");
}

static void test_own_link_refused_and_not_detached_is_detached_by_us(void **state)
{
    (void)state;
    refuse_without_detach();
    deliver_letters();
    assert_said("refused amqp:illegal-state; ");
    leaves();
    assert_said("ended unattached amqp:illegal-state the link was refused without an error, and not detached; ");
}

static void test_own_link_refused_late_with_an_error_ends_with_that(void **state)
{
    (void)state;
    refuse_without_detach();
    struct amqp_error e = {.condition = "amqp:not-found", .description = "no such queue"};
    own_link_detached(made, &e);
    deliver_letters();
    leaves();
    assert_said("refused amqp:illegal-state; ended unattached amqp:not-found no such queue; ");
}

static void test_own_link_refused_and_closed_tells_nothing_more(void **state) NO_THREAD_SAFETY
{
    (void)state;
    refuse_without_detach();
    own_link_close(&own);
    deliver_letters();
    leaves();
    assert_said("q: detach; ");
}

static void test_own_link_answer_without_an_address_is_detached(void **state)
{
    (void)state;
    open_sender();
    deliver_letters();
    said[0] = 0;
    there.address = NULL;
    own_link_answered(made);
    assert_said("q: detach; ");
    leaves();
    assert_said("ended unattached amqp:invalid-field the answer to the attach has no address; ");
}

static void test_own_link_ends_with_its_session_and_other_links_are_not_looked_at(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct amqp_session *other;
    open_sender();
    deliver_letters();
    registers();
    struct link *of_other = new_link("other", true, NULL), *not_own = new_link("client", true, NULL);
    amqp_session_begin(&conn.amqp, &other);
    of_other->amqp.session = other;
    not_own->amqp.session = made->amqp.session;
    said[0] = 0;
    walked = 0;
    own_link_session_ended(made->amqp.session, &(struct amqp_error){.condition = "x:y", .description = "z"});
    assert_int_equal(walked, 2);
    leaves();
    assert_said("ended with its session x:y z; ");
}

static void test_own_link_of_a_connection_that_has_ended_ends(void **state)
{
    (void)state;
    open_sender();
    conn.ended = true;
    deliver_letters();
    assert_said("");
    deliver_letters();
    assert_said("ended unattached - -; ");
}

static void test_own_link_that_the_peer_has_no_room_for_ends(void **state)
{
    (void)state;
    attach_result = ERR_LIMIT;
    open_sender();
    deliver_letters();
    assert_said("begin; attach sender ->q; dropped; ");
    deliver_letters();
    assert_said("ended unattached amqp:resource-limit-exceeded the peer allows no more sessions or links; ");
}

static void test_own_link_closed_before_its_letter_is_never_attached(void **state) NO_THREAD_SAFETY
{
    (void)state;
    open_sender();
    own_link_close(&own);
    deliver_letters();
    assert_said("");
    assert_null(made);
    assert_int_equal(conn.refs, 1);
}

static void test_own_link_closed_while_attaching_is_detached_and_nothing_told(void **state) NO_THREAD_SAFETY
{
    (void)state;
    open_sender();
    deliver_letters();
    said[0] = 0;
    struct own_link *record = own;
    own_link_close(&own);
    deliver_letters();
    assert_said("q: detach; ");
    assert_false(own_link_is_wanted(record));
    own_link_answered(made);
    leaves();
    assert_said("registered; ");
}

static void test_own_link_closed_after_it_has_gone_touches_nothing(void **state) NO_THREAD_SAFETY
{
    (void)state;
    open_sender();
    deliver_letters();
    own_link_answered(made);
    registers();
    leaves();
    said[0] = 0;
    own_link_close(&own);
    deliver_letters();
    assert_said("");
}

static void test_own_link_bind_is_told_once_it_is_attached(void **state) NO_THREAD_SAFETY
{
    (void)state;
    open_sender();
    assert_true(own_link_is_bound(own));
    own_link_bind(own, false);
    own_link_bind(own, true);
    deliver_letters();
    own_link_answered(made);
    registers();
    said[0] = 0;
    own_link_bind(own, true);
    own_link_bind(own, false);
    own_link_bind(own, false);
    assert_said("receives no more; ");
    own_link_bind(own, true);
    own_link_close(&own);
    assert_said("receives; parts; ");
}

static void test_own_link_sends_when_it_is_attached(void **state) NO_THREAD_SAFETY
{
    (void)state;
    const uint8_t message[] = {'h', 'i'};
    open_sender();
    assert_false(own_link_send(own, message, sizeof message, true));
    deliver_letters();
    own_link_answered(made);
    registers();
    said[0] = 0;
    made->amqp.credit = 1;
    assert_true(own_link_send(own, message, sizeof message, true));
    assert_said("q: hi settled; ");
    assert_int_equal(own_link_outstanding(own), 0);
    assert_true(own_link_send(own, message, sizeof message, false));
    assert_int_equal(own_link_outstanding(own), 1);
    assert_said("");
}

static void test_own_link_in_a_router_that_stops_does_nothing(void **state)
{
    (void)state;
    stopping = true;
    open_sender();
    assert_int_equal(letter_count, 0);
    deliver_letters();
    assert_said("");
}

/* ---- those that finish what they carry ---- */

static void open_finished(bool is_sender) NO_THREAD_SAFETY
{
    struct own_link_conf conf = {.conn = &conn,
                                 .is_sender = is_sender,
                                 .source = is_sender ? NULL : "q",
                                 .target = is_sender ? "q" : NULL,
                                 .key = "M0q",
                                 .is_finished = true};
    own = own_link_open(&conf, &owner);
    deliver_letters();
    own_link_answered(made);
    registers();
    made->answered = true;
    unsettled = 0;
    said[0] = 0;
}

static void close_finished(void) NO_THREAD_SAFETY
{
    own_link_close(&own);
    assert_said("parts; ");
    deliver_letters();
    assert_said(""); /* others may still send to it */
    all_are_quiet();
    deliver_letters();
}

static void test_own_link_without_anything_left_is_detached_when_all_are_quiet(void **state)
{
    (void)state;
    open_finished(true);
    close_finished();
    assert_said("q: detach; ");
    leaves();
}

static void test_own_link_receiver_is_detached_when_all_is_settled(void **state)
{
    (void)state;
    open_finished(false);
    unsettled = 2;
    close_finished();
    assert_said("q: credit is 0; ");
    assert_true(made->is_finishing);
    unsettled = 1;
    own_link_goes_on(made);
    assert_said("");
    unsettled = 0;
    own_link_goes_on(made);
    own_link_goes_on(made);
    assert_said("q: detach; ");
    pass_time(OWN_LINK_FINISH_MS);
    assert_said("");
    leaves();
}

static void test_own_link_sender_is_detached_when_all_is_sent_and_settled(void **state)
{
    (void)state;
    open_finished(true);
    made->out.queued = 1;
    close_finished();
    assert_said("");
    made->out.queued = 0;
    made->out.unsettled = 1;
    own_link_goes_on(made);
    assert_said("");
    made->out.unsettled = 0;
    own_link_goes_on(made);
    assert_said("q: detach; ");
    leaves();
}

static void test_own_link_that_does_not_go_on_is_detached(void **state)
{
    (void)state;
    open_finished(true);
    made->out.queued = 3;
    close_finished();
    made->out.queued = 2;
    pass_time(OWN_LINK_FINISH_MS);
    assert_said("");
    pass_time(OWN_LINK_FINISH_MS);
    assert_said("q: detach; ");
    made->out.queued = 0;
    leaves();
}

static void test_own_link_that_finishes_when_its_connection_ends_touches_nothing(void **state)
{
    (void)state;
    open_finished(false);
    unsettled = 2;
    close_finished();
    said[0] = 0;
    leaves();
    pass_time(OWN_LINK_FINISH_MS);
    assert_said("");
}

static void test_own_link_that_waits_for_quiet_in_a_router_that_stops_is_let_go(void **state) NO_THREAD_SAFETY
{
    (void)state;
    open_finished(true);
    own_link_close(&own);
    stopping = true;
    all_are_quiet();
    deliver_letters();
    assert_said("parts; ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, own_setup, own_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_own_link_sender_is_attached_and_registered),
        TEST(test_own_link_whose_owner_takes_messages_is_served),
        TEST(test_own_link_receiver_is_told_the_address_that_the_peer_made),
        TEST(test_own_link_edge_begins_the_session_of_its_services_at_once),
        TEST(test_own_link_refused_ends_with_the_peers_error),
        TEST(test_own_link_refused_and_not_detached_is_detached_by_us),
        TEST(test_own_link_refused_late_with_an_error_ends_with_that),
        TEST(test_own_link_refused_and_closed_tells_nothing_more),
        TEST(test_own_link_answer_without_an_address_is_detached),
        TEST(test_own_link_ends_with_its_session_and_other_links_are_not_looked_at),
        TEST(test_own_link_of_a_connection_that_has_ended_ends),
        TEST(test_own_link_that_the_peer_has_no_room_for_ends),
        TEST(test_own_link_closed_before_its_letter_is_never_attached),
        TEST(test_own_link_closed_while_attaching_is_detached_and_nothing_told),
        TEST(test_own_link_closed_after_it_has_gone_touches_nothing),
        TEST(test_own_link_bind_is_told_once_it_is_attached),
        TEST(test_own_link_sends_when_it_is_attached),
        TEST(test_own_link_in_a_router_that_stops_does_nothing),
        TEST(test_own_link_without_anything_left_is_detached_when_all_are_quiet),
        TEST(test_own_link_receiver_is_detached_when_all_is_settled),
        TEST(test_own_link_sender_is_detached_when_all_is_sent_and_settled),
        TEST(test_own_link_that_does_not_go_on_is_detached),
        TEST(test_own_link_that_finishes_when_its_connection_ends_touches_nothing),
        TEST(test_own_link_that_waits_for_quiet_in_a_router_that_stops_is_let_go),
    };
    atomic_init(&settings.refs, 1);
    return cmocka_run_group_tests(tests, play_control, NULL);
}
