#include "tools/client/source.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tools/client/section.h"

/* Read a whole body; returns its Data content joined, and how many sections it came in. */
static char *drain(struct source *s, size_t capacity, size_t *size, int *sections)
{
    struct section_scan scan = {0};
    char *content = tool_grow(NULL, 1 << 20);
    *size = 0;
    *sections = 0;
    struct fault why = {""};
    uint8_t buffer[4096];
    size_t got;
    enum source_result r;
    while ((r = source_next(s, buffer, capacity, &got, &why)) == SOURCE_BYTES) {
        const uint8_t *p = buffer;
        struct section_piece piece;
        while (section_next(&scan, &p, &got, &piece, &why) == SECTION_PIECE) {
            assert_int_equal(piece.section, SECTION_DATA);
            *sections += piece.is_preamble;
            if (!piece.is_preamble) {
                memcpy(content + *size, piece.bytes, piece.size);
                *size += piece.size;
            }
        }
    }
    if (r != SOURCE_END)
        fail_msg("%d %s", r, why.text);
    assert_true(section_is_complete(&scan));
    return content;
}

static void test_source_generated_body_has_its_size_in_one_section(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 56, 57, 4096, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct source *s = source_generate(sizes[i]);
        struct fault why;
        for (int round = 0; round < 2; round++) {
            size_t size;
            int sections;
            assert_true(source_restart(s, &why));
            char *content = drain(s, 64, &size, &sections);
            assert_int_equal(size, sizes[i]);
            assert_int_equal(sections, 1);
            for (size_t k = 0; k < size; k++)
                assert_int_equal(content[k], 'a' + k % 26);
            free(content);
        }
        source_close(&s);
    }
}

static void test_source_more_than_four_gib_comes_in_several_sections(void **state)
{
    (void)state;
    struct source *s = source_generate(UINT64_C(5) << 30);
    struct fault why;
    struct section_scan scan = {0};
    static uint8_t buffer[16 << 20];
    size_t got;
    uint64_t content = 0;
    int sections = 0;
    assert_true(source_restart(s, &why));
    while (source_next(s, buffer, sizeof buffer, &got, &why) == SOURCE_BYTES) {
        const uint8_t *p = buffer;
        struct section_piece piece;
        while (section_next(&scan, &p, &got, &piece, &why) == SECTION_PIECE) {
            sections += piece.is_preamble;
            content += piece.is_preamble ? 0 : piece.size;
        }
    }
    assert_true(content == UINT64_C(5) << 30);
    assert_int_equal(sections, 2);
    assert_true(section_is_complete(&scan));
    source_close(&s);
}

static void test_source_file_is_read_whole_and_again(void **state)
{
    (void)state;
    char path[] = "/tmp/source_test.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    char text[10000];
    memset(text, 'z', sizeof text);
    assert_int_equal(write(fd, text, sizeof text), sizeof text);
    struct source *s;
    struct fault why;
    assert_true(source_open(path, &s, &why));
    assert_true(source_is_repeatable(s));
    for (int round = 0; round < 2; round++) {
        size_t size;
        int sections;
        assert_true(source_restart(s, &why));
        char *content = drain(s, 4096, &size, &sections);
        assert_int_equal(size, sizeof text);
        assert_memory_equal(content, text, size);
        assert_int_equal(sections, 1);
        free(content);
    }
    /* Cut while it is sent. */
    uint8_t buffer[100];
    size_t got;
    assert_true(source_restart(s, &why));
    assert_int_equal(source_next(s, buffer, sizeof buffer, &got, &why), SOURCE_BYTES);
    assert_int_equal(ftruncate(fd, 10), 0);
    assert_int_equal(source_next(s, buffer, sizeof buffer, &got, &why), SOURCE_FAILED);
    assert_non_null(strstr(why.text, "shorter"));
    source_close(&s);
    close(fd);
    unlink(path);
    assert_false(source_open(path, &s, &why));
    assert_false(source_open("/tmp", &s, &why));
}

static void test_source_pipe_waits_then_ends_and_cannot_be_repeated(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    char path[40];
    snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
    struct source *s;
    struct fault why;
    assert_true(source_open(path, &s, &why));
    assert_false(source_is_repeatable(s));
    assert_true(source_restart(s, &why));
    uint8_t buffer[100];
    size_t got;
    assert_int_equal(source_next(s, buffer, sizeof buffer, &got, &why), SOURCE_WAIT);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    assert_int_equal(source_next(s, buffer, sizeof buffer, &got, &why), SOURCE_BYTES);
    assert_int_equal(got, 8 + 3);
    assert_memory_equal(buffer,
                        "\0\x53\x75\xb0\0\0\0\x03"
                        "abc",
                        11);
    close(fds[1]);
    assert_int_equal(source_next(s, buffer, sizeof buffer, &got, &why), SOURCE_END);
    assert_false(source_restart(s, &why));
    source_close(&s);
    close(fds[0]);
}

static void test_lines_of_any_split_come_whole(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct lines *l = lines_new(fds[0]);
    const char *line;
    size_t size;
    struct fault why;
    assert_int_equal(lines_next(l, &line, &size, &why), SOURCE_WAIT);
    assert_int_equal(write(fds[1], "on", 2), 2);
    assert_int_equal(lines_next(l, &line, &size, &why), SOURCE_WAIT);
    assert_int_equal(write(fds[1], "e\n\ntwo\nthr", 10), 10);
    static const char *const expected[] = {"one", "", "two"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(lines_next(l, &line, &size, &why), SOURCE_BYTES);
        assert_int_equal(size, strlen(expected[i]));
        assert_memory_equal(line, expected[i], size);
    }
    assert_int_equal(lines_next(l, &line, &size, &why), SOURCE_WAIT);
    close(fds[1]);
    assert_int_equal(lines_next(l, &line, &size, &why), SOURCE_BYTES);
    assert_int_equal(size, 3);
    assert_int_equal(lines_next(l, &line, &size, &why), SOURCE_END);
    assert_int_equal(lines_next(l, &line, &size, &why), SOURCE_END);
    lines_free(&l);
    close(fds[0]);
}

static void test_lines_longer_than_the_limit_are_refused(void **state)
{
    (void)state;
    FILE *f = tmpfile();
    assert_non_null(f);
    char block[1 << 16];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < (17 << 20) / (int)sizeof block; i++)
        assert_int_equal(fwrite(block, 1, sizeof block, f), sizeof block);
    fflush(f);
    rewind(f);
    struct lines *l = lines_new(fileno(f));
    const char *line;
    size_t size;
    struct fault why = {""};
    assert_int_equal(lines_next(l, &line, &size, &why), SOURCE_FAILED);
    assert_non_null(strstr(why.text, "16 MiB"));
    lines_free(&l);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_generated_body_has_its_size_in_one_section),
        cmocka_unit_test(test_source_more_than_four_gib_comes_in_several_sections),
        cmocka_unit_test(test_source_file_is_read_whole_and_again),
        cmocka_unit_test(test_source_pipe_waits_then_ends_and_cannot_be_repeated),
        cmocka_unit_test(test_lines_of_any_split_come_whole),
        cmocka_unit_test(test_lines_longer_than_the_limit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
