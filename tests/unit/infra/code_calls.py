"""Which AWS calls each function of the dispatcher can make, read off the source.

A call graph that follows types: `self._table.get()` leads to `SessionsTable.get` because the
constructor's parameter says so. A parameter without a type of ours that is named like a boto3
client (`dynamodb: Any`) is one. References count like calls, so a callback is followed too.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import botocore.session
from botocore import xform_name

ROOT = Path(__file__).parents[3]
CLIENTS = {
    "autoscaling", "cloudwatch", "dynamodb", "sqs", "ecs", "ec2", "kinesis", "logs", "s3",
    "scheduler", "secretsmanager", "sts",
}  # fmt: skip
AS_CLIENT = {"Any", "Callable[[], Any]"}
"""Types of parameters that are a client, or give one."""
IMPLEMENTATIONS = {
    "Observer[Session]": "SessionObserver",
    "Observer[Invocation]": "JobObserver",
    "Runs": "Invocations",
    "Stream": "RedisStream",
    "Wakes": "Clock",
}
"""Protocols, and what the wiring passes for them."""
GIVEN_BY = {
    "services": "Services",
    "relay": "Relay",
    "_jobs": "Jobs",
    "_schedules": "Schedules",
    "_sessions": "Sessions",
    "_grading": "GradingServices",
}
"""Functions of routes, and what they return."""
KINDS = ("SessionsKind", "JobsKind", "SchedulesKind", "GradingsKind")
"""The kinds of record that the sweep goes through; it calls all methods of them."""
HELD_BY_KINDS = (
    *(("HostsWanted", name) for name in ("members", "add_if_unchanged", "remove")),
    *(("UnreadableRecords", name) for name in ("log", "gauge", "marks")),
)

PARTS = {
    ("chalicelib.dynamodb.writes", "deleted"): "dynamodb:DeleteItem",
    ("chalicelib.dynamodb.writes", "unchanged"): "dynamodb:ConditionCheckItem",
}
"""Parts of transactions, with the action of each part."""

API = "chalicelib.api."
Node = tuple[str, str]
"""Class or module, and the function in it."""


@dataclass
class Code:
    functions: dict[Node, ast.FunctionDef] = field(default_factory=dict)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Class → attribute → name of its type, or of the boto3 client it is."""
    bases: dict[str, list[str]] = field(default_factory=dict)
    imported: dict[str, dict[str, str]] = field(default_factory=dict)
    home: dict[Node, str] = field(default_factory=dict)
    entries: dict[str, set[Node]] = field(default_factory=dict)
    """Function of the deployment → what it begins with."""


@cache
def read_code() -> Code:
    code = Code()
    for path in sorted((ROOT / "chalicelib").rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        tree = ast.parse(path.read_text("utf-8"))
        code.imported[module] = dict(_imports(tree))
        for statement in tree.body:
            if isinstance(statement, ast.FunctionDef):
                _add(code, module, module, statement)
            elif isinstance(statement, ast.ClassDef):
                _add_class(code, module, statement)
    for name in ("relay_records", "keep_feed_whole"):  # registered only for the fan-out feed
        code.entries[name] = {("chalicelib.api.feed", name)}
    code.entries["sweep"] |= {node for node in code.functions if node[0] in (*KINDS, "_Run")}
    code.entries["sweep"] |= set(HELD_BY_KINDS)
    return code


def actions_of(code: Code, function: str) -> set[str]:
    """`dynamodb:GetItem`, … that a function of the deployment can come to."""
    seen: set[Node] = set()
    waiting = list(code.entries[function])
    found: set[str] = set()
    while waiting:
        node = waiting.pop()
        if (bare_name(node[0]), node[1]) not in code.functions:
            waiting += [(base, node[1]) for base in code.bases.get(bare_name(node[0]), ())]
            continue
        if node in seen:
            continue
        seen.add(node)
        if node in PARTS:
            found.add(PARTS[node])
        for step in _steps(code, node):
            if step[0] in CLIENTS:
                found |= actions_of_call(*step)
            else:
                waiting.append(step)
    return found


def entry_points(code: Code) -> dict[str, frozenset[str]]:
    """The services' functions with which handlers begin, by qualified name; of each, the functions
    of the deployment whose handlers do.
    """
    found: dict[str, set[str]] = {}
    for function, nodes in code.entries.items():
        waiting, seen = [node for node in nodes if node[0].startswith(API)], set()
        while waiting:
            node = waiting.pop()
            if node in seen or node not in code.functions:
                continue
            seen.add(node)
            for step in _steps(code, node):
                if step[0].startswith(API):
                    waiting.append(step)
                else:
                    owner = _defined_in(code, step)
                    found.setdefault(f"{owner}.{step[1]}", set()).add(function)
    return {name: frozenset(functions) for name, functions in found.items()}


def _defined_in(code: Code, node: Node) -> str:
    """The class that defines a method: its own or a base of it."""
    owner = bare_name(node[0])
    if (owner, node[1]) in code.functions:
        return owner
    bases = (_defined_in(code, (base, node[1])) for base in code.bases.get(owner, ()))
    return next((base for base in bases if base), "")


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _add(code: Code, owner: str, module: str, function: ast.FunctionDef) -> None:
    node = (owner, function.name)
    code.functions[node], code.home[node] = function, module
    for decorator in function.decorator_list:
        if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
            continue
        if getattr(decorator.func.value, "id", "") != "routes":
            continue
        names = [k.value.value for k in decorator.keywords if k.arg == "name"]
        name = "api_handler" if decorator.func.attr == "route" else names[0]
        code.entries.setdefault(name, set()).add(node)


def _add_class(code: Code, module: str, definition: ast.ClassDef) -> None:
    if "Protocol" in {getattr(base, "id", "") for base in definition.bases}:
        return
    code.bases[definition.name] = list(map(ast.unparse, definition.bases))
    types = code.attributes.setdefault(definition.name, {})
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            types[statement.target.id] = _type_name(statement.annotation)
        if isinstance(statement, ast.FunctionDef):
            _add(code, definition.name, module, statement)
            if "cached_property" in map(ast.unparse, statement.decorator_list):
                types[statement.name] = _type_name(statement.returns)
            if statement.name == "__init__":
                types |= _attributes_of(statement)


def _attributes_of(constructor: ast.FunctionDef) -> dict[str, str]:
    arguments = [*constructor.args.args, *constructor.args.kwonlyargs]
    types = {a.arg: _type_name(a.annotation) for a in arguments if a.annotation}
    types |= {name: name for name, kind in types.items() if kind in AS_CLIENT and name in CLIENTS}
    found = {}
    for node in ast.walk(constructor):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
            continue
        if isinstance(node.value, ast.Name) and node.value.id in types:
            found[node.targets[0].attr] = types[node.value.id]
        elif isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
            found[node.targets[0].attr] = node.value.func.id  # made here: `self.x = Class(…)`
    return found


def _type_name(annotation: ast.expr) -> str:
    text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    return IMPLEMENTATIONS.get(str(text), str(text))


def steps_of_name(code: Code, module: str, name: str) -> Iterator[Node]:
    """The functions that a name in a module may refer to: one, or the constructor of a class."""
    home, _, target = code.imported[module].get(name, f"{module}.{name}").rpartition(".")
    yield home, target
    yield target, "__init__"


def _steps(code: Code, node: Node) -> Iterator[Node]:
    owner, name = node
    node = (bare_name(owner), name)
    for part in ast.walk(code.functions[node]):
        if isinstance(part, ast.Name):
            yield from steps_of_name(code, code.home[node], part.id)
        elif isinstance(part, ast.Attribute):
            kind = _type_of(code, owner, part.value)
            if kind is not None:
                yield kind, part.attr
        if isinstance(part, ast.Call):
            yield from _special(code, owner, part)


def _special(code: Code, owner: str, call: ast.Call) -> Iterator[Node]:
    """`x.get_paginator("query")` and `session.client("kinesis").f()` hide a call in a text."""
    if not isinstance(call.func, ast.Attribute):
        return
    if call.func.attr == "get_paginator":
        kind = _type_of(code, owner, call.func.value)
        yield str(kind), call.args[0].value
    inner = call.func.value
    if isinstance(inner, ast.Call) and getattr(inner.func, "attr", "") == "client":
        yield inner.args[0].value, call.func.attr


def _type_of(code: Code, owner: str, value: ast.expr) -> str | None:
    if isinstance(value, ast.Name) and value.id == "self":
        return owner
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        given = _type_of(code, owner, value.func)  # `self._scheduler()` where that gives a client
        return given if given in CLIENTS else None
    if isinstance(value, ast.Call):
        return GIVEN_BY.get(getattr(value.func, "id", ""))
    if isinstance(value, ast.Attribute):
        return attribute_of(code, _type_of(code, owner, value.value) or "", value.attr)
    return None


def attribute_of(code: Code, owner: str, name: str) -> str | None:
    """The type of an attribute, the class's own or inherited: of a `Store[Session]`, what is an
    `Observer[R]` in `Store` is an `Observer[Session]`.
    """
    own = code.attributes.get(bare_name(owner), {}).get(name)
    if own is not None:
        _, _, argument = owner.partition("[")
        own = own.replace("[R]", f"[{argument}") if argument else own
        return IMPLEMENTATIONS.get(own, own)
    inherited = (attribute_of(code, base, name) for base in code.bases.get(bare_name(owner), ()))
    return next((kind for kind in inherited if kind), None)


def bare_name(kind: str) -> str:
    """A type without its arguments."""
    return kind.partition("[")[0]


_session = botocore.session.get_session()
_operations: dict[str, dict[str, str]] = {}


def actions_of_call(service: str, method: str) -> set[str]:
    """Returns IAM's actions of a boto3 method;
    https://docs.aws.amazon.com/service-authorization/ .
    """
    if method in {"get_paginator", "generate_presigned_url", "__init__"}:
        return set()
    if service not in _operations:
        model = _session.get_service_model(service)
        _operations[service] = {xform_name(name): name for name in model.operation_names}
    operation = _operations[service][method]
    if operation == "TransactWriteItems":  # no action of its own: those of what is in it
        return {"dynamodb:PutItem", "dynamodb:UpdateItem"}
    if operation in {"RunTask", "StartTask"}:  # with tags
        return {f"ecs:{operation}", "ecs:TagResource", "iam:PassRole"}
    if operation == "RegisterTaskDefinition":
        return {f"ecs:{operation}", "iam:PassRole"}
    if operation == "AssumeRole":  # with tags
        return {"sts:AssumeRole", "sts:TagSession"}
    if service == "s3" and operation == "GetObject":  # else a missing object is a 403, not a 404
        return {"s3:GetObject", "s3:ListBucket"}
    if operation in {"CreateSchedule", "UpdateSchedule"}:
        return {f"scheduler:{operation}", "iam:PassRole"}
    return {f"{service}:{operation}"}
