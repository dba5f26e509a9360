# SPDX-License-Identifier: Apache-2.0
"""The program on a terminal of its own: what it shows there, and a person who types."""
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time


class Terminal:
    def __init__(self, world, args, env=None, rows=0, columns=0):
        argv = [world.program, *(world.fill(a) for a in args)]
        self.seen = b''
        self.looked = 0  # how much of it earlier waits have used up
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
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

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

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


class Screen:
    """What a terminal of that size makes of the bytes sent to it: enough of ECMA-48 and of DEC's scrolling regions for what the
    program uses, and anything else is an error. lines: what it shows; gone: what scrolled off its top, the first line first."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.lines, self.gone = [[' '] * columns for _ in range(rows)], []
        self.row = self.column = 0
        self.top, self.bottom = 0, rows - 1
        self.saved = (0, 0)
        self.wrap = False  # the last column was written: the next character begins a line

    def _index(self):
        if self.row != self.bottom:
            self.row = min(self.row + 1, self.rows - 1)
            return
        line = self.lines.pop(self.top)
        if self.top == 0:
            self.gone.append(line)
        self.lines.insert(self.bottom, [' '] * self.columns)

    def _put(self, c):
        if self.wrap:
            self.column, self.wrap = 0, False
            self._index()
        self.lines[self.row][self.column] = c
        self.wrap = self.column == self.columns - 1
        self.column += not self.wrap

    def _control(self, numbers, final):
        n = [int(x) for x in numbers.split(';') if x]
        if final == 'A':
            self.row = max(self.row - (n[0] if n else 1), 0)
        elif final == 'E':
            self.row, self.column = min(self.row + 1, self.bottom), 0
        elif final == 'H':
            self.row, self.column = (n[0] - 1, n[1] - 1) if n else (0, 0)
        elif final == 'K':
            self.lines[self.row][self.column:] = [' '] * (self.columns - self.column)
        elif final == 'J':
            self._control('', 'K')
            for r in range(self.row + 1, self.rows):
                self.lines[r] = [' '] * self.columns
        elif final == 'r':
            self.top, self.bottom = (n[0] - 1, n[1] - 1) if n else (0, self.rows - 1)
            self.row = self.column = 0
        else:
            assert final == 'm', f'CSI {numbers}{final}'
        if final not in 'mK':
            self.wrap = False

    def feed(self, data):
        for m in re.finditer('\x1b\\[([0-9;]*)([A-Za-z])|\x1b(.)|(.)', data.decode(errors='replace'), re.S):
            numbers, final, escape, c = m.groups()
            if final:
                self._control(numbers, final)
            elif escape == '7':
                self.saved = (self.row, self.column, self.wrap)
            elif escape == '8':
                self.row, self.column, self.wrap = self.saved
            elif escape == 'D' or c == '\n':
                self._index()
            elif c == '\r':
                self.column, self.wrap = 0, False
            else:
                assert escape is None and (c == '\t' or ord(c) >= 0x20), f'{m[0]!r}'
                if c == '\t':
                    self.column = min((self.column // 8 + 1) * 8, self.columns - 1)
                else:
                    self._put(c)
        return self

    def shown(self):
        return [''.join(x).rstrip() for x in self.lines]

    def text(self):
        """All lines, those that are gone too, without empty ones at the end."""
        return '\n'.join(''.join(x).rstrip() for x in self.gone + self.lines).rstrip()
