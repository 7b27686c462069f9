"""Has a program that runs run a script of ours: by ``sys.remote_exec`` (CPython 3.14), or by gdb.

gdb calls one function in the program, ``Py_AddPendingCall(PyRun_SimpleString, text)``: it takes a lock for a moment
and allocates nothing, so it may be called wherever the main thread stands, in malloc or in the collector too. The main
thread runs the text at its next safe place, as it would run a signal handler. A main thread that waits in a system
call, and has let go of the interpreter's lock for that, may wait for days: it is at a safe place, and takes the lock
for the text. One that waits for a lock of Python's looks for such calls when a signal comes: its wait ends as if one
had.

The text starts a thread, in which our script runs: so it waits for imports and locks of the program as any thread does,
and a KeyboardInterrupt is the program's. gdb reads no file of the program's, and loads no library into it. The program
stands still for some hundredths of a second.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..folders import save
from .interpreter import (
    ADD,
    ENTER,
    HAS,
    LEAVE,
    READY,
    RUN,
    VERSION,
    Interpreter,
    Refused,
    Scratch,
    has_ended,
    read_memory,
    why_not_traceable,
    write_memory,
)

PATIENCE = 60.0
"""Seconds that gdb may take."""
_FUTEX = 202
"""What a thread that waits for a lock is in: man 2 syscalls."""
_RESTARTED, _LENGTH = 219, 256
"""The kernel's restart_syscall: of poll, of sleep, or of a lock with a timeout; bytes of a function that waits."""
_WAITS = (0, 7, 23, 34, 35, 43, 45, 47, 61, 128, 130, 230, 232, 247, 270, 271, 281, 288, 441)
"""Others in which threads wait: read, poll, select, sleep, accept, recv, wait, epoll_wait and their like."""
_GDB = (
    *("-batch", "-nx", "-nw"),
    *("-iex", "set auto-load off", "-iex", "set auto-solib-add off", "-iex", "set debuginfod enabled off"),
    # Files of symbols aren't found then, nor wanted: reading them takes seconds, and the program stands meanwhile.
    *("-iex", "set sysroot /nonexistent", "-iex", "set confirm off", "-iex", "set unwindonsignal on"),
    *("-ex", "handle all nostop noprint pass", "-ex", "handle SIGINT nostop noprint pass"),
)
_OFF = "not enabled"
# gdb before 14 takes the area of such registers to be as Intel's CPUs have it. On AMD's it loses some of them, in the
# midst of a memcpy for instance: so all are kept as the kernel has them. ptrace(2), PTRACE_GETREGSET, NT_X86_XSTATE.
_SAVE = """\
python
import ctypes
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
area = ctypes.create_string_buffer(1 << 16)
kept = Vector(ctypes.addressof(area), len(area))
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
ptrace.restype = ctypes.c_long
thread = gdb.selected_thread().ptid[1]
if ptrace(0x4204, thread, 0x202, ctypes.addressof(kept)):
    raise gdb.GdbError("registers of thread %d can't be kept: errno %d" % (thread, ctypes.get_errno()))
end
"""
_RESTORE = """\
python
if ptrace(0x4205, thread, 0x202, ctypes.addressof(kept)):
    print("memwatch: registers of thread %d weren't put back: errno %d" % (thread, ctypes.get_errno()))
end
"""


class Injection:
    """A script that a program is to run when it comes to a safe place. Raises Refused; doesn't wait."""

    def __init__(self, interpreter: Interpreter, folder: Path, script: str, source: str) -> None:
        """``script``: name of the file in a session's folder that will have ``source`` in it."""
        self._interpreter = interpreter
        self._path = folder / script
        self._scratch: Scratch | None = None
        save(folder, script, source.encode())
        if interpreter.version >= (3, 14):
            save(folder, f"{script}.start", starter(str(self._path)).encode())
            _by_remote_exec(interpreter, f"{self._path}.start")
        else:
            self._scratch = _by_gdb(interpreter, folder, script, starter(str(self._path)))

    def hasten(self) -> None:
        """Where ``sys.remote_exec`` waits for a main thread that waits itself: gdb, if it is there, has it begin."""
        if self._scratch is None and shutil.which("gdb"):
            folder, script = self._path.parent, self._path.name
            with suppress(Refused):
                self._scratch = _by_gdb(self._interpreter, folder, script, starter(str(self._path)))

    @property
    def begun(self) -> bool:
        """Whether the program runs it, or has."""
        return os.path.exists(f"{self._path}.taken")

    def answer(self) -> dict[str, Any] | None:
        """What the script has answered; None: nothing yet."""
        try:
            with open(f"{self._path}.json", encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
        except FileNotFoundError:
            return None
        self.clear()
        return found

    def withdraw(self) -> bool:
        """Takes back a script that hasn't begun: nothing of it will ever run. False: it has begun."""
        try:
            os.rename(self._path, f"{self._path}.withdrawn")
        except OSError:
            return False
        self.clear()
        return True

    def clear(self) -> None:
        """Leaves nothing in the program's memory, and no file but those of a session."""
        if self._scratch is not None:
            with suppress(OSError):  # it has ended
                write_memory(self._interpreter.pid, self._scratch.address, bytes(self._scratch.size))
            self._scratch = None
        for ending in ("", ".start", ".gdb", ".taken", ".json", ".withdrawn"):
            with suppress(OSError):
                os.unlink(f"{self._path}{ending}")


def starter(path: str) -> str:
    """What the main thread runs: it starts a thread that runs the script, if it is still there. Before CPython 3.13,
    the thread that imports ``threading`` first is the main thread to it."""
    inner = (
        f"try:\n with open({path!r}) as f: c = f.read()\n exec(compile(c, 'memwatch attach', 'exec'), {{}})\n"
        "except BaseException: pass\n"
    )
    return (
        f"try:\n __import__('threading')\n __import__('_thread').start_new_thread(exec, ({inner!r}, {{}}))\n"
        "except KeyboardInterrupt:\n __import__('_signal').raise_signal(2)\n"
        "except BaseException:\n pass\n"
    )


# ---- sys.remote_exec ------------------------------------------------------------------------------------------------


def _by_remote_exec(interpreter: Interpreter, path: str) -> None:
    if sys.version_info[:2] == interpreter.version and hasattr(sys, "remote_exec"):
        try:
            sys.remote_exec(interpreter.pid, path)
        except (OSError, RuntimeError) as error:
            raise _refused(interpreter, str(error), isinstance(error, PermissionError)) from error
        return
    code = "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])"
    command = [interpreter.executable, "-I", "-S", "-c", code, str(interpreter.pid), path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _refused(interpreter, str(error), False) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise _refused(interpreter, last, "PermissionError" in last)


def _refused(interpreter: Interpreter, why: str, forbidden: bool) -> Refused:
    pid = interpreter.pid
    if forbidden:
        return Refused(f"process {pid}: {why_not_traceable(pid)}")
    if _OFF in why:
        return Refused(
            f"process {pid} doesn't let others in: it was started with PYTHON_DISABLE_REMOTE_DEBUG or "
            "-X disable-remote-debug, or its Python was built so; start it without"
        )
    return Refused(f"process {pid}: {interpreter.shown} takes no script (sys.remote_exec: {why})")


# ---- gdb ------------------------------------------------------------------------------------------------------------


def _by_gdb(interpreter: Interpreter, folder: Path, script: str, text: str) -> Scratch:
    gdb = shutil.which("gdb")
    pid = interpreter.pid
    if gdb is None:
        raise Refused(f"process {pid} runs on {interpreter.shown}, to which gdb is needed: apt-get install gdb")
    data = text.encode() + b"\0"
    fitting = [Scratch(one.address, len(data)) for one in interpreter.scratches if one.size >= len(data)]
    if not fitting:
        raise Refused(f"process {pid}: the session's path is too long ({folder}): choose a shorter one by --folder")
    try:
        # another one's text may be waiting there
        scratch = next((one for one in fitting if not any(read_memory(pid, *one))), fitting[0])
        write_memory(pid, scratch.address, data)
    except OSError as error:
        raise _unreached(pid) from error
    save(folder, f"{script}.gdb", _commands(interpreter, scratch).encode())
    command = [gdb, *_GDB, "-p", str(pid), "-x", str(folder / f"{script}.gdb")]
    # in a session of its own: Ctrl-C must not interrupt it while the program stands in a call of ours
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, ()),
    ) as running:
        try:
            out, err = running.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            running.terminate()  # it detaches
            out, err = running.communicate()
            err += f"\nit took more than {PATIENCE:.0f} s"
    _settle(pid)
    if "memwatch: 0" not in out:
        with suppress(OSError):  # it has ended
            write_memory(pid, scratch.address, bytes(scratch.size))
        raise _gdb_failed(interpreter, out, err)
    return scratch


def _unreached(pid: int) -> Refused:
    return Refused(f"process {pid} has ended" if has_ended(pid) else f"process {pid}: {why_not_traceable(pid)}")


def _commands(interpreter: Interpreter, scratch: Scratch) -> str:
    save, restore = (_SAVE, _RESTORE) if has_wide_registers() else ("", "")
    call = {name: hex(address) for name, address in interpreter.functions.items()}
    within = " || ".join(f"($rip >= {start:#x} && $rip < {start + _LENGTH:#x})" for start in interpreter.waits)
    # It may have begun another program meanwhile: then this fails, or says so, before anything is called.
    return f"""\
if *(unsigned long*){call[VERSION]} != {interpreter.number}
  printf "memwatch: another program\\n"
  detach
  quit
end
{save}set $ready = ((int(*)(void)){call[READY]})()
if $ready
  set $result = ((int(*)(void*,void*)){call[ADD]})((void*){call[RUN]}, (void*){scratch.address:#x})
  printf "memwatch: %d\\n", $result
else
  printf "memwatch: starting\\n"
end
# Interrupted in a system call, by us: what the kernel would do next is in rax.
if $rax >= -516 && $rax <= -512 || $rax == -4
  set $waits = {" || ".join(f"$orig_rax == {number}" for number in _WAITS)}
  set $locked = $orig_rax == {_FUTEX}
  if $orig_rax == {_RESTARTED}
    set $waits = {within or "0"}
    set $locked = !$waits
  end
  if $locked
    set $rax = -4
    set $orig_rax = -1
  end
  if $waits
    set $has = ((int(*)(void)){call[HAS]})()
    if $ready && $has == 0
      set $state = ((int(*)(void)){call[ENTER]})()
      set $result = ((int(*)(void*)){call[RUN]})((void*){scratch.address:#x})
      call ((void(*)(int)){call[LEAVE]})($state)
    end
  end
end
{restore}detach
"""


def has_wide_registers(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether threads may have registers that gdb doesn't put back behind a call: AVX-512's and AMX's."""
    try:
        text = Path(cpuinfo).read_text(errors="replace")
    except OSError:
        return True
    return "avx512f" in text or "amx_tile" in text


def _settle(pid: int) -> None:
    """A debugger that failed may have left the program stopped."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith("State:\tT"):
                os.kill(pid, signal.SIGCONT)


def _gdb_failed(interpreter: Interpreter, out: str, err: str) -> Refused:
    pid = interpreter.pid
    if has_ended(pid) or "memwatch: another program" in out or "Cannot access memory" in err:
        return Refused(f"process {pid} has ended, or runs another program by now")
    if "memwatch: starting" in out:
        return Refused(f"process {pid}: its Python isn't up yet, or is ending: try again")
    if "memwatch: -1" in out:
        return Refused(f"process {pid} has too many calls to make already: try again")
    if "Python scripting is not supported" in err or "No module named 'ctypes'" in err:
        return Refused(
            f"process {pid}: this gdb has no Python, and can't keep the registers of AVX-512 that this CPU has: "
            "apt-get install gdb, not gdb-minimal"
        )
    if "Operation not permitted" in err:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace") if os.path.exists(f"/proc/{pid}") else ""
        tracer = next((line.split()[1] for line in status.splitlines() if line.startswith("TracerPid:")), "0")
        if tracer != "0":
            return Refused(f"process {pid} is traced by process {tracer} (gdb, strace, …): let that one detach first")
        return Refused(f"process {pid}: {why_not_traceable(pid)}")
    if has_ended(pid):
        return Refused(f"process {pid} has ended")
    last = next((line for line in reversed(err.splitlines()) if line.strip()), "no answer")
    return Refused(f"process {pid}: gdb failed: {last}")
