"""`alexnet-fast` as the documentation's tests run it: the same command on less.

Training gets a small network in the place of ours, a few steps and small batches; benchmarks get short turns;
a server gets the ports that the test has found. Everything else goes through as it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Options that a command gets in the place of its own.
LESS = {
    "train": {"--max-steps": "2", "--batch-size": "8", "--workers": "2"},
    "bench infer": {"--runs": "1", "--batch-size": "1,2"},
    "bench serve": {"--runs": "1", "--seconds": "0.3"},
}

# The network of docs/recipes.md, and one that has all that a recipe sets. The command line wins over both.
NETWORK = {"": "small.toml", "modern": "modern.toml"}


def smaller(arguments: list[str]) -> list[str]:
    """Returns the arguments that do the same on less."""
    command = " ".join(arguments[: 2 if arguments[0] == "bench" else 1])
    if command == "train":
        model = option_value(arguments, "--model")
        arguments = arguments if ":" in model else without(arguments, "--model")
        config = NETWORK.get(option_value(arguments, "--recipe"), NETWORK[""])
        arguments = arguments if "--config" in arguments else [*arguments, "--config", config]
    less = LESS.get(command, {})
    if command == "serve" and "--triton" not in arguments:
        less = {"--http-port": os.environ["HTTP_PORT"], "--grpc-port": os.environ["GRPC_PORT"]}
    for option, value in less.items():
        arguments = [*without(arguments, option), option, value]
    return arguments


def option_value(arguments: list[str], option: str) -> str:
    """Returns what stands behind an option, "" where it is not given."""
    return arguments[arguments.index(option) + 1] if option in arguments else ""


def without(arguments: list[str], option: str) -> list[str]:
    """Takes an option and its value off."""
    if option not in arguments:
        return arguments
    place = arguments.index(option)
    return [*arguments[:place], *arguments[place + 2 :]]


if __name__ == "__main__":
    words = smaller(sys.argv[1:])
    if words[:1] == ["serve"]:
        # Ended by a signal, which this process would keep to itself.
        os.execv(sys.executable, [sys.executable, "-m", "alexnet_fast", *words])
    sys.path.append(str(Path(__file__).parents[1]))
    from warm_commands import run

    run(Path(os.environ["WARM_COMMANDS"]), words)
