/* query.h -- rows of what the router knows, for management: only the rows and columns that were asked for are made.
 * Kinds and columns: python/trunkline/core.py, "Kinds for query and read". Counters are read while workers change them.
 * Thread: control. */
#ifndef TRUNKLINE_MGMT_QUERY_H
#define TRUNKLINE_MGMT_QUERY_H

#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/lock.h>

struct _object;

/* Once, before the first question. */
struct query_conf {
    mono_ms started;   /* when the router began: its uptime counts from here */
    mono_ms stuck_age; /* deliveries of a link that has settled none for so long count as stuck */
};
void query_configure(const struct query_conf *conf) ON_CONTROL;

/* Rows `offset` .. of all objects of a kind, at most count of them (0: all that are left), each a tuple with one value
 * for each of the names in the tuple `columns`. connection: of the client that asks; 0: none. Result: a new list; NULL:
 * raised Error 'Value' for an unknown kind or column. */
struct _object *query_rows(const char *kind, struct _object *columns, size_t offset, size_t count,
                           uint64_t connection) ON_CONTROL;
/* The same of the objects behind position `after` (0: from the first), for one answer in several turns: what goes
 * meanwhile is not shown, what stays is, once. Of connections, links and addresses only.
 *   Result: a new tuple of the list and the position of its last row, `after` if it is empty; NULL: raised as above. */
struct _object *query_page(const char *kind, struct _object *columns, uint64_t after, size_t offset, size_t count,
                           uint64_t connection) ON_CONTROL;
/* The row of one object; None if there is none. */
struct _object *query_read(const char *kind, const char *identity, struct _object *columns,
                           uint64_t connection) ON_CONTROL;

#endif
