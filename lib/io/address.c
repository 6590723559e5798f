#include <trunkline/io/address.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sockaddr_text(const struct sockaddr *sa, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN];
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(out, size, "%s:%u", host, ntohs(in->sin_port));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(out, size, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        snprintf(out, size, "local");
    }
}

static enum err port_number(const char *digits, uint16_t *port)
{
    char *end;
    unsigned long n = strtoul(digits, &end, 10);
    if (*end != '\0' || n > UINT16_MAX)
        return ERR_INVALID;
    *port = (uint16_t)n;
    return OK;
}

enum err service_port(const char *service, uint16_t *port)
{
    if (service[0] >= '0' && service[0] <= '9')
        return port_number(service, port);
    const struct {
        const char *name;
        uint16_t port;
    } known[] = {{"amqp", 5672}, {"amqps", 5671}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(service, known[i].name) == 0) {
            *port = known[i].port;
            return OK;
        }
    struct servent entry, *found;
    char strings[2048];
    if (getservbyname_r(service, "tcp", &entry, strings, sizeof strings, &found) != 0 || found == NULL)
        return ERR_INVALID;
    *port = ntohs((uint16_t)found->s_port);
    return OK;
}
