"""The one exception that a user is meant to read, and how it gives the reasons of others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from alexnet_fast.wording import worded


class UserError(Exception):
    """A mistake in what the user gave: a path, an option, an image, a file.

    The command line prints it as one line and exits with `exit_code`; `--debug` adds the traceback. `str` of
    it names options as the reader knows them: see `wording`.

    Args:
        problem: What is wrong, naming the file or the option, as the command line has it.
        hint: What to do about it; empty where nothing sensible can be said.
        exit_code: 1 where the work failed, 2 where the command was used wrongly.
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
    """Lets the errors of a block use an interface's own names of arguments, where an option has another one.

    Args:
        names: The arguments, by the option's name without `--`.
    """
    try:
        yield
    except UserError as error:
        error.argument_names = {**names, **error.argument_names}
        raise


class UnavailableError(UserError):
    """A device, a provider or a library that was asked for is not to be had here.

    With `--allow-fallback` it is a warning, and something else takes its place; other mistakes stay errors.
    """


def system_reason(error: OSError) -> str:
    """Returns what the system says about a file that it refuses, to stand within a sentence."""
    return (error.strerror or str(error)).lower()


def packing_reason(error: NotImplementedError) -> str:
    """Returns why a zip cannot be read, to stand within a sentence.

    Python's zipfile raises that error for a compression, an encryption or a version of the format that it
    does not know.
    """
    return f"packed in a way that is not known here ({str(error).lower()})"
