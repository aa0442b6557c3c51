"""What an operator runs against a deployed stack: its migrations, its function `operator`, the keys that sign tokens.

Credentials, region and AWS_ENDPOINT_URL come from the places where the AWS tools look for them.
"""

import base64
import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# Seconds: every execution environment reads the keys anew within ten minutes (vms.keys.STALE_AFTER); 30 s of margin.
KNOWN_AFTER = 630.0
# Seconds. The migrate function may run for 900; botocore's own 60 would give up, and its retries would invoke it again
# while it still runs.
MIGRATE_TIMEOUT = 960
# The same of the function operator.
OPERATE_TIMEOUT = 960


class DeployedError(Exception):
    """A command failed; the message says why."""


def migrate(stack: str) -> str:
    """Invoke the stack's migrate function once; returns its answer, JSON with the names of the applied files.

    Raises:
        DeployedError: a migration failed, there is no such stack, or AWS cannot be asked.
    """
    return _invoke(_output(stack, "MigrateFunctionName"), MIGRATE_TIMEOUT)


def operate(stack: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Invoke the stack's function `operator` once, saying who asks; returns its answer.

    Raises:
        DeployedError: it refused, there is no such stack, or AWS cannot be asked.
    """
    with aws("sts") as client:
        caller = client.get_caller_identity()["Arn"]
    context = base64.b64encode(json.dumps({"custom": {"caller": caller}}).encode()).decode()
    asked = {"Payload": json.dumps(event).encode(), "ClientContext": context}
    return understood(_invoke(_output(stack, "OperatorFunctionName"), OPERATE_TIMEOUT, **asked))


def understood(payload: str) -> dict[str, Any]:
    """The answer of the function `operator`. Raises `DeployedError`: it refused."""
    answer: dict[str, Any] = json.loads(payload)
    if "refused" in answer:
        raise DeployedError(answer["refused"])
    return answer


def _invoke(function: str, seconds: float, **asked: Any) -> str:
    with aws("lambda", read_timeout=seconds, retries={"total_max_attempts": 1}) as client:
        answer = client.invoke(FunctionName=function, Qualifier="live", **asked)
        payload: str = answer["Payload"].read().decode()
    if answer.get("FunctionError"):
        raise DeployedError(json.loads(payload).get("errorMessage", payload))
    return payload


def rotate_keys(stack: str, wait: float = KNOWN_AFTER, show: Callable[[float, float], None] | None = None) -> str:
    """Sign tokens with a new key; returns its kid. The current key stays valid for the tokens that it signed.

    The new key is published first and signs `wait` seconds later, when every function knows it, so that no token is
    refused. Meanwhile `show` is called every second with the seconds that have passed, and `wait`. Older keys are
    dropped. Refresh tokens live for 28 days: a second rotation within 28 days logs out the users who have not come back
    since the first.

    Raises:
        DeployedError: there is no such stack, or AWS cannot be asked.
    """
    arn = _output(stack, "JwtKeysArn")
    with aws("secretsmanager") as client:
        keys = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
        old = keys["current"]
        kid = f"k{time.time_ns():x}"
        known = {old: keys[old], kid: secrets.token_urlsafe(48)}
        client.put_secret_value(SecretId=arn, SecretString=json.dumps({"current": old, **known}))
        _wait(wait, show)
        client.put_secret_value(SecretId=arn, SecretString=json.dumps({"current": kid, **known}))
    return kid


def api_url(stack: str) -> str:
    """Where the stack's API answers. Raises `DeployedError`."""
    return _output(stack, "ApiUrl")


def _wait(seconds: float, show: Callable[[float, float], None] | None) -> None:
    started = time.monotonic()
    while (passed := time.monotonic() - started) < seconds:
        if show is not None:
            show(passed, seconds)
        time.sleep(min(1.0, seconds - passed))
    if show is not None:
        show(seconds, seconds)


def outputs(stack: str) -> dict[str, str]:
    """What the stack tells, by name. Raises `DeployedError`: there is no such stack, or AWS cannot be asked."""
    if not stack:
        raise DeployedError("which stack? Say STACK=… to make")
    with aws("cloudformation") as client:
        (found,) = client.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: str(output["OutputValue"]) for output in found.get("Outputs", [])}


def _output(stack: str, name: str) -> str:
    found = outputs(stack)
    if name not in found:
        raise DeployedError(f"the stack {stack} has no output {name}")
    return found[name]


@contextlib.contextmanager
def aws(service: str, **options: Any) -> Iterator[Any]:
    """A client; what botocore raises within the block becomes `DeployedError`."""
    from botocore import exceptions  # brings the whole of botocore along: not for `make run`
    from botocore.config import Config
    from botocore.session import get_session

    try:
        client = get_session().create_client(service, config=Config(**options))
        with contextlib.closing(client):
            yield client
    except exceptions.NoRegionError:
        raise DeployedError("no region is set: export AWS_REGION=…, or name a profile by AWS_PROFILE") from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        raise DeployedError("no credentials for AWS: log in with the AWS tools, or export AWS_PROFILE=…") from None
    except (exceptions.BotoCoreError, exceptions.ClientError) as failure:
        raise DeployedError(str(failure)) from failure
