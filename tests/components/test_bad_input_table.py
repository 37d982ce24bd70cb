"""docs/bad_input.md promises a test for every kind of bad input."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "bad_input.md"


def test_every_test_that_the_table_names_exists():
    named = re.findall(r"`(components/test_\w+\.py::[^`]+)`", TABLE.read_text(encoding="utf-8"))
    kinds = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if "::test_" in line]
    assert len(kinds) == len(named) >= 40
    files = sorted({f"tests/{name.split('::')[0]}" for name in named})
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    tests = set(re.findall(r"(components/\S+::\S+)", collected))
    functions = {name.split("[")[0] for name in tests}
    assert [name for name in named if name not in tests | functions] == []
