"""What the tests run against: a service with its URL, and the two servers under the functions."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from local.postgres import Postgres
from local.s3 import S3
from vms import keys, multipart, settings


@dataclass(frozen=True)
class Service:
    """A running service.

    `environment` has the addresses and keys of its servers, by the names of the functions' settings; of a service
    elsewhere only what its env file says. `transport` is httpx's own where it is None.
    """

    url: str
    environment: Mapping[str, str]
    transport: httpx.BaseTransport | None = None
    elsewhere: bool = False


@dataclass(frozen=True)
class Services:
    """The two servers under the functions that run in this process."""

    database: Postgres
    storage: S3


def forget() -> None:
    """Make settings and keys be read anew."""
    settings.settings.cache_clear()
    settings.stream_settings.cache_clear()
    settings.upload_settings.cache_clear()
    settings.quota.cache_clear()
    multipart.client.cache_clear()
    keys.forget()
