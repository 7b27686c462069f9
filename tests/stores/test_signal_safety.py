"""What the fault handler may call: nothing that allocates, prints or takes a lock which the interrupted code may hold.

gcc writes the call graph of each object as it is optimised (-fcallgraph-info); everything reachable from the handler is
followed. Calls through a pointer can't be: each function that makes one is listed here, with what it calls."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass

import pytest

from .conftest import FLAGS, gcc
from .machine import CORE

GCC = int(subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True, check=True).stdout.split(".")[0])
pytestmark = pytest.mark.skipif(
    GCC > 14, reason="this compiler sees through mw.fork_hooks.arrive, which is called in a child's fork handlers only"
)
ENTRY = "mw_fault_handler"
ALLOWED = re.compile(
    r"^(mem(cpy|move|set|cmp)|strlen|__errno_location|clock_gettime|Zydis\w+|Zyan\w+"
    r"|__(float|fix|div|mod|divmod)\w*ti\w*)$"  # arithmetic of libgcc's, with 128 bits
)
INDIRECT = {
    "process_arrives": "a forked child gets what is its own, in a handler of pthread_atfork, before all else",
    "fork_notice": "the same, where the compiler has put it into its caller",
    "executor_run": "the origin provider: memwatch.h demands that it be async-signal-safe",
    "loaded_file_at": "the loader's _dl_find_object: async-signal-safe, says the manual of glibc",
    "is_loaded": "the same, where the compiler hasn't put it into its caller",
    "call_on_its_stack": "the guard hook, and the hook for what conditions have met: memwatch.h says what they may do",
    "conditions_settle": "the latter",
    "tell_met": "the other hook for conditions: memwatch.h demands that it takes no lock",
    "conditions_judge_for": "the same, where the compiler has put it into its caller",
    "path_of_subject": "whoever knows the path of what is announced: of a store that faulted it isn't asked",
    "run_block": "mw.code_blocks.enter: the block of code_blocks.c",
    "signals_chain": "the program's own handler",
}
LEADS_TO = {  # pointers that the core itself has set: calls upwards, which are followed
    "process_notice": ("fork_notice",),
    "make": ("describe", "registry_untell"),
    "journal_file_make": ("describe", "registry_untell"),  # where the compiler has put it into its caller
}
INLINE = re.compile(
    r"^(raw_syscall|lock_|thread_id|arena_writable|read_(fs|gs)_base|write_gs_base|kernel_(writes|hold_of)|page_state_of)"
)  # static inline


@dataclass
class Graph:
    """Calls between functions; a static function is ``<path of its file>:<name>``, another one just its name."""

    calls: dict[str, set[str]]
    section: dict[str, str]

    def reachable(self, *entries: str) -> dict[str, str]:
        """Every function that the handler, or each of the entries, can come to, with one that calls it."""
        found = dict.fromkeys(entries or (ENTRY,), "")
        todo = list(found)
        while todo:
            caller = todo.pop()
            for callee in self.calls[caller]:
                if callee not in found:
                    found[callee] = caller
                    todo.append(callee)
        return found


def name_of(node: str) -> str:
    """A function's own name: without its file, and without what gcc appends to its copies."""
    return node.split(":")[-1].split(".")[0]


@pytest.fixture(scope="module", params=["-O2", "-O0"])
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = tmp_path_factory.mktemp("graph")
    out = Graph(defaultdict(set), {})
    flags = [flag for flag in FLAGS if flag != "-O2"]
    for source in sorted(CORE.rglob("*.c")):
        built = folder / f"{source.stem}.o"
        gcc(*flags, request.param, "-fPIC", "-fcallgraph-info", "-c", source, "-o", built)
        text = built.with_suffix(".ci").read_text()
        for caller, callee in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
            out.calls[caller].add(callee)
        table = subprocess.run(["objdump", "-t", built], capture_output=True, text=True, check=True).stdout
        for found in re.finditer(r"^[0-9a-f]+ (.).....F (\S+)\s+[0-9a-f]+ +(?:\.hidden )?(\S+)$", table, re.MULTILINE):
            node = f"{source}:{found[3]}" if found[1] == "l" else found[3]
            out.section[node] = found[2]
    for caller in [node for node in out.calls if name_of(node) in LEADS_TO]:
        out.calls[caller] |= {node for node in out.section if name_of(node) in LEADS_TO[name_of(caller)]}
    assert out.section[ENTRY] == ".text.mw_signal_safe"
    return out


def test_fault_path_calls_only_what_is_async_signal_safe(graph: Graph) -> None:
    found = graph.reachable()
    assert len(found) > 20, f"the call graph stops at once: {sorted(found)}"
    wrong = {
        name: by
        for name, by in found.items()
        if name not in graph.section and name != "__indirect_call" and not ALLOWED.match(name)
    }
    assert not wrong, f"called on the fault path, and not known to be async-signal-safe: {wrong}"


def test_redirected_calls_stay_async_signal_safe(graph: Graph) -> None:
    """read(2) and its kind may be called in a signal handler: what stands in for them may not allocate either."""
    calls = (
        "read",
        "pread",
        "pread64",
        "readv",
        "preadv",
        "preadv64",
        "preadv2",
        "recv",
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "getrandom",
    )
    themselves = re.compile(
        rf"^({'|'.join(calls)}|getsockopt|\*?__sigsetjmp|__pthread_\w+|__chk_fail)$"
    )  # and cancellation
    entries = [
        f"replaced_{call}{end}" for call in calls for end in ("", "_chk") if f"replaced_{call}{end}" in graph.section
    ]
    assert len(entries) == 16
    wrong = {
        name: by
        for name, by in graph.reachable(*entries).items()
        if name not in graph.section
        and name != "__indirect_call"
        and not ALLOWED.match(name)
        and not themselves.match(name)
    }
    assert not wrong, f"called by a redirected call, and not known to be async-signal-safe: {wrong}"


def test_redirected_calls_on_descriptors_stay_async_signal_safe(graph: Graph) -> None:
    """A child closes and copies descriptors between vfork and exec, in its parent's memory."""
    themselves = re.compile(r"^(close|dup2|dup3|mprotect)$")
    entries = [f"replaced_{call}" for call in ("close", "dup2", "dup3", "close_range")]
    wrong = {
        name: by
        for name, by in graph.reachable(*entries).items()
        if name not in graph.section and not ALLOWED.match(name) and not themselves.match(name)
    }
    assert not wrong, f"called by a redirected call, and not known to be async-signal-safe: {wrong}"


def test_a_session_s_files_are_opened_async_signal_safe(graph: Graph) -> None:
    """A journal may be made at its first record, in a signal handler or a child that was just forked."""
    reached = graph.reachable("private_open", "private_remove")
    wrong = {name for name in reached if name not in graph.section and not ALLOWED.match(name)}
    assert not wrong, f"called to open a file, and not known to be async-signal-safe: {wrong}"
    bare = {n for n in reached if graph.section.get(n, "") not in ("", ".text.mw_signal_safe")}
    assert not {name_of(node) for node in bare if not INLINE.match(name_of(node))}


def test_calls_through_pointers_are_the_known_ones(graph: Graph) -> None:
    callers = {name_of(node) for node in graph.reachable() if "__indirect_call" in graph.calls[node]}
    # What gcc has inlined one of them into makes its call.
    inlined = {ENTRY, "run_store", "run_wide", "written_bytes", "fault_beyond"}
    unknown = callers - INDIRECT.keys() - LEADS_TO.keys() - inlined
    assert not unknown, f"calls through a pointer on the fault path: {unknown}; add them to INDIRECT with a reason"


def test_functions_on_the_fault_path_are_marked(graph: Graph) -> None:
    """MW_SIGNAL_SAFE puts a function into a section of its own: a promise that its author knows where it runs."""
    bare = {
        name_of(node)
        for node in graph.reachable()
        if graph.section.get(node, "") not in ("", ".text.mw_signal_safe") and not INLINE.match(name_of(node))
    }
    assert not bare, f"on the fault path and not marked MW_SIGNAL_SAFE: {sorted(bare)}"


def test_decoder_allocates_nothing() -> None:
    """Zydis is called by the handler: its library must not import an allocator, a lock or stdio."""
    listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    path = re.search(r"libZydis\.so\S* .*=> (\S+)", listing)
    if path is None:
        pytest.skip("libZydis is linked statically here: no library to look at")
    imports = subprocess.run(
        ["nm", "-D", "--undefined-only", path[1]], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split()[-1].split("@")[0] for line in imports.splitlines()}
    risky = {n for n in names if re.search(r"alloc|free|printf|fopen|fwrite|pthread|mmap|write$", n)}
    # The formatter prints into a buffer that it is given; nothing of it is called on the fault path.
    assert not risky - {"vsnprintf", "snprintf"}, risky
