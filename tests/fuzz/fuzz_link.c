/* The connection engine behind a valid opening: the input is a script of what the peer sends (frames with fields that
 * are mostly as they should be, each a little or wholly wrong when the script says so) and of what the owner does in
 * between. So the states deep inside are reached: sessions, links, credit, deliveries in pieces, dispositions, detach
 * and end in every order.
 *
 * Script: the head (who we are), then steps of one octet and its arguments. */
#include "conn_owner.h"

#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/performative.h>
#include <trunkline/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

#define CHANNELS 4
#define STEPS 300
static const uint8_t PAYLOAD[1000];

/* What the peer knows: enough to be mostly right. */
struct peer {
    struct owner owner;
    struct dice d;
    size_t piece;
    struct {
        uint32_t next_delivery, next_transfer;
        bool more[8]; /* by handle: a delivery is under way */
    } channel[CHANNELS];
    uint8_t memory[2048];
    struct amqp_writer w;
    size_t mark;
};

static void frame_begin(struct peer *p, uint8_t type, uint16_t channel)
{
    p->w = amqp_writer(p->memory, sizeof p->memory);
    p->mark = amqp_write_frame_begin(&p->w, type, channel);
}

static void frame_send(struct peer *p)
{
    amqp_write_frame_end(&p->w, p->mark, 0);
    ASSERT(amqp_writer_fits(&p->w));
    owner_input(&p->owner, p->memory, p->w.len, p->piece);
}

static struct slice slice_of(const char *text)
{
    return (struct slice){NULL, (const uint8_t *)text, strlen(text)};
}

/* An encoded value that may stand where any may: states, errors, maps, termini, nonsense. */
static struct slice some_value(struct peer *p)
{
#define VALUE(text)                                                                                                    \
    {                                                                                                                  \
        NULL, (const uint8_t *)text, sizeof text - 1                                                                   \
    }
    static const struct slice values[] = {
        VALUE("\x00\x53\x24\x45"),
        VALUE("\x00\x53\x24\xc0\x01\x00"),
        VALUE("\x00\x53\x25\xc0\x0c\x01\x00\x53\x1d\xc0\x06\x01\xa3\x03x:y"),
        VALUE("\x00\x53\x26\x45"),
        VALUE("\x00\x53\x27\xc0\x03\x02\x41\x42"),
        VALUE("\x00\x53\x23\xc0\x05\x02\x43\x53\x09"),
        VALUE("\x00\x53\x34\xc0\x08\x02\xa0\x01t\x00\x53\x24\x45"),
        VALUE("\x00\x53\x1d\xc0\x0c\x02\xa3\x03x:y\xa1\x04text"),
        VALUE("\x00\xa3\x12"
              "amqp:accepted:list\x45"),
        VALUE("\x00\x53\x99\xa1\x01z"),
        VALUE("\xc1\x07\x02\xa3\x01k\xa1\x01v"),
        VALUE("\xa1\x05"
              "a/b/c"),
        VALUE("\x43"),
        VALUE("\xc0\x02\x00\x40"), /* a size that lies */
        VALUE("\xe0\x0e\x02\xa3\x05queue\x05topic"),
        VALUE("\xa3\x05queue"),
    };
#undef VALUE
    return values[dice_octet(&p->d) % (sizeof values / sizeof *values)];
}

/* A number that is right, unless the script wants another. */
static uint32_t around(struct peer *p, uint32_t right)
{
    uint8_t x = dice_octet(&p->d);
    if (x < 200)
        return right;
    if (x < 250)
        return right + (uint32_t)(int8_t)(x - 225);
    return dice_32(&p->d);
}

static void send_begin(struct peer *p, uint16_t channel)
{
    struct amqp_begin_fields f = {0};
    uint8_t x = dice_octet(&p->d);
    if (p->owner.begin_waits || x == 255) {
        p->owner.begin_waits = false;
        AMQP_SET(&f, remote_channel, p->owner.begin_channel);
    }
    AMQP_SET(&f, next_outgoing_id, x & 2 ? UINT32_MAX - 1 : 0);
    AMQP_SET(&f, incoming_window, x & 4 ? 2 : 1000);
    AMQP_SET(&f, outgoing_window, 1000);
    if (x & 8)
        AMQP_SET(&f, handle_max, x >> 4);
    p->channel[channel % CHANNELS].next_transfer = f.next_outgoing_id;
    p->channel[channel % CHANNELS].next_delivery = x & 16 ? UINT32_MAX - 1 : 0;
    memset(p->channel[channel % CHANNELS].more, 0, sizeof p->channel[0].more);
    amqp_write_begin(&p->w, &f);
}

static struct slice some_terminus(struct peer *p, bool source, uint8_t *memory, size_t size)
{
    uint8_t x = dice_octet(&p->d);
    struct amqp_writer w = amqp_writer(memory, size);
    struct amqp_source_fields s = {0};
    if (x % 16 == 15)
        return some_value(p);
    if (x & 1)
        AMQP_SET(&s, address,
                 ((struct slice){NULL,
                                 (const uint8_t *)"\xa1\x03"
                                                  "a/b",
                                 5}));
    if (x & 2)
        AMQP_SET(&s, dynamic, true);
    if (x & 4)
        AMQP_SET(&s, expiry_policy, slice_of(x & 8 ? "never" : "link-detach"));
    if (x & 16)
        AMQP_SET(&s, durable, x >> 5);
    if (x & 32)
        AMQP_SET(&s, timeout, 5);
    if (source && x & 64)
        AMQP_SET(&s, distribution_mode, slice_of("copy"));
    if (source && x & 128)
        AMQP_SET(&s, capabilities, some_value(p));
    if (source) {
        amqp_write_source(&w, &s);
    } else {
        struct amqp_target_fields t = {.address = s.address,
                                       .durable = s.durable,
                                       .expiry_policy = s.expiry_policy,
                                       .dynamic = s.dynamic,
                                       .has = {.address = s.has.address,
                                               .durable = s.has.durable,
                                               .expiry_policy = s.has.expiry_policy,
                                               .dynamic = s.has.dynamic}};
        amqp_write_target(&w, &t);
    }
    ASSERT(amqp_writer_fits(&w));
    return (struct slice){NULL, memory, w.len};
}

static void send_attach(struct peer *p)
{
    static const char *const names[] = {"link0", "link1", "link2", "link3", "a", "b", "", "a longer name"};
    uint8_t source[256], target[256], x = dice_octet(&p->d);
    struct amqp_attach_fields f = {0};
    AMQP_SET(&f, name, slice_of(names[x & 7]));
    AMQP_SET(&f, handle, around(p, x >> 3 & 7));
    AMQP_SET(&f, role, x >> 7);
    uint8_t y = dice_octet(&p->d);
    if (p->owner.attach_waits && y != 255) {
        p->owner.attach_waits = false;
        f.name = slice_of(p->owner.attach_name);
        f.role = !p->owner.attach_role;
    }
    if (y & 1)
        AMQP_SET(&f, snd_settle_mode, y >> 1 & 3);
    if (y & 8)
        AMQP_SET(&f, rcv_settle_mode, y >> 4 & 1);
    if (!(y & 32))
        AMQP_SET(&f, source, some_terminus(p, true, source, sizeof source));
    if (!(y & 64))
        AMQP_SET(&f, target, some_terminus(p, false, target, sizeof target));
    if (!f.role || y & 128)
        AMQP_SET(&f, initial_delivery_count, y & 2 ? UINT32_MAX : 0);
    if (y % 32 == 31)
        AMQP_SET(&f, unsettled, some_value(p));
    if (y % 16 == 7)
        AMQP_SET(&f, max_message_size, 100);
    amqp_write_attach(&p->w, &f);
}

static void send_flow(struct peer *p, uint16_t channel)
{
    struct amqp_flow_fields f = {0};
    uint8_t x = dice_octet(&p->d);
    if (!(x & 1))
        AMQP_SET(&f, next_incoming_id, around(p, p->owner.transfers + (x & 2 ? UINT32_MAX - 3 : 0)));
    AMQP_SET(&f, incoming_window, x & 4 ? dice_number(&p->d) : 500);
    AMQP_SET(&f, next_outgoing_id, around(p, p->channel[channel % CHANNELS].next_transfer));
    AMQP_SET(&f, outgoing_window, 500);
    if (x & 8) {
        AMQP_SET(&f, handle, around(p, x >> 5));
        if (x & 16)
            AMQP_SET(&f, delivery_count, dice_number(&p->d));
        AMQP_SET(&f, link_credit, dice_number(&p->d));
    }
    uint8_t y = dice_octet(&p->d);
    if (y & 1)
        AMQP_SET(&f, drain, y >> 1 & 1);
    if (y & 4)
        AMQP_SET(&f, echo, y >> 3 & 1);
    if (y & 16)
        AMQP_SET(&f, available, dice_number(&p->d));
    if (y == 255)
        AMQP_SET(&f, properties, some_value(p));
    amqp_write_flow(&p->w, &f);
}

static void send_transfer(struct peer *p, uint16_t channel)
{
    struct amqp_transfer_fields f = {0};
    uint8_t x = dice_octet(&p->d), y = dice_octet(&p->d), handle = x & 7;
    bool *more = &p->channel[channel % CHANNELS].more[handle];
    AMQP_SET(&f, handle, around(p, handle));
    if (!*more) {
        AMQP_SET(&f, delivery_id, around(p, p->channel[channel % CHANNELS].next_delivery++));
        AMQP_SET(&f, delivery_tag, ((struct slice){NULL, PAYLOAD, y % 8 == 7 ? 40u : 4u}));
        AMQP_SET(&f, message_format, 0);
    } else if (y % 8 == 5) {
        AMQP_SET(&f, delivery_id, around(p, p->channel[channel % CHANNELS].next_delivery - 1));
    }
    if (x & 8)
        AMQP_SET(&f, settled, x >> 4 & 1);
    if (x & 32)
        AMQP_SET(&f, more, true);
    if (y & 16)
        AMQP_SET(&f, aborted, y >> 5 & 1);
    if (x & 64)
        AMQP_SET(&f, state, some_value(p));
    if (y & 64)
        AMQP_SET(&f, rcv_settle_mode, y >> 7);
    if (y % 16 == 15)
        AMQP_SET(&f, resume, true);
    *more = f.more && !f.aborted;
    p->channel[channel % CHANNELS].next_transfer++;
    amqp_write_transfer(&p->w, &f);
    amqp_write_raw(&p->w, PAYLOAD, x & 128 ? dice_octet(&p->d) * 3u : 5);
}

static void send_disposition(struct peer *p, uint16_t channel)
{
    struct amqp_disposition_fields f = {0};
    uint8_t x = dice_octet(&p->d);
    AMQP_SET(&f, role, x & 1);
    uint32_t base = x & 1 ? (x & 2 ? UINT32_MAX - 2 : 0) + dice_octet(&p->d) % 32
                          : p->channel[channel % CHANNELS].next_delivery - dice_octet(&p->d) % 8;
    AMQP_SET(&f, first, base);
    if (x & 4)
        AMQP_SET(&f, last, x & 8 ? around(p, base + 4) : base + dice_number(&p->d));
    if (x & 16)
        AMQP_SET(&f, settled, x >> 5 & 1);
    if (x & 64)
        AMQP_SET(&f, state, some_value(p));
    amqp_write_disposition(&p->w, &f);
}

static void send_ending(struct peer *p, uint64_t performative)
{
    uint8_t x = dice_octet(&p->d);
    struct slice error = {0};
    bool has = x & 1;
    if (has)
        error =
            x & 2 ? some_value(p) : (struct slice){NULL, (const uint8_t *)"\x00\x53\x1d\xc0\x06\x01\xa3\x03x:y", 11};
    if (performative == AMQP_DESC_DETACH) {
        struct amqp_detach_fields f = {.error = error, .has.error = has};
        AMQP_SET(&f, handle, around(p, x >> 5));
        if (x & 4)
            AMQP_SET(&f, closed, x >> 3 & 1);
        amqp_write_detach(&p->w, &f);
        return;
    }
    struct amqp_end_fields f = {.error = error, .has.error = has};
    size_t from = p->w.len;
    amqp_write_end(&p->w, &f);
    p->memory[from + 2] = (uint8_t)performative; /* close has the same field */
}

static void send_raw(struct peer *p)
{
    size_t n = dice_octet(&p->d) % 64, there = (size_t)(p->d.end - p->d.at);
    n = n < there ? n : there;
    amqp_write_raw(&p->w, p->d.at, n);
    p->d.at += n;
}

static void step(struct peer *p)
{
    uint8_t x = dice_octet(&p->d);
    uint16_t channel = (uint16_t)around(p, x >> 6);
    if (x % 16 > 11) {
        owner_act(&p->owner, &p->d);
        return;
    }
    /* Answers go where they belong: the peer's channels have the numbers of ours. */
    if (x % 16 == 0 && p->owner.begin_waits)
        channel = p->owner.begin_channel;
    if (x % 16 == 1 && p->owner.attach_waits)
        channel = p->owner.attach_channel;
    frame_begin(p, 0, channel);
    switch (x % 16) {
    case 0:
        send_begin(p, channel);
        break;
    case 1:
    case 2:
        send_attach(p);
        break;
    case 3:
    case 4:
        send_flow(p, channel);
        break;
    case 5:
    case 6:
    case 7:
        send_transfer(p, channel);
        break;
    case 8:
        send_disposition(p, channel);
        break;
    case 9:
        send_ending(p, AMQP_DESC_DETACH);
        break;
    case 10:
        send_ending(p, x & 16 && dice_octet(&p->d) % 8 == 7 ? AMQP_DESC_CLOSE : AMQP_DESC_END);
        break;
    default:
        send_raw(p);
        break;
    }
    frame_send(p);
}

static void send_opening(struct peer *p, bool server, uint8_t x)
{
    owner_input(&p->owner, (const uint8_t *)"AMQP\x00\x01\x00\x00", 8, p->piece);
    struct amqp_open_fields f = {0};
    AMQP_SET(&f, container_id, slice_of("peer"));
    if (x & 1)
        AMQP_SET(&f, max_frame_size, 512);
    if (x & 2)
        AMQP_SET(&f, channel_max, 2);
    if (x & 4)
        AMQP_SET(&f, idle_time_out, x & 16 ? 1 : 1000);
    frame_begin(p, 0, 0);
    amqp_write_open(&p->w, &f);
    frame_send(p);
    owner_turn(&p->owner);
    /* Something to begin with, so that the script need not find it. */
    if (server && x & 8) {
        for (uint16_t channel = 0; channel < 2; channel++) {
            frame_begin(p, 0, channel);
            send_begin(p, channel);
            frame_send(p);
            frame_begin(p, 0, channel);
            send_attach(p);
            frame_send(p);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    static struct peer p;
    memset(&p, 0, sizeof p);
    p.d = (struct dice){octets, octets + n};
    uint8_t x = dice_octet(&p.d);
    p.piece = x & 2 ? dice_octet(&p.d) : 0;
    owner_init(&p.owner, &p.d, x & 1, false);
    send_opening(&p, x & 1, x >> 2);
    for (int steps = 0; steps < STEPS && p.d.at != p.d.end && !amqp_conn_is_closed(&p.owner.conn); steps++) {
        step(&p);
        if (x & 128 || steps % 4 == 3)
            owner_turn(&p.owner);
    }
    owner_fini(&p.owner);
    return 0;
}
