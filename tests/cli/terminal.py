# SPDX-License-Identifier: Apache-2.0
"""The program on a terminal of its own: what it shows there, and a person who types."""
import os
import pty
import select
import time


class Terminal:
    def __init__(self, world, args, env=None):
        argv = [world.program, *(world.fill(a) for a in args)]
        self.seen = b''
        self.looked = 0  # how much of it earlier waits have used up
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(world.tmp)
            os.execve(argv[0], argv, {**world.env, **(env or {})})

    def _read(self, timeout):
        """Takes in what is there; False once the program has gone."""
        if not select.select([self.fd], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def wait(self, text, timeout=60):
        """Reads until text has been shown, after what earlier waits found. Returns everything up to it."""
        text, end = text.encode(), time.monotonic() + timeout
        while text not in self.seen[self.looked:]:
            alive = self._read(0.1)
            if text in self.seen[self.looked:]:
                break
            assert alive and time.monotonic() < end, f'{text!r} was not shown: {self.seen[-600:]!r}'
        at = self.seen.index(text, self.looked) + len(text)
        shown, self.looked = self.seen[self.looked:at], at
        return shown

    def say(self, text, after=None):
        if after:
            self.wait(after)
            time.sleep(0.05)  # the prompt is shown just before the terminal is switched to editing
        os.write(self.fd, text.encode())

    def end(self, timeout=60):
        """Waits for the program to leave; its exit code, or minus the signal."""
        end = time.monotonic() + timeout
        while self._read(0.1):
            if time.monotonic() > end:
                os.kill(self.pid, 9)
                os.waitpid(self.pid, 0)
                raise AssertionError(f'still there: {self.seen[-600:]!r}')
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def show(world, args, env=None):
    """(everything shown, exit code) of a command that asks nothing."""
    t = Terminal(world, args, env)
    code = t.end()
    return t.seen, code


def is_harmless(shown):
    return all(b >= 0x20 or b in b'\r\n\t' for b in shown) and b'\x7f' not in shown and b'\xc2\x9b' not in shown
