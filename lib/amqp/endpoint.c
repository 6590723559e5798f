#include "endpoint.h"

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/connection_driver.h>
#include <proton/event.h>
#include <proton/sasl.h>
#include <proton/sasl_plugin.h>
#include <proton/transport.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

#include "frames.h"

#define MECHANISMS_SIZE 64
#define CHANNEL_MAX 32767 /* Proton's own bound */

struct amqp_endpoint {
    pn_connection_driver_t driver;
    enum endpoint_state state;
    bool server, speaks_sasl, requires_auth;
    enum phase { EXPECT_HEADER, IN_SASL, IN_AMQP } phase;
    bool sasl_began; /* the peer's first SASL frame, which comes once, is in */
    amqp_check_password_fn *check_password;
    char *external_id;
    char *user;     /* who has authenticated, or the client's */
    char *response; /* client: the initial response, owned while Proton sends it */
    size_t response_len;
    char mechanisms[MECHANISMS_SIZE]; /* server: offered */
};

/* ---- SASL (AMQP 1.0 part 5.3, SASL; RFC 4505 ANONYMOUS, RFC 4616 PLAIN, RFC 4422 appendix A EXTERNAL) ---- */

/* Whether the blank-separated list (NULL: everything) holds the mechanism. */
static bool lists(const char *list, const char *mechanism)
{
    size_t n = strlen(mechanism);
    for (const char *at = list; at && *at;) {
        size_t word = strcspn(at, " ");
        if (word == n && memcmp(at, mechanism, n) == 0)
            return true;
        at += word + strspn(at + word, " ");
    }
    return list == NULL;
}

static struct amqp_endpoint *of_transport(pn_transport_t *t)
{
    return pnx_sasl_get_context(t);
}

static void sasl_free(pn_transport_t *t)
{
    (void)t; /* the endpoint owns itself */
}

static const char *sasl_list_mechanisms(pn_transport_t *t)
{
    return of_transport(t)->mechanisms;
}

static bool sasl_init_server(pn_transport_t *t)
{
    pnx_sasl_set_desired_state(t, SASL_POSTED_MECHANISMS);
    return true;
}

static bool sasl_init_client(pn_transport_t *t)
{
    (void)t;
    return true;
}

static void sasl_prepare_write(pn_transport_t *t)
{
    (void)t;
}

static void accept_user(struct amqp_endpoint *ep, pn_transport_t *t, const char *user, size_t n)
{
    free(ep->user);
    ep->user = xstrndup(user, n);
    pnx_sasl_set_succeeded(t, ep->user, ep->user);
}

/* RFC 4616 section 2: [authorization identity] NUL identity NUL password. */
static bool check_plain(struct amqp_endpoint *ep, pn_transport_t *t, const pn_bytes_t *init)
{
    if (init->size == 0)
        return false; /* also when the field is absent, and start NULL */
    const char *end = init->start + init->size;
    const char *user = memchr(init->start, 0, init->size);
    const char *password = user ? memchr(user + 1, 0, (size_t)(end - user - 1)) : NULL;
    if (password == NULL || password == user + 1)
        return false;
    user++;
    password++;
    /* A second identity would be a request to act for somebody else, which nobody here may. */
    size_t identity = (size_t)(user - 1 - init->start), user_len = (size_t)(password - 1 - user);
    if (identity && (identity != user_len || memcmp(init->start, user, user_len) != 0))
        return false;
    size_t secret_len = (size_t)(end - password);
    if (memchr(password, 0, secret_len))
        return false;
    char *secret = xstrndup(password, secret_len), *name = xstrndup(user, user_len);
    bool right = ep->check_password(name, secret);
    explicit_bzero(secret, secret_len);
    free(secret);
    if (right)
        accept_user(ep, t, name, user_len);
    free(name);
    return right;
}

static void sasl_process_init(pn_transport_t *t, const char *mechanism, const pn_bytes_t *init)
{
    struct amqp_endpoint *ep = of_transport(t);
    bool right = false;
    if (mechanism == NULL || !lists(ep->mechanisms, mechanism)) {
        right = false;
    } else if (strcmp(mechanism, "ANONYMOUS") == 0) {
        accept_user(ep, t, "anonymous", strlen("anonymous"));
        right = true;
    } else if (strcmp(mechanism, "EXTERNAL") == 0) {
        accept_user(ep, t, ep->external_id, strlen(ep->external_id));
        right = true;
    } else if (strcmp(mechanism, "PLAIN") == 0) {
        right = check_plain(ep, t, init);
    }
    if (!right)
        pnx_sasl_set_failed(t);
    pnx_sasl_set_desired_state(t, SASL_POSTED_OUTCOME);
}

/* None of these mechanisms has a second step. */
static void sasl_process_response(pn_transport_t *t, const pn_bytes_t *response)
{
    (void)response;
    pnx_sasl_set_failed(t);
    pnx_sasl_set_desired_state(t, SASL_POSTED_OUTCOME);
}

static void sasl_process_challenge(pn_transport_t *t, const pn_bytes_t *challenge)
{
    (void)challenge;
    pnx_sasl_error(t, "a challenge came for a mechanism without one", "amqp:unauthorized-access");
    pnx_sasl_set_desired_state(t, SASL_ERROR);
}

static void sasl_process_outcome(pn_transport_t *t, const pn_bytes_t *outcome)
{
    (void)t;
    (void)outcome;
}

static void respond(struct amqp_endpoint *ep, pn_transport_t *t, const char *mechanism, const char *response, size_t n)
{
    free(ep->response);
    ep->response = memcpy(xmalloc(n + 1), response, n);
    ep->response_len = n;
    pnx_sasl_set_selected_mechanism(t, mechanism);
    pnx_sasl_set_bytes_out(t, pn_bytes(n, ep->response));
    pnx_sasl_set_desired_state(t, SASL_POSTED_INIT);
}

/* The best of what is offered and allowed (Proton has cut the list down): EXTERNAL, PLAIN with a password, ANONYMOUS.
 */
static bool sasl_process_mechanisms(pn_transport_t *t, const char *offered)
{
    struct amqp_endpoint *ep = of_transport(t);
    const char *user = pnx_sasl_get_username(t), *password = pnx_sasl_get_password(t);
    if (lists(offered, "EXTERNAL")) {
        respond(ep, t, "EXTERNAL", "", 0);
        return true;
    }
    if (lists(offered, "PLAIN") && user && password) {
        size_t user_len = strlen(user), n = user_len + strlen(password) + 2;
        char *both = xmalloc(n + 1);
        both[0] = 0;
        memcpy(both + 1, user, user_len + 1);
        memcpy(both + 2 + user_len, password, n - 2 - user_len);
        respond(ep, t, "PLAIN", both, n);
        explicit_bzero(both, n);
        free(both);
        pnx_sasl_clear_password(t);
        return true;
    }
    if (lists(offered, "ANONYMOUS")) {
        const char *name = user ? user : "anonymous";
        respond(ep, t, "ANONYMOUS", name, strlen(name));
        return true;
    }
    return false;
}

/* No mechanism here has a security layer; TLS is outside. */
static bool sasl_can_encrypt(pn_transport_t *t)
{
    (void)t;
    return false;
}

static ssize_t sasl_max_encrypt_size(pn_transport_t *t)
{
    (void)t;
    return 0;
}

static ssize_t sasl_no_layer(pn_transport_t *t, pn_bytes_t in, pn_bytes_t *out)
{
    (void)t;
    (void)in;
    (void)out;
    return 0;
}

static const pnx_sasl_implementation sasl_builtin = {
    .free = sasl_free,
    .list_mechanisms = sasl_list_mechanisms,
    .init_server = sasl_init_server,
    .init_client = sasl_init_client,
    .prepare_write = sasl_prepare_write,
    .process_init = sasl_process_init,
    .process_response = sasl_process_response,
    .process_mechanisms = sasl_process_mechanisms,
    .process_challenge = sasl_process_challenge,
    .process_outcome = sasl_process_outcome,
    .can_encrypt = sasl_can_encrypt,
    .max_encrypt_size = sasl_max_encrypt_size,
    .encode = sasl_no_layer,
    .decode = sasl_no_layer,
};

static void offer_mechanisms(struct amqp_endpoint *ep, const struct amqp_conn_conf *conf)
{
    const struct {
        const char *name;
        bool possible;
    } all[] = {{"EXTERNAL", ep->external_id != NULL}, {"PLAIN", ep->check_password != NULL}, {"ANONYMOUS", true}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].possible && lists(conf->sasl_mechanisms, all[i].name)) {
            if (ep->mechanisms[0])
                strcat(ep->mechanisms, " ");
            strcat(ep->mechanisms, all[i].name);
        }
}

static void setup_sasl(struct amqp_endpoint *ep, const struct amqp_conn_conf *conf)
{
    pn_transport_t *t = ep->driver.transport;
    if (!conf->server && !conf->sasl)
        return;
    ep->speaks_sasl = true;
    pn_sasl_t *sasl = pn_sasl(t);
    pnx_sasl_set_implementation(t, &sasl_builtin, ep);
    pn_sasl_set_allow_insecure_mechs(sasl, true);
    if (conf->server)
        offer_mechanisms(ep, conf);
    else if (conf->sasl_mechanisms)
        pn_sasl_allowed_mechs(sasl, conf->sasl_mechanisms);
}

/* ---- Open ---- */

static void put_symbols(pn_data_t *d, const char *const *symbols)
{
    if (symbols == NULL || *symbols == NULL)
        return;
    pn_data_put_array(d, false, PN_SYMBOL);
    pn_data_enter(d);
    for (; *symbols; symbols++)
        pn_data_put_symbol(d, pn_bytes(strlen(*symbols), *symbols));
    pn_data_exit(d);
}

static void put_properties(pn_data_t *d, const struct amqp_property *p, size_t n)
{
    if (n == 0)
        return;
    pn_data_put_map(d);
    pn_data_enter(d);
    for (size_t i = 0; i < n; i++) {
        pn_data_put_symbol(d, pn_bytes(strlen(p[i].key), p[i].key));
        if (p[i].raw.len) {
            /* Decoding appends the value where the cursor stands. */
            ssize_t used = pn_data_decode(d, (const char *)p[i].raw.data, p[i].raw.len);
            ASSERT(used == (ssize_t)p[i].raw.len);
        } else if (p[i].text) {
            pn_data_put_string(d, pn_bytes(strlen(p[i].text), p[i].text));
        } else {
            pn_data_put_int(d, p[i].number);
        }
    }
    pn_data_exit(d);
}

static void describe(pn_connection_t *c, const struct amqp_conn_conf *conf)
{
    pn_connection_set_container(c, conf->container_id);
    if (conf->hostname)
        pn_connection_set_hostname(c, conf->hostname);
    if (conf->user)
        pn_connection_set_user(c, conf->user);
    if (conf->password)
        pn_connection_set_password(c, conf->password);
    put_symbols(pn_connection_offered_capabilities(c), conf->offered_capabilities);
    put_symbols(pn_connection_desired_capabilities(c), conf->offered_capabilities);
    put_properties(pn_connection_properties(c), conf->properties, conf->property_count);
}

/* Proton has seen to it before; that nobody gets in unasked is worth a second look. */
static bool may_open(const struct amqp_endpoint *ep)
{
    return !ep->requires_auth || pn_transport_is_authenticated(ep->driver.transport);
}

/* Look at what the last step has brought about. */
static void take_events(struct amqp_endpoint *ep)
{
    for (pn_event_t *e; (e = pn_connection_driver_next_event(&ep->driver));)
        switch (pn_event_type(e)) {
        case PN_CONNECTION_REMOTE_OPEN:
            if (ep->state == ENDPOINT_START)
                ep->state = may_open(ep) ? ENDPOINT_OPENED : ENDPOINT_FAILED;
            break;
        case PN_CONNECTION_REMOTE_CLOSE:
            if (ep->state != ENDPOINT_FAILED)
                ep->state = ENDPOINT_CLOSED;
            break;
        case PN_TRANSPORT_ERROR:
        case PN_TRANSPORT_HEAD_CLOSED:
        case PN_TRANSPORT_TAIL_CLOSED:
        case PN_TRANSPORT_CLOSED:
            if (ep->state != ENDPOINT_CLOSED)
                ep->state = ENDPOINT_FAILED;
            break;
        default:
            break;
        }
}

struct amqp_endpoint *endpoint_new(const struct amqp_conn_conf *conf)
{
    struct amqp_endpoint *ep = xcalloc(1, sizeof *ep);
    int no_memory = pn_connection_driver_init(&ep->driver, NULL, NULL);
    ASSERT(!no_memory);
    ep->server = conf->server;
    ep->check_password = conf->check_password;
    ep->external_id = conf->external_id ? xstrdup(conf->external_id) : NULL;
    pn_transport_t *t = ep->driver.transport;
    if (conf->server)
        pn_transport_set_server(t);
    setup_sasl(ep, conf);
    ep->requires_auth = conf->server && conf->require_auth;
    pn_transport_require_auth(t, ep->requires_auth);
    pn_transport_set_max_frame(t, conf->max_frame_size);
    pn_transport_set_channel_max(t, conf->channel_max < CHANNEL_MAX ? conf->channel_max : CHANNEL_MAX);
    /* Proton announces half of it (AMQP 1.0 part 2.4.5, Idle Time Out Of A Connection). */
    pn_transport_set_idle_timeout(t, conf->idle_timeout_ms);
    describe(ep->driver.connection, conf);
    pn_connection_driver_bind(&ep->driver);
    if (!conf->server)
        pn_connection_open(ep->driver.connection);
    take_events(ep);
    return ep;
}

void endpoint_free(struct amqp_endpoint **epp)
{
    struct amqp_endpoint *ep = *epp;
    *epp = NULL;
    if (ep == NULL)
        return;
    pn_connection_driver_destroy(&ep->driver);
    if (ep->response) {
        explicit_bzero(ep->response, ep->response_len);
        free(ep->response);
    }
    free(ep->user);
    free(ep->external_id);
    free(ep);
}

/* What follows a SASL layer begins with a header again. */
static enum phase phase_after(const struct amqp_endpoint *ep, uint8_t protocol)
{
    pn_transport_t *t = ep->driver.transport;
    switch (ep->phase) {
    case EXPECT_HEADER:
        return protocol == 3 ? IN_SASL : IN_AMQP;
    case IN_SASL:
        return ep->speaks_sasl && pn_sasl_outcome(pn_sasl(t)) != PN_SASL_NONE ? EXPECT_HEADER : IN_SASL;
    default:
        return IN_AMQP;
    }
}

bool endpoint_expects_header(const struct amqp_endpoint *ep)
{
    return ep->phase == EXPECT_HEADER;
}

/* TLS is outside; Proton would begin it of its own accord, with no certificate. */
static bool begins_tls(const uint8_t *octets, size_t n)
{
    return (n >= 2 && octets[0] == 0x16 && octets[1] == 3) || (n >= 5 && memcmp(octets, "AMQP\2", 5) == 0);
}

/* Of what is no header Proton quotes all that it has been given, in a Close that may be larger than a frame may be
 * before sizes have been agreed on (AMQP 1.0 part 2.3.1, Frame Layout: 512 octets). */
static bool is_header(const uint8_t *octets, size_t n)
{
    return n == AMQP_FRAME_HEAD && memcmp(octets, "AMQP", 4) == 0;
}

/* Proton goes by the performative alone: to an Open inside the SASL layer, or to an outcome that a client sends, it
 * would answer as if the peer had authenticated; of mechanisms said twice it loses the first. So each layer and side
 * gets the frames that are its own, in their number (AMQP 1.0 part 5.3.2, SASL Negotiation). */
static bool is_in_place(const struct amqp_endpoint *ep, const uint8_t *frame, size_t n)
{
    size_t offset = n < AMQP_FRAME_HEAD ? 0 : frame[4] * 4u;
    if (offset < AMQP_FRAME_HEAD || offset > n)
        return false;
    if (ep->phase == IN_AMQP && offset == n)
        return frame[5] == FRAME_TYPE_AMQP; /* a heartbeat */
    struct amqp_reader body = amqp_reader(frame + offset, n - offset);
    uint64_t performative;
    if (amqp_read_descriptor(&body, &performative) != OK)
        return false;
    bool is_sasl = ep->phase == IN_SASL && frame[5] == FRAME_TYPE_SASL;
    switch (performative) {
    case AMQP_DESC_SASL_INIT:
        return is_sasl && ep->server && !ep->sasl_began;
    case AMQP_DESC_SASL_MECHANISMS:
        return is_sasl && !ep->server && !ep->sasl_began;
    case AMQP_DESC_SASL_RESPONSE:
        return is_sasl && ep->server;
    case AMQP_DESC_SASL_CHALLENGE:
    case AMQP_DESC_SASL_OUTCOME:
        return is_sasl && !ep->server;
    default:
        return ep->phase == IN_AMQP && frame[5] == FRAME_TYPE_AMQP;
    }
}

void endpoint_input(struct amqp_endpoint *ep, const uint8_t *octets, size_t n)
{
    if (ep->phase != EXPECT_HEADER && !is_in_place(ep, octets, n)) {
        endpoint_fail(ep, "amqp:connection:framing-error", "a frame out of its place while the connection is opened");
        return;
    }
    ep->sasl_began = ep->phase == IN_SASL;
    uint8_t protocol = n > 4 ? octets[4] : 0;
    if (ep->phase == EXPECT_HEADER && begins_tls(octets, n)) {
        endpoint_fail(ep, "amqp:connection:framing-error", "TLS was begun where it is not spoken");
        return;
    }
    if (ep->phase == EXPECT_HEADER && !is_header(octets, n)) {
        endpoint_fail(ep, "amqp:connection:framing-error", "what came is not AMQP: no protocol header");
        return;
    }
    while (n) {
        pn_rwbytes_t room = pn_connection_driver_read_buffer_sized(&ep->driver, n);
        if (room.size == 0)
            break; /* Proton takes no more: an error has closed its side, take_events() sees it */
        size_t some = n < room.size ? n : room.size;
        memcpy(room.start, octets, some);
        pn_connection_driver_read_done(&ep->driver, some);
        octets += some;
        n -= some;
    }
    take_events(ep);
    ep->phase = phase_after(ep, protocol);
}

void endpoint_eof(struct amqp_endpoint *ep, const char *why)
{
    if (why)
        pn_connection_driver_errorf(&ep->driver, "amqp:connection:framing-error", "%s", why);
    pn_connection_driver_read_close(&ep->driver);
    take_events(ep);
    if (ep->state != ENDPOINT_CLOSED)
        ep->state = ENDPOINT_FAILED;
}

void endpoint_fail(struct amqp_endpoint *ep, const char *condition, const char *description)
{
    pn_connection_driver_errorf(&ep->driver, condition, "%s", description);
    pn_connection_driver_read_close(&ep->driver);
    take_events(ep);
    ep->state = ENDPOINT_FAILED;
}

void endpoint_open(struct amqp_endpoint *ep)
{
    pn_connection_open(ep->driver.connection);
    take_events(ep);
}

void endpoint_close(struct amqp_endpoint *ep, const struct amqp_error *error)
{
    pn_connection_t *c = ep->driver.connection;
    pn_connection_open(c);
    if (error && error->condition) {
        pn_condition_set_name(pn_connection_condition(c), error->condition);
        pn_condition_set_description(pn_connection_condition(c), error->description);
        if (error->info.len)
            pn_data_decode(pn_condition_info(pn_connection_condition(c)), (const char *)error->info.data,
                           error->info.len);
    }
    pn_connection_close(c);
    take_events(ep);
}

enum endpoint_state endpoint_state(const struct amqp_endpoint *ep)
{
    return ep->state;
}

void endpoint_error(const struct amqp_endpoint *ep, struct amqp_error *out)
{
    *out = (struct amqp_error){0};
    pn_condition_t *cond = ep->state == ENDPOINT_CLOSED ? pn_connection_remote_condition(ep->driver.connection)
                                                        : pn_transport_condition(ep->driver.transport);
    if (pn_condition_is_set(cond)) {
        out->condition = pn_condition_get_name(cond);
        out->description = pn_condition_get_description(cond);
    } else if (ep->state == ENDPOINT_FAILED && ep->phase != IN_AMQP && ep->speaks_sasl) {
        out->condition = "amqp:unauthorized-access";
        out->description = "authentication failed";
    } else if (ep->state == ENDPOINT_FAILED) {
        out->condition = "amqp:connection:framing-error";
        out->description = "connection aborted";
    }
}

struct slice endpoint_output(struct amqp_endpoint *ep)
{
    pn_bytes_t b = pn_connection_driver_write_buffer(&ep->driver);
    take_events(ep);
    return (struct slice){NULL, (const uint8_t *)b.start, b.size};
}

void endpoint_written(struct amqp_endpoint *ep, size_t n)
{
    pn_connection_driver_write_done(&ep->driver, n);
    take_events(ep);
}

/* ---- the peer ---- */

/* Lay text or octets into the block; measure only while the block is NULL. */
struct layout {
    char *block;
    size_t used;
};

static char *lay_text(struct layout *l, const char *text)
{
    if (text == NULL)
        return NULL;
    size_t n = strlen(text) + 1;
    char *at = l->block ? memcpy(l->block + l->used, text, n) : NULL;
    l->used += n;
    return at;
}

static struct slice lay_data(struct layout *l, pn_data_t *d)
{
    ssize_t n = d && pn_data_size(d) ? pn_data_encoded_size(d) : 0;
    if (n <= 0)
        return (struct slice){0};
    const uint8_t *at = NULL;
    if (l->block) {
        at = (uint8_t *)l->block + l->used;
        pn_data_encode(d, l->block + l->used, (size_t)n);
    }
    l->used += (size_t)n;
    return (struct slice){NULL, at, (size_t)n};
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static void lay_peer(const struct amqp_endpoint *ep, struct layout *l, struct amqp_conn_peer *out)
{
    pn_connection_t *c = ep->driver.connection;
    pn_transport_t *t = ep->driver.transport;
    pn_sasl_t *sasl = pn_transport_is_authenticated(t) ? pn_sasl(t) : NULL;
    out->container_id = lay_text(l, or_empty(pn_connection_remote_container(c)));
    out->hostname = lay_text(l, or_empty(pn_connection_remote_hostname(c)));
    out->properties = lay_data(l, pn_connection_remote_properties(c));
    out->offered_capabilities = lay_data(l, pn_connection_remote_offered_capabilities(c));
    out->sasl_mechanism = lay_text(l, sasl ? pn_sasl_get_mech(sasl) : NULL);
    out->user = lay_text(l, ep->server ? ep->user : NULL);
}

void endpoint_peer(const struct amqp_endpoint *ep, struct amqp_conn_peer *out, void **block)
{
    pn_transport_t *t = ep->driver.transport;
    struct layout l = {0};
    *out = (struct amqp_conn_peer){0};
    lay_peer(ep, &l, out);
    l = (struct layout){xmalloc(l.used), 0};
    lay_peer(ep, &l, out);
    out->max_frame_size = pn_transport_get_remote_max_frame(t);
    out->idle_timeout_ms = pn_transport_get_remote_idle_timeout(t);
    out->channel_max = pn_transport_remote_channel_max(t);
    *block = l.block;
}
