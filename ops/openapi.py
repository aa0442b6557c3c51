"""Writes functions/service/openapi.json: one document for all functions, from their routes. Run by `make openapi`.

On AWS the service function cannot import the other functions, so the merged document is committed; a test fails when it
is not up to date.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from vms import idempotency

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "functions" / "service" / "openapi.json"
# The stream function does not use Powertools' resolver, to start faster; its two routes are described by hand.
STREAM = ROOT / "functions" / "stream" / "openapi.json"
INFO = {
    "title": "Video management server",
    "version": "1.0.0",
    "description": "Corporations, their members and their videos. Log in, press Authorize, and paste the access token.",
}

IDEMPOTENCY_KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "description": """A random key, such as a UUID, in double quotes or bare, under which this request may be sent again within 24 hours:
the change is made once, and the first successful answer is given again. A refused request may be sent again under its key, changed or not.
Another body or another route under a key with an answer is 422 (`urn:vms:error:idempotency-key-reused`). While the first request is still being
served, a second one waits for its answer. A key belongs to its user; those who have not logged in share one space of keys.""",
    "schema": {"type": "string", "pattern": f"^({idempotency.PATTERN})$"},
    "example": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
}


def load(group: str) -> ModuleType:
    """Import a function's app.py, under a name of its own, with settings that let it start anywhere."""
    os.environ.setdefault("DATABASE_URL", "postgresql://nobody@localhost/none")
    os.environ.setdefault("JWT_KEYS", json.dumps({"current": "none", "none": "-" * 32}))
    os.environ.setdefault("VIDEO_BUCKET", "none")
    os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "vms")
    os.environ.setdefault("POWERTOOLS_SERVICE_NAME", group)
    spec = importlib.util.spec_from_file_location(f"functions_{group}_app", ROOT / "functions" / group / "app.py")
    assert spec is not None  # noqa: S101 - the file is there
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def document() -> dict[str, Any]:
    """The merged OpenAPI 3.1 document. Its server URL is relative, so that it is right under any stage or domain."""
    merged: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "."}],
        "paths": {},
        "components": {
            "parameters": {"IdempotencyKey": IDEMPOTENCY_KEY},
            "schemas": {},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
    for path in sorted((ROOT / "functions").glob("*/app.py")):
        if api := getattr(load(path.parent.name), "api", None):
            part = json.loads(api.resolver.get_openapi_json_schema(**_arguments()))
            for operations in part["paths"].values():
                for operation in operations.values():
                    operation["tags"] = [path.parent.name.replace("_", " ")]
                    if operation.get("x-idempotent"):
                        _say_idempotent(operation)
            _merge(merged, part)
    _merge(merged, json.loads(STREAM.read_text("utf-8")))
    schemas = merged["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError", "ResponseValidationError"):
        schemas.pop(name, None)  # Powertools' own error shapes: this service answers problem documents
    return merged


def _say_idempotent(operation: dict[str, Any]) -> None:
    operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/IdempotencyKey"})
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            answer["headers"] = {
                idempotency.REPLAYED: {
                    "description": "`true` on an answer that is given again; absent on the first.",
                    "schema": {"type": "string", "enum": ["true"]},
                }
            }


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _arguments() -> dict[str, Any]:
    return {
        "title": INFO["title"],
        "version": INFO["version"],
        "security_schemes": _schemes(),
        "openapi_version": "3.1.0",
    }


def _schemes() -> dict[str, Any]:
    from aws_lambda_powertools.event_handler.openapi.models import HTTPBearer

    return {"bearer": HTTPBearer(bearerFormat="JWT")}


def _merge(merged: dict[str, Any], part: dict[str, Any]) -> None:
    for path, operations in part["paths"].items():
        merged["paths"].setdefault(path, {}).update(operations)
    for name, schema in part.get("components", {}).get("schemas", {}).items():
        known = merged["components"]["schemas"].setdefault(name, schema)
        if known != schema:
            raise ValueError(f"two functions mean different things by the schema {name}")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
