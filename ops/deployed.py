"""What an operator asks of a deployed stack: bring its schema up to date, rotate the keys that sign its tokens.

Credentials and region come from where the AWS tools find theirs, AWS_ENDPOINT_URL too.
"""

import json
import secrets
import time
from typing import Any

# Every execution environment reads the keys anew within ten minutes (vms.keys.STALE_AFTER); seconds, with some to spare.
KNOWN_AFTER = 630.0


class DeployedError(Exception):
    """It could not be done; the message says why."""


def migrate(stack: str) -> str:
    """Invoke the stack's migrate function; returns its answer, JSON with the names that were applied.

    Raises:
        DeployedError: a migration failed, or there is no such stack.
    """
    answer = _client("lambda").invoke(FunctionName=_output(stack, "MigrateFunctionName"), Qualifier="live")
    payload: str = answer["Payload"].read().decode()
    if answer.get("FunctionError"):
        raise DeployedError(json.loads(payload).get("errorMessage", payload))
    return payload


def rotate_keys(stack: str, wait: float = KNOWN_AFTER) -> str:
    """Make a new key sign the tokens, with the one that did so far beside it for the tokens that it signed; returns the new kid.

    The new key is published first and signs `wait` seconds later, when every function knows it: no token is refused meanwhile. Older
    keys go. Refresh tokens live for 28 days, so a second rotation within them logs out whoever has not come back since the first.

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
