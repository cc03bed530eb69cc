"""Decides, as IAM does, whether policies admit a call: enough of it for the policies of infra/ and those of AWS that are attached.

An operator or a variable that is not known here is an error, never a guess.
"""

import re

EVERYBODY = "*"


class Request:
    """A call: what is done to what, by whom, and the keys of its context (by lower-case name)."""

    def __init__(self, action, resource, context=None, principal=None):
        self.action, self.resource, self.principal = action, resource, principal
        self.context = {key.lower(): value for key, value in (context or {}).items()}


def admitted(statements, request):
    """By policies of an identity: something allows it, and nothing denies it."""
    return any_of(statements, request, "Allow") and not any_of(statements, request, "Deny")


def admitted_to_key(key_statements, identity_statements, request, account_root):
    """A key's policy is asked first: it names the principal (or everybody), or leaves the decision to policies of the identity
    by naming the account. Without either, no policy of an identity helps."""
    if any_of([*key_statements, *identity_statements], request, "Deny"):
        return False
    mine = [s for s in key_statements if names(s, request.principal)]
    delegated = [s for s in key_statements if names(s, account_root, everybody=False)]
    return any_of(mine, request, "Allow") or (
        any_of(delegated, request, "Allow") and any_of(identity_statements, request, "Allow")
    )


def any_of(statements, request, effect):
    return any(s["Effect"] == effect and applies(s, request) for s in statements)


def names(statement, principal, everybody=True):
    named = statement.get("Principal", {})
    named = [named] if isinstance(named, str) else listed(named.get("AWS", []))
    return principal in named or (everybody and EVERYBODY in named)


def applies(statement, request):
    return (
        any(matches(pattern.lower(), request.action.lower()) for pattern in listed(statement["Action"]))
        and any(matches(pattern, request.resource) for pattern in listed(statement.get("Resource", EVERYBODY)))
        and all(
            holds(operator, key, listed(values), request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def holds(operator, key, values, context):
    name, if_exists = (operator[: -len("IfExists")], True) if operator.endswith("IfExists") else (operator, False)
    found = context.get(key.lower())
    if name == "Null":
        return (found is None) == (str(values[0]).lower() == "true")
    negated = name.replace("Not", "", 1) if "Not" in name else None
    if found is None:
        return if_exists or negated is not None
    is_one = OPERATORS[negated or name]
    one = any(is_one(str(found), str(value)) for value in values)
    return not one if negated else one


OPERATORS = {
    "StringEquals": lambda found, value: found == value,
    "StringLike": lambda found, value: matches(value, found),
    "ArnEquals": lambda found, value: matches(value, found),
    "ArnLike": lambda found, value: matches(value, found),
    "Bool": lambda found, value: found.lower() == value.lower(),
    "NumericLessThan": lambda found, value: float(found) < float(value),
}


def matches(pattern, text):
    """`*` and `?`, and variables that stand for themselves: `${*}` is a star and nothing else."""
    parts = re.split(r"(\$\{[^}]*\}|\*|\?)", pattern)
    wild = {"*": ".*", "?": "."}
    return re.fullmatch("".join(wild.get(part) or re.escape(itself(part)) for part in parts), text, re.DOTALL) is not None


def itself(part):
    if not part.startswith("${"):
        return part
    if part[2:-1] not in ("*", "?", "$"):
        raise ValueError(f"variable {part} of a policy is not known here")
    return part[2:-1]


def listed(value):
    return value if isinstance(value, list) else [value]
