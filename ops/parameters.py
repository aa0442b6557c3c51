"""What a caller sets for a deployment, and what template.yaml takes: its parameters' patterns and its rules.

CloudFormation checks the same, but only when the functions are built and uploaded.
"""

import copy
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.intrinsics import Resolver
from local.template import ACCOUNT, REGION
from ops.deployed import DeployedError

ROOT = Path(__file__).parents[1]


def given(words: str | Iterable[str]) -> dict[str, str]:
    """The parameters of a text `NAME=value NAME="two words"`, or of a list of such. Raises `DeployedError`."""
    text = words if isinstance(words, str) else " ".join(map(str, words))
    try:
        pairs = [word.partition("=") for word in shlex.split(text)]
    except ValueError:
        raise DeployedError("a quotation mark is not closed in the parameters: NAME=value NAME=value") from None
    if wrong := [name for name, equals, _ in pairs if not name or not equals]:
        raise DeployedError(f"parameters are given as NAME=value, not {wrong[0]!r}")
    return {name: value for name, _, value in pairs}


def known(values: dict[str, str]) -> dict[str, str]:
    """The values, if the template has all of these parameters. Raises `DeployedError`."""
    if unknown := sorted(values.keys() - _template()["Parameters"].keys()):
        raise DeployedError(f"template.yaml has no parameter {unknown[0]}")
    return values


def refuse(values: Mapping[str, str]) -> None:
    """Raise `DeployedError` where the template would refuse these values, with its sentence; never with a value.

    What it does not know is left out, such as a parameter of another release.
    """
    taken = {name: values[name] for name in _template()["Parameters"].keys() & values.keys() - {"Release"}}
    for name, value in sorted(taken.items()):
        if told := _wrong(_template()["Parameters"][name], value):
            raise DeployedError(f"{name} is not taken as it is: {told}")
    for told in broken_rules({**taken, "Release": "computed00"}):
        raise DeployedError(told)
    user, connects = urlsplit(taken.get("DatabaseUrl", "")).username, taken.get("DatabaseUserResource", "")
    if connects and connects.partition("/")[2] != user:
        raise DeployedError("DatabaseUserResource ends with another user than DatabaseUrl has")


def refuse_change(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise `DeployedError` where a stack would have to make its network or its database anew.

    CloudFormation makes the new one first, whose addresses or name the old one has, and fails; or an empty one.
    """
    if before.get("DatabaseUrl") or after.get("DatabaseUrl"):
        return
    for name in ("Zones", "VpcCidr"):
        if before.get(name) and after.get(name, before[name]) != before[name]:
            raise DeployedError(f"{name} stays as it is, because the stack's database is in that network")
    if (before.get("Size"), after.get("Size")) == ("prod", "dev"):
        raise DeployedError("a database of size prod does not become one of dev: make another stack, from a snapshot")
    if before.get("DatabaseSnapshot") and not after.get("DatabaseSnapshot"):
        raise DeployedError("DatabaseSnapshot stays as it is: without it, an empty database would take the place")


def broken_rules(values: Mapping[str, str]) -> list[str]:
    """What the template's rules say to these values, and to its defaults of the others."""
    template = copy.deepcopy(_template())
    for name, value in values.items():
        template["Parameters"][name]["Default"] = value
    resolver = Resolver(template, REGION, ACCOUNT)
    return [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if resolver.value(rule.get("RuleCondition", True))
        for assertion in rule["Assertions"]
        if not resolver.value(assertion["Assert"])
    ]


@cache
def _template() -> dict[str, Any]:
    from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # no types

    read = yaml_parse((ROOT / "template.yaml").read_text("utf-8"))
    return json.loads(json.dumps(read, default=str))  # type: ignore[no-any-return]


def _wrong(declared: Mapping[str, Any], value: str) -> str:
    """What the template says of a parameter whose value it does not take; empty for one that it takes."""
    if "AllowedValues" in declared:
        return "" if value in declared["AllowedValues"] else f"one of {', '.join(declared['AllowedValues'])}"
    if declared["Type"] == "Number":
        taken = bool(re.fullmatch(r"-?\d{1,9}", value, re.ASCII)) and int(value) >= declared["MinValue"]
        return "" if taken else f"a number, at least {declared['MinValue']}. {declared['Description']}"
    taken = bool(re.fullmatch(declared.get("AllowedPattern", ".*"), value, re.ASCII))
    return "" if taken else str(declared["Description"])
