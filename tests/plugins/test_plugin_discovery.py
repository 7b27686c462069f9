"""What could go wrong between an installed distribution and a loaded plugin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memwatch_core import config as configuration
from memwatch_core.config import Config
from memwatch_core.errors import ConfigError, PluginError
from memwatch_core.host.pipeline import check_settings, open_sinks
from memwatch_core.loading import discovery
from memwatch_core.loading.discovery import OFFERED, Plugins, load
from memwatch_core.records import Serializer, TypeFormat
from memwatch_core.settings import PluginsSection

Install = Callable[..., None]


def settings(tmp_path: Path, text: str = "", **plugins: Any) -> Config:
    lines = [f"{kind} = {names}" for kind, names in plugins.items()]
    (tmp_path / "memwatch.toml").write_text("\n".join(["[plugins]", *lines, text]), encoding="utf-8")
    return configuration.load(directory=tmp_path, environment={})


def only(plugins: Plugins, kind: str, name: str) -> Any:
    report = plugins.report.find(kind, name)
    assert report is not None, plugins.report
    return report


def test_named_plugins_are_loaded_with_distribution_and_version(install: Install, tmp_path: Path) -> None:
    install("success")
    config = settings(tmp_path, serializers=["success"], sql=[], sinks=["success"], bridges=[])
    plugins = load(config)
    assert [sink.name for sink in plugins.sinks] == ["success"], "records need an entry point each"
    assert [type(s) for s in plugins.serializers] == [Serializer]
    assert plugins.serializers[0].name == "flag"
    report = only(plugins, "sinks", "success")
    assert (report.state, report.distribution, report.version) == ("loaded", "fake-success", "1.0")
    with pytest.raises(AttributeError):
        report.state = "broken"


def test_plugin_may_be_named_as_its_distribution(tmp_path: Path) -> None:
    """As pip, ``memwatch plugins`` and the documents call it."""
    config = settings(
        tmp_path,
        serializers=["memwatch-serializer-scalars"],
        sql=["memwatch-sql-sqlite3", "psycopg"],
        sinks=["memwatch-sink-jsonl"],
        bridges=["memwatch-bridge-node"],
        text="[sinks.jsonl]\npath = 'x.jsonl'\n",
    )
    plugins = load(config)
    states = {(report.kind, report.name) for report in plugins.report.plugins if report.state == "loaded"}
    assert states == {
        *(("serializers", "scalars"), ("sql", "sqlite3"), ("sql", "psycopg")),
        *(("sinks", "jsonl"), ("bridges", "node")),
    }
    with pytest.raises(ConfigError, match=r"names 'sqlite': no installed distribution .* did you mean 'sqlite3'"):
        load(settings(tmp_path, sql=["memwatch-sql-sqlite"]))


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize(
    ("named", "loaded"),
    [
        (["int64"], ["scalars"]),
        (["bytearray", "float64", "int64"], ["bytes", "scalars"]),
        (["scalars", "bool", "memwatch-serializer-struct"], ["scalars", "struct"]),
    ],
)
def test_serializer_may_be_named_as_events_show_it(
    named: list[str], loaded: list[str], light: bool, tmp_path: Path
) -> None:
    config = settings(tmp_path, serializers=named, sql=[], sinks=[], bridges=[])
    plugins = load(config, light=light)
    assert {serializer.name for serializer in plugins.serializers} >= {*named} & {*OFFERED}
    if not light:
        assert [report.name for report in plugins.report.of("serializers", "loaded")] == loaded


def test_every_serializer_of_ours_may_be_named_as_events_show_it(tmp_path: Path) -> None:
    everything = load(settings(tmp_path, serializers=list(PluginsSection().serializers)), ["serializers"])
    for serializer in everything.serializers:
        config = settings(tmp_path, serializers=[serializer.name])
        assert serializer.name in [each.name for each in load(config, ["serializers"]).serializers]


def test_plugin_that_no_configuration_names_is_never_imported(install: Install, tmp_path: Path) -> None:
    install("bystander", "success")
    config = settings(tmp_path, serializers=[], sql=[], sinks=["success"], bridges=[])
    plugins = load(config)
    assert "fake_bystander" not in sys.modules
    for kind in ("serializers", "sql", "sinks", "bridges"):
        assert only(plugins, kind, "bystander").state == "disabled"
    # and the same with the defaults: a plugin of somebody else is not taken because it is there
    load(Config())
    assert "fake_bystander" not in sys.modules
    with pytest.raises(PluginError, match=r"named by|names it"):  # the file does fail when it is imported
        load(settings(tmp_path, sinks=["bystander"]))


def test_unknown_plugin_is_one_error_with_file_line_key_and_guess(install: Install, tmp_path: Path) -> None:
    install("success")
    with pytest.raises(ConfigError) as caught:
        load(settings(tmp_path, sinks=["sucess"]))
    assert str(caught.value) == (
        "memwatch.toml:2: plugins.sinks names 'sucess': no installed distribution offers a sink of this name; "
        "did you mean 'success'?"
    )
    report = only(load(settings(tmp_path, sinks=["sucess"]), strict=False), "sinks", "sucess")
    assert report.state == "missing"


def test_default_name_that_is_not_installed_is_left_out_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = discovery.entry_points
    left = [point for point in installed(group="memwatch.sql") if point.name != "mysqlclient"]
    monkeypatch.setattr(
        discovery, "entry_points", lambda group: left if group == "memwatch.sql" else installed(group=group)
    )
    (tmp_path / "memwatch.toml").write_text("")
    config = configuration.load(directory=tmp_path, environment={})
    names = [plugin.name for plugin in load(config).report.of("sql")]
    assert "mysqlclient" not in names, "not installed here, and nobody asked for it"


@pytest.mark.parametrize(
    ("folder", "name", "reason"),
    [
        ("importerror", "importerror", "No module named 'a_module_that_nobody_has' (.*fake_importerror.py:3)"),
        ("assertion", "assertion", "AssertionError: only on Tuesdays (.*fake_assertion.py:3)"),
        ("assertion", "quits", "SystemExit: 3 (.*fake_quits.py:3)"),
        ("raises", "raises", "LookupError: no sink today (.*fake_raises.py:11)"),
        ("raises", "misspelt", "unknown hook 'memwatch_sink'.*did you mean 'memwatch_sinks'?"),
        ("raises", "nothing", "implements no hook memwatch_sinks: decorate it"),
        ("raises", "wrongname", "offers 'rightname': exactly one must have the entry point's name, 'wrongname'"),
        ("raises", "wrongtype", "memwatch_sinks must yield Sink records, not str"),
    ],
)
def test_broken_plugin_is_reported_and_takes_no_other_with_it(
    install: Install, tmp_path: Path, folder: str, name: str, reason: str
) -> None:
    install("success", folder)
    config = settings(tmp_path, sinks=[name, "success"])
    plugins = load(config, ["sinks"], strict=False)
    assert [sink.name for sink in plugins.sinks] == ["success"]
    report = only(plugins, "sinks", name)
    assert report.state == "broken"
    assert len([r for r in plugins.report.plugins if r.name == name]) == 1, "broken, and not missing as well"
    pieces = [piece.strip("()?") for piece in reason.split(".*")]
    assert all(piece in report.reason for piece in pieces), report.reason
    with pytest.raises(PluginError) as caught:
        load(config, ["sinks"])
    assert f"sink {name!r} ({report.distribution} {report.version}): {report.reason}" == str(caught.value)


@pytest.mark.parametrize("light", [False, True])
def test_formats_of_types_are_loaded_and_malformed_ones_reported(install: Install, tmp_path: Path, light: bool) -> None:
    install("success", "formats")
    config = settings(tmp_path, serializers=["success", "formats", "malformed"])
    plugins = load(config, ["serializers"], strict=False, light=light)
    assert [serializer.name for serializer in plugins.serializers] == ["flag"]
    assert plugins.formats == (TypeFormat("money.Money", ("Money({cents})",)),)
    report = only(plugins, "serializers", "malformed")
    assert report.state == "broken"
    assert "template 'Money({cents:euros})': no form is called 'euros'" in report.reason
    if not light:
        assert only(plugins, "serializers", "formats").summary == "how values of money are written"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("memwatch_sink", "; did you mean 'memwatch_sinks'?"),
        ("memwatchsql", "; did you mean 'memwatch_sql'?"),
        ("memwatch_cmd", ""),
        ("memwatch", ""),
    ],
)
def test_hook_is_suggested_for_what_is_its_own_in_a_name(name: str, hint: str) -> None:
    assert discovery._other_hooks(SimpleNamespace(**{name: None})) == hint


@pytest.mark.parametrize(("kind", "library"), [("sql", "nosuchdb"), ("sinks", "nosuchdb_eager")])
def test_absent_target_library_is_no_error(install: Install, tmp_path: Path, kind: str, library: str) -> None:
    install("target_absent")
    plugins = load(settings(tmp_path, **{kind: ["absent"]}), [kind])
    report = only(plugins, kind, "absent")
    remedy = "pip install fake-target-absent[nosuchdb]"
    assert (report.state, report.reason) == ("target absent", f"{library} isn't installed: {remedy}")
    assert not plugins.sql
    assert not plugins.sinks


def test_two_distributions_of_one_name_are_an_error_naming_both(install: Install, tmp_path: Path) -> None:
    install("twin_a", "twin_b")
    config = settings(tmp_path, sinks=["twin"])
    with pytest.raises(PluginError) as caught:
        load(config, ["sinks"])
    message = str(caught.value)
    assert message.startswith("sink 'twin': offered by ")
    assert message.endswith("uninstall one of them")
    assert "fake-twin-a 1.0" in message
    assert "fake-twin-b 3.1" in message
    assert message.count("\n") == 0
    states = [(r.distribution, r.state) for r in load(config, ["sinks"], strict=False).report.of("sinks", "duplicate")]
    assert sorted(states) == [("fake-twin-a", "duplicate"), ("fake-twin-b", "duplicate")]
    assert not {"fake_twin_a", "fake_twin_b"} & set(sys.modules), "neither may be imported"
    # nobody asks for it: it harms nobody
    assert {r.state for r in load(settings(tmp_path, sinks=[])).report.of("sinks") if r.name == "twin"} == {"disabled"}


def test_two_plugins_with_one_serializer_name_are_reported(install: Install, tmp_path: Path) -> None:
    install("success")
    info = tmp_path / "again-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: again\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[memwatch.serializers]\nagain = fake_success\n")
    sys.path.insert(0, str(tmp_path))
    try:
        plugins = load(settings(tmp_path, serializers=["success", "again"]), ["serializers"], strict=False)
    finally:
        sys.path.remove(str(tmp_path))
    assert only(plugins, "serializers", "again").state == "broken"
    assert "'flag'" in only(plugins, "serializers", "again").reason
    assert len(plugins.serializers) == 1


def test_table_of_no_plugin_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"memwatch.toml:3: \[sinks.consol\] belongs to no sink; did you mean"):
        load(settings(tmp_path, "[sinks.consol]\nshow = 'all'"))
    with pytest.raises(ConfigError, match=r"memwatch.toml:2: \[sinks.jsnol\] belongs to no sink; did you mean 'jsonl'"):
        load(settings(tmp_path, "[sinks.jsnol]"))
    with pytest.raises(ConfigError, match="SQL driver 'sqlite3' has no settings of its own"):
        load(settings(tmp_path, "[sql.sqlite3]\nx = 1"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("lable = 'x'", "memwatch.toml:4: unknown key sinks.success.lable; did you mean 'label'?"),
        ("limit = 'many'", "memwatch.toml:4: sinks.success.limit = 'many': must be a valid integer"),
    ],
)
def test_wrong_setting_of_a_sink_names_file_and_key(install: Install, tmp_path: Path, table: str, message: str) -> None:
    install("success")
    config = settings(tmp_path, f"[sinks.success]\n{table}", sinks=["success"])
    with pytest.raises(ConfigError) as caught:
        check_settings(load(config, ["sinks"]).sinks, config)
    assert str(caught.value).startswith(message)


def test_table_of_a_sink_that_is_not_in_use_is_checked_too(install: Install, tmp_path: Path) -> None:
    install("success", "raises")
    config = settings(tmp_path, "[sinks.success]\nlable = 'x'", sinks=["console"])
    for check in (check_settings, open_sinks):
        with pytest.raises(ConfigError, match=r"unknown key sinks.success.lable; did you mean 'label'\?"):
            check(load(config, ["sinks"]).sinks, config)
    config = settings(tmp_path, "[sinks.success]\nlabel = 'x'\n[sinks.raises]\nany = 1", sinks=["console"])
    check_settings(load(config, ["sinks"]).sinks, config)  # one that is broken and not in use is in nobody's way


def test_sink_that_can_not_be_opened_closes_those_before_it(install: Install, tmp_path: Path) -> None:
    install("success", "failing_sink")
    config = settings(tmp_path, "[sinks.failing]\nat = 'open'", sinks=["success", "failing"])
    with pytest.raises(PluginError, match="sink 'failing' couldn't be opened: OSError: no open today"):
        open_sinks(load(config, ["sinks"]).sinks, config)
    assert sys.modules["fake_success"].calls == ["open none 3", "flush", "close"]


def test_missing_setting_of_a_sink_is_named(install: Install, tmp_path: Path) -> None:
    install("failing_sink")
    config = settings(tmp_path, sinks=["failing"])
    with pytest.raises(ConfigError, match=r"sinks\.failing\.at: Field required"):
        open_sinks(load(config, ["sinks"]).sinks, config)
