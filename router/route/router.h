/* router.h -- the router as a whole: who it is, its workers, rules, listeners and connectors. What configuration and
 * management change.
 *
 * Start: router_start(), then rules, connectors, listeners. Stop: router_stop(), which ends all of it.
 * Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_ROUTER_H
#define TRUNKLINE_ROUTE_ROUTER_H

#include <router/route/connection.h>
#include <router/route/identity.h>
#include <router/route/rules.h>
#include <trunkline/base/err.h>
#include <trunkline/base/lock.h>
#include <trunkline/io/connector.h>
#include <trunkline/io/loop.h>

struct mesh_conf;

struct router_conf {
    const char *id; /* copied */
    enum router_mode mode;
    enum distribution default_distribution;
    int worker_threads;
    struct mesh_conf *mesh; /* of an interior router; NULL: it is alone */
};

/* loop: control's, lent until router_stop(). Starts the workers.
 *   Errors: ERR_SYSTEM, no threads or descriptors: errno says why. */
enum err router_start(struct loop *loop, const struct router_conf *conf) ON_CONTROL;
/* Close listeners and connectors, end all connections, stop the workers. */
void router_stop(void) ON_CONTROL;

/* Connections beyond so many are closed at once; those refused are counted. */
void router_limit_connections(uint32_t max) ON_CONTROL;
struct router_connection_counts {
    uint64_t processed, denied;
    uint32_t current;
};
void router_connection_counts(struct router_connection_counts *out) ON_CONTROL;

/* Errors: as rules_with() and rules_without(). */
enum err router_add_rule(const struct rule_conf *conf) ON_CONTROL;
enum err router_remove_rule(const char *identity) ON_CONTROL;

/* identity names it for removal. Listening is logged, with the real port when 0 was asked for.
 *   Ownership: takes a count of settings.
 *   Errors:    ERR_EXISTS; ERR_INVALID and ERR_SYSTEM: why says what. */
enum err router_add_listener(const char *identity, const char *host, const char *port, bool named,
                             struct connection_settings *settings, char *why, size_t why_size) ON_CONTROL;
enum err router_remove_listener(const char *identity) ON_CONTROL; /* ERR_NOT_FOUND */

/* Errors: ERR_EXISTS. */
enum err router_add_connector(const char *identity, const char *host, const char *port,
                              struct connection_settings *settings) ON_CONTROL;
enum err router_remove_connector(const char *identity) ON_CONTROL; /* closes its connection. ERR_NOT_FOUND */
struct connector_status {
    const char *status; /* "CONNECTING" */
    char message[300];
    char *urls; /* free() it */
};
enum err router_connector_status(const char *identity, struct connector_status *out) ON_CONTROL; /* ERR_NOT_FOUND */

#endif
