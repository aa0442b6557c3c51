"""What the runner knows of a template: functions, routes, gateway responses and schedules. `local.sam` reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REGION = "us-east-1"
ACCOUNT = "000000000000"


class TemplateError(Exception):
    """The template cannot be used; the message says where and why."""


@dataclass(frozen=True)
class Function:
    """One Lambda function."""

    name: str  # the logical id
    function_name: str
    directory: Path
    handler: str
    timeout: float  # seconds
    memory_mb: int
    environment: Mapping[str, str]
    python_path: tuple[Path, ...]

    @property
    def arn(self) -> str:
        """The ARN that its context shows."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"

    def owns(self, path: Path) -> bool:
        """Whether a file is part of its code or of its layers."""
        return any(path.is_relative_to(directory) for directory in (self.directory, *self.python_path))


@dataclass(frozen=True)
class Route:
    """One method of one resource."""

    method: str  # upper case, or ANY
    path: str
    function: str = ""
    timeout: float = 29.0  # seconds
    streaming: bool = False


@dataclass(frozen=True)
class GatewayResponse:
    """What API Gateway says when it is not the function that answers."""

    status: int | None
    headers: Mapping[str, str]
    templates: Mapping[str, str]


@dataclass(frozen=True)
class Schedule:
    """What fires a function by the clock."""

    name: str
    function: str
    expression: str
    event: Mapping[str, Any] | None


@dataclass(frozen=True)
class Template:
    """What the runner serves."""

    functions: Mapping[str, Function]
    routes: tuple[Route, ...] = ()
    stage: str = "Prod"
    binary_media_types: tuple[str, ...] = ()
    gateway_responses: Mapping[str, GatewayResponse] = field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ()

    def function(self, name: str) -> Function:
        """The function of this logical id, directory name, or name. Raises `TemplateError`."""
        for function in self.functions.values():
            if name in {function.name, function.directory.name, function.function_name}:
                return function
        known = ", ".join(sorted(function.directory.name for function in self.functions.values()))
        raise TemplateError(f"there is no function {name}: the template has {known}")
