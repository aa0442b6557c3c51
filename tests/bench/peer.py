"""`make bench PEER=URL`: this service and another one of the same contract, in turns (A B A B), by the same client.

Each gets a corporation of its own, made over HTTP; ratios are taken pair by pair. A peer must be on this machine: the
client connects to 127.0.0.1. Streams are measured where an env file names the peer's bucket (PEER_ENV=.local/env).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx

from tests.bench.figures import Sample, number, paired_ratio, spread, table
from tests.bench.service import REPEATS, SECONDS, Service, request, running
from tests.e2e.clients import expect, found_company
from tests.e2e.films import bucket_of
from tests.runner import read_environment
from vms.paths import object_key

CONNECTIONS = 8
VIDEOS = 100
MIB = 1024 * 1024
STREAMED = 64 * MIB


@dataclass(frozen=True)
class Side:
    """One of the two services: its URL, and the requests of each kind of work, sent in turn."""

    url: str
    works: Mapping[str, list[str]]


def prepare(url: str, environment: Mapping[str, str]) -> Side:
    """Make a corporation with videos on this service, and the requests that ask for them."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        company = found_company(http)
        token = str(company.admin.tokens["access_token"])
        ids = [company.video() for _ in range(VIDEOS)]
        works = {
            "get one video": [request("GET", f"/v1/videos/id/{video}", token) for video in ids],
            "list 20 videos": [request("GET", "/v1/videos?limit=20", token)],
            "create a video": [request("POST", "/v1/videos", token, {"name": "Peer", "file_path": "peer/none.mp4"})],
        }
        if "VIDEO_BUCKET" in environment:
            for size, name in ((1024, "range of 1 KiB"), (STREAMED, "stream 64 MiB")):
                path = f"peer/{size}.mp4"
                expect_stored(environment, object_key(company.id, path), size)
                video = company.video(file_path=path)
                headers = {"Range": "bytes=0-1023"} if size == 1024 else {}
                works[name] = [request("GET", f"/v1/videos/stream/{video}", token, **headers)]
        expect(company.admin.get("/v1/auth/me"), 200)
    return Side(url, works)


def expect_stored(environment: Mapping[str, str], key: str, size: int) -> None:
    """Put an object of so many bytes into the service's bucket."""
    status = bucket_of(environment).request("PUT", key, bytes(size), content_type="video/mp4").status
    if status != 200:
        raise SystemExit(f"{key} could not be stored: S3 answers {status}")


def measure(service: Service, ours: Side, theirs: Side) -> list[dict[str, str]]:
    """A row for each kind of work that both sides have."""
    rows = []
    for name in [work for work in ours.works if work in theirs.works]:
        pairs: list[tuple[Sample, Sample]] = []
        for turn in range(REPEATS + 1):
            runs = [service.run(side.works[name], CONNECTIONS, SECONDS, url=side.url) for side in (ours, theirs)]
            if turn:  # the first pair warms up
                pairs.append((runs[0], runs[1]))
        rates = [[figure(name, side[which]) for side in pairs] for which in (0, 1)]
        unit = "MB/s" if name.startswith("stream") else "req/s"
        rows.append(
            {
                "work": name,
                "ours": f"{number(median(rates[0]))} {unit}",
                "peer": f"{number(median(rates[1]))} {unit}",
                "ours / peer, pair by pair": number(paired_ratio(*rates)),
                "spread ours / peer": f"{spread(rates[0]):.0%} / {spread(rates[1]):.0%}",
                "failures": str(sum(one.failures() + other.failures() for one, other in pairs) or ""),
            }
        )
    return rows


def figure(name: str, sample: Sample) -> float:
    """MB/s of a stream, requests a second of anything else."""
    return sample.megabytes_per_second if name.startswith("stream") else sample.requests_per_second


def check(peer: str) -> None:
    """Refuse what is not the URL of a service on this machine that answers. Raises `SystemExit`."""
    try:
        parts = urlsplit(peer)
        here = parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1"} and parts.port is not None
    except ValueError:
        here = False
    if not here:
        raise SystemExit(f"error: PEER must be a URL on this machine, such as http://localhost:3001, not {peer!r}")
    try:
        httpx.get(f"{peer.rstrip('/')}/health", timeout=10, trust_env=False).raise_for_status()
    except httpx.HTTPError as failure:
        raise SystemExit(f"error: {peer} does not answer GET /health with 200: {type(failure).__name__}") from None


def main(peer: str) -> None:
    """Measure and print."""
    check(peer)
    file = os.environ.get("PEER_ENV")
    try:
        environment = read_environment(Path(file)) if file else {}
    except OSError as failure:
        raise SystemExit(f"error: PEER_ENV={file}: {failure.strerror}") from None
    with running() as service:
        rows = measure(service, prepare(service.url, service.environment), prepare(peer, environment))
    print(f"{REPEATS} pairs of {SECONDS:g} s in turns, {CONNECTIONS} connections, medians.\n\n{table(rows)}")
    print(f"\n{service.noise()}")
