/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes of memory as people write them, --memory, and --on-miss. */
#include "cli/cli.h"
#include "base/sys.h"

#include <stdlib.h>
#include <string.h>

/* A unit behind a number: K, M, G, T and KiB... count in 1024s, KB... in 1000s. Moves *p behind it. */
static double take_unit(const char **p)
{
    static const char units[] = "KMGT";
    const char *unit = **p ? strchr(units, **p >= 'a' ? **p - 'a' + 'A' : **p) : NULL;
    if (!unit)
        return 1.0;
    const bool decimal = (*p)[1] == 'B' && !(*p)[2];
    double scale = 1.0;
    for (const char *u = units; u <= unit; u++)
        scale *= decimal ? 1000.0 : 1024.0;
    *p += decimal ? 2 : strcmp(*p + 1, "iB") == 0 ? 3 : 1;
    return scale;
}

md_status md_cli_parse_size(const char *name, const char *text, uint64_t whole, uint64_t *out, md_error *err)
{
    char *number_end;
    const double v = *text >= '0' && *text <= '9' ? strtod(text, &number_end) : 0.0;
    const char *end = v > 0.0 ? number_end : text;
    double scale = 1.0;
    if (whole > 0 && *end == '%') {
        scale = (double)whole / 100.0;
        end++;
    } else {
        scale = take_unit(&end);
    }
    MD_FAIL_IF(!(v > 0.0) || *end || v * scale > 9e18 ||
                       v * scale<1.0, MD_ERR_ARGUMENT, "%s is '%s', but must be a size such as 4G, 1.5GiB or 800MB%s",
                                 name, text, whole> 0
                   ? ", or a share such as 60%"
                   : "");
    *out = (uint64_t)(v * scale);
    return MD_OK;
}

md_status md_cli_memory(const md_cli *cli, int64_t *out, md_error *err)
{
    *out = 0;
    if (!md_opt_given(cli->options, MD_OPT_RUN_MEMORY))
        return MD_OK;
    uint64_t bytes;
    MD_TRY(
        md_cli_parse_size("--memory", md_opt_text(cli->options, MD_OPT_RUN_MEMORY), md_sys_own_memory(), &bytes, err));
    *out = (int64_t)bytes;
    return MD_OK;
}

/* A share above 0, to 1, in plain decimals. */
static bool read_share(const char *text, float *out)
{
    char *end;
    if (!text[0] || text[strspn(text, "0123456789.")])
        return false;
    *out = strtof(text, &end);
    return end != text && !*end && *out > 0.0f && *out <= 1.0f;
}

bool md_cli_is_exact(const md_cli *cli)
{
    return strcmp(md_opt_text(cli->options, MD_OPT_ON_MISS), "read") == 0;
}

md_status md_cli_on_miss(const md_cli *cli, const md_model *m, md_on_miss *out, float *share, md_error *err)
{
    static const char *const words[] = {"read", "skip", "reroute"}; /* ORDER of md_on_miss */
    const char *text = md_opt_text(cli->options, MD_OPT_ON_MISS);
    *share = 0.0f;
    *out = MD_ON_MISS_READ;
    if (!text) /* a command without the option */
        return MD_OK;
    const size_t n = strcspn(text, ":");
    for (int i = 0; i < 3; i++)
        if (strlen(words[i]) == n && memcmp(words[i], text, n) == 0 &&
            (!text[n] || (i > 0 && read_share(text + n + 1, share)))) {
            *out = (md_on_miss)i;
            if (i > 0 && !md_model_streams(m))
                md_cli_note(cli, "note: --on-miss changes nothing, since all experts are in memory");
            return MD_OK;
        }
    return md_fail(
        err, MD_ERR_ARGUMENT,
        "--on-miss is '%s', but must be read, skip or reroute, the last two alone or with a share above 0 and at most 1, such as "
        "skip:0.1",
        text);
}
