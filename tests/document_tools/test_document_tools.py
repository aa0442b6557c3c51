"""Generators and linters run over the committed OpenAPI document without an error or a warning.

What the generators make, in TypeScript and in Python, compiles under strict checks and calls the running service.

Their programs are installed by `make document-tools`; where they are not, each test is skipped.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clients import unique
from tests.environment import of_child
from tests.service import Service

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CONSOLE = ROOT / "functions" / "console" / "static"
DOCUMENT = ROOT / "functions" / "service" / "openapi.json"
INSTALLED = ROOT / ".document-tools"
NPM, PYTHON = INSTALLED / "node_modules" / ".bin", INSTALLED / "python" / "bin"
PACKAGE = "video_management_server_client"
# What use_client.ts and use_client.py tell.
SEEN = {
    "own": True,
    "replayed": True,
    "renamed": "타입",
    "listed": ["타입"],
    "more": False,
    "problem": [409, "urn:vms:error:conflict"],
    "stream": [404, "urn:vms:error:file-missing"],
    "removed": 204,
    "restored": False,
}


def run(program: Path, *arguments: str | Path, cwd: Path, code: int = 0) -> str:
    """What the program prints. It ends with `code`, or the test fails; where it is not installed, it is skipped."""
    if not program.exists():
        pytest.skip(f"{program.name} is not installed: make document-tools")
    environment = of_child(REDOCLY_TELEMETRY="off", REDOCLY_SUPPRESS_UPDATE_NOTICE="true")
    environment["PATH"] = f"{PYTHON}:{environment['PATH']}"
    done = subprocess.run(
        [program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


def test_redocly_finds_nothing(tmp_path: Path) -> None:
    said = run(NPM / "redocly", "lint", DOCUMENT, "--config", HERE / "redocly.yaml", cwd=tmp_path)
    assert "Your API description is valid" in said
    assert "You have" not in said, said  # "You have 3 warnings."


def test_spectral_finds_nothing(tmp_path: Path) -> None:
    ruleset = HERE / "spectral.yaml"
    said = run(NPM / "spectral", "lint", DOCUMENT, "--ruleset", ruleset, "--fail-severity", "hint", cwd=tmp_path)
    assert "No results" in said, said


def test_the_types_for_typescript_compile_and_call_the_service(tmp_path: Path, over_http: Service) -> None:
    # A field with a default may be left out of a body: without this option the types want it.
    options = ("--default-non-nullable", "false", "--output", "api.d.ts")
    said = run(NPM / "openapi-typescript", DOCUMENT, *options, cwd=tmp_path)
    assert "warn" not in said.lower(), said
    (tmp_path / "node_modules").symlink_to(INSTALLED / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    shutil.copy(HERE / "use_client.ts", tmp_path)
    run(NPM / "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "use_client.ts", cwd=tmp_path)
    node = Path(shutil.which("node") or "node")
    assert json.loads(run(node, "use_client.js", over_http.url, unique("ts"), cwd=tmp_path)) == SEEN


def test_the_generated_python_client_type_checks_and_calls_the_service(tmp_path: Path, over_http: Service) -> None:
    client = tmp_path / "client"
    generate = ("generate", "--path", DOCUMENT, "--output-path", client, "--fail-on-warning")
    said = run(PYTHON / "openapi-python-client", *generate, cwd=tmp_path)
    assert "warning" not in said.lower(), said
    shutil.copy(HERE / "use_client.py", client)
    mypy = Path(sys.executable).with_name("mypy")
    run(mypy, "--strict", "--python-executable", PYTHON / "python", "use_client.py", PACKAGE, cwd=client)
    run(PYTHON / "python", "-m", "compileall", "-q", PACKAGE, cwd=client)
    assert json.loads(run(PYTHON / "python", "use_client.py", over_http.url, unique("py"), cwd=client)) == SEEN


def test_the_console_type_checks_against_the_document(tmp_path: Path) -> None:
    types = HERE / "console"
    shutil.copytree(CONSOLE, tmp_path / "static", ignore=shutil.ignore_patterns("vendor"))
    (tmp_path / "static" / "vendor").mkdir()
    for path in types.glob("*.d.ts"):
        shutil.copy(path, tmp_path / "static" / "vendor")
    shutil.copy(types / "tsconfig.json", tmp_path)
    options = ("--default-non-nullable", "false", "--output", "openapi.d.ts")
    run(NPM / "openapi-typescript", DOCUMENT, *options, cwd=tmp_path)
    run(NPM / "tsc", "--project", ".", cwd=tmp_path)
    # It fails where a name is none of the document's.
    api = tmp_path / "static" / "app" / "api.js"
    api.write_text(api.read_text("utf-8").replace('Schemas["Quota"]', 'Schemas["Quote"]'), "utf-8")
    assert "Quote" in run(NPM / "tsc", "--project", ".", cwd=tmp_path, code=2)
