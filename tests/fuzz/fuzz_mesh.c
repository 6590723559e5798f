/* A script of messages to a router of the mesh, of time that passes, and of links that go and come. What must hold:
 * what can be opened can be passed on, and is then the same but for a longer trace; lists that were checked can be
 * walked; routes and addresses that the owner is told of come by turns; the limits hold.
 *
 * Input: actions of one octet each; those below 0x80 give a message on link (octet % 2), with two octets of length (big
 * endian) and the message behind them. */
#include <router/mesh/mesh.h>
#include <router/mesh/wire.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

enum { ROUTERS_MAX = 12, ADDRESSES_MAX = 20 };

static struct {
    bool is_reachable[ROUTERS_MAX];
    uint32_t addresses[ROUTERS_MAX];
    mono_ms now;
} world;

/* ---- the codec by itself ---- */

static void walk_texts(struct amqp_compound list)
{
    struct slice text;
    while (wire_next_text(&list, &text))
        ASSERT(text.len == 0 || text.data != NULL);
}

static void walk(const struct wire_message *b)
{
    struct amqp_compound peers = b->peers, hints = b->hints;
    struct slice id;
    int64_t v;
    walk_texts(b->seen);
    walk_texts(b->add);
    walk_texts(b->del);
    walk_texts(b->exist);
    while (wire_next_integer(&hints, &v))
        ;
    while (wire_next_peer(&peers, &id, &v))
        ASSERT(id.len >= 1 && id.len <= MESH_ID_MAX);
    ASSERT(b->id.len >= 1 && b->id.len <= MESH_ID_MAX);
    ASSERT(b->ls_seq >= 0 && b->mobile_seq >= 0 && b->have_seq >= 0);
}

static void try_codec(const uint8_t *m, size_t n)
{
    struct wire_envelope e, relayed;
    struct wire_message b, again;
    const char *why;
    if (wire_open(m, n, &e, &why) != OK || e.scope == WIRE_OTHER)
        return;
    enum err read = wire_read(m, n, &e, &b, &why);
    if (read == OK)
        walk(&b);
    struct octets out = {0};
    wire_relay(m, n, &e, "relay", &out);
    ASSERT(wire_open(out.data, out.len, &relayed, &why) == OK);
    ASSERT(relayed.scope == e.scope && relayed.trace.count == e.trace.count + 1);
    ASSERT(wire_trace_has(&relayed, "relay") && relayed.user_count == e.user_count);
    ASSERT(wire_read(out.data, out.len, &relayed, &again, &why) == read);
    octets_fini(&out);
}

/* ---- a router ---- */

static void on_send(struct mesh_owner *o, uint64_t link, const uint8_t *octets, size_t n)
{
    struct wire_envelope e;
    const char *why;
    (void)o;
    ASSERT(link < 2);
    ASSERT(wire_open(octets, n, &e, &why) == OK && e.scope != WIRE_OTHER && e.trace.count > 0);
}

static void on_route(struct mesh_owner *o, const struct mesh_route *r)
{
    (void)o;
    ASSERT(r->index > 0 && r->index < ROUTERS_MAX);
    ASSERT(r->is_reachable || world.is_reachable[r->index]);
    ASSERT(!r->is_reachable || (r->link_count >= 1 && r->cost >= 1));
    world.is_reachable[r->index] = r->is_reachable;
}

static void on_forgotten(struct mesh_owner *o, uint32_t index)
{
    (void)o;
    ASSERT(!world.is_reachable[index] && world.addresses[index] == 0);
}

static void on_topology(struct mesh_owner *o)
{
    (void)o;
}

static void on_mapped(struct mesh_owner *o, const char *key, uint32_t router, int hint)
{
    (void)o;
    ASSERT(strchr("MCDEFH", key[0]) && hint >= -1 && hint <= 5);
    ASSERT(world.is_reachable[router] && world.addresses[router] < ADDRESSES_MAX);
    world.addresses[router]++;
}

static void on_unmapped(struct mesh_owner *o, const char *key, uint32_t router)
{
    (void)o;
    (void)key;
    ASSERT(world.addresses[router] > 0);
    world.addresses[router]--;
}

static void link_up(struct mesh *m, uint64_t link)
{
    assert_on_control();
    struct mesh_peer peer = {
        .cost = 1 + (int32_t)link, .is_ours = link == 1, .fast_hello_interval = link == 1 ? 80 : 0};
    (void)mesh_link_up(m, link, &peer, world.now);
}

static void act(struct mesh *m, uint8_t action)
{
    assert_on_control();
    bool to[ROUTERS_MAX];
    switch (action & 7) {
    case 0:
        world.now += 80;
        break;
    case 1:
        world.now += 1000;
        break;
    case 2:
        world.now += 61000;
        break;
    case 3:
        (void)mesh_link_down(m, action >> 3 & 1, world.now);
        link_up(m, action >> 3 & 1);
        break;
    case 4:
        (void)mesh_address_added(m, "M0mine", 2, world.now);
        break;
    case 5:
        (void)mesh_address_removed(m, "M0mine", world.now);
        break;
    default:
        mesh_forwards(m, action >> 3 & 7, to, ROUTERS_MAX);
        ASSERT(mesh_most_hops(m) < ROUTERS_MAX);
    }
    ASSERT(mesh_tick(m, world.now) > world.now);
}

static struct mesh *start(struct mesh_owner *owner)
{
    assert_on_control();
    struct mesh_conf conf;
    struct mesh *m;
    memset(&world, 0, sizeof world);
    world.now = 1000;
    mesh_conf_init(&conf);
    conf.id = "A";
    conf.instance = 1795171000;
    conf.max_routers = ROUTERS_MAX;
    conf.max_addresses = ADDRESSES_MAX;
    ASSERT(mesh_new(&conf, owner, world.now, &m) == OK);
    link_up(m, 0);
    link_up(m, 1);
    return m;
}

static void run(struct mesh *m, const uint8_t *at, const uint8_t *end)
{
    assert_on_control();
    while (at < end) {
        uint8_t action = *at++;
        if (action >= 0x80) {
            act(m, action);
            continue;
        }
        if (end - at < 2)
            return;
        size_t len = (size_t)at[0] << 8 | at[1];
        at += 2;
        if (len > (size_t)(end - at))
            len = (size_t)(end - at);
        /* A block of its own, so that the sanitizer sees what is read beyond it. */
        uint8_t *message = malloc(len + 1);
        ASSERT(message);
        memcpy(message, at, len);
        message = realloc(message, len ? len : 1);
        ASSERT(message);
        try_codec(message, len);
        (void)mesh_receive(m, action % 2, message, len, world.now);
        free(message);
        at += len;
    }
}

/* Once for all inputs, and for good: the analysis knows no such thing. */
static void start_process(void) NO_THREAD_SAFETY
{
    static bool is_started;
    if (is_started)
        return;
    is_started = true;
    log_init();
    log_configure(LOG_DEFAULT, &(struct log_setting){.mask = 0, .include_timestamp = -1, .include_source = -1});
    thread_become_control();
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    start_process();
    assert_on_control();
    struct mesh_owner owner = {on_send, on_route, on_forgotten, on_topology, on_mapped, on_unmapped};
    struct mesh *m = start(&owner);
    run(m, octets, octets + n);
    mesh_free(&m);
    return 0;
}
