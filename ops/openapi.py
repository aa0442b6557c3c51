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
from vms.pages import FIRST

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "functions" / "service" / "openapi.json"
# The stream function does not use Powertools' resolver, to start faster; its two routes are described by hand.
STREAM = ROOT / "functions" / "stream" / "openapi.json"
INFO = {
    "title": "Video management server",
    "version": "1.0.0",
    "description": "Corporations, their members and their videos. Log in, press Authorize, and paste the access token."
    "\n\n"
    "An error is a problem document (RFC 9457): `type` names it, `instance` is the id of the request. Times are "
    "RFC 3339 in UTC. A list comes in pages, newest first: its `next_cursor` asks for the next one, and is null on the "
    "last. What belongs to another corporation answers 404, as if it did not exist. "
    "Fields that a body does not know are refused with 422.",
    "license": {"name": "MIT", "identifier": "MIT"},
}
BEARER = "An access token, as POST /v1/auth/login and /v1/auth/refresh give it."
PLAYBACK = (
    "A playback token, in the `url` that POST /v1/videos/{video}/playback gives to players, which cannot send an "
    "Authorization header."
)
# By a route's `x-who`.
WHO = {
    "anonymous": "For anybody, without a token.",
    "any": "For every member of the corporation.",
    "admin": "For admins of the corporation.",
    "admin, or self": "For admins of the corporation, and for the user itself.",
}
TEXT: dict[str, object] = {"type": "string"}
# "Amazon API Gateway important notes": the header comes by one of its two names.
RENAMED = "x-amzn-Remapped-WWW-Authenticate"
BYTES: dict[str, object] = {"type": "string", "format": "binary", "minLength": 1}
# The headers of an answer by its status, beside those that every answer has.
HEADERS: dict[str, dict[str, tuple[str, dict[str, object]]]] = {
    "302": {"Location": ("The URL of the documentation.", TEXT)},
    "401": {
        "WWW-Authenticate": (f"`Bearer` (RFC 6750 section 3). A REST API of AWS renames it to `{RENAMED}`.", TEXT),
        RENAMED: ("The same, as a REST API of AWS delivers it.", TEXT),
    },
    "416": {"Content-Range": ("`bytes */SIZE`, SIZE being the file's bytes.", TEXT)},
    "429": {"Retry-After": ("Seconds until the next try is heard.", {"type": "integer", "minimum": 0})},
    "503": {"Retry-After": ("Seconds after which to try again.", {"type": "integer", "minimum": 0})},
}
# Of an answer that may be a file.
FILE_HEADERS = {
    "Content-Disposition": {"description": "The file's name; of a file alone.", "schema": TEXT},
    "Link": {"description": "`rel=next`: the file with the rows after these, if there are more.", "schema": TEXT},
}
ETAG = {"description": "The entity tag of what is answered.", "required": True, "schema": TEXT}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETags: 304 if one of them is that of what would be answered.",
    "schema": TEXT,
}
NO_CONTENT = {"204", "302", "304"}

IDEMPOTENCY_KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "description": """A random key, such as a UUID, in double quotes or bare, under which this request may be sent again
within 24 hours: the change is made once, and the first successful answer is given again. A refused request may be sent
again under its key, changed or not. Another body or another route under a key with an answer is 422
(`urn:vms:error:idempotency-key-reused`). While the first request is still being served, a second one waits for its
answer. A key belongs to its user; those who have not logged in share one space of keys.""",
    "schema": {"type": "string", "pattern": f"^({idempotency.PATTERN})$"},
    "example": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
}


def load(group: str) -> ModuleType:
    """Import a function's app.py, under a name of its own, with settings that let it start anywhere."""
    os.environ.setdefault("DATABASE_URL", "postgresql://nobody@localhost/none")
    os.environ.setdefault("DATABASE_OWNER_URL", "postgresql://nobody@localhost/none")
    os.environ.setdefault("MIGRATIONS_DIR", str(ROOT / "sql" / "migrations"))
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
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": BEARER}
    playback = {"type": "apiKey", "in": "query", "name": "token", "description": PLAYBACK}
    merged: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "."}],
        "tags": [],
        "paths": {},
        "components": {
            "parameters": {"IdempotencyKey": IDEMPOTENCY_KEY},
            "schemas": {},
            "securitySchemes": {"bearer": bearer, "playback": playback},
        },
    }
    for path in sorted((ROOT / "functions").glob("*/app.py")):
        module = load(path.parent.name)
        if api := getattr(module, "api", None):
            tag = path.parent.name.replace("_", " ")
            merged["tags"].append({"name": tag, "description": (module.__doc__ or "").partition("\n\n")[0]})
            _merge(merged, _clean(json.loads(api.resolver.get_openapi_json_schema(**_arguments()))), tag)
    _merge(merged, json.loads(STREAM.read_text("utf-8")), "videos")
    for path_item in merged["paths"].values():
        for operation in path_item.values():
            _complete(operation)
    return _name_pages(merged)


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


def _say_conditional(operation: dict[str, Any]) -> None:
    given = any(parameter.get("in") == "header" for parameter in operation.get("parameters", ()))
    if "304" not in operation["responses"] or given:
        return  # the stream's are described by hand
    operation.setdefault("parameters", []).append(IF_NONE_MATCH)
    for status in ("200", "304"):
        operation["responses"][status].setdefault("headers", {})["ETag"] = ETAG


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _arguments() -> dict[str, Any]:
    return {"title": INFO["title"], "version": INFO["version"], "openapi_version": "3.1.0"}


def _merge(merged: dict[str, Any], part: dict[str, Any], tag: str) -> None:
    for path, operations in part["paths"].items():
        for operation in operations.values():
            operation["tags"] = [tag]
        merged["paths"].setdefault(path, {}).update(operations)
    for name, schema in part.get("components", {}).get("schemas", {}).items():
        if name in {"HTTPValidationError", "ValidationError", "ResponseValidationError"}:
            continue  # Powertools' own error shapes: this service answers problem documents
        known = merged["components"]["schemas"].setdefault(name, schema)
        if known != schema:
            raise ValueError(f"two functions mean different things by the schema {name}")


def _clean(node: Any) -> Any:
    """The same, without what pydantic and Powertools add of their own.

    A title that repeats a field's name goes; `ge` and `le` of parameters get their names in JSON Schema; bounds are
    whole numbers again.
    """
    if isinstance(node, list):
        return [_clean(each) for each in node]
    if not isinstance(node, dict):
        return node
    names = {"ge": "minimum", "le": "maximum"}
    cleaned = {names.get(key, key): _clean(value) for key, value in node.items()}
    if cleaned.keys() & {"type", "anyOf", "$ref"} and isinstance(cleaned.get("title"), str):
        del cleaned["title"]
    for bound in ("minimum", "maximum"):
        if isinstance(cleaned.get(bound), float):
            cleaned[bound] = min(int(cleaned[bound]), FIRST)  # the largest id is not a float: it came as 2^63
    return cleaned


def _complete(operation: dict[str, Any]) -> None:
    """Say of a route who may use it, its security, its answers' headers, and which answers have no body."""
    who = WHO[operation["x-who"]]
    operation["description"] = "\n\n".join(part for part in (operation.get("description"), who) if part)
    operation.setdefault("security", [] if operation["x-who"] == "anonymous" else [{"bearer": []}])
    if kinds := operation.pop("x-takes", ()):
        operation["requestBody"] = {"required": True, "content": {kind: {"schema": BYTES} for kind in kinds}}
    for kind in operation.pop("x-also-media", ()):
        operation["responses"]["200"]["content"][kind] = {"schema": TEXT}
        operation["responses"]["200"]["headers"] = dict(FILE_HEADERS)
    if operation.get("x-idempotent"):
        _say_idempotent(operation)
    _say_conditional(operation)
    for parameter in operation.get("parameters", ()):
        schema = parameter.get("schema", {})
        schema.pop("description", None)
        if "anyOf" in schema:  # a parameter that is not sent is not null
            parameter["schema"] = {**schema.pop("anyOf")[0], **schema}
    if body := operation.get("requestBody", {}).get("content", {}).get("application/json"):
        body["schema"].pop("default", None)
    for status, answer in operation["responses"].items():
        if status in NO_CONTENT:
            answer.pop("content", None)
        for name, (description, schema) in HEADERS.get(status, {}).items():
            header = {"description": description, "required": status != "401", "schema": schema}
            answer.setdefault("headers", {})[name] = header


def _name_pages(merged: dict[str, Any]) -> dict[str, Any]:
    """The document with names such as PageOfVideos for what is Page_Union_AdminVideo__Video__ to Powertools."""
    text = json.dumps(merged)
    for name in merged["components"]["schemas"]:
        if name.startswith("Page_"):
            item = name.rstrip("_").rpartition("_")[2]
            text = text.replace(f'/{name}"', f'/PageOf{item}s"').replace(f'"{name}":', f'"PageOf{item}s":')
    named: dict[str, Any] = json.loads(text)
    return named


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
