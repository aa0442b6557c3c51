"""Runs the end-to-end suite against a service that is not the local runner."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def assert_suite_passes(
    environment: Mapping[str, str], skipped: Iterable[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Run the suite with this environment (API_URL and what conftest.py reads), but for these tests; print its count."""
    command = [sys.executable, "-m", "pytest", "tests/e2e", "-q", "--tb=short", "-p", "no:cacheprovider"]
    command += [f"--deselect={test}" for test in skipped]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    with capsys.disabled():
        print("\n  e2e:", done.stdout.strip().rpartition("\n")[2])
    assert done.returncode == 0, done.stdout[-20_000:]
