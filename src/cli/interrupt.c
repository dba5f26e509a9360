/* SPDX-License-Identifier: Apache-2.0
 *
 * Ctrl-C and its like as a flag. A signal handler has nothing but globals to write to: these two are the program's only
 * mutable ones. */
#include "cli/cli.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static volatile sig_atomic_t times;

static void on_signal(int number)
{
    caught = number;
    if (++times >= 3) { /* nobody is looking at the flag */
        signal(number, SIG_DFL);
        raise(number);
    }
}

void md_cli_catch_interrupts(void)
{
    struct sigaction a = {.sa_handler = on_signal}; /* no SA_RESTART: a blocked read returns */
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

int md_cli_interrupted(void)
{
    return caught;
}

void md_cli_forget_interrupt(void)
{
    caught = 0;
    times = 0;
}

md_status md_cli_cancelled(md_error *err)
{
    if (err)
        *err = (md_error){.code = MD_ERR_CANCELLED};
    return MD_ERR_CANCELLED;
}
