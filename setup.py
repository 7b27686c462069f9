"""Builds the two shared objects of MemWatch.

``_core`` writes: the C core, the Python adapter's C half, and cffi's wrapper in one (ffi_build.py says why).
``_reader`` reads journals. What the distribution is called, holds and needs stands in pyproject.toml.

``python setup.py build_ext --inplace`` builds again after a change and compiles only what changed.
"""

from __future__ import annotations

import os
import platform
import runpy
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent


def check_platform() -> None:
    """Ends the build with one sentence where it can't work."""
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "AMD64"} or sys.maxsize < 2**32:
        where = f"{platform.system()} on {platform.machine()}"
        raise SystemExit(
            f"memwatch runs on 64-bit Linux on x86-64 only (its core runs machine instructions); this is {where}"
        )
    if platform.python_implementation() != "CPython" or not (3, 11) <= sys.version_info[:2] <= (3, 15):
        where = f"{platform.python_implementation()} {platform.python_version()}"
        raise SystemExit(f"memwatch reads the frames of CPython 3.11 to 3.15; this is {where}")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        usual = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        raise SystemExit(
            f"memwatch needs CPython with its global interpreter lock; this is a free-threaded build: use {usual}, "
            f"not {usual}t"
        )
    if not Path("/usr/include/Zydis/Zydis.h").exists() and "C_INCLUDE_PATH" not in os.environ:
        raise SystemExit("memwatch needs the instruction decoder Zydis to be built: apt-get install libzydis-dev")


class BuildChanged(build_ext):
    """Compiles a source file only if it, a header or the flags are newer than its object."""

    def build_extension(self, ext: Any) -> None:
        compile_one = self.compiler._compile
        newest_header = max(
            (path.stat().st_mtime for path in (ROOT / "memwatch_core").rglob("*.h")), default=float("inf")
        )
        newest_header = max(newest_header, (ROOT / "setup.py").stat().st_mtime)
        newest_header = max(newest_header, (ROOT / "memwatch_core/native/ffi_build.py").stat().st_mtime)

        def compile_if_changed(obj: str, src: str, *rest: Any) -> None:
            made = Path(obj)
            if not made.exists() or made.stat().st_mtime <= max(newest_header, Path(src).stat().st_mtime):
                compile_one(obj, src, *rest)

        self.compiler._compile = compile_if_changed
        try:
            super().build_extension(ext)
        finally:
            self.compiler._compile = compile_one


check_platform()
settings = runpy.run_path(str(ROOT / "memwatch_core/native/ffi_build.py"))
reader = Extension(
    "memwatch_core.journal._reader",
    sorted(str(path.relative_to(ROOT)) for path in (ROOT / "memwatch_core/journal/native").glob("*.c")),
    depends=[str(path.relative_to(ROOT)) for path in (ROOT / "memwatch_core").rglob("*.h")],
    include_dirs=["memwatch_core/core"],
    extra_compile_args=settings["FLAGS"],
    extra_link_args=settings["LINK_FLAGS"],
)
setup(
    cffi_modules=["memwatch_core/native/ffi_build.py:ffibuilder"],
    ext_modules=[reader],
    cmdclass={"build_ext": BuildChanged},
)
