/* interpreter.h -- the Python interpreter inside the router: Debian's library, cut off from its surroundings.
 *
 * No variable of the environment, no `site`, no user directory and no python3 on PATH has a say in what is imported:
 * modules come from the standard library that the program was built with and from the router's own directory. Nothing
 * is written to disk.
 *
 * Thread: control, which holds the interpreter's lock for good. Nothing else enters Python.
 */
#ifndef TRUNKLINE_MGMT_INTERPRETER_H
#define TRUNKLINE_MGMT_INTERPRETER_H

#include <stddef.h>
#include <trunkline/base/err.h>
#include <trunkline/base/lock.h>

/* Start it. Once in the life of a process; costs about 5 ms.
 *   program: path of the executable; library: directory that holds the package `trunkline`.
 *   Errors: ERR_NOT_FOUND, its library or ours is not where it should be; ERR_SYSTEM, it cannot start. why: a line for
 *           people.
 */
enum err interpreter_start(const char *program, const char *library, char *why, size_t why_size) ON_CONTROL;
void interpreter_stop(void) ON_CONTROL; /* harmless when it has not started */

#endif
