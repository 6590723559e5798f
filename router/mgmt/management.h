/* management.h -- the management in Python, as the rest of the router sees it: check a file, start from it, answer
 * requests. Contract with Python: python/trunkline/core.py. Thread: control, with the interpreter started. */
#ifndef TRUNKLINE_MGMT_MANAGEMENT_H
#define TRUNKLINE_MGMT_MANAGEMENT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <trunkline/base/err.h>
#include <trunkline/base/lock.h>

/* Check the configuration file and apply nothing. What is wrong is printed on `out`, one line each.
 *   Errors: ERR_INVALID, something is wrong with it. */
enum err management_check(const char *path, FILE *out) ON_CONTROL;

/* Read the file and carry it out, through apply.h. Errors: ERR_INVALID, why has the last word, for people; what has
 * been set up so far stays and is router_stop()'s. */
enum err management_start(const char *path, char *why, size_t why_size) ON_CONTROL;

/* Load what answers requests, so that the first one need not wait for it. A failure is logged, and again with each
 * request. */
void management_warm_up(void) ON_CONTROL;

/* Call the agent's go_on() in the next turn of the loop that control runs: an answer that takes long is made a part
 * each turn. */
void management_again(void) ON_CONTROL;

/* Answer the messages that come to the router's own addresses: to be given to request_serve(). While the agent has as
 * many unfinished answers as it may, those that come wait, unaccepted, as long as their links stay; more than can wait
 * are released. */
void management_on_request(const uint8_t *message, size_t n, uint64_t connection_id, const char *key);
/* Give up those that wait. To be called before the router stops. */
void management_stop(void) ON_CONTROL;

#endif
