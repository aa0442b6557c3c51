"""What an operator runs against a deployed stack: bring its schema up to date, rotate the keys that sign its tokens.

Credentials, region and AWS_ENDPOINT_URL come from the places where the AWS tools look for them.
"""

import json
import secrets
import time
from typing import Any

# Seconds: every execution environment reads the keys anew within ten minutes (vms.keys.STALE_AFTER); 30 s of margin.
KNOWN_AFTER = 630.0


class DeployedError(Exception):
    """A command failed; the message says why."""


def migrate(stack: str) -> str:
    """Invoke the stack's migrate function; returns its answer, JSON with the names of the applied files.

    Raises:
        DeployedError: a migration failed, or there is no such stack.
    """
    answer = _client("lambda").invoke(FunctionName=_output(stack, "MigrateFunctionName"), Qualifier="live")
    payload: str = answer["Payload"].read().decode()
    if answer.get("FunctionError"):
        raise DeployedError(json.loads(payload).get("errorMessage", payload))
    return payload


def rotate_keys(stack: str, wait: float = KNOWN_AFTER) -> str:
    """Sign tokens with a new key; returns its kid. The current key stays valid for the tokens that it signed.

    The new key is published first and signs `wait` seconds later, when every function knows it, so that no token is
    refused. Older keys are dropped. Refresh tokens live for 28 days: a second rotation within 28 days logs out the
    users who have not come back since the first.

    Raises:
        DeployedError: there is no such stack.
    """
    client, arn = _client("secretsmanager"), _output(stack, "JwtKeysArn")
    keys = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
    old = keys["current"]
    kid = f"k{time.time_ns():x}"
    known = {old: keys[old], kid: secrets.token_urlsafe(48)}
    client.put_secret_value(SecretId=arn, SecretString=json.dumps({"current": old, **known}))
    time.sleep(wait)
    client.put_secret_value(SecretId=arn, SecretString=json.dumps({"current": kid, **known}))
    return kid


def _output(stack: str, name: str) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        (found,) = _client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError) as failure:
        raise DeployedError(str(failure)) from failure
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    if name not in outputs:
        raise DeployedError(f"the stack {stack} has no output {name}")
    return str(outputs[name])


def _client(service: str) -> Any:
    from botocore.session import get_session  # brings the whole of botocore along: not for `make run`

    return get_session().create_client(service)
