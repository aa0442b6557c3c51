"""Deploys what `sam build` built with `sam deploy` to AWS_ENDPOINT_URL, through CloudFormation there.

template.yaml is deployed as it stands but for what an emulator cannot do, and all of that is in `emulated` and `settle`.
"""

import json
import os
import platform
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.session import get_session
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # has no types

from tests.environment import of_installer

ROOT = Path(__file__).parents[2]
NAME = "vms-emulator"
type Template = dict[str, Any]


class DeployError(Exception):
    """The deployment failed; the message is what `sam deploy` printed."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack: where its API answers, and its resources' physical ids by logical id."""

    url: str
    outputs: Mapping[str, str]
    resources: Mapping[str, str]


def client(service: str) -> Any:
    """A client of this service at AWS_ENDPOINT_URL."""
    return get_session().create_client(service)


def build(directory: Path) -> None:
    """Run `sam build` into `directory`. Raises `DeployError`."""
    _sam(
        "build",
        "--config-env",
        "emulator",
        "--build-dir",
        str(directory),
        "--template-file",
        str(ROOT / "template.yaml"),
    )


def deploy(built: Path, parameters: Mapping[str, str]) -> Stack:
    """Create the stack or update it, and wait.

    Raises:
        DeployError: it did not become complete; CloudFormation has rolled back.
    """
    settled = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))["emulator"]["deploy"]["parameters"]
    values = {**dict(each.split("=", 1) for each in settled["parameter_overrides"]), **parameters}
    template = emulated(yaml_parse((built / "template.yaml").read_text("utf-8")), values)
    path = built / "emulated.json"
    path.write_text(json.dumps(template, default=str))
    overrides = [f'{name}="{value}"' for name, value in values.items()]
    named = ("--stack-name", NAME, "--template-file", str(path))
    _sam("deploy", "--config-env", "emulator", "--no-progressbar", *named, "--parameter-overrides", *overrides)
    return settle(template)


def emulated(template: Template, parameters: Mapping[str, str]) -> Template:
    """The template as an emulator can take it.

    - Parameters become defaults: an emulator may transform SAM without the values that are given.
    - The stream's integration is a plain one, and its function then answers buffered.
    - Binary types with a plain slash; CloudFormation wants it escaped.
    - No alarms over several metrics.
    - The bucket takes plain HTTP, which is all that an emulator on 127.0.0.1 speaks: its policy would refuse the function.
    - The least bcrypt cost, for the suite makes hundreds of users.
    """
    for name, value in parameters.items():
        template["Parameters"][name]["Default"] = value
    resources = template["Resources"]
    for logical_id in [name for name, resource in resources.items() if "Metrics" in resource.get("Properties", {})]:
        del resources[logical_id]
    del resources["VideoBucketPolicy"]
    api = resources["Api"]["Properties"]
    api["BinaryMediaTypes"] = [kind.replace("~1", "/") for kind in api["BinaryMediaTypes"]]
    for resource in resources.values():
        for event in resource.get("Properties", {}).get("Events", {}).values():
            if event["Properties"].pop("ResponseTransferMode", None):
                del event["Properties"]["TimeoutInMillis"]
    template["Globals"]["Function"]["Environment"]["Variables"]["BCRYPT_COST"] = "4"
    return template


def settle(template: Template) -> Stack:
    """The stack as it stands, once its API has the gateway responses, which an emulator's import of OpenAPI drops."""
    cloudformation = client("cloudformation")
    (described,) = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=NAME)
    resources = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
    }
    api, stage = resources["Api"], template["Parameters"]["StageName"]["Default"]
    if _add_gateway_responses(api, template):
        client("apigateway").create_deployment(restApiId=api, stageName=stage)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    return Stack(f"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/{api}/{stage}", outputs, resources)


def _add_gateway_responses(api: str, template: Template) -> bool:
    """Whether some were not there."""
    gateway = client("apigateway")
    standing = {
        found["responseType"]
        for found in gateway.get_gateway_responses(restApiId=api)["items"]
        if not found.get("defaultResponse")
    }
    wanted = template["Resources"]["Api"]["Properties"]["GatewayResponses"]
    for kind in wanted.keys() - standing:
        headers = wanted[kind]["ResponseParameters"]["Headers"]
        gateway.put_gateway_response(
            restApiId=api,
            responseType=kind,
            statusCode=str(wanted[kind]["StatusCode"]),
            responseParameters={f"gatewayresponse.header.{name}": value for name, value in headers.items()},
            responseTemplates=wanted[kind]["ResponseTemplates"],
        )
    return not wanted.keys() <= standing


def _sam(*arguments: str) -> None:
    tools = Path(sys.executable).parent
    environment = of_installer(
        **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
        SAM_CLI_TELEMETRY="0",
        PATH=f"{tools}:{os.environ['PATH']}",
        PYTHON=sys.executable,  # the layers' Makefiles compile with it
        MACHINE=platform.machine(),
        NO_PROXY="127.0.0.1,localhost",  # the emulator is no business of a proxy's
        no_proxy="127.0.0.1,localhost",
    )
    command: list[str | Path] = [tools / "sam", *arguments, "--config-file", str(ROOT / "samconfig.toml")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DeployError(f"{done.stdout}\n{done.stderr}")
