#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs into a temporary folder and uses what lies there: manual pages, completions, and a C program that finds
headers and library through pkg-config alone. Standard library only.

usage: check.py --build FOLDER --source FOLDER --meson MESON --cc COMPILER
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

SECTIONS = ['NAME', 'SYNOPSIS', 'DESCRIPTION', 'OPTIONS', 'EXAMPLES', 'EXIT STATUS']


def run(*argv, **more):
    """The standard output of a command that must succeed and say nothing on standard error."""
    r = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120, **more)
    assert r.returncode == 0 and not r.stderr, f'{argv}: exit {r.returncode}: {r.stderr}'
    return r.stdout


def find(root, pattern):
    found = glob.glob(os.path.join(root, '**', pattern), recursive=True)
    assert len(found) == 1, f'{pattern}: {found}'
    return found[0]


def manual_pages(root, o):
    program = find(root, 'bin/medley')
    commands = re.findall(r'^  (\w+) ', run(program, '--help').split('Commands:')[1].split("\n'medley")[0], re.M)
    pages = sorted(glob.glob(os.path.join(root, '**/man1/*.1'), recursive=True))
    assert [os.path.basename(p) for p in pages] == sorted(['medley.1'] + [f'medley-{c}.1' for c in commands]), pages
    for page in pages:
        text = open(page).read()
        headings = re.findall(r'^\.SH (.*)', text, re.M)
        assert [h for h in headings if h in SECTIONS] == SECTIONS, (page, headings)
        if shutil.which('groff'):
            run('groff', '-man', '-Tutf8', '-ww', '-z', page)
        if shutil.which('mandoc'):
            said = subprocess.run(['mandoc', '-Tlint', page], capture_output=True, text=True).stdout
            assert all('missing date' in line for line in said.splitlines()), said
    for c in commands:  # every option of --help is in the page
        page = open(find(root, f'man1/medley-{c}.1')).read().replace('\\', '')
        for name in re.findall(r'^ +(?:-\w, )?(--[\w-]+)', run(program, c, '--help'), re.M):
            assert f'fB{name}fR' in page, (c, name)
    if shutil.which('man'):
        shown = subprocess.run(['man', '-l', find(root, 'man1/medley-run.1')], capture_output=True, text=True,
                               env={**os.environ, 'MANWIDTH': '100', 'PAGER': 'cat', 'LC_ALL': 'C.UTF-8'})
        # A container may have its own `man` that says that there are no pages.
        assert 'ctx-overflow' in shown.stdout or 'minimized' in shown.stdout + shown.stderr, shown


def completions(root, o):
    for name, where, shell, check in (('medley', 'bash-completion/completions', 'bash', '-n'),
                                      ('_medley', 'zsh/site-functions', 'zsh', '-n'),
                                      ('medley.fish', 'fish/vendor_completions.d', 'fish', '--no-execute')):
        path = find(root, os.path.join(where, name))
        assert os.path.getsize(path) > 1000
        if shutil.which(shell):
            run(shell, check, path)


def headers_compile_alone(root, o):
    folder = os.path.dirname(find(root, 'medley/engine.h'))
    installed = {os.path.relpath(p, folder) for p in glob.glob(os.path.join(folder, '**/*.h'), recursive=True)}
    source = os.path.join(o.source, 'include', 'medley')
    assert installed == {os.path.relpath(p, source) for p in glob.glob(os.path.join(source, '**/*.h'), recursive=True)}
    for name in sorted(installed):
        run(o.cc, '-std=c17', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-I', os.path.dirname(folder), '-x', 'c', '-',
            input=f'#include <medley/{name}>\n')


def a_program_of_somebody_else(root, o):
    """Compiled and linked with what pkg-config says, and run on a model."""
    pc = find(root, 'pkgconfig/medley.pc')
    env = {**os.environ, 'PKG_CONFIG_PATH': os.path.dirname(pc), 'PKG_CONFIG_SYSROOT_DIR': root}
    flags = run('pkg-config', '--cflags', '--libs', 'medley', env=env).split()
    version = run('pkg-config', '--modversion', 'medley', env=env).strip()
    assert run(find(root, 'bin/medley'), '--version') == f'medley {version}\n'
    program, model = os.path.join(root, 'complete'), os.path.join(root, 'm.gguf')
    run(o.cc, '-o', program, os.path.join(o.source, 'examples', 'complete.c'), *flags)
    run(find(root, 'bin/medley'), 'synth', '-o', model)
    env['LD_LIBRARY_PATH'] = os.path.dirname(find(root, 'libmedley.so'))
    assert run(program, model, 'Once upon a time', 5, env=env).strip()


def main():
    p = argparse.ArgumentParser()
    for name in ('build', 'source', 'meson', 'cc'):
        p.add_argument('--' + name, required=True)
    o = p.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix='medley-install-') as root:
        # Only what is installed is looked for: the build folder is never rebuilt from inside a test.
        subprocess.run([o.meson, 'install', '-C', o.build, '--no-rebuild', '--quiet', '--destdir', root], check=True)
        checks = [manual_pages, completions, headers_compile_alone, a_program_of_somebody_else]
        for check in checks:
            try:
                check(root, o)
            except Exception as e:
                print(f'FAIL {check.__name__.replace("_", " ")}: {e}')
                failed += 1
    print(f'{len(checks) - failed} passed, {failed} failed, 0 skipped')
    sys.exit(failed > 0)


if __name__ == '__main__':
    main()
