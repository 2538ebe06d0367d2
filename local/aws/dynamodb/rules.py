"""Requests that DynamoDB refuses and moto would take, with AWS's words. Pure.

Sources: the API reference of DynamoDB (Query, BatchWriteItem, TransactWriteItems), "Quotas" and
"Constraints" of its developer guide. What moto refuses by itself (reserved words in other
expressions, unused names, empty keys, items of more than 400 KB, transactions of more than 100
items or with two operations on one, BatchGetItem's bounds, pages of 1 MB) is left to it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from local.aws.dynamodb.expressions import EXPRESSIONS, references_of

Keys = Mapping[str, str]
"""The key attributes of a table or an index, the partition key first, with their types."""
Schema = Callable[[str, str | None], Keys | None]
"""The keys of a table, or of an index of it; None where there is none."""

BATCH_WRITES = 25
TRANSACTION_BYTES = 4 * 1024 * 1024
DIGITS = 38
LARGEST = Decimal("9.9999999999999999999999999999999999999e125")
_BETWEEN = re.compile(r"([#\w]+)\s+BETWEEN\s+(:\w+)\s+AND\s+(:\w+)", re.IGNORECASE)
_COMPARED = re.compile(r"(?:begins_with\s*\(\s*)?([#\w]+)\s*(?:,|<=|>=|=|<|>)\s*(:\w+)")


class RuleError(ValueError):
    """The words of a ValidationException."""


def check(
    action: str, parameters: Mapping[str, Any], schema: Schema, reserved: frozenset[str]
) -> None:
    """Raise RuleError for a request that AWS refuses. `reserved`: upper-case words."""
    for operation in _operations(action, parameters):
        _check_placeholders(operation)
        _check_numbers(operation.get("Item"))
        _check_numbers(operation.get("ExpressionAttributeValues"))
    if action == "Query" and "KeyConditionExpression" in parameters:
        _check_query(parameters, schema, reserved)
    elif action == "BatchWriteItem":
        _check_batch(parameters)
    elif action == "TransactWriteItems":
        _check_transaction_size(parameters)


def _operations(action: str, parameters: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if action == "TransactWriteItems":
        for entry in parameters.get("TransactItems", ()):
            yield from entry.values()
    elif action == "BatchWriteItem":
        for requests in parameters.get("RequestItems", {}).values():
            for request in requests:
                yield request.get("PutRequest", {})
    elif action in {"PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"}:
        yield parameters


def _check_placeholders(operation: Mapping[str, Any]) -> None:
    """Every placeholder is defined, every value is used."""
    values = operation.get("ExpressionAttributeValues") or {}
    names = operation.get("ExpressionAttributeNames") or {}
    used: set[str] = set()
    found = [(kind, operation[kind]) for kind in EXPRESSIONS if operation.get(kind)]
    for kind, expression in found:
        references = _references(kind, expression)
        used |= references.value_placeholders
        for placeholder in sorted(references.name_placeholders - names.keys()):
            raise RuleError(
                f"Invalid {kind}: An expression attribute name used in the document path is not "
                f"defined; attribute name: {placeholder}"
            )
        for placeholder in sorted(references.value_placeholders - values.keys()):
            raise RuleError(
                f"Invalid {kind}: An expression attribute value used in expression is not "
                f"defined; attribute value: {placeholder}"
            )
    if values and not found:
        raise RuleError("ExpressionAttributeValues can only be specified when using expressions")
    unused = sorted(values.keys() - used)
    if unused:
        raise RuleError(
            "Value provided in ExpressionAttributeValues unused in expressions: "
            f"keys: {{{', '.join(unused)}}}"
        )


def _references(kind: str, expression: str) -> Any:
    try:
        return references_of(kind, expression)
    except ValueError as error:
        raise RuleError(f"Invalid {kind}: {error}") from None


def _check_numbers(values: Any) -> None:
    """38 digits, up to 9.9…E+125; what moto checks too is left to it."""
    for text in _numbers({"M": values or {}}):
        try:
            number = Decimal(text)
        except InvalidOperation:
            continue
        if len("".join(map(str, number.as_tuple().digits)).strip("0")) > DIGITS:
            raise RuleError("Attempting to store more than 38 significant digits in a Number")
        if abs(number) > LARGEST:
            raise RuleError(
                "Number overflow. Attempting to store a number with magnitude larger than "
                "supported range"
            )


def _numbers(value: Mapping[str, Any]) -> Iterator[str]:
    for kind, content in value.items():
        if kind == "N":
            yield str(content)
        elif kind == "NS":
            yield from map(str, content)
        elif kind in {"L", "M"}:
            for inner in content.values() if kind == "M" else content:
                yield from _numbers(inner)


def _check_query(parameters: Mapping[str, Any], schema: Schema, reserved: frozenset[str]) -> None:
    expression = parameters["KeyConditionExpression"]
    for word in _references("KeyConditionExpression", expression).bare_names:
        if word.upper() in reserved:
            raise RuleError(
                "Invalid KeyConditionExpression: Attribute name is a reserved keyword; "
                f"reserved keyword: {word}"
            )
    operator = re.search(r"<>|\b(?:OR|NOT|IN)\b", expression, re.IGNORECASE)
    if operator:
        raise RuleError(f"Invalid operator used in KeyConditionExpression: {operator[0].upper()}")
    keys = schema(str(parameters.get("TableName")), parameters.get("IndexName"))
    if keys is None:
        return
    _check_key_conditions(expression, parameters, keys)
    _check_filter(parameters, keys)
    _check_start(parameters, keys, schema)


def _conditions(expression: str, parameters: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """What a key condition compares: attribute, placeholder, value."""
    names = parameters.get("ExpressionAttributeNames") or {}
    values = parameters["ExpressionAttributeValues"]
    between = [(name, low) for name, low, _ in _BETWEEN.findall(expression)]
    rest = _BETWEEN.sub("", expression)
    pairs = between + _COMPARED.findall(rest)
    return [(names.get(name, name), value, values[value]) for name, value in pairs]


def _check_key_conditions(expression: str, parameters: Mapping[str, Any], keys: Keys) -> None:
    values = parameters.get("ExpressionAttributeValues") or {}
    for _, low, high in _BETWEEN.findall(expression):
        if _order(values[low]) > _order(values[high]):
            shown = [
                f"AttributeValue: {{{k}:{v}}}" for p in (low, high) for k, v in values[p].items()
            ]
            raise RuleError(
                "Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be "
                "greater than or equal to lower bound; "
                f"lower bound operand: {shown[0]}, upper bound operand: {shown[1]}"
            )
    seen: set[str] = set()
    for name, _, value in _conditions(expression, parameters):
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
    references = _references("FilterExpression", expression)
    names = parameters.get("ExpressionAttributeNames") or {}
    wanted = {*references.bare_names, *(names[n] for n in references.name_placeholders)}
    for name in keys:
        if name in wanted:
            raise RuleError(
                "Filter Expression can only contain non-primary key attributes: "
                f"Primary key attribute: {name}"
            )


def _check_start(parameters: Mapping[str, Any], keys: Keys, schema: Schema) -> None:
    """A start key has the keys of index and table, and the partition that is asked for."""
    start = parameters.get("ExclusiveStartKey")
    if start is None:
        return
    wanted = {**keys, **(schema(str(parameters.get("TableName")), None) or {})}
    if start.keys() != wanted.keys() or any(wanted[name] not in start[name] for name in wanted):
        raise RuleError("The provided starting key is invalid")
    partition = next(iter(keys))
    for name, _, value in _conditions(parameters["KeyConditionExpression"], parameters):
        if name == partition and start[name] != value:
            raise RuleError(
                "The provided starting key is outside query boundaries based on provided conditions"
            )


def _check_batch(parameters: Mapping[str, Any]) -> None:
    number = sum(map(len, parameters.get("RequestItems", {}).values()))
    if number > BATCH_WRITES:
        raise RuleError("Too many items requested for the BatchWriteItem call")


def _check_transaction_size(parameters: Mapping[str, Any]) -> None:
    """The words of this refusal are not documented: they are those of its rule."""
    items = (
        operation.get("Item", {}) for operation in _operations("TransactWriteItems", parameters)
    )
    if sum(_size({"M": item}) for item in items) > TRANSACTION_BYTES:
        raise RuleError("The aggregate size of the items in the transaction cannot exceed 4 MB")


def _size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "M":
        return sum(len(name.encode()) + _size(inner) for name, inner in content.items())
    if kind == "L":
        return sum(map(_size, content))
    return len(str(content).encode())
