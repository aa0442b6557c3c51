"""A real PostgreSQL and a real S3 server for the session, and the environment that the functions read."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

# Read at the import of vms.observability.
os.environ |= {"POWERTOOLS_SERVICE_NAME": "test", "POWERTOOLS_METRICS_NAMESPACE": "test"}

from local import postgres, s3
from tests.e2e.clients import Company, found_company
from tests.in_process import InProcess
from vms import database, keys, migrations, settings
from vms import storage as objects

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Services:
    """The two servers."""

    database: postgres.Postgres
    storage: s3.S3


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    directory = tmp_path_factory.mktemp("services")
    with postgres.start(directory / "postgres") as database_server, s3.start(directory / "s3") as storage:
        migrations.apply(database_server.url, ROOT / "sql" / "migrations")
        yield Services(database_server, storage)


@pytest.fixture(scope="session")
def environment(services: Services) -> Iterator[None]:
    """Lets the handlers run in this process."""
    storage = services.storage
    values = {
        "DATABASE_URL": services.database.url,
        "JWT_KEYS": json.dumps({"current": "test", "test": "t" * 40}),
        "VIDEO_BUCKET": storage.bucket,
        "AWS_ENDPOINT_URL_S3": storage.endpoint,
        "AWS_ACCESS_KEY_ID": storage.access_key,
        "AWS_SECRET_ACCESS_KEY": storage.secret_key,
        "AWS_REGION": storage.region,
        "BCRYPT_COST": "4",
        "MIGRATIONS_DIR": str(ROOT / "sql" / "migrations"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        forget()
        yield
        database.close()
        objects.close()
    forget()


@pytest.fixture(scope="module")
def http(environment: None) -> Iterator[httpx.Client]:
    """Calls the handlers in this process."""
    with httpx.Client(transport=InProcess(), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def acme(http: httpx.Client) -> Company:
    return found_company(http)


@pytest.fixture(scope="module")
def rival(http: httpx.Client) -> Company:
    return found_company(http)


def forget() -> None:
    """Make settings and keys be read anew."""
    settings.settings.cache_clear()
    settings.stream_settings.cache_clear()
    keys.forget()
