/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley batch` of a program that was built without it. */
#include "cli/cli.h"

md_status md_cli_batch(md_cli *cli, md_error *err)
{
    (void)cli;
    return md_fail(err, MD_ERR_UNSUPPORTED,
                   "this program was built without libmicrohttpd or SQLite and answers no batches");
}
