"""What the committed OpenAPI document says of the values that callers send is what the checks of vms.schemas take."""

import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from vms import schemas

DOCUMENT = json.loads((Path(__file__).parents[2] / "functions/service/openapi.json").read_text("utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def takes(kind: Any, value: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("model", "field", "kind"),
    [
        ("SignUp", "name", schemas.CorporationName),
        ("NewVideo", "name", schemas.VideoName),
        ("NewVideo", "file_path", schemas.FilePath),
        ("NewUser", "email", schemas.Email),
        ("LogIn", "email", schemas.GivenEmail),
    ],
)
def test_the_pattern_of_the_document_is_the_check(model: str, field: str, kind: Any) -> None:
    valid = jsonschema_rs.Draft202012Validator(SCHEMAS[model]["properties"][field]).is_valid
    parts = st.sampled_from(
        ["a", "é", ".", "..", "/", "\\", "@", " ", "\u3000", "\u200d", "\u2028", "\u00ad", "\n", "\u0085", "\ue000"]
    )

    @given(st.lists(parts, max_size=8).map("".join))
    @example("a" * 254 + "@b.c")
    @example("x" * 1025)
    @example("\u0915\u093c" * 100)
    @example("a@b.c")
    def compare(text: str) -> None:
        if field == "file_path" and not text.strip():
            return  # "not blank" is in the description
        assert takes(kind, text) == valid(text), text

    compare()


def test_invisible_characters_are_those_of_unicode_but_for_the_joiners() -> None:
    hidden = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) in INVISIBLE and character not in "\u200c\u200d"
    ]
    visible = [
        character for character in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(character)[0] in "LMNPS"
    ]
    name = re.compile(schemas.NAME_PATTERN)

    def taken(character: str) -> bool:
        return bool(name.fullmatch(f"a{character}a")) and not schemas.INVISIBLE_PAST_FFFF.search(character)

    assert not [character for character in hidden if taken(character)]
    assert all(map(taken, visible))


def test_every_operation_has_a_name_of_its_own_and_says_who_may() -> None:
    names = [operation["operationId"] for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", name) for name in names)
    assert all("For " in operation["description"] for operation in OPERATIONS)
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {tag for operation in OPERATIONS for tag in operation["tags"]}


def test_what_comes_beside_json_says_its_headers_and_bytes_are_bytes() -> None:
    poster = DOCUMENT["paths"]["/v1/videos/{video}/poster"]["get"]
    assert [parameter["name"] for parameter in poster["parameters"]] == ["video", "If-None-Match"]
    assert all(poster["responses"][status]["headers"].keys() == {"ETag"} for status in ("200", "304"))
    for kind in ("application/octet-stream", "image/jpeg", "image/webp"):
        assert poster["responses"]["200"]["content"][kind]["schema"] == {"type": "string", "format": "binary"}
    for name in ("videos", "members", "views"):
        answer = DOCUMENT["paths"][f"/v1/reports/{name}"]["get"]["responses"]["200"]
        assert answer["headers"].keys() == {"Content-Disposition", "Link"}
        assert answer["content"].keys() == {"application/json", "text/csv"}


def test_every_body_has_an_example_that_its_schema_takes_and_a_put_wants_a_field() -> None:
    for path in DOCUMENT["paths"].values():
        for method, operation in path.items():
            if "application/json" not in (content := operation.get("requestBody", {}).get("content", {})):
                continue  # none, or an image
            model = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            validator = jsonschema_rs.Draft202012Validator({**DOCUMENT, "$ref": f"#/components/schemas/{model}"})
            assert SCHEMAS[model]["examples"], model
            assert all(validator.is_valid(one) for one in SCHEMAS[model]["examples"]), model
            assert method != "put" or not validator.is_valid({}), model


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (
            "SignUp",
            {
                "name": "a",
                "admin_email": "a@b.c",
                "admin_password": "12345678",
                "plan_expire_at": "2040-01-01T00:00:00Z",
            },
        ),
        ("CorporationChange", {"plan": "FREE", "plan_expire_at": "2040-01-01T00:00:00Z"}),
        ("UserChange", {"current_password": "12345678"}),
        ("NewUser", {"email": "a@b.c", "password": "12345678", "point": False}),
    ],
)
def test_what_is_always_refused_is_so_in_the_document(model: str, body: dict[str, object]) -> None:
    assert not jsonschema_rs.Draft202012Validator({**DOCUMENT, "$ref": f"#/components/schemas/{model}"}).is_valid(body)
