/* Any octets as what a peer sends from its first octet on. The first four decide who we are and how the stream is cut.
 */
#include "conn_owner.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct dice d = {octets, octets + n};
    struct owner o;
    uint8_t x = dice_octet(&d), piece = dice_octet(&d);
    owner_init(&o, &d, x & 1, x & 2);
    /* The output while input is under way, too. */
    size_t left = (size_t)(d.end - d.at), half = x & 4 ? left / 2 : left;
    owner_input(&o, d.at, half, piece);
    owner_turn(&o);
    owner_input(&o, d.at + half, left - half, piece);
    owner_fini(&o);
    return 0;
}
