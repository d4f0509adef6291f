"""docs/faults.md names every fault once, with tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from fault_schedule import KINDS

ROOT = Path(__file__).resolve().parents[2]


def table():
    """The rows below the head, as (fault, injected, seen, proofs)."""
    lines = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def test_every_fault_is_in_the_table_once():
    assert sorted(row[0] for row in table()) == sorted(KINDS)


def test_every_proof_exists():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "test").rglob("test_*.py")]
    tests = {name for source in sources for name in re.findall(r"^def (test_\w+)\(", source, re.MULTILINE)}
    for fault, *_, proofs in table():
        named = re.findall(r"`([^`]+)`", proofs)
        assert named, fault
        for name in named:
            there = name in tests or any(ROOT.joinpath("test").rglob(name)) or (ROOT / name).is_file()
            assert there, f"{fault}: no {name}"
