#include <trunkline/io/address.h>

#include "harness_priv.h"

static void test_address_services_are_known_by_number_and_name(void **state)
{
    (void)state;
    const struct {
        const char *service;
        int port;
    } good[] = {{"0", 0}, {"5672", 5672}, {"65535", 65535}, {"amqp", 5672}, {"amqps", 5671}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint16_t port = 1;
        assert_int_equal(service_port(good[i].service, &port), OK);
        assert_int_equal(port, good[i].port);
    }
    const char *const bad[] = {"", "65536", "99999999999999999999", "5672x", "no-such-service-here", "-1", " 5672"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint16_t port;
        assert_int_equal(service_port(bad[i], &port), ERR_INVALID);
    }
}

static void test_address_text_has_brackets_for_ipv6_only(void **state)
{
    (void)state;
    char text[64], cut[8];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(5672)};
    inet_pton(AF_INET, "127.0.0.1", &in.sin_addr);
    sockaddr_text((struct sockaddr *)&in, text, sizeof text);
    assert_string_equal(text, "127.0.0.1:5672");
    sockaddr_text((struct sockaddr *)&in, cut, sizeof cut);
    assert_string_equal(cut, "127.0.0");
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(1)};
    inet_pton(AF_INET6, "::1", &in6.sin6_addr);
    sockaddr_text((struct sockaddr *)&in6, text, sizeof text);
    assert_string_equal(text, "[::1]:1");
    struct sockaddr other = {.sa_family = AF_UNIX};
    sockaddr_text(&other, text, sizeof text);
    assert_string_equal(text, "local");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_services_are_known_by_number_and_name),
        cmocka_unit_test(test_address_text_has_brackets_for_ipv6_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
