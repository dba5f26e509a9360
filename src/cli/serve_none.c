/* SPDX-License-Identifier: Apache-2.0
 *
 * `medley serve` of a program that was built without a server. */
#include "cli/cli.h"

md_status md_cli_serve(md_cli *cli, md_error *err)
{
    (void)cli;
    return md_fail(err, MD_ERR_UNSUPPORTED, "this program was built without libmicrohttpd and has no server");
}
