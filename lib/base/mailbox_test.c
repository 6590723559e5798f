#include <trunkline/base/mailbox.h>

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <trunkline/base/list.h>

#define THREADS 4
#define LETTERS 20000
#define DEADLINE_MS 20000

struct numbered {
    struct letter letter;
    int thread, number;
};
static struct numbered letters[THREADS][LETTERS];
static int next_number[THREADS], delivered;
static struct mailbox box;

static void on_numbered(struct letter *l)
{
    struct numbered *n = container_of(l, struct numbered, letter);
    assert_int_equal(n->number, next_number[n->thread]++);
    delivered++;
}

static void *post_all(void *arg)
{
    struct numbered *mine = arg;
    for (int i = 0; i < LETTERS; i++)
        mailbox_post(&box, &mine[i].letter);
    return NULL;
}

/* What a loop does: sleep only if told so. Fails the test if it sleeps although letters wait. */
static void drain_until(const int *count, int wanted)
{
    int ep = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, box.wake_fd, &ev), 0);
    while (*count < wanted) {
        if (mailbox_may_sleep(&box))
            assert_int_equal(epoll_wait(ep, &ev, 1, DEADLINE_MS), 1);
        mailbox_drain(&box);
    }
    close(ep);
}

static void test_mailbox_many_posters_all_delivered_in_order_of_each(void **state)
{
    (void)state;
    assert_int_equal(mailbox_init(&box), OK);
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < LETTERS; i++)
            letters[t][i] = (struct numbered){LETTER_INIT(on_numbered), t, i};
        pthread_create(&threads[t], NULL, post_all, letters[t]);
    }
    drain_until(&delivered, THREADS * LETTERS);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    assert_false(mailbox_drain(&box));
    assert_true(box.drained == THREADS * LETTERS);
    mailbox_fini(&box);
}

/* Several threads change something and post the same letter; whatever came before a post must be seen after it. */
static _Atomic int changed[THREADS];
static int seen[THREADS], runs, finished;
static void on_shared(struct letter *l)
{
    (void)l;
    runs++;
    finished = 0;
    for (int t = 0; t < THREADS; t++) {
        seen[t] = atomic_load_explicit(&changed[t], memory_order_relaxed);
        finished += seen[t] == LETTERS;
    }
}
static struct letter shared = LETTER_INIT(on_shared);

static void *change_and_post(void *arg)
{
    _Atomic int *mine = arg;
    for (int i = 1; i <= LETTERS; i++) {
        atomic_store_explicit(mine, i, memory_order_relaxed);
        mailbox_post(&box, &shared);
    }
    return NULL;
}

static void test_mailbox_pending_letter_posted_again_carries_the_change(void **state)
{
    (void)state;
    assert_int_equal(mailbox_init(&box), OK);
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        pthread_create(&threads[t], NULL, change_and_post, &changed[t]);
    drain_until(&finished, THREADS);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    assert_true(runs >= 1 && runs <= THREADS * LETTERS);
    mailbox_fini(&box);
}

static bool is_woken(void)
{
    struct pollfd p = {.fd = box.wake_fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void on_nothing(struct letter *l)
{
    (void)l;
}

static void test_mailbox_busy_owner_is_not_woken(void **state)
{
    (void)state;
    assert_int_equal(mailbox_init(&box), OK);
    struct letter a = LETTER_INIT(on_nothing), b = LETTER_INIT(on_nothing);
    mailbox_post(&box, &a); /* before its first turn an owner counts as asleep */
    assert_true(is_woken());
    uint64_t count;
    assert_int_equal(read(box.wake_fd, &count, sizeof count), sizeof count);
    assert_false(mailbox_may_sleep(&box));
    assert_true(mailbox_drain(&box));
    mailbox_post(&box, &a);
    assert_false(is_woken());
    assert_true(mailbox_drain(&box));
    assert_true(mailbox_may_sleep(&box));
    mailbox_post(&box, &a);
    mailbox_post(&box, &b);
    assert_int_equal(read(box.wake_fd, &count, sizeof count), sizeof count);
    assert_int_equal(count, 1);
    mailbox_drain(&box);
    mailbox_fini(&box);
}

static int reposted;
static void on_repost(struct letter *l)
{
    if (++reposted < 10)
        mailbox_post(&box, l);
}

static void test_mailbox_letter_posted_by_its_own_function_waits_for_the_next_drain(void **state)
{
    (void)state;
    assert_int_equal(mailbox_init(&box), OK);
    struct letter l = LETTER_INIT(on_repost);
    mailbox_post(&box, &l);
    for (int i = 1; i <= 10; i++) {
        assert_true(mailbox_drain(&box));
        assert_int_equal(reposted, i);
    }
    assert_false(mailbox_drain(&box));
    mailbox_fini(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mailbox_many_posters_all_delivered_in_order_of_each),
        cmocka_unit_test(test_mailbox_pending_letter_posted_again_carries_the_change),
        cmocka_unit_test(test_mailbox_busy_owner_is_not_woken),
        cmocka_unit_test(test_mailbox_letter_posted_by_its_own_function_waits_for_the_next_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
