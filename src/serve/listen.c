/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/listen.h"

#include "base/status.h"
#include "base/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int bound_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &n) != 0)
        return 0;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                          : ((struct sockaddr_in *)&at)->sin_port);
}

static int listen_at(const struct addrinfo *a)
{
    const int on = 1, fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1024) == 0)
        return fd;
    const int why = errno;
    close(fd);
    errno = why;
    return -1;
}

md_status md_listen(const char *host, int *port, int *fd, md_error *err)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    md_buf service = {0};
    md_buf_printf(&service, "%d", *port);
    *fd = -1;
    if (service.failed)
        return md_fail_memory(err, "the server's address");
    const int failed = getaddrinfo(host, service.data, &hints, &list);
    md_buf_done(&service);
    MD_FAIL_IF(failed, MD_ERR_ARGUMENT, "--host %s is no address of this machine: %s", host, gai_strerror(failed));
    errno = 0;
    for (const struct addrinfo *a = list; a && *fd < 0; a = a->ai_next)
        *fd = listen_at(a);
    const int why = errno;
    freeaddrinfo(list);
    MD_FAIL_IF(*fd < 0, MD_ERR_IO, "cannot listen at %s, port %d: %s", host, *port, strerror(why));
    *port = bound_port(*fd);
    return MD_OK;
}

/* ---- connections ---- */

md_peer *md_peer_new(md_server *s, int fd)
{
    md_peer *p = md_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->fd = fd;
    p->waiting_since = md_sys_seconds();
    pthread_mutex_lock(&s->lock);
    p->next = s->peers;
    if (p->next)
        p->next->previous = p;
    s->peers = p;
    pthread_mutex_unlock(&s->lock);
    return p;
}

void md_peer_free(md_server *s, md_peer *p)
{
    pthread_mutex_lock(&s->lock);
    if (p->previous)
        p->previous->next = p->next;
    else
        s->peers = p->next;
    if (p->next)
        p->next->previous = p->previous;
    pthread_mutex_unlock(&s->lock);
    md_free(p);
}

void md_peer_has_request(md_server *s, md_peer *p, bool has)
{
    pthread_mutex_lock(&s->lock);
    p->waiting_since = has ? 0.0 : md_sys_seconds();
    pthread_mutex_unlock(&s->lock);
}

void md_peers_tick(md_server *s)
{
    const double now = md_sys_seconds();
    pthread_mutex_lock(&s->lock);
    for (md_peer *p = s->peers; p; p = p->next)
        if (p->waiting_since > 0.0 && now - p->waiting_since > MD_HTTP_REQUEST_SECONDS) {
            shutdown(p->fd, SHUT_RDWR);
            p->waiting_since = 0.0;
        }
    pthread_mutex_unlock(&s->lock);
}

bool md_peers_busy(md_server *s)
{
    bool busy = false;
    pthread_mutex_lock(&s->lock);
    for (const md_peer *p = s->peers; p && !busy; p = p->next)
        busy = p->waiting_since <= 0.0;
    pthread_mutex_unlock(&s->lock);
    return busy;
}
