"""What `make deploy` and `make destroy` check, compute and refuse, against botocore's own models of the services."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from botocore.stub import Stubber

from ops import account, deploy, destroy, parameters
from ops.deployed import DeployedError
from tests.environment import of_child

ROOT = Path(__file__).parents[2]
NOW = "2026-11-01T00:00:00Z"
STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/vms-dev/0a1b"
ROLE = {"cloudwatchRoleArn": "arn:aws:iam::123456789012:role/logs"}
OUTPUTS = {
    "ApiUrl": "https://a.execute-api.eu-west-1.amazonaws.com/api",
    "DashboardUrl": "https://console",
    "FunctionLogGroup": "functions",
    "AccessLogGroup": "requests",
    "VideoBucketName": "films",
}


class Account:
    """Answers each call as told, in order; botocore checks the calls and the answers against the services' models."""

    def __init__(self) -> None:
        session = Session()
        session.set_credentials("key", "secret")
        names = ("sts", "cloudformation", "apigateway", "iam", "lambda", "s3", "secretsmanager", "rds")
        self.clients = {name: session.create_client(name, region_name="eu-west-1") for name in names}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()

    def answers(self, service: str, operation: str, answer: dict[str, Any], **expected: Any) -> None:
        self.stubs[service].add_response(operation, answer, expected or None)

    def has_stack(self, status: str, **parameters: str) -> None:
        stack = {
            "StackName": "vms-dev",
            "StackId": STACK_ID,
            "CreationTime": NOW,
            "StackStatus": status,
            "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in OUTPUTS.items()],
        }
        self.answers("cloudformation", "describe_stacks", {"Stacks": [stack]})

    def has_no_stack(self) -> None:
        self.stubs["cloudformation"].add_client_error("describe_stacks", "ValidationError", "does not exist")

    def has_logs_role(self) -> None:
        self.answers("apigateway", "get_account", ROLE)
        made = {"RoleName": "logs", "RoleId": "R" * 16, "Arn": ROLE["cloudwatchRoleArn"], "Path": "/"}
        self.answers("iam", "get_role", {"Role": {**made, "CreateDate": NOW}}, RoleName="logs")

    def runs(self, at_once: int, *, reserved: int = 0) -> None:
        quota = {"ConcurrentExecutions": at_once, "UnreservedConcurrentExecutions": at_once - reserved}
        self.answers("lambda", "get_account_settings", {"AccountLimit": quota})


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    found = Account()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for module in (account, deploy, destroy):
        monkeypatch.setattr(module, "client", found.clients.__getitem__)
    monkeypatch.setattr(deploy, "PYTHON", (3, 13))
    yield found
    for stub in found.stubs.values():
        stub.assert_no_pending_responses()


def dev(**settings: str) -> deploy.Environment:
    return deploy.environment("dev", settings)


def test_what_the_caller_sets_stands_above_samconfig() -> None:
    assert dev().parameters["Size"] == "dev"
    assert dev(Size="prod", LogLevel="ERROR").parameters == {
        "Size": "prod",
        "LogLevel": "ERROR",
        "Release": "unreleased",
    }
    assert deploy.environment("prod", {}).stack == "vms-prod"


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("staging", {}, "has no environment 'staging'"),
        ("default", {}, "has no environment"),
        ("dev", {"Colour": "x"}, "no parameter Colour"),
    ],
)
def test_an_unknown_environment_or_parameter_is_refused(name: str, settings: dict[str, str], told: str) -> None:
    with pytest.raises(DeployedError, match=told):
        deploy.environment(name, settings)


def test_a_ready_account_has_nothing_to_note(aws: Account) -> None:
    aws.answers("sts", "get_caller_identity", {"Account": "123456789012"})
    aws.has_no_stack()
    aws.has_logs_role()
    aws.runs(1000)
    assert deploy.check(dev()) == []


def test_a_role_for_logs_that_a_failed_deployment_took_along_is_none(aws: Account) -> None:
    """CloudFormation leaves the account's setting as it is: AWS::ApiGateway::Account."""
    aws.answers("sts", "get_caller_identity", {"Account": "123456789012"})
    aws.has_no_stack()
    aws.answers("apigateway", "get_account", ROLE)
    aws.stubs["iam"].add_client_error("get_role", "NoSuchEntity", "no such role")
    with pytest.raises(DeployedError, match='SET="SetsApiGatewayRole=true"'):
        deploy.check(dev())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("StreamConcurrency=many", "StreamConcurrency is not taken as it is: a number, at least -1"),
        ("Architecture=riscv", "one of x86_64, arm64"),
        ("LogLevel='$(id)'", "LogLevel is not taken as it is: one of INFO, WARNING, ERROR"),
        ("CorsOrigins=*", "CorsOrigins is not taken as it is: Origins, comma-separated"),
        ("DatabaseUrl=postgresql://vms@db/vms", "DatabaseUrl wants one of DatabasePasswordSecret"),
        ("DatabaseUrl=postgresql://vms@db/vms DatabaseUserResource=db-A/other", "another user than DatabaseUrl"),
        ("DomainName=api.example.com", "DomainName and CertificateArn are given together"),
    ],
)
def test_what_the_template_would_refuse_is_told_before_anything_is_built(
    aws: Account, settings: str, told: str
) -> None:
    aws.answers("sts", "get_caller_identity", {"Account": "123456789012"})
    aws.has_stack("CREATE_COMPLETE", Size="dev", OfAnotherRelease="1")
    with pytest.raises(DeployedError, match=re.escape(told)):
        deploy.check(dev(**parameters.given(settings)))


@pytest.mark.parametrize(
    ("before", "settings", "told"),
    [
        ({"Size": "prod"}, "Size=dev", "a database of size prod does not become one of dev"),
        ({"Size": "dev"}, "Size=prod", None),
        ({"Size": "dev", "Zones": "a,b"}, "Zones=a,c", "Zones stays as it is"),
        ({"Size": "dev", "Zones": ""}, "Zones=a,b", None),  # perhaps the same ones
        ({"Size": "dev", "VpcCidr": "10.20.0.0/16"}, "VpcCidr=10.30.0.0/16", "VpcCidr stays as it is"),
        ({"Size": "dev", "DatabaseSnapshot": "then"}, "DatabaseSnapshot=", "an empty database would take the place"),
        ({"Size": "dev", "DatabaseSnapshot": "then"}, "DatabaseSnapshot=later", None),
        ({"Size": "dev", "DatabaseSnapshot": "then"}, "LogLevel=ERROR", None),
    ],
)
def test_what_a_standing_database_cannot_become_is_told(
    before: dict[str, str], settings: str, told: str | None
) -> None:
    held = {"DatabaseUrl": "", **before}
    after = {**held, **parameters.given(settings)}
    if told is None:
        parameters.refuse_change(held, after)
        return
    with pytest.raises(DeployedError, match=told):
        parameters.refuse_change(held, after)
    moved = {"DatabaseUrl": "postgresql://vms@db/vms"}  # to another server
    parameters.refuse_change(held, {**after, **moved})
    parameters.refuse_change({**held, **moved}, after)


def test_a_change_that_cannot_be_is_told_before_anything_is_built(aws: Account) -> None:
    aws.answers("sts", "get_caller_identity", {"Account": "123456789012"})
    aws.has_stack("UPDATE_COMPLETE", Size="prod", DatabaseUrl="")
    with pytest.raises(DeployedError, match="does not become one of dev"):
        deploy.check(dev())


def test_a_refused_password_is_not_shown() -> None:
    with pytest.raises(DeployedError, match="DatabaseUrl is not taken") as refused:
        parameters.refuse({"DatabaseUrl": "postgresql://vms:secret@db/vms"})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("LogLevel", "NAME=value, not 'LogLevel'"),
        ("LogLevel=INFO x", "NAME=value, not 'x'"),
        ("=INFO", "NAME=value, not ''"),
        ("LogLevel='INFO", "a quotation mark is not closed"),
    ],
)
def test_what_are_no_parameters_is_told(text: str, told: str) -> None:
    with pytest.raises(DeployedError, match=told):
        parameters.given(text)


def test_parameters_are_a_text_or_a_list_as_sam_takes_both() -> None:
    wanted = {"LogLevel": "ERROR", "CorsOrigins": "a b", "Zones": "", "DatabaseUrl": "postgresql://a@b/c?d=e"}
    text = "LogLevel=ERROR CorsOrigins='a b' Zones= DatabaseUrl=postgresql://a@b/c?d=e"
    assert parameters.given(text) == wanted
    assert parameters.given(["LogLevel=ERROR", 'CorsOrigins="a b"', "Zones=", f"DatabaseUrl={wanted['DatabaseUrl']}"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[dev", "samconfig.toml: Expected"),
        ("[dev]\ndeploy = 1\n", r"no \[dev.global.parameters\]"),
        ("[dev.deploy.parameters]\nresolve_s3 = true\n", r"no \[dev.global.parameters\]"),
        (
            '[dev.deploy.parameters]\nparameter_overrides = "LogLevle=INFO"\n[dev.global.parameters]\nstack_name = "x"',
            "no parameter LogLevle",
        ),
    ],
)
def test_a_broken_samconfig_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "samconfig.toml").write_text(text)
    monkeypatch.setattr(deploy, "CONFIG", tmp_path / "samconfig.toml")
    with pytest.raises(DeployedError, match=told):
        deploy.environment("dev", {})


def test_a_change_set_that_nobody_agreed_to_is_no_first_deployment(aws: Account) -> None:
    aws.answers("sts", "get_caller_identity", {"Account": "123456789012"})
    aws.has_stack("REVIEW_IN_PROGRESS", Size="prod", DatabaseUrl="")
    aws.has_logs_role()
    aws.runs(1000)
    aws.has_stack("REVIEW_IN_PROGRESS", Size="prod", DatabaseUrl="")
    assert deploy.ready(dev()) is None  # so that the next one makes a database that is not protected


def test_a_new_accounts_small_quota_is_told_with_the_command_that_asks_for_more(aws: Account) -> None:
    aws.runs(10)
    (note,) = account.concurrency(-1)
    assert "runs 10 functions at once" in note
    assert "request-service-quota-increase" in note


def test_a_reservation_that_aws_would_refuse_is_refused_before(aws: Account) -> None:
    aws.runs(120)
    assert account.concurrency(20) == []
    aws.runs(120)
    with pytest.raises(DeployedError, match="StreamConcurrency=21 leaves fewer than 100 of the account's 120"):
        account.concurrency(21)
    aws.runs(1000, reserved=850)  # by other functions of the account
    with pytest.raises(DeployedError, match="fewer than 100 of the account's 150"):
        account.concurrency(60)
    aws.runs(1000, reserved=850)  # 50 of them by this stack
    assert account.concurrency(60, 50) == []


def test_an_account_without_the_role_for_logs_is_told_the_command(aws: Account) -> None:
    aws.answers("sts", "get_caller_identity", {"Account": "123456789012"})
    aws.has_no_stack()
    aws.answers("apigateway", "get_account", {})
    with pytest.raises(DeployedError, match='make deploy CONFIG=dev SET="SetsApiGatewayRole=true"'):
        deploy.check(dev())


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
        ("UPDATE_IN_PROGRESS", "wait until"),
        ("DELETE_FAILED", "delete-stack"),
    ],
)
def test_a_stack_that_cannot_be_deployed_to_is_told(aws: Account, status: str, told: str) -> None:
    aws.answers("sts", "get_caller_identity", {"Account": "123456789012"})
    aws.has_stack(status)
    with pytest.raises(DeployedError, match=told):
        deploy.check(dev())


def test_another_python_than_lambdas_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "PYTHON", (3, 12))
    with pytest.raises(DeployedError, match="not have: rm -rf"):
        deploy.check(dev())


@pytest.mark.parametrize(("machine", "architecture"), [(0x3E, "x86_64"), (0xB7, "arm64")])
def test_packages_of_another_machine_are_refused(tmp_path: Path, machine: int, architecture: str) -> None:
    (tmp_path / "DependenciesLayer").mkdir()
    header = b"\x7fELF".ljust(18, b"\0") + machine.to_bytes(2, "little")
    (tmp_path / "DependenciesLayer" / "a.so").write_bytes(header)
    deploy.check_wheels(tmp_path, architecture)
    other = {"x86_64": "arm64", "arm64": "x86_64"}[architecture]
    with pytest.raises(DeployedError, match=f"another machine than {other}"):
        deploy.check_wheels(tmp_path, other)


def test_a_release_follows_the_sources_and_the_parameters_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text("Parameters: {LogLevel: {Default: INFO}, Size: {Default: dev}}")
    (tmp_path / "f").mkdir()
    app, compiled = tmp_path / "f" / "app.py", tmp_path / "f" / "app.pyc"
    app.write_text("1")
    compiled.write_text("compiled now")
    first = deploy.release(tmp_path, {"LogLevel": "INFO", "Size": "dev"})
    assert len(first) == 40
    compiled.write_text("compiled later")
    assert deploy.release(tmp_path, {"Size": "dev", "LogLevel": "INFO"}) == first
    assert deploy.release(tmp_path, {"Size": "dev", "Protection": "true"}) == first  # LogLevel has its default
    assert deploy.release(tmp_path, {"Size": "dev", "LogLevel": "ERROR"}) != first
    app.write_text("2")
    second = deploy.release(tmp_path, {"LogLevel": "INFO", "Size": "dev"})
    assert second != first
    app.rename(tmp_path / "f" / "other.py")
    assert deploy.release(tmp_path, {"LogLevel": "INFO", "Size": "dev"}) != second


def standing(**parameters: str) -> dict[str, Any]:
    return {"Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]}


def test_a_stack_keeps_the_parameters_that_nobody_sets() -> None:
    values = deploy.parameters(dev(), standing(Size="dev", Zones="a,b", Release="old", DatabaseSnapshot="then"))
    assert values == {"Size": "dev", "Zones": "a,b", "DatabaseSnapshot": "then", "Protection": "false"}


def test_protection_begins_with_prods_second_deployment() -> None:
    prod = deploy.environment("prod", {})
    assert deploy.parameters(prod, None)["Protection"] == "false"
    assert deploy.parameters(prod, standing(Size="prod", DatabaseUrl=""))["Protection"] == "true"
    assert deploy.parameters(prod, standing(Size="prod", DatabaseUrl="postgresql://a@b/c"))["Protection"] == "false"
    assert deploy.parameters(dev(), standing(Size="dev", DatabaseUrl=""))["Protection"] == "false"
    kept = standing(Size="dev", DatabaseUrl="", Protection="true")  # by make protect
    assert deploy.parameters(dev(), kept)["Protection"] == "true"
    off = deploy.environment("prod", {"Protection": "false"})
    assert deploy.parameters(off, standing(Size="prod", DatabaseUrl=""))["Protection"] == "false"


def test_a_deployment_tells_where_everything_is_and_what_comes_next(aws: Account) -> None:
    aws.has_stack("CREATE_COMPLETE", Size="dev")
    text = deploy.report(dev(), first=True)
    assert [value for value in OUTPUTS.values() if value not in text] == []
    assert "/console and sign up" in text
    aws.has_stack("CREATE_COMPLETE", Size="prod")
    assert "make protect CONFIG=dev" in deploy.report(dev(), first=True)
    aws.has_stack("UPDATE_COMPLETE", Size="prod")
    assert "make protect" not in deploy.report(dev(), first=False)


def test_a_first_deployment_that_failed_is_removed_before_the_next(
    aws: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "template.yaml").write_text("Parameters: {LogLevel: {Default: INFO}}")
    monkeypatch.setattr(deploy, "BUILT", tmp_path)
    monkeypatch.setattr(deploy, "build", lambda *_: None)
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(deploy, "_sam", lambda *arguments, **_: ran.append(arguments))
    deleted: list[str] = []
    monkeypatch.setattr(deploy, "delete", deleted.append)
    aws.answers("sts", "get_caller_identity", {"Account": "123456789012"})
    aws.has_stack("ROLLBACK_COMPLETE", Size="dev")
    aws.has_logs_role()
    aws.runs(1000)
    aws.has_stack("ROLLBACK_COMPLETE", Size="dev", Zones="bad,zones")
    aws.has_stack("CREATE_COMPLETE", Size="dev")
    deploy.deploy(dev())
    assert deleted == ["vms-dev"]
    ((command, *arguments),) = ran
    given = dict(each.split("=", 1) for each in arguments[arguments.index("--parameter-overrides") + 1 :])
    assert command == "deploy"
    assert given.keys() == {"Size", "Protection", "Release"}  # nothing of the one that failed
    assert given["Release"].strip('"') == deploy.release(tmp_path, {"Size": "dev", "Protection": "false"})


def test_a_stack_that_is_arm64_is_built_as_that_without_being_told_again(
    aws: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(deploy, "BUILT", tmp_path)
    (tmp_path / "DependenciesLayer").mkdir()
    (tmp_path / "DependenciesLayer" / "a.so").write_bytes(b"\x7fELF".ljust(18, b"\0") + (0x3E).to_bytes(2, "little"))
    ran: list[dict[str, str]] = []
    monkeypatch.setattr(deploy, "_sam", lambda *_, **variables: ran.append(variables))
    aws.answers("sts", "get_caller_identity", {"Account": "123456789012"})
    aws.has_stack("CREATE_COMPLETE", Size="dev", Architecture="arm64")
    aws.has_logs_role()
    aws.runs(1000)
    aws.has_stack("CREATE_COMPLETE", Size="dev", Architecture="arm64")
    with pytest.raises(DeployedError, match="another machine than arm64"):  # what was built is for x86_64
        deploy.deploy(dev())
    assert ran == [{"MACHINE": "aarch64"}]


def test_protect_keeps_the_stack_and_its_database(aws: Account) -> None:
    prod = deploy.environment("prod", {})
    aws.has_stack("CREATE_COMPLETE", Size="prod", Protection="false", DatabaseUrl="")
    aws.answers(
        "cloudformation", "update_termination_protection", {}, StackName="vms-prod", EnableTerminationProtection=True
    )
    aws.answers(
        "cloudformation",
        "update_stack",
        {},
        StackName="vms-prod",
        UsePreviousTemplate=True,
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[
            {"ParameterKey": "Size", "UsePreviousValue": True},
            {"ParameterKey": "Protection", "ParameterValue": "true"},
            {"ParameterKey": "DatabaseUrl", "UsePreviousValue": True},
        ],
    )
    aws.has_stack("UPDATE_COMPLETE")
    assert "its database" in deploy.protect(prod)
    aws.has_stack("UPDATE_COMPLETE", Protection="true", DatabaseUrl="")
    aws.answers("cloudformation", "update_termination_protection", {})
    assert deploy.protect(prod) == "vms-prod is protected."


def test_only_dev_is_destroyed_and_only_when_its_name_is_typed(aws: Account) -> None:
    def never(_: str) -> str:
        pytest.fail("it asks")

    aws.has_stack("CREATE_COMPLETE", Size="prod")
    with pytest.raises(DeployedError, match="only dev is destroyed"):
        destroy.destroy(dev(), never)
    aws.has_stack("CREATE_COMPLETE", Size="dev")
    aws.answers("cloudformation", "list_stack_resources", owned(VideoBucket="films"))
    aws.answers("s3", "head_bucket", {})
    with pytest.raises(DeployedError, match="nothing was deleted"):
        destroy.destroy(dev(), lambda _: "vms-prod")


def owned(**resources: str) -> dict[str, Any]:
    return {
        "StackResourceSummaries": [
            {
                "LogicalResourceId": name,
                "PhysicalResourceId": physical,
                "ResourceType": "x",
                "ResourceStatus": "CREATE_COMPLETE",
                "LastUpdatedTimestamp": NOW,
            }
            for name, physical in resources.items()
        ]
    }


def test_destroy_empties_the_bucket_of_every_version_and_lists_the_last_snapshot(
    aws: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destroy, "delete", lambda _: None)
    aws.has_stack("CREATE_COMPLETE", Size="dev")
    aws.answers(
        "cloudformation", "list_stack_resources", owned(VideoBucket="films", JwtKeys="arn:keys", Database="vms-1")
    )
    aws.answers("s3", "head_bucket", {}, Bucket="films")
    aws.answers("secretsmanager", "describe_secret", {}, SecretId="arn:keys")
    versions = {"Versions": [{"Key": "a", "VersionId": "1"}], "DeleteMarkers": [{"Key": "a", "VersionId": "2"}]}
    aws.answers("s3", "list_object_versions", versions, Bucket="films")
    both = [{"Key": "a", "VersionId": "1"}, {"Key": "a", "VersionId": "2"}]
    aws.answers("s3", "delete_objects", {}, Bucket="films", Delete={"Objects": both, "Quiet": True})
    aws.answers("s3", "delete_bucket", {}, Bucket="films")
    aws.answers("secretsmanager", "delete_secret", {}, SecretId="arn:keys", ForceDeleteWithoutRecovery=True)
    snapshots = {"DBSnapshots": [{"DBSnapshotIdentifier": "vms-dev-snapshot"}]}
    aws.answers("rds", "describe_db_snapshots", snapshots, DBInstanceIdentifier="vms-1", SnapshotType="manual")
    assert "delete-db-snapshot --db-snapshot-identifier vms-dev-snapshot" in destroy.destroy(dev(), lambda _: "vms-dev")


def test_a_first_deployment_that_failed_is_destroyed_too(aws: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted: list[str] = []
    monkeypatch.setattr(destroy, "delete", deleted.append)
    aws.has_stack("ROLLBACK_COMPLETE", Size="dev")
    aws.answers("cloudformation", "list_stack_resources", owned(VideoBucket="films", JwtKeys="arn:keys", Database=""))
    aws.stubs["s3"].add_client_error("head_bucket", "404", "Not Found")
    aws.stubs["secretsmanager"].add_client_error("describe_secret", "ResourceNotFoundException", "gone")
    assert "is gone" in destroy.destroy(dev(), lambda _: "vms-dev")
    assert deleted == ["vms-dev"]


def test_what_a_deleted_stack_has_kept_is_deleted_by_the_next_call(
    aws: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops waiting for CloudFormation, for up to 40 minutes, would else keep the bucket and the secrets."""
    monkeypatch.setattr(destroy, "delete", lambda _: pytest.fail("it is deleted"))
    summary = {"StackName": "vms-dev", "StackId": STACK_ID, "CreationTime": NOW, "StackStatus": "DELETE_COMPLETE"}
    for there in (True, False):
        aws.has_no_stack()
        aws.answers("cloudformation", "list_stacks", {"StackSummaries": [summary, {**summary, "StackName": "other"}]})
        aws.has_stack("DELETE_COMPLETE", Size="dev")
        aws.answers("cloudformation", "list_stack_resources", owned(VideoBucket="films"), StackName=STACK_ID)
        if not there:
            aws.stubs["s3"].add_client_error("head_bucket", "404", "Not Found")
            break
        aws.answers("s3", "head_bucket", {})
        aws.answers("s3", "list_object_versions", {})
        aws.answers("s3", "delete_bucket", {}, Bucket="films")
        assert "is gone" in destroy.destroy(dev(), lambda _: "vms-dev")
    with pytest.raises(DeployedError, match="there is no stack vms-dev"):
        destroy.destroy(dev(), lambda _: pytest.fail("it asks"))


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "error: no region is set"),
        ({"AWS_REGION": "eu-west-1"}, "error: Unable to locate credentials"),
        ({"AWS_REGION": "eu-west-1", "AWS_PROFILE": "nobody"}, "error: The config profile (nobody) could not be found"),
    ],
)
def test_without_credentials_or_region_there_is_one_line(tmp_path: Path, variables: dict[str, str], told: str) -> None:
    nowhere = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "ops", "deploy", "dev"],
        cwd=ROOT,
        env=of_child(**nowhere, **variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "error: samconfig.toml has no environment ''"),
        ({"CONFIG": "dev'; touch {mark}; '"}, "error: samconfig.toml has no environment \"dev'; touch"),
        ({"CONFIG": "dev", "SET": "LogLevel='INFO"}, "error: a quotation mark is not closed"),
        ({"CONFIG": "dev", "SET": "LogLevel=`touch {mark}`"}, "error: parameters are given as NAME=value"),
        ({"CONFIG": "dev", "SET": '"; touch {mark}; "'}, "error: parameters are given as NAME=value"),
        ({"CONFIG": "dev", "SET": "LogLevel=;touch${{IFS}}{mark}"}, "error: no region is set"),
    ],
)
def test_make_hands_on_what_it_is_given_and_the_shell_runs_nothing_of_it(
    tmp_path: Path, given: dict[str, str], told: str
) -> None:
    mark = tmp_path / "mark"
    words = [f"{name}={value.format(mark=mark)}".replace("$", "$$") for name, value in given.items()]
    done = subprocess.run(
        ["make", "--silent", "--old-file=.venv/.dev", "deploy", f"PYTHON='{sys.executable}'", *words],
        cwd=ROOT,
        env=of_child(HOME=str(tmp_path), AWS_EC2_METADATA_DISABLED="true"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(told)
    assert "Traceback" not in done.stderr
    assert not mark.exists()
