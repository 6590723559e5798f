#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/forward.h>
#include <router/route/here.h>
#include <router/route/own_link.h>
#include <router/route/registry.h>
#include <router/route/request.h>

/* ---- in place of control's loop, and of what answers ---- */

static struct route_here control = {.worker = WORKER_NONE};
_Thread_local struct route_here *here = &control;
const struct amqp_state state_none = {.code = AMQP_STATE_NONE}, state_accepted = {.code = AMQP_ACCEPTED},
                        state_released = {.code = AMQP_RELEASED};

static char said[1024];
#define say(...) snprintf(said + strlen(said), sizeof said - strlen(said), __VA_ARGS__)
#define assert_said(text)                                                                                              \
    do {                                                                                                               \
        assert_string_equal(said, text);                                                                               \
        said[0] = 0;                                                                                                   \
    } while (0)

void registry_post(struct letter *l)
{
    l->deliver(l);
}

void here_answer(const struct origin *o, uint32_t frames, bool done, const struct amqp_state *state)
{
    assert_int_equal(frames, 0);
    assert_true(done);
    say("%u/%u %s; ", o->link.index, o->delivery_id,
        state->code == AMQP_ACCEPTED   ? "accepted"
        : state->code == AMQP_RELEASED ? "released"
                                       : "settled");
}

static struct link_token sent_to;
static bool somebody = true;

void here_deliver(struct link_token to, const struct frame *f)
{
    sent_to = to;
    say("sent %.*s to '%.*s' %d; ", (int)f->payload.len, (const char *)f->payload.data, (int)f->to.len,
        f->to.len ? (const char *)f->to.data : "", f->phase);
}

static struct address *named;
static struct named_address name_for_others;

struct address *forward_find_named(struct slice text, enum refusal *why)
{
    (void)text;
    *why = REFUSAL_RELEASED;
    return named;
}

struct named_address forward_name_of(const struct address *a)
{
    assert_ptr_equal(a, named);
    return name_for_others;
}

bool forward_choose(struct address *a, const struct routes *r, const struct passage *p, uint32_t *round_robin,
                    struct link_token *to)
{
    (void)r;
    (void)p;
    (void)round_robin;
    assert_non_null(a);
    *to = (struct link_token){.index = 9};
    return somebody;
}

void own_link_ref(struct own_link *o)
{
    (void)o;
    say("ref; ");
}

void own_link_unref(struct own_link *o)
{
    (void)o;
    say("unref; ");
}

void own_link_take(struct own_link *o, const uint8_t *message, size_t n)
{
    (void)o;
    say("own takes %.*s; ", (int)n, (const char *)message);
}

/* ---- a server that keeps what it gets ---- */

static bool keeps;
static struct list waiting = LIST_INIT(waiting);
static int refused;

static void server(const uint8_t *message, size_t n, uint64_t connection_id, const char *key) NO_THREAD_SAFETY
{
    if (!keeps) {
        say("%s %.*s of %d; ", key ? key : "router", (int)n, (const char *)message, (int)connection_id);
    } else if (request_may_keep()) {
        list_append(&waiting, &request_keep()->node);
    } else {
        request_refuse();
        refused++;
    }
}

static void post(uint32_t link, uint32_t generation, uint32_t delivery, bool settled)
{
    struct origin o = {.link = {.index = link, .generation = generation, .worker = 1},
                       .delivery_id = delivery,
                       .flags = settled ? ORIGIN_SETTLED : 0};
    request_post(&o, 7, "M0$management", (const uint8_t *)"hi", 2);
}

static void left(uint32_t link, uint32_t generation) NO_THREAD_SAFETY
{
    request_link_left((struct link_token){.index = link, .generation = generation, .worker = 1});
}

static int count_waiting(void)
{
    int n = 0;
    list_for_each(i, &waiting) n++;
    return n;
}

static void serve_first(void) NO_THREAD_SAFETY
{
    struct request *r = list_entry(list_take_first(&waiting), struct request, node);
    request_done(&r);
    assert_null(r);
}

static int setup(void **state) NO_THREAD_SAFETY
{
    (void)state;
    keeps = false;
    refused = 0;
    said[0] = 0;
    request_serve(server);
    request_serve_routers(server);
    return 0;
}

static int teardown(void **state) NO_THREAD_SAFETY
{
    (void)state;
    while (!list_is_empty(&waiting)) {
        struct request *r = list_entry(list_take_first(&waiting), struct request, node);
        request_drop(&r);
    }
    control.ending = false;
    return 0;
}

static void test_request_is_served_and_accepted(void **state)
{
    (void)state;
    post(1, 1, 10, false);
    post(1, 1, 11, true);
    assert_said("M0$management hi of 7; 1/10 accepted; M0$management hi of 7; 1/11 settled; ");
    request_post(&(struct origin){.link.index = 2}, 8, NULL, (const uint8_t *)"ra", 2);
    assert_said("router ra of 8; 2/0 accepted; ");
}

static void test_request_on_a_link_of_ours_is_for_its_owner(void **state)
{
    (void)state;
    static int own;
    request_post_own(&(struct origin){.link.index = 3}, (struct own_link *)&own, (const uint8_t *)"hi", 2);
    assert_said("ref; own takes hi; 3/0 accepted; unref; ");
}

static void test_request_in_a_router_that_stops_is_dropped(void **state)
{
    (void)state;
    control.ending = true;
    post(1, 1, 1, false);
    assert_said("");
}

static void test_request_that_is_kept_is_accepted_when_it_is_done(void **state)
{
    (void)state;
    keeps = true;
    post(1, 1, 10, false);
    post(1, 1, 11, false);
    assert_said("");
    serve_first();
    assert_said("1/10 accepted; ");
}

static void test_request_that_is_kept_goes_with_its_link_alone(void **state)
{
    (void)state;
    keeps = true;
    for (uint32_t i = 0; i < 3; i++) {
        post(1, 1, i, false);
        post(1, 2, 10 + i, false); /* the slot has been given anew */
        post(2, 1, 20 + i, true);
    }
    left(1, 1);
    assert_int_equal(count_waiting(), 6);
    left(5, 1);
    left(1, 1);
    left(2, 1);
    assert_int_equal(count_waiting(), 3);
    assert_said("");
    serve_first();
    assert_said("1/10 accepted; ");
    left(1, 2);
    assert_int_equal(count_waiting(), 0);
}

static void post_large(uint32_t link, size_t size)
{
    uint8_t *m = calloc(1, size);
    request_post(&(struct origin){.link = {.index = link, .generation = 1, .worker = 1}}, 7, "M0$management", m, size);
    free(m);
}

static void test_request_beyond_what_may_be_kept_is_released(void **state)
{
    (void)state;
    enum { LARGE = 1 << 20, MOST = REQUESTS_KEPT_OCTETS / LARGE };
    keeps = true;
    for (int i = 0; i < MOST; i++)
        post_large(1, LARGE);
    assert_int_equal(refused, 0);
    post(2, 1, 1, false);
    post(2, 1, 2, true);
    assert_int_equal(refused, 2);
    assert_said("2/1 released; 2/2 settled; ");
    serve_first();
    post(2, 1, 3, false);
    assert_int_equal(refused, 2);
    assert_int_equal(count_waiting(), MOST);
}

static void test_request_clients_that_come_and_go_leave_nothing(void **state)
{
    (void)state;
    keeps = true;
    for (uint32_t i = 0; i < 1000; i++) {
        for (int k = 0; k < 3; k++)
            post_large(i % 5, 1 << 18);
        left(i % 5, 1);
        assert_int_equal(count_waiting(), 0);
    }
    assert_int_equal(refused, 0);
}

static void test_request_answers_go_to_whom_they_name_or_up(void **state) NO_THREAD_SAFETY
{
    (void)state;
    static struct route_world world;
    struct address *up = calloc(1, sizeof *up);
    world.uplink = NULL;
    control.world = &world;
    assert_false(request_answer("x", (const uint8_t *)"hi", 2));
    world.uplink = up;
    assert_true(request_answer("x", (const uint8_t *)"hi", 2));
    assert_int_equal(sent_to.index, 9);
    assert_said("sent hi to '' 0; ");
    somebody = false;
    assert_false(request_answer("x", (const uint8_t *)"hi", 2));
    somebody = true;
    free(up);
}

/* Its words lead to phase 0. */
static void test_request_answers_tell_routers_of_another_phase(void **state) NO_THREAD_SAFETY
{
    (void)state;
    named = calloc(1, sizeof *named);
    assert_true(request_answer("amqp:/x", (const uint8_t *)"hi", 2));
    assert_said("sent hi to '' 0; ");
    name_for_others = (struct named_address){.text = {.data = (const uint8_t *)"x", .len = 1}, .phase = 2};
    assert_true(request_answer("amqp:/x", (const uint8_t *)"hi", 2));
    assert_said("sent hi to 'x' 2; ");
    name_for_others = (struct named_address){0};
    free(named);
    named = NULL;
}

static int play_control(void **state) NO_THREAD_SAFETY
{
    (void)state;
    thread_become_control();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request_is_served_and_accepted),
        TEST(test_request_on_a_link_of_ours_is_for_its_owner),
        TEST(test_request_in_a_router_that_stops_is_dropped),
        TEST(test_request_that_is_kept_is_accepted_when_it_is_done),
        TEST(test_request_that_is_kept_goes_with_its_link_alone),
        TEST(test_request_beyond_what_may_be_kept_is_released),
        TEST(test_request_clients_that_come_and_go_leave_nothing),
        TEST(test_request_answers_go_to_whom_they_name_or_up),
        TEST(test_request_answers_tell_routers_of_another_phase),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
