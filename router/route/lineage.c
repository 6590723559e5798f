#include <router/route/lineage.h>

#include <endian.h>
#include <string.h>

enum { FORM = 1 };

void lineage_write(const struct lineage *l, uint8_t out[LINEAGE_LEN])
{
    uint64_t source = htole64(l->original.source), number = htole64(l->original.number);
    out[0] = FORM;
    out[1] = l->hops;
    memcpy(out + 2, &source, sizeof source);
    memcpy(out + 10, &number, sizeof number);
}

struct lineage lineage_read(struct slice octets)
{
    const struct lineage none = {0};
    if (octets.len != LINEAGE_LEN || octets.data[0] != FORM)
        return none;
    struct lineage l = {.hops = octets.data[1]};
    memcpy(&l.original.source, octets.data + 2, sizeof l.original.source);
    memcpy(&l.original.number, octets.data + 10, sizeof l.original.number);
    l.original.source = le64toh(l.original.source);
    l.original.number = le64toh(l.original.number);
    return l.original.number ? l : none;
}
