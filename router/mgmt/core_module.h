/* core_module.h -- the builtin module `_trunkline`: all that the management in Python can ask of the router.
 * Its contract is python/trunkline/core.py; what the functions do is in apply.c (changes) and query.c (views). Thread:
 * control. */
#ifndef TRUNKLINE_MGMT_CORE_MODULE_H
#define TRUNKLINE_MGMT_CORE_MODULE_H

#include <stdbool.h>
#include <trunkline/base/lock.h>

/* Make it known to the interpreter; before that starts. Result: false, no memory. */
bool core_module_register(void) ON_CONTROL;

#endif
