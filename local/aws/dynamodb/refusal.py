"""A request that DynamoDB refuses."""


class RuleError(ValueError):
    """The text of a ValidationException."""
