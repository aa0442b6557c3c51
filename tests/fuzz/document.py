"""Fuzzes the service by its OpenAPI document, with schemathesis: what it says is what is enforced, for each role.

Run by `make fuzz`, with a fresh seed over a runner of its own; by tests/e2e/test_document.py with a fixed one.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from tests.e2e.clients import add_member, found_company
from tests.environment import of_child
from tests.runner import Runner

ROOT = Path(__file__).parents[2]
ROLES = ("anonymous", "guest", "admin")


def fuzz(url: str, role: str, seed: int, examples: int) -> subprocess.CompletedProcess[str]:
    """Run schemathesis over the service at `url` as a new user of this role, `examples` for each route and phase."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests/fuzz/schemathesis.toml")]
    command += ["run", f"{url}/openapi.json", "--no-color", "--seed", str(seed), "--max-examples", str(examples)]
    command += ["--generation-database", "none", "--suppress-health-check", "all"]
    ids = {}
    if role != "anonymous":
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            company = found_company(http)
            user = company.admin if role == "admin" else company.guest
            others = [add_member(company.admin).id for _ in range(3)] if role == "admin" else [user.id]
            videos = [company.video() for _ in range(3)]
        command += ["--header", f"Authorization: Bearer {user.tokens['access_token']}"]
        ids = {"own_user": user.id, "own_corporation": company.id, "users": others, "videos": videos}
    environment = of_child(SCHEMATHESIS_HOOKS="tests.fuzz.hooks", PYTHONPATH=str(ROOT), FUZZ_IDS=json.dumps(ids))
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def main() -> int:
    """Fuzz a runner of its own as each role; the exit code says whether all is well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--examples", type=int, default=200)
    asked = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as directory, Runner(Path(directory) / "local", BCRYPT_COST="4") as runner:
        for role in ROLES:
            print(f"As {role}, seed {asked.seed}", flush=True)
            done = fuzz(runner.url, role, asked.seed, asked.examples)
            print(done.stdout + done.stderr, flush=True)
            failed = failed or done.returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
