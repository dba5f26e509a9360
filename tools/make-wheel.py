#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a wheel of the Python module with the shared library inside. Standard library only.

usage: tools/make-wheel.py BUILD-FOLDER [--out FOLDER]     the wheel's path on standard output

The wheel brings the libraries that libmedley is linked with, except the C library's own, and their licences where Debian
keeps them. Its platform tag names the newest glibc that any of them asks for. The same inputs give the same bytes.
"""
import argparse
import base64
import glob
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

SYSTEM = re.compile(r'lib(c|m|dl|rt|pthread|gcc_s)\.so|ld-linux|linux-vdso')


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def needed(library):
    """{soname: path} of what a library needs beyond the C library."""
    found = {}
    for name, path in re.findall(r'^\s*(\S+) => (\S+) \(', run('ldd', library), re.M):
        if not SYSTEM.match(name):
            found[name] = os.path.realpath(path)
    return found


def licence(path):
    """The copyright file of the Debian package that a library is from, or None."""
    for name in (path, path.replace('/usr/lib', '/lib', 1), '/usr' + path):
        r = subprocess.run(['dpkg-query', '-S', name], capture_output=True, text=True) if shutil.which('dpkg-query') else None
        if r and r.returncode == 0:
            file = f'/usr/share/doc/{r.stdout.split(":")[0]}/copyright'
            return file if os.path.exists(file) else None
    return None


def stripped(path, folder):
    copy = os.path.join(folder, os.path.basename(path))
    shutil.copy(path, copy)
    os.chmod(copy, 0o755)
    if shutil.which('strip'):
        run('strip', '--strip-unneeded', copy)
    with open(copy, 'rb') as f:
        return f.read()


def platform_tag(libraries):
    versions = {(int(a), int(b)) for data in libraries for a, b in re.findall(rb'GLIBC_(\d+)\.(\d+)', data)}
    assert versions, 'not linked with glibc: there is no platform tag for that'
    return 'manylinux_{}_{}_{}'.format(*max(versions), platform.machine())


def record_line(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()
    return f'{name},sha256={digest},{len(data)}'


def main():
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('--out')
    o = p.parse_args()
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
    module = os.path.join(o.build, 'python', 'medley')
    files = {}
    for path in sorted(glob.glob(os.path.join(module, '*.py')) + [os.path.join(module, 'py.typed')]):
        with open(path, 'rb') as f:
            files['medley/' + os.path.basename(path)] = f.read()
    assert 'medley/_api.py' in files, f'{module} is not built: ninja -C {o.build} python-module'
    version = '.'.join(re.search(rf'^MD_VERSION_{k} = (\d+)$', files['medley/_api.py'].decode(), re.M)[1]
                       for k in ('MAJOR', 'MINOR', 'PATCH'))
    info = f'medley-{version}.dist-info'
    with open(os.path.join(source, 'LICENSE'), 'rb') as f:
        files[f'{info}/licenses/LICENSE'] = f.read()
    with tempfile.TemporaryDirectory() as tmp:
        library = os.path.realpath(os.path.join(o.build, 'src', 'libmedley.so'))
        files['medley/libmedley.so'] = stripped(library, tmp)
        for soname, path in needed(library).items():
            files[f'medley/libs/{soname}'] = stripped(path, tmp)
            if licence(path):
                with open(licence(path), 'rb') as f:
                    files[f'{info}/licenses/{soname}.txt'] = f.read()
    tag = 'py3-none-' + platform_tag([data for name, data in files.items() if '.so' in name])
    files[f'{info}/METADATA'] = (
        f'Metadata-Version: 2.1\nName: medley\nVersion: {version}\nLicense: Apache-2.0\nRequires-Python: >=3.8\n'
        'Summary: Mixture-of-experts language models on CPUs: the library medley from Python\n').encode()
    files[f'{info}/WHEEL'] = f'Wheel-Version: 1.0\nGenerator: medley\nRoot-Is-Purelib: false\nTag: {tag}\n'.encode()
    lines = [record_line(name, data) for name, data in files.items()] + [f'{info}/RECORD,,', '']
    files[f'{info}/RECORD'] = '\n'.join(lines).encode()
    out = o.out or os.path.join(o.build, 'wheel')
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, f'medley-{version}-{tag}.whl')
    with zipfile.ZipFile(path + '.part', 'w', zipfile.ZIP_DEFLATED) as z:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if '.so' in name else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(entry, data)
    os.replace(path + '.part', path)
    print(path)


if __name__ == '__main__':
    try:
        main()
    except AssertionError as e:
        sys.exit(f'make-wheel: {e}')
    except subprocess.CalledProcessError as e:
        sys.exit(f'make-wheel: {e}: {e.stderr}')
