"""Runs tests/http/*.http as the REST Client of VS Code does, and by httpyac. A title's number is the expected status.

What of the format is read: `@name = value`, `{{name}}`, `{{$timestamp}}`, `# @name request`,
`{{request.response.body.$.path}}`, `###`.
"""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.environment import of_child
from tests.in_process import routes
from tests.service import Service

pytestmark = pytest.mark.transports("over_http")

FILES = sorted((Path(__file__).parents[1] / "http").glob("*.http"))
HTTPYAC = Path(__file__).parents[2] / ".document-tools" / "node_modules" / ".bin" / "httpyac"
_TITLE = re.compile(r"(.+) \((\d{3})\)")


class Session:
    """One file's variables and answers, as they grow while its requests are sent."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.variables: dict[str, str] = {}
        self.exchanges: dict[str, dict[str, Any]] = {}

    def resolve(self, text: str) -> str:
        return re.sub(r"\{\{([^{}]+)\}\}", lambda found: self.value(found[1].strip()), text)

    def value(self, name: str) -> str:
        if name == "$timestamp":
            return str(
                time.time_ns()
            )  # another at each use, as in the editors; finer than their seconds, for tests that run twice in one
        if name == "host":
            return ""  # the client knows where the service is
        found = re.fullmatch(r"(\w+)\.(request|response)\.body\.\$\.([\w.\[\]]+)", name)
        if not found:
            return self.resolve(self.variables[name])
        value = self.exchanges[found[1]][found[2]]
        for step in re.findall(r"\w+", found[3]):
            value = value[int(step) if step.isdigit() else step]
        return str(value)

    def send(self, block: str) -> None:
        title, _, text = block.partition("\n")
        lines = []
        name = ""
        for line in text.strip().splitlines():
            if line.startswith("@"):
                variable, _, value = line[1:].partition("=")
                self.variables[variable.strip()] = value.strip()
            elif line.startswith("#"):
                name = line.partition("@name ")[2].strip() or name
            else:
                lines.append(line)
        text = "\n".join(lines).strip()
        if not text:
            return
        described = _TITLE.fullmatch(title.strip())
        assert described, f"the title does not say the status: {title}"
        head, _, body = self.resolve(text).partition("\n\n")
        first, *fields = head.splitlines()
        method, _, path = first.partition(" ")
        headers = dict(field.split(": ", 1) for field in fields)
        answer = self.http.request(method, path, headers=headers, content=body.encode() or None)
        assert answer.status_code == int(described[2]), f"{described[1]}: {answer.status_code} {answer.text[:300]}"
        if name:
            self.exchanges[name] = {"request": json.loads(body or "{}"), "response": answer.json()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_requests_of_a_file_are_answered_as_it_says(http: httpx.Client, service: Service, path: Path) -> None:
    if path.stem == "stream" and service.elsewhere:
        pytest.skip("a service elsewhere: the demo data, which this file wants, is the local runner's")
    session = Session(http)
    for block in re.split(r"^###", path.read_text("utf-8"), flags=re.MULTILINE):
        session.send(block)


def test_the_files_pass_in_httpyac(service: Service, tmp_path: Path) -> None:
    if not HTTPYAC.exists():
        pytest.skip("httpyac is not installed: make document-tools")
    if service.elsewhere:
        pytest.skip("a service elsewhere: the demo data, which stream.http wants, is the local runner's")
    shutil.copy(FILES[0].with_name(".httpyac.js"), tmp_path)
    for path in FILES:
        text = path.read_text("utf-8").replace("@host = http://localhost:3000", f"@host = {service.url}")
        (tmp_path / path.name).write_text(text, "utf-8")
    names = [path.name for path in FILES]
    told = tmp_path / "told.json"  # a file: node does not wait until a pipe has taken all
    with told.open("wb") as output:
        command = [str(HTTPYAC), "send", *names, "--all", "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=of_child(), stdout=output, check=False)
    assert done.returncode == 0, told.read_text("utf-8")[-4_000:]
    sent = json.loads(told.read_text("utf-8"))["requests"]
    assert {Path(request["fileName"]).name for request in sent} == set(names)
    for request in sent:
        described = _TITLE.fullmatch(request["title"])
        assert described
        assert request["response"]["statusCode"] == int(described[2]), request


def test_there_is_a_file_for_each_resource_group() -> None:
    assert {path.stem for path in FILES} == set(routes().values())
