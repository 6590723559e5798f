/* Which address the attach of a link is for (registry.h). */
#include "registry_priv.h"

#include <router/route/address_name.h>
#include <router/route/edge_service.h>
#include <router/route/own_link.h>
#include <router/route/phase.h>
#include <router/route/uplink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>

/* A name of our own making: a receiver's reply address, or a target that its sender is told. */
static enum attach_refusal resolve_dynamic(struct link *l) ON_CONTROL
{
    char temp[ADDRESS_TEMP_LEN + 1], text[ROUTER_ID_MAX + 64], key[ADDRESS_TEMP_LEN + 8];
    if (address_name_generate_temp(temp) != OK)
        return ATTACH_NO_ROUTE;
    enum distribution d = DISTRIBUTION_BALANCED;
    if (l->is_incoming) {
        snprintf(text, sizeof text, "amqp:/_$%s", temp);
        snprintf(key, sizeof key, "M0_$%s", temp);
    } else {
        if (!address_name_of_temp(&registry_world()->identity, temp, text, sizeof text))
            return ATTACH_NO_ROUTE;
        snprintf(key, sizeof key, "L%s", temp);
    }
    l->dynamic_address = xstrdup(text);
    l->address = table_get(registry_world()->table, key, d, -1);
    return ATTACH_OK;
}

/* Whether a client may receive from the address with this key. It may not take what leaves this router. */
static bool may_receive(const char *key, size_t n) ON_CONTROL
{
    bool is_uplink = registry_world()->uplink && n == strlen(uplink_key) && memcmp(key, uplink_key, n) == 0;
    return (key[0] == ADDRESS_MOBILE || key[0] == ADDRESS_LOCAL) && !is_uplink;
}

static enum attach_refusal resolve_named(struct link *l) ON_CONTROL
{
    size_t len = strlen(l->wanted), size = len + ADDRESS_KEY_EXTRA + ROUTER_ID_MAX;
    char *key = xmalloc(size);
    size_t n = address_name_key(&registry_world()->identity, l->wanted, len, PHASE_DEFAULT, key, size);
    if (n > 2 && key[0] == ADDRESS_MOBILE)
        key[1] = l->phase != PHASE_BY_RULES ? l->phase : phase_by_rule(registry_rule_of_key(key, n), l->is_incoming);
    enum attach_refusal refusal = ATTACH_OK;
    if (n == 0)
        refusal = ATTACH_NO_ROUTE;
    else if (!l->is_incoming && !may_receive(key, n))
        refusal = ATTACH_NO_ROUTE;
    else if (!(l->address = registry_address_of_key(key, n)))
        refusal = ATTACH_NOT_FOUND;
    free(key);
    return refusal;
}

/* An edge router itself, by the name that its connection has. */
static enum attach_refusal resolve_downlink(struct link *l) ON_CONTROL
{
    char key[ROUTER_ID_MAX + 2];
    int len = snprintf(key, sizeof key, "%c%s", ADDRESS_EDGE, l->conn->container);
    if (registry_world()->identity.mode != ROUTER_INTERIOR || len < 2 || len >= (int)sizeof key)
        return ATTACH_NO_ROUTE;
    l->address = table_get(registry_world()->table, key, DISTRIBUTION_CLOSEST, -1);
    return ATTACH_OK;
}

/* A link that control has asked for: it says where it belongs. */
static enum attach_refusal resolve_own(struct link *l) ON_CONTROL
{
    const char *key = own_link_key(l->own);
    if (!own_link_is_wanted(l->own))
        return ATTACH_SILENT;
    if (key && own_link_is_made_anyway(l->own))
        l->address = registry_address_or_hint(key, REGISTRY_NO_HINT);
    else if (key && !(l->address = registry_address_of_key(key, strlen(key))))
        return ATTACH_NOT_FOUND;
    return ATTACH_OK;
}

enum attach_refusal registry_resolve(struct link *l)
{
    if (l->own)
        return resolve_own(l);
    if (l->is_ours || l->routed)
        return ATTACH_OK;
    enum attach_refusal refusal;
    bool has_address;
    if (l->refusal_by_worker != ATTACH_OK)
        return l->refusal_by_worker;
    if (l->is_downlink)
        return resolve_downlink(l);
    if (l->is_dynamic)
        return resolve_dynamic(l);
    if (!l->wanted)
        return l->is_incoming ? ATTACH_OK : ATTACH_NO_ROUTE;
    if (edge_service_resolve(l, &refusal, &has_address) && (refusal != ATTACH_OK || !has_address))
        return refusal;
    return resolve_named(l);
}
