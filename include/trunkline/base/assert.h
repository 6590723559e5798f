/* assert.h -- checks of our own logic, kept in release builds. Never on anything a peer, a file or a person sent. */
#ifndef TRUNKLINE_BASE_ASSERT_H
#define TRUNKLINE_BASE_ASSERT_H

/* Print where and what on stderr and abort. Thread: any. */
_Noreturn void assert_failed(const char *expression, const char *file, int line);

#define ASSERT(e) (__builtin_expect(!!(e), 1) ? (void)0 : assert_failed(#e, __FILE__, __LINE__))

#endif
