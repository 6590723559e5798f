/* histogram.h -- counts of durations, kept in constant memory however many there are.
 *
 * Buckets are linear within each power of two, 64 to the power, so a percentile read back is at most 1.6 % above the
 * recorded value, and exact below 128.
 *
 * Thread: one at a time.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_HISTOGRAM_H
#define TRUNKLINE_TOOLS_CLIENT_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB_BITS = 6, HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS };

struct histogram {
    uint64_t count, min, max;
    double sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* All zero bytes is an empty histogram. */
void histogram_add(struct histogram *h, uint64_t value);

/* The value that the given share (0 to 100) of all values does not exceed, rounded up to its bucket's end but never
 * above the maximum; 0 if nothing was added. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

double histogram_mean(const struct histogram *h);

#endif
