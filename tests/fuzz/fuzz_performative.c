/* Any octets as frames in a row (cut by their sizes, or the whole as one). What must hold: no reader leaves the frame,
 * a composite value that was read can be written and read again and is then the same octets, and traces of all of it
 * stay in their memory. */
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/performative.h>
#include <trunkline/amqp/print.h>
#include <trunkline/amqp/terminus.h>
#include <trunkline/base/assert.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

typedef enum err copy_fn(struct amqp_reader *r, struct amqp_writer *w);

#define COPY(NAME, name)                                                                                               \
    static enum err copy_##name(struct amqp_reader *r, struct amqp_writer *w)                                          \
    {                                                                                                                  \
        struct amqp_##name##_fields f;                                                                                 \
        enum err e = amqp_read_##name(r, &f);                                                                          \
        if (e == OK)                                                                                                   \
            amqp_write_##name(w, &f);                                                                                  \
        return e;                                                                                                      \
    }
AMQP_COMPOSITES(COPY)

static copy_fn *const COPIES[] = {
#define X(NAME, name) [AMQP_DESC_##NAME] = copy_##name,
    AMQP_COMPOSITES(X)
#undef X
};

/* Written from what was read: never longer than the input, but for the frame's list that had fewer octets than our
 * head. */
static void assert_survives(copy_fn *copy, struct amqp_reader r)
{
    size_t room = amqp_left(&r) + 16;
    uint8_t *first = malloc(room), *second = malloc(room);
    ASSERT(first && second);
    struct amqp_writer w1 = amqp_writer(first, room), w2 = amqp_writer(second, room);
    if (copy(&r, &w1) == OK) {
        ASSERT(amqp_writer_fits(&w1));
        struct amqp_reader written = amqp_reader(first, w1.len), check = written;
        uint64_t descriptor;
        ASSERT(amqp_check(&check) == OK && check.at == check.end);
        ASSERT(amqp_read_descriptor(&written, &descriptor) == OK);
        ASSERT(COPIES[descriptor] == copy);
        ASSERT(copy(&written, &w2) == OK && written.at == written.end);
        ASSERT(w1.len == w2.len && memcmp(first, second, w1.len) == 0);
    }
    free(first);
    free(second);
}

static void print_terminus(struct amqp_reader r)
{
    struct amqp_source_fields f;
    if (amqp_read_source(&r, &f) != OK)
        return;
    struct amqp_terminus_view t = {.kind = AMQP_TERMINUS_NODE,
                                   .dynamic = f.dynamic,
                                   .capabilities = f.capabilities,
                                   .filter = f.filter,
                                   .outcomes = f.outcomes};
    char text[300];
    ASSERT(amqp_terminus_print(&t, text, sizeof text) < sizeof text);
    amqp_terminus_has_capability(&t, "queue");
}

static void try_value(struct amqp_reader r)
{
    uint64_t descriptor;
    if (amqp_read_descriptor(&r, &descriptor) != OK)
        return;
    if (descriptor < sizeof COPIES / sizeof *COPIES && COPIES[descriptor])
        assert_survives(COPIES[descriptor], r);
    if (descriptor == AMQP_DESC_SOURCE)
        print_terminus(r);
    /* Termini, errors and states lie in the lists of performatives. */
    struct amqp_compound list;
    if (amqp_enter_list(&r, &list) == OK)
        while (amqp_left(&list.in)) {
            if (amqp_peek(&list.in) == AMQP_CODE_DESCRIBED)
                try_value(list.in);
            if (amqp_skip(&list.in) != OK)
                break;
        }
}

static void try_frame(const uint8_t *frame, size_t n)
{
    char text[600];
    for (size_t size = 4; size <= sizeof text; size = size * 3 - 1)
        ASSERT(amqp_frame_print(1, n % 2, frame, n, text, size) < size);
    if (n > AMQP_FRAME_HEAD)
        try_value(amqp_reader(frame + AMQP_FRAME_HEAD, n - AMQP_FRAME_HEAD));
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    while (n > AMQP_FRAME_HEAD) {
        size_t size = amqp_get32(octets);
        if (size < AMQP_FRAME_HEAD || size > n)
            size = n;
        try_frame(octets, size);
        octets += size;
        n -= size;
    }
    try_frame(octets, n);
    return 0;
}
