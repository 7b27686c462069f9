"""The npm package as users get it: packed, installed in an empty folder, typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from nodejs import ONCE, PACKAGE, VERSIONS, Node, environment, executable, records

from memwatch_core.records import Event

MEMWATCH = str(Path(sys.executable).with_name("memwatch"))
PROGRAM = """\
const { watch } = require('@memwatch/node');
let total = watch(new Int32Array(1));
total[0] += 5;
console.log(total[0], require.resolve('@memwatch/node'));
"""

USES = """\
import { watch, unwatch, share, receive, label, session, SessionError } from '@memwatch/node';
import type { Shared, WatchOptions } from '@memwatch/node';

const total: Int32Array = watch(new Int32Array(1), { trackThreads: true, mutationDepth: [0, 4], name: 'total' });
const options: WatchOptions = Object.freeze({ trackSQL: true, mutationDepth: 'FULL', copy: true });
const buffer: Buffer = watch(Buffer.alloc(4), options);
const view: DataView = unwatch(watch(new DataView(new ArrayBuffer(8))));
const passed: Shared<Int32Array> = share(total);
const again: Int32Array = receive(passed);
const folder: string = session().folder;
const labelled: Promise<number> = label('order 17', async (n: number, text: string) => n + text.length, 1, 'x');
// @ts-expect-error no such option
watch(total, { track_threads: true });
// @ts-expect-error not backed by a buffer
watch(5);
// @ts-expect-error the function takes a number
label('order 17', (n: number) => n, 'x');
// @ts-expect-error no text
label(17, () => 1);
import type { DriverPlugin } from '@memwatch/node/sql';
const plugin: DriverPlugin = {
  name: 'dbx',
  target: 'dbx',
  install({ Client }, { tracer, replace }) {
    replace(Client.prototype, 'query', (query) => function (this: { host: string }, text: string) {
      const token = tracer.begin(() => ({ driver: 'dbx', statement: text, connection: this, server: this.host }));
      const n: number = tracer.run(token, (m: number) => m + 1, 1);
      tracer.end(token, { rows: n, inTransaction: false });
      return tracer.within((own) => query.call(this, own(text)));
    });
    // @ts-expect-error no such outcome
    tracer.transactionEnds(Client, 'lost');
  },
};
export const all = [buffer, view, again, folder, labelled, SessionError, plugin];
"""


def npm(node: str, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """npm with this Node.js, and no registry: what a package needs must be there."""
    path = f"{Path(node).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["npm", *arguments, "--offline", "--no-audit", "--no-fund"],
        cwd=cwd,
        env=environment(PATH=path, **variables),
        capture_output=True,
        text=True,
        timeout=300,
    )


def source(folder: Path) -> Path:
    """A copy of the package in a copy of what it is packed from: packing writes into its folder."""
    package = folder / "node_bridge"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("node_modules", "build", "core"))
    shutil.copytree(PACKAGE.parent / "memwatch_core" / "core", folder / "memwatch_core" / "core")
    shutil.copytree(PACKAGE.parent / "licenses", folder / "licenses")
    shutil.copy(PACKAGE.parent / "LICENSE", folder)
    return package


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := [version for version in VERSIONS if not executable(version).exists()]:
        pytest.skip(f"Node.js {missing[0]} isn't here: make node installs it (from the npm registry)")
    package = source(tmp_path_factory.mktemp("source"))
    done = npm(str(executable(22)), "pack", "--silent", cwd=package)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (package / "core").exists(), "packing cleans up"
    return package / done.stdout.split()[-1]


@pytest.fixture
def unpacked(node: Node, tarball: Path) -> Path:
    """The package, as npm unpacks it, in the folder of a program."""
    package = node.folder / "node_modules" / "@memwatch" / "node"
    package.unlink()
    package.mkdir()
    subprocess.run(["tar", "-xzf", tarball, "--strip-components=1"], cwd=package, check=True)
    return package


def test_packed_and_installed_without_scripts_it_watches_in_each_version(node: Node, tarball: Path) -> None:
    away = node.folder / "away"
    away.mkdir()
    (away / "package.json").write_text('{"name": "away", "private": true}')
    done = npm(node.path, "install", "--ignore-scripts", str(tarball), cwd=away)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hasInstallScript" not in (away / "package-lock.json").read_text(), "of which npm warns"
    installed = away / "node_modules" / "@memwatch" / "node"
    assert not installed.is_symlink()
    assert {path.name for path in (installed / "core").rglob("*.[ch]")} >= {"memwatch.h", "executor.c", "journal.c"}
    for folder in (installed / "core", next((installed / "prebuilds").iterdir())):
        licenses = {path.name: path.read_text() for path in (folder / "licenses").iterdir()}
        assert "Florian Bernd" in licenses["Zydis.txt"], f"{folder.name} carries the decoder"
        assert "zycore" in licenses["Zycore.txt"]
    assert (installed / "core" / "LICENSE").is_file()
    (away / "app.js").write_text(PROGRAM)
    done = subprocess.run(
        [MEMWATCH, "run", "--quiet", "--", node.path, "app.js"],
        cwd=away, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"5 {installed / 'lib' / 'index.js'}\n" in done.stdout
    (session,) = (away / ".memwatch").iterdir()
    (event,) = [record for record in records(session) if isinstance(record, Event)]
    assert (event.variable, event.old, event.new, event.site and event.site.line) == ("total", [0], [5], 3)


@pytest.mark.parametrize("version", VERSIONS)
def test_package_that_lacks_a_binary_is_not_packed(tmp_path: Path, version: int) -> None:
    if not executable(version).exists():
        pytest.skip(f"Node.js {version} isn't here: make node installs it (from the npm registry)")
    package = source(tmp_path)
    ask = [executable(version), "-p", "require('./lib/binary').binary()"]
    Path(subprocess.run(ask, cwd=package, capture_output=True, text=True, check=True).stdout.strip()).unlink()
    done = npm(str(executable(22)), "pack", cwd=package)
    assert done.returncode != 0
    assert f"can't be packed without its binary for Node.js {version}: " in done.stderr
    assert "make node" in done.stderr
    assert not list(package.glob("*.tgz"))
    assert not (package / "core").exists()


LOADED = "const x = require('@memwatch/node').watch(new Int8Array(1)); x[0] = 5; console.log(x[0])"


@ONCE
def test_binary_is_built_where_none_fits_and_stands_beside_the_others(node: Node, unpacked: Path) -> None:
    """With a compiler that knows more warnings than ours: they don't stop a user's build."""
    (own,) = [path for path in unpacked.glob("prebuilds/*/*.node") if "abi127" in path.name]
    others = {path: path.stat() for path in own.parent.glob("*.node") if path != own}
    assert len(others) == len(VERSIONS) - 1
    (decoder,) = own.parent.glob("libZydis*")
    mapped = decoder.stat().st_ino
    own.write_bytes(b"for another libc")
    warned = unpacked / "src" / "files.c"
    warned.write_text(f"#warning a warning that ours doesn't have\n{warned.read_text()}")
    build = ("explore", "@memwatch/node", "--", "npm", "run", "prebuild")
    done = npm(node.path, *build, cwd=node.folder, CFLAGS="-O0", CXXFLAGS="-O0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "#warning a warning" in done.stderr
    assert not (unpacked / "build").exists()
    assert others == {path: path.stat() for path in others}
    assert decoder.stat().st_ino != mapped, "a process that has the decoder mapped dies if it is written into"
    for version in (22, 24):
        node.write(LOADED)
        done = subprocess.run(
            [executable(version), "program.js"], cwd=node.folder, env=environment(), capture_output=True, text=True
        )
        assert done.stdout == "5\n", done.stderr


@ONCE
def test_headers_of_another_version_are_noticed_before_anything_is_built(node: Node, unpacked: Path) -> None:
    alone = node.folder / "alone"
    alone.mkdir()
    shutil.copy(node.path, alone / "node")  # no headers lie beside it
    for addon in unpacked.glob("prebuilds/*/*.node"):
        addon.unlink()
    done = npm(str(alone / "node"), "run", "prebuild", cwd=unpacked, npm_config_nodedir=str(executable(24).parents[1]))
    assert done.returncode != 0
    assert "has headers of another Node.js (ABI 137), and this is 22" in done.stderr
    assert not list(unpacked.glob("prebuilds/*/*.node"))


@ONCE
def test_headers_of_another_version_do_not_compile(node: Node) -> None:
    """Whoever calls node-gyp: Node.js itself would load the result, since addons of Node-API fit every version."""
    sources = [PACKAGE / "src" / "isolate.cc", "-I", PACKAGE.parent / "memwatch_core" / "core"]
    for version, fits in ((22, True), (24, False)):
        headers = executable(version).parents[1] / "include" / "node"
        done = subprocess.run(
            ["g++", "-std=c++20", "-fsyntax-only", "-w", "-D_GNU_SOURCE", "-DMW_NODE_ABI=127", "-I", headers, *sources],
            capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode == 0) == fits, done.stderr
        assert ("these headers are of another Node.js" in done.stderr) != fits


def other_architecture(addon: Path) -> None:
    image = bytearray(addon.read_bytes())
    image[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    addon.write_bytes(image)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (other_architecture, "cannot open shared object file"),
        (lambda addon: addon.write_bytes(b"not an addon"), ""),
        (Path.unlink, "Cannot find module"),
    ],
    ids=["another architecture", "no library", "missing"],
)
def test_addon_that_cannot_be_loaded_says_how_to_get_one_and_the_program_goes_on(
    node: Node, harm: Callable[[Path], object], reason: str
) -> None:
    package = node.folder / "node_modules" / "@memwatch" / "node"
    package.unlink()
    shutil.copytree(
        PACKAGE, package, ignore=shutil.ignore_patterns("build", "core", "typescript", "*esbuild", "@types")
    )
    for addon in package.glob("prebuilds/*/*.node"):
        harm(addon)
    node.write("console.log('goes on'); try { require('@memwatch/node'); } catch (e) { console.log(e.message); }")
    done = node.run("program.js")
    goes_on, message = done.stdout.split("\n", 1)
    assert goes_on == "goes on"
    for said in (message, done.stderr):
        assert "addon can't be loaded by Node.js" in said
        assert "npm explore @memwatch/node -- npm run prebuild" in said
        assert reason in said


@pytest.mark.parametrize("module", ["node16", "bundler"])
def test_declarations_say_what_the_functions_take_and_give(tmp_path: Path, module: str) -> None:
    compiler = PACKAGE / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.exists():
        pytest.skip("TypeScript isn't here: make node installs it")
    node = Node(VERSIONS[-1], tmp_path)
    (node.folder / "uses.mts").write_text(USES)
    kind = ["--module", "node16"] if module == "node16" else ["--module", "esnext", "--moduleResolution", "bundler"]
    types = ["--typeRoots", PACKAGE / "node_modules" / "@types", "--types", "node"]
    done = subprocess.run(
        [node.path, compiler, "--noEmit", "--strict", "--target", "es2022", *kind, *types, "uses.mts"],
        cwd=node.folder, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
