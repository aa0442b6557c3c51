"""Measures `views.grant` alone on new pairs, in processes with one connection each, as in Lambda; no HTTP, no S3."""

import json
import subprocess
import sys
import time

from tests.bench.service import REPEATS, ROOT, SECONDS, Service
from tests.environment import of_child

# Videos that each process has for its viewer: more than it can watch within a run.
_WATCHED = 20_000


def measure(service: Service, connections: int) -> list[float]:
    """Grants a second, one figure a run."""
    corporation, people = service.found(f"Bench grants {connections}", connections * REPEATS)
    videos = service.videos(corporation, _WATCHED, "bench/none.mp4")
    rates = []
    for run in range(REPEATS):
        viewers = people[run * connections : (run + 1) * connections]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.bench.grants"],
                cwd=ROOT,
                env=of_child(
                    **service.environment,
                    JWT_KEYS=str(service.directory / "jwt-keys.json"),
                    BENCH_SECONDS=str(SECONDS),
                ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in viewers
        ]
        for process in processes:  # all have imported and connected before the first begins
            assert process.stdout is not None
            process.stdout.readline()
        for process, viewer in zip(processes, viewers, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps([corporation, viewer.id, videos]).encode())
            process.stdin.close()
        done = 0
        for process in processes:
            assert process.stdout is not None
            done += int(process.stdout.read())
            process.stdout.close()
            process.wait()
        rates.append(done / SECONDS)
    return rates


def _grant() -> None:
    from vms import database
    from vms.auth import Caller, Who
    from vms.domain import views

    database.reachable()
    print("ready", flush=True)
    corporation, viewer, videos = json.load(sys.stdin)
    caller = Caller(viewer, corporation, Who.MEMBER)
    done, deadline = 0, time.monotonic() + SECONDS
    for video in videos:
        if time.monotonic() > deadline:
            break
        done += views.grant(caller, video)
    print(done)


if __name__ == "__main__":
    _grant()
