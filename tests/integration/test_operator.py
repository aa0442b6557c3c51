"""The operator's commands, against moto's Secrets Manager, a CloudFormation with one stack, and a Lambda that fails."""

import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ops import deployed
from ops.__main__ import main, progress
from tests import environment
from tests.e2e.clients import unique

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"
KEYS = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
# Nothing of this machine's own credentials.
NOWHERE = {
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class CloudFormation(BaseHTTPRequestHandler):
    """DescribeStacks alone, with one stack; moto's own wants the packages of every service that a template may name."""

    outputs: ClassVar[dict[str, str]] = {}

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if asked["StackName"] == ["vms-test"]:
            members = "".join(
                f"<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"
                for key, value in self.outputs.items()
            )
            stack = f"<member><StackName>vms-test</StackName><Outputs>{members}</Outputs></member>"
            body = f"<R><DescribeStacksResult><Stacks>{stack}</Stacks></DescribeStacksResult></R>"
        else:
            body = "<R><Error><Code>ValidationError</Code><Message>There is no such stack</Message></Error></R>"
        self.send_response(200 if asked["StackName"] == ["vms-test"] else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


@pytest.fixture(scope="module")
def cloudformation() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), CloudFormation) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def stack(cloudformation: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A stack with the outputs that the commands read, and signing keys; this process's environment leads to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    here = {
        "AWS_ENDPOINT_URL_CLOUDFORMATION": cloudformation,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://{host}:{port}",
    }
    for name, value in {**KEYS, **NOWHERE, **here}.items():
        monkeypatch.setenv(name, value)
    with closing(boto3.client("secretsmanager")) as client:
        made = client.create_secret(
            Name=unique("keys"), SecretString=json.dumps({"current": "b", "a": "a" * 40, "b": "b" * 40})
        )
    CloudFormation.outputs = {"JwtKeysArn": made["ARN"], "MigrateFunctionName": "migrate"}
    yield "vms-test"
    server.stop()


def error_of(*arguments: str, **said: str) -> str:
    """What the command says on its standard error when it fails."""
    command = [sys.executable, "-m", "ops", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment.of_child(**NOWHERE, **said), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


@pytest.mark.parametrize("command", ["migrate", "rotate-keys"])
def test_what_is_missing_is_said_in_one_line(command: str, cloudformation: str) -> None:
    here = {**KEYS, "AWS_ENDPOINT_URL_CLOUDFORMATION": cloudformation}
    assert error_of(command, "x") == "error: no region is set: export AWS_REGION=…, or name a profile by AWS_PROFILE\n"
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        assert error_of(command, "x", **{name: REGION}) == (
            "error: no credentials for AWS: log in with the AWS tools, or export AWS_PROFILE=…\n"
        )
    assert error_of(command, "", **here) == "error: which stack? Say STACK=… to make\n"
    for missing in (error_of(command, "x", **here), error_of(command, "x", **here, AWS_PROFILE="nope")):
        assert missing.startswith("error: ")
        assert missing.count("\n") == 1


def keys() -> dict[str, str]:
    """The stack's signing keys as they are now."""
    with closing(boto3.client("secretsmanager")) as client:
        secret = client.get_secret_value(SecretId=CloudFormation.outputs["JwtKeysArn"])
    found: dict[str, str] = json.loads(secret["SecretString"])
    return found


@contextmanager
def silent_lambda(*, hang: bool) -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes each request, and then hangs up or never answers; yields its URL and what it was sent."""
    asked: list[bytes] = []
    kept: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            asked.append(connection.recv(65536))
            if hang:
                kept.append(connection)
            else:
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


@pytest.mark.parametrize("hang", [False, True])
def test_a_migration_is_invoked_once_whatever_becomes_of_the_answer(
    stack: str, monkeypatch: pytest.MonkeyPatch, hang: bool
) -> None:
    if hang:
        monkeypatch.setattr(deployed, "MIGRATE_TIMEOUT", 0.2)
    with silent_lambda(hang=hang) as (url, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        with pytest.raises(deployed.DeployedError, match="Read timeout" if hang else "Connection was closed"):
            deployed.migrate(stack)
    assert len(asked) == 1
    assert asked[0].startswith(b"POST /2015-03-31/functions/migrate/invocations?Qualifier=live ")


def test_a_migration_is_waited_for_longer_than_it_may_run() -> None:
    template = (ROOT / "template.yaml").read_text("utf-8")
    migrate = template.partition("\n  MigrateFunction:\n")[2].partition("\n\n")[0]
    longest = next(int(line.split()[1]) for line in migrate.splitlines() if line.strip().startswith("Timeout:"))
    assert longest < deployed.MIGRATE_TIMEOUT


def test_a_rotated_key_is_known_before_it_signs_and_the_old_one_stays(stack: str) -> None:
    seen: list[dict[str, str]] = []
    kid = deployed.rotate_keys(stack, 0.01, lambda _passed, _seconds: seen.append(keys()))
    after = keys()
    assert [known["current"] for known in seen] == ["b"] * len(seen)
    assert seen[0] == {**after, "current": "b"}
    assert (after["current"], after["b"], set(after)) == (kid, "b" * 40, {"current", "b", kid})
    assert len(after[kid]) >= 43  # 32 random bytes or more, in base64


def test_a_rotation_that_is_interrupted_leaves_the_old_key_signing_and_says_so(
    stack: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_seconds: float, _show: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deployed, "_wait", interrupt)
    assert main(["rotate-keys", stack]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped: the old key signs on; run it again to rotate"
    assert keys()["current"] == "b"


def test_a_wait_is_shown_by_a_line_a_minute_or_by_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    lines, terminal = io.StringIO(), Terminal()
    show, draw = progress(lines), progress(terminal, width=10)
    for passed in range(631):
        show(passed, 630)
        draw(passed, 630)
    assert lines.getvalue().splitlines() == [
        *(f"the new key signs in {630 - passed} s" for passed in range(0, 630, 60)),
        "the new key signs now",
    ]
    drawn = terminal.getvalue().split("\r\x1b[K")
    assert drawn[1] == "[..........] the new key signs in 630 s"
    assert drawn[316] == "[#####.....] the new key signs in 315 s"
    assert drawn[-1] == "[##########] the new key signs now\n"
