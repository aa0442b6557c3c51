"""`make deploy CONFIG=dev` deploys the stack of an environment in samconfig.toml; `make protect` protects it."""

import hashlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.account import client, concurrency, delete, has_logs_role, plainly, region, stack, values_of
from ops.deployed import DeployedError
from ops.parameters import given, known, refuse, refuse_change

ROOT = Path(__file__).parents[1]
PYTHON = sys.version_info[:2]
CONFIG = ROOT / "samconfig.toml"
BUILT = ROOT / ".aws-sam" / "build"
# Architecture → what pip and uname call the machine, and what an ELF header does (e_machine).
MACHINES = {"x86_64": ("x86_64", 0x3E), "arm64": ("aarch64", 0xB7)}
# In these states a stack takes no update, and this is to be done about it.
STUCK = {
    "UPDATE_ROLLBACK_FAILED": "is stuck: aws cloudformation continue-update-rollback --stack-name {}",
    "DELETE_FAILED": "was deleted in part: aws cloudformation delete-stack --stack-name {}",
}
# A stack in one of these states was never complete: nothing in it was ever live, and it can only be deleted.
NEVER_LIVE = {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}


@dataclass(frozen=True)
class Environment:
    """What samconfig.toml says of one environment, with the parameters that the caller sets above its own."""

    name: str
    stack: str
    parameters: Mapping[str, str]


def environment(name: str, settings: Mapping[str, str], stack: str = "") -> Environment:
    """Read an environment; `stack` is another name for its stack.

    Raises:
        DeployedError: samconfig.toml has no such environment or is broken, or the template has no such parameter.
    """
    try:
        found = tomllib.loads(CONFIG.read_text("utf-8"))
        names = ", ".join(each for each in found if isinstance(found[each], dict) and "deploy" in found[each])
        if name not in names.split(", "):
            raise DeployedError(f"samconfig.toml has no environment {name!r}: make deploy CONFIG=… takes {names}")
        own = found[name]["deploy"]["parameters"].get("parameter_overrides", [])
        stack = stack or str(found[name]["global"]["parameters"]["stack_name"])
    except tomllib.TOMLDecodeError as failure:
        raise DeployedError(f"samconfig.toml: {failure}") from None
    except (KeyError, TypeError, AttributeError) as failure:
        raise DeployedError(f"samconfig.toml has no [{name}.global.parameters] with a stack_name: {failure}") from None
    return Environment(name, stack, known({**given(own), **settings}))


def deploy(target: Environment) -> str:
    """Check, build, deploy, and tell where everything is.

    Raises:
        DeployedError: the account is not ready, or a step failed; the message says what to do.
    """
    with plainly():
        standing = ready(target)
        values = parameters(target, standing)
        architecture = values.get("Architecture", "x86_64")
        build(target, architecture)
        check_wheels(BUILT, architecture)
        values["Release"] = release(BUILT, values)
        return submit(target, BUILT / "template.yaml", values, first=standing is None)


def ready(target: Environment) -> dict[str, Any] | None:
    """Check the account, and remove a stack that was never complete; the standing stack is answered.

    Raises `DeployedError`.
    """
    for note in check(target):
        print(f"note: {note}")
    standing = stack(target.stack)
    if standing and standing["StackStatus"] in NEVER_LIVE:
        print(f"The first deployment of {target.stack} failed. What it left behind is removed first.")
        delete(target.stack)
    return None if _is_new(standing) else standing


def _is_new(standing: Mapping[str, Any] | None) -> bool:
    """Whether nothing of the stack was ever live, so that its parameters say nothing."""
    return standing is None or standing["StackStatus"] in {*NEVER_LIVE, "REVIEW_IN_PROGRESS"}


def submit(target: Environment, template: Path, values: Mapping[str, str], *, first: bool) -> str:
    """Run `sam deploy` with a built template and these parameters; answers what `report` does.

    Raises `DeployedError`.
    """
    given = [f'{name}="{value}"' for name, value in values.items()]
    named = ("--template-file", str(template), "--stack-name", target.stack)
    _sam("deploy", "--config-env", target.name, *named, "--parameter-overrides", *given)
    return report(target, first=first)


def check(target: Environment) -> list[str]:
    """Whether this machine and this account can take the stack; answers what is worth knowing.

    Raises `DeployedError`.
    """
    if PYTHON != (3, 13):
        raise DeployedError(
            "Python 3.13 builds the layers, which .venv does not have: "
            "rm -rf .venv && make PYTHON_BIN=/path/to/python3.13 install"
        )
    account = client("sts").get_caller_identity()["Account"]
    print(f"Account {account}, region {region()}, stack {target.stack}.")
    standing = stack(target.stack)
    status = standing["StackStatus"] if standing else ""
    if status in STUCK:
        raise DeployedError(f"{target.stack} " + STUCK[status].format(target.stack))
    if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        raise DeployedError(f"{target.stack} is being changed ({status}): wait until that is over")
    standing_now = None if _is_new(standing) else standing
    held, values = values_of(standing_now), parameters(target, standing_now)
    refuse(values)
    refuse_change(held, values)
    if target.parameters.get("SetsApiGatewayRole") != "true" and not has_logs_role():
        raise DeployedError(
            "API Gateway has no role for its logs in this account and region. Once: "
            f'make deploy CONFIG={target.name} SET="SetsApiGatewayRole=true"'
        )
    return concurrency(int(values.get("StreamConcurrency", -1)), int(held.get("StreamConcurrency", -1)))


def build(target: Environment, architecture: str, directory: Path = BUILT) -> None:
    """Run `sam build` into `directory` for functions of this instruction set. Raises `DeployedError`."""
    _sam("build", "--config-env", target.name, "--build-dir", str(directory), MACHINE=MACHINES[architecture][0])


def check_wheels(built: Path, architecture: str) -> None:
    """Refuse a build whose packages are compiled for another machine than the functions'. Raises `DeployedError`."""
    wanted = MACHINES[architecture][1]
    for path in sorted(path for path in built.rglob("*.so*") if ".so" in path.suffixes):
        with path.open("rb") as file:
            found = int.from_bytes(file.read(20)[18:20], "little")
        if found != wanted:
            raise DeployedError(
                f"{path.name} is compiled for another machine than {architecture}: build again, by make deploy"
            )


def parameters(target: Environment, standing: Mapping[str, Any] | None) -> dict[str, str]:
    """The values of the next deployment: the stack's own, and above them the environment's."""
    values = values_of(standing)
    values.pop("Release", None)
    values |= {name: value for name, value in target.parameters.items() if name != "Release"}
    if "Protection" not in target.parameters:
        wanted = values.get("Size") == "prod" or values.get("Protection") == "true"  # by make protect, for dev too
        protects = standing is not None and wanted and not values.get("DatabaseUrl")
        values["Protection"] = "true" if protects else "false"
    return values


def release(built: Path, values: Mapping[str, str]) -> str:
    """Names what was built and the parameters: 40 hexadecimal digits, the same for the same sources and values.

    Protection is left out: it is the database's, and no function would be another for it.
    """
    from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # no types

    declared = yaml_parse((built / "template.yaml").read_text("utf-8")).get("Parameters", {})
    known = {name: str(each.get("Default", "")) for name, each in declared.items()} | dict(values)
    counted = sorted((name, value) for name, value in known.items() if name not in {"Release", "Protection"})
    digest = hashlib.sha256(repr(counted).encode())
    for path in sorted(built.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":  # compiled from what is counted, and not the same twice
            digest.update(f"\0{path.relative_to(built)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:40]


def report(target: Environment, *, first: bool) -> str:
    """Where everything is, and what comes next. Raises `DeployedError`."""
    found = stack(target.stack)
    if found is None:
        raise DeployedError(f"there is no stack {target.stack}")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    url = outputs["ApiUrl"]
    rows = {
        "console": f"{url}/console",
        "API": url,
        "documentation": f"{url}/docs",
        "dashboard": outputs["DashboardUrl"],
        "logs of functions": outputs["FunctionLogGroup"],
        "logs of requests": outputs["AccessLogGroup"],
        "logs of database": outputs.get("DatabaseLogGroup", ""),
        "bucket": outputs["VideoBucketName"],
    }
    following = f"open {url}/console and sign up"
    if first and values_of(found).get("Size") == "prod":
        following = f"make protect CONFIG={target.name}, so that nobody deletes it by mistake"
    rows["next"] = following
    return "\n".join(f"{name:18} {value}" for name, value in rows.items() if value)


def protect(target: Environment) -> str:
    """Keep the stack and the database that it made from being deleted. Raises `DeployedError`."""
    with plainly():
        standing = stack(target.stack)
        if standing is None:
            raise DeployedError(f"there is no stack {target.stack}")
        cloudformation = client("cloudformation")
        cloudformation.update_termination_protection(StackName=target.stack, EnableTerminationProtection=True)
        values = values_of(standing)
        if values["DatabaseUrl"] or values["Protection"] == "true":
            return f"{target.stack} is protected."
        cloudformation.update_stack(
            StackName=target.stack,
            UsePreviousTemplate=True,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": name, "ParameterValue": "true"}
                if name == "Protection"
                else {"ParameterKey": name, "UsePreviousValue": True}
                for name in values
            ],
        )
        cloudformation.get_waiter("stack_update_complete").wait(
            StackName=target.stack, WaiterConfig={"Delay": 5, "MaxAttempts": 360}
        )
        return f"{target.stack} and its database are protected."


def _sam(*arguments: str, **variables: str) -> None:
    """Run the SAM CLI in the project's directory; its output is the caller's. Raises `DeployedError`."""
    tools = Path(sys.executable).parent
    told = {
        **os.environ,
        "PATH": f"{tools}:{os.environ.get('PATH', '')}",
        "PYTHON": sys.executable,
        "SAM_CLI_TELEMETRY": "0",
    }
    command = [str(tools / "sam"), *arguments, "--config-file", str(ROOT / "samconfig.toml")]
    if subprocess.run(command, cwd=ROOT, env=told | variables, check=False).returncode != 0:
        raise DeployedError(f"sam {arguments[0]} failed; the reason is above")
