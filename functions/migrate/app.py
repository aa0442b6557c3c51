"""Brings the database schema up to date: as a custom resource before new code goes live, or by hand."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from vms import custom_resource, migrations
from vms.database import password_of
from vms.observability import logger
from vms.settings import migrations_directory, settings

settings()  # a missing setting stops the function here


@logger.inject_lambda_context
def lambda_handler(event: Mapping[str, Any], _context: LambdaContext) -> dict[str, list[str]]:
    """Apply what has not been applied yet; answers the names. Fails with PostgreSQL's own words.

    Where CloudFormation asks, it gets the answer too, and a failure is its stack's. Deleting the stack's resource
    leaves the schema alone.
    """
    if not custom_resource.is_request(event):
        return {"applied": _apply()}
    try:
        applied = [] if event["RequestType"] == "Delete" else _apply()
    except Exception as failure:  # noqa: BLE001 - a stack without an answer waits for its time-out
        logger.exception("the migrations failed")
        custom_resource.fail(event, "schema", f"{type(failure).__name__}: {failure}")
        return {"applied": []}
    custom_resource.succeed(event, "schema")
    return {"applied": applied}


def _apply() -> list[str]:
    applied = migrations.apply(settings().database_url, migrations_directory(), password=password_of(settings()))
    logger.info("schema is up to date", extra={"applied": applied})
    return applied
