"""What the guides say can be typed, and what they reckon with the template."""

import re
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.session import get_session

from ops.operator import VARIABLES
from tests.unit.test_template import monitoring, of_type, source, transformed

ROOT = Path(__file__).parents[2]
GUIDES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")])
CODE = [ROOT / "ops" / "account.py", ROOT / "ops" / "deploy.py", ROOT / "ops" / "destroy.py"]
# Commands of the AWS CLI that are no operation of a service.
OWN = {"configure", "sso", "s3", "tools"}
WORD = r"[a-z0-9][a-z0-9-]*"
AWS = re.compile(rf"\baws ({WORD}) (wait )?({WORD})((?: --{WORD}(?: (?!--)[^\s`\"]+)?)*)")


def aws_commands() -> list[Any]:
    found = []
    for path in [*GUIDES, *CODE]:
        text = re.sub(r'"\n\s+f?"', "", path.read_text("utf-8"))  # a text in two parts
        for service, wait, operation, options in AWS.findall(text):
            if service not in OWN:
                found.append(pytest.param(service, wait, operation, options, id=f"{path.name} {service} {operation}"))
    return found


@pytest.mark.parametrize(("service", "wait", "operation", "options"), aws_commands())
def test_a_command_of_the_aws_cli_exists_with_its_options(
    service: str, wait: str, operation: str, options: str
) -> None:
    session = get_session()
    model = session.get_service_model(service)
    if wait:
        waiters = session.get_waiter_model(service)
        waiter = next(name for name in waiters.waiter_names if xform_name(name, "-") == operation)
        operation = xform_name(waiters.get_waiter(waiter).operation, "-")
    name = next(name for name in model.operation_names if xform_name(name, "-") == operation)
    shape = model.operation_model(name).input_shape
    assert shape is not None
    given = {option.removeprefix("no-") for option in re.findall(rf"--({WORD})", options)}
    assert given <= {xform_name(member, "-") for member in shape.members}
    assert wait or {xform_name(member, "-") for member in shape.required_members} <= given


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_a_target_of_make_exists_and_so_does_an_action_of_the_operator(path: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = path.read_text("utf-8")
    said = re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )*make ([a-z][a-z0-9-]*)", text, re.MULTILINE)
    assert set(said) <= targets
    assert set(re.findall(r"make operator ACTION=([a-z-]+)", text)) <= VARIABLES.keys()


def test_what_set_is_given_is_a_parameter() -> None:
    for path in GUIDES:
        for text in re.findall(r'SET="([^"]*)"', path.read_text("utf-8")):
            assert {word.partition("=")[0] for word in text.split()} - {"…"} <= source()["Parameters"].keys(), path


def test_the_papers_on_cost_reckon_with_the_functions_that_there_are() -> None:
    """A GB-second of a snapshot is $0.0000015046 (aws.amazon.com/lambda/pricing), a month has 730 hours."""
    made = transformed(SnapStart="PublishedVersions")["Resources"].values()
    kept = [
        found["Properties"]["MemorySize"] / 1024
        for found in made
        if found["Type"] == "AWS::Lambda::Function" and found["Properties"].get("SnapStart") != {"ApplyOn": "None"}
    ]
    price = f"${sum(kept) * 0.0000015046 * 730 * 3600:.0f}"
    deploy, scaling = (
        " ".join((ROOT / "docs" / name).read_text("utf-8").split()) for name in ("deploy.md", "scaling.md")
    )
    assert len(kept) == 11
    assert f"{sum(kept):.1f} GB for the eleven functions that answer the API, {price} a month" in scaling
    assert f"adds about {price} while it is on" in deploy
    idle = re.search(r"\*\*idle\*\* \| \| \*\*(\$\d+)\*\* \| \*\*(\$\d+)\*\*", deploy)
    assert idle is not None
    assert f"{idle[1]} a month for `dev`, {idle[2]} for `prod`" in scaling


def test_the_table_of_costs_adds_up() -> None:
    text = (
        (ROOT / "docs" / "deploy.md").read_text("utf-8").partition("Per month:")[2].partition("A thousand members")[0]
    )
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    parts = [row for row in rows if re.search(r"\[\d\]$", row[0])]
    for column in (2, 3):
        said = {row[0]: float(row[column].strip("$")) for row in rows if row not in parts and "$" in row[column]}
        assert round(sum(float(row[column].strip("$")) for row in parts if row[column])) == said["idle"]
        assert said["together"] == said["idle"] + said["1,000 members, as below"]


def test_as_many_alarms_are_paid_for_as_there_are() -> None:
    for shape, count in (("dev", 6), ("prod", 8)):
        assert metrics_of_alarms(shape) == count
    assert "each of 6 and 8 metrics" in (ROOT / "docs" / "deploy.md").read_text("utf-8")


def metrics_of_alarms(shape: str) -> int:
    """Each metric that an alarm watches is billed as one."""
    nested = [found["Properties"] for found in monitoring(shape).values() if found["Type"] == "AWS::CloudWatch::Alarm"]
    alarms = [*of_type(shape, "AWS::CloudWatch::Alarm").values(), *nested]
    return sum(
        len([each for each in alarm.get("Metrics", [{"MetricStat": {}}]) if "MetricStat" in each]) for alarm in alarms
    )
