"""The template as CloudFormation gets it: transformed by SAM's translator, for each shape in docs/deploy.md."""

import ast
import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]  # has no types
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # has no types

from local.intrinsics import Resolver
from ops.deployed import DeployedError
from ops.parameters import broken_rules, refuse
from vms.settings import CORS_ORIGINS
from vms.variables import SettingError

ROOT = Path(__file__).parents[2]
REGION, ACCOUNT = "eu-west-1", "123456789012"
EXISTING = {"DatabaseUrl": "postgresql://vms@db.example.com/vms?sslmode=verify-full"}
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:database"
SHAPES: dict[str, dict[str, str]] = {
    "dev": {},
    "prod": {"Size": "prod", "Protection": "true", "SnapStart": "PublishedVersions", "StreamConcurrency": "50"},
    "restored": {"Size": "prod", "DatabaseSnapshot": "before-the-accident", "Zones": "eu-west-1b,eu-west-1c"},
    "password": {**EXISTING, "DatabasePasswordSecret": SECRET},
    "iam": {**EXISTING, "Size": "prod", "DatabaseUserResource": "db-ABCDEFGH/vms"},
    "iam by a proxy": {**EXISTING, "DatabaseUserResource": "prx-0123abcd/vms"},
    "network": {
        **EXISTING,
        "DatabasePasswordSecret": SECRET,
        "SubnetIds": "subnet-1,subnet-2",
        "SecurityGroupIds": "sg-1",
    },
    "domain": {
        "DomainName": "api.example.com",
        "CertificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/0a1b",
        "HostedZoneId": "Z1",
        "WebAclArn": f"arn:aws:wafv2:{REGION}:{ACCOUNT}:regional/webacl/vms/0a1b",
    },
    "notified": {
        "AlarmTopicArn": TOPIC,
        "CorsOrigins": "https://a.example,https://b.example",
        "SetsApiGatewayRole": "true",
    },
}
# What stands for the id of the proxy that is made, in the ARN that the resolver gives it.
PROXY = "local-select"
every_shape = pytest.mark.parametrize("shape", SHAPES)
type Template = dict[str, Any]


@cache
def source() -> Template:
    read: Template = json.loads(json.dumps(yaml_parse((ROOT / "template.yaml").read_text("utf-8")), default=str))
    return read


class NoPolicies:
    def load(self) -> dict[str, str]:
        return {}


def transformed(**parameters: str) -> Template:
    """What SAM makes of the template with these parameters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        return _transformed(tuple(sorted(parameters.items())))


@cache
def _transformed(parameters: tuple[tuple[str, str], ...]) -> Template:
    template = copy.deepcopy(source())
    for name, value in {"Release": "a" * 40, **dict(parameters)}.items():
        template["Parameters"][name]["Default"] = value
    for resource in template["Resources"].values():
        for name in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][name] = "s3://bucket/code"
    values = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
    return json.loads(json.dumps(transform(template, values, NoPolicies())))  # type: ignore[no-any-return]


def resources(shape: str) -> dict[str, Any]:
    """The resources that this shape makes, with their properties resolved."""
    return Resolver(transformed(**SHAPES[shape]), REGION, ACCOUNT).resources()


def of_type(shape: str, kind: str) -> dict[str, Any]:
    return {name: found["Properties"] for name, found in resources(shape).items() if found["Type"] == kind}


def versions(template: Template) -> dict[str, str]:
    """Function → the logical id of the version that its alias `live` points to."""
    return {
        name.removesuffix("Aliaslive"): resource["Properties"]["FunctionVersion"]["Fn::GetAtt"][0]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Alias"
    }


def functions() -> dict[str, str]:
    """Function → its directory below functions/."""
    return {
        name: Path(found["Properties"]["CodeUri"]).name
        for name, found in source()["Resources"].items()
        if found["Type"] == "AWS::Serverless::Function"
    }


def test_another_release_is_another_version_of_every_function_and_nothing_else_moves() -> None:
    first, again, second = transformed(Release="a" * 40), transformed(Release="a" * 40), transformed(Release="b" * 40)
    before, after = versions(first), versions(second)
    assert before == versions(again)
    assert before.keys() == after.keys() == functions().keys()
    assert [name for name in before if before[name] == after[name]] == []
    assert first["Resources"].keys() ^ second["Resources"].keys() == {*before.values(), *after.values()}
    # Lambda publishes no version of a function that did not change: the description changes with the release.
    for name in before:
        texts = [template["Resources"][name]["Properties"]["Description"] for template in (first, second)]
        assert texts[0].endswith("a" * 40)
        assert texts[1].endswith("b" * 40)


def test_sam_does_not_see_a_changed_parameter_which_is_why_there_is_a_release() -> None:
    assert versions(transformed()) == versions(transformed(LogLevel="ERROR"))


def test_old_versions_and_layers_go_and_what_holds_data_stays_but_for_a_first_deployment_that_fails() -> None:
    kept = {
        name: resource["DeletionPolicy"]
        for name, resource in transformed()["Resources"].items()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    }
    assert kept == {
        "ApiGatewayRole": "RetainExceptOnCreate",
        "ApiGatewayAccount": "RetainExceptOnCreate",
        "VideoBucket": "RetainExceptOnCreate",
        "JwtKeys": "RetainExceptOnCreate",
        "DatabaseSecret": "RetainExceptOnCreate",
        "Database": "Snapshot",
    }


def test_dev_is_one_small_database_without_a_proxy_and_everything_at_once() -> None:
    found = resources("dev")
    assert {
        kind for kind in (each["Type"] for each in found.values()) if "Proxy" in kind or "CodeDeploy" in kind
    } == set()
    database = found["Database"]["Properties"]
    assert database["DBInstanceClass"] == "db.t4g.micro"
    assert (database["MultiAZ"], database["DeletionProtection"]) == ("false", "false")
    assert database["AvailabilityZone"] == found["PrivateSubnetA"]["Properties"]["AvailabilityZone"]
    for properties in of_type("dev", "AWS::Lambda::Function").values():
        assert properties["VpcConfig"]["SubnetIds"] == ["local-PrivateSubnetA"]
        assert properties.get("SnapStart", {"ApplyOn": "None"}) == {"ApplyOn": "None"}


def test_prod_has_a_standby_a_proxy_protection_and_a_canary() -> None:
    found = resources("prod")
    database = found["Database"]["Properties"]
    assert (database["MultiAZ"], database["DeletionProtection"]) == ("true", "true")
    assert "AvailabilityZone" not in database
    assert found["DatabaseProxy"]["Properties"]["RequireTLS"] is True
    groups = of_type("prod", "AWS::CodeDeploy::DeploymentGroup")
    assert len(groups) == len(functions()) - 2  # the migrations and the operator are not for a tenth of the callers
    url = found["AuthFunction"]["Properties"]["Environment"]["Variables"]["DATABASE_URL"]
    assert "sslmode=verify-full" in url


def test_a_first_deployment_is_not_protected_so_that_it_can_be_taken_back() -> None:
    assert source()["Parameters"]["Protection"]["Default"] == "false"


@pytest.mark.parametrize("size", ["dev", "prod"])
def test_plans_are_the_operators_unless_the_stack_says_otherwise(size: str) -> None:
    variables = of_type(size, "AWS::Lambda::Function")["CorporationsFunction"]["Environment"]["Variables"]
    assert variables["PLAN_CHANGES"] == "operator"


@pytest.mark.parametrize(("size", "most"), [("dev", "100"), ("prod", "1000")])
def test_the_databases_storage_grows_by_itself(size: str, most: str) -> None:
    database = of_type(size, "AWS::RDS::DBInstance")["Database"]
    assert (database["AllocatedStorage"], database["MaxAllocatedStorage"]) == ("20", most)


def test_a_restored_database_has_a_name_of_its_own_and_takes_from_the_snapshot_what_that_has() -> None:
    made, restored = (
        of_type("prod", "AWS::RDS::DBInstance")["Database"],
        of_type("restored", "AWS::RDS::DBInstance")["Database"],
    )
    assert restored["DBSnapshotIdentifier"] == "before-the-accident"
    # A smaller storage and an older version than the snapshot's are refused, and RDS has raised both by itself.
    own = {"DBName", "MasterUsername", "StorageEncrypted", "EngineVersion", "AllocatedStorage"}
    assert own & restored.keys() == set()
    assert own <= made.keys()
    assert made["AutoMinorVersionUpgrade"] is True
    assert int(made["MaxAllocatedStorage"]) > int(made["AllocatedStorage"])
    assert made["DBInstanceIdentifier"] != restored["DBInstanceIdentifier"]
    assert of_type("restored", "AWS::EC2::Subnet")["PrivateSubnetB"]["AvailabilityZone"] == "eu-west-1c"


def test_an_existing_database_makes_no_network() -> None:
    for shape in ("password", "iam", "iam by a proxy", "network"):
        kinds = {found["Type"] for found in resources(shape).values()}
        assert [kind for kind in kinds if kind.startswith(("AWS::EC2", "AWS::RDS"))] == []
    assert "VpcConfig" not in of_type("password", "AWS::Lambda::Function")["AuthFunction"]
    assert of_type("network", "AWS::Lambda::Function")["AuthFunction"]["VpcConfig"] == {
        "SubnetIds": ["subnet-1", "subnet-2"],
        "SecurityGroupIds": ["sg-1"],
    }


@every_shape
def test_every_reference_is_to_something_that_this_shape_makes(shape: str) -> None:
    template = transformed(**SHAPES[shape])
    made = resources(shape)
    known = {*made, *template["Parameters"]}
    resolver = Resolver(template, REGION, ACCOUNT)
    lost = [
        (name, reference)
        for name in made
        for reference in references(template["Resources"][name].get("Properties", {}), resolver)
        if reference.partition(".")[0] not in known and not reference.startswith("AWS::")
    ]
    assert lost == []


def references(node: Any, resolver: Resolver) -> Iterator[str]:
    """Names that are referred to, but for the branches that this shape does not take."""
    if isinstance(node, list):
        for item in node:
            yield from references(item, resolver)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        match key:
            case "Ref":
                yield value
            case "Fn::GetAtt":
                yield value if isinstance(value, str) else value[0]
            case "Fn::If":
                yield from references(value[1 if resolver.condition(value[0]) else 2], resolver)
            case "Fn::Sub":
                text, own = (value, {}) if isinstance(value, str) else value
                yield from (name for name in re.findall(r"\$\{([^!}]+)\}", text) if name not in own)
                yield from references(own, resolver)
            case _:
                yield from references(value, resolver)


@every_shape
def test_a_function_may_what_its_code_uses_and_no_more(shape: str) -> None:
    made = resources(shape)
    policies = {
        f"local-{name}": found["Properties"]
        for name, found in made.items()
        if found["Type"] == "AWS::IAM::ManagedPolicy"
    }
    for name, directory in functions().items():
        role = made[f"{name}Role"]["Properties"]
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        documents += [policies[arn]["PolicyDocument"] for arn in role["ManagedPolicyArns"] if arn in policies]
        may = {
            (action, str(statement["Resource"]))
            for each in documents
            for statement in each["Statement"]
            for action in of_list(statement["Action"])
        }
        used = imported(ROOT / "functions" / directory / "app.py")
        wanted: set[tuple[str, str]] = set()
        if directory == "console":  # it serves files of its own, and asks nobody
            assert may == wanted
            continue
        said = made[name]["Properties"]["Environment"]["Variables"]
        connected = said.get("DATABASE_OWNER_URL", said["DATABASE_URL"])
        if said["DATABASE_IAM_AUTH"] == "true":
            server = SHAPES[shape].get("DatabaseUserResource", PROXY).split("/")[0]
            user = urlsplit(connected).username
            wanted |= {("rds-db:connect", f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:{server}/{user}")}
        for secret in (said["DATABASE_PASSWORD_SECRET"], said.get("DATABASE_OWNER_PASSWORD_SECRET")):
            wanted |= {("secretsmanager:GetSecretValue", secret)} if secret else set()
        if asks_for_tokens(directory):
            wanted |= {("secretsmanager:GetSecretValue", "local-JwtKeys-Id")}
        if "vms.storage" in used:
            wanted |= {
                ("s3:GetObject", "arn:aws:s3:::local-VideoBucket/corporations/*"),
                ("s3:ListBucket", "arn:aws:s3:::local-VideoBucket"),
            }
        if "vms.domain.leftovers" in used or "vms.domain.parts" in used:
            objects = ["GetObject", "DeleteObject", "DeleteObjectVersion", "AbortMultipartUpload"]
            objects += ["ListMultipartUploadParts", *(["PutObject"] if "vms.domain.parts" in used else [])]
            wanted |= {(f"s3:{action}", "arn:aws:s3:::local-VideoBucket/corporations/*") for action in objects}
            buckets = ("ListBucket", "ListBucketMultipartUploads")
            wanted |= {(f"s3:{action}", "arn:aws:s3:::local-VideoBucket") for action in buckets}
        if "vms.operator.bucket" in used:
            folder, bucket = "arn:aws:s3:::local-VideoBucket/corporations/*", "arn:aws:s3:::local-VideoBucket"
            deletes = ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload")
            lists = ("s3:ListBucketVersions", "s3:ListBucketMultipartUploads")
            wanted |= {*((action, folder) for action in deletes), *((action, bucket) for action in lists)}
        if name == "PlanExpiryFunction":  # SAM gives it for the destination of failed events
            wanted |= {("sqs:SendMessage", f"arn:aws:local:{REGION}:{ACCOUNT}:PlanExpiryDeadLetters")}
        assert may == wanted, name


@every_shape
def test_only_the_migrations_reach_the_database_as_its_owner(shape: str) -> None:
    made = resources(shape)
    owners = {SECRET, "local-DatabaseSecret"}
    for name in functions():
        said = made[name]["Properties"]["Environment"]["Variables"]
        role = json.dumps(made[f"{name}Role"]["Properties"])
        assert urlsplit(said["DATABASE_URL"]).username == "vms_app"
        assert urlsplit(said["DATABASE_URL"]).password is None
        if name == "MigrateFunction":
            assert urlsplit(said["DATABASE_OWNER_URL"]).username == "vms"
            assert said["DATABASE_OWNER_URL"].replace("//vms@", "//vms_app@") == said["DATABASE_URL"]
            assert "local-ConnectToDatabase" not in role
        else:
            assert not [key for key, value in said.items() if "OWNER" in key or value in owners]
            assert ('"local-ConnectToDatabase"' in role) is (name != "ConsoleFunction")  # which asks nobody
            assert not [owner for owner in owners if owner in role]
    (statement,) = made["ConnectToDatabase"]["Properties"]["PolicyDocument"]["Statement"]
    resource = statement["Resource"]
    assert resource == "local-AppDatabaseSecret-Id" or resource.endswith("/vms_app")


@pytest.mark.parametrize(
    ("shape", "app", "owner"),
    [
        ("dev", "local-AppDatabaseSecret-Id", "local-DatabaseSecret"),
        ("prod", "local-AppDatabaseSecret-Id", ""),  # the owner has a token too
        ("password", "local-AppDatabaseSecret-Id", SECRET),
        ("network", "local-AppDatabaseSecret-Id", SECRET),
        ("iam", "", ""),  # the role becomes a member of rds_iam
        ("iam by a proxy", "local-AppDatabaseSecret-Id", ""),
    ],
)
def test_the_migrations_know_how_the_functions_user_logs_in(shape: str, app: str, owner: str) -> None:
    made = resources(shape)
    said = made["MigrateFunction"]["Properties"]["Environment"]["Variables"]
    assert (said["DATABASE_PASSWORD_SECRET"], said["DATABASE_OWNER_PASSWORD_SECRET"]) == (app, owner)
    assert ("AppDatabaseSecret" in made) is bool(app)


def test_the_proxy_knows_both_users_and_lets_them_in_by_token_alone() -> None:
    made = resources("prod")
    auth = made["DatabaseProxy"]["Properties"]["Auth"]
    secrets = {each["SecretArn"] for each in auth}
    assert secrets == {"local-AppDatabaseSecret-Id", "local-DatabaseSecret"}
    assert {each["IAMAuth"] for each in auth} == {"REQUIRED"}
    for secret, user in (("AppDatabaseSecret", "vms_app"), ("DatabaseSecret", "vms")):
        text = made[secret]["Properties"]["GenerateSecretString"]["SecretStringTemplate"]
        assert json.loads(text) == {"username": user}
    (policy,) = made["ProxyRole"]["Properties"]["Policies"]
    assert set(policy["PolicyDocument"]["Statement"][0]["Resource"]) == secrets


@pytest.mark.parametrize("shape", ["dev", "prod"])
def test_the_network_lets_only_secrets_through_that_functions_read(shape: str) -> None:
    made = resources(shape)
    (statement,) = made["SecretsEndpoint"]["Properties"]["PolicyDocument"]["Statement"]
    read = {
        value
        for name in functions()
        for key, value in made[name]["Properties"]["Environment"]["Variables"].items()
        if key in {"JWT_KEYS", "DATABASE_PASSWORD_SECRET", "DATABASE_OWNER_PASSWORD_SECRET"} and value
    }
    assert set(statement["Resource"]) == read


def test_only_the_function_without_a_route_may_what_an_operator_may() -> None:
    (operator,) = [name for name, directory in functions().items() if directory == "operator"]
    resource = source()["Resources"][operator]["Properties"]
    assert "Events" not in resource
    assert "FunctionUrlConfig" not in resource
    may_invoke = [
        found["Properties"]["FunctionName"]
        for found in transformed()["Resources"].values()
        if found["Type"] == "AWS::Lambda::Permission"
    ]
    assert not [each for each in may_invoke if operator in json.dumps(each)]
    for directory in functions().values():
        used = imported(ROOT / "functions" / directory / "app.py")
        assert any(module.startswith("vms.operator") for module in used) == (directory == "operator")


def of_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def asks_for_tokens(directory: str) -> bool:
    """Whether a route of the function wants a caller, or the function issues or checks tokens itself."""
    app = ROOT / "functions" / directory / "app.py"
    text = app.read_text("utf-8")
    return bool(re.search(r"who=Who\.(?!ANONYMOUS)", text)) or "vms.auth" in imported(app, through=False)


@cache
def imported(path: Path, *, through: bool = True) -> frozenset[str]:
    """The modules of the package vms that a file imports, and those that they import."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                module = ROOT / "layers" / "vms" / Path(*name.split(".")).with_suffix(".py")
                if name.startswith("vms.") and name not in found and module.is_file():
                    found.add(name)
                    waiting += [module] if through else []
    return frozenset(found)


REFUSED = {
    "no release": ({"Release": "unreleased"}, "make deploy"),
    "an existing database without a log-in": (EXISTING, "wants one of DatabasePasswordSecret and DatabaseUserResource"),
    "zones of an existing": ({**EXISTING, "Zones": "a,b"}, "without DatabaseUrl"),
    "class of an existing": ({**EXISTING, "DatabaseInstanceClass": "db.t4g.small"}, "without DatabaseUrl"),
    "groups of none": ({"SecurityGroupIds": "sg-1"}, "SubnetIds"),
    "user of none": ({"DatabaseUserResource": "db-A/vms"}, "existing database"),
    "two ways": ({**EXISTING, "DatabasePasswordSecret": SECRET, "DatabaseUserResource": "db-A/vms"}, "not both"),
    "secret of none": ({"DatabasePasswordSecret": SECRET}, "existing database"),
    "subnets of none": ({"SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"}, "existing database"),
    "snapshot of an existing": ({**EXISTING, "DatabaseSnapshot": "then"}, "without DatabaseUrl"),
    "protection of an existing": ({**EXISTING, "Protection": "true"}, "without DatabaseUrl"),
    "subnets alone": ({**EXISTING, "SubnetIds": "subnet-1"}, "SecurityGroupIds"),
    "groups alone": ({**EXISTING, "SecurityGroupIds": "sg-1"}, "SubnetIds"),
    "domain alone": ({"DomainName": "api.example.com"}, "CertificateArn"),
    "certificate alone": ({"CertificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/0a1b"}, "DomainName"),
    "zone alone": ({"HostedZoneId": "Z1"}, "HostedZoneId"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_combination_that_cannot_work_is_refused_with_its_reason(case: str) -> None:
    parameters, told = REFUSED[case]
    assert [text for text in broken_rules({"Release": "a" * 40, **parameters}) if told in text]


@every_shape
def test_a_shape_that_works_is_not_refused(shape: str) -> None:
    assert broken_rules({"Release": "a" * 40, **SHAPES[shape]}) == []
    refuse(SHAPES[shape])


def test_the_rules_use_only_what_rules_may_use() -> None:
    used = set(re.findall(r'"(Fn::\w+)"', json.dumps(source()["Rules"])))
    assert used <= {"Fn::And", "Fn::Or", "Fn::Not", "Fn::Equals"}  # CloudFormation, "Rules", supported functions


def test_every_parameter_has_a_default_is_plain_and_stands_in_one_group() -> None:
    parameters = source()["Parameters"]
    groups = source()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(parameters)
    assert [name for name, found in parameters.items() if found.get("NoEcho") or "Default" not in found] == []
    assert len(parameters) <= 26


def test_the_api_pays_for_no_metric_of_a_single_method() -> None:
    (stage,) = of_type("dev", "AWS::ApiGateway::Stage").values()
    assert [setting["MetricsEnabled"] for setting in stage["MethodSettings"]] == [False] * 3


@every_shape
def test_nothing_that_aws_writes_down_has_the_query_string_of_a_request(shape: str) -> None:
    """A playback URL's holds a token. API Gateway's own traces and logs of a request's execution have whole URLs."""
    (stage,) = of_type(shape, "AWS::ApiGateway::Stage").values()
    assert stage.get("TracingEnabled", False) is False
    assert {each["LoggingLevel"] for each in stage["MethodSettings"]} == {"OFF"}
    assert "query" not in stage["AccessLogSetting"]["Format"].lower()


def test_every_path_has_an_event_for_options_at_the_function_that_serves_it() -> None:
    functions: dict[str, dict[str, str]] = {}
    for name, found in source()["Resources"].items():
        for event in found.get("Properties", {}).get("Events", {}).values():
            if event["Type"] == "Api":
                functions.setdefault(event["Properties"]["Path"], {})[event["Properties"]["Method"]] = name
    for path, methods in functions.items():
        assert "OPTIONS" in methods, (
            f"{path} answers no preflight request of other origins: template.yaml wants an event with "
            f"Method: OPTIONS and Path: {path}, beside the path's others in {min(methods.values())}"
        )
        assert len(set(methods.values())) == 1, (
            f"{path} is served by {sorted(set(methods.values()))}, and none of them knows all of its methods"
        )


def test_a_level_of_a_path_has_one_variable_as_api_gateway_demands() -> None:
    """It refuses the API else: https://github.com/amazon-archives/aws-apigateway-importer/issues/202."""
    variables: dict[str, set[str]] = {}
    for path in transformed()["Resources"]["Api"]["Properties"]["Body"]["paths"]:
        levels = path.split("/")
        for depth, level in enumerate(levels):
            if level.startswith("{"):
                variables.setdefault("/".join(levels[:depth]), set()).add(level)
    assert len(variables) > 10
    assert {parent: names for parent, names in variables.items() if len(names) > 1} == {}


def test_a_film_with_its_headers_stays_below_what_lambda_streams() -> None:
    """200 MB, by whichever megabyte: Lambda developer guide, "Response streaming for Lambda functions"."""
    said = of_type("prod", "AWS::Lambda::Function")["StreamFunction"]["Environment"]["Variables"]
    assert said["STREAM_MODE"] == "stream"
    assert int(said["STREAM_MAX_BYTES"]) + 16 * 1024 < 200_000_000  # the prelude has at most 16 KiB
    # A buffered answer is a 500 where API Gateway streams: what only an emulator needs is no parameter.
    assert {"StreamMode", "S3EndpointUrl"} & source()["Parameters"].keys() == set()


def test_no_policy_of_a_function_comes_near_lambdas_limit() -> None:
    made = of_type("prod", "AWS::Lambda::Permission")
    sizes: dict[str, int] = {}
    for name, permission in made.items():
        statement = {
            "Sid": f"{'s' * 20}-{name}-{'x' * 13}",
            "Effect": "Allow",
            "Principal": {"Service": permission["Principal"]},
            "Action": permission["Action"],
            "Resource": f"arn:aws:lambda:ap-southeast-2:{ACCOUNT}:function:{'f' * 64}:live",
            "Condition": {"ArnLike": {"AWS:SourceArn": permission["SourceArn"]}},
        }
        function = permission["FunctionName"]
        sizes[function] = sizes.get(function, 0) + len(json.dumps(statement, separators=(",", ":"))) + 1
    # 20 KB: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    assert {function: size for function, size in sizes.items() if size > 15_000} == {}


@every_shape
def test_api_gateways_own_answers_are_open_to_other_origins_where_there_are_some(shape: str) -> None:
    ((_, api),) = of_type(shape, "AWS::ApiGateway::RestApi").items()
    answers = api["Body"]["x-amazon-apigateway-gateway-responses"]
    origins = {
        kind: found["responseParameters"].get("gatewayresponse.header.Access-Control-Allow-Origin")
        for kind, found in answers.items()
    }
    assert len(origins) > 10
    assert set(origins.values()) == ({"'*'"} if "CorsOrigins" in SHAPES[shape] else {None})
    assert "Access-Control-Allow-Credentials" not in json.dumps(api)


@pytest.mark.parametrize(
    ("shape", "more"),
    [
        ("dev", []),
        ("domain", ["https://api.example.com"]),
        ("notified", ["https://a.example", "https://b.example"]),
    ],
)
def test_the_bucket_takes_parts_from_the_console_and_from_the_listed_origins(shape: str, more: list[str]) -> None:
    (rule,) = of_type(shape, "AWS::S3::Bucket")["VideoBucket"]["CorsConfiguration"]["CorsRules"]
    assert rule["AllowedOrigins"] == [f"https://*.execute-api.{REGION}.amazonaws.com", *more]
    assert "PUT" in rule["AllowedMethods"]
    assert "Content-Type" in rule["AllowedHeaders"]
    assert "ETag" in rule["ExposedHeaders"]


def takes(name: str, text: str) -> bool:
    return bool(re.fullmatch(source()["Parameters"][name]["AllowedPattern"], text))


@pytest.mark.parametrize("origin", ["https://a.example", "http://a.example", "http://localhost", "https://127.0.0.1"])
@pytest.mark.parametrize(
    "port", ["", ":80", ":443", ":8443", ":65535", ":65536", ":*", ":0", ":080", ":x", "/", "/x", "?x", " ", ","]
)
@pytest.mark.parametrize("place", ["{}", "https://b.example,{}", "{},https://b.example"])
def test_the_parameter_of_origins_takes_what_the_setting_takes(origin: str, port: str, place: str) -> None:
    text = place.format(origin + port)
    try:
        CORS_ORIGINS.read({"CORS_ORIGINS": text})
        good = True
    except SettingError:
        good = False
    assert takes("CorsOrigins", text) is (good and " " not in text)


TAKEN = {
    "CorsOrigins": (["", "http://localhost:*"], ["*", "null", "https://A.example", "a.example", "https://*.a.example"]),
    "DatabaseUrl": (
        ["", "postgresql://vms@db.example.com/vms", "postgres://a@b:5432/c?sslmode=require&application_name=user"],
        [
            "postgresql://db/vms",
            "postgresql://vms@db",
            "postgresql://vms@db/",
            "postgresql://vms:secret@db/vms",
            "postgresql://vms@db/vms?password=secret",
            "postgresql://vms@db/vms?sslmode=require&password=secret",
            "postgresql://vms@db/vms?user=other",  # which the functions would be, too
            "postgresql://vms_app@db/vms",  # the functions' own user
            "postgresql://vms@db/v ms",
            'postgresql://vms@db/vms"',
            "mysql://vms@db/vms",
        ],
    ),
    "SubnetIds": (["subnet-1a,subnet-2b"], ["subnet-1a, subnet-2b", "subnet-1a,", "sg-1a"]),
    "SecurityGroupIds": (["sg-1"], ["subnet-1", "sg-1,sg-2,sg-3,sg-4,sg-5,sg-6"]),
    # RDS makes the name of a database lower case, and writes its logs under that.
    "DatabaseSnapshot": (["before-the-accident"], ["rds:then", "Then", "a--b", "a-", "1a"]),
    "Zones": (["eu-west-1a,eu-west-1b"], ["eu-west-1a", "eu-west-1a,eu-west-1a", "a,b,c"]),
    "VpcCidr": (["10.20.0.0/16", "192.168.4.0/24"], ["10.0.0.0/8", "10.20.0.0/25", "10.256.0.0/16", "10.20/16", "x"]),
    "DomainName": (["api.example.com"], ["example", "*.example.com", "API.example.com", "https://api.example.com"]),
    "CertificateArn": ([], ["arn:aws:iam::1:server-certificate/a"]),
    "WebAclArn": ([], ["arn:aws:wafv2:us-east-1:1:global/webacl/a/b"]),
    "AlarmTopicArn": ([], ["arn:aws:sqs:eu-west-1:1:a", f"{TOPIC}.fifo"]),  # alarms cannot tell FIFO topics
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_value_that_cannot_work_is_refused_before_anything_is_made(name: str) -> None:
    good, bad = TAKEN[name]
    assert [text for text in good if not takes(name, text)] == []
    assert [text for text in bad if takes(name, text)] == []
    for text in bad:
        with pytest.raises(DeployedError, match=name):
            refuse({name: text})


def test_the_database_logs_no_value_and_forgets_its_logs() -> None:
    parameters = of_type("dev", "AWS::RDS::DBParameterGroup")["DatabaseParameters"]["Parameters"]
    assert (parameters["log_parameter_max_length"], parameters["log_parameter_max_length_on_error"]) == ("0", "0")
    assert parameters["log_error_verbosity"] == "terse"  # a DETAIL shows the row that broke a constraint
    for shape in ("dev", "restored"):
        database, logs = of_type(shape, "AWS::RDS::DBInstance")["Database"], of_type(shape, "AWS::Logs::LogGroup")
        assert all(group["RetentionInDays"] for group in logs.values())
        (export,) = database["EnableCloudwatchLogsExports"]
        assert logs["DatabaseLogs"]["LogGroupName"] == f"/aws/rds/instance/{database['DBInstanceIdentifier']}/{export}"
    assert transformed()["Resources"]["Database"]["DependsOn"] == "DatabaseLogs"


def test_old_files_and_parts_of_uploads_go_after_some_days() -> None:
    rules = of_type("prod", "AWS::S3::Bucket")["VideoBucket"]["LifecycleConfiguration"]["Rules"]
    assert {rule["Id"]: rule["Status"] for rule in rules} == {
        "abort-incomplete-uploads": "Enabled",
        "expire-old-versions": "Enabled",
    }
    assert [rule["NoncurrentVersionExpiration"] for rule in rules if "NoncurrentVersionExpiration" in rule] == [
        {"NoncurrentDays": "90"}
    ]


def test_only_the_schedule_may_write_dead_letters() -> None:
    (statement,) = [
        each
        for each in transformed()["Resources"]["PlanExpiryDeadLettersPolicy"]["Properties"]["PolicyDocument"][
            "Statement"
        ]
        if each["Effect"] == "Allow"
    ]
    assert statement["Condition"] == {
        "ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["PlanExpiryFunctionSchedule", "Arn"]}}
    }


def monitoring(shape: str) -> dict[str, Any]:
    """The resources of the nested stack, with the parameters that this shape gives it."""
    template = yaml_parse((ROOT / "ops" / "monitoring.yaml").read_text("utf-8"))
    (nested,) = of_type(shape, "AWS::CloudFormation::Stack").values()
    assert nested["TemplateURL"] == "ops/monitoring.yaml"
    assert nested["Parameters"].keys() == template["Parameters"].keys()
    for name, value in nested["Parameters"].items():
        template["Parameters"][name]["Default"] = value
    return Resolver(template, REGION, ACCOUNT).resources()


def test_the_dashboard_names_every_function() -> None:
    body = json.loads(monitoring("dev")["Dashboard"]["Properties"]["DashboardBody"])
    for title in ("errors", "throttles", "running at the same time"):
        (metrics,) = [
            widget["properties"]["metrics"]
            for widget in body["widgets"]
            if widget["properties"]["title"] == f"Functions: {title}"
        ]
        assert {metric[-1] for metric in metrics} == {f"local-{name}" for name in functions()}


def test_alarms_follow_what_the_shape_makes() -> None:
    def alarms(shape: str) -> set[str]:
        return {name for name, found in monitoring(shape).items() if found["Type"] == "AWS::CloudWatch::Alarm"}

    assert alarms("prod") - alarms("dev") == {"ConnectionsAlarm"}
    assert alarms("dev") - alarms("password") == {"StorageAlarm"}
    for name, alarm in monitoring("notified").items():
        assert alarm["Properties"].get("AlarmActions", [TOPIC]) == [TOPIC], name
