"""`python -m ops.audit [--required]`: asks PyPI's vulnerability service about each locked package, through pip-audit.

Exits with 1 when a locked release has a known vulnerability. Where the service cannot be asked, it says so in one line,
and exits with 0, or with 1 if --required.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCKS = (ROOT / "requirements.lock", ROOT / "tests" / "emulator" / "requirements.txt")
# A release with a known vulnerability. Its answer tells a service that works from one that knows nothing, such as a
# mirror that has the packages alone.
KNOWN = "urllib3==1.26.4"


def ask(file: Path) -> list[dict[str, Any]] | str:
    """What pip-audit finds out about each requirement of the file, or why it could not ask."""
    options = "--vulnerability-service pypi --format json --timeout 10 --progress-spinner off --disable-pip --no-deps"
    command = [sys.executable, "-m", "pip_audit", *options.split(), "--requirement", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]
    return found


def vulnerable(found: list[dict[str, Any]]) -> list[str]:
    """A line for each known vulnerability."""
    return [
        f"{one['name']} {one['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no release'}"
        for one in found
        for hole in one.get("vulns", ())
    ]


def main(arguments: list[str]) -> int:
    """Ask and print; the exit code is returned."""
    required = arguments == ["--required"]
    with tempfile.TemporaryDirectory() as directory:
        probe = Path(directory) / "requirements.txt"
        probe.write_text(f"{KNOWN}\n", "utf-8")
        answers = [ask(probe)]
    if isinstance(answers[0], list) and not vulnerable(answers[0]):
        answers = ["the package index here knows of no vulnerabilities"]
    elif isinstance(answers[0], list):
        answers = [ask(file) for file in LOCKS]
    found = [one for answer in answers if isinstance(answer, list) for one in answer]
    holes, unknown = vulnerable(found), [one["name"] for one in found if "skip_reason" in one]
    failures = [answer for answer in answers if isinstance(answer, str)]
    if unknown:
        failures.append(f"the service does not know {', '.join(unknown)}")
    for line in holes:
        print(line)
    for why in failures:
        print(f"Not audited for known vulnerabilities: {why}.")
    if not holes and not failures:
        print(f"None of {len(found)} packages has a known vulnerability.")
    return int(bool(holes or (failures and required)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
