"""Ways in which package managers lay packages: folders, and symbolic links to them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from nodejs import PACKAGE, Node, plugin

LEFT_OUT = ("*.c", "*.cc", "*.cpp", "*.h", "*.hpp", "*.o", "*.a", "*.d", "*.map", "*.md", "*.ts", "obj.target", "prebuild-install", "node-gyp")  # fmt: skip


def dependencies(package: Path) -> list[str]:
    return list(json.loads((package / "package.json").read_text()).get("dependencies", {}))


def everything(node: Node, *drivers: str) -> dict[str, Path]:
    """The drivers, what they need, their plugins and our package, by name."""
    found: dict[str, Path] = {"@memwatch/node": PACKAGE}
    for driver in drivers:
        folder = plugin(driver)
        found[json.loads((folder / "package.json").read_text())["name"]] = folder
    wanted = list(drivers)
    while wanted:
        name = wanted.pop()
        package = node.driver(name)
        if name not in found and package.is_dir():
            found[name] = package
            wanted += dependencies(package)
    return found


def pnpm(node: Node, store: Path, *drivers: str) -> None:
    """Each package in a folder of its own in the store, beside links to those it needs; the drivers, their plugins and our
    package are linked in ``node_modules``."""
    found = everything(node, *drivers)

    def home(name: str) -> Path:
        return store / f"{name.replace('/', '+')}@1.0.0" / "node_modules" / name

    for name, package in found.items():
        if name == "@memwatch/node":
            continue  # has been linked, to where it is
        shutil.copytree(package, home(name), ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        for needed in dependencies(package):
            if needed in found:
                link(home(name).parents[name.count("/")] / needed, home(needed))
    for name in found:
        if name in drivers or name.startswith("@memwatch/sql-"):
            link(node.folder / "node_modules" / name, home(name))


def linked(node: Node, *drivers: str) -> None:
    """Drivers of a workspace: folders that are in no ``node_modules`` and aren't called as the driver is."""
    found = everything(node, *drivers)
    for name, package in found.items():
        at = node.folder / "node_modules" / name
        if name in drivers:
            home = node.folder.parent / "workspace" / f"of-{name}"
            shutil.copytree(package, home, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
            link(at, home)
            for needed, where in found.items():
                if needed not in drivers and not needed.startswith("@memwatch/"):
                    link(home / "node_modules" / needed, where)
        elif name.startswith("@memwatch/sql-"):
            link(at, package)


def link(at: Path, to: Path) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    if not at.exists():
        at.symlink_to(to)
