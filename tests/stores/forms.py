"""Every store form, by hand: assembly text (GNU as, Intel syntax) with what it needs to be run.

``{m}`` in a text is replaced by a memory operand. What the CPU lacks is left out, with the reason."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Form:
    """One store form."""

    text: str
    needs: str = ""
    """Flag of /proc/cpuinfo."""
    fixed: dict[str, int] = field(default_factory=dict)
    manual: int | None = None
    """Bytes written, where capstone can't decode the instruction: then ``{m}`` is [rdi+0x10]."""
    align: int = 1
    """Alignment that the instruction insists on."""


def cpu_flags() -> frozenset[str]:
    """The flags of /proc/cpuinfo."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.split(":")[1].split())
    return frozenset()


PTR = {1: "byte ptr", 2: "word ptr", 4: "dword ptr", 8: "qword ptr"}
REG = {1: ("al", "cl", "r9b", "sil", "dh"), 2: ("ax", "cx", "r9w"), 4: ("eax", "ecx", "r9d"), 8: ("rax", "rcx", "r9")}
EVEX = {"x": ("xmm", 16), "y": ("ymm", 32), "z": ("zmm", 64)}


def _integer() -> Iterator[Form]:
    for size, ptr in PTR.items():
        for r in REG[size]:
            yield Form(f"mov {ptr} {{m}}, {r}") if r != "dh" else Form("mov byte ptr [r_low], dh")
        yield Form(f"mov {ptr} {{m}}, {-77 if size > 1 else 77}")
        for operation in ("add", "or", "adc", "sbb", "and", "sub", "xor"):
            for lock in ("", "lock "):
                yield Form(f"{lock}{operation} {ptr} {{m}}, {REG[size][0]}")
                yield Form(f"{lock}{operation} {ptr} {{m}}, {REG[size][2]}")
                yield Form(f"{lock}{operation} {ptr} {{m}}, 0x11")
                if size > 1:
                    yield Form(f"{lock}{operation} {ptr} {{m}}, {0x7123 if size == 2 else 0x71234567}")
        for operation in ("inc", "dec", "not", "neg"):
            for lock in ("", "lock "):
                yield Form(f"{lock}{operation} {ptr} {{m}}")
        for operation in ("rol", "ror", "rcl", "rcr", "shl", "shr", "sar"):
            yield Form(f"{operation} {ptr} {{m}}, 1")
            yield Form(f"{operation} {ptr} {{m}}, 5")
            yield Form(f"{operation} {ptr} {{m}}, cl")
            yield Form(f"{operation} {ptr} {{m}}, cl", fixed={"rcx": 0x40})
            yield Form(f"{operation} {ptr} {{m}}, cl", fixed={"rcx": 0})
        yield Form(f"xchg {ptr} {{m}}, {REG[size][1]}")
        yield Form(f"lock xchg {ptr} {{m}}, {REG[size][2]}")
        for lock in ("", "lock "):
            yield Form(f"{lock}xadd {ptr} {{m}}, {REG[size][2]}")
            yield Form(f"{lock}cmpxchg {ptr} {{m}}, {REG[size][2]}")
            yield Form(f"{lock}cmpxchg {ptr} {{m}}, {REG[size][0]}")
        if size > 1:
            for operation in ("shld", "shrd"):
                yield Form(f"{operation} {ptr} {{m}}, {REG[size][2]}, 3")
                yield Form(f"{operation} {ptr} {{m}}, {REG[size][0]}, cl")
            for operation in ("bts", "btr", "btc"):
                for lock in ("", "lock "):
                    yield Form(f"{lock}{operation} {ptr} {{m}}, 0x4d")
                    for r in REG[size]:
                        yield Form(f"{lock}{operation} {ptr} {{m}}, {r}")
                    top = 1 << (8 * size - 1)
                    yield Form(f"{lock}{operation} {ptr} {{m}}, {REG[size][1]}", fixed={"rcx": 0})
                    yield Form(f"{lock}{operation} {ptr} {{m}}, {REG[size][1]}", fixed={"rcx": -1})
                    if size < 8:
                        yield Form(f"{lock}{operation} {ptr} {{m}}, {REG[size][1]}", fixed={"rcx": top})
                        yield Form(f"{lock}{operation} {ptr} {{m}}, {REG[size][1]}", fixed={"rcx": top - 1})
                    else:
                        for bit in (1 << 43, -(1 << 43), 12345678901, -12345678901):
                            yield Form(f"{lock}{operation} {ptr} {{m}}, {REG[size][1]}", fixed={"rcx": bit})
            yield Form(f"movbe {ptr} {{m}}, {REG[size][2]}", "movbe")
    for condition in ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"]:
        yield Form(f"set{condition} {{m}}")
    for segment in ["cs", "ds", "es", "ss", "fs", "gs"]:
        yield Form(f"mov {{m}}, {segment}")
    yield Form("mov dword ptr {m}, imm32".replace("imm32", "0x89abcdef"))
    yield Form("mov qword ptr {m}, -2")
    for r in ("al", "ax", "eax", "rax"):
        yield Form(f"movabs [0x1122334455667788], {r}")
    for r in ("r9d", "r9"):
        yield Form(f"movnti {{m}}, {r}")
        yield Form(f"movdiri {{m}}, {r}", "movdiri")
    yield Form("movdir64b rdi, [rsi]", "movdir64b", align=64)
    yield Form("movdir64b r12, [rbx+rcx*2+16]", "movdir64b", align=64)
    for prefix in ("", "addr32 ", "fs ", "gs "):
        yield Form(f"{prefix}clzero", "clzero", align=64)
    for lock in ("", "lock "):
        yield Form(f"{lock}cmpxchg8b {{m}}")
        yield Form(f"{lock}cmpxchg16b {{m}}", "cx16", align=16)
    yield Form("pop qword ptr {m}")
    yield Form("pop word ptr {m}")
    yield Form("pop qword ptr [rsp+0x20]")
    yield Form("pop qword ptr [rsp]")
    for what in (
        "rax",
        "r13",
        "ax",
        "r13w",
        "rsp",
        "0x11",
        "-0x11223344",
        "qword ptr [rbx+8]",
        "word ptr [rbx+8]",
        "fs",
        "gs",
    ):
        yield Form(f"push {what}")
    yield Form(".byte 0x66, 0x68, 0x34, 0x12")  # push imm16
    yield Form("pushfq")
    yield Form("pushfw")
    for levels in (0, 1, 2, 5, 31):
        yield Form(f"enter 16, {levels}")
    yield Form("call rbx")
    yield Form("call qword ptr [rbx+8]")
    yield Form(".byte 0xe8, 0, 0, 0, 0")


def _strings() -> Iterator[Form]:
    for suffix in "bwdq":
        for direction in (0, 0x400):
            yield Form(f"stos{suffix}", fixed={"rflags": direction})
            yield Form(f"movs{suffix}", fixed={"rflags": direction})
            for prefix in ("rep", "repne"):
                for count in (0, 1, 3, 17, 100):
                    yield Form(f"{prefix} stos{suffix}", fixed={"rflags": direction, "rcx": count})
                    yield Form(f"{prefix} movs{suffix}", fixed={"rflags": direction, "rcx": count})
    # address-size and segment overrides
    for prefix in ("", "rep "):
        fixed = {"rcx": 9, "rflags": 0}
        yield Form(f"{prefix}movsb byte ptr es:[rdi], byte ptr fs:[rsi]", fixed=fixed)
        yield Form(f"{prefix}movsq qword ptr es:[rdi], qword ptr gs:[rsi]", fixed=fixed)
        yield Form(
            f"{prefix}stosd dword ptr es:[edi]".replace(" dword ptr es:[edi]", "").replace("stosd", "addr32 stosd"),
            fixed=fixed,
        )
        yield Form(f"{prefix}addr32 movsw", fixed=fixed)
        yield Form(f"{prefix}gs stosb", fixed=fixed)


def _sse() -> Iterator[Form]:
    for operation in ("movaps", "movapd", "movdqa", "movntps", "movntpd", "movntdq"):
        yield Form(f"{operation} {{m}}, xmm3", align=16)
        yield Form(f"{operation} {{m}}, xmm12", align=16)
        yield Form(f"v{operation} {{m}}, xmm3", "avx", align=16)
        yield Form(f"v{operation} {{m}}, ymm13", "avx", align=32)
    for operation in ("movups", "movupd", "movdqu"):
        yield Form(f"{operation} {{m}}, xmm3")
        yield Form(f"{operation} {{m}}, xmm12")
        yield Form(f"v{operation} {{m}}, xmm3", "avx")
        yield Form(f"v{operation} {{m}}, ymm13", "avx")
    for operation in ("movhps", "movhpd", "movlps", "movlpd", "movq"):
        yield Form(f"{operation} qword ptr {{m}}, xmm3")
        yield Form(f"v{operation} qword ptr {{m}}, xmm9", "avx")
    yield Form("movss dword ptr {m}, xmm3")
    yield Form("movsd qword ptr {m}, xmm3")
    yield Form("movd dword ptr {m}, xmm3")
    yield Form("movntss dword ptr {m}, xmm3", "sse4a")
    yield Form("movntsd qword ptr {m}, xmm12", "sse4a")
    yield Form("vmovss dword ptr {m}, xmm3", "avx")
    yield Form("vmovsd qword ptr {m}, xmm3", "avx")
    yield Form("vmovd dword ptr {m}, xmm3", "avx")
    for i in (0, 1, 3):
        for v, need in (("", "sse4_1"), ("v", "avx")):
            yield Form(f"{v}extractps dword ptr {{m}}, xmm3, {i}", need)
            yield Form(f"{v}pextrb byte ptr {{m}}, xmm3, {i + 7}", need)
            yield Form(f"{v}pextrw word ptr {{m}}, xmm3, {i}", need)
            yield Form(f"{v}pextrd dword ptr {{m}}, xmm3, {i}", need)
            yield Form(f"{v}pextrq qword ptr {{m}}, xmm3, {i & 1}", need)
    for i in (0, 1):
        yield Form(f"vextractf128 {{m}}, ymm3, {i}", "avx")
        yield Form(f"vextracti128 {{m}}, ymm3, {i}", "avx2")
    for r in ("xmm", "ymm"):
        for operation, need in (
            ("vmaskmovps", "avx"),
            ("vmaskmovpd", "avx"),
            ("vpmaskmovd", "avx2"),
            ("vpmaskmovq", "avx2"),
        ):
            yield Form(f"{operation} {{m}}, {r}4, {r}5", need)
    for i in (0, 0x1D, 4):
        yield Form(f"vcvtps2ph qword ptr {{m}}, xmm3, {i}", "f16c")
        yield Form(f"vcvtps2ph xmmword ptr {{m}}, ymm3, {i}", "f16c")
    yield Form("maskmovdqu xmm3, xmm4")
    yield Form("vmaskmovdqu xmm3, xmm4", "avx")
    yield Form("maskmovq mm3, mm4")
    yield Form("movq qword ptr {m}, mm3")
    yield Form("movd dword ptr {m}, mm3")
    yield Form("movntq {m}, mm3")
    yield Form("stmxcsr {m}")
    yield Form("vstmxcsr {m}", "avx")


def _avx512() -> Iterator[Form]:
    def masks(text: str, need: str, align: int = 1) -> Iterator[Form]:
        yield Form(text.replace("{k}", ""), need, align=align)
        for k in (1, 5, 7):
            yield Form(text.replace("{k}", f"{{k{k}}}"), need, align=align)

    for name, size in EVEX.values():
        vl = "avx512f" if size == 64 else "avx512vl"
        for operation in ("vmovaps", "vmovapd", "vmovdqa32", "vmovdqa64"):
            yield from masks(f"{operation} {{m}}{{k}}, {name}19", vl, size)
        for operation in ("vmovups", "vmovupd", "vmovdqu32", "vmovdqu64"):
            yield from masks(f"{operation} {{m}}{{k}}, {name}19", vl)
            yield from masks(f"{operation} {{m}}{{k}}, {name}2", vl)
        for operation in ("vmovdqu8", "vmovdqu16"):
            yield from masks(f"{operation} {{m}}{{k}}, {name}19", "avx512bw")
        for operation in ("vmovntps", "vmovntpd", "vmovntdq"):
            yield Form(f"{operation} {{m}}, {name}19", vl, align=size)
        for operation in ("vcompressps", "vcompresspd", "vpcompressd", "vpcompressq"):
            yield from masks(f"{operation} {{m}}{{k}}, {name}19", vl)
        for operation in ("vpcompressb", "vpcompressw"):
            yield from masks(f"{operation} {{m}}{{k}}, {name}19", "avx512_vbmi2")
        for kind in ("qb", "qw", "qd", "db", "dw", "wb"):
            for saturate in ("", "s", "us"):
                need = "avx512bw" if kind == "wb" else vl
                yield from masks(f"vpmov{saturate}{kind} {{m}}{{k}}, {name}19", need)
        yield from masks(f"vcvtps2ph {{m}}{{k}}, {name}19, 4", vl)
        if size > 16:
            for operation, need in (
                ("vextractf32x4", vl),
                ("vextracti32x4", vl),
                ("vextractf64x2", "avx512dq"),
                ("vextracti64x2", "avx512dq"),
            ):
                yield from masks(f"{operation} {{m}}{{k}}, {name}19, 1", need)
        if size == 64:
            for operation, need in (
                ("vextractf64x4", vl),
                ("vextracti64x4", vl),
                ("vextractf32x8", "avx512dq"),
                ("vextracti32x8", "avx512dq"),
            ):
                yield from masks(f"{operation} {{m}}{{k}}, {name}19, 1", need)
    for operation, ptr in (("vmovss", "dword ptr"), ("vmovsd", "qword ptr")):
        yield from masks(f"{operation} {ptr} {{m}}{{k}}, xmm19", "avx512f")
    for operation in ("vmovlps", "vmovlpd", "vmovhps", "vmovhpd"):
        yield Form(f"{operation} qword ptr {{m}}, xmm19", "avx512f")
    yield Form("vmovq qword ptr [r12], xmm19", "avx512f")  # capstone 5.0 doesn't scale the displacement of this one
    yield Form("vmovd dword ptr {m}, xmm19", "avx512f")
    yield Form("vextractps dword ptr {m}, xmm19, 2", "avx512f")
    yield Form("vpextrb byte ptr {m}, xmm19, 9", "avx512bw")
    yield Form("vpextrw word ptr {m}, xmm19, 5", "avx512bw")
    yield Form("vpextrd dword ptr {m}, xmm19, 2", "avx512dq")
    yield Form("vpextrq qword ptr {m}, xmm19, 1", "avx512dq")
    for suffix, need in (("b", "avx512dq"), ("w", "avx512f"), ("d", "avx512bw"), ("q", "avx512bw")):
        yield Form(f"kmov{suffix} {{m}}, k5", need)
    yield Form("vmovw word ptr [rdi+0x10], xmm3", "avx512_fp16", manual=2)
    yield Form("vmovsh word ptr [rdi+0x10], xmm3", "avx512_fp16", manual=2)
    yield Form("vmovsh word ptr [rdi+0x10]{k1}, xmm19", "avx512_fp16", manual=2)
    for name, size in EVEX.values():
        vl = "avx512f" if size == 64 else "avx512vl"
        half = {"xmm": "xmm", "ymm": "xmm", "zmm": "ymm"}[name]
        for k in (1, 5):
            for kind in ("ps", "pd"):
                wide = kind == "pd"
                yield Form(f"vscatterd{kind} [rdi+{half if wide else name}20*4+8]{{k{k}}}, {name}19", vl)
                yield Form(f"vscatterq{kind} [r12+{name}20*1]{{k{k}}}, {name if wide else half}19", vl)
            for kind in ("d", "q"):
                wide = kind == "q"
                yield Form(f"vpscatterd{kind} [rdi+{half if wide else name}20*8-16]{{k{k}}}, {name}3", vl)
                yield Form(f"vpscatterq{kind} [rbx+{name}20*2]{{k{k}}}, {name if wide else half}19", vl)


def _x87() -> Iterator[Form]:
    for ptr in ("dword ptr", "qword ptr"):
        yield Form(f"fst {ptr} {{m}}")
    for ptr in ("dword ptr", "qword ptr", "tbyte ptr"):
        yield Form(f"fstp {ptr} {{m}}")
    for ptr in ("word ptr", "dword ptr"):
        yield Form(f"fist {ptr} {{m}}")
    for ptr in ("word ptr", "dword ptr", "qword ptr"):
        yield Form(f"fistp {ptr} {{m}}")
        yield Form(f"fisttp {ptr} {{m}}")
    for text in ("fbstp {m}", "fnstcw {m}", "fnstsw word ptr {m}", "fnstenv {m}", "fnsave {m}"):
        yield Form(text)
    yield Form(".byte 0x66, 0xd9, 0x77, 0x10")  # fnstenv, 14 bytes
    yield Form(".byte 0x66, 0xdd, 0x77, 0x10")  # fnsave, 94 bytes
    yield Form("fxsave {m}", align=16)
    yield Form("fxsave64 {m}", align=16)
    for name, need in (("xsave", "xsave"), ("xsavec", "xsavec"), ("xsaveopt", "xsaveopt")):
        for mask in (0xE7, 7, 3, 1, 2, 4, 0xE0, 0xE6, 0):
            fixed = {"rax": mask, "rdx": 0}
            yield Form(f"{name} {{m}}", need, fixed, align=64)
            yield Form(f"{name}64 {{m}}", need, fixed, align=64)


def hand_written() -> list[Form]:
    """All of them, whatever this CPU has."""
    return [*_integer(), *_strings(), *_sse(), *_avx512(), *_x87()]


REGISTERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))


def addressing() -> list[Form]:
    """Every base, index, scale, displacement, segment and prefix, with an integer, a vector and a locked form."""
    operands = [f"[{base}{displacement}]" for base in REGISTERS for displacement in ("", "+0x12", "-0x76543")]
    indexes = [r for r in REGISTERS if r != "rsp"]
    operands += [
        f"[{base}+{index}*{scale}{'+0x40' if scale > 2 else ''}]"
        for n, base in enumerate(REGISTERS)
        for m, index in enumerate(indexes)
        for scale in ((1, 2, 4, 8)[(n + m) % 4],)
    ]
    operands += [f"[{index}*{scale}+0x100]" for index in indexes for scale in (1, 2, 4, 8)]
    operands += [f"[rip+{0x10}]", "[0x30001010]"]
    operands += [
        f"{segment}:[{base}{rest}]"
        for segment in ("fs", "gs", "cs", "ds", "es", "ss")
        for base in REGISTERS
        for rest in ("", "+r9*4+1")
    ]
    operands += ["gs:[0x30]", "fs:[r11*2+rdx-5]", "gs:[rip+0x10]"]
    operands += [
        f"[{base}]"
        for base in ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", *(f"r{n}d" for n in range(8, 16)))
    ]
    operands += ["[eax+ecx*4+8]", "[r9d+r12d*8-8]", "[eip+0x10]", "gs:[eax+ebx]"]
    forms = []
    for operand in operands:
        for text in ("mov qword ptr {m}, {r}", "lock add dword ptr {m}, 0x77", "movups {m}, xmm11", "not byte ptr {m}"):
            used = re.sub(r"\W", " ", operand).split()
            r = next(r for r in ("rdx", "rbx", "r10") if not {r, r.replace("r", "e"), r + "d"} & set(used))
            forms.append(Form(text.replace("{m}", operand).replace("{r}", r)))
    for text in (
        ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x89,0x4f,0x20",  # 15 bytes
        ".byte 0x3e,0x3e,0x3e,0x2e,0x26,0x36,0x89,0x4f,0x20",
        ".byte 0xf2,0x89,0x4f,0x20",
        ".byte 0xf3,0x48,0x89,0x4f,0x20",
        ".byte 0xf3,0x88,0x4f,0x20",
        ".byte 0x40,0x89,0x4f,0x20",
        ".byte 0x48,0x66,0x89,0x4f,0x20",  # a REX that isn't last is ignored
        ".byte 0x4f,0x3e,0x89,0x4f,0x20",
        ".byte 0x2e,0x2e,0xf0,0x48,0x81,0x84,0xcf,0x20,0,0,0,1,0,0,0x70",  # 15, locked
        ".byte 0x3e,0x3e,0x3e,0x48,0x81,0x84,0xdf,0x20,0,0,0,1,2,3,4",  # 15
        ".byte 0x65,0x3e,0x3e,0x48,0x81,0x84,0xdf,0x20,0,0,0,1,2,3,4",  # 15, gs
        ".byte 0x48,0xc7,0x84,0xdf,0x20,0,0,0,1,2,3,4",
        ".byte 0x48,0x89,0x84,0x27,0x20,0,0,0",  # no index, SIB
        ".byte 0xf2,0xf0,0x48,0x01,0x4f,0x20",  # xacquire
        ".byte 0xf3,0xf0,0x48,0x01,0x4f,0x20",  # xrelease
        ".byte 0xf3,0x48,0x89,0x4f,0x20",  # xrelease mov
        ".byte 0xf2,0x0f,0xc0,0x4f,0x20",
        ".byte 0xc6,0x47,0x10,0x55",
        ".byte 0x80,0x47,0x10,0x55",
        ".byte 0xc0,0x77,0x10,0x03",  # sal, the other encoding
        ".byte 0xd1,0x77,0x10",
    ):
        forms.append(Form(text))
    return forms


def assemble(forms: Iterable[Form], folder: Path) -> list[tuple[Form, bytes]]:
    """GNU as over all texts at once; a text that it refuses is an error."""
    forms = list(forms)
    lines = [".intel_syntax noprefix", ".text"]
    operands = ("[rdi+0x10]", "[r14-0x100]", "[rbx+r15*2+0x30]", "[r12]")
    for n, form in enumerate(forms):
        text = form.text
        if "[r_low]" in text:
            text = text.replace("[r_low]", "[rdi]")
        if "{m}" in text:
            text = text.replace("{m}", operands[0] if form.manual else operands[n % 4])
        lines += [f"f{n}: {text}", f"e{n}:"]
    source, built = folder / "forms.s", folder / "forms.o"
    source.write_text("\n".join(lines) + "\n")
    done = subprocess.run(["as", "--64", "-o", built, source], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError("\n".join(f"{e}: {lines[int(e.split(':')[1]) - 1]}" for e in done.stderr.splitlines()[1:]))
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", built, folder / "forms.bin"], check=True)
    code = (folder / "forms.bin").read_bytes()
    at: dict[str, int] = {}
    for line in subprocess.run(["nm", built], capture_output=True, text=True, check=True).stdout.splitlines():
        value, _, name = line.split()
        at[name] = int(value, 16)
    return [(form, code[at[f"f{n}"] : at[f"e{n}"]]) for n, form in enumerate(forms)]
