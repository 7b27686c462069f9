"""Tells cffi what to build: the core (``core/``), the adapter's C half (``python/``) and the wrapper, in one object.

One object, because two would have two copies of the core's state. The declarations are read out of ``memwatch.h``, so
they can't differ from it; the compiler checks them once more.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cffi import FFI

PACKAGE = Path(__file__).parents[1]
INSTALL = "int mwpy_install(const char *module);\nint mwpy_install_tracer(const char *module);"
"""What isn't in memwatch.h: it makes Python types (``python/values/proxy.h``, ``python/sql/tracer.h``)."""
FLAGS = ["-std=gnu11", "-O2", "-g", "-D_GNU_SOURCE", "-fvisibility=hidden", "-fno-strict-aliasing"]
FLAGS += ["-Wall", "-Wextra"]
if os.environ.get("C_WARNINGS") == "error":  # in the project's own builds: a user's compiler may know more warnings
    FLAGS += ["-Werror"]
LINK_FLAGS = ["-Wl,-z,now"]  # no symbol is looked up while a signal is handled
# What cffi generates isn't ours to keep free of warnings.
UNCHECKED = ("unused-parameter", "unused-function", "missing-field-initializers", "sign-compare", "cast-function-type")


def declarations(header: str) -> str:
    """The C declarations of a header, and its numeric macros, without comments and preprocessor."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.DOTALL)
    macros = re.findall(r"^#define[ \t]+(\w+)[ \t]+(?:0x[0-9a-fA-F]+|[0-9]+)[uUlL]*[ \t]*$", text, flags=re.MULTILINE)
    lines = [f"#define {name} ..." for name in macros]
    lines += [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return "\n".join(lines)


def make() -> FFI:
    """The builder. Paths of sources are relative to the project's folder, as setuptools wants them."""
    builder = FFI()
    builder.cdef(declarations((PACKAGE / "core/memwatch.h").read_text()))
    builder.cdef(INSTALL)
    paths = [path for part in ("core", "python") for path in (PACKAGE / part).rglob("*.c")]
    sources = sorted(str(path.relative_to(PACKAGE.parent)) for path in paths)
    quiet = "\n".join(f'#pragma GCC diagnostic ignored "-W{name}"' for name in UNCHECKED)
    builder.set_source(
        "memwatch_core.native._core",
        f'{quiet}\n#include "memwatch.h"\n{INSTALL}\n',
        sources=sources,
        include_dirs=["memwatch_core/core", "memwatch_core/python"],
        libraries=["Zydis"],
        extra_compile_args=FLAGS,
        extra_link_args=LINK_FLAGS,
        py_limited_api=False,
    )
    return builder


ffibuilder = make()
