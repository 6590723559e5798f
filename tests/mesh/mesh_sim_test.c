/* Meshes in simulation. Without options: all parts but the large one, some seeds each.
 *
 *   mesh_sim_test [--ours] [--mixed] [--scale] [--large] [--seeds FIRST-LAST] [--log]
 *
 *   - ours: random topologies of 2 to 16 routers of ours; links cut, silent, losing messages; routers frozen, killed,
 *     started again; addresses that come and go. world.h says what is checked at every step. Then the faults end (what
 *     is cut stays cut) and within seconds all must be right and quiet; where messages were lost, with the next RA.
 *   - mixed: the same with old routers among them, and with their time to settle.
 *   - scale: 200 routers, all started at once; links cut, a link silent, a router killed. Each time it is measured how
 *     long it takes until all know; five seconds of their time are the limit, and thirty for the start.
 *   - large: the same with 1000 routers. It takes 700 MB and a minute or two.
 *
 * A long run:  mesh_sim_test --ours --mixed --seeds 1-20000
 *
 * One seed again, with the routers' own log:  mesh_sim_test --ours --seeds 17-17 --log
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/lock.h>
#include <trunkline/base/log.h>

enum { RA_INTERVAL = 30000 }; /* ms, of a router of ours, by mesh_conf_init() */

struct plan {
    enum node_kind (*kind)(struct world *w);
    uint32_t most_nodes;
    mono_ms faults, settle, quiet; /* ms */
};

static enum node_kind all_ours(struct world *w)
{
    (void)w;
    return NODE_OURS;
}

static enum node_kind half_old(struct world *w)
{
    return world_random(w, 2) ? NODE_OLD : NODE_OURS;
}

static void build(struct world *w, uint32_t n, enum node_kind (*kind)(struct world *w), uint32_t extra)
{
    for (uint32_t i = 0; i < n; i++) {
        world_add(w, kind(w));
        if (i)
            world_connect(w, i, world_random(w, i), 1 + (int32_t)world_random(w, 3));
        if (world_random(w, 2))
            world_attach(w, i, world_random(w, 64));
    }
    /* Two links between one pair are for ours only: old routers do not bear them. */
    for (uint32_t i = 0; i < extra && n > 2; i++) {
        uint32_t a = world_random(w, n), b = world_random(w, n);
        if (a != b && (!world_is_mixed(w) || !world_is_joined(w, a, b)))
            world_connect(w, a, b, 1 + (int32_t)world_random(w, 3));
    }
}

/* An old router takes a record or an update of an earlier life that arrives late for one of the present: neither says
 * which life it is of, as the old router reads it, and nothing that others do could mend that. So where there are old
 * routers, what is under way arrives before a router is killed. */
static void let_arrive(struct world *w)
{
    for (uint32_t i = 0; i < world_nodes(w) && world_is_mixed(w); i++)
        world_thaw(w, i);
    if (world_is_mixed(w))
        world_run(w, world_now(w) + 600);
}

static void fault(struct world *w)
{
    uint32_t link = world_random(w, world_links(w)), node = world_random(w, world_nodes(w));
    switch (world_random(w, 12)) {
    case 0:
    case 1:
        world_cut(w, link);
        break;
    case 2:
    case 3:
    case 4:
        world_heal(w, link);
        break;
    case 5:
        world_silence(w, link);
        break;
    case 6:
        world_freeze(w, node);
        break;
    case 7:
        world_thaw(w, node);
        break;
    case 8:
        let_arrive(w);
        world_kill(w, node);
        if (world_random(w, 2))
            world_start(w, node); /* at once: perhaps within the second of its last start */
        break;
    case 9:
        world_start(w, node);
        break;
    case 10:
        if (world_is_alive(w, node))
            world_attach(w, node, world_random(w, 64));
        break;
    default:
        if (world_is_alive(w, node))
            world_detach(w, node, world_random(w, 64));
    }
}

/* What is silent or frozen would not stay so for ever. */
static void end_faults(struct world *w)
{
    world_set_loss(w, 0);
    for (uint32_t i = 0; i < world_nodes(w); i++)
        world_thaw(w, i);
    for (uint32_t i = 0; i < world_links(w); i++)
        if (world_random(w, 2))
            world_heal(w, i);
        else if (!world_is_open(w, i))
            world_cut(w, i);
}

/* Nothing is said but HELLO and now and then an RA. */
static void check_quiet(struct world *w, mono_ms time)
{
    static const enum wire_op quiet[] = {WIRE_LSU, WIRE_LSR, WIRE_MAU, WIRE_MAR};
    uint64_t before[4];
    for (int i = 0; i < 4; i++)
        before[i] = world_sent(w, quiet[i]);
    world_run(w, world_now(w) + time);
    for (int i = 0; i < 4; i++)
        if (world_sent(w, quiet[i]) != before[i])
            world_fail(w, "not quiet: %lu more %s", world_sent(w, quiet[i]) - before[i], wire_op_name(quiet[i]));
}

/* When all must be right. Links that are up lose nothing in life; where they did, all that told of a change may have been
 * lost, each RA that followed it soon too, and the next is a whole interval away. */
static mono_ms settled(const struct world *w, const struct plan *plan)
{
    mono_ms usual = world_now(w) + plan->settle, told_again = world_last_loss(w) + RA_INTERVAL + 4000;
    return world_last_loss(w) && told_again > usual ? told_again : usual;
}

static void run_seed(unsigned seed, const struct plan *plan)
{
    struct world *w = world_new(seed);
    uint32_t n = 2 + world_random(w, plan->most_nodes - 1);
    world_set_delay(w, 1 + world_random(w, world_random(w, 4) ? 8 : 60));
    build(w, n, plan->kind, world_random(w, n + 2));
    mono_ms end = world_now(w) + plan->faults;
    while (world_now(w) < end) {
        world_run(w, world_now(w) + 1 + world_random(w, world_random(w, 2) ? 100 : 2000));
        if (world_random(w, 10) == 0)
            world_set_loss(w, world_random(w, 2) ? 0 : world_random(w, 200));
        fault(w);
    }
    end_faults(w);
    world_run(w, settled(w, plan));
    world_check_converged(w);
    check_quiet(w, plan->quiet);
    world_check_converged(w);
    world_free(&w);
}

/* ---- scale ---- */

static struct world *start_large(unsigned seed, uint32_t n, uint32_t extra)
{
    struct world *w = world_new(seed);
    for (uint32_t i = 0; i < n; i++) {
        world_add(w, NODE_OURS);
        if (i)
            world_connect(w, i, world_random(w, i), 1);
        if (i % 10 == 0)
            world_attach(w, i, i / 10 % 64);
    }
    for (uint32_t i = 0; i < extra; i++) {
        uint32_t a = world_random(w, n), b = world_random(w, n);
        if (a != b && !world_is_joined(w, a, b))
            world_connect(w, a, b, 1 + (int32_t)world_random(w, 3));
    }
    return w;
}

static void agree(struct world *w, mono_ms limit, const char *what)
{
    mono_ms begin = world_now(w), cpu = clock_mono_ms();
    uint64_t sent = world_sent_all(w);
    mono_ms when = world_run_until_agreed(w, begin + limit);
    if (when < 0)
        world_fail(w, "%u routers do not agree within %ld ms after %s", world_nodes(w), (long)limit, what);
    printf("%u routers, %u links: %s: all agree after %ld ms of their time; %lu messages, %ld ms of ours\n",
           world_nodes(w), world_links(w), what, (long)(when - begin), world_sent_all(w) - sent,
           (long)(clock_mono_ms() - cpu));
    fflush(stdout);
}

static void run_large(uint32_t n, uint32_t extra)
{
    struct world *w = start_large(n, n, extra);
    agree(w, 30000, "start");
    world_run(w, world_now(w) + 2000);
    world_check_converged(w);
    for (uint32_t i = 0; i < 3; i++) {
        world_cut(w, world_random(w, world_links(w)));
        agree(w, 5000, "a cut");
    }
    world_silence(w, world_random(w, world_links(w)));
    agree(w, 5000, "a link gone silent");
    world_kill(w, world_random(w, n));
    agree(w, 5000, "a router killed");
    world_run(w, world_now(w) + 1000);
    world_check_converged(w);
    world_free(&w);
}

/* ---- what was asked for ---- */

struct options {
    bool ours, mixed, scale, large;
    unsigned first, last;
};

static int usage(const char *program)
{
    fprintf(stderr, "usage: %s [--ours] [--mixed] [--scale] [--large] [--seeds FIRST-LAST] [--log]\n", program);
    return 2;
}

static void run_seeds(const struct options *o, const struct plan *plan, const char *name, unsigned usual)
{
    unsigned first = o->last ? o->first : 1, last = o->last ? o->last : usual;
    mono_ms begin = clock_mono_ms();
    for (unsigned seed = first; seed <= last; seed++) {
        run_seed(seed, plan);
        if (seed % 1000 == 0)
            fprintf(stderr, "%s: seed %u\n", name, seed);
    }
    printf("%s: seeds %u to %u in %.1f s\n", name, first, last, (double)(clock_mono_ms() - begin) / 1000);
}

static void run(const struct options *o)
{
    static const struct plan ours = {all_ours, 16, 25000, 12000, 3000};
    static const struct plan mixed = {half_old, 9, 40000, 80000, 5000};
    if (o->ours)
        run_seeds(o, &ours, "ours", 300);
    if (o->mixed)
        run_seeds(o, &mixed, "mixed", 200);
    if (o->scale)
        run_large(200, 200);
    if (o->large)
        run_large(1000, 500);
}

int main(int argc, char **argv)
{
    struct options o = {0};
    log_init();
    log_configure(LOG_DEFAULT, &(struct log_setting){.mask = 0, .include_timestamp = -1, .include_source = -1});
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--ours") == 0)
            o.ours = true;
        else if (strcmp(argv[i], "--mixed") == 0)
            o.mixed = true;
        else if (strcmp(argv[i], "--scale") == 0)
            o.scale = true;
        else if (strcmp(argv[i], "--large") == 0)
            o.large = true;
        else if (strcmp(argv[i], "--log") == 0)
            log_configure(LOG_DEFAULT,
                          &(struct log_setting){.mask = 0x7f, .include_timestamp = 0, .include_source = 0});
        else if (strcmp(argv[i], "--seeds") != 0 || ++i == argc || sscanf(argv[i], "%u-%u", &o.first, &o.last) != 2)
            return usage(argv[0]);
    }
    if (!o.ours && !o.mixed && !o.scale && !o.large)
        o.ours = o.mixed = o.scale = true;
    thread_become_control();
    run(&o);
    thread_leave_control();
    log_fini();
    return 0;
}
