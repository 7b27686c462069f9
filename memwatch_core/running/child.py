"""The watched program as a child process: started, sent the signals that we get, waited for.

A terminal sends Ctrl-C to its whole foreground group, so the child has it already; a signal that somebody sent to us
alone it has not. So ours are blocked and taken one by one with their sender: what the kernel sent the child got too,
what a process sent is forwarded.
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


class Child:
    """One run of a command. To be made and waited for in the main thread."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts it. Raises StartError."""
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED | {signal.SIGCHLD})
        before = self._before
        try:
            self._process = subprocess.Popen(
                command, env=dict(environment), preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before)
            )
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            found = not isinstance(error, FileNotFoundError)
            reason = error.strerror if found else "no such command"
            raise StartError(f"{command[0]}: can't be started: {reason}", 126 if found else 127) from error
        self.pid = self._process.pid

    def wait(self) -> int:
        """Its exit status, negative for the signal that killed it; forwards signals until then."""
        while self._process.poll() is None:
            self._take(None)
        return self._process.returncode

    def patience(self, done: Callable[[], bool]) -> bool:
        """Waits until ``done()``, looking every 50 ms; False if one of our signals arrives first: we are to stop."""
        while not done():
            if self._take(0.05) in FORWARDED:
                return False
        return True

    def release(self) -> None:
        """Gives our signals back their usual effect."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def _take(self, timeout: float | None) -> int:
        wanted = FORWARDED | {signal.SIGCHLD}
        info = signal.sigtimedwait(wanted, timeout) if timeout is not None else signal.sigwaitinfo(wanted)
        if info is None or info.si_signo == signal.SIGCHLD:
            return 0
        if info.si_code != _BY_KERNEL and self._process.poll() is None:
            self._process.send_signal(info.si_signo)
        return info.si_signo


class StartError(SessionError):
    """The program can't be started. ``status``: what a shell would exit with, 126 or 127."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def end_like(status: int) -> int:
    """Ends this process as the child ended: returns an exit status, or dies by the signal that killed the child."""
    if status >= 0:
        return status
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # one core is enough
    number = -status
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    return 128 + number
