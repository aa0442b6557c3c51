"""Signed requests to AWS, against moto's server for Secrets Manager and the real S3 server for the signature."""

import http.client
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import boto3
import psycopg
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import MIGRATIONS
from tests.e2e.clients import unique
from tests.in_process import context, fresh
from tests.service import Services, forget
from vms import aws, database, jwts, keys, migrations, settings, storage
from vms.errors import StorageFailed, Unavailable
from vms.migrations import Login
from vms.variables import SettingError

pytestmark = pytest.mark.usefixtures("environment")

REGION = "eu-central-1"
FIRST = {"current": "a", "a": "a" * 40}
ROTATED = {"current": "b", "a": "a" * 40, "b": "b" * 40}


@pytest.fixture(scope="module")
def secrets_manager() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def arn(secrets_manager: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets_manager)
    client = boto3.client("secretsmanager", endpoint_url=secrets_manager, region_name=REGION)
    made = client.create_secret(Name=unique("keys"), SecretString=json.dumps(FIRST))["ARN"]
    yield made
    client.close()


def test_a_secret_is_read_by_its_arn(arn: str) -> None:
    assert json.loads(aws.secret(arn, REGION)) == FIRST


def test_a_secret_that_is_not_there_is_an_error_that_does_not_name_it(arn: str) -> None:
    with pytest.raises(aws.AwsError, match=r"^Secrets Manager answered 40.$"):
        aws.secret(arn + "x", REGION)


def test_a_secrets_manager_that_does_not_answer_is_an_error(arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://127.0.0.1:{port}")
    with pytest.raises(aws.AwsError, match=r"^Secrets Manager does not answer: ConnectionRefusedError$"):
        aws.secret(arn, REGION)


def test_a_rotated_key_is_found_by_the_first_token_that_it_signed(
    arn: str, secrets_manager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_KEYS", arn)
    monkeypatch.setenv("AWS_REGION", REGION)
    forget()
    try:
        old = jwts.issue("access", 1, 1, "guest", 60)
        assert keys.signing_key()[0] == "a"
        client = boto3.client("secretsmanager", endpoint_url=secrets_manager, region_name=REGION)
        client.put_secret_value(SecretId=arn, SecretString=json.dumps(ROTATED))
        client.close()
        assert keys.key_of("b") is None  # read less than 30 s ago
        monkeypatch.setattr(keys, "RELOAD_AFTER", 0.0)
        assert keys.key_of("b") == "b" * 40
        assert keys.signing_key()[0] == "b"
        assert jwts.verify(old, "access")["sub"] == 1
        assert jwts.verify(jwts.issue("access", 2, 1, "guest", 60), "access")["sub"] == 2
    finally:
        monkeypatch.undo()
        forget()


def test_a_function_reads_its_keys_on_the_first_request_where_they_are_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing may ask the network at import: neither API nor stream."""
    monkeypatch.setenv("JWT_KEYS", f"arn:aws:secretsmanager:{REGION}:123456789012:secret:keys")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
    forget()
    try:
        for group in ("auth", "stream"):
            assert fresh(group).lambda_handler
    finally:
        monkeypatch.undo()
        forget()


def test_credentials_are_the_environments_or_what_botocore_finds(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a session")
    signed = aws.sign_s3("GET", "https://bucket.s3.amazonaws.com/key", {}, REGION)
    assert signed["X-Amz-Security-Token"] == "a session"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    home = tmp_path_factory.mktemp("aws")
    (home / "credentials").write_text("[default]\naws_access_key_id = KEY\naws_secret_access_key = SECRET\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    aws._resolved.cache_clear()
    assert aws.credentials().access_key == "KEY"
    (home / "credentials").write_text("")
    aws._resolved.cache_clear()
    with pytest.raises(aws.AwsError, match="no AWS credentials"):
        aws.credentials()
    aws._resolved.cache_clear()


class CredentialsEndpoint(HTTPServer):
    """What Lambda serves to a function with SnapStart. Each answer has another key."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}/2021-04-23/credentials"
        self.status, self.lives, self.body = 200, timedelta(hours=6), ""
        self.asked: list[str | None] = []

    def document(self) -> str:
        ends = (datetime.now(UTC) + self.lives).strftime("%Y-%m-%dT%H:%M:%SZ")
        return json.dumps(
            {"AccessKeyId": f"KEY{len(self.asked)}", "SecretAccessKey": "s", "Token": "session", "Expiration": ends}
        )


class _Answer(BaseHTTPRequestHandler):
    server: CredentialsEndpoint

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Authorization"])
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write((self.server.body or self.server.document()).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[CredentialsEndpoint]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(aws, "_from_container", None)
    with CredentialsEndpoint() as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a capability")
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield server
        server.shutdown()
        serving.join()


def test_after_a_restore_the_keys_come_from_the_container_endpoint_once_and_without_botocore(
    endpoint: CredentialsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)  # its import would fail
    signed = aws.sign_s3("GET", "https://bucket.s3.amazonaws.com/key", {}, REGION)
    assert signed["X-Amz-Security-Token"] == "session"
    assert "Credential=KEY1/" in signed["Authorization"]
    aws.credentials()
    assert endpoint.asked == ["a capability"]


def test_keys_that_end_soon_are_asked_for_anew_and_used_on_while_there_are_no_others(
    endpoint: CredentialsEndpoint,
) -> None:
    endpoint.lives = timedelta(seconds=aws.REFRESH_BEFORE - 10)
    assert aws.credentials().access_key == "KEY1"
    assert aws.credentials().access_key == "KEY2"
    endpoint.status = 500
    assert aws.credentials().access_key == "KEY2"
    assert len(endpoint.asked) == 3


def test_keys_that_have_ended_are_not_used(endpoint: CredentialsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.credentials()
    endpoint.status = 500
    later = time.time() + timedelta(hours=7).total_seconds()
    monkeypatch.setattr("vms.aws.time.time", lambda: later)
    with pytest.raises(aws.AwsError, match="answered 500"):
        aws.credentials()


@pytest.mark.parametrize(
    "body", ["no JSON", "[]", "{}", '{"AccessKeyId": "K", "SecretAccessKey": "S", "Expiration": "soon"}']
)
def test_an_endpoint_that_answers_something_else_is_an_error_that_shows_nothing_of_it(
    endpoint: CredentialsEndpoint, body: str
) -> None:
    endpoint.body = body
    with pytest.raises(aws.AwsError, match=r"^the container credentials' endpoint answered no credentials$"):
        aws.credentials()


@pytest.mark.parametrize(
    ("url", "told"),
    [("http://example.com/keys", "not on this host"), ("http://127.0.0.1:9/", "does not answer: Connection")],
)
def test_the_authorization_token_stays_on_this_host(
    endpoint: CredentialsEndpoint, monkeypatch: pytest.MonkeyPatch, url: str, told: str
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
    with pytest.raises(aws.AwsError, match=told):
        aws.credentials()
    assert endpoint.asked == []


@pytest.mark.parametrize("form", [json.dumps({"username": "vms", "password": "of the secret"}), "of the secret"])
def test_a_database_password_is_read_from_its_secret(
    secrets_manager: str, arn: str, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    client = boto3.client("secretsmanager", endpoint_url=secrets_manager, region_name=REGION)
    client.put_secret_value(SecretId=arn, SecretString=form)
    client.close()
    monkeypatch.setenv("AWS_REGION", REGION)
    config = settings.read(dict(os.environ))
    assert database.password_for(config.database_url, arn, config) is None  # the runner's URL has one
    assert database.password_for("postgresql://vms@db.example.com/vms", arn, config) == "of the secret"
    with pytest.raises(Unavailable):
        database.password_for("postgresql://vms@db.example.com/vms", arn + "x", config)


def test_the_migrations_log_in_as_the_owner_and_give_the_functions_user_the_password_of_its_secret(
    secrets_manager: str, arn: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, owner_url = services.database.url, services.database.owner_url
    client = boto3.client("secretsmanager", endpoint_url=secrets_manager, region_name=REGION)
    client.put_secret_value(SecretId=arn, SecretString=json.dumps({"username": "vms_app", "password": "of the secret"}))
    owner = json.dumps({"username": "vms", "password": urlsplit(owner_url).password})
    told = {
        "DATABASE_URL": bare(url),
        "DATABASE_PASSWORD_SECRET": arn,
        "DATABASE_OWNER_URL": bare(owner_url),
        "DATABASE_OWNER_PASSWORD_SECRET": client.create_secret(Name=unique("owner"), SecretString=owner)["ARN"],
        "DATABASE_IAM_AUTH": "false",
        "AWS_REGION": REGION,
    }
    client.close()
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    forget()
    try:
        assert fresh("migrate").lambda_handler({}, context()) == {"applied": []}
        psycopg.connect(bare(url), password="of the secret").close()
    finally:
        monkeypatch.undo()
        migrations.apply(owner_url, MIGRATIONS, app=Login.of(url))
        forget()


def bare(url: str) -> str:
    """The URL without its password, as the template gives it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@")).geturl()


def test_a_function_without_tokens_reads_no_keys_and_others_refuse_broken_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_KEYS", "{}")
    forget()
    try:
        assert fresh("service").lambda_handler
        with pytest.raises(SettingError, match="JWT_KEYS"):
            fresh("tokens")
    finally:
        monkeypatch.undo()
        forget()


def test_a_wrong_key_is_refused_by_s3_and_answered_as_502(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    storage.close()
    with pytest.raises(StorageFailed):
        storage.get("any")
    storage.close()


def test_a_database_token_is_a_presigned_connect_good_for_15_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a session")
    token = aws.database_token("db.example.com", 5432, "vms", REGION)
    url = urlsplit(f"https://{token}")
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert url.netloc == "db.example.com:5432"
    assert (query["Action"], query["DBUser"], query["X-Amz-Expires"]) == ("connect", "vms", "900")
    assert query["X-Amz-Security-Token"] == "a session"
    # botocore's own RDS client signs the same request: only time and signature differ between two calls.
    client = boto3.Session().client("rds", region_name=REGION)
    theirs = client.generate_db_auth_token("db.example.com", 5432, "vms")
    assert {name for name, _ in parse_qs(urlsplit(f"https://{theirs}").query).items()} == set(query)
    client.close()


def test_where_iam_authentication_is_on_its_token_is_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_IAM_AUTH", "true")
    config = settings.read(dict(os.environ))
    password = database.password_for("postgresql://vms@db.example.com/vms", "", config)
    assert password is not None
    assert password.startswith("db.example.com:5432/?Action=connect&DBUser=vms&")


def test_a_buckets_address_covers_every_region_and_name() -> None:
    assert aws.s3_endpoint("films", "eu-west-1") == "https://films.s3.eu-west-1.amazonaws.com"
    assert aws.s3_endpoint("my.films", "eu-west-1") == "https://s3.eu-west-1.amazonaws.com/my.films"
    assert aws.s3_endpoint("films", "cn-north-1") == "https://films.s3.cn-north-1.amazonaws.com.cn"


def test_a_certificate_is_verified() -> None:
    connection = aws.connect("https", "127.0.0.1:1", 1)
    assert isinstance(connection, http.client.HTTPSConnection)
    assert connection._context.verify_mode is ssl.CERT_REQUIRED  # type: ignore[attr-defined]  # no public name
    assert connection._context.check_hostname is True  # type: ignore[attr-defined]  # as above
