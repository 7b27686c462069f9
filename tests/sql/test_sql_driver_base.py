"""Risk: patching that can't be undone, or that breaks what somebody else has patched."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from memwatch_sql_sqlite3 import driver as sqlite

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.errors import PluginError
from memwatch_plugins.sql import SqlDriverBase


class Inherited:
    def run(self) -> str:
        return "ran"


class Target(Inherited):
    def own(self) -> str:
        return "own"


class Driver(SqlDriverBase):
    name = "dbx"
    summary = "the database X"
    target = "json"
    fails = False
    calls = 0

    def patch(self) -> None:
        def counting(call: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            self.calls += 1
            return call(*args, **kwargs)

        self.replace(counting, (Target, "run"))
        self.replace(counting, (Target, "own"))
        if self.fails:
            raise RuntimeError("the library is of another version")


def test_install_is_idempotent_and_undone_completely(tracer: SqlContexts) -> None:
    driver, before = Driver(), dict(vars(Target))
    driver.install(tracer)
    driver.install(tracer)
    assert (Target().run(), Target().own(), driver.calls) == ("ran", "own", 2)
    driver.uninstall()
    driver.uninstall()
    assert dict(vars(Target)) == before
    assert "run" not in vars(Target)
    driver.install(tracer)
    assert (Target().run(), driver.calls) == ("ran", 3)
    driver.uninstall()
    assert dict(vars(Target)) == before


def test_failing_install_leaves_nothing_patched(tracer: SqlContexts) -> None:
    driver, before = Driver(), dict(vars(Target))
    driver.fails = True
    with pytest.raises(RuntimeError, match="another version"):
        driver.install(tracer)
    assert dict(vars(Target)) == before
    assert driver.tracer is None


def test_somebody_elses_wrapper_survives_uninstall(tracer: SqlContexts) -> None:
    driver, module = Driver(), types.SimpleNamespace(connect=lambda: "connected")
    driver.patch = lambda: driver.replace(  # type: ignore[method-assign]
        lambda call, instance, args, kwargs: "traced " + call(*args, **kwargs), (module, "connect")
    )
    driver.install(tracer)
    ours = module.connect
    module.connect = lambda: "theirs: " + ours()
    assert module.connect() == "theirs: traced connected"
    driver.uninstall()
    assert module.connect() == "theirs: connected"


def test_absent_target_is_one_clear_error(tracer: SqlContexts) -> None:
    driver = Driver()
    for target in ("no_such_module_here", "no_such_package.module"):
        driver.target = target  # type: ignore[misc]
        with pytest.raises(PluginError, match=f"dbx.*{target}.*install"):
            driver.install(tracer)


PROGRAM = """
import sys, memwatch_plugins.sql as sql
class D(sql.SqlDriverBase):
    name = summary = 'x'; target = 'wave'; patched = 0
    def patch(self):
        import wave
        self.put(wave, 'open', self); self.patched += 1
d = D(); assert d.record.target == 'wave'
assert 'sqlite3' not in sys.modules
d.install(object())
"""


def test_target_is_imported_by_the_program_alone() -> None:
    code = "assert 'wave' not in sys.modules; import wave; assert wave.open is d and d.patched == 1\n"
    code += "d.uninstall(); assert wave.open is not d; d.install(object()); assert d.patched == 2 and wave.open is d\n"
    subprocess.run([sys.executable, "-c", PROGRAM + code], check=True)


def test_import_after_uninstall_patches_nothing() -> None:
    code = "d.uninstall(); import wave; assert not d.patched and wave.open is not d\n"
    subprocess.run([sys.executable, "-c", PROGRAM + code], check=True)


def test_patch_that_fails_at_import_never_reaches_the_program() -> None:
    code = "def fails(): d.put(__import__('wave'), 'open', 1); 1 / 0\n"
    code += "d.uninstall(); d.patch = fails; d.install(object()); import wave\n"
    code += "assert wave.open != 1 and d.troubles == 1\n"
    done = subprocess.run([sys.executable, "-c", PROGRAM + code], check=True, capture_output=True, text=True)
    assert done.stderr.count("ZeroDivisionError") == 1


def test_record_of_the_plugin() -> None:
    (record,) = sqlite.memwatch_sql()
    assert (record.name, record.target) == ("sqlite3", "sqlite3")


def test_trouble_of_a_driver_is_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver()
    for _ in range(3):
        driver.trouble(ValueError("s3cr3t"))
    assert driver.troubles == 3
    assert len(caplog.records) == 1
    assert "s3cr3t" not in caplog.text
    assert "dbx" in caplog.text
