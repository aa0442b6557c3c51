"""Reads template.yaml as CloudFormation does: by the public SAM translator, with the intrinsic functions resolved.

Parameters take their defaults, but for those that `load` is given. A reference to what only a deployment knows becomes
a harmless placeholder.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from local.files import read_json
from local.intrinsics import Resolver
from local.template import ACCOUNT, REGION, Function, GatewayResponse, Route, Schedule, Template, TemplateError

# API Gateway's default integration time-out.
INTEGRATION_MS = 29_000
_FUNCTION_IN_ARN = re.compile(r":function:([A-Za-z0-9_-]+)")


def load(path: Path, cache: Path | None = None, **parameters: str) -> Template:
    """Read the template; `cache` keeps its translation (seconds) while the file is the same. Raises `TemplateError`."""
    try:
        text = path.read_bytes()
    except OSError as failure:
        raise TemplateError(f"{path}: {failure.strerror}") from failure
    key = hashlib.sha256(text + version("aws-sam-translator").encode() + Path(__file__).read_bytes()).hexdigest()
    stored = cache / "template.json" if cache else None
    document = read_json(stored) if stored else {}
    if document.get("key") != key:
        document = _translate(path)
        if stored is not None:
            stored.write_text(json.dumps({"key": key, **document}))
    for name, value in parameters.items():
        document["translated"]["Parameters"][name]["Default"] = value
    return read(document["source"], document["translated"], path.parent)


def _translate(path: Path) -> dict[str, Any]:
    # The translator asks boto3 for a region, to know the partition. It makes no call.
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    # Untyped, and slow to import: a second or more that a cached translation saves.
    from samtranslator.model.exceptions import InvalidDocumentException  # type: ignore[import-untyped]
    from samtranslator.translator.transform import transform  # type: ignore[import-untyped]
    from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

    try:
        source = json.loads(json.dumps(yaml_parse(path.read_text()), default=str))
    except Exception as failure:  # yaml's errors have no common public base that is typed
        raise TemplateError(f"{path} is not YAML: {' '.join(str(failure).split())}") from failure
    if not isinstance(source, dict) or not isinstance(source.get("Resources"), dict):
        raise TemplateError(f"{path} has no Resources")
    sam = _with_remote_code(json.loads(json.dumps(source)))
    try:
        # Nothing here has a role: of managed policies (boto3 would ask IAM for them) there are none.
        translated = transform(sam, Resolver(source, REGION, ACCOUNT).parameters, SimpleNamespace(load=dict))
    except InvalidDocumentException as failure:
        causes = "; ".join(cause.message for cause in failure.causes)
        raise TemplateError(f"{path}: {causes or failure}") from failure
    return {"source": source, "translated": json.loads(json.dumps(translated))}


def _with_remote_code(template: dict[str, Any]) -> dict[str, Any]:
    """The translator takes only packaged code: local paths become S3 addresses here, and are read from the source."""
    resources = [each.get("Properties") for each in template["Resources"].values() if isinstance(each, dict)]
    for properties in [template.get("Globals", {}).get("Function"), *resources]:
        for name in ("CodeUri", "ContentUri"):
            if isinstance(properties, dict) and isinstance(properties.get(name), str):
                properties[name] = "s3://local/code"
    return template


def read(source: Mapping[str, Any], translated: Mapping[str, Any], root: Path) -> Template:
    """Make the runner's view of a translated template, whose code lies under `root`."""
    resolver = Resolver(translated, REGION, ACCOUNT)
    resources = resolver.resources()
    kinds: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, resource in resources.items():
        kinds.setdefault(resource["Type"], {})[name] = resource.get("Properties") or {}
    functions = {
        name: _function(name, properties, source, root)
        for name, properties in kinds.get("AWS::Lambda::Function", {}).items()
        if _code(source, name) is not None
    }
    rules = kinds.get("AWS::Events::Rule", {}) | kinds.get("AWS::Scheduler::Schedule", {})
    schedules = tuple(found for name, rule in rules.items() if (found := _schedule(name, rule, functions)) is not None)
    apis = kinds.get("AWS::ApiGateway::RestApi", {})
    if not apis:
        return Template(functions, schedules=schedules)
    if len(apis) > 1:
        raise TemplateError(f"one AWS::Serverless::Api is served, not {len(apis)}: {', '.join(apis)}")
    (properties,) = apis.values()
    body = properties.get("Body") or {}
    stage: Mapping[str, Any] = next(iter(kinds.get("AWS::ApiGateway::Stage", {}).values()), {})
    binary = properties.get("BinaryMediaTypes") or body.get("x-amazon-apigateway-binary-media-types") or []
    return Template(
        functions,
        routes=tuple(_routes(body, functions)),
        stage=str(stage.get("StageName", "Prod")),
        binary_media_types=tuple(str(kind).replace("~1", "/") for kind in binary),
        gateway_responses=_gateway_responses(body),
        schedules=schedules,
    )


def _code(source: Mapping[str, Any], name: str, key: str = "CodeUri") -> str | None:
    resource = source["Resources"].get(name) or {}
    value = resource.get("Properties", {}).get(key)
    if value is None and resource.get("Type") == "AWS::Serverless::Function":
        value = source.get("Globals", {}).get("Function", {}).get(key)
    return value if isinstance(value, str) and not value.startswith("s3://") else None


def _function(name: str, properties: Mapping[str, Any], source: Mapping[str, Any], root: Path) -> Function:
    directory = (root / str(_code(source, name))).resolve()
    if not directory.is_dir():
        raise TemplateError(f"{name}: there is no directory {directory}")
    paths = []
    for layer in properties.get("Layers") or []:
        # A layer's reference resolves to its logical id, to which the translator appends a hash of its content.
        paths += _layer_paths(str(layer).removeprefix("local-"), source, root)
    variables = (properties.get("Environment") or {}).get("Variables") or {}
    function_name = properties.get("FunctionName")
    return Function(
        name=name,
        function_name=str(function_name) if function_name else f"local-{name}",
        directory=directory,
        handler=str(properties.get("Handler", "app.lambda_handler")),
        timeout=float(properties.get("Timeout", 3)),
        memory_mb=int(properties.get("MemorySize", 128)),
        environment={key: _text(value) for key, value in variables.items()},
        python_path=tuple(paths),
    )


def _layer_paths(logical: str, source: Mapping[str, Any], root: Path) -> list[Path]:
    for name, resource in source["Resources"].items():
        named = re.fullmatch(rf"{re.escape(name)}[0-9a-f]{{0,10}}", logical)
        if named and resource.get("Type") == "AWS::Serverless::LayerVersion":
            directory = (root / str(_code(source, name, "ContentUri"))).resolve()
            return [path for path in (directory / "python", directory) if path.is_dir()]
    return []


def _routes(body: Mapping[str, Any], functions: Mapping[str, Function]) -> list[Route]:
    routes = []
    for path, methods in (body.get("paths") or {}).items():
        for method, operation in (methods or {}).items():
            integration = operation.get("x-amazon-apigateway-integration") if isinstance(operation, dict) else None
            if not integration:
                continue
            verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
            uri = str(integration.get("uri", ""))
            name = _named(uri, functions)
            if name is None:
                raise TemplateError(f"{verb} {path}: the integration {uri!r} is no function of this template")
            streaming = uri.endswith("/response-streaming-invocations")
            seconds = float(integration.get("timeoutInMillis") or INTEGRATION_MS) / 1000
            routes.append(Route(verb, path, name, seconds, streaming))
    return routes


def _gateway_responses(body: Mapping[str, Any]) -> dict[str, GatewayResponse]:
    found = body.get("x-amazon-apigateway-gateway-responses") or {}
    return {
        kind: GatewayResponse(
            int(response["statusCode"]) if response.get("statusCode") else None,
            _headers(response),
            {name: str(text) for name, text in (response.get("responseTemplates") or {}).items()},
        )
        for kind, response in found.items()
    }


def _headers(response: Mapping[str, Any]) -> dict[str, str]:
    parameters = (response.get("responseParameters") or {}).items()
    prefix = "gatewayresponse.header."
    return {name.removeprefix(prefix): str(value) for name, value in parameters if name.startswith(prefix)}


def _schedule(name: str, rule: Mapping[str, Any], functions: Mapping[str, Function]) -> Schedule | None:
    target = (rule.get("Targets") or [rule.get("Target") or {}])[0]
    function = _named(str(target.get("Arn", "")), functions)
    expression = rule.get("ScheduleExpression")
    if function is None or not expression or rule.get("State", "ENABLED") == "DISABLED":
        return None
    return Schedule(name, function, str(expression), json.loads(target["Input"]) if target.get("Input") else None)


def _named(arn: str, functions: Mapping[str, Function]) -> str | None:
    """The logical id of the function that an ARN or an integration's URI names; None if the template has none such."""
    found = _FUNCTION_IN_ARN.search(arn)
    names = {function.function_name: name for name, function in functions.items()}
    return names.get(found[1]) if found else None


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
