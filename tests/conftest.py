"""What all tests share: an environment that is not the shell's, and one `http` client for two ways to the functions.

A test that takes `http` runs once for each transport:

- `over_http`: the local runner, or the service of --api-url; the end-to-end tests' first one;
- `in_process`: the handlers in this process, which coverage sees and whose SQL can be counted; all that integration
  tests take.

The mark `transports` says another choice, by these names.
"""

# ruff: noqa: E402 - what follows reads the environment when it is imported
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests import environment as environments

environments.clear()
POWERTOOLS = {"POWERTOOLS_SERVICE_NAME": "test", "POWERTOOLS_METRICS_NAMESPACE": "test"}
os.environ |= POWERTOOLS

from local import postgres, s3
from local.runner import LOCAL_ORIGINS
from tests.e2e.clients import Company, found_company
from tests.in_process import InProcess
from tests.runner import Runner, read_environment
from tests.service import Service, Services, forget
from vms import database, migrations
from vms import storage as objects
from vms.migrations import Login

ROOT = Path(__file__).parents[1]
MIGRATIONS = ROOT / "sql" / "migrations"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("where the tests run")
    group.addoption("--api-url", help="the end-to-end tests run against this service: `make test-remote`")
    group.addoption("--env-file", type=Path, help="its env file, with the keys of its bucket")
    group.addoption("--emulator", action="store_true", help="deploy to an emulator of AWS: `make test-emulator`")
    group.addoption("--emulator-endpoint", default="", help="the endpoint of one that runs; else one is started")
    group.addoption("--emulator-database", default="", help="an empty database that its functions reach")
    group.addoption("--fuzz", type=int, default=1, help="so many times the random requests: `make fuzz`")
    group.addoption("--seed", type=int, default=0, help="of the random requests; 0: the tests' own")
    group.addoption("--sam-local", action="store_true", help="run over sam local, in Docker: `make test-sam-local`")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "transports(*names): the ways to the functions that a test takes")
    config.addinivalue_line("markers", "deep: takes longer than 20 s; run by `make test-deep` alone")
    url = config.getoption("--api-url")
    if url == "":
        raise pytest.UsageError("which service? make test-remote API_URL=https://…")
    if url:
        try:
            httpx.get(f"{url}/health", timeout=60, trust_env=False)
        except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL) as failure:
            raise pytest.UsageError(f"nothing answers at API_URL={url}: {failure}") from None


def pytest_report_header(config: pytest.Config) -> str | None:
    url = config.getoption("--api-url")
    return f"These tests run against {url}, and leave their corporations there." if url else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "transport" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("transports")
    names: tuple[str, ...] = ("over_http", "in_process") if "e2e" in metafunc.definition.path.parts else ("in_process",)
    if mark is not None:
        names = mark.args
    if metafunc.config.getoption("--api-url"):
        names = tuple(name for name in names if name == "over_http")
    metafunc.parametrize("transport", names, scope="module")


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A real PostgreSQL and a real S3 server."""
    directory = tmp_path_factory.mktemp("services")
    with postgres.start(directory / "postgres") as database_server, s3.start(directory / "s3") as storage:
        migrations.apply(database_server.owner_url, MIGRATIONS, app=Login.of(database_server.url))
        yield Services(database_server, storage)


@pytest.fixture(scope="session")
def environment(services: Services) -> Iterator[dict[str, str]]:
    """The functions' settings, in this process, so that their handlers can run here."""
    storage = services.storage
    values = {
        **POWERTOOLS,
        "DATABASE_URL": services.database.url,
        "DATABASE_OWNER_URL": services.database.owner_url,
        "JWT_KEYS": json.dumps({"current": "test", "test": "t" * 40}),
        "VIDEO_BUCKET": storage.bucket,
        "AWS_ENDPOINT_URL_S3": storage.endpoint,
        "AWS_ACCESS_KEY_ID": storage.access_key,
        "AWS_SECRET_ACCESS_KEY": storage.secret_key,
        "AWS_REGION": storage.region,
        "BCRYPT_COST": "4",
        "PLAN_CHANGES": "self",
        "CORS_ORIGINS": LOCAL_ORIGINS,
        "MIGRATIONS_DIR": str(MIGRATIONS),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        forget()
        yield values
        database.close()
        objects.close()
    forget()


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Changes a setting for one test."""

    def change(name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        forget()

    yield change
    monkeypatch.undo()
    forget()


@pytest.fixture(scope="session")
def in_process(environment: dict[str, str]) -> Service:
    return Service("http://localhost", environment, InProcess())


@pytest.fixture(scope="session")
def over_http(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if url := pytestconfig.getoption("--api-url"):
        file = pytestconfig.getoption("--env-file")
        yield Service(url.rstrip("/"), read_environment(file) if file else {}, elsewhere=True)
        return
    with Runner(tmp_path_factory.mktemp("runner") / "local", BCRYPT_COST="4") as runner:
        yield Service(runner.url, runner.environment)


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, transport: str) -> Service:
    """The service of this test's transport."""
    found: Service = request.getfixturevalue(transport)
    return found


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    # Where a whole answer is buffered, API Gateway sends bytes as bytes only to a client that accepts such a type
    # before others.
    headers = {"Accept": "video/mp4"} if service.environment.get("STREAM_MODE") == "buffered" else {}
    with httpx.Client(
        base_url=service.url, headers=headers, timeout=300, trust_env=False, transport=service.transport
    ) as client:
        yield client


@pytest.fixture(scope="module")
def acme(http: httpx.Client) -> Company:
    return found_company(http)


@pytest.fixture(scope="module")
def rival(http: httpx.Client) -> Company:
    return found_company(http)
