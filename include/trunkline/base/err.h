/* err.h -- results of functions that can fail.
 *
 * Values come by out-parameter, set on OK only. Trouble a peer makes is not an `enum err`: it is an AMQP error on the
 * smallest scope that carries it (amqp/condition.h).
 */
#ifndef TRUNKLINE_BASE_ERR_H
#define TRUNKLINE_BASE_ERR_H

/* X(name, text): one table, from which the enum and its words are made. */
#define ERR_TABLE(X)                                                                                                   \
    X(OK, "ok")                                                                                                        \
    X(ERR_AGAIN, "not now: try again when told")                                                                       \
    X(ERR_LIMIT, "a configured limit is reached")                                                                      \
    X(ERR_INVALID, "the input is malformed")                                                                           \
    X(ERR_TRUNCATED, "the input ends too early")                                                                       \
    X(ERR_NOT_FOUND, "no such thing")                                                                                  \
    X(ERR_EXISTS, "exists already")                                                                                    \
    X(ERR_DENIED, "not permitted")                                                                                     \
    X(ERR_CLOSED, "closed")                                                                                            \
    X(ERR_SYSTEM, "the operating system refused; errno says why")                                                      \
    X(ERR_UNSUPPORTED, "not supported")

enum err {
#define X(name, text) name,
    ERR_TABLE(X)
#undef X
};

/* The words for e; never NULL. Thread: any. */
const char *err_text(enum err e);

#endif
