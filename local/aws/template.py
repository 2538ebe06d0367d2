"""Reads a CloudFormation template: parameters, conditions and intrinsic functions. Pure.

Just as much of CloudFormation as infra/template.yaml needs for what exists on a laptop;
anything else is an error that names the place, never a guess.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with moto, without types


class TemplateError(ValueError):
    """The template uses something that is not understood here."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


def loader_of(parser: Any) -> Any:
    """A safe loader of PyYAML with CloudFormation's short forms: `!Sub x` is {"Fn::Sub": x}."""
    loader: Any = type("Loader", (parser,), {})
    loader.add_multi_constructor("!", _short_form)
    return loader


_LOADER = loader_of(getattr(yaml, "CSafeLoader", yaml.SafeLoader))
"""libyaml, if PyYAML has it, parses the template in a tenth of the time, at each start."""


def load_template(text: str) -> dict[str, Any]:
    """Parse a template in YAML or JSON."""
    document = yaml.load(text, _LOADER)
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateError("a template has Resources")
    return document


@dataclass(frozen=True)
class Place:
    """Region, account and stage of a template's resources."""

    region: str
    account: str
    stack: str


Attribute = Callable[[str, str | None], str]
"""Logical id and attribute (None for Ref) of a resource to its value."""

NO_VALUE = object()
"""AWS::NoValue: the property is missing."""

_IN_SUB = re.compile(r"\$\{(!?)([^}]+)\}")


class Resolver:
    """Resolves what is written in a template to plain values."""

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, Any],
        place: Place,
        attribute: Attribute,
    ) -> None:
        declared = template.get("Parameters", {})
        unknown = set(parameters) - set(declared)
        if unknown:
            raise TemplateError(f"no such parameters: {', '.join(sorted(unknown))}")
        self._names: dict[str, Any] = {
            "AWS::Region": place.region,
            "AWS::AccountId": place.account,
            "AWS::StackName": place.stack,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": NO_VALUE,
        }
        for name, declaration in declared.items():
            if name in parameters:
                self._names[name] = parameters[name]
            elif "Default" in declaration:
                self._names[name] = declaration["Default"]
        self._declared = set(declared)
        self._conditions = template.get("Conditions", {})
        self._resources = set(template["Resources"])
        self._attribute = attribute

    def exists(self, resource: Mapping[str, Any]) -> bool:
        """Whether the resource's condition holds."""
        return "Condition" not in resource or self._condition(resource["Condition"])

    def value(self, node: Any) -> Any:
        """`node` with every function in it carried out."""
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            name, argument = next(iter(node.items()))
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name, argument)
        values = {key: self.value(inner) for key, inner in node.items()}
        return {key: value for key, value in values.items() if value is not NO_VALUE}

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Ref":
            return self._ref(argument)
        if name == "Fn::GetAtt":
            logical, _, attribute = ".".join(argument).partition(".")
            return self._attribute(logical, attribute)
        if name == "Fn::Sub":
            return self._sub(argument)
        if name == "Fn::Join":
            return str(argument[0]).join(str(part) for part in self.value(argument[1]))
        if name == "Fn::If":
            return self.value(argument[1 if self._condition(argument[0]) else 2])
        raise TemplateError(f"{name} is not understood here")

    def _ref(self, name: str) -> Any:
        if name in self._names:
            return self._names[name]
        if name in self._declared:
            raise TemplateError(f"parameter {name} has no value")
        if name in self._resources:
            return self._attribute(name, None)
        raise TemplateError(f"Ref to {name}, which is neither a parameter nor a resource")

    def _sub(self, argument: Any) -> str:
        text, extra = argument if isinstance(argument, list) else (argument, {})

        def replace(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return f"${{{name}}}"
            if name in extra:
                return str(self.value(extra[name]))
            if "." in name and name not in self._names:
                logical, _, attribute = name.partition(".")
                return self._attribute(logical, attribute)
            return str(self._ref(name))

        return _IN_SUB.sub(replace, text)

    def _condition(self, node: Any) -> bool:
        if isinstance(node, str):
            if node not in self._conditions:
                raise TemplateError(f"no condition is called {node}")
            return self._condition(self._conditions[node])
        name, argument = next(iter(node.items()))
        if name == "Condition":
            return self._condition(argument)
        if name == "Fn::Equals":
            left, right = self.value(argument)
            return str(left) == str(right)
        if name == "Fn::Not":
            return not self._condition(argument[0])
        if name == "Fn::And":
            return all(self._condition(part) for part in argument)
        if name == "Fn::Or":
            return any(self._condition(part) for part in argument)
        raise TemplateError(f"condition {name} is not understood here")
