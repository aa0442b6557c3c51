"""Deploys what `sam build` built with `sam deploy` to AWS_ENDPOINT_URL, through CloudFormation there.

template.yaml is deployed as it stands but for what an emulator cannot do, and all of that is in `emulated` and
`settle`.
"""

import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from botocore.session import get_session
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # has no types

from local.intrinsics import Resolver
from local.runner import LOCAL_ORIGINS
from local.template import ACCOUNT, REGION
from ops import deploy as ops_deploy

NAME = "vms-emulator"
type Template = dict[str, Any]


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
    """Run `sam build` into `directory`, for this machine. Raises `DeployedError`."""
    architecture = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    ops_deploy.build(ops_deploy.environment("emulator", {}), architecture, directory)


def database_parameters(url: str) -> dict[str, str]:
    """How the stack is told of a database: its owner's URL without the password, which is a secret of its own."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@")).geturl()
    manager, name = client("secretsmanager"), f"database-{parts.port}"
    try:
        arn = manager.create_secret(Name=name, SecretString=json.dumps({"password": parts.password}))["ARN"]
    except ClientError:
        arn = manager.describe_secret(SecretId=name)["ARN"]
    return {"DatabaseUrl": bare, "DatabasePasswordSecret": arn}


def deploy(built: Path, parameters: Mapping[str, str], *, name: str = NAME, every: str = "rate(1 hour)") -> Stack:
    """Create the stack or update it as `make deploy` does, and wait. The plan expiry runs `every` so often.

    Raises:
        DeployedError: it did not become complete; CloudFormation has rolled back.
    """
    settings = {"SetsApiGatewayRole": "true", "CorsOrigins": LOCAL_ORIGINS, **parameters}
    target = ops_deploy.environment("emulator", settings, stack=name)
    path, original, sent = built / "template.yaml", built / "original.yaml", built / "sent.json"
    if not original.exists():
        shutil.copy(path, original)
    template = emulated(yaml_parse(original.read_text("utf-8")), target.parameters, every)
    path.write_text(json.dumps(template, default=str))
    standing = ops_deploy.ready(target)
    values = ops_deploy.parameters(target, standing)
    values["Release"] = ops_deploy.release(built, values)
    template["Parameters"]["Release"]["Default"] = values["Release"]
    sent.write_text(json.dumps(template, default=str))
    try:
        ops_deploy.submit(target, sent, values, first=standing is None)
    finally:
        sent.unlink()
    return settle(template, name)


def emulated(template: Template, parameters: Mapping[str, str], every: str) -> Template:
    """The template as an emulator can take it.

    - Parameters become defaults: an emulator may transform SAM without the values that are given.
    - The stream's integration is a plain one, and its function then answers buffered.
    - Binary types with a plain slash; CloudFormation wants it escaped.
    - No nested stack (the dashboard and the alarms that only notify) and no metric filter.
    - The bucket takes plain HTTP, which is all that an emulator on 127.0.0.1 speaks: its policy would refuse the
      function.
    - The least bcrypt cost, for the suite makes hundreds of users.
    """
    for name, value in parameters.items():
        template["Parameters"][name]["Default"] = value
    resources = template["Resources"]
    for logical_id in ("Monitoring", "FunctionErrors", "VideoBucketPolicy"):
        del resources[logical_id]
    api = resources["Api"]["Properties"]
    api["BinaryMediaTypes"] = [kind.replace("~1", "/") for kind in api["BinaryMediaTypes"]]
    for resource in resources.values():
        for event in resource.get("Properties", {}).get("Events", {}).values():
            if event["Properties"].pop("ResponseTransferMode", None):
                del event["Properties"]["TimeoutInMillis"]
    template["Globals"]["Function"]["Environment"]["Variables"]["BCRYPT_COST"] = "4"
    resources["StreamFunction"]["Properties"]["Environment"]["Variables"]["STREAM_MODE"] = "buffered"
    resources["PlanExpiryFunction"]["Properties"]["Events"]["Schedule"]["Properties"]["Schedule"] = every
    return template


def settle(template: Template, name: str) -> Stack:
    """The stack as it stands, once its API has the gateway responses, which an emulator's import of OpenAPI drops."""
    cloudformation = client("cloudformation")
    (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    resources = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
    }
    api, stage = resources["Api"], template["Resources"]["Api"]["Properties"]["StageName"]
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
    declared = template["Resources"]["Api"]["Properties"]["GatewayResponses"]
    wanted = Resolver(template, REGION, ACCOUNT).value(declared)
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
