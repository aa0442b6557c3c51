"""vms.signature against botocore's own signers, at the same moment."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vms import signature

NOW = datetime(2026, 3, 9, 7, 5, 3, tzinfo=UTC)
KEYS = [Credentials("AKID", "secret/+="), Credentials("AKID", "secret/+=", "a session's token==")]
printable = st.text(
    st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=30
).filter(str.strip)
names = st.from_regex(r"\A(X-Amz-Meta-[a-z]{1,8}|Range|If-Match|Accept-Encoding|Content-Type)\Z")


@pytest.fixture(autouse=True)
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, *_: Any) -> datetime:  # type: ignore[override]  # all that is used of it
            return NOW

    monkeypatch.setattr(signature, "datetime", Clock)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: NOW.replace(tzinfo=None))


def botocore_headers(signer: type[SigV4Auth], keys: Credentials, service: str, request: AWSRequest) -> dict[str, str]:
    signer(keys, service, "eu-central-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("keys", KEYS)
@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    headers=st.dictionaries(names, printable),
    base=st.sampled_from(
        ["http://127.0.0.1:8333/films", "https://films.s3.eu-central-1.amazonaws.com", "http://[::1]:80/films"]
    ),
    method=st.sampled_from(["GET", "HEAD"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_s3_request_is_signed_as_botocore_signs_it(
    keys: Credentials, key: str, headers: dict[str, str], base: str, method: str
) -> None:
    url = f"{base}/{quote(key, safe='/-._~')}"
    ours = signature.sign(keys, "s3", "eu-central-1", method, url, headers)
    theirs = botocore_headers(S3SigV4Auth, keys, "s3", AWSRequest(method=method, url=url, headers=dict(headers)))
    assert lowered(ours) == theirs


@pytest.mark.parametrize("keys", KEYS)
@given(body=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_request_with_a_body_is_signed_as_botocore_signs_it(keys: Credentials, body: bytes) -> None:
    url = "https://secretsmanager.eu-central-1.amazonaws.com/"
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "secretsmanager.GetSecretValue"}
    ours = signature.sign(keys, "secretsmanager", "eu-central-1", "POST", url, headers, body)
    request = AWSRequest(method="POST", url=url, headers=dict(headers), data=body)
    assert lowered(ours) == botocore_headers(SigV4Auth, keys, "secretsmanager", request)


@pytest.mark.parametrize("keys", KEYS)
@given(user=printable, port=st.sampled_from([443, 5432]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_presigned_url_is_signed_as_botocore_signs_it(keys: Credentials, user: str, port: int) -> None:
    url, parameters = f"https://db.example.com:{port}/", {"Action": "connect", "DBUser": user}
    ours = signature.presign(keys, "rds-db", "eu-central-1", url, parameters, 900)
    request = AWSRequest(method="GET", url=url, params=dict(parameters))
    SigV4QueryAuth(keys, "rds-db", "eu-central-1", expires=900).add_auth(request)
    theirs = str(request.prepare().url)
    assert dict(parse_qsl(urlsplit(ours).query)) == dict(parse_qsl(urlsplit(theirs).query))
    assert ours.partition("?")[0] == theirs.partition("?")[0]
