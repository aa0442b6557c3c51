"""Hooks of schemathesis: what of a request no schema can say, and what a run must not do to its own user.

Loaded by name (SCHEMATHESIS_HOOKS) in the process of schemathesis. FUZZ_IDS is a JSON object of what the user of this
run may use: `own_user` and `own_corporation`, and lists of other `users` and of `videos` of the same corporation.
"""

import itertools
import json
import os
import uuid
from typing import Any

import schemathesis

from vms.canonical import name_key
from vms.schemas import INVISIBLE_PAST_FFFF

type Case = schemathesis.Case[Any]

NOBODY = 2**63 - 1
IDS = json.loads(os.environ.get("FUZZ_IDS", "{}"))
USERS, VIDEOS = itertools.cycle(IDS.get("users", [])), itertools.cycle(IDS.get("videos", []))


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: Case) -> bool:
    """Whether to send this at all. A query parameter that a route does not know is ignored, as everywhere."""
    known = {parameter.name for parameter in case.operation.query}
    return not case.query or set(case.query) <= known


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Case, **kwargs: Any) -> None:
    """Change a request before it is sent."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        say_what_no_schema_says(case)
        watch(case)
        if IDS:
            aim(case)
    spare_oneself(case)


def say_what_no_schema_says(case: Case) -> None:
    """Make a request that the schema allows one that the document's words allow too."""
    if case.query:
        case.query.pop("cursor", None)  # only a page gives one
        if not name_key(str(case.query.get("q", "x"))):
            case.query["q"] = "x"
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())  # under a key of an earlier request another body is refused
    body = case.body
    if not isinstance(body, dict):
        return
    for name in body.keys() & {"name", "email", "admin_email", "file_name"}:
        body[name] = INVISIBLE_PAST_FFFF.sub("x", str(body[name]))
    for name in ("password", "admin_password"):
        if name in body and len(str(body[name]).encode()) > 72:
            body[name] = "a good password"
    if len(str(body.get("file_path")).encode()) > 991 or not str(body.get("file_path", "x")).strip():
        body["file_path"] = "films/long.mp4"
    if operation_id(case) == "changeCorporation" and body.get("plan_expire_at"):
        body["plan"] = "PAID"  # alone it is refused where the plan is FREE by now


def watch(case: Case) -> None:
    """A poster is an image, no interval and no period ends before it starts, a zone has a name, a file a first part."""
    body: Any = case.body
    if case.query and "timezone" in case.query:
        case.query["timezone"] = "Asia/Seoul"
    if case.query and {"from", "to"} <= case.query.keys():
        case.query["from"], case.query["to"] = sorted([case.query["from"], case.query["to"]])
    match operation_id(case):
        case "putPoster":
            case.body = "RIFF\x12\0\0\0WEBPVP8L\6\0\0\0/\0\0\0\0\0"  # of ASCII, since schemathesis sends UTF-8
        case "signParts":
            body["numbers"] = [1]
        case "reportProgress" if "watched" in body:
            body["watched"] = [sorted(interval) for interval in body["watched"]]


def aim(case: Case) -> None:
    """Put ids that exist for those of chance, which would all be answered by 404."""
    name = operation_id(case)
    variables, body = case.path_parameters or {}, case.body
    found = {"user_id": next(USERS), "video_id": next(VIDEOS), "corporation_id": IDS["own_corporation"]}
    found["corporation"] = IDS["own_corporation"]
    found["user"] = found["user_id"]
    found["video"] = IDS["own_corporation"] if name == "listVideosOfCorporation" else found["video_id"]
    if name in {"getCorporationByName", "getUserByEmail"}:
        return
    for where in (variables, body):
        if isinstance(where, dict):
            where |= {key: found[key] for key in where.keys() & found.keys() if where[key] is not None}


def spare_oneself(case: Case) -> None:
    """Send changes and deletions of the own user or corporation to an id that does not exist: the run needs both."""
    variables = case.path_parameters or {}
    for name in ("user", "corporation"):
        spared = case.method == "DELETE" or (name == "user" and case.method == "PUT")
        if spared and name in variables and str(variables[name]) == str(IDS.get(f"own_{name}")):
            variables[name] = NOBODY


def operation_id(case: Case) -> str:
    """The `operationId` of the route that the request is for."""
    return str(case.operation.definition.raw["operationId"])
