/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/guard.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#include <arpa/inet.h>
#include <sha2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define MOST_FILE_BYTES (1u << 21)

/* ---- keys ---- */

/* One line without its end; blanks around it do not count. Gives the length, 0 for none. */
static size_t trim(const char **p, size_t n)
{
    while (n > 0 && (**p == ' ' || **p == '\t')) {
        ++*p;
        n--;
    }
    while (n > 0 && ((*p)[n - 1] == ' ' || (*p)[n - 1] == '\t' || (*p)[n - 1] == '\r'))
        n--;
    return n > 0 && **p == '#' ? 0 : n;
}

static bool is_printable(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] <= 0x20 || (unsigned char)p[i] >= 0x7f)
            return false;
    return true;
}

char (*md_keys_parse(const char *text, size_t n, size_t *count, md_error *err))[MD_KEY_MOST_BYTES]
{
    char(*key)[MD_KEY_MOST_BYTES] = NULL;
    size_t line = 0;
    *count = 0;
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at), *p = text + at;
        const size_t whole = end ? (size_t)(end - p) : n - at, length = trim(&p, whole);
        at += whole + 1;
        line++;
        if (length == 0)
            continue;
        const char *wrong = length >= MD_KEY_MOST_BYTES ? "is longer than 255 bytes"
                            : !is_printable(p, length)  ? "holds more than printable ASCII without blanks"
                            : *count == MD_KEYS_MOST    ? "is one more than the 4096 keys that are possible"
                                                        : NULL;
        char(*more)[MD_KEY_MOST_BYTES] = wrong ? NULL : md_realloc(key, *count + 1, sizeof *key);
        if (!more) {
            if (wrong)
                (void)md_fail(err, MD_ERR_FORMAT, "line %zu of the file of API keys %s", line, wrong);
            else
                (void)md_fail_memory(err, "the API keys");
            md_free(key);
            return NULL;
        }
        key = more;
        memset(key[*count], 0, sizeof *key);
        memcpy(key[(*count)++], p, length);
    }
    if (!key)
        (void)md_fail(err, MD_ERR_FORMAT, "the file of API keys holds no key");
    return key;
}

static md_status read_file(const char *path, md_buf *out, md_error *err)
{
    md_in in;
    MD_TRY(md_in_open(path, &in, err));
    md_status status = in.n <= MOST_FILE_BYTES
                           ? MD_OK
                           : md_fail(err, MD_ERR_LIMIT, "'%s' is too large for a file of API keys", path);
    char *bytes = status == MD_OK ? md_calloc((size_t)in.n + 1, 1) : NULL;
    if (status == MD_OK)
        status = bytes ? md_in_read(&in, 0, bytes, (size_t)in.n, err) : md_fail_memory(err, "the API keys");
    md_in_close(&in);
    if (status == MD_OK)
        *out = (md_buf){.data = bytes, .len = (size_t)in.n, .cap = (size_t)in.n + 1};
    else
        md_free(bytes);
    return status;
}

md_status md_keys_reload(md_keys *k, md_error *err)
{
    if (!k->path)
        return MD_OK;
    md_buf text = {0};
    size_t n;
    md_status status = read_file(k->path, &text, err);
    char(*key)[MD_KEY_MOST_BYTES] = status == MD_OK ? md_keys_parse(text.data, text.len, &n, err) : NULL;
    if (text.data)
        explicit_bzero(text.data, text.len);
    md_buf_done(&text);
    MD_TRY(status);
    if (!key)
        return md_fail_within(err, MD_ERR_FORMAT, "'%s'", k->path);
    pthread_mutex_lock(&k->lock);
    char(*old)[MD_KEY_MOST_BYTES] = k->key;
    const size_t n_old = k->n;
    k->key = key;
    k->n = n;
    pthread_mutex_unlock(&k->lock);
    if (old)
        explicit_bzero(old, n_old * sizeof *old);
    md_free(old);
    return MD_OK;
}

md_status md_keys_init(md_keys *k, const char *path, md_error *err)
{
    *k = (md_keys){.path = path};
    MD_FAIL_IF(pthread_mutex_init(&k->lock, NULL) != 0, MD_ERR_MEMORY, "out of memory for the API keys");
    const md_status status = md_keys_reload(k, err);
    if (status != MD_OK)
        md_keys_done(k);
    return status;
}

void md_keys_done(md_keys *k)
{
    if (k->key)
        explicit_bzero(k->key, k->n * sizeof *k->key);
    md_free(k->key);
    pthread_mutex_destroy(&k->lock);
    *k = (md_keys){0};
}

bool md_keys_exposed(const md_keys *k)
{
    struct stat st;
    return k->path && stat(k->path, &st) == 0 && (st.st_mode & S_IROTH);
}

int md_keys_find(md_keys *k, const char *given)
{
    char padded[MD_KEY_MOST_BYTES] = {0};
    int found = 0;
    if (!k->path)
        return -1;
    const size_t n = given ? strlen(given) : 0;
    if (n == 0 || n >= sizeof padded)
        return 0;
    memcpy(padded, given, n);
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->n; i++) { /* all bytes of all keys, whatever they are */
        volatile unsigned char differs = 0;
        for (size_t j = 0; j < sizeof padded; j++)
            differs |= (unsigned char)(padded[j] ^ k->key[i][j]);
        const int same = ((int)differs - 1) >> 8 & 1;
        found |= (int)(i + 1) * same * (found == 0);
    }
    pthread_mutex_unlock(&k->lock);
    return found;
}

void md_keys_client(const char *key, char out[MD_CLIENT_BYTES])
{
    static const char purpose[] = "medley client"; /* its zero is hashed, too: it ends there */
    uint8_t hash[SHA256_DIGEST_LENGTH];
    SHA2_CTX c;
    SHA256Init(&c);
    SHA256Update(&c, (const uint8_t *)purpose, sizeof purpose);
    SHA256Update(&c, (const uint8_t *)key, strlen(key));
    SHA256Final(hash, &c);
    memcpy(out, "key-", 5);
    for (int i = 0; i < 16; i++)
        snprintf(out + 4 + 2 * i, 3, "%02x", hash[i]);
}

/* ---- hosts ---- */

/* Nothing, or ":" and digits. */
static bool is_port(const char *p)
{
    return *p == '\0' || (*p == ':' && strspn(p + 1, "0123456789") == strlen(p + 1));
}

/* The name of "name:port" or "[address]:port": its length, and where it begins; 0: malformed. */
static size_t host_name(const char **host)
{
    const bool bracket = **host == '[';
    if (bracket)
        ++*host;
    const size_t n = strcspn(*host, bracket ? "]" : ":");
    const char *rest = *host + n;
    if (bracket && *rest++ != ']')
        return 0;
    return is_port(rest) ? n : 0;
}

static bool is_loopback(const char *name, size_t n)
{
    char text[64];
    struct in_addr v4;
    struct in6_addr v6;
    if (n == 0 || n >= sizeof text)
        return false;
    memcpy(text, name, n);
    text[n] = '\0';
    if (strcasecmp(text, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, text, &v6) == 1 && memcmp(&v6, &in6addr_loopback, sizeof v6) == 0;
}

bool md_host_allowed(const char *host, const char *const *allowed, size_t n)
{
    if (!host)
        return false;
    const size_t length = host_name(&host);
    if (is_loopback(host, length))
        return true;
    for (size_t i = 0; i < n && length > 0; i++)
        if (strlen(allowed[i]) == length && strncasecmp(allowed[i], host, length) == 0)
            return true;
    return false;
}

bool md_is_json_type(const char *type)
{
    static const char json[] = "application/json";
    if (!type || strncasecmp(type, json, sizeof json - 1) != 0)
        return false;
    const char rest = type[sizeof json - 1];
    return rest == '\0' || rest == ';' || rest == ' ';
}
