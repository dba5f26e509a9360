/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening, and connections that dawdle: who does not bring a whole request within a time is closed, however many bytes come
 * one by one. */
#ifndef MD_SERVE_LISTEN_H
#define MD_SERVE_LISTEN_H

#include "serve/http.h"

#define MD_HTTP_THREADS         2
#define MD_HTTP_IDLE_SECONDS    60
#define MD_HTTP_REQUEST_SECONDS 60.0

/* A listening socket at host and port; *port becomes the one that it has. */
md_status md_listen(const char *host, int *port, int *fd, md_error *err) MD_MUST_USE;

/* NULL: memory is out; such a connection is not watched. */
md_peer *md_peer_new(md_server *s, int fd);
void md_peer_free(md_server *s, md_peer *p);
/* A whole request is there, or the answer to it is done. */
void md_peer_has_request(md_server *s, md_peer *p, bool has);
void md_peers_tick(md_server *s);
bool md_peers_busy(md_server *s); /* an answer is on its way */

/* http.c */
md_status md_http_start(md_server *s, md_error *err) MD_MUST_USE;

#endif
