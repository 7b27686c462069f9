"""Risk: the page shows something else than what a user sees: a test that fails far from the one that is to blame, and
the line of that one, in one run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from inner_runs import run, write

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "polluted"
PAGE = (ROOT / "docs" / "pytest.md").read_text()
CULPRIT, VICTIM = "test_the_currency_is_used_for_carts", "test_an_invoice_is_in_euros"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    write(tmp_path, {})
    return tmp_path


def test_a_test_fails_far_from_the_one_that_is_to_blame(suite: Path) -> None:
    ran = run(suite)
    assert len(ran.tests) == 61
    assert [name for name, test in ran.tests.items() if test.own != "passed"] == [VICTIM]
    assert run(suite, f"test_invoices.py::{VICTIM}").code == 0


@pytest.mark.parametrize("target", ["shop", "shop:SETTINGS", "shop:*", 'shop:SETTINGS["currency"]', "sh?p:SETT*"])
def test_one_run_names_the_line_that_is_to_blame(suite: Path, target: str) -> None:
    ran = run(suite, "--memwatch-unchanged", target)
    (found,) = [one for test in ran.tests.values() for one in test.found]
    assert found["nodeid"] == f"test_currencies.py::{CULPRIT}"
    line = (EXAMPLE / "test_currencies.py").read_text().splitlines()[28 - 1].strip()
    assert (found["line"], found["source"]) == (f"test_currencies.py:28 {CULPRIT}", line)
    assert (found["old"], found["new"], found["wrote"]) == ("'EUR'", "'USD'", "shop.py:8 use")
    assert ran.tests[VICTIM].own == "failed"


def test_the_page_shows_what_that_run_says(suite: Path) -> None:
    (shown,) = re.findall(r"^```text\n\$ pytest -q --memwatch-unchanged shop\n(.*?)^```", PAGE, re.M | re.S)
    section = run(suite, "--memwatch-unchanged", "shop").section
    assert shown == section.partition("every write: memwatch log")[0]
    assert f"a suite of {61} tests" in PAGE
