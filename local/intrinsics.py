"""CloudFormation's intrinsic functions, pseudo-parameters and conditions, resolved without an account.

What only a deployment can tell (Fn::GetAZs, Fn::ImportValue, ...) becomes a placeholder such as `local-getazs`.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_VARIABLE = re.compile(r"\$\{(!?)([^}]+)\}")
_NO_VALUE = object()


class Resolver:
    """Resolves values of one template."""

    def __init__(self, template: Mapping[str, Any], region: str, account: str) -> None:
        self._template = template
        self._resources: Mapping[str, Any] = template.get("Resources") or {}
        self._conditions: Mapping[str, Any] = template.get("Conditions") or {}
        self._region, self._account = region, account
        self.parameters: dict[str, Any] = {
            "AWS::Region": region,
            "AWS::AccountId": account,
            "AWS::Partition": "aws",
            "AWS::StackName": "local",
            "AWS::URLSuffix": "amazonaws.com",
        }
        for name, declared in (template.get("Parameters") or {}).items():
            default = declared.get("Default", f"local-{name}")
            if str(declared.get("Type", "")).startswith(("List<", "CommaDelimitedList")):
                default = [item.strip() for item in str(default).split(",")] if default != "" else []
            self.parameters[name] = default
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Condition": self.condition,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": lambda value: str(value[0]).join(str(item) for item in _list(self.value(value[1]))),
            "Fn::Select": lambda value: _list(self.value(value[1]))[int(self.value(value[0]))],
            "Fn::Split": lambda value: str(self.value(value[1])).split(str(value[0])),
            "Fn::If": lambda value: self._value(value[1] if self.condition(value[0]) else value[2]),
            "Fn::Equals": lambda value: str(self.value(value[0])) == str(self.value(value[1])),
            "Fn::And": lambda value: all(self.value(item) for item in value),
            "Fn::Or": lambda value: any(self.value(item) for item in value),
            "Fn::Not": lambda value: not self.value(value[0]),
            "Fn::FindInMap": self._find_in_map,
        }

    def resources(self) -> dict[str, Any]:
        """The resources whose condition holds, with their properties resolved."""
        return {
            name: self.value({key: value for key, value in resource.items() if key in {"Type", "Properties"}})
            | {"Name": name}
            for name, resource in self._resources.items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def value(self, value: Any) -> Any:
        """A value without intrinsic functions; what AWS::NoValue stands for is left out of its list or object."""
        resolved = self._value(value)
        return None if resolved is _NO_VALUE else resolved

    def condition(self, name: Any) -> bool:
        """Whether a condition holds; one that is not declared does not."""
        if isinstance(name, dict):
            return bool(self.value(name))
        return bool(self.value(self._conditions.get(name, False)))

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            if len(value) == 1:
                (name, argument), *_ = value.items()
                if name.startswith("Fn::") or name == "Ref" or (name == "Condition" and isinstance(argument, str)):
                    return self._call(name, argument)
            items = ((key, self._value(item)) for key, item in value.items())
            return {key: item for key, item in items if item is not _NO_VALUE}
        if isinstance(value, list):
            return [item for item in map(self._value, value) if item is not _NO_VALUE]
        return value

    def _call(self, name: str, argument: Any) -> Any:
        if name == "Ref" and argument == "AWS::NoValue":
            return _NO_VALUE
        try:
            return self._functions[name](argument)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            return f"local-{name.removeprefix('Fn::').lower()}"

    def _ref(self, name: str) -> Any:
        if name in self.parameters:
            return self.parameters[name]
        resource = self._resources.get(name) or {}
        match resource.get("Type"):
            case "AWS::Lambda::Function":
                return self._function_name(name)
            case "AWS::Lambda::Alias" | "AWS::Lambda::Version":
                properties = self.value(resource["Properties"])
                return f"{self._function_arn(properties['FunctionName'])}:{properties.get('Name', 1)}"
        return f"local-{name}"

    def _get_att(self, argument: Any) -> Any:
        name, _, attribute = (
            argument.partition(".") if isinstance(argument, str) else (argument[0], ".", self.value(argument[1]))
        )
        if (self._resources.get(name) or {}).get("Type") == "AWS::Lambda::Function" and attribute == "Arn":
            return self._function_arn(self._function_name(name))
        if attribute == "Arn" or attribute.endswith("Arn"):
            return f"arn:aws:local:{self._region}:{self._account}:{name}"
        return f"local-{name}-{attribute}"

    def _function_name(self, name: str) -> str:
        given = (self._resources[name].get("Properties") or {}).get("FunctionName")
        return str(self.value(given)) if given else f"local-{name}"

    def _function_arn(self, function_name: Any) -> str:
        return f"arn:aws:lambda:{self._region}:{self._account}:function:{function_name}"

    def _sub(self, argument: Any) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def fill(found: re.Match[str]) -> str:
            literal, name = found[1], found[2].strip()
            if literal:
                return "${" + name + "}"
            if name in variables:
                return str(self.value(variables[name]))
            resolved = self._get_att(name) if "." in name else self._ref(name)
            return ",".join(map(str, resolved)) if isinstance(resolved, list) else str(resolved)

        return _VARIABLE.sub(fill, text)

    def _find_in_map(self, argument: Any) -> Any:
        keys = [str(self.value(key)) for key in argument[1:3]]
        return self.value(self._template["Mappings"][str(self.value(argument[0]))][keys[0]][keys[1]])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
