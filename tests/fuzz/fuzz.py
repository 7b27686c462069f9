"""Coverage-guided fuzzing of the journal's reader: ``make fuzz``. Arguments are libFuzzer's.

The loop in C is built by clang with AddressSanitizer, UBSan and coverage; atheris adds that of the Python code. New
inputs go to ``build/fuzz/corpus``; what is found, to the folder it is run in."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORK = ROOT / "build" / "fuzz"
READER = "memwatch_core.journal._reader"


def build() -> Path:
    """The instrumented ``_reader``."""
    out = WORK / "_reader.so"
    sources = sorted(str(path) for path in (ROOT / "memwatch_core/journal/native").glob("*.c"))
    subprocess.run(
        [
            *("clang", "-shared", "-fPIC", "-O1", "-g", "-std=gnu11", "-D_GNU_SOURCE", "-fno-strict-aliasing"),
            *("-fsanitize=address,undefined,fuzzer-no-link", "-fno-sanitize-recover=undefined"),
            *("-I", str(ROOT / "memwatch_core/native"), "-I", sysconfig.get_paths()["include"]),
            *("-o", str(out), *sources),
        ],
        check=True,
    )
    return out


def preload() -> None:
    """Starts this program once more with atheris's AddressSanitizer, which must be there before anything else."""
    if "asan_with_fuzzer" in os.environ.get("LD_PRELOAD", ""):
        return
    import atheris

    library = Path(atheris.path()) / "asan_with_fuzzer.so"
    options = "detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16"
    variables = {"LD_PRELOAD": str(library), "ASAN_OPTIONS": options, "PYTHONMALLOC": "malloc"}
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | variables)


def load(path: Path) -> None:
    """Makes the instrumented module the one that is imported."""
    loader = importlib.machinery.ExtensionFileLoader(READER, str(path))
    spec = importlib.util.spec_from_file_location(READER, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[READER] = module


def main() -> None:
    preload()
    WORK.mkdir(parents=True, exist_ok=True)
    import atheris

    load(build())
    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=["memwatch_core.journal", "memwatch_core.host"]):
        import journal_target
    file = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)) / "4242-python.mwj"

    def one(data: bytes) -> None:
        journal_target.run(data, file)

    (WORK / "corpus").mkdir(exist_ok=True)
    options = ["-max_len=8192", "-timeout=10", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(WORK / "corpus"), str(HERE / "corpus")], one)
    atheris.Fuzz()


main()
