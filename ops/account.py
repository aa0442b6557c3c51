"""The account that a stack is deployed to: its clients, its stacks, its quotas, and errors in one line.

Credentials, region and AWS_ENDPOINT_URL come from the places where the AWS tools look for them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ops.deployed import DeployedError

# AWS keeps so many concurrent executions free of reservations (Lambda developer guide, "Configuring reserved
# concurrency").
UNRESERVED = 100


def client(service: str) -> Any:
    """A client of this service."""
    from botocore.session import get_session  # brings the whole of botocore along: not for `make run`

    return get_session().create_client(service)


def region() -> str:
    """The region that the AWS tools are set to. Raises `DeployedError`."""
    from botocore.session import get_session

    found = get_session().get_config_variable("region")
    if not found:
        raise DeployedError("no region is set: export AWS_REGION=eu-west-1, or run `aws configure`")
    return str(found)


def stack(name: str) -> dict[str, Any] | None:
    """The stack as CloudFormation describes it; None where there is none."""
    from botocore.exceptions import ClientError

    try:
        (found,) = client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as failure:
        if failure.response["Error"]["Code"] == "ValidationError":  # there is no such stack
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def values_of(described: Mapping[str, Any] | None) -> dict[str, str]:
    """The parameters of a stack, as CloudFormation describes it; none of None."""
    return {each["ParameterKey"]: each["ParameterValue"] for each in (described or {}).get("Parameters", [])}


def last_deleted(name: str) -> dict[str, Any] | None:
    """The last deleted stack of this name, which CloudFormation shows for 90 days; None where there is none."""
    cloudformation = client("cloudformation")
    pages = cloudformation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    found = [each for page in pages for each in page["StackSummaries"] if each["StackName"] == name]
    if not found:
        return None
    last = max(found, key=lambda each: each["CreationTime"])
    described: dict[str, Any] = cloudformation.describe_stacks(StackName=last["StackId"])["Stacks"][0]
    return described


def delete(name: str) -> None:
    """Delete a stack and wait, up to an hour: AWS takes up to 40 minutes to release functions' network interfaces."""
    cloudformation = client("cloudformation")
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 720}
    )


def has_logs_role() -> bool:
    """Whether API Gateway may write logs here: CloudFormation leaves the setting when it deletes the role it names."""
    from botocore.exceptions import ClientError

    arn = client("apigateway").get_account().get("cloudwatchRoleArn")
    if not arn:
        return False
    try:
        client("iam").get_role(RoleName=arn.rpartition("/")[2])
    except ClientError as failure:
        return failure.response["Error"]["Code"] != "NoSuchEntity"
    return True


def concurrency(reserved: int, held: int = -1) -> list[str]:
    """What is worth knowing of the quota of concurrent executions, of which `reserved` are to be reserved, and `held`
    are now; -1 is none.

    Raises `DeployedError`.
    """
    quota = client("lambda").get_account_settings()["AccountLimit"]
    limit = int(quota["ConcurrentExecutions"])
    free = int(quota.get("UnreservedConcurrentExecutions", limit)) + max(held, 0)
    if reserved > 0 and free - reserved < UNRESERVED:
        raise DeployedError(
            f"StreamConcurrency={reserved} leaves fewer than {UNRESERVED} of the account's {free} concurrent "
            "executions that nothing else reserves, which AWS refuses"
        )
    raising = (
        "aws service-quotas request-service-quota-increase"
        " --service-code lambda --quota-code L-B99A9384 --desired-value 1000"
    )
    if limit < UNRESERVED:
        return [
            (
                f"this account runs {limit} functions at once; more calls are refused with 429 and 502. "
                f"Ask for more: {raising}"
            )
        ]
    return []


@contextmanager
def plainly() -> Iterator[None]:
    """Say in one line what AWS refuses. Raises `DeployedError`."""
    from botocore import exceptions

    try:
        region()
        yield
    except (exceptions.NoCredentialsError, exceptions.ProfileNotFound, exceptions.PartialCredentialsError) as failure:
        raise DeployedError(f"{failure}: run `aws configure` or `aws sso login`, or set AWS_PROFILE") from None
    except (exceptions.BotoCoreError, exceptions.ClientError) as failure:
        raise DeployedError(" ".join(str(failure).split())) from None
