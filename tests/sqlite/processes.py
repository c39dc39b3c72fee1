"""Forked children that report by a pipe, for tests of what processes do to each other."""

import os
import sys
import time
import traceback

from rate_limiter.sqlite.opened import after_in_parent, before_fork

PATIENCE = 20.0  # seconds for what takes milliseconds, unless it hangs


class Child:
    """A forked process.

    Args:
        run: What it does; it gets a function that writes bytes for `read`.
    """

    def __init__(self, run):
        self._read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                os.close(self._read)
                run(lambda data: os.write(write, data))
                status = 0
            except BaseException:  # noqa: BLE001 - told by the exit status
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        os.close(write)

    def kill(self, signal):
        os.kill(self.pid, signal)

    def wait(self):
        """Return the exit status; kill a child that hangs."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        raise TimeoutError("a child hangs")

    def read(self):
        """Return what it has written, once it has ended."""
        with os.fdopen(self._read, "rb") as pipe:
            return pipe.read()


def close_files():
    """Close the files of all buckets, as a fork does; whoever asks next opens them anew."""
    before_fork()
    after_in_parent()


def in_child(run):
    """Do something in a child; return what it wrote, once it has ended well."""
    child = Child(run)
    status, written = child.wait(), child.read()
    assert status == 0, written
    return written
