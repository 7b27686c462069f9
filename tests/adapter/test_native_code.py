"""A store by native code says which function of which file it was: never another one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from trackers import need

from memwatch_core.cli.group import group
from memwatch_core.host import native
from memwatch_core.host.elf import Elf, opened, reader_of
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.records import Event, Notice, Record, Site

HERE = Path(__file__).parent


def build(folder: Path, name: str, *flags: str, source: Path = HERE / "native_code.c") -> Path:
    library = folder / f"{name}.so"
    command = ["gcc", "-O1", "-g0", "-shared", "-fPIC", "-Wl,--build-id", *flags, str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("native"), "library", str(HERE / "native_code.cc"))


def run(
    folder: Path, library: Path, *calls: str, tracker: str = "readonly", stack: int = 16, program: Path | None = None
) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH_")}
    environment |= {
        "MEMWATCH_JOURNAL_FOLDER": str(folder / "sessions"),
        "MEMWATCH_CORE_TRACKER": tracker,
        "MEMWATCH_WATCH_STACK": str(stack),
    }
    python = [sys.executable] if program is None else [str(program)]
    command = [*python, str(HERE / "native_program.py"), str(library) if library.name else "", *calls]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == (-signal.SIGKILL if "killed" in calls else 0), done.stderr
    return done.stdout.split()


def records(folder: Path) -> list[Record]:
    (session,) = (folder / "sessions").iterdir()
    native.symbols_of.cache_clear()
    return [record for batch in SessionDecoder(session, {}, final=True).batches() for record in batch]


def events(folder: Path) -> list[Event]:
    return [record for record in records(folder) if isinstance(record, Event)]


def instruction(library: Path, site: Site) -> str:
    """What objdump shows at the place that a site names."""
    assert site.file == str(library)
    name, _, offset = site.function.rpartition("+0x")
    listing = subprocess.run(
        ["objdump", "-d", "-C", "--no-show-raw-insn", library], capture_output=True, text=True, check=True
    ).stdout
    begins = re.search(rf"^([0-9a-f]+) <{re.escape(name)}>:$", listing, re.MULTILINE) if name else None
    address = (int(begins[1], 16) if begins else 0) + int(offset, 16)
    found = re.search(rf"^ +{address:x}:\t(.*)$", listing, re.MULTILINE)
    assert found, site
    return " ".join(found[1].split())


CALLS = {
    "exported": [("hidden", "movb $0x1,(%rdi)"), ("exported", "movb $0x2,(%rbx)")],
    "interrupted": [("handle", "movb $0x4,(%rax)")],
    "in_cpp": [("shop::Order::operator+=(unsigned char*)", "movb $0x7,(%rsi)")],
    "killed": [("killed", "movb $0x6,(%rdi)")],
}


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly", "uffd-queue"])
def test_store_without_a_line_names_the_instruction(tmp_path: Path, library: Path, tracker: str) -> None:
    """In a thread, a signal handler, C++; all of it is told of a process that was killed."""
    run(tmp_path, library, *CALLS, tracker=need(tracker))
    wanted = [each for calls in CALLS.values() for each in calls]
    found = events(tmp_path)
    assert [event.site and event.site.function.rpartition("+")[0] for event in found] == [name for name, _ in wanted]
    for event, (_, stored) in zip(found, wanted, strict=True):
        assert event.site is not None
        assert (event.site.line, event.exact, event.own, event.native) == (0, True, None, None)
        said = instruction(library, event.site)
        assert re.sub(r"%r\w+", "%r", said) == re.sub(r"%r\w+", "%r", stored)


def test_what_libc_or_the_kernel_writes_is_its_callers(tmp_path: Path, library: Path) -> None:
    """memcpy leaves the stack alone, and read is called by somebody; what has no file, or isn't one, has no name."""
    run(tmp_path, library, "copies", "reads", "asks", "made")
    found = events(tmp_path)
    sites = [event.site for event in found if event.site is not None]
    assert len(sites) == len(found)
    by = {site.function.rpartition("+")[0]: site for site in sites}
    assert {site.file for site in sites} == {str(library), "[vdso]", "[jit]"}
    assert [event.call and event.call.name for event in found if event.site == by["reads"]] == ["read"]
    before = subprocess.run(["objdump", "-d", "-C", library], capture_output=True, text=True, check=True).stdout
    for name, called in ("copies", "memcpy"), ("reads", "read"):
        begins = re.search(rf"^([0-9a-f]+) <{name}>:$", before, re.MULTILINE)
        assert begins
        address = int(begins[1], 16) + int(by[name].function.rpartition("+")[2], 16)
        lines = before.splitlines()
        after = next(number for number, line in enumerate(lines) if line.strip().startswith(f"{address:x}:"))
        assert f"<{called}@plt>" in lines[after - 1]  # a call returns there
    assert any(site.file == "[vdso]" and "clock_gettime+0x" in site.function for site in sites)
    assert [site.function for site in sites if site.file == "[jit]"] == [""]


def test_native_code_below_a_line_is_told_beside_it(tmp_path: Path, library: Path) -> None:
    for stack in (1, 16):
        folder = tmp_path / str(stack)
        folder.mkdir()
        run(folder, library, "here", "exported", stack=stack)
        found = events(folder)
        assert [event.site and Path(event.site.file).name for event in found] == [
            "native_program.py", "native_program.py", library.name, library.name,
        ]  # fmt: skip
        assert [event.native for event in found[:2]] == [event.site for event in found[2:]]


@pytest.mark.parametrize("flags", [["-no-pie"], ["-no-pie", "-Wl,-Ttext=0x1900000"], ["-pie"]])
def test_program_itself_is_named(tmp_path: Path, flags: list[str]) -> None:
    """Wherever its segments lie: of one with gaps, the loader knows each by itself."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        pytest.skip("this Python has no library that a program could be linked with")
    (tmp_path / "main.c").write_text(
        f"""
#include <Python.h>
int main(int n, char **v) {{
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    PyConfig_SetBytesString(&config, &config.program_name, "{sys.executable}");
    PyConfig_SetBytesArgv(&config, n, v);
    Py_InitializeFromConfig(&config);
    return Py_RunMain();
}}
"""
    )
    where = sysconfig.get_config_var("LIBDIR")
    program = tmp_path / "program"
    command = [
        *("gcc", "-O1", "-g0", *flags, "-rdynamic", "-Wl,--build-id", f"-I{sysconfig.get_path('include')}"),
        *(tmp_path / "main.c", HERE / "native_code.c", "-o", program, f"-L{where}", f"-Wl,-rpath,{where}"),
        f"-lpython{sysconfig.get_config_var('LDVERSION')}",
    ]
    subprocess.run(command, check=True)
    run(tmp_path, Path(), "exported", program=program)
    sites = [event.site for event in events(tmp_path) if event.site]
    assert [site.function.rpartition("+")[0] for site in sites] == ["hidden", "exported"]
    assert all(instruction(program, site).startswith("movb") for site in sites)


def test_forked_child_says_where_its_stores_come_from(tmp_path: Path, library: Path) -> None:
    run(tmp_path, library, "exported", "fork")
    sites = {event.pid: [] for event in events(tmp_path)}  # type: dict[int, list[Site | None]]
    for event in events(tmp_path):
        sites[event.pid].append(event.site)
    parent, child = sites.values()
    assert parent == child


def test_library_at_the_place_of_another_is_told_from_it(tmp_path: Path, library: Path) -> None:
    """The same instructions at the same addresses."""
    others = []
    for name, flags in (("one", []), ("two", []), ("three", ["-Wl,--build-id=none"])):
        source = tmp_path / f"{name}.c"
        source.write_text(
            f"static __attribute__((noinline)) void {name}(volatile char *at) {{ *at = 9; }}\n"
            f'void other(volatile char *at) {{ {name}(at); __asm__ volatile(""); }}\n'
            f"int number(void) {{ return {len(others)}; }}\n"
        )
        others.append(str(build(tmp_path, name, *flags, source=source)))
    assert len(set(run(tmp_path, library, ",".join([*others, *others])))) == 1
    assert [event.site and (event.site.file, event.site.function) for event in events(tmp_path)] == 2 * [
        (path, f"{Path(path).stem}+0x0") for path in others
    ]


def become_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


Change = Callable[[Path], object]
NAMELESS = ("-Wl,--build-id=none",)
CHANGES: dict[str, tuple[tuple[str, ...], Change, str, str]] = {
    "stripped before": (("-s",), lambda path: None, "+", ""),
    "stripped since": ((), lambda path: subprocess.run(["strip", "-s", path], check=True), "+", ""),
    "rebuilt since": (("-DOTHER=1", "-O2"), lambda path: build(path.parent, path.stem), "+", "its build id is another"),
    "gone": ((), lambda path: path.unlink(), "+", "isn't there any more"),
    "cut": ((), lambda path: os.truncate(path, 100), "+", "can't be read"),
    "a pipe": ((), become_pipe, "+", "can't be read"),
    "without a build id": (NAMELESS, lambda path: None, "hidden+", ""),
    "without a build id, changed since": (
        NAMELESS, lambda path: os.utime(path), "+", "has no build id, and has changed since",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """The folder of a run with a library that was built so; each is run once."""
    done: dict[tuple[str, ...], Path] = {}
    stamps: dict[tuple[str, ...], int] = {}

    def of(flags: tuple[str, ...]) -> Path:
        if flags not in done:
            folder = done[flags] = tmp_path_factory.mktemp("ran")
            run(folder, build(folder, "library", *flags), "exported")
            (os.link if flags == NAMELESS else shutil.copy2)(folder / "library.so", folder / "kept.so")
            stamps[flags] = (folder / "kept.so").stat().st_mtime_ns
        folder = done[flags]
        (folder / "library.so").unlink(missing_ok=True)
        (os.link if flags == NAMELESS else shutil.copy2)(folder / "kept.so", folder / "library.so")
        os.utime(folder / "library.so", ns=(stamps[flags], stamps[flags]))
        return folder

    return of


@pytest.mark.parametrize("change", CHANGES)
def test_file_that_is_another_by_now_gives_no_names(ran: Callable[..., Path], change: str) -> None:
    flags, alter, function, why = CHANGES[change]
    folder = ran(flags)
    alter(folder / "library.so")
    found = records(folder)
    site = next(record.site for record in found if isinstance(record, Event))
    assert site is not None
    assert site.function.startswith(function)
    said = [record.text for record in found if isinstance(record, Notice) and "functions are called" in record.text]
    assert [why in text for text in said] == ([True] if why else [])


def test_debug_symbols_name_what_is_stripped(
    ran: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ran(())
    build_id = Elf(reader_of(opened(str(folder / "library.so")))).build_id()
    debug = tmp_path / build_id[:2] / f"{build_id[2:]}.debug"
    debug.parent.mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", folder / "library.so", debug], check=True)
    subprocess.run(["strip", "-s", folder / "library.so"], check=True)
    monkeypatch.setattr(native, "DEBUG", str(tmp_path))
    sites = [event.site.function for event in events(folder) if event.site]
    assert sites == ["hidden+0x0", *sites[1:]]
    assert sites[1].startswith("exported+0x")


def test_views_name_native_code(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, library, "exported", "exported", "here")
    (session,) = (tmp_path / "sessions").iterdir()
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str) -> str:
        done = CliRunner().invoke(group, [*arguments, "--folder", str(session.parent)], terminal_width=200)
        assert done.exit_code == 0, done.output
        return done.output

    assert "hidden+0x0" in said("log", "--line", library.name)
    assert "native_program.py" not in said("log", "--line", library.name)
    assert re.search(
        r"by +\S*library.so  hidden\+0x0", said("log", "--each", "--stacks", "--line", "native_program.py")
    )
    by = said("blame", "data", "--by", "function")
    assert re.search(r"2 .*hidden in \S*library.so", by)
    assert re.search(r"2 .*library.so hidden\+0x0", said("blame", "data", "--by", "site"))
    assert "hidden+0x0" in said("history", "data")
