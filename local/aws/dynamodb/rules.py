"""Requests that DynamoDB refuses and moto would accept, or refuse with other messages. Pure.

%90
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from local.aws.dynamodb.conditions import check_condition, shown, tests_of
from local.aws.dynamodb.expressions import EXPRESSIONS, paths_of, references_of
from local.aws.dynamodb.keys import (
    Keys,
    Schema,
    TableKeys,
    check_index_key,
    check_item,
    check_key,
    check_start,
)
from local.aws.dynamodb.refusal import RuleError
from local.aws.dynamodb.values import check_values, size_of

BATCH_WRITES = 25
TRANSACTION_BYTES = 4 * 1024 * 1024
WRITES = ("ConditionCheck", "Put", "Update", "Delete")
CONDITIONS = ("KeyConditionExpression", "ConditionExpression", "FilterExpression")
WHERE_VALUES_GO = {
    "PutItem": "ConditionExpression is null",
    "DeleteItem": "ConditionExpression is null",
    "UpdateItem": "UpdateExpression and ConditionExpression are null",
    "Scan": "FilterExpression is null",
}
_ASSIGNED = re.compile(r"([#\w]+)\s*=\s*(:\w+)\s*(?=,|$|\b(?:SET|REMOVE|ADD|DELETE)\b)")


def check(
    action: str, parameters: Mapping[str, Any], schema: Schema, reserved: frozenset[str]
) -> None:
    """Raise RuleError for a request that AWS refuses. `reserved`: upper-case words."""
    _check_bounds(action, parameters)
    for kind, operation in _operations(action, parameters):
        _check_expressions(kind, operation, reserved)
        check_values(operation.get("Item"))
        _check_expression_values(operation.get("ExpressionAttributeValues") or {})
        found = schema(str(operation.get("TableName")))
        if found is not None:
            _check_keys(operation, found)
    if action in {"Query", "Scan"}:
        _check_read(action, parameters, schema)
    elif action == "BatchWriteItem":
        _check_batch(parameters, schema)
    elif action == "TransactGetItems":
        _check_transaction_reads(parameters)
    elif action == "TransactWriteItems":
        _check_transaction_size(parameters)


def _operations(
    action: str, parameters: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each single read or write of a request, as the call that would do it alone."""
    if action in {"TransactWriteItems", "TransactGetItems"}:
        for entry in parameters.get("TransactItems", ()):
            yield from ((f"{kind}Item", operation) for kind, operation in entry.items())
    elif action in {"BatchWriteItem", "BatchGetItem"}:
        for table, requests in parameters.get("RequestItems", {}).items():
            yield from _batched(table, requests)
    elif action in {"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"}:
        yield action, parameters


def _batched(table: str, requests: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(requests, Mapping):  # BatchGetItem
        rest = {name: value for name, value in requests.items() if name != "Keys"}
        for key in requests.get("Keys", ()):
            yield "GetItem", {"TableName": table, "Key": key, **rest}
        return
    for request in requests:
        for kind, operation in request.items():
            yield kind.replace("Request", "Item"), {"TableName": table, **operation}


# Bounds of requests.


def _check_bounds(action: str, parameters: Mapping[str, Any]) -> None:
    if action == "Query" and not {"KeyConditions", "KeyConditionExpression"} & parameters.keys():
        raise RuleError(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the "
            "request."
        )
    if action == "Scan":
        _check_segments(parameters.get("Segment"), parameters.get("TotalSegments"))
    if action == "TransactWriteItems":
        for entry in parameters.get("TransactItems", ()):
            if sum(kind in entry for kind in WRITES) != 1:
                raise RuleError(
                    "TransactItems can only contain one of Check, Put, Update or Delete"
                )


def _check_segments(segment: int | None, total: int | None) -> None:
    if segment is not None and total is not None and segment >= total:
        raise RuleError(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {total}"
        )


# Expressions and their placeholders.


def _check_expressions(kind: str, operation: Mapping[str, Any], reserved: frozenset[str]) -> None:
    """Each can be read, every placeholder is defined and used, no name is a reserved word."""
    values = operation.get("ExpressionAttributeValues") or {}
    names = operation.get("ExpressionAttributeNames") or {}
    found = [(one, operation[one]) for one in EXPRESSIONS if operation.get(one) is not None]
    _check_maps(kind, operation, bool(found))
    used: set[str] = set()
    for one, expression in found:
        try:
            used |= _check_expression(one, expression, names, values, reserved)
        except ValueError as error:
            raise RuleError(f"Invalid {one}: {error}") from None
    for what, given in (("Names", names), ("Values", values)):
        unused = sorted(given.keys() - used)
        if unused:
            raise RuleError(
                f"Value provided in ExpressionAttribute{what} unused in expressions: "
                f"keys: {{{', '.join(unused)}}}"
            )


def _check_maps(kind: str, operation: Mapping[str, Any], has_expressions: bool) -> None:
    for what, mark in (("Names", "#"), ("Values", ":")):
        name = f"ExpressionAttribute{what}"
        given = operation.get(name)
        if given is None:
            continue
        if not has_expressions:
            where = WHERE_VALUES_GO.get(kind) if what == "Values" else None
            detail = f": {where}" if where else ""
            raise RuleError(f"{name} can only be specified when using expressions{detail}")
        if not given:
            raise RuleError(f"{name} must not be empty")
        for key in given:
            if not re.fullmatch(rf"{mark}\w+", key):
                raise RuleError(f'{name} contains invalid key: Syntax error; key: "{key}"')


def _check_expression(
    kind: str,
    expression: str,
    names: Mapping[str, str],
    values: Mapping[str, Any],
    reserved: frozenset[str],
) -> set[str]:
    """The placeholders of one expression. Raises ValueError with the rest of the refusal."""
    if not expression.strip():
        raise RuleError("The expression can not be empty;")
    if kind in CONDITIONS:
        tests_of(expression)
    references = references_of(kind, expression)
    for word in references.bare_names:
        if word.upper() in reserved:
            raise RuleError(f"Attribute name is a reserved keyword; reserved keyword: {word}")
    for placeholder in sorted(references.name_placeholders - names.keys()):
        raise RuleError(
            "An expression attribute name used in the document path is not "
            f"defined; attribute name: {placeholder}"
        )
    for placeholder in sorted(references.value_placeholders - values.keys()):
        raise RuleError(
            "An expression attribute value used in expression is not "
            f"defined; attribute value: {placeholder}"
        )
    if kind in CONDITIONS:
        check_condition(expression, values, names)
    elif kind == "ProjectionExpression":
        _check_overlaps([tuple(names.get(n, n) for n in path) for path in paths_of(expression)])
    return {*references.name_placeholders, *references.value_placeholders}


def _check_overlaps(paths: list[tuple[str, ...]]) -> None:
    for number, path in enumerate(paths):
        for other in paths[number + 1 :]:
            length = min(len(path), len(other))
            if path[:length] == other[:length]:
                raise RuleError(
                    "Two document paths overlap with each other; must remove or rewrite one of "
                    f"these paths; path one: [{', '.join(path)}], path two: [{', '.join(other)}]"
                )


def _check_expression_values(values: Mapping[str, Any]) -> None:
    for placeholder, value in values.items():
        try:
            check_values({placeholder: value})
        except RuleError as error:
            raise RuleError(
                f"ExpressionAttributeValues contains invalid value: {error} for key {placeholder}"
            ) from None


# Keys.


def _check_keys(operation: Mapping[str, Any], found: TableKeys) -> None:
    if "Key" in operation:
        check_key(operation["Key"], found.table)
    if "Item" in operation:
        check_item(operation["Item"], found)
    names = operation.get("ExpressionAttributeNames") or {}
    values = operation.get("ExpressionAttributeValues") or {}
    for name, placeholder in _ASSIGNED.findall(operation.get("UpdateExpression") or ""):
        for index, keys in found.indexes.items():
            attribute = names.get(name, name)
            if attribute in keys and attribute not in found.table:
                check_index_key(attribute, values[placeholder], keys[attribute], index)


def _check_read(action: str, parameters: Mapping[str, Any], schema: Schema) -> None:
    if action == "Query" and "KeyConditionExpression" in parameters:
        expression = parameters["KeyConditionExpression"]
        operator = re.search(r"<>|\b(?:OR|NOT|IN)\b", expression, re.IGNORECASE)
        if operator:
            raise RuleError(
                f"Invalid operator used in KeyConditionExpression: {operator[0].upper()}"
            )
    found = schema(str(parameters.get("TableName")))
    if found is None:
        return
    keys = found.of(parameters.get("IndexName"))
    start = parameters.get("ExclusiveStartKey")
    if action == "Query":
        if "KeyConditionExpression" not in parameters:
            return
        _check_key_conditions(parameters, keys)
        _check_filter(parameters, keys)
    if start is not None:
        check_start(start, keys, found.table, is_scan=action == "Scan")
        if action == "Query":
            _check_partition(parameters, keys, start)


def _conditions(parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The comparisons of a key condition: attribute and value."""
    names = parameters.get("ExpressionAttributeNames") or {}
    values = parameters.get("ExpressionAttributeValues") or {}
    found = []
    for test in tests_of(parameters["KeyConditionExpression"]):
        name, *literals = test.operands
        if literals and literals[0] in values:
            found.append((names.get(name, name), values[literals[0]]))
    return found


def _check_key_conditions(parameters: Mapping[str, Any], keys: Keys) -> None:
    values = parameters.get("ExpressionAttributeValues") or {}
    for test in tests_of(parameters["KeyConditionExpression"]):
        if test.operator == "BETWEEN":
            low, high = (values[one] for one in test.operands[1:])
            if _order(low) > _order(high):
                raise RuleError(
                    "Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to "
                    "be greater than or equal to lower bound; lower bound operand: "
                    f"AttributeValue: {shown(low)}, "
                    f"upper bound operand: AttributeValue: {shown(high)}"
                )
    seen: set[str] = set()
    for name, value in _conditions(parameters):
        if name in seen:
            raise RuleError("KeyConditionExpressions must only contain one condition per key")
        seen.add(name)
        if name in keys and keys[name] not in value:
            raise RuleError(
                "One or more parameter values were invalid: Condition parameter type does not "
                "match schema type"
            )


def _order(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return Decimal(content) if kind == "N" else str(content).encode()


def _check_filter(parameters: Mapping[str, Any], keys: Keys) -> None:
    expression = parameters.get("FilterExpression")
    if not expression:
        return
    references = references_of("FilterExpression", expression)
    names = parameters.get("ExpressionAttributeNames") or {}
    wanted = {*references.bare_names, *(names[n] for n in references.name_placeholders)}
    for name in keys:
        if name in wanted:
            raise RuleError(
                "Filter Expression can only contain non-primary key attributes: "
                f"Primary key attribute: {name}"
            )


def _check_partition(parameters: Mapping[str, Any], keys: Keys, start: Mapping[str, Any]) -> None:
    partition = next(iter(keys))
    for name, value in _conditions(parameters):
        if name == partition and start[name] != value:
            raise RuleError(
                "The provided starting key is outside query boundaries based on provided conditions"
            )


# Batches and transactions.


def _check_batch(parameters: Mapping[str, Any], schema: Schema) -> None:
    requested = parameters.get("RequestItems", {})
    if sum(map(len, requested.values())) > BATCH_WRITES:
        raise RuleError("Too many items requested for the BatchWriteItem call")
    for table, requests in requested.items():
        found = schema(table)
        if found is None:
            continue
        items = [one.get("Item") or one.get("Key") for r in requests for one in r.values()]
        keys = [str([item.get(name) for name in found.table]) for item in items]
        if len(set(keys)) < len(keys):
            raise RuleError("Provided list of item keys contains duplicates")


def _check_transaction_reads(parameters: Mapping[str, Any]) -> None:
    wanted = [entry.get("Get", {}) for entry in parameters.get("TransactItems", ())]
    keys = [(one.get("TableName"), str(sorted(one.get("Key", {}).items()))) for one in wanted]
    if len(set(keys)) < len(keys):
        raise RuleError("Transaction request cannot include multiple operations on one item")


def _check_transaction_size(parameters: Mapping[str, Any]) -> None:
    """The message of this refusal is not documented: it is the text of the rule."""
    operations = _operations("TransactWriteItems", parameters)
    items = (operation.get("Item", {}) for _, operation in operations)
    if sum(size_of({"M": item}) for item in items) > TRANSACTION_BYTES:
        raise RuleError("The aggregate size of the items in the transaction cannot exceed 4 MB")
