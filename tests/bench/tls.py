"""`make bench-stream TLS=1`: the same file, read by the function from S3 over HTTPS and over HTTP, in turns.

Both are ports of one S3 server; its certificate is made on the spot, and the functions trust it by SSL_CERT_FILE.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import urllib3

from tests import certificates, environment
from tests.bench import processes
from tests.bench.figures import number, paired_ratio, spread, table
from tests.bench.service import REPEATS, ROOT, SECONDS, Service, request, running
from tests.bench.stream import prepare
from tests.runner import free_port, stop, template_served

SIZE = 64  # MiB
CONNECTIONS = (1, 8)
MAX_RATIO = 1.6  # of the worker's CPU time


@dataclass
class Side:
    """The template served over one of the two ports: where, by which process, and what its runs gave."""

    url: str
    pid: int
    speeds: list[float] = field(default_factory=list)  # MB/s
    cpu: list[float] = field(default_factory=list)  # us a MB, of the workers

    def run(self, service: Service, text: str, connections: int, seconds: float) -> None:
        """One run, kept."""
        before = self._used()
        service.load.begin(self.url, [text], connections, seconds, cut=True)
        result = service.load.finish()
        used = sum(value - before.get(pid, 0.0) for pid, value in self._used().items())
        assert not result["broken"], result
        assert set(result["statuses"]) == {200}, result
        self.speeds.append(result["bytes"] / 1e6 / result["seconds"])
        self.cpu.append(used * 1e6 / (result["bytes"] / 1e6))

    def _used(self) -> dict[int, float]:
        """CPU seconds of each stream worker."""
        return processes.cpu_seconds(
            pid for pid in processes.children(self.pid) if processes.working_directory(pid).name == "stream"
        )


@contextlib.contextmanager
def gateway(service: Service, certificate: Path, key: Path) -> Iterator[dict[str, str]]:
    """An S3 server over the runner's storage; yields its URLs by scheme."""
    ports = {"http": free_port(), "https": free_port(), "grpc": free_port()}
    directory = service.directory / "s3"
    filer = json.loads((directory / "ports.json").read_bytes())
    command = [
        str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "-v=0", "s3", "-ip.bind=127.0.0.1",
        f"-filer=127.0.0.1:{filer['filer']}.{filer['filer.grpc']}", f"-config={directory / 's3.json'}",
        f"-port={ports['http']}", f"-port.https={ports['https']}", f"-port.grpc={ports['grpc']}",
        "-port.iceberg=0", "-port.lance=0", f"-cert.file={certificate}", f"-key.file={key}",
        f"-localSocket={certificate.parent / 's3.sock'}",
    ]  # fmt: skip
    with (service.directory / "s3-tls.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=certificate.parent, env=environment.of_child(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        urls = {scheme: f"{scheme}://127.0.0.1:{ports[scheme]}" for scheme in ("http", "https")}
        pool = urllib3.PoolManager(ca_certs=str(certificate), retries=False, timeout=5.0)
        for url in urls.values():
            _wait_for(pool, url, process, service.directory / "s3-tls.log")
        yield urls
    finally:
        stop(process)


def _wait_for(pool: urllib3.PoolManager, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            if pool.request("GET", f"{url}/status").status == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(log.read_text("utf-8")[-4000:])
        time.sleep(0.1)


@contextlib.contextmanager
def sides(service: Service) -> Iterator[dict[str, Side]]:
    """The template served twice, by the scheme over which it reads from S3."""
    place = service.directory / "tls"
    place.mkdir()
    certificate, key = certificates.make(place)
    settings = {
        **service.environment,
        "JWT_KEYS": str(service.directory / "jwt-keys.json"),
        "DATABASE_IAM_AUTH": "false",
        "STREAM_MAX_BYTES": "0",
    }
    workers = {name: value for name, value in service.environment.items() if name.startswith("AWS_")}
    workers["SSL_CERT_FILE"] = str(certificate)
    with contextlib.ExitStack() as stack:
        found: dict[str, Side] = {}
        for scheme, url in stack.enter_context(gateway(service, certificate, key)).items():
            ours = {"AWS_ENDPOINT_URL_S3": url}
            serving = template_served(ROOT, place / f"{scheme}.log", {**workers, **ours}, **{**settings, **ours})
            ports = stack.enter_context(serving)
            found[scheme] = Side(f"http://127.0.0.1:{ports['port']}", ports["pid"])
        yield found


def main() -> None:
    """Measure and print."""
    print(f"Machine: {processes.machine()}")
    print(f"{REPEATS} runs of {SECONDS:g} s in each cell, over HTTP and HTTPS in turns; medians.", flush=True)
    rows: list[dict[str, str]] = []
    with running() as service, sides(service) as found:
        person, videos = prepare(service, [SIZE])
        text = request("GET", f"/v1/videos/stream/{videos[SIZE][0]}", person.token)
        for connections in CONNECTIONS:
            for repeat in range(REPEATS + 1):
                for side in found.values():
                    side.run(service, text, connections, SECONDS if repeat else max(2.0, connections / 4))
            for side in found.values():  # what was run to warm up does not count
                del side.speeds[:-REPEATS], side.cpu[:-REPEATS]
            rows.append(_row(connections, found["http"], found["https"]))
    print(f"\n{table(rows)}\n\nClient, server, workers and S3 share the cores: compare within this run only.")


def _row(connections: int, plain: Side, secure: Side) -> dict[str, str]:
    ratio = paired_ratio(secure.cpu, plain.cpu)
    return {
        "work": f"stream {SIZE} MiB",
        "connections": str(connections),
        "HTTP, MB/s": number(median(plain.speeds)),
        "HTTPS, MB/s": number(median(secure.speeds)),
        "spread": f"{spread(plain.speeds):.0%} / {spread(secure.speeds):.0%}",
        "HTTPS / HTTP": number(paired_ratio(secure.speeds, plain.speeds)),
        "worker's CPU over HTTP, us a MB": number(median(plain.cpu)),
        "over HTTPS": number(median(secure.cpu)),
        "ratio": number(ratio),
        "goal": f"<= {MAX_RATIO:g}",
        "met": "yes" if ratio <= MAX_RATIO else "short",
    }


if __name__ == "__main__":
    main()
