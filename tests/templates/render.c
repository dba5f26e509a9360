/* SPDX-License-Identifier: Apache-2.0
 *
 * Renders what it is told, for __main__.py: each line of standard input is a JSON object
 * {"source", "variables", "add_generation_prompt", "now"}, each line of output {"text"} or {"status", "error"}. */
#include <jansson.h>
#include <medley/chat.h>
#include <stdio.h>
#include <stdlib.h>

static md_status render(json_t *job, md_rendered *out, md_error *err)
{
    json_t *source = json_object_get(job, "source");
    char *variables = json_dumps(json_object_get(job, "variables"), JSON_COMPACT);
    md_template *t = NULL;
    md_status status = md_template_new(json_string_value(source), json_string_length(source), &t, err);
    const md_chat_args args = {.add_generation_prompt = json_is_true(json_object_get(job, "add_generation_prompt")),
                               .bos_token = "<s>",
                               .eos_token = "</s>",
                               .extra_json = variables,
                               .now = json_integer_value(json_object_get(job, "now"))};
    if (status == MD_OK)
        status = md_template_render(t, &args, out, err);
    md_template_free(t);
    free(variables);
    return status;
}

static json_t *answer(json_t *job)
{
    md_rendered r = {0};
    md_error err = {0};
    const md_status status = render(job, &r, &err);
    json_t *made = status == MD_OK ? json_pack("{s:o}", "text", json_stringn(r.text, r.n))
                                   : json_pack("{s:s, s:s}", "status", md_status_name(status), "error", err.message);
    md_rendered_done(&r);
    return made;
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    int code = 0;
    while (code == 0 && getline(&line, &room, stdin) > 0) {
        json_error_t why;
        json_t *job = json_loads(line, JSON_ALLOW_NUL, &why);
        json_t *made = job ? answer(job) : NULL;
        if (!made || json_dumpf(made, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF || fflush(stdout) != 0) {
            fprintf(stderr, "render: %s\n", job ? "the answer cannot be written" : why.text);
            code = 1;
        }
        json_decref(made);
        json_decref(job);
    }
    free(line);
    return code;
}
