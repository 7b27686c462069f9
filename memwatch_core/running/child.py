"""The watched program as a child process: starts it, forwards signals, waits for it.

Ctrl-C in a terminal reaches the whole foreground process group, so the child gets it by itself. A signal that another
process sends reaches only this process. So these signals are blocked and received one by one with their origin: those
from a process are forwarded, those from the kernel aren't.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

from ..errors import SessionError

FORWARDED = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2))
_BY_KERNEL = 0x80  # SI_KERNEL: from the terminal


class Signals:
    """Signals to this process, blocked and received one by one. Create and use it in the main thread."""

    def __init__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED | {signal.SIGCHLD})

    def release(self) -> None:
        """Unblocks them; in a forked child, before it runs something else, as well."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def take(self, timeout: float | None) -> signal.struct_siginfo | None:
        """The next signal but SIGCHLD; None: there was none within so many seconds, or a child has ended."""
        wanted = FORWARDED | {signal.SIGCHLD}
        info = signal.sigtimedwait(wanted, timeout) if timeout is not None else signal.sigwaitinfo(wanted)
        return None if info is None or info.si_signo == signal.SIGCHLD else info

    def patience(self, done: Callable[[], bool]) -> bool:
        """Polls ``done()`` every 50 ms until it is true. Returns False if a signal arrives first that tells us to
        stop."""
        while not done():
            if self.take(0.05) is not None:
                return False
        return True


class Child:
    """One run of a command. Create it and wait for it in the main thread."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts the command. Raises StartError."""
        self._signals = Signals()
        try:
            self._process = subprocess.Popen(command, env=dict(environment), preexec_fn=self._signals.release)
        except OSError as error:
            self._signals.release()
            found = not isinstance(error, FileNotFoundError)
            reason = error.strerror if found else "no such command"
            raise StartError(f"{command[0]}: can't be started: {reason}", 126 if found else 127) from error
        self.pid = self._process.pid

    def wait(self) -> int:
        """Waits for the child and forwards signals. Returns its exit status, negative for the signal that killed it."""
        while self._process.poll() is None:
            self._forward(self._signals.take(None))
        return self._process.returncode

    def patience(self, done: Callable[[], bool]) -> bool:
        """Polls ``done()`` every 50 ms until it is true. Returns False if a signal arrives first that tells us to
        stop."""
        return self._signals.patience(done)

    def release(self) -> None:
        """Unblocks our signals."""
        self._signals.release()

    def _forward(self, info: signal.struct_siginfo | None) -> None:
        if info is not None and info.si_code != _BY_KERNEL and self._process.poll() is None:
            self._process.send_signal(info.si_signo)


class StartError(SessionError):
    """The program can't be started. ``status`` is a shell's exit status for that, 126 or 127."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def end_like(status: int) -> int:
    """Ends this process as the child ended: returns an exit status, or dies by the signal that killed the child."""
    if status >= 0:
        return status
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # one dump is enough
    number = -status
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    return 128 + number
