"""Runs the end-to-end suite against a service that is not the local runner."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.environment import of_child

ROOT = Path(__file__).parents[2]


def assert_suite_passes(
    url: str, variables: Mapping[str, str], directory: Path, skipped: Iterable[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Run the suite against `url`, but for these tests; print its count.

    `variables` go into an env file in `directory`.
    """
    env = directory / "suite.env"
    env.write_text("".join(f"{name}={value}\n" for name, value in variables.items()), "utf-8")
    command = [sys.executable, "-m", "pytest", "tests/e2e", "-q", "--tb=short", "-p", "no:cacheprovider"]
    command += ["--api-url", url, "--env-file", str(env), *(f"--deselect={test}" for test in skipped)]
    done = subprocess.run(command, cwd=ROOT, env=of_child(), capture_output=True, text=True, check=False)
    with capsys.disabled():
        print("\n  e2e:", done.stdout.strip().rpartition("\n")[2])
    assert done.returncode == 0, done.stdout[-20_000:]
