"""The stack on an emulator of AWS, over a real PostgreSQL: `make test-emulator`.

Deployed once; the tests change it in their order.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local import postgres
from tests.emulator import emulator
from tests.emulator.stack import Stack, build, database_parameters, deploy


@dataclass
class Deployment:
    """The stack as it stands now, and what it was made of."""

    built: Path
    database_url: str
    parameters: dict[str, str] = field(default_factory=dict)
    stack: Stack = field(default_factory=lambda: Stack("", {}, {}))

    def deploy(
        self, built: Path | None = None, parameters: Mapping[str, str] | None = None, every: str = "rate(1 hour)"
    ) -> None:
        """Create or update it; what is given stays for the next time if it succeeds. Raises `DeployedError`."""
        wanted = {**database_parameters(self.database_url), **self.parameters, **(parameters or {})}
        self.stack = deploy(built or self.built, wanted, every=every)
        self.parameters |= parameters or {}
        self.built = built or self.built

    def built_with(self, directory: Path, migration: str, sql: str) -> Path:
        """A copy of what was built, with one more migration."""
        shutil.copytree(self.built, directory)
        (directory / "MigrateFunction" / "migrations" / migration).write_text(sql)
        return directory

    def physical(self, logical_id: str) -> str:
        return self.stack.resources[logical_id]


@pytest.fixture(scope="session")
def aws(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of --emulator-endpoint, or of an emulator started for the session, for every AWS client here."""
    if not pytestconfig.getoption("--emulator"):
        pytest.skip("`make test-emulator` deploys the stack and runs these")
    if sys.version_info[:2] != (3, 13):
        pytest.fail("the layers' packages are built for Python 3.13, under which the emulator must run them")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    keys |= {
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }  # the emulator is no business of a proxy's
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        if standing := pytestconfig.getoption("--emulator-endpoint"):
            patch.setenv("AWS_ENDPOINT_URL", standing)
            yield standing
            return
        with emulator.running(tmp_path_factory.mktemp("emulator")) as endpoint:
            patch.setenv("AWS_ENDPOINT_URL", endpoint)
            yield endpoint


@pytest.fixture(scope="session")
def database_url(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """--emulator-database, for functions that do not reach 127.0.0.1, or a server that is started for the session."""
    if url := pytestconfig.getoption("--emulator-database"):
        yield url
        return
    with postgres.start(tmp_path_factory.mktemp("postgres")) as server:
        yield server.owner_url


@pytest.fixture
def other_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second server, empty."""
    with postgres.start(tmp_path_factory.mktemp("other")) as server:
        yield server.owner_url


@pytest.fixture(scope="session")
def deployment(aws: str, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    built = tmp_path_factory.mktemp("build") / "first"
    build(built)
    deployed = Deployment(built, database_url)
    deployed.deploy()
    return deployed
