/* wire_priv.h -- what wire.c, which reads, and wire_write.c share. Thread: any; pure. */
#ifndef TRUNKLINE_MESH_WIRE_PRIV_H
#define TRUNKLINE_MESH_WIRE_PRIV_H

#include "wire.h"

/* Keys of the annotations that routers write. */
#define WIRE_PREFIX "x-opt-qd."
#define WIRE_INGRESS WIRE_PREFIX "ingress"
#define WIRE_TRACE WIRE_PREFIX "trace"

#endif
