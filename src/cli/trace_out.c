/* SPDX-License-Identifier: Apache-2.0
 *
 * --trace FILE of the commands that run a model: a trace of all that their session does. */
#include "cli/cli.h"

md_status md_cli_tracing_begin(const md_cli *cli, const md_model *m, md_session *s, md_cli_tracing *t, md_error *err)
{
    const char *path = md_opt_text(cli->options, MD_OPT_TRACE_OUT);
    if (!path)
        return MD_OK;
    if (!t->writer)
        MD_TRY(md_trace_writer_open_model(path, m, &t->writer, err));
    return md_session_trace_begin(s, t->writer, &t->session, err);
}

void md_cli_tracing_leave(md_cli_tracing *t)
{
    md_session_trace_end(t->session);
    t->session = NULL;
}

md_status md_cli_tracing_end(md_cli_tracing *t, md_status status, md_error *err)
{
    md_error own = {0};
    md_cli_tracing_leave(t);
    const md_status closed = md_trace_writer_close(t->writer, &own);
    *t = (md_cli_tracing){0};
    if (status != MD_OK || closed == MD_OK)
        return status;
    return md_fail(err, closed, "%s", own.message);
}
