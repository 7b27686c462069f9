"""A watched program finds and loads plugins without importlib.metadata and pluggy: the same, with the same words."""

from __future__ import annotations

import importlib.metadata
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memwatch_core import config as configuration
from memwatch_core.errors import MemWatchError
from memwatch_core.hookspecs import GROUPS, hookimpl
from memwatch_core.loading import installed
from memwatch_core.loading.discovery import load

Install = Callable[..., None]
FAKES = sorted(path.name for path in (Path(__file__).parent / "distributions").iterdir())


def both(group: str) -> list[list[tuple[str, str, str]]]:
    """What either says, in their order: (name, value, version of the distribution)."""
    return [
        [(point.name, point.value, point.dist.version) for point in found(group=group) if point.dist is not None]
        for found in (installed.entry_points, importlib.metadata.entry_points)
    ]


@pytest.mark.parametrize("group", [*GROUPS.values(), "console_scripts", "pytest11", "nobody.has.this"])
def test_entry_points_are_those_of_importlib_metadata(install: Install, group: str) -> None:
    install(*FAKES)
    ours, theirs = both(group)
    assert ours == theirs


TEXTS = [
    "", "[memwatch.sinks]\na = mod\n", "[memwatch.sinks]\n\n# a comment\n a=mod:x.y \n[other]\nb = c\n",
    "[memwatch.sinks]\na = mod [extra]\n", "[memwatch.sinks]\na = mod : attr\n", "a = before\n[memwatch.sinks]\nb = m",
]  # fmt: skip
FOLDER = st.sampled_from(["a-1.0.dist-info", "A-2.0.dist-info", "a.b-1.dist-info", "a_b-2.egg-info", "c.egg-info"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(FOLDER, st.sampled_from(TEXTS), max_size=3), min_size=1, max_size=3), st.booleans())
def test_any_folders_are_read_as_importlib_metadata_reads_them(
    tmp_path_factory: pytest.TempPathFactory, folders: list[dict[str, str]], zipped: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for number, folder in enumerate(folders):
            root = tmp_path_factory.mktemp(f"path{number}")
            for name, text in folder.items():
                (root / name).mkdir()
                (root / name / "entry_points.txt").write_text(text)
                (root / name / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
                (root / name / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
            if zipped and number == 0:
                with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
                    for path in root.rglob("*"):
                        archive.write(path, path.relative_to(root))
                root = root.with_suffix(".zip")
            patch.syspath_prepend(root)
        ours, theirs = both("memwatch.sinks")
        assert ours == theirs


def test_finder_of_somebody_else_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x-3.dist-info").mkdir()
    (tmp_path / "x-3.dist-info" / "entry_points.txt").write_text("[memwatch.sinks]\nhidden = x\n")
    (tmp_path / "x-3.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 3\n")

    class Finder:
        @staticmethod
        def find_spec(*_: object) -> None: ...

        @staticmethod
        def find_distributions(context: object = None) -> Any:
            return [importlib.metadata.Distribution.at(tmp_path / "x-3.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    ours, theirs = both("memwatch.sinks")
    assert ours == theirs
    assert ("hidden", "x", "3") in ours


@pytest.mark.parametrize("fakes", [[name] for name in FAKES] + [FAKES], ids="+".join)
@pytest.mark.parametrize("kind", ["serializers", "sql", "sinks"])
def test_plugins_are_loaded_or_refused_with_the_same_words(
    install: Install, tmp_path: Path, fakes: list[str], kind: str
) -> None:
    install(*fakes)
    names = sorted({point.name for point in importlib.metadata.entry_points(group=GROUPS[kind])})
    for name in [*names, "nosuch"]:
        (tmp_path / "memwatch.toml").write_text(f"[plugins]\n{kind} = [{name!r}]\n")
        config = configuration.load(directory=tmp_path, environment={})
        said = []
        for light in (True, False):
            for module in [each for each in sys.modules if each.startswith("fake_")]:
                del sys.modules[module]
            try:
                plugins = load(config, [kind], light=light)
                said.append([(record.name, record.summary) for record in getattr(plugins, kind)])
            except MemWatchError as error:
                said.append([(type(error).__name__, str(error))])
        assert said[0] == said[1], name


def test_hook_is_marked_as_pluggy_marks_it() -> None:
    theirs = pluggy.HookimplMarker("memwatch")

    def offered(mark: Any, **options: Any) -> Any:
        module = types.ModuleType("plugin")

        def memwatch_sinks() -> list[int]:
            return [3]

        setattr(module, "memwatch_sinks", mark(**options)(memwatch_sinks) if options else mark(memwatch_sinks))  # noqa: B010
        manager = pluggy.PluginManager("memwatch")
        manager.register(module)
        (hook,) = manager.hook.memwatch_sinks.get_hookimpls()
        return manager.hook.memwatch_sinks(), hook.tryfirst, hook.trylast, hook.wrapper, hook.optionalhook

    assert offered(hookimpl) == offered(theirs)
    assert offered(hookimpl, tryfirst=True) == offered(theirs, tryfirst=True)
