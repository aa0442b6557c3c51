"""What `make operator ACTION=…` does: one action of the function `operator`, of a stack or of the local runner.

What is asked is in variables of the environment, which is how make hands its own on: `VARIABLES` says which action
takes which. Without STACK the function runs here, through `make run` where that is on.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ops import deployed
from ops.deployed import DeployedError
from ops.find_request import find

ROOT = Path(__file__).parents[1]
type Invoke = Callable[[Mapping[str, Any]], dict[str, Any]]

# Action → the variables that it wants, and those that may be left out.
VARIABLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "list": ((), ("CONTAINS",)),
    "show": (("CORPORATION",), ()),
    "set-plan": (("CORPORATION", "PLAN"), ("UNTIL",)),
    "revoke-sessions": ((), ("MEMBER", "CORPORATION")),
    "who-watched": (("VIDEO",), ()),
    "export": (("CORPORATION",), ("FILE",)),
    "sql": (("SQL",), ("TIMEOUT", "FILE")),
    "purge-user": (("MEMBER",), ("YES",)),
    "purge-corporation": (("CORPORATION",), ("YES",)),
    "find-request": ((), ("ID", "MEMBER", "HOUR", "DAYS")),
}
# Variable → the event's field, and whether it is a number. A user is MEMBER, because shells set USER.
FIELDS = {
    "CONTAINS": ("name", False),
    "CORPORATION": ("corporation", True),
    "MEMBER": ("user", True),
    "VIDEO": ("video", True),
    "PLAN": ("plan", False),
    "UNTIL": ("until", False),
    "SQL": ("statement", False),
    "TIMEOUT": ("seconds", True),
}


def run(given: Mapping[str, str], output: TextIO, ask: Callable[[str], str] | None = None) -> None:
    """Do the action that `given` says and write its answer; `ask` puts a question to a person, if there is one.

    Raises:
        DeployedError: something is missing or wrong, nobody said yes to a purge, or the function refused.
    """
    action, stack = given.get("ACTION", ""), given.get("STACK", "")
    if action not in VARIABLES:
        raise DeployedError(f"which action? ACTION={' or '.join(VARIABLES)}")
    needed, optional = VARIABLES[action]
    if missing := [name for name in needed if not given.get(name)]:
        raise DeployedError(f"ACTION={action} wants {' and '.join(f'{name}=…' for name in missing)}")
    said = {name: given[name] for name in (*needed, *optional) if given.get(name)}
    if action == "revoke-sessions" and len(said) != 1:
        raise DeployedError(f"ACTION={action} wants MEMBER=… or CORPORATION=…, and not both")
    if action == "find-request":
        find(said, stack, Path(given.get("LOCAL_DIR") or ROOT / ".local") / "log", output)
        return
    event = {"action": action, **{FIELDS[name][0]: _value(name, text) for name, text in said.items() if name in FIELDS}}
    invoke: Invoke = (lambda asked: deployed.operate(stack, asked)) if stack else _invoke_here
    if action.startswith("purge-"):
        _purge(event, invoke, output, _agreed(said, event, stack, invoke, ask))
    elif "FILE" in said:
        _write_file(event, invoke, said["FILE"])
        output.write(f"written to {said['FILE']}\n")
    else:
        _write(event, invoke, output)


def _value(name: str, text: str) -> str | int:
    if name == "UNTIL":
        return _moment(text)
    if not FIELDS[name][1]:
        return text
    if not text.isascii() or not text.isdigit():
        raise DeployedError(f"{name} must be a number, not {text!r}")
    return int(text)


def _moment(text: str) -> str:
    """A day, which begins at midnight UTC, or a time with its offset, as RFC 3339 has it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DeployedError(f"UNTIL must be a day, 2027-01-31, or a time, 2027-01-31T12:00:00Z, not {text!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _agreed(
    said: Mapping[str, str], event: Mapping[str, Any], stack: str, invoke: Invoke, ask: Callable[[str], str] | None
) -> bool:
    """Whether a person has agreed to a purge: by YES=1, or by typing what is to go. Raises `DeployedError`."""
    if said.get("YES") == "1":
        return True
    if ask is None:
        raise DeployedError("a purge is for good: say YES=1")
    what = f"user {event.get('user')}"
    if "corporation" in event:
        account = invoke({"action": "show", "corporation": event["corporation"]})["account"]
        what = f"corporation {account['id']}, {account['name']}, with {account['members']} members and all its files"
    ident = str(event.get("corporation") or event["user"])
    answer = ask(f"This deletes {what} of {stack or 'the local service'} for good. Type {ident} to go on: ")
    if answer.strip() != ident:
        raise DeployedError("nothing was deleted")
    return True


def _purge(event: dict[str, Any], invoke: Invoke, output: TextIO, agreed: bool) -> None:
    """Invoke until nothing is left."""
    total: dict[str, int] = {}
    found = False
    while True:
        answer = invoke({**event, "yes": agreed})
        found = found or answer["found"]
        for name, count in {**answer["rows"], "objects": answer["objects"], "open uploads": answer["uploads"]}.items():
            total[name] = total.get(name, 0) + count
        if answer["done"]:
            break
        output.write(f"{sum(total.values())} rows and objects are gone; it goes on\n")
        output.flush()
    if not found and not any(total.values()):
        raise DeployedError(f"there is no {'corporation' if 'corporation' in event else 'user'} of this id")
    output.write("".join(f"{name:20} {count:>10}\n" for name, count in total.items() if count))


def _write(event: dict[str, Any], invoke: Invoke, output: TextIO) -> None:
    """Write an answer as a person reads it, or as a file has it; all pages of it."""
    while True:
        answer = invoke(event)
        match event["action"]:
            case "sql":
                output.write(answer["csv"])
                if answer["truncated"]:
                    print(f"only the first {answer['rows']} rows: add a LIMIT, or ask for less", file=sys.stderr)
            case "export":
                output.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in answer["lines"]))
            case "list" | "who-watched":
                output.write(_table(answer["items"], head="cursor" not in event))
            case _:
                output.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
        if not answer.get("next_cursor"):
            return
        event = {**event, "cursor": answer["next_cursor"]}


def _write_file(event: dict[str, Any], invoke: Invoke, name: str) -> None:
    """Write an answer to a file, which has its name when it is complete. Raises `DeployedError`."""
    path = Path(name)
    part = path if path.exists() and not path.is_file() else path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            _write(event, invoke, file)
        if part != path:
            part.replace(path)
    except OSError as failure:
        raise DeployedError(f"{name}: {failure.strerror}") from None


def _table(items: Sequence[Mapping[str, Any]], *, head: bool) -> str:
    """The items, a line each, in columns."""
    rows = [["-" if value is None else str(value) for value in item.values()] for item in items]
    if head and items:
        rows.insert(0, list(items[0]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)


def _invoke_here(event: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "local", "invoke", "operator", "-"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(event), stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise DeployedError("the local function did not answer; the reason is above")
    if done.returncode != 0:
        raise DeployedError(json.loads(done.stdout).get("errorMessage", done.stdout))
    return deployed.understood(done.stdout)
