"""The one family of errors: what is wrong, where, and what to do next."""

from pathlib import Path


class AttnError(Exception):
    """Something a user can cause and mend.

    `what` is the fault, `where` the file, HDU, column, line or site it is in, `hint` the next step.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, hint: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        """One line: `where: what; hint`."""
        line = self.what if self.where is None else f"{self.where}: {self.what}"
        if self.hint is not None:
            line = f"{line}; {self.hint}"
        return " ".join(line.split())


class InputError(AttnError):
    """A file, row or array that cannot be used: a result row with `error`, exit code 1."""


class UsageError(AttnError):
    """Options that do not fit together: exit code 2."""


class ModelError(AttnError):
    """A model folder that is missing, broken or made for something else: exit code 1."""


class TrainingError(AttnError):
    """A run that cannot start, resume or continue: exit code 1."""
