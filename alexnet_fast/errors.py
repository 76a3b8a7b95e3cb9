"""The exception for users, and reasons of system errors in its words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from alexnet_fast.wording import worded


class UserError(Exception):
    """A mistake in a path, an option, an image or a file of the user.

    The command line prints it as one line and exits with `exit_code`; `--debug` adds the traceback. Its text
    names options as the reader knows them: see `wording`.

    Args:
        problem: The problem, naming the file or the option as on the command line.
        hint: How to fix it; empty if there is nothing sensible to say.
        exit_code: 1 if the work failed, 2 if the command was used wrongly.
    """

    def __init__(self, problem: str, hint: str = "", *, exit_code: int = 1) -> None:
        super().__init__(f"{problem}; {hint}" if hint else problem)
        self.problem = problem
        self.hint = hint
        self.exit_code = exit_code
        self.argument_names: Mapping[str, str] = {}

    def __str__(self) -> str:
        return worded(super().__str__(), self.argument_names)


@contextlib.contextmanager
def arguments_called(**names: str) -> Iterator[None]:
    """Gives the errors of a block the argument names of a Python interface.

    Args:
        names: Argument names that differ from the option, by the option's name without `--`.
    """
    try:
        yield
    except UserError as error:
        error.argument_names = {**names, **error.argument_names}
        raise


class UnavailableError(UserError):
    """A requested device, provider or library is unavailable.

    With `--allow-fallback` it is a warning, and a fallback is used; other mistakes stay errors.
    """


def system_reason(error: OSError) -> str:
    """Returns the system's reason for an error, for use within a sentence."""
    return (error.strerror or str(error)).lower()


def packing_reason(error: NotImplementedError) -> str:
    """Returns the reason why a zip cannot be read, for use within a sentence.

    Python's zipfile raises this error for a compression, an encryption or a format version that it does not
    know.
    """
    return f"packed in a way that is not known here ({str(error).lower()})"
