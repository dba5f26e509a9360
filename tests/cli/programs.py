# SPDX-License-Identifier: Apache-2.0
"""Programs that stand in for real ones in tests."""
import os


def write_program(path, text):
    with open(path, 'w') as f:
        f.write(text)
    os.chmod(path, 0o755)
    return path
