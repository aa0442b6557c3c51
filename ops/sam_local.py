"""`python -m ops.sam_local`: `sam build` and `sam local start-api`, in Docker, over this machine's PostgreSQL and S3.

AWS's own emulator of the runtime, which answers buffered. SAM_ARGS is passed on to start-api.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from local import demo
from local.files import write_private
from local.runner import LOCAL_ORIGINS, ROOT, RunnerError, Services, locked, until_stopped

HOST = "host.docker.internal"
_OWN = str(Path(sys.executable).parent)  # has sam, and the Python that builds the layers


def bridge() -> str | None:
    """This machine's address on Docker's bridge; None where Docker Desktop routes containers to the loopback itself.

    Raises:
        RunnerError: there is no Docker.
    """
    if shutil.which("docker") is None:
        raise RunnerError("sam local wants Docker, and there is no docker command; `make run` does without.")
    form = '{{index .Options "com.docker.network.bridge.name"}}'
    command = ["docker", "network", "inspect", "bridge", "--format", form]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RunnerError(f"Docker does not answer: {done.stderr.strip().splitlines()[-1]}")
    return _address(done.stdout.strip()) if sys.platform == "linux" else None


def _address(interface: str) -> str:
    """The IPv4 address of a network interface of Linux (netdevice(7), SIOCGIFADDR)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, 0x8915, struct.pack("256s", interface.encode()[:15]))
    return socket.inet_ntoa(answer[20:24])


class Gates:
    """Forwards ports on Docker's bridge to servers that listen on the loopback only, so that containers reach them."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self._servers: list[asyncio.Server] = []

    async def open(self, port: int) -> str:
        """Where a container finds the server of this port: host:port."""
        if self.address is None:
            return f"{HOST}:{port}"

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            behind = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pass(reader, behind[1]), _pass(behind[0], writer))

        server = await asyncio.start_server(serve, self.address, 0)
        self._servers.append(server)
        return f"{HOST}:{server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Close them all."""
        for server in self._servers:
            server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


async def serve(directory: Path, port: int, stop: asyncio.Event) -> int:
    """Build, start everything, and serve until `stop`; the exit code is returned. Raises `RunnerError`."""
    gates = Gates(bridge())
    services = Services(directory)
    process: asyncio.subprocess.Process | None = None
    try:
        await services.start()
        await asyncio.to_thread(demo.load, services.postgres.owner_url, services.s3)
        settings = directory / "sam.json"
        write_private(settings, json.dumps({"Parameters": await _settings(services, gates)}))
        environment = {**os.environ, **services.aws(), "PATH": os.pathsep.join((_OWN, os.environ["PATH"]))}
        environment |= {"SAM_CLI_TELEMETRY": "0", "PYTHON": sys.executable}
        built = await asyncio.create_subprocess_exec("sam", "build", cwd=ROOT, env=environment)
        if await built.wait() != 0:
            raise RunnerError("sam build failed")
        command = ["sam", "local", "start-api", "--port", str(port), "--env-vars", str(settings)]
        if gates.address is not None:
            command += ["--add-host", f"{HOST}:{gates.address}"]
        command += shlex.split(os.environ.get("SAM_ARGS", ""))
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)
        known = {"API_URL": f"http://127.0.0.1:{port}", **services.environment(), "STREAM_MODE": "buffered"}
        write_private(directory / "env", "".join(f"{name}={value}\n" for name, value in known.items()))
        over = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(process.wait())}
        await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        return 0 if stop.is_set() else 1
    finally:
        (directory / "env").unlink(missing_ok=True)
        if process is not None and process.returncode is None:
            process.terminate()
            await process.wait()
        gates.close()
        await services.stop()


async def _settings(services: Services, gates: Gates) -> dict[str, str]:
    """What the functions are told, with addresses that a container can reach."""
    app, owner, endpoint = map(urlsplit, (services.postgres.url, services.postgres.owner_url, services.s3.endpoint))
    database = await gates.open(app.port or 5432)
    return {
        "DATABASE_URL": app._replace(netloc=f"{app.username}:{app.password}@{database}").geturl(),
        "DATABASE_OWNER_URL": owner._replace(netloc=f"{owner.username}:{owner.password}@{database}").geturl(),
        "DATABASE_IAM_AUTH": "false",
        "JWT_KEYS": services.jwt_keys.read_text("utf-8"),
        "VIDEO_BUCKET": services.s3.bucket,
        "AWS_ENDPOINT_URL_S3": f"http://{await gates.open(endpoint.port or 80)}",
        "BCRYPT_COST": os.environ.get("BCRYPT_COST", "12"),
        "PLAN_CHANGES": os.environ.get("PLAN_CHANGES") or "self",
        "CORS_ORIGINS": os.environ.get("CORS_ORIGINS", LOCAL_ORIGINS),
    }


def main() -> int:
    """Run; the exit code is returned."""
    sys.path.insert(0, str(ROOT / "layers" / "vms"))
    directory = Path(os.environ.get("LOCAL_DIR") or ".local").absolute()
    try:
        with locked(directory):
            port = int(os.environ.get("PORT") or 3000)
            return asyncio.run(until_stopped(lambda stop: serve(directory, port, stop)))
    except RunnerError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
