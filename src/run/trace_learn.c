/* SPDX-License-Identifier: Apache-2.0
 *
 * A session that learns from a trace of another run which experts are used most, and which follow which. */
#include "base/status.h"
#include "model/session.h"
#include "run/trace.h"

static md_status check_shape(const md_session *s, const char *path, const md_trace_info *info, md_error *err)
{
    const md_spec *sp = &s->model->spec;
    bool same = info->n_layer == sp->n_layer;
    for (int32_t l = 0; same && l < sp->n_layer; l++)
        same = info->layer[l].n_ffn == s->model->stream->args.n_expert[l] &&
               (info->layer[l].n_ffn == 0 || info->layer[l].top_k == sp->layer[l].ffn.router.top_k);
    MD_FAIL_IF(!same, MD_ERR_UNSUPPORTED, "'%s' is the trace of a model of another shape ('%s')", path, info->model);
    return MD_OK;
}

static md_status learn(md_session *s, const char *path, md_trace_reader *r, md_error *err)
{
    const md_trace_record *record;
    MD_TRY(check_shape(s, path, md_trace_reader_info(r), err));
    for (;;) {
        MD_TRY(md_trace_reader_next(r, &record, err));
        if (!record)
            return MD_OK;
        if (record->kind == MD_TRACE_ROUTING && s->model->stream->args.n_expert[record->layer] > 0)
            md_session_teach(s, record->layer, record->expert, record->weight, (int64_t)record->n_rows * record->top_k);
    }
}

md_status md_session_learn(md_session *s, const char *path, md_error *err)
{
    MD_FAIL_IF(!s->streamed, MD_ERR_UNSUPPORTED, "no experts are streamed, so there is nothing to learn from a trace");
    md_trace_reader *r;
    MD_TRY(md_trace_reader_open(path, &r, err));
    const md_status status = learn(s, path, r, err);
    md_trace_reader_close(r);
    return status;
}
