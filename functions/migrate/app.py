"""Brings the database schema up to date: run before new code goes live, or by hand."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from vms import migrations
from vms.database import password_of
from vms.observability import logger
from vms.settings import migrations_directory, settings

settings()  # a missing setting stops the function here


@logger.inject_lambda_context
def lambda_handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, list[str]]:  # noqa: ARG001 - Lambda's signature
    """Apply what has not been applied yet; answers the names. Fails with PostgreSQL's own words."""
    applied = migrations.apply(settings().database_url, migrations_directory(), password=password_of(settings()))
    logger.info("schema is up to date", extra={"applied": applied})
    return {"applied": applied}
