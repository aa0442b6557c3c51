"""What an emulator can prove of a deployment. The tests change one stack, in the order in which they stand here."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from botocore.exceptions import ClientError
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # has no types

from ops.account import stack as described
from ops.deploy import environment, ready
from ops.deployed import DeployedError
from ops.destroy import destroy
from tests.e2e.clients import Company, expect, found_company, problem, unique
from tests.e2e.elsewhere import assert_suite_passes
from tests.emulator.conftest import Deployment
from tests.emulator.stack import NAME, client, database_parameters, deploy
from tests.environment import of_child
from vms.paths import object_key

ROOT = Path(__file__).parents[2]
MB = 1_000_000
FUNCTIONS = tuple(
    name.removesuffix("Function")
    for name, resource in yaml_parse((ROOT / "template.yaml").read_text("utf-8"))["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
)
WITHOUT_KEYS = {"Service", "Console", "PlanExpiry", "Operator", "Migrate"}
# What a function may do with an object of a corporation's folder; nobody may with any other.
OBJECTS = {
    "Stream": {"s3:GetObject"},
    "Uploads": {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"},
    "PlanExpiry": {"s3:GetObject", "s3:DeleteObject"},
    "Operator": {"s3:DeleteObject"},
}
# What an emulator does not do as API Gateway does.
NOT_EMULATED = {
    f"tests/e2e/{test}": reason
    for test, reason in {
        "test_corporations.py::test_any_name_works_in_a_path[over_http-slash]": "decodes %2F before it matches",
        "test_browser.py::test_a_browser_plays_a_film_seeks_seven_times_and_reaches_its_end": "sends a film as base64",
        "test_document.py::test_a_slash_at_the_end_of_the_playback_route_gives_a_url_that_plays_too": "keeps the slash",
        "test_stored.py::test_the_coding_of_the_object_is_passed_on_and_that_of_an_upload_is_not": "its own codings",
        "test_browser.py::test_a_playback_url_that_is_opened_as_a_page_plays": "sends a film as base64",
        "test_origins.py::test_a_page_of_a_listed_origin_uses_the_api_and_plays_a_film": "sends a film as base64",
        "test_console_story.py::test_a_company_signs_up_uploads_watches_reports_deletes_and_restores": "the same",
        "test_console_story.py::test_no_page_has_a_serious_barrier_or_is_wider_than_the_screen": "the same",
        "test_console_care.py::test_the_player_takes_keys_without_a_click_and_a_wrong_clock_renews_nothing": "the same",
        "test_uppy.py::test_uppy_goes_on_after_a_lost_connection_and_a_new_page": "the same",
    }.items()
}
NOT_EMULATED |= {
    f"tests/e2e/test_readme.py::test_the_tour_runs_as_it_is_pasted_and_leaves_nothing[over_http-{shell}]": (
        "sends a buffered film as base64 to a client that accepts any type"
    )
    for shell in ("bash", "zsh", "dash")
}


@pytest.fixture
def http(deployment: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=deployment.stack.url, headers={"Accept": "video/mp4"}, timeout=60, trust_env=False
    ) as found:
        yield found


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def within(seconds: float, done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def applied(deployment: Deployment) -> set[str]:
    with psycopg.connect(deployment.database_url) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM schema_migration").fetchall()}


def operate(*arguments: str, **variables: str) -> str:
    done = ops(*arguments, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ops(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments],
        cwd=ROOT,
        env=of_child(**aws, **variables),
        capture_output=True,
        text=True,
        check=False,
    )


def put_film(deployment: Deployment, company: Company) -> int:
    path = f"tests/{unique('film')}.mp4"
    key = object_key(company.id, path)
    client("s3").put_object(Bucket=deployment.physical("VideoBucket"), Key=key, Body=b"a film")
    return company.video(file_path=path)


def test_every_function_unpacks_with_its_layers_to_less_than_60_mb(deployment: Deployment) -> None:
    layers = size(deployment.built / "DependenciesLayer") + size(deployment.built / "VmsLayer")
    sizes = {name: layers + size(deployment.built / f"{name}Function") for name in FUNCTIONS}
    assert max(sizes.values()) < 60 * MB, sizes
    assert list((deployment.built / "DependenciesLayer").rglob("*.pyc"))


def test_the_functions_connect_as_their_own_user(deployment: Deployment, http: httpx.Client) -> None:
    expect(http.get("/health"), 200)
    with psycopg.connect(deployment.database_url) as owner:
        users = owner.execute("SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'vms'")
        assert users.fetchall() == [("vms_app",)]


def test_the_stack_was_made_with_its_schema(deployment: Deployment, http: httpx.Client) -> None:
    assert applied(deployment) == {path.name for path in (ROOT / "sql" / "migrations").glob("*.sql")}
    assert expect(http.get("/health"), 200) == {"status": "ok"}


def test_the_end_to_end_suite_passes_over_the_apis_url(
    deployment: Deployment, aws: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = {
        "STREAM_MODE": "buffered",
        "VIDEO_BUCKET": deployment.physical("VideoBucket"),
        "AWS_ENDPOINT_URL_S3": aws,
        "AWS_REGION": os.environ["AWS_DEFAULT_REGION"],
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    assert_suite_passes(deployment.stack.url, variables, tmp_path, NOT_EMULATED, capsys)


def test_no_token_and_no_password_is_in_the_logs(deployment: Deployment, http: httpx.Client) -> None:
    company = found_company(http)
    video = put_film(deployment, company)
    url = expect(company.guest.call("POST", f"/v1/videos/{video}/playback"), 200)["url"]
    assert http.get(f"/v1/videos/stream/{video}?{url.partition('?')[2]}").content == b"a film"
    pages = client("logs").get_paginator("filter_log_events").paginate(logGroupName=deployment.physical("FunctionLogs"))
    lines = [event["message"] for page in pages for event in page["events"]]
    assert any('"service":"stream"' in line.replace(" ", "") for line in lines)
    assert not [line for line in lines if "eyJ" in line or company.admin.password in line]


def test_a_problem_that_the_gateway_makes_has_the_contracts_shape(http: httpx.Client) -> None:
    problem(http.get("/nothing"), 404, "not-found")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_role_may_what_its_function_needs_and_no_more(deployment: Deployment, name: str) -> None:
    bucket = f"arn:aws:s3:::{deployment.physical('VideoBucket')}"
    keys = deployment.stack.outputs["JwtKeysArn"]
    owner = database_parameters(deployment.database_url)["DatabasePasswordSecret"]
    app = client("secretsmanager").describe_secret(SecretId=deployment.physical("AppDatabaseSecret"))["ARN"]
    wanted = {
        ("secretsmanager:GetSecretValue", keys): name not in WITHOUT_KEYS,
        ("secretsmanager:GetSecretValue", owner): name == "Migrate",
        ("secretsmanager:GetSecretValue", app): name != "Console",
        ("secretsmanager:PutSecretValue", keys): False,
    }
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        wanted[action, f"{bucket}/corporations/1/x.mp4"] = action in OBJECTS.get(name, ())
        wanted[action, f"{bucket}/x.mp4"] = False
    iam = client("iam")
    role = iam.get_role(RoleName=deployment.physical(f"{name}FunctionRole"))["Role"]["Arn"]
    for (action, resource), allowed in wanted.items():
        (result,) = iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource])[
            "EvaluationResults"
        ]
        assert (result["EvalDecision"] == "allowed") is allowed, action


def test_a_role_that_lacks_a_right_is_refused(deployment: Deployment, http: httpx.Client) -> None:
    company = found_company(http)
    path = f"/v1/videos/stream/{put_film(deployment, company)}"
    iam, role = client("iam"), deployment.physical("StreamFunctionRole")
    (policy,) = [
        name
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        if "s3:GetObject" in json.dumps(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
    ]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName=policy)
    try:
        problem(company.guest.get(path), 502, "storage-failed")
        assert company.guest.me()["point"] == 0
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))
    answer = company.guest.get(path)
    assert (answer.status_code, answer.content) == (200, b"a film")
    assert company.guest.me()["point"] == 10


def test_a_person_migrates_by_hand(deployment: Deployment) -> None:
    assert json.loads(operate("migrate", NAME)) == {"applied": []}
    done = ops("migrate", "no-such-stack")
    assert done.returncode == 1
    assert "no-such-stack does not exist" in done.stderr


def test_the_operator_is_told_who_watched_a_film(deployment: Deployment, http: httpx.Client) -> None:
    company = found_company(http)
    video = put_film(deployment, company)
    assert company.guest.get(f"/v1/videos/stream/{video}").content == b"a film"
    told = operate("operator", ACTION="who-watched", VIDEO=str(video), STACK=NAME)
    assert company.guest.email in told
    assert company.admin.email not in told


def test_the_operator_changes_a_plan_and_purges_what_it_is_told(deployment: Deployment, http: httpx.Client) -> None:
    company, other = found_company(http), found_company(http)
    gone, stays = put_film(deployment, company), put_film(deployment, other)
    told = {"CORPORATION": str(company.id), "STACK": NAME}
    operate("operator", ACTION="set-plan", PLAN="PAID", UNTIL="2999-01-01", **told)
    assert expect(company.admin.get(f"/v1/corporations/id/{company.id}"), 200)["plan"] == "PAID"
    lines = [json.loads(line) for line in operate("operator", ACTION="export", **told).splitlines()]
    assert {company.admin.email, company.guest.email} <= {line["row"].get("email") for line in lines}
    assert ops("operator", ACTION="purge-corporation", **told).returncode == 1
    assert expect(company.guest.get(f"/v1/videos/id/{gone}"), 200)
    operate("operator", ACTION="purge-corporation", YES="1", **told)
    problem(company.guest.get(f"/v1/videos/id/{gone}"), 401, "unauthenticated")
    listed = client("s3").list_objects_v2(Bucket=deployment.physical("VideoBucket"), Prefix="corporations/")
    folders = {each["Key"].split("/")[1] for each in listed["Contents"]}
    assert str(company.id) not in folders
    assert str(other.id) in folders
    assert expect(other.guest.get(f"/v1/videos/id/{stays}"), 200)


def test_the_keys_rotate_while_tokens_of_the_old_one_go_on(deployment: Deployment, http: httpx.Client) -> None:
    company = found_company(http)
    old = company.admin.tokens["access_token"]
    kid = operate("rotate-keys", NAME, "--wait", "0")
    held = json.loads(
        client("secretsmanager").get_secret_value(SecretId=deployment.physical("JwtKeys"))["SecretString"]
    )
    assert held["current"] == kid
    assert held.keys() == {"current", kid, jwt.get_unverified_header(old)["kid"]}
    company.admin.me()
    claims = jwt.decode(old, options={"verify_signature": False})
    company.admin.tokens = {"access_token": jwt.encode(claims, held[kid], "HS256", {"kid": kid})}
    # An environment asks for keys that it does not know at most every 30 s.
    assert within(60, lambda: company.admin.get("/v1/auth/me").status_code == 200)


def test_an_update_migrates_first_and_keeps_the_data(
    deployment: Deployment, http: httpx.Client, tmp_path: Path
) -> None:
    company = found_company(http)
    built = deployment.built_with(tmp_path / "second", "9001_note.sql", "CREATE TABLE note (seq bigint PRIMARY KEY);")
    deployment.deploy(built, every="rate(1 minute)")
    assert "9001_note.sql" in applied(deployment)
    with httpx.Client(base_url=deployment.stack.url, timeout=60, trust_env=False) as after:
        body = {"email": company.admin.email, "password": company.admin.password}
        assert expect(after.post("/v1/auth/login", json=body), 200)["access_token"]


def test_the_schedule_turns_expired_plans_free(deployment: Deployment, http: httpx.Client) -> None:
    company = found_company(http, plan_expire_at="2020-01-01T00:00:00Z")

    def plan() -> Any:
        return expect(company.admin.get(f"/v1/corporations/id/{company.id}"), 200)["plan"]

    assert within(150, lambda: plan() == "FREE")


def test_a_migration_that_fails_rolls_the_update_back(
    deployment: Deployment, http: httpx.Client, tmp_path: Path
) -> None:
    before = client("lambda").get_alias(FunctionName=deployment.physical("MigrateFunction"), Name="live")[
        "FunctionVersion"
    ]
    built = deployment.built_with(tmp_path / "third", "9002_broken.sql", "CREATE TABLE a (); CREATE TABEL b ();")
    with pytest.raises(DeployedError):
        deployment.deploy(built)
    cloudformation = client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    told = json.dumps(
        [e.get("ResourceStatusReason") for e in cloudformation.describe_stack_events(StackName=NAME)["StackEvents"]]
    )
    assert "9002_broken.sql failed" in told
    assert "syntax error at or near" in told
    assert "9002_broken.sql" not in applied(deployment)
    after = client("lambda").get_alias(FunctionName=deployment.physical("MigrateFunction"), Name="live")[
        "FunctionVersion"
    ]
    assert after == before
    assert expect(http.get("/health"), 200) == {"status": "ok"}
    found_company(http)


def test_a_changed_parameter_alone_reaches_the_callers(
    deployment: Deployment, http: httpx.Client, other_database: str
) -> None:
    company = found_company(http)
    body = {"email": company.admin.email, "password": company.admin.password}
    first = deployment.database_url
    deployment.deploy(parameters=database_parameters(other_database))
    problem(http.post("/v1/auth/login", json=body), 401, "unauthenticated")
    found_company(http)  # in the new database, which was migrated first
    deployment.deploy(parameters=database_parameters(first))
    assert expect(http.post("/v1/auth/login", json=body), 200)["access_token"]


def test_the_same_sources_and_parameters_publish_nothing_new(deployment: Deployment) -> None:
    def live() -> str:
        name = deployment.physical("AuthFunction")
        version: str = client("lambda").get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        return version

    before = live()
    deployment.deploy()
    assert live() == before


def test_the_release_before_is_deployed_again_to_roll_back(
    deployment: Deployment, http: httpx.Client, tmp_path: Path
) -> None:
    before = deployment.built
    changed = shutil.copytree(before, tmp_path / "changed")
    page = changed / "ServiceFunction" / "app.py"
    page.write_text(page.read_text("utf-8").replace('{"status": "ok"}', '{"status": "changed"}'))
    deployment.deploy(changed)
    assert expect(http.get("/health"), 200) == {"status": "changed"}
    deployment.deploy(before)
    assert expect(http.get("/health"), 200) == {"status": "ok"}


def test_a_deleted_stack_leaves_the_films_the_keys_and_the_data(deployment: Deployment) -> None:
    bucket, keys = deployment.physical("VideoBucket"), deployment.physical("JwtKeys")
    key = f"tests/{uuid.uuid4().hex}"
    client("s3").put_object(Bucket=bucket, Key=key, Body=base64.b64encode(b"kept"))
    schema = applied(deployment)
    cloudformation = client("cloudformation")
    cloudformation.delete_stack(StackName=NAME)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    with pytest.raises(ClientError, match="ResourceNotFound"):
        client("lambda").get_function(FunctionName=deployment.physical("AuthFunction"))
    assert client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() == base64.b64encode(b"kept")
    assert client("secretsmanager").get_secret_value(SecretId=keys)["SecretString"]
    assert applied(deployment) == schema


FIRST = "vms-first"


def test_an_account_without_the_role_for_logs_is_told_the_command(deployment: Deployment) -> None:
    client("apigateway").update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}])
    with pytest.raises(DeployedError, match="SetsApiGatewayRole=true"):
        ready(environment("emulator", {}, stack=FIRST))


def test_a_first_deployment_that_fails_leaves_nothing_in_the_way_of_the_second(
    deployment: Deployment, tmp_path: Path
) -> None:
    parameters = database_parameters(deployment.database_url)
    before = {each["Name"] for each in client("s3").list_buckets()["Buckets"]}
    secrets = {each["ARN"] for each in client("secretsmanager").list_secrets()["SecretList"]}
    broken = deployment.built_with(tmp_path / "broken", "9003_broken.sql", "CREATE TABEL c ();")
    with pytest.raises(DeployedError):
        deploy(broken, parameters, name=FIRST)
    failed = described(FIRST)
    assert failed is not None
    assert failed["StackStatus"] == "ROLLBACK_COMPLETE"
    assert {each["Name"] for each in client("s3").list_buckets()["Buckets"]} - before == set()
    assert {each["ARN"] for each in client("secretsmanager").list_secrets()["SecretList"]} - secrets == set()
    stack = deploy(deployment.built, parameters, name=FIRST)
    assert expect(httpx.get(f"{stack.url}/health", timeout=60, trust_env=False), 200) == {"status": "ok"}


def test_a_stack_of_size_dev_is_taken_away_whole_after_its_name_was_typed(deployment: Deployment) -> None:
    target = environment("emulator", {}, stack=FIRST)
    resources = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=FIRST)
    ids = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for page in resources
        for each in page["StackResourceSummaries"]
    }
    s3, bucket = client("s3"), ids["VideoBucket"]
    for body in (b"first", b"second"):
        s3.put_object(Bucket=bucket, Key="film.mp4", Body=body)
    s3.delete_object(Bucket=bucket, Key="film.mp4")
    with pytest.raises(DeployedError, match="nothing was deleted"):
        destroy(target, lambda _: "yes")
    assert described(FIRST) is not None
    assert "is gone" in destroy(target, lambda _: FIRST)
    assert described(FIRST) is None
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket=bucket)
    with pytest.raises(ClientError):
        client("secretsmanager").get_secret_value(SecretId=ids["JwtKeys"])
    with pytest.raises(DeployedError, match="there is no stack"):
        destroy(target, lambda _: FIRST)
