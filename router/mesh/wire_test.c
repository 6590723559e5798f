/* Each kind of message against octets recorded from Qpid Dispatch 1.19 routers, and what must be refused. */
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

/* Sections of control messages between old routers, without frame and transfer. */
static const struct recorded {
    const char *name, *hex;
} recorded[] = {
    {"hello_alone", /* 01-interior-pair #99 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f41a30e782d6f70"
     "742d71642e7472616365c00601a103302f41005373d00000001f000000064040a114616d71703a2f5f6c6f63616c2f71"
     "6468656c6c6f404040005374d10000001300000002a1066f70636f6465a10548454c4c4f005377d1000000300000000a"
     "a1026964a10141a10270765401a10461726561a10130a108696e7374616e6365716b002306a1047365656e45"},
    {"hello_seen", /* 01-interior-pair #101 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f42a30e782d6f70"
     "742d71642e7472616365c00601a103302f42005373d00000001f000000064040a114616d71703a2f5f6c6f63616c2f71"
     "6468656c6c6f404040005374d10000001300000002a1066f70636f6465a10548454c4c4f005377d10000003b0000000a"
     "a1026964a10142a10270765401a10461726561a10130a108696e7374616e6365716b002307a1047365656ed000000007"
     "00000001a10141"},
    {"lsr", /* 01-interior-pair #104 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f41a30e782d6f70"
     "742d71642e7472616365c00601a103302f41005373d000000023000000064040a118616d71703a2f5f746f706f2f302f"
     "422f7164726f75746572404040005374d10000001100000002a1066f70636f6465a1034c5352005377d10000001a0000"
     "0006a1026964a10141a10270765401a10461726561a10130"},
    {"ra", /* 01-interior-pair #105 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f41a30e782d6f70"
     "742d71642e7472616365c00601a103302f41005373d000000025000000064040a11a616d71703a2f5f746f706f2f302f"
     "616c6c2f7164726f75746572404040005374d10000001000000002a1066f70636f6465a1025241005377d10000004100"
     "00000ca1026964a10141a10270765401a10461726561a10130a108696e7374616e6365716b002306a1066c735f736571"
     "5401a10a6d6f62696c655f7365715400"},
    {"lsu_new", /* 01-interior-pair #107 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f42a30e782d6f70"
     "742d71642e7472616365c00601a103302f42005373d000000023000000064040a118616d71703a2f5f746f706f2f302f"
     "412f7164726f75746572404040005374d10000001100000002a1066f70636f6465a1034c5355005377d10000006f0000"
     "000ca1026964a10142a10270765401a10461726561a10130a108696e7374616e6365716b002307a1066c735f73657154"
     "00a1026c73d10000003300000008a1026964a10142a10461726561a10130a1066c735f7365715400a1057065657273d1"
     "0000000900000002a101415401"},
    {"mar", /* 01b-interior-pair-address-present #116 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f42a30e782d6f70"
     "742d71642e7472616365c00601a103302f42005373d000000023000000034040a11b616d71703a2f5f746f706f2f302f"
     "412f7164726f757465722e6d61005374d10000001100000002a3066f70636f6465a1034d4152005377d1000000260000"
     "0008a3026964a10142a30270765501a30461726561a10130a308686176655f7365715500"},
    {"mau_absolute", /* 01b-interior-pair-address-present #119 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f41a30e782d6f70"
     "742d71642e7472616365c00601a103302f41005373d000000023000000034040a11b616d71703a2f5f746f706f2f302f"
     "422f7164726f757465722e6d61005374d10000001100000002a3066f70636f6465a1034d4155005377d10000005b0000"
     "000ca3026964a10141a30270765501a30461726561a10130a30a6d6f62696c655f7365715501a3056578697374d00000"
     "001500000001a10f4d30636c6f736573742f6561726c79a30568696e7473d000000006000000015402"},
    {"mau_add", /* 01b-interior-pair-address-present #164 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f42a30e782d6f70"
     "742d71642e7472616365c00601a103302f42005373d00000001f000000034040a1175f746f706f2f302f616c6c2f7164"
     "726f757465722e6d61005374d10000001100000002a3066f70636f6465a1034d4155005377d1000000680000000ea302"
     "6964a10142a30270765501a30461726561a10130a30a6d6f62696c655f7365715501a30568696e7473d0000000060000"
     "00015401a303616464d00000001600000001a1104d306d756c7469636173742f6c617465a30364656cd0000000040000"
     "0000"},
    {"mau_del", /* 02-closest-unicast #172 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f42a30e782d6f70"
     "742d71642e7472616365c00601a103302f42005373d00000001f000000034040a1175f746f706f2f302f616c6c2f7164"
     "726f757465722e6d61005374d10000001100000002a3066f70636f6465a1034d4155005377d1000000610000000ea302"
     "6964a10142a30270765501a30461726561a10130a30a6d6f62696c655f7365715502a30568696e7473d0000000040000"
     "0000a303616464d00000000400000000a30364656cd00000001100000001a10b4d30636c6f736573742f78"},
    {"mau_two", /* 08b-link-route-two-routers #127 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f42a30e782d6f70"
     "742d71642e7472616365c00601a103302f42005373d000000023000000034040a11b616d71703a2f5f746f706f2f302f"
     "412f7164726f757465722e6d61005374d10000001100000002a3066f70636f6465a1034d4155005377d1000000560000"
     "000ca3026964a10142a30270765501a30461726561a10130a30a6d6f62696c655f7365715501a3056578697374d00000"
     "000e00000002a103436c72a103446c72a30568696e7473d0000000080000000254045404"},
    {"lsu_two", /* 15a-triangle-link-cost #198 */
     "005370d0000000050000000142005372c13004a310782d6f70742d71642e696e6772657373a103302f42a30e782d6f70"
     "742d71642e7472616365c00601a103302f42005373d000000023000000064040a118616d71703a2f5f746f706f2f302f"
     "432f7164726f75746572404040005374d10000001100000002a1066f70636f6465a1034c5355005377d1000000740000"
     "000ca1026964a10142a10270765401a10461726561a10130a108696e7374616e6365716b002407a1066c735f73657154"
     "03a1026c73d10000003800000008a1026964a10142a10461726561a10130a1066c735f7365715403a1057065657273d1"
     "0000000e00000004a101415401a101435405"},
    {"ra_relayed", /* 15a-triangle-link-cost #125 */
     "005370d0000000050000000142005372c13504a310782d6f70742d71642e696e6772657373a103302f43a30e782d6f70"
     "742d71642e7472616365c00b02a103302f43a103302f42005373d000000025000000064040a11a616d71703a2f5f746f"
     "706f2f302f616c6c2f7164726f75746572404040005374d10000001000000002a1066f70636f6465a1025241005377d1"
     "000000410000000ca1026964a10143a10270765401a10461726561a10130a108696e7374616e6365716b002408a1066c"
     "735f7365715401a10a6d6f62696c655f7365715400"},
    {"mau_relayed", /* 04-line-annotations #138 */
     "005370d0000000050000000142005372c13504a310782d6f70742d71642e696e6772657373a103302f43a30e782d6f70"
     "742d71642e7472616365c00b02a103302f43a103302f42005373d00000001f000000034040a1175f746f706f2f302f61"
     "6c6c2f7164726f757465722e6d61005374d10000001100000002a3066f70636f6465a1034d4155005377d10000006500"
     "00000ea3026964a10143a30270765501a30461726561a10130a30a6d6f62696c655f7365715501a30568696e7473d000"
     "000006000000015402a303616464d00000001300000001a10d4d30636c6f736573742f666172a30364656cd000000004"
     "00000000"},
};

struct message {
    uint8_t octets[1024];
    size_t n;
    struct wire_envelope envelope;
    struct wire_message body;
};

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned octet;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &octet), 1);
        out[i] = (uint8_t)octet;
    }
    return n;
}

static void load(const char *name, struct message *m)
{
    const char *why;
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++)
        if (strcmp(recorded[i].name, name) == 0) {
            m->n = from_hex(recorded[i].hex, m->octets);
            assert_int_equal(wire_open(m->octets, m->n, &m->envelope, &why), OK);
            assert_int_equal(wire_read(m->octets, m->n, &m->envelope, &m->body, &why), OK);
            return;
        }
    fail_msg("no vector %s", name);
}

static void assert_text(struct slice s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.data, text, s.len);
}

/* What we write equals what the old router wrote. */
static void assert_writes(const char *name, const struct wire_out *m)
{
    struct message expected;
    struct octets out = {0};
    load(name, &expected);
    wire_encode(m, &out);
    assert_int_equal(out.len, expected.n);
    assert_memory_equal(out.data, expected.octets, expected.n);
    octets_fini(&out);
}

static void test_wire_hello_recorded_same_octets(void **state)
{
    (void)state;
    struct message m;
    struct slice id;
    load("hello_alone", &m);
    assert_int_equal(m.envelope.scope, WIRE_NEIGHBOUR);
    assert_int_equal(m.body.op, WIRE_HELLO);
    assert_text(m.body.id, "A");
    assert_int_equal(m.body.version, 1);
    int64_t instance = m.body.instance;
    assert_int_equal(m.body.seen.count, 0);
    assert_writes("hello_alone", &(struct wire_out){.op = WIRE_HELLO, .self = "A", .instance = instance});
    load("hello_seen", &m);
    assert_true(wire_next_text(&m.body.seen, &id));
    assert_text(id, "A");
    assert_false(wire_next_text(&m.body.seen, &id));
    const char *seen[] = {"A"};
    assert_writes(
        "hello_seen",
        &(struct wire_out){.op = WIRE_HELLO, .self = "B", .instance = m.body.instance, .seen = seen, .seen_count = 1});
}

static void test_wire_ra_recorded_same_octets(void **state)
{
    (void)state;
    struct message m;
    load("ra", &m);
    assert_int_equal(m.envelope.scope, WIRE_ALL);
    assert_int_equal(m.body.op, WIRE_RA);
    assert_int_equal(m.body.ls_seq, 1);
    assert_int_equal(m.body.mobile_seq, 0);
    assert_writes("ra", &(struct wire_out){.op = WIRE_RA, .self = "A", .instance = m.body.instance, .ls_seq = 1});
}

static void test_wire_lsr_and_lsu_recorded_same_octets(void **state)
{
    (void)state;
    struct message m;
    struct slice id;
    int64_t cost;
    load("lsr", &m);
    assert_int_equal(m.envelope.scope, WIRE_ONE_ROUTER);
    assert_text(m.envelope.target, "B");
    assert_int_equal(m.body.op, WIRE_LSR);
    assert_writes("lsr", &(struct wire_out){.op = WIRE_LSR, .self = "A", .target = "B"});
    load("lsu_two", &m);
    assert_int_equal(m.body.op, WIRE_LSU);
    assert_int_equal(m.body.ls_seq, 3);
    assert_false(m.body.has_mobile_seq);
    assert_true(wire_next_peer(&m.body.peers, &id, &cost));
    assert_text(id, "A");
    assert_int_equal(cost, 1);
    assert_true(wire_next_peer(&m.body.peers, &id, &cost));
    assert_text(id, "C");
    assert_int_equal(cost, 5);
    assert_false(wire_next_peer(&m.body.peers, &id, &cost));
    struct wire_peer peers[] = {{"A", 1}, {"C", 5}};
    struct wire_out out = {.op = WIRE_LSU,
                           .self = "B",
                           .target = "C",
                           .instance = m.body.instance,
                           .ls_seq = 3,
                           .peers = peers,
                           .peer_count = 2};
    assert_writes("lsu_two", &out);
    load("lsu_new", &m);
    out.target = "A";
    out.instance = m.body.instance;
    out.ls_seq = 0;
    out.peer_count = 1;
    assert_writes("lsu_new", &out);
}

static void test_wire_mar_recorded_same_octets(void **state)
{
    (void)state;
    struct message m;
    load("mar", &m);
    assert_int_equal(m.envelope.scope, WIRE_ONE_ROUTER);
    assert_int_equal(m.body.op, WIRE_MAR);
    assert_int_equal(m.body.have_seq, 0);
    assert_writes("mar", &(struct wire_out){.op = WIRE_MAR, .self = "B", .target = "A"});
}

static void test_wire_mau_recorded_same_octets(void **state)
{
    (void)state;
    struct message m;
    struct slice key;
    int64_t hint;
    load("mau_absolute", &m);
    assert_true(m.body.is_absolute);
    assert_int_equal(m.body.mobile_seq, 1);
    assert_true(wire_next_text(&m.body.exist, &key));
    assert_text(key, "M0closest/early");
    assert_true(wire_next_integer(&m.body.hints, &hint));
    assert_int_equal(hint, 2);
    const char *early[] = {"M0closest/early"}, *late[] = {"M0multicast/late"}, *x[] = {"M0closest/x"};
    int32_t closest[] = {2}, multicast[] = {1};
    struct wire_out out = {.op = WIRE_MAU,
                           .self = "A",
                           .target = "B",
                           .mobile_seq = 1,
                           .is_absolute = true,
                           .add = early,
                           .hints = closest,
                           .add_count = 1};
    assert_writes("mau_absolute", &out);
    out = (struct wire_out){
        .op = WIRE_MAU, .self = "B", .mobile_seq = 1, .add = late, .hints = multicast, .add_count = 1};
    assert_writes("mau_add", &out);
    out = (struct wire_out){.op = WIRE_MAU, .self = "B", .mobile_seq = 2, .del = x, .del_count = 1};
    assert_writes("mau_del", &out);
    load("mau_del", &m);
    assert_false(m.body.is_absolute);
    assert_int_equal(m.body.add.count, 0);
    assert_int_equal(m.body.del.count, 1);
    assert_int_equal(m.envelope.scope, WIRE_ALL);
    const char *routes[] = {"Clr", "Dlr"};
    int32_t link[] = {4, 4};
    out = (struct wire_out){.op = WIRE_MAU,
                            .self = "B",
                            .target = "A",
                            .mobile_seq = 1,
                            .is_absolute = true,
                            .add = routes,
                            .hints = link,
                            .add_count = 2};
    assert_writes("mau_two", &out);
}

/* The recorded relay of a message, from the message as its sender wrote it. */
static void assert_relays(const char *name, const char *relay, const struct wire_out *original)
{
    struct message expected;
    struct octets sent = {0}, relayed = {0};
    struct wire_envelope e;
    const char *why;
    load(name, &expected);
    wire_encode(original, &sent);
    assert_int_equal(wire_open(sent.data, sent.len, &e, &why), OK);
    assert_false(wire_trace_has(&e, relay));
    wire_relay(sent.data, sent.len, &e, relay, &relayed);
    assert_int_equal(relayed.len, expected.n);
    assert_memory_equal(relayed.data, expected.octets, expected.n);
    assert_true(wire_trace_has(&expected.envelope, relay));
    struct slice last;
    assert_true(wire_trace_last(&expected.envelope, &last));
    assert_text(last, relay);
    octets_fini(&sent);
    octets_fini(&relayed);
}

static void test_wire_relay_recorded_same_octets(void **state)
{
    (void)state;
    struct message m;
    load("ra_relayed", &m);
    assert_relays("ra_relayed", "B",
                  &(struct wire_out){.op = WIRE_RA, .self = "C", .instance = m.body.instance, .ls_seq = 1});
    const char *far[] = {"M0closest/far"};
    int32_t hints[] = {2};
    assert_relays(
        "mau_relayed", "B",
        &(struct wire_out){.op = WIRE_MAU, .self = "C", .mobile_seq = 1, .add = far, .hints = hints, .add_count = 1});
}

static void test_wire_relay_annotations_absent_or_foreign_kept_in_order(void **state)
{
    (void)state;
    /* header-less; annotations {:user: 1, :x-opt-qd.trace: ["0/X"], :late: 2} */
    uint8_t m[200];
    struct amqp_writer w = amqp_writer(m, sizeof m);
    amqp_write_descriptor(&w, 0x72);
    size_t map = amqp_write_map_begin(&w);
    amqp_write_symbol_of(&w, "user");
    amqp_write_int(&w, 1);
    amqp_write_symbol_of(&w, "x-opt-qd.trace");
    size_t list = amqp_write_list_begin(&w);
    amqp_write_string_of(&w, "0/X");
    amqp_write_list_end(&w, list, 1);
    amqp_write_symbol_of(&w, "late");
    amqp_write_int(&w, 2);
    amqp_write_map_end(&w, map, 6);
    amqp_write_descriptor(&w, 0x73);
    list = amqp_write_list_begin(&w);
    amqp_write_null(&w);
    amqp_write_null(&w);
    amqp_write_string_of(&w, "_topo/0/all/qdrouter");
    amqp_write_list_end(&w, list, 3);
    struct wire_envelope e, relayed;
    const char *why;
    assert_int_equal(wire_open(m, w.len, &e, &why), OK);
    assert_int_equal(e.scope, WIRE_ALL);
    struct octets out = {0};
    wire_relay(m, w.len, &e, "B", &out);
    assert_int_equal(wire_open(out.data, out.len, &relayed, &why), OK);
    assert_int_equal(relayed.user_count, 2);
    assert_text(relayed.ingress, "0/B");
    assert_int_equal(relayed.trace.count, 2);
    assert_true(wire_trace_has(&relayed, "X"));
    assert_null(memmem(out.data, out.len, "late", 4)); /* an unknown key behind a router's makes 1.19 lose the trace */
    octets_fini(&out);
}

/* ---- addresses ---- */

static enum wire_scope scope_of_text(const char *to)
{
    uint8_t m[200];
    struct amqp_writer w = amqp_writer(m, sizeof m);
    struct wire_envelope e;
    const char *why;
    amqp_write_descriptor(&w, 0x73);
    size_t list = amqp_write_list_begin(&w);
    amqp_write_null(&w);
    amqp_write_null(&w);
    amqp_write_string_of(&w, to);
    amqp_write_list_end(&w, list, 3);
    assert_int_equal(wire_open(m, w.len, &e, &why), OK);
    return e.scope;
}

static void test_wire_addresses_only_control_ones_are_ours(void **state)
{
    (void)state;
    assert_int_equal(scope_of_text("amqp:/_topo/0/x/y/qdrouter"), WIRE_ONE_ROUTER); /* an id may hold a slash */
    assert_int_equal(scope_of_text("amqp://host:1/_topo/0/all/qdrouter.ma"), WIRE_ALL);
    assert_int_equal(scope_of_text("/_local/qdhello"), WIRE_NEIGHBOUR);
    assert_int_equal(scope_of_text("_local/qdhello"), WIRE_NEIGHBOUR);
    assert_int_equal(scope_of_text("amqp:/_topo/0/B/$management"), WIRE_OTHER);
    assert_int_equal(scope_of_text("amqp:/_topo/0//qdrouter"), WIRE_OTHER);
    assert_int_equal(scope_of_text("amqp:/_topo/0/qdrouter"), WIRE_OTHER);
    assert_int_equal(scope_of_text("amqp://host"), WIRE_OTHER);
    assert_int_equal(scope_of_text("_local/qdhello2"), WIRE_OTHER);
    assert_int_equal(scope_of_text(""), WIRE_OTHER);
    assert_int_equal(scope_of_text("queue"), WIRE_OTHER);
}

/* ---- refusals ---- */

/* A message of op whose body writes `body`. */
typedef uint32_t body_fn(struct amqp_writer *w);

static enum err read_of(const char *op, body_fn *body, struct wire_message *out, const char **why)
{
    static uint8_t m[4096];
    struct amqp_writer w = amqp_writer(m, sizeof m);
    struct wire_envelope e;
    amqp_write_descriptor(&w, 0x73);
    size_t list = amqp_write_list_begin(&w);
    amqp_write_null(&w);
    amqp_write_null(&w);
    amqp_write_string_of(&w, "amqp:/_topo/0/A/qdrouter");
    amqp_write_list_end(&w, list, 3);
    amqp_write_descriptor(&w, 0x74);
    size_t map = amqp_write_map_begin(&w);
    amqp_write_symbol_of(&w, "other");
    amqp_write_null(&w);
    amqp_write_string_of(&w, "opcode");
    amqp_write_symbol_of(&w, op);
    amqp_write_map_end(&w, map, 4);
    amqp_write_descriptor(&w, 0x77);
    map = amqp_write_map_begin(&w);
    uint32_t count = body(&w);
    amqp_write_map_end(&w, map, count);
    assert_int_equal(wire_open(m, w.len, &e, why), OK);
    return wire_read(m, w.len, &e, out, why);
}

static uint32_t body_loose(struct amqp_writer *w)
{
    amqp_write_uint(w, 7); /* a key that is no text */
    amqp_write_bool(w, true);
    amqp_write_symbol_of(w, "identity"); /* not `id` */
    amqp_write_bool(w, true);
    amqp_write_symbol_of(w, "id");
    amqp_write_symbol_of(w, "X");
    amqp_write_symbol_of(w, "ls_seq");
    amqp_write_ulong(w, 300);
    amqp_write_symbol_of(w, "mobile_seq");
    amqp_write_ubyte(w, 4);
    amqp_write_symbol_of(w, "id");
    amqp_write_symbol_of(w, "second");
    return 12;
}

static void test_wire_loose_types_and_unknown_keys_accepted(void **state)
{
    (void)state;
    struct wire_message m;
    const char *why;
    assert_int_equal(read_of("RA", body_loose, &m, &why), OK);
    assert_text(m.id, "X");
    assert_int_equal(m.version, 0);
    assert_int_equal(m.ls_seq, 300);
    assert_int_equal(m.mobile_seq, 4);
    assert_int_equal(read_of("XX", body_loose, &m, &why), ERR_INVALID);
    assert_string_equal(why, "unknown opcode");
    assert_int_equal(read_of("HELLO", body_loose, &m, &why), ERR_INVALID);
    assert_string_equal(why, "field 'instance' is missing");
}

static uint32_t body_of_version_2(struct amqp_writer *w)
{
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "X");
    amqp_write_string_of(w, "pv");
    amqp_write_int(w, 2);
    amqp_write_string_of(w, "ls_seq");
    amqp_write_string_of(w, "other type");
    return 6;
}

static void test_wire_later_version_is_told_and_not_read(void **state)
{
    (void)state;
    struct wire_message m;
    const char *why;
    assert_int_equal(read_of("RA", body_of_version_2, &m, &why), OK);
    assert_int_equal(m.version, 2);
}

static uint32_t body_of_array(struct amqp_writer *w)
{
    const char *ids[] = {"A", "B", NULL};
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "X");
    amqp_write_string_of(w, "instance");
    amqp_write_int(w, 2);
    amqp_write_string_of(w, "seen");
    amqp_write_symbols(w, ids, false);
    return 6;
}

static uint32_t body_of_negative(struct amqp_writer *w)
{
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "X");
    amqp_write_string_of(w, "have_seq");
    amqp_write_long(w, -1);
    return 4;
}

static uint32_t body_of_control_character(struct amqp_writer *w)
{
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "X\n");
    return 2;
}

static uint32_t body_of_long_id(struct amqp_writer *w)
{
    char id[MESH_ID_MAX + 1];
    memset(id, 'x', sizeof id);
    amqp_write_string_of(w, "id");
    amqp_write_string(w, id, sizeof id);
    return 2;
}

static uint32_t body_exist_and_add(struct amqp_writer *w)
{
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "X");
    amqp_write_string_of(w, "mobile_seq");
    amqp_write_long(w, 1);
    amqp_write_string_of(w, "exist");
    amqp_write_octet(w, AMQP_CODE_LIST0);
    amqp_write_string_of(w, "add");
    amqp_write_octet(w, AMQP_CODE_LIST0);
    return 8;
}

static uint32_t body_add_alone(struct amqp_writer *w)
{
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "X");
    amqp_write_string_of(w, "mobile_seq");
    amqp_write_long(w, 1);
    amqp_write_string_of(w, "add");
    amqp_write_octet(w, AMQP_CODE_LIST0);
    return 6;
}

static uint32_t body_of_foreign_record(struct amqp_writer *w)
{
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "X");
    amqp_write_string_of(w, "ls");
    size_t map = amqp_write_map_begin(w);
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "Y");
    amqp_write_string_of(w, "ls_seq");
    amqp_write_int(w, 1);
    amqp_write_string_of(w, "peers");
    size_t peers = amqp_write_map_begin(w);
    amqp_write_map_end(w, peers, 0);
    amqp_write_map_end(w, map, 6);
    return 4;
}

static uint32_t body_of_text_cost(struct amqp_writer *w)
{
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "X");
    amqp_write_string_of(w, "ls");
    size_t map = amqp_write_map_begin(w);
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, "X");
    amqp_write_string_of(w, "ls_seq");
    amqp_write_int(w, 1);
    amqp_write_string_of(w, "peers");
    size_t peers = amqp_write_map_begin(w);
    amqp_write_string_of(w, "Z");
    amqp_write_string_of(w, "cheap");
    amqp_write_map_end(w, peers, 2);
    amqp_write_map_end(w, map, 6);
    return 4;
}

static void test_wire_wrong_fields_refused_with_reason(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        body_fn *body;
        const char *why;
    } cases[] = {
        {"HELLO", body_of_array, "field 'seen' is of a wrong type or out of range"},
        {"MAR", body_of_negative, "field 'have_seq' is of a wrong type or out of range"},
        {"LSR", body_of_control_character, "field 'id' is of a wrong type or out of range"},
        {"LSR", body_of_long_id, "field 'id' is of a wrong type or out of range"},
        {"MAU", body_exist_and_add, "exist together with add or del"},
        {"MAU", body_add_alone, "neither exist nor both add and del"},
        {"LSU", body_of_foreign_record, "the record is another router's than the message"},
        {"LSU", body_of_text_cost, "field 'peers' is of a wrong type or out of range"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wire_message m;
        const char *why = NULL;
        assert_int_equal(read_of(cases[i].op, cases[i].body, &m, &why), ERR_INVALID);
        assert_string_equal(why, cases[i].why);
    }
}

/* Every cut and every flipped octet of every recorded message: refused or read, never beyond the end (run with the
 * sanitizers: each copy is a block of its own). */
static void test_wire_damaged_messages_never_read_beyond_the_end(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof recorded / sizeof *recorded; v++) {
        uint8_t whole[1024];
        size_t n = from_hex(recorded[v].hex, whole);
        for (size_t at = 0; at < n; at++)
            for (int how = 0; how < 4; how++) {
                size_t len = how == 0 ? at : n;
                uint8_t *m = xmalloc(len + 1);
                memcpy(m, whole, len);
                if (how > 0)
                    m[at] ^= (uint8_t)(how == 1 ? 0xff : how == 2 ? 0x01 : 0x80);
                struct wire_envelope e;
                struct wire_message body;
                const char *why;
                if (wire_open(m, len, &e, &why) == OK && e.scope != WIRE_OTHER) {
                    struct octets out = {0};
                    wire_relay(m, len, &e, "relay", &out);
                    assert_int_equal(wire_open(out.data, out.len, &e, &why), OK);
                    octets_fini(&out);
                    assert_int_equal(wire_open(m, len, &e, &why), OK);
                    (void)wire_read(m, len, &e, &body, &why);
                }
                free(m);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_hello_recorded_same_octets),
        cmocka_unit_test(test_wire_ra_recorded_same_octets),
        cmocka_unit_test(test_wire_lsr_and_lsu_recorded_same_octets),
        cmocka_unit_test(test_wire_mar_recorded_same_octets),
        cmocka_unit_test(test_wire_mau_recorded_same_octets),
        cmocka_unit_test(test_wire_relay_recorded_same_octets),
        cmocka_unit_test(test_wire_relay_annotations_absent_or_foreign_kept_in_order),
        cmocka_unit_test(test_wire_addresses_only_control_ones_are_ours),
        cmocka_unit_test(test_wire_loose_types_and_unknown_keys_accepted),
        cmocka_unit_test(test_wire_later_version_is_told_and_not_read),
        cmocka_unit_test(test_wire_wrong_fields_refused_with_reason),
        cmocka_unit_test(test_wire_damaged_messages_never_read_beyond_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
