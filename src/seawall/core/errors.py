"""One error tree with stable codes: what happened, where, and what to do about it."""

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "InvalidError",
    "NotFoundError",
    "SeawallError",
    "StateCorruptError",
    "StateError",
    "StateTimeoutError",
    "StateUnavailableError",
]


class SeawallError(Exception):
    """Base of every error that Seawall raises on purpose.

    Args:
        message: what happened and where, in one sentence.
        hint: what the reader can do about it; empty when there is nothing to do.
    """

    code = "seawall"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class ConfigurationError(SeawallError):
    """The configuration is refused; `problems` holds every finding, not the first only."""

    code = "configuration-invalid"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join((super().__str__(), *(f"  - {problem}" for problem in self.problems)))


class NotFoundError(SeawallError):
    """What an operator named does not exist; the admin API answers 404."""

    code = "not-found"


class ConflictError(SeawallError):
    """A change is at odds with what exists; the admin API answers 409."""

    code = "conflict"


class InvalidError(SeawallError):
    """A change is understood but not acceptable; the admin API answers 422."""

    code = "invalid"


class StateError(SeawallError):
    """The state store refused or failed an operation."""

    code = "state-error"


class StateUnavailableError(StateError):
    """The state store cannot be reached, or its breaker is open."""

    code = "state-unavailable"


class StateTimeoutError(StateUnavailableError):
    """The state store did not answer within the call's time budget."""

    code = "state-timeout"


class StateCorruptError(StateError):
    """The state file is damaged or of a newer schema; it is left untouched."""

    code = "state-corrupt"
