"""A call that gdb makes leaves all registers as they were, those of AVX-512 too: it may stand in a memcpy."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from programs import need_a_way_in

from memwatch_core.running import injection

REGISTERS = (0, 1, 9, 15, 16, 31)
PROGRAM = """
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int forget(void) {
    __asm__ volatile(%(forgets)s ::: "memory");
    return 7;
}

int main(void) {
    static uint64_t in[32][8] __attribute__((aligned(64))), out[32][8] __attribute__((aligned(64)));
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 8; j++) in[i][j] = i * 100 + j + 1;
    memcpy(out, in, sizeof in);
    printf("%%d %%p\\n", getpid(), (void *)forget);
    fflush(stdout);
    while (!memcmp(in, out, sizeof in))
        __asm__ volatile(%(loads)s "mov $20000000, %%%%rcx\\n1: dec %%%%rcx\\njnz 1b\\n" %(stores)s ::"r"(in),
                         "r"(out) : "rcx", "memory" %(used)s);
    puts("lost");
}
"""


def each(text: str) -> str:
    return " ".join(f'"{text}\\n"'.replace("N", str(n)) for n in REGISTERS)


def test_a_call_loses_no_register(tmp_path: Path) -> None:
    need_a_way_in()
    if shutil.which("gdb") is None or "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("gdb, and a CPU with AVX-512, are needed")
    (tmp_path / "spins.c").write_text(
        PROGRAM
        % {
            "forgets": each("vpxorq %%zmmN, %%zmmN, %%zmmN"),
            "loads": each("vmovdqa64 N*64(%0), %%zmmN"),
            "stores": each("vmovdqa64 %%zmmN, N*64(%1)"),
            "used": "".join(f', "xmm{n}"' for n in REGISTERS),
        }
    )
    subprocess.run(["gcc", "-O1", "-mavx512f", "spins.c", "-o", "spins"], cwd=tmp_path, check=True)
    with subprocess.Popen([tmp_path / "spins"], stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            pid, address = program.stdout.readline().split()
            script = f"{injection._SAVE}print ((int(*)(void)){address})()\n{injection._RESTORE}detach\n"
            (tmp_path / "script").write_text(script)
            command = ["gdb", *injection._GDB, "-p", pid, "-x", str(tmp_path / "script")]
            for _ in range(3):
                done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
                assert "$1 = 7" in done.stdout, done
                assert "memwatch:" not in done.stdout
                time.sleep(0.2)
                assert program.poll() is None, program.stdout.read()
        finally:
            program.kill()


@pytest.mark.parametrize(("flags", "is_kept"), [("fpu sse2 avx2", False), ("avx2 avx512f", True), ("amx_tile", True)])
def test_they_are_kept_where_the_cpu_has_them(flags: str, is_kept: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    assert injection.has_wide_registers(str(tmp_path / "cpuinfo")) is is_kept
    assert injection.has_wide_registers(str(tmp_path / "not_there"))
