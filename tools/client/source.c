#include "tools/client/source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PREAMBLE_SIZE = 8, LINE_LIMIT = 16 << 20, READ_SIZE = 64 << 10 };

/* One section at most: what a size of 32 bits can say, rounded down. */
#define SECTION_LIMIT (UINT64_C(4095) << 20)

struct source {
    char *path;
    int fd; /* -1: generated */
    bool is_regular, is_stdin, was_read, has_section;
    uint64_t size, offset; /* of a regular file or generated body */
    uint64_t section_left; /* content bytes still to come in the section begun */
};

bool source_open(const char *path, struct source **out, struct fault *why)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return fault_set(why, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode)) {
        fault_set(why, "cannot read %s: %s", path, S_ISDIR(st.st_mode) ? "it is a directory" : strerror(errno));
        if (!is_stdin)
            close(fd);
        return false;
    }
    struct source *s = tool_alloc(sizeof *s);
    s->path = tool_dup(is_stdin ? "standard input" : path);
    s->fd = fd;
    s->is_stdin = is_stdin;
    s->is_regular = S_ISREG(st.st_mode);
    *out = s;
    return true;
}

struct source *source_generate(uint64_t size)
{
    struct source *s = tool_alloc(sizeof *s);
    s->path = tool_dup("generated content");
    s->fd = -1;
    s->size = size;
    return s;
}

void source_close(struct source **s)
{
    if (!*s)
        return;
    if ((*s)->fd >= 0 && !(*s)->is_stdin)
        close((*s)->fd);
    free((*s)->path);
    free(*s);
    *s = NULL;
}

bool source_is_repeatable(const struct source *s)
{
    return s->fd < 0 || s->is_regular;
}

int source_fd(const struct source *s)
{
    return s->fd;
}

bool source_restart(struct source *s, struct fault *why)
{
    if (s->was_read && !source_is_repeatable(s))
        return fault_set(why, "cannot send %s a second time: it is a pipe and was read already", s->path);
    s->was_read = true;
    s->has_section = false;
    s->offset = s->section_left = 0;
    struct stat st;
    if (s->is_regular) {
        if (fstat(s->fd, &st) < 0)
            return fault_set(why, "cannot read %s: %s", s->path, strerror(errno));
        s->size = (uint64_t)st.st_size;
    }
    return true;
}

/* Data section with a four-byte size (AMQP 1.0 part 3.2.6, Data; part 1.6.19, binary). */
static void put_preamble(uint8_t *to, uint64_t size)
{
    static const uint8_t start[] = {0x00, 0x53, 0x75, 0xb0};
    memcpy(to, start, sizeof start);
    for (int i = 0; i < 4; i++)
        to[4 + i] = (uint8_t)(size >> (24 - 8 * i));
}

/* One alphabet, then copies of what is there already, twice as many each time. */
static void generate(uint64_t offset, uint8_t *to, size_t size)
{
    size_t done = size < 26 ? size : 26;
    for (size_t i = 0; i < done; i++)
        to[i] = (uint8_t)('a' + (offset + i) % 26);
    while (done < size) {
        size_t more = done / 26 * 26 < size - done ? done / 26 * 26 : size - done;
        memcpy(to + done, to, more);
        done += more;
    }
}

static enum source_result next_of_known(struct source *s, uint8_t *buffer, size_t capacity, size_t *size,
                                        struct fault *why)
{
    uint8_t *to = buffer;
    if (s->section_left == 0) {
        uint64_t left = s->size - s->offset;
        if (left == 0 && s->has_section)
            return SOURCE_END;
        s->section_left = left < SECTION_LIMIT ? left : SECTION_LIMIT;
        s->has_section = true;
        put_preamble(to, s->section_left);
        to += PREAMBLE_SIZE;
    }
    size_t room = capacity - (size_t)(to - buffer);
    size_t want = room < s->section_left ? room : (size_t)s->section_left;
    ssize_t got = (ssize_t)want;
    if (s->fd < 0)
        generate(s->offset, to, want);
    else if (want > 0)
        got = pread(s->fd, to, want, (off_t)s->offset);
    if (got < 0 || (got == 0 && want > 0)) {
        fault_set(why, "cannot read %s: %s", s->path, got < 0 ? strerror(errno) : "it became shorter meanwhile");
        return SOURCE_FAILED;
    }
    s->offset += (uint64_t)got;
    s->section_left -= (uint64_t)got;
    *size = (size_t)(to - buffer) + (size_t)got;
    return SOURCE_BYTES;
}

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) != 0;
}

/* Each read of a pipe is a section: its end is not known before it comes. */
static enum source_result next_of_pipe(struct source *s, uint8_t *buffer, size_t capacity, size_t *size,
                                       struct fault *why)
{
    if (!is_readable(s->fd))
        return SOURCE_WAIT;
    ssize_t got = read(s->fd, buffer + PREAMBLE_SIZE, capacity - PREAMBLE_SIZE);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return SOURCE_WAIT;
    if (got < 0) {
        fault_set(why, "cannot read %s: %s", s->path, strerror(errno));
        return SOURCE_FAILED;
    }
    if (got == 0 && s->has_section)
        return SOURCE_END;
    s->has_section = true;
    put_preamble(buffer, (uint64_t)got);
    *size = PREAMBLE_SIZE + (size_t)got;
    return SOURCE_BYTES;
}

enum source_result source_next(struct source *s, uint8_t *buffer, size_t capacity, size_t *size, struct fault *why)
{
    *size = 0;
    return source_is_repeatable(s) ? next_of_known(s, buffer, capacity, size, why)
                                   : next_of_pipe(s, buffer, capacity, size, why);
}

struct lines {
    int fd;
    bool at_end;
    char *buffer;
    size_t capacity, start, end, searched; /* searched: no newline from start up to here */
};

struct lines *lines_new(int fd)
{
    struct lines *l = tool_alloc(sizeof *l);
    l->fd = fd;
    return l;
}

void lines_free(struct lines **l)
{
    if (!*l)
        return;
    free((*l)->buffer);
    free(*l);
    *l = NULL;
}

static bool take_line(struct lines *l, const char **line, size_t *size)
{
    char *newline = l->buffer ? memchr(l->buffer + l->searched, '\n', l->end - l->searched) : NULL;
    l->searched = l->end;
    if (!newline && !(l->at_end && l->end > l->start))
        return false;
    size_t line_end = newline ? (size_t)(newline - l->buffer) : l->end;
    *line = l->buffer + l->start;
    *size = line_end - l->start;
    l->start = l->searched = newline ? line_end + 1 : line_end;
    return true;
}

/* Room for one more read after what is unread, which moves to the front. */
static void make_room(struct lines *l)
{
    if (l->start > 0) {
        memmove(l->buffer, l->buffer + l->start, l->end - l->start);
        l->end -= l->start;
        l->searched -= l->start;
        l->start = 0;
    }
    if (l->capacity - l->end < READ_SIZE) {
        l->capacity = l->capacity ? l->capacity * 2 : 2 * READ_SIZE;
        l->buffer = tool_grow(l->buffer, l->capacity);
    }
}

enum source_result lines_next(struct lines *l, const char **line, size_t *size, struct fault *why)
{
    while (!take_line(l, line, size)) {
        if (l->at_end)
            return SOURCE_END;
        if (l->end - l->start > LINE_LIMIT) {
            fault_set(why, "a line of the input is longer than %d MiB", LINE_LIMIT >> 20);
            return SOURCE_FAILED;
        }
        if (!is_readable(l->fd))
            return SOURCE_WAIT;
        make_room(l);
        ssize_t got = read(l->fd, l->buffer + l->end, READ_SIZE);
        if (got < 0 && errno != EAGAIN && errno != EINTR) {
            fault_set(why, "cannot read the input: %s", strerror(errno));
            return SOURCE_FAILED;
        }
        l->at_end = got == 0;
        l->end += got > 0 ? (size_t)got : 0;
    }
    return SOURCE_BYTES;
}
