"""Counts the modules that each function imports, because a cold start is mostly imports. `make bench` has the times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import of_child

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
# What no request needs: SDKs, HTTP clients, tracers, template and YAML readers.
NEVER = {
    "boto3",
    "botocore.client",
    "botocore.session",
    "botocore.auth",
    "urllib3",
    "requests",
    "aws_xray_sdk",
    "yaml",
    "vms.aws",
}
FRAMEWORK = {"pydantic", "aws_lambda_powertools.event_handler"}
# PyJWT imports it where it happens to be installed; the layers do not have it.
NOT_SHIPPED = ("cryptography", "_cffi_backend")
MAX_MODULES = 600
# What speaks to S3 by botocore's client, which is made at its start; the library that reads films waits for the first.
CLIENTS = {"uploads"}
MAX_WITH_CLIENT = 900
MAX_WITHOUT_FRAMEWORK = 450


def imported(function: str) -> set[str]:
    """The modules that a new execution environment of this function has after its import of app.py."""
    environment = of_child(
        PYTHONPATH=str(ROOT / "functions" / function),
        DATABASE_URL="postgresql://nobody@localhost/none",
        DATABASE_OWNER_URL="postgresql://nobody@localhost/none",
        JWT_KEYS=json.dumps({"current": "none", "none": "-" * 32}),
        VIDEO_BUCKET="none",
        MIGRATIONS_DIR=str(ROOT / "sql" / "migrations"),
        POWERTOOLS_METRICS_NAMESPACE="vms",
        POWERTOOLS_SERVICE_NAME=function,
    )
    code = "import app, sys; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return {name for name in done.stdout.split() if not name.startswith(NOT_SHIPPED)}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_imports_no_more_than_its_requests_need(function: str) -> None:
    found = imported(function)
    if function in CLIENTS:
        assert len(found) <= MAX_WITH_CLIENT
        assert not found & {"boto3", "requests", "aws_xray_sdk", "yaml", "vms.aws", "pymediainfo"}
        return
    assert len(found) <= MAX_MODULES
    # Only the stream signs requests to AWS each time.
    assert found & NEVER <= ({"vms.aws"} if function == "stream" else set())


@pytest.mark.parametrize("function", ["stream", "plan_expiry", "migrate"])
def test_a_function_without_json_bodies_imports_no_framework(function: str) -> None:
    found = imported(function)
    assert len(found) <= MAX_WITHOUT_FRAMEWORK
    assert not found & FRAMEWORK
