/* connection_conf.h -- what a listener's or connector's attributes say about its connections. Thread: control. */
#ifndef TRUNKLINE_MGMT_CONNECTION_CONF_H
#define TRUNKLINE_MGMT_CONNECTION_CONF_H

#include <trunkline/base/lock.h>

struct attrs;
struct connection;
struct connection_settings;

/* Result: the caller's count; NULL: Error is raised. */
struct connection_settings *connection_conf_listener(struct attrs *a) ON_CONTROL;
struct connection_settings *connection_conf_connector(struct attrs *a) ON_CONTROL;

/* The open connection whose number, in decimal, this is; NULL: none. */
struct connection *connection_conf_find(const char *identity) ON_CONTROL;

#endif
