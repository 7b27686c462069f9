"""The npm package as users get it: packed, installed in an empty folder, typed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from nodejs import PACKAGE, VERSIONS, Node, environment

USES = """\
import { watch, unwatch, share, receive, session, SessionError } from 'memwatch';
import type { Shared, WatchOptions } from 'memwatch';

const total: Int32Array = watch(new Int32Array(1), { trackThreads: true, mutationDepth: [0, 4], name: 'total' });
const options: WatchOptions = Object.freeze({ trackSQL: true, mutationDepth: 'FULL' });
const buffer: Buffer = watch(Buffer.alloc(4), options);
const view: DataView = unwatch(watch(new DataView(new ArrayBuffer(8))));
const passed: Shared<Int32Array> = share(total);
const again: Int32Array = receive(passed);
const folder: string = session().folder;
// @ts-expect-error no such option
watch(total, { track_threads: true });
// @ts-expect-error not backed by a buffer
watch(5);
import type { DriverPlugin } from 'memwatch/sql';
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
export const all = [buffer, view, again, folder, SessionError, plugin];
"""


def npm(node: Node, *arguments: str, cwd: Path) -> str:
    """npm with this Node.js, and no registry: what a package needs must be there."""
    path = f"{Path(node.path).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["npm", *arguments, "--silent", "--no-audit", "--no-fund"],
        cwd=cwd,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def tarball(node: Node) -> Path:
    """Packed from a copy: packing puts the core's sources into the package's folder."""
    root = node.folder / "source"
    ignored = shutil.ignore_patterns("node_modules", "build", "core")
    shutil.copytree(PACKAGE, root / "node_bridge", ignore=ignored)
    native = PACKAGE.parent / "memwatch_core" / "native"
    shutil.copytree(native, root / "memwatch_core" / "native", ignore=shutil.ignore_patterns("*.so", "_core.c"))
    shutil.copytree(PACKAGE.parent / "licenses", root / "licenses")
    shutil.copy(PACKAGE.parent / "LICENSE", root)
    name = npm(node, "pack", "--pack-destination", str(node.folder), cwd=root / "node_bridge").split()[-1]
    assert not (root / "node_bridge" / "core").exists(), "packing cleans up"
    return node.folder / name


def test_packed_and_installed_without_scripts_it_watches_and_could_be_built(node: Node, tarball: Path) -> None:
    away = node.folder / "away"
    away.mkdir()
    (away / "package.json").write_text('{"name": "away", "private": true}')
    dependency = PACKAGE / "node_modules" / "node-gyp-build"
    npm(node, "install", "--ignore-scripts", "--offline", "--install-links", str(dependency), str(tarball), cwd=away)
    installed = away / "node_modules" / "memwatch"
    assert not installed.is_symlink()
    assert {path.name for path in (installed / "core").glob("*.[ch]")} >= {"memwatch.h", "executor.c", "journal.c"}
    for folder in (installed / "core", next((installed / "prebuilds").iterdir())):
        licenses = {path.name: path.read_text() for path in (folder / "licenses").iterdir()}
        assert "Florian Bernd" in licenses["Zydis.txt"], f"{folder.name} carries the decoder"
        assert "zycore" in licenses["Zycore.txt"]
    assert (installed / "core" / "LICENSE").is_file()
    program = "const x = require('memwatch').watch(new Int32Array(1)); x[0] = 5; console.log(x[0], require.resolve('memwatch'))"
    done = subprocess.run([node.path, "-e", program], cwd=away, env=environment(), capture_output=True, text=True)
    assert done.stdout == f"5 {installed / 'lib' / 'index.js'}\n", done.stderr
    assert list((away / ".memwatch").glob("*/*.mwj"))


def test_package_is_built_from_its_sources_where_no_binary_fits(node: Node, tarball: Path) -> None:
    if node.version != 22:
        pytest.skip("the same for each version, and it takes a while: done with 22")
    subprocess.run(["tar", "-xzf", tarball], cwd=node.folder, check=True)
    package = node.folder / "package"
    shutil.rmtree(package / "prebuilds")
    (package / "node_modules").mkdir()
    (package / "node_modules" / "node-gyp-build").symlink_to(PACKAGE / "node_modules" / "node-gyp-build")
    path = f"{Path(node.path).parent}:{package / 'node_modules' / 'node-gyp-build'}:{os.environ['PATH']}"
    headers = str(Path(node.path).parents[1])
    done = subprocess.run(
        ["npm", "exec", "--offline", "-c", "node node_modules/node-gyp-build/bin.js"],
        cwd=package, env=environment(PATH=path, npm_config_nodedir=headers), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (package / "build" / "Release" / "memwatch.node").is_file()
    program = "const x = require('./package').watch(new Int8Array(1)); x[0] = 5; console.log(x[0])"
    done = subprocess.run(
        [node.path, "-e", program], cwd=node.folder, env=environment(), capture_output=True, text=True
    )
    assert done.stdout == "5\n", done.stderr


def other_architecture(addon: Path) -> None:
    image = bytearray(addon.read_bytes())
    image[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    addon.write_bytes(image)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (other_architecture, "cannot open shared object file"),
        (lambda addon: addon.write_bytes(b"not an addon"), ""),
        (Path.unlink, "No native build was found"),
    ],
    ids=["another architecture", "no library", "missing"],
)
def test_addon_that_cannot_be_loaded_says_how_to_get_one_and_the_program_goes_on(
    node: Node, harm: Callable[[Path], object], reason: str
) -> None:
    package = node.folder / "node_modules" / "memwatch"
    package.unlink()
    shutil.copytree(
        PACKAGE, package, ignore=shutil.ignore_patterns("build", "core", "typescript", "*esbuild", "@types")
    )
    for addon in package.glob("prebuilds/*/*.node"):
        harm(addon)
    node.write("console.log('goes on'); try { require('memwatch'); } catch (e) { console.log(e.message); }")
    done = node.run("program.js")
    goes_on, message = done.stdout.split("\n", 1)
    assert goes_on == "goes on"
    for said in (message, done.stderr):
        assert "addon can't be loaded by Node.js" in said
        assert "npm rebuild memwatch" in said
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
