"""Brings the database schema up to date: as a custom resource before new code goes live, or by hand."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from vms import custom_resource, migrations
from vms.database import password_for, secret_password
from vms.migrations import Login
from vms.observability import logger
from vms.settings import migration_settings, settings

settings()  # a missing setting stops the function here
migration_settings()


@logger.inject_lambda_context
def lambda_handler(event: Mapping[str, Any], _context: LambdaContext) -> dict[str, list[str]]:
    """Apply the migrations that are missing, and let `vms_app` log in; returns the names of the files.

    A failure has PostgreSQL's message. An event of CloudFormation is also answered at its URL, and a failure makes the
    stack fail. When the stack's resource is deleted, the schema stays as it is.
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
    wanted = migration_settings()
    password = password_for(wanted.owner_url, wanted.owner_password_secret, settings())
    applied = migrations.apply(wanted.owner_url, wanted.directory, password=password, app=_login())
    logger.info("schema is up to date", extra={"applied": applied})
    return applied


def _login() -> Login:
    """How the other functions log in. Behind a proxy, which takes their tokens, it is the proxy that has a password."""
    config = settings()
    found = Login.of(config.database_url)
    if found.password is None and config.database_password_secret:
        found = Login(secret_password(config.database_password_secret, config))
    return found if found.password is not None else Login(by_iam=config.database_iam_auth)
