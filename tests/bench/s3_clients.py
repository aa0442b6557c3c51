"""`make bench-s3`: three ways to GET an object from S3 in Python, each in a fresh process. vms/storage.py cites it.

Prints, as medians of seven processes taken in turn: imports and first chunk from cold, the time to the first chunk once
warm, MB/s of a 64 MiB object in 256 KiB chunks, and the process's peak memory.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

KEY = "bench/object.bin"
SIZE = 64 * 1024 * 1024
CHUNK = 256 * 1024
REPEATS = 7

type Get = Callable[[], Iterator[bytes | memoryview]]


def _boto3() -> Get:
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"])

    def get() -> Iterator[bytes]:
        return iter(client.get_object(Bucket=os.environ["VIDEO_BUCKET"], Key=KEY)["Body"].iter_chunks(CHUNK))

    return get


def _signed(url: str) -> dict[str, str]:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method="GET", url=url, headers={"Accept-Encoding": "identity"})
    keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    S3SigV4Auth(keys, "s3", os.environ["AWS_REGION"]).add_auth(request)
    return {str(name): str(value) for name, value in request.headers.items()}


def _urllib3() -> Get:
    import urllib3

    pool = urllib3.PoolManager()
    url = f"{os.environ['AWS_ENDPOINT_URL_S3']}/{os.environ['VIDEO_BUCKET']}/{KEY}"

    def get() -> Iterator[bytes]:
        return pool.request("GET", url, headers=_signed(url), preload_content=False).stream(CHUNK)

    return get


def _vms() -> Get:
    from vms import storage

    return lambda: storage.get(KEY).chunks()


CLIENTS: dict[str, Callable[[], Get]] = {
    "boto3": _boto3,
    "botocore's signer + urllib3": _urllib3,
    "vms.storage (http.client)": _vms,
}


def measure(client: str) -> dict[str, float]:
    """Measure one client in this process. Milliseconds, MB/s, MiB."""
    started = time.perf_counter()
    get = CLIENTS[client]()
    for _ in get():
        cold = time.perf_counter() - started
        break
    firsts, rates = [], []
    for _ in range(5):
        started = time.perf_counter()
        received = 0
        for chunk in get():
            if not received:
                firsts.append(time.perf_counter() - started)
            received += len(chunk)
        rates.append(received / (time.perf_counter() - started) / 1e6)
    assert received == SIZE
    status = Path("/proc/self/status").read_text("utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {"cold": cold * 1000, "warm": median(firsts) * 1000, "rate": median(rates), "peak": peak}


def main() -> None:
    """Measure all clients in turn, and print the table."""
    from local import s3  # not above: it brings botocore along, whose import is part of what is measured
    from tests.bench.figures import table
    from tests.environment import of_child

    with tempfile.TemporaryDirectory() as directory, s3.start(Path(directory)) as server:
        for _ in range(50):  # the server answers before its first volume takes writes
            if server.request("PUT", KEY, os.urandom(SIZE)).status == 200:
                break
            time.sleep(0.2)
        environment = of_child(
            AWS_ENDPOINT_URL_S3=server.endpoint,
            AWS_ACCESS_KEY_ID=server.access_key,
            AWS_SECRET_ACCESS_KEY=server.secret_key,
            AWS_REGION=server.region,
            AWS_DEFAULT_REGION=server.region,
            VIDEO_BUCKET=server.bucket,
            DATABASE_URL="postgresql://nobody@127.0.0.1/none",
            JWT_KEYS="none",
        )
        found: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
        for _ in range(REPEATS):
            for client, figures in found.items():
                command = [sys.executable, "-m", "tests.bench.s3_clients", client]
                said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
                figures.append(json.loads(said))
    rows = []
    for client, figures in found.items():
        middle = {name: median(figure[name] for figure in figures) for name in figures[0]}
        rows.append(
            {
                "client": client,
                "imports to first chunk, ms": f"{middle['cold']:.0f}",
                "first chunk, warm, ms": f"{middle['warm']:.1f}",
                "MB/s": f"{middle['rate']:.0f}",
                "peak memory, MiB": f"{middle['peak']:.0f}",
            }
        )
    print(table(rows))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
