"""Takes a stack of size dev away whole: `make destroy CONFIG=dev`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ops.account import client, delete, last_deleted, plainly, stack, values_of
from ops.deploy import Environment
from ops.deployed import DeployedError


def destroy(target: Environment, answer: Callable[[str], str] = input) -> str:
    """Delete the stack, its films and its secrets, after the stack's name was typed; answers what is left.

    Of a stack that is deleted already, as by a call that was stopped while it waited, it deletes what that kept.

    Raises:
        DeployedError: there is no such stack, it is not of size dev, or the name was not typed; nothing was deleted
            then. Or AWS refuses.
    """
    with plainly():
        found = stack(target.stack) or last_deleted(target.stack)
        if found is None:
            raise DeployedError(f"there is no stack {target.stack}")
        values = values_of(found)
        size = values.get("Size") if values else target.parameters.get("Size")  # a stack that was never begun has none
        if size != "dev":
            raise DeployedError(
                f"{target.stack} is of size {size}: only dev is destroyed by a command; docs/deploy.md has the steps"
            )
        owned = _resources(found["StackId"])
        bucket, secrets = _standing(owned)
        gone = found["StackStatus"] == "DELETE_COMPLETE"
        if gone and not bucket and not secrets:
            raise DeployedError(f"there is no stack {target.stack}")
        what = f"what the deleted stack {target.stack} has left" if gone else f"the stack {target.stack}"
        print(
            f"This deletes {what}, {f'every file in the bucket {bucket}' if bucket else 'no bucket'}, "
            f"and {len(secrets)} secrets, for ever."
        )
        if answer(f"Type {target.stack} to go on: ").strip() != target.stack:
            raise DeployedError("nothing was deleted")
        if not gone:
            delete(target.stack)
        if bucket:
            _delete_bucket(bucket)
        for secret in secrets:
            client("secretsmanager").delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
        return "\n".join([f"{target.stack} is gone. Left:", *_left(owned)])


def _resources(name: str) -> dict[str, str]:
    """Logical id → physical id, of all that the stack has made, be it deleted since."""
    pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
    return {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for page in pages
        for each in page["StackResourceSummaries"]
        if each.get("PhysicalResourceId")
    }


def _standing(owned: Mapping[str, str]) -> tuple[str, list[str]]:
    """The bucket of the films and the secrets, those that are still there; an empty name for no bucket."""
    bucket = owned.get("VideoBucket", "")
    if bucket and not _is_there(partial(client("s3").head_bucket, Bucket=bucket)):
        bucket = ""
    secrets = [owned[name] for name in ("JwtKeys", "DatabaseSecret") if name in owned]
    manager = client("secretsmanager")
    return bucket, [each for each in secrets if _is_there(partial(manager.describe_secret, SecretId=each))]


def _is_there(look: Callable[[], object]) -> bool:
    from botocore.exceptions import ClientError  # brings the whole of botocore along

    try:
        look()
    except ClientError as failure:
        if failure.response["Error"]["Code"] not in {"404", "NoSuchBucket", "ResourceNotFoundException"}:
            raise
        return False
    return True


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
