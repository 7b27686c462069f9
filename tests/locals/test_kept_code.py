"""What is kept of a module's code is taken for the very code that its loader gives, whatever it made of the source."""

from __future__ import annotations

import json
import marshal
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import CodeType

import pytest

from memwatch_core.adapter import bindings, kept_code

MODULE = "def total(n):\n    found = n + 1\n    return found\n"
OTHER = MODULE.replace("+ 1", "+ 2")
"""As long."""


def code_of(text: str, path: Path) -> CodeType:
    return compile(text, str(path), "exec", dont_inherit=True)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "__pycache__").mkdir(mode=0o700)
    path = tmp_path / "shelf.py"
    path.write_text(MODULE)
    return path


def test_code_that_was_kept_is_used_and_is_nobody_elses(source: Path) -> None:
    code = code_of(MODULE, source)
    made = bindings.instrument(code, "shelf")
    place = kept_code.Kept(code, str(source), "shelf")
    assert place.read() is None
    place.write(made)
    (kept,) = (source.parent / "__pycache__").iterdir()
    assert re.fullmatch(r"shelf\.cpython-\d+\.memwatch-\d+\.pyc", kept.name)
    assert place.read() == made
    assert kept_code.Kept(code, str(source), "other").read() is None
    kept.chmod(0o666)
    assert place.read() is None, "anybody may have written it"
    kept.chmod(0o600)
    assert place.read() == made


MADE = {
    "another value": OTHER,
    "another name": MODULE.replace("found", "other"),
    "another line": "\n" + MODULE,
    "another column": MODULE.replace("return found", "return (found)"),
    "another default": MODULE.replace("(n)", "(n=1)"),
    "a slice": MODULE.replace("n + 1", "n[1:2]"),
    "another slice": MODULE.replace("n + 1", "n[1:3]"),
    "a handler": MODULE.replace("return found", "try: return found\n    finally: pass"),
    "an inner function": MODULE.replace("return found", "return lambda: found"),
}


@pytest.mark.parametrize("kind", MADE)
def test_code_that_differs_in_anything_is_another_one(kind: str, source: Path) -> None:
    texts = {"as it was": MODULE, **MADE}
    codes = {name: code_of(text, source) for name, text in texts.items()}
    kept_code.Kept(codes[kind], str(source), "shelf").write(bindings.instrument(codes[kind], "shelf"))
    found = [name for name, code in codes.items() if kept_code.Kept(code, str(source), "shelf").read() is not None]
    assert found == [kind]


@pytest.mark.parametrize("kind", MADE)
def test_code_from_the_interpreters_own_file_is_the_same_as_compiled(kind: str, source: Path) -> None:
    """However often its constants are referred to by others."""
    code = code_of(MADE[kind], source)
    kept_code.Kept(code, str(source), "shelf").write(bindings.instrument(code, "shelf"))
    held = [marshal.loads(marshal.dumps(code)) for _ in range(3)]
    others = [code_of(MADE[kind], source), held[1], held[1].replace()]
    assert all(kept_code.Kept(one, str(source), "shelf").read() for one in others)


def test_another_place_of_the_same_file_is_another_code(source: Path) -> None:
    code = code_of(MODULE, source)
    kept_code.Kept(code, str(source), "shelf").write(bindings.instrument(code, "shelf"))
    moved = code_of(MODULE, source.parent / "elsewhere" / "shelf.py")
    assert kept_code.Kept(moved, str(source), "shelf").read() is None


def test_to_know_the_code_takes_a_small_part_of_what_making_it_takes(source: Path) -> None:
    text = Path(json.decoder.__file__).read_text() + Path(subprocess.__file__).read_text()
    code = code_of(text.replace("from __future__", "# "), source)

    def seconds(times: int, make: bool) -> float:
        begin = time.process_time()
        for _ in range(times):
            bindings.instrument(code, "shelf") if make else kept_code.Kept(code, str(source), "shelf")
        return (time.process_time() - begin) / times

    assert seconds(20, make=False) < 0.1 * seconds(1, make=True)


# ---- whoever makes the code ------------------------------------------------------------------------------------------

LOADERS = {
    "a loader's get_data": """
import importlib.machinery
class Loader(importlib.machinery.SourceFileLoader):
    def get_data(self, path):
        return super().get_data(path).replace(b"+ 1", b"+ 2")
    def path_stats(self, path):
        raise OSError
""",
    "a loader's get_code": """
import importlib.machinery
class Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        return compile(open(self.path).read().replace("+ 1", "+ 2"), self.path, "exec")
""",
    "the interpreter's own loader, changed": """
import importlib.machinery
Loader = importlib.machinery.SourceFileLoader
Loader.get_code = lambda self, name: compile(open(self.path).read().replace("+ 1", "+ 2"), self.path, "exec")
""",
}
HOOKED = """
import sys, importlib.machinery
sys.path_hooks.insert(0, importlib.machinery.FileFinder.path_hook((Loader, [".py"])))
sys.path_importer_cache.clear()
"""
MAIN = "import shelf\nprint(shelf.total(5))\n"
RUN = ["-m", "memwatch_core.cli", "run", "--quiet", "--sink", "jsonl", "--track-locals"]


def ran(folder: Path, *command: str) -> tuple[str, list[str]]:
    """What a watched program says, and what its variable was bound to."""
    (folder / "memwatch.toml").write_text('[watch]\nmodules = ["shelf", "test_shelf"]\n')
    (folder / "events.jsonl").unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = (sys.executable, *RUN, *command)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "not watched" not in done.stderr, done.stderr
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return done.stdout, [line["part"]["new"] for line in lines if "seq" in line and line["part"]["name"] == ".found"]


@pytest.mark.parametrize("order", ["plain first", "its own first"])
@pytest.mark.parametrize("loader", LOADERS)
def test_a_loader_of_the_programs_gets_its_own_code(loader: str, order: str, source: Path) -> None:
    folder = source.parent
    (folder / "plain.py").write_text(MAIN)
    (folder / "other.py").write_text(LOADERS[loader] + HOOKED + MAIN)
    programs = ["plain.py", "other.py", "plain.py"] if order == "plain first" else ["other.py", "plain.py", "other.py"]
    said = [ran(folder, program)[0] for program in programs]
    assert said == ["6\n" if program == "plain.py" else "7\n" for program in programs]
    assert list((folder / "__pycache__").glob("shelf.*.memwatch-*.pyc"))


def test_a_source_of_the_same_time_and_size_is_another_one(source: Path) -> None:
    (source.parent / "plain.py").write_text(MAIN)
    said = []
    for text in (MODULE, OTHER, MODULE):
        source.write_text(text)
        os.utime(source, (10**9, 10**9))
        for file in (source.parent / "__pycache__").glob("shelf.cpython-*[0-9].pyc"):
            file.unlink()  # the interpreter's own would be taken
        said.append(ran(source.parent, "plain.py"))
    assert [text for text, _ in said] == ["6\n", "7\n", "6\n"]
    assert [len(bound) for _, bound in said] == [1, 1, 1]


TEST = "def test_total():\n    found = [1, 2]\n    assert found == [1, 3]\n"


def test_pytests_assertions_and_plain_ones_of_one_file(tmp_path: Path) -> None:
    """Both have the module's code of the same source."""
    (tmp_path / "test_shelf.py").write_text(TEST)
    (tmp_path / "plain.py").write_text(
        "import test_shelf\ntry: test_shelf.test_total()\nexcept AssertionError as error: print(repr(error))\n"
    )
    pytests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shelf.py")
    for _ in range(2):
        said, bound = ran(tmp_path, *pytests)
        assert "At index 1 diff: 2 != 3" in said, said
        assert len(bound) == 1
        assert ran(tmp_path, *pytests, "--assert=plain")[0].count("At index 1") == 0
        assert ran(tmp_path, "plain.py")[0] == "AssertionError()\n"


def test_typeguards_checks_and_none_of_one_file(source: Path) -> None:
    source.write_text(MODULE.replace("(n)", "(n: int)"))
    checked = "import typeguard\ntypeguard.install_import_hook('shelf')\nimport shelf\n"
    checked += "try: print(shelf.total(0.5))\nexcept typeguard.TypeCheckError as error: print(error)\n"
    (source.parent / "checked.py").write_text(checked)
    (source.parent / "plain.py").write_text("import shelf\nprint(shelf.total(0.5))\n")
    for _ in range(2):
        assert "is not an instance of int" in ran(source.parent, "checked.py")[0]
        assert ran(source.parent, "plain.py")[0] == "1.5\n"
