/* SPDX-License-Identifier: Apache-2.0
 *
 * A session that starts where the last one ended: --learn, --pin, --uses, and the list of uses in the user's cache folder. What
 * goes wrong with that list is a note, never the end of an answer. */
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* The file of uses: named, or of this model in the cache folder; NULL: none is to be kept. */
static char *uses_path(const md_cli *cli, const md_model *m)
{
    const char *given = md_opt_text(cli->options, MD_OPT_USES);
    if (md_opt_given(cli->options, MD_OPT_USES))
        return strcmp(given, "off") == 0 ? NULL : md_strdup(given);
    char name[64];
    snprintf(name, sizeof name, "uses/%016" PRIx64, md_model_get_identity(m));
    return md_cli_cache_path(name);
}

static void load_uses(const md_cli *cli, const md_model *m, md_session *s)
{
    char *path = uses_path(cli, m);
    md_error err;
    const bool there = path && (access(path, F_OK) == 0 || md_opt_given(cli->options, MD_OPT_USES));
    if (there && access(path, F_OK) != 0)
        md_cli_note(cli, "note: there is no '%s' yet; it will be written", path);
    else if (there && md_session_load_uses(s, path, &err) != MD_OK)
        md_cli_note(cli, "note: starting cold: %s", err.message);
    md_free(path);
}

md_status md_cli_warm(const md_cli *cli, const md_model *m, md_session *s, md_error *err)
{
    const md_options *o = cli->options;
    const char *trace = md_opt_text(o, MD_OPT_LEARN);
    if (!md_model_streams(m)) {
        if (trace || md_opt_given(o, MD_OPT_PIN))
            md_cli_note(cli, "note: all experts are in memory, so --learn and --pin change nothing");
        return MD_OK;
    }
    if (trace)
        MD_TRY(md_session_learn(s, trace, err));
    else
        load_uses(cli, m, s);
    md_session_warm(s, md_opt_number(o, MD_OPT_PIN) / 100.0);
    return MD_OK;
}

void md_cli_keep_uses(const md_cli *cli, const md_model *m, const md_session *s)
{
    md_counters c;
    if (!s || !md_model_streams(m))
        return;
    md_session_counters(s, &c);
    char *path = c.rows > 0 ? uses_path(cli, m) : NULL;
    md_error err;
    if (path) {
        md_cli_make_folders(path);
        if (md_session_save_uses(s, path, &err) != MD_OK)
            md_cli_note(cli, "note: which experts were used was not kept for the next start: %s", err.message);
    }
    md_free(path);
}
