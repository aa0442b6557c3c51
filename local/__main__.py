"""The runner's command line: `python -m local run`, `clean` and `invoke FUNCTION EVENT_FILE`."""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from local.files import read_json
from local.runner import RunnerError, bind, check_settings, invoke_once, locked, serve, until_stopped
from local.template import TemplateError


def main(arguments: list[str]) -> int:
    """Run a command; the exit code is returned."""
    parser = argparse.ArgumentParser(prog="python -m local", description="Serves template.yaml on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="serve until Ctrl-C (PORT, default 3000; LOCAL_DIR, default .local)")
    commands.add_parser("clean", help="drop the local data, and what a killed runner left running over it")
    invoke = commands.add_parser("invoke", help="run one function once and print its result")
    invoke.add_argument("function", help="directory name or logical id, such as plan_expiry")
    invoke.add_argument("event", help="file with the event's JSON; - is the standard input")
    options = parser.parse_args(arguments)
    # libpq's and the AWS libraries' variables are the shell's, not the runner's.
    for name in [name for name in os.environ if name.startswith(("AWS_", "PG"))]:
        del os.environ[name]
    directory = Path(os.environ.get("LOCAL_DIR") or ".local").absolute()
    try:
        if options.command == "run":
            return run(directory)
        if options.command == "clean":
            return clean(directory)
        return invoke_function(directory, options.function, options.event)
    except (RunnerError, TemplateError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1


def run(directory: Path) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP; LOG=raw prints the functions' own lines instead of the requests."""
    raw = os.environ.get("LOG") == "raw"
    check_settings(os.environ)
    sockets = bind(_port())
    with locked(directory):
        return int(_on_loop(until_stopped(lambda stop: serve(directory, sockets, stop, raw=raw))))


def clean(directory: Path) -> int:
    """Drop the local data alone; servers that a killed runner left behind end first. Raises `RunnerError`."""
    from local.postgres import Postgres
    from local.s3 import S3

    if directory.exists():
        with locked(directory):
            Postgres.end(directory.resolve() / "postgres")
            S3.end(directory.resolve() / "s3")
            for name in ("postgres", "s3", "log"):
                shutil.rmtree(directory / name, ignore_errors=True)
            for name in ("env", "runner.json", "jwt-keys.json", "template.json", "sam.json", "lock"):
                (directory / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something of somebody else's lies there
            directory.rmdir()
    return 0


def invoke_function(directory: Path, function: str, event_file: str) -> int:
    """Run a function through the runner that serves `directory`, or else alone; 1 if it fails."""
    try:
        text = sys.stdin.read() if event_file == "-" else Path(event_file).read_text(encoding="utf-8")
        event = json.dumps(json.loads(text)).encode()
    except OSError as failure:
        raise RunnerError(f"{event_file}: {failure.strerror}") from failure
    except ValueError as failure:
        raise RunnerError(f"{event_file} is not JSON: {failure}") from failure
    result = _through_runner(directory, function, event)
    if result is None:
        with locked(directory), contextlib.redirect_stdout(sys.stderr):  # the standard output is the result's alone
            outcome = _on_loop(invoke_once(directory, function, event))
        result = outcome.payload, outcome.error_type is not None
    payload, failed = result
    print(_pretty(payload))
    return 1 if failed else 0


def _through_runner(directory: Path, function: str, event: bytes) -> tuple[bytes, bool] | None:
    import urllib3

    record = read_json(directory / "runner.json")
    if not record:
        return None
    url = f"http://127.0.0.1:{record['port']}/2015-03-31/functions/{function}/invocations"
    headers = {"Authorization": f"Bearer {record['token']}", "Content-Type": "application/json"}
    try:
        answer = urllib3.request("POST", url, body=event, headers=headers, timeout=960, retries=False)
    except urllib3.exceptions.NewConnectionError:
        return None  # the runner was killed and has left its record
    if answer.status != 200:
        raise RunnerError(json.loads(answer.data or b"{}").get("errorMessage", f"the runner answered {answer.status}"))
    return answer.data, "X-Amz-Function-Error" in answer.headers


def _pretty(payload: bytes) -> str:
    try:
        return json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except ValueError:
        return payload.decode("utf-8", "replace")


def _port() -> int:
    text = os.environ.get("PORT") or "3000"
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise RunnerError(f"PORT must be a number from 0 to 65535, not {text!r}.")
    return int(text)


def _on_loop[T](work: Coroutine[Any, Any, T]) -> T:
    # Each worker and each client takes descriptors: as many as the system lets us have.
    with contextlib.suppress(OSError, ValueError):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536) if most > 0 else 65_536, most))
    try:
        import uvloop
    except ImportError:  # no wheel for this system: slower, not different
        return asyncio.run(work)
    return uvloop.run(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
