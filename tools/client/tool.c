#include "tools/client/tool.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool fault_vset(struct fault *f, const char *format, va_list args)
{
    vsnprintf(f->text, sizeof f->text, format, args);
    return false;
}

bool fault_set(struct fault *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fault_vset(f, format, args);
    va_end(args);
    return false;
}

static void *checked(void *block)
{
    if (block == NULL) {
        fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
        exit(TOOL_EXIT_FAILED);
    }
    return block;
}

void *tool_alloc(size_t size)
{
    return checked(calloc(1, size ? size : 1));
}

void *tool_grow(void *block, size_t size)
{
    return checked(realloc(block, size ? size : 1));
}

char *tool_dup(const char *text)
{
    return text ? checked(strdup(text)) : NULL;
}

char *tool_dup_n(const char *text, size_t length)
{
    return checked(strndup(text, length));
}

int64_t tool_mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t tool_earlier(int64_t a, int64_t b)
{
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

int64_t tool_epoch_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool tool_number(const char *text, uint64_t min, uint64_t max, uint64_t *out, struct fault *why)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    /* strtoull takes blanks and a sign, and turns -1 into the largest number. */
    if (!isdigit((unsigned char)text[0]) || *end != '\0')
        return fault_set(why, "'%s' is not a whole number", text);
    if (errno == ERANGE || value < min || value > max)
        return fault_set(why, "'%s' is out of range: allowed are %llu to %llu", text, (unsigned long long)min,
                         (unsigned long long)max);
    *out = value;
    return true;
}

bool tool_size(const char *text, uint64_t max, uint64_t *out, struct fault *why)
{
    static const char suffixes[] = "KMG";
    size_t length = strlen(text);
    const char *suffix = length > 1 ? strchr(suffixes, toupper((unsigned char)text[length - 1])) : NULL;
    unsigned shift = suffix && *suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
    char *digits = tool_dup_n(text, shift ? length - 1 : length);
    uint64_t value;
    struct fault number_fault;
    bool ok = tool_number(digits, 0, UINT64_MAX, &value, &number_fault);
    free(digits);
    if (!ok)
        return fault_set(why, "'%s' is not a size: write bytes, or a number with K, M or G", text);
    if (value > max >> shift)
        return fault_set(why, "'%s' is too large: at most %llu bytes", text, (unsigned long long)max);
    *out = value << shift;
    return true;
}

bool tool_real(const char *text, double min, double max, double *out, struct fault *why)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || isspace((unsigned char)text[0]) || !isfinite(value))
        return fault_set(why, "'%s' is not a number", text);
    if (value < min || value > max)
        return fault_set(why, "'%s' is out of range: allowed are %.10g to %.10g", text, min, max);
    *out = value;
    return true;
}

bool tool_seconds(const char *text, int64_t *out, struct fault *why)
{
    double seconds;
    if (!tool_real(text, 0, 10 * 366 * 86400.0, &seconds, why))
        return false;
    *out = (int64_t)(seconds * 1e6);
    return true;
}

bool tool_secret_file(const char *path, char **out, struct fault *why)
{
    enum { LIMIT = 64 * 1024 };
    FILE *f = fopen(path, "re");
    if (!f)
        return fault_set(why, "cannot open %s: %s", path, strerror(errno));
    char *text = tool_alloc(LIMIT + 1);
    size_t length = fread(text, 1, LIMIT + 1, f);
    bool failed = ferror(f);
    fclose(f);
    if (failed || length > LIMIT) {
        free(text);
        return fault_set(why, failed ? "cannot read %s" : "%s is larger than 64 KiB: not a password file", path);
    }
    text[length] = '\0';
    size_t start = strspn(text, " \t\r\n");
    while (length > start && isspace((unsigned char)text[length - 1]))
        length--;
    *out = tool_dup_n(text + start, length > start ? length - start : 0);
    free(text);
    return true;
}
