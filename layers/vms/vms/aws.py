"""Signed requests to AWS without an SDK, for short cold starts.

A boto3 or botocore client loads and interprets service models; importing botocore's signer alone takes longer than all
of this module's work. Credentials come from the environment, or from the container endpoint that Lambda serves to a
function with SnapStart; botocore finds them anywhere else.
"""

import http.client
import json
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from vms.signature import Keys, presign, sign

TIMEOUT = 5.0
# Seconds before their end at which temporary credentials are asked for again.
REFRESH_BEFORE = 300.0


class AwsError(Exception):
    """An AWS service refused or did not answer. The message names the service and the status only."""


@dataclass(frozen=True, slots=True)
class _Keys:
    access_key: str
    secret_key: str
    token: str | None
    expires_at: float = float("inf")  # by the wall's clock


_from_container: _Keys | None = None


def credentials() -> Keys:
    """The credentials to sign with: the environment's, else the container endpoint's, else those that botocore finds.

    Lambda sets the first; with SnapStart it serves the second, because a snapshot outlives credentials.

    Raises:
        AwsError: there are none.
    """
    key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if key and secret_key:
        return _Keys(key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or None)
    if url := os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return _container_keys(url)
    found = _resolved()
    if found is None:
        raise AwsError("there are no AWS credentials")
    frozen: Keys = found.get_frozen_credentials()
    return frozen


def _container_keys(url: str) -> _Keys:
    """The credentials of the container endpoint, kept until five minutes before their end.

    Those that are still valid stay in use when the endpoint does not answer.
    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html

    Raises:
        AwsError: the endpoint refuses, does not answer, or is not on this host.
    """
    global _from_container
    left = _from_container.expires_at - time.time() if _from_container is not None else 0.0
    if _from_container is None or left < REFRESH_BEFORE:
        try:
            _from_container = _ask_container(url)
        except AwsError:
            if _from_container is None or left <= 0:
                raise
    return _from_container


def _ask_container(url: str) -> _Keys:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1", "169.254.170.2"}:
        # It would get the authorization token.
        raise AwsError("the container credentials' endpoint is not on this host")
    token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    told = _ask("the container credentials' endpoint", "GET", url, {"Authorization": token} if token else {})
    try:
        found = json.loads(told)
        end = datetime.fromisoformat(found["Expiration"]).timestamp() if found.get("Expiration") else float("inf")
        return _Keys(found["AccessKeyId"], found["SecretAccessKey"], found.get("Token"), end)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise AwsError("the container credentials' endpoint answered no credentials") from None


def _ask(who: str, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
    """The body of a 200 answer. Raises `AwsError`, which calls the other side `who`."""
    parts = urlsplit(url)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection = connect(parts.scheme, parts.netloc, TIMEOUT)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        told = answer.read()
    except (OSError, http.client.HTTPException) as failure:
        raise AwsError(f"{who} does not answer: {type(failure).__name__}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise AwsError(f"{who} answered {answer.status}")
    return told


@cache
def _resolved() -> Any:
    from botocore.session import get_session  # brings the whole of botocore along

    return get_session().get_credentials()


def sign_s3(method: str, url: str, headers: Mapping[str, str], region: str) -> dict[str, str]:
    """The headers to send with a bodiless S3 request to this percent-encoded URL (Signature Version 4)."""
    return sign(credentials(), "s3", region, method, url, headers)


def secret(arn: str, region: str) -> str:
    """The text of a secret (Secrets Manager, GetSecretValue).

    Raises:
        AwsError: Secrets Manager refuses or does not answer.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or os.environ.get("AWS_ENDPOINT_URL")
    url = (endpoint or f"https://{service_host('secretsmanager', region)}").rstrip("/") + "/"
    body = json.dumps({"SecretId": arn}).encode()
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "secretsmanager.GetSecretValue"}
    signed = sign(credentials(), "secretsmanager", region, "POST", url, headers, body)
    told = _ask("Secrets Manager", "POST", url, signed, body)
    try:
        return str(json.loads(told)["SecretString"])
    except (ValueError, KeyError, TypeError):
        raise AwsError("Secrets Manager answered with no secret text") from None


def database_token(host: str, port: int, user: str, region: str) -> str:
    """An RDS IAM authentication token: a presigned rds-db:connect, good as a password for 15 minutes
    (https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html).
    """
    parameters = {"Action": "connect", "DBUser": user}
    url = presign(credentials(), "rds-db", region, f"https://{host}:{port}/", parameters, 900)
    return url.removeprefix("https://")


def connect(scheme: str, netloc: str, timeout: float) -> http.client.HTTPConnection:
    """An HTTP or HTTPS connection, not opened yet; the certificate is verified."""
    if scheme == "https":
        return http.client.HTTPSConnection(netloc, timeout=timeout, context=trust())
    return http.client.HTTPConnection(netloc, timeout=timeout)


@cache
def trust() -> ssl.SSLContext:
    """What verifies certificates: by the system's authorities, or those of SSL_CERT_FILE (OpenSSL's own variable).

    Kept, because to read 140 authorities takes 18 ms, and a viewer who leaves costs a connection.
    """
    return ssl.create_default_context()


def service_host(service: str, region: str) -> str:
    """The host of a service in a region; those in China are under a domain of their own."""
    return f"{service}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def s3_endpoint(bucket: str, region: str) -> str:
    """The bucket's URL, in virtual-host form unless the name has dots, which the certificate does not cover."""
    host = service_host("s3", region)
    return f"https://{host}/{bucket}" if "." in bucket else f"https://{bucket}.{host}"
