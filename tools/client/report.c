#include "tools/client/report.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tools/client/print.h"

static const double percentiles[] = {50, 90, 99, 99.9};
enum { PERCENTILES = sizeof percentiles / sizeof *percentiles };

const char *report_commas(uint64_t n, char *buffer)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, n);
    char *to = buffer;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return buffer;
}

static double per_second(uint64_t n, int64_t elapsed)
{
    return elapsed > 0 ? (double)n * 1e6 / (double)elapsed : 0;
}

static void put_counts(FILE *out, const struct report *r)
{
    char number[32];
    const char *separator = "";
    for (size_t i = 0; i < r->count_count; i++) {
        const struct report_count *c = &r->counts[i];
        if (c->value == 0 && !c->is_usual)
            continue;
        fprintf(out, "%s%s %s", separator, c->name, report_commas(c->value, number));
        separator = ", ";
    }
}

static void text_summary(FILE *out, const struct report *r)
{
    char number[32];
    fprintf(out, "%s: ", r->tool);
    put_counts(out, r);
    fprintf(out, " in %.3f s (%s/s, %.2f MB/s)\n", (double)r->elapsed / 1e6,
            report_commas((uint64_t)per_second(r->messages, r->elapsed), number),
            per_second(r->bytes, r->elapsed) / 1e6);
    if (!r->latency || r->latency->count == 0)
        return;
    fprintf(out, "%s: %s latency in us: min %.1f", r->tool, r->latency_name, (double)r->latency->min / 1e3);
    for (int i = 0; i < PERCENTILES; i++)
        fprintf(out, ", p%g %.1f", percentiles[i], (double)histogram_percentile(r->latency, percentiles[i]) / 1e3);
    fprintf(out, ", max %.1f, mean %.1f\n", (double)r->latency->max / 1e3, histogram_mean(r->latency) / 1e3);
}

static void json_summary(FILE *out, const struct report *r)
{
    fprintf(out, "{\"tool\": \"%s\"", r->tool);
    for (size_t i = 0; i < r->count_count; i++)
        fprintf(out, ", \"%s\": %" PRIu64, r->counts[i].name, r->counts[i].value);
    fprintf(out, ", \"bytes\": %" PRIu64 ", \"seconds\": %.6f, \"rate\": %.1f", r->bytes, (double)r->elapsed / 1e6,
            per_second(r->messages, r->elapsed));
    if (r->latency && r->latency->count) {
        fprintf(out, ", \"latency_us\": {\"count\": %" PRIu64 ", \"min\": %.3f", r->latency->count,
                (double)r->latency->min / 1e3);
        for (int i = 0; i < PERCENTILES; i++)
            fprintf(out, ", \"p%g\": %.3f", percentiles[i],
                    (double)histogram_percentile(r->latency, percentiles[i]) / 1e3);
        fprintf(out, ", \"max\": %.3f, \"mean\": %.3f}", (double)r->latency->max / 1e3,
                histogram_mean(r->latency) / 1e3);
    }
    fputs(", \"error\": ", out);
    if (r->error)
        print_json_text(out, r->error);
    else
        fputs("null", out);
    fputs("}\n", out);
}

void report_summary(FILE *out, enum report_style style, const struct report *r)
{
    if (style == REPORT_TEXT)
        text_summary(out, r);
    else if (style == REPORT_JSON)
        json_summary(out, r);
}

void progress_init(struct progress *p, int64_t interval, FILE *out)
{
    *p = (struct progress){.in_place = isatty(fileno(out))};
    p->interval = interval >= 0 ? interval : p->in_place ? 1000000 : 0;
}

int64_t progress_show(struct progress *p, FILE *out, int64_t now, const struct report *r)
{
    char number[32];
    if (p->interval == 0)
        return 0;
    if (p->last_time == 0) {
        p->last_time = now;
        p->next = now + p->interval;
    }
    if (now < p->next)
        return p->next;
    fputs(p->in_place ? "\r\033[K" : "", out);
    fprintf(out, "%s: ", r->tool);
    put_counts(out, r);
    fprintf(out, " (now %s/s)%s",
            report_commas((uint64_t)per_second(r->messages - p->last_messages, now - p->last_time), number),
            p->in_place ? "" : "\n");
    fflush(out);
    p->is_shown = p->in_place;
    p->last_time = now;
    p->last_messages = r->messages;
    /* The next full interval from here: after a pause there is one line, not many. */
    p->next = now + p->interval;
    return p->next;
}

void progress_end(struct progress *p, FILE *out)
{
    if (p->is_shown)
        fputc('\n', out);
    p->is_shown = false;
}

int report_end(struct progress *p, FILE *out, enum report_style style, const struct report *r)
{
    progress_end(p, out);
    if (r->error)
        fprintf(out, "%s: %s\n", r->tool, r->error);
    report_summary(out, style, r);
    return r->error ? TOOL_EXIT_FAILED : TOOL_EXIT_OK;
}
