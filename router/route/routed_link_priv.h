/* routed_link_priv.h -- what the sources of routed links share: routed_link.c, routed_transfer.c, routed_control.c. */
#ifndef TRUNKLINE_ROUTE_ROUTED_LINK_PRIV_H
#define TRUNKLINE_ROUTE_ROUTED_LINK_PRIV_H

#include <router/route/connection.h>
#include <router/route/routed_link.h>
#include <router/route/routed_session.h>
#include <stdatomic.h>
#include <trunkline/base/list.h>

enum routed_note {
    NOTE_MADE = 1, /* far to near: it is there */
    NOTE_LIMIT,    /* sending to receiving end: credit reaches to count `number`; flag: drain */
    NOTE_ADVANCE,  /* receiving to sending end: `number` credits were given back */
    NOTE_DETACH,   /* flag: closed; octets: the encoded error, or none */
    NOTE_LOST,
};

/* What both ends have in common. Counted by each of them. */
struct routed_pair {
    _Atomic uint32_t refs;
    char *key;            /* fixed */
    uint64_t identity[2]; /* control: near, far; 0: not listed */
};

/* Why the sending end is to detach when all before it is sent. */
struct routed_ending {
    bool is_due, closed, has_error;
    struct slice error; /* encoded; ours */
};

/* One end. */
struct routed_link {
    struct routed_pair *pair; /* counted */
    /* fixed */
    bool is_far;
    struct connection *to; /* near: counted, until the request is on its way */
    char *name;            /* near: for the far end */
    char *other_name;      /* near: if that is taken there; NULL: there is none */
    char *address;         /* near: for the far end's terminus; NULL: as it came */
    char *removed, *added; /* near: from the start of the address, to it; NULL: nothing */
    /* worker */
    struct routed_session *session; /* far: that it takes part in; NULL: of a near end, or it has gone */
    struct routed_name claimed;     /* far: its name */
    struct link_token peer;         /* the other end; none: not known, or it has told its end */
    bool peer_ended;                /* it has said DETACH or LOST */
    bool told;                      /* so have we */
    bool was_detached;              /* the AMQP peer has detached the link, or has been told that we do */
    bool was_closed;                /* it has closed it */
    uint32_t first;                 /* delivery-count at the attach */
    union {
        struct {
            struct list queue; /* struct piece: what waits to be sent */
            uint32_t queued;   /* deliveries of it that have not begun */
            uint32_t skipped;  /* deliveries that were given up before they began */
            uint32_t told_limit;
            bool told_drain, has_told, pumping;
            struct routed_ending ending;
        } tx; /* sends to its AMQP peer */
        struct {
            uint32_t passed; /* deliveries, and credits given back, that the other end knows of */
            bool began_settled;
        } rx;
    };
};

/* ---- routed_control.c ---- */

struct routed_pair *routed_pair_ref(struct routed_pair *p);
void routed_pair_unref(struct routed_pair *p);
/* Ownership: the caller's. */
char *routed_with_prefix(const char *prefix, const char *rest);
/* text without `removed` in front, if it begins so. */
const char *routed_without_prefix(const char *text, const char *removed);

/* ---- routed_link.c ---- */

void routed_tell(struct link *l, enum routed_note kind, uint32_t number, bool flag, const struct slice *octets);
/* Detach now: an AMQP peer that has detached is answered. */
void routed_detach(struct link *l, bool closed, const struct slice *error);

/* ---- routed_transfer.c ---- */

/* What arrives; l may have gone. */
void routed_take_frame(struct link *l, const struct frame *f);
void routed_take_answer(struct link *l, const struct answer *a);
/* Before the first frame or flow. */
void routed_transfer_init(struct link *l);
/* The link is gone, or to be detached: what waits is given up. */
void routed_give_up_queue(struct link *l);
/* Detach, as soon as everything that came before is sent. */
void routed_detach_in_order(struct link *l, bool closed, const struct slice *error);
void routed_take_limit(struct link *l, uint32_t limit, bool drain);
void routed_take_advance(struct link *l, uint32_t n);

#endif
