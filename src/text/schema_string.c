/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings: by length, by pattern, or by format (RFC 3339 dates with real days, RFC 9562 UUIDs, RFC 2673 addresses and a
 * plain subset of RFC 5321 mailboxes). One of the three at a time: their intersection is no grammar of ours. */
#include "text/schema.h"

#include "base/status.h"

#include <inttypes.h>
#include <string.h>

#define YEAR "(\"000\" [1-9] | \"00\" [1-9] [0-9] | \"0\" [1-9] [0-9]{2} | [1-9] [0-9]{3})"
#define LEAP_YEAR                                                                                        \
    "([0-9]{2} (\"0\" [48] | [2468] [048] | [13579] [26]) | (\"0\" [48] | [2468] [048] | [13579] [26]) " \
    "\"00\")"
#define DATE                                                                                        \
    "(" YEAR " \"-\" ((\"0\" [13578] | \"1\" [02]) \"-\" (\"0\" [1-9] | [12] [0-9] | \"3\" [01]) |" \
    " (\"0\" [469] | \"11\") \"-\" (\"0\" [1-9] | [12] [0-9] | \"30\") |"                           \
    " \"02-\" (\"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8])) | " LEAP_YEAR " \"-02-29\")"
#define HOURS "([01] [0-9] | \"2\" [0-3])"
#define TIME  HOURS " \":\" [0-5] [0-9] \":\" [0-5] [0-9] (\".\" [0-9]{1,6})? (\"Z\" | [+-] " HOURS " \":\" [0-5] [0-9])"
#define BYTE  "(\"25\" [0-5] | \"2\" [0-4] [0-9] | \"1\" [0-9]{2} | [1-9]? [0-9])"
#define LABEL "[a-zA-Z0-9] ([a-zA-Z0-9-]{0,30} [a-zA-Z0-9])?"

static const struct {
    const char *name, *inside;
} format[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE " \"T\" " TIME},
    {"uuid", "[0-9a-fA-F]{8} (\"-\" [0-9a-fA-F]{4}){3} \"-\" [0-9a-fA-F]{12}"},
    {"ipv4", BYTE " (\".\" " BYTE "){3}"},
    {"hostname", LABEL " (\".\" " LABEL "){0,6}"},
    {"email", "[a-zA-Z0-9_+-]{1,20} (\".\" [a-zA-Z0-9_+-]{1,20}){0,2} \"@\" " LABEL " (\".\" " LABEL "){1,4}"},
};

static md_status put_format(const char *name, const char *path, md_buf *out, md_error *err)
{
    for (size_t i = 0; i < sizeof format / sizeof *format; i++)
        if (strcmp(format[i].name, name) == 0) {
            md_buf_printf(out, "\"\\\"\" %s \"\\\"\"", format[i].inside);
            return MD_OK;
        }
    return md_fail(
        err, MD_ERR_UNSUPPORTED,
        "the format '%s' at %s cannot be turned into a grammar; there are date, time, date-time, uuid, ipv4, "
        "hostname and email, or give a pattern",
        name, path);
}

md_status md_schema_string(md_schema *s, const json_t *flat, const char *path, md_buf *out, md_error *err)
{
    const json_t *pattern = json_object_get(flat, "pattern"), *name = json_object_get(flat, "format");
    const bool bounded = json_object_get(flat, "minLength") || json_object_get(flat, "maxLength");
    MD_FAIL_IF(pattern && !json_is_string(pattern), MD_ERR_FORMAT, "'pattern' at %s wants a string", path);
    MD_FAIL_IF(name && !json_is_string(name), MD_ERR_FORMAT, "'format' at %s wants a string", path);
    if (!!pattern + !!name + bounded > 1)
        return md_schema_refuse(pattern ? "pattern" : "format", path,
                                "it goes with no other condition on the same string", err);
    s->use |= MD_USE_CHAR;
    if (name)
        return put_format(json_string_value(name), path, out, err);
    if (pattern) {
        md_buf_puts(out, "\"\\\"\" (");
        MD_TRY(md_schema_pattern(json_string_value(pattern), json_string_length(pattern), path, out, err));
        md_buf_puts(out, ") \"\\\"\"");
        return MD_OK;
    }
    int64_t least, most;
    MD_TRY(md_schema_count(flat, "minLength", 0, path, &least, err));
    MD_TRY(md_schema_count(flat, "maxLength", -1, path, &most, err));
    MD_FAIL_IF(most >= 0 && most < least, MD_ERR_FORMAT, "no string fits the lengths at %s", path);
    if (!bounded) {
        s->use |= MD_USE_STRING;
        md_buf_puts(out, "string");
        return MD_OK;
    }
    md_buf_puts(out, "\"\\\"\" char");
    md_schema_put_times(out, least, most);
    md_buf_puts(out, " \"\\\"\"");
    return MD_OK;
}
