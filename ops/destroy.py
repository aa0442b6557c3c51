"""Takes a stack of size dev away whole: `make destroy CONFIG=dev`."""

from collections.abc import Callable, Mapping
from typing import Any

from ops.account import client, delete, plainly, stack
from ops.deploy import Environment
from ops.deployed import DeployedError


def destroy(target: Environment, answer: Callable[[str], str] = input) -> str:
    """Delete the stack, its films and its secrets, after the stack's name was typed; answers what is left.

    Raises:
        DeployedError: there is no such stack, it is not of size dev, or the name was not typed; nothing was deleted
            then. Or AWS refuses.
    """
    with plainly():
        found = stack(target.stack)
        if found is None:
            raise DeployedError(f"there is no stack {target.stack}")
        values = {each["ParameterKey"]: each["ParameterValue"] for each in found["Parameters"]}
        if values["Size"] != "dev":
            raise DeployedError(
                f"{target.stack} is of size {values['Size']}: only dev is destroyed by a command; "
                "docs/deploy.md has the steps"
            )
        owned = _resources(target.stack)
        bucket, secrets = owned["VideoBucket"], [owned[name] for name in ("JwtKeys", "DatabaseSecret") if name in owned]
        print(
            f"This deletes the stack {target.stack}, every file in the bucket {bucket}, and {len(secrets)} secrets, "
            "for ever."
        )
        if answer(f"Type {target.stack} to go on: ").strip() != target.stack:
            raise DeployedError("nothing was deleted")
        delete(target.stack)
        _delete_bucket(bucket)
        for secret in secrets:
            client("secretsmanager").delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
        return "\n".join([f"{target.stack} is gone. Left:", *_left(owned)])


def _resources(name: str) -> dict[str, str]:
    """Logical id → physical id."""
    pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
    return {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for page in pages
        for each in page["StackResourceSummaries"]
    }


def _delete_bucket(bucket: str) -> None:
    """Delete a bucket with all versions of its objects."""
    s3 = client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        each = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in each]
        if objects:
            refused: list[Mapping[str, Any]] = s3.delete_objects(
                Bucket=bucket, Delete={"Objects": objects, "Quiet": True}
            ).get("Errors", [])
            if refused:
                raise DeployedError(f"S3 refuses to delete {refused[0]['Key']} of {bucket}: {refused[0]['Code']}")
    s3.delete_bucket(Bucket=bucket)


def _left(owned: Mapping[str, str]) -> list[str]:
    """What stays, and is billed, with the command that deletes it."""
    rows = [
        (
            "- the files that sam deploy uploaded, in the bucket of the stack aws-sam-cli-managed-default, "
            "which other projects may share"
        )
    ]
    if "ApiGatewayRole" in owned:
        rows.append(f"- API Gateway's role for the logs of this account's stacks here: {owned['ApiGatewayRole']}")
    if "Database" in owned:
        snapshots = client("rds").describe_db_snapshots(DBInstanceIdentifier=owned["Database"], SnapshotType="manual")[
            "DBSnapshots"
        ]
        names = [each["DBSnapshotIdentifier"] for each in snapshots]
        rows += [
            f"- the database's last state: aws rds delete-db-snapshot --db-snapshot-identifier {name}" for name in names
        ]
    return rows
