"""The tests see nothing of the shell that runs them."""

import subprocess
import sys
from pathlib import Path

from tests.environment import of_child

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9"
# What a shell may hold that sourced an env file of the demo, or whose owner works with AWS, PostgreSQL and a proxy.
HOSTILE = {
    "API_URL": NOWHERE,
    "AWS_ACCESS_KEY_ID": "shell",
    "AWS_DEFAULT_REGION": "xx-shell-1",
    "AWS_ENDPOINT_URL": NOWHERE,
    "AWS_ENDPOINT_URL_S3": NOWHERE,
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9",
    "AWS_PROFILE": "missing",
    "AWS_REGION": "xx-shell-1",
    "AWS_SECRET_ACCESS_KEY": "shell",
    "BCRYPT_COST": "abc",
    "DATABASE_IAM_AUTH": "true",
    "DATABASE_OWNER_URL": "postgresql://127.0.0.1:9/nowhere",
    "DATABASE_URL": "postgresql://127.0.0.1:9/nowhere",
    "HTTPS_PROXY": NOWHERE,
    "JWT_KEYS": "/nowhere",
    "LOCAL_DIR": "/nowhere",
    "MIGRATIONS_DIR": "/nowhere",
    "PGHOST": "/nowhere",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGSERVICE": "nope",
    "PGSSLMODE": "verify-full",
    "PORT": "9",
    "POWERTOOLS_LOG_LEVEL": "nonsense",
    "S3_IDLE_TIMEOUT_SECONDS": "abc",
    "STREAM_MAX_BYTES": "1",
    "STREAM_MODE": "buffered",
    "VIDEO_BUCKET": "nowhere",
    "all_proxy": NOWHERE,
    "http_proxy": NOWHERE,
}


def test_a_view_passes_on_both_transports_in_a_shell_that_is_full_of_settings() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/e2e/test_stream.py"]
    command += ["-k", "test_a_stream_leaves_one_view_log_and_ten_points"]
    done = subprocess.run(
        command, cwd=ROOT, env=of_child(**HOSTILE), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "2 passed" in done.stdout
