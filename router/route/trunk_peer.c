#include <router/route/trunk_peer.h>

#include <trunkline/amqp/codec.h>

const char trunk_peer_hello_key[] = "x-trunkline-hello-ms";

void trunk_peer_read(struct slice properties, int32_t own_cost, struct mesh_peer *out)
{
    *out = (struct mesh_peer){.cost = own_cost};
    struct amqp_reader r = amqp_slice_reader(properties);
    struct amqp_compound map;
    if (!properties.len || amqp_enter_map(&r, &map) != OK)
        return;
    for (uint32_t i = 0; i + 1 < map.count; i += 2) {
        struct slice key;
        int32_t number;
        if (amqp_read_text(&map.in, &key) != OK)
            return;
        /* Only an int counts (wire-protocol reference, rule 4). */
        if (amqp_read_int(&map.in, &number) != OK) {
            if (amqp_skip(&map.in) != OK)
                return;
        } else if (amqp_slice_is(key, "qd.inter-router-cost") && number > out->cost) {
            out->cost = number;
        } else if (amqp_slice_is(key, trunk_peer_hello_key) && number > 0) {
            out->is_ours = true;
            out->fast_hello_interval = (uint32_t)number;
        }
    }
}
