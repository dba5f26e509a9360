/* SPDX-License-Identifier: Apache-2.0
 *
 * Ctrl-C and its like as a flag; and the terminal's lower lines, which must not be kept by a program that was killed or stopped. A
 * signal handler has nothing but globals to write to: these are the program's only mutable ones. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static volatile sig_atomic_t times;
static volatile sig_atomic_t hangups;
static volatile sig_atomic_t region;
static volatile sig_atomic_t resumed;

static void give_region_back(void)
{
    const int before = errno;
    if (region && write(STDERR_FILENO, MD_CLI_REGION_END, sizeof MD_CLI_REGION_END - 1) < 0)
        region = 0; /* there is no terminal any more */
    errno = before;
}

static void on_signal(int number)
{
    caught = number;
    if (++times >= 3) { /* nobody is looking at the flag */
        give_region_back();
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

static void on_hangup(int number)
{
    (void)number;
    hangups = hangups + 1;
}

void md_cli_catch_hangups(void)
{
    struct sigaction a = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    sigaction(SIGHUP, &a, NULL);
}

int md_cli_hangups(void)
{
    return hangups;
}

/* ---- lower lines ---- */

/* A shell without jobs has its programs ignore SIGTSTP: so it stays. */
static bool is_ignored(int number)
{
    struct sigaction a;
    return sigaction(number, NULL, &a) == 0 && a.sa_handler == SIG_IGN;
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction a = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    sigaction(number, &a, NULL);
}

/* Ctrl-Z: gives the lines back, then stops as if nobody had caught it. */
static void on_stop(int number)
{
    give_region_back();
    resumed = 1;
    handle(number, SIG_DFL);
    raise(number); /* comes when this handler is left */
}

void md_cli_keep_region(bool kept)
{
    region = kept;
    if (!is_ignored(SIGTSTP))
        handle(SIGTSTP, kept ? on_stop : SIG_DFL);
}

bool md_cli_take_resumed(void)
{
    const bool was = resumed != 0;
    resumed = 0;
    return was;
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
