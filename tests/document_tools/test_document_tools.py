"""Generators and linters run over the committed OpenAPI document without an error or a warning.

Their programs are installed by `make document-tools`; where they are not, each test is skipped.
"""

import subprocess
from pathlib import Path

import pytest

from tests.environment import of_child

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
DOCUMENT = ROOT / "functions" / "service" / "openapi.json"
INSTALLED = ROOT / ".document-tools"
NPM, PYTHON = INSTALLED / "node_modules" / ".bin", INSTALLED / "python" / "bin"


def run(program: Path, *arguments: str | Path, cwd: Path) -> str:
    """What the program prints. It succeeds, or the test fails; where it is not installed, the test is skipped."""
    if not program.exists():
        pytest.skip(f"{program.name} is not installed: make document-tools")
    environment = of_child(REDOCLY_TELEMETRY="off", REDOCLY_SUPPRESS_UPDATE_NOTICE="true")
    environment["PATH"] = f"{PYTHON}:{environment['PATH']}"
    done = subprocess.run(
        [program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_redocly_finds_nothing(tmp_path: Path) -> None:
    said = run(NPM / "redocly", "lint", DOCUMENT, "--config", HERE / "redocly.yaml", cwd=tmp_path)
    assert "Your API description is valid" in said
    assert "You have" not in said, said  # "You have 3 warnings."


def test_spectral_finds_nothing(tmp_path: Path) -> None:
    ruleset = HERE / "spectral.yaml"
    said = run(NPM / "spectral", "lint", DOCUMENT, "--ruleset", ruleset, "--fail-severity", "hint", cwd=tmp_path)
    assert "No results" in said, said


def test_the_types_for_typescript_compile(tmp_path: Path) -> None:
    said = run(NPM / "openapi-typescript", DOCUMENT, "--output", "api.ts", cwd=tmp_path)
    assert "warn" not in said.lower(), said
    use = 'import type { components, operations } from "./api";\n'
    use += 'export const role: components["schemas"]["User"]["role"] = "guest";\n'
    use += 'export type Listed = operations["listVideos"]["responses"][200]["content"]["application/json"];\n'
    (tmp_path / "use.ts").write_text(use, "utf-8")
    run(NPM / "tsc", "--strict", "--noEmit", "use.ts", cwd=tmp_path)


def test_the_generated_python_client_imports(tmp_path: Path) -> None:
    client = tmp_path / "client"
    generate = ("generate", "--path", DOCUMENT, "--output-path", client, "--fail-on-warning")
    said = run(PYTHON / "openapi-python-client", *generate, cwd=tmp_path)
    assert "warning" not in said.lower(), said
    modules = sorted(client.glob("*/api/*/[!_]*.py"))
    names = [".".join(module.relative_to(client).with_suffix("").parts) for module in modules]
    assert any(name.endswith(".list_videos") for name in names), names
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    run(PYTHON / "python", "-c", code, *names, cwd=client)
