"""What of onnxruntime runs a file: the providers that were asked for, those to be had, the one that does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import onnxruntime

from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.runtime.cuda import driver_problem

ProviderName = Literal["cpu", "cuda", "tensorrt"]

_log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_PROVIDERS: dict[str, str] = {"cpu": CPU, "cuda": _CUDA, "tensorrt": "TensorrtExecutionProvider"}


def provider_names(providers: Sequence[ProviderName]) -> list[str]:
    """Returns onnxruntime's names, best first, the CPU's last.

    Raises:
        UserError: There is no such provider.
    """
    for name in providers:
        if name not in _PROVIDERS:
            raise UserError(
                f"there is no provider {name!r}", f"choose from {', '.join(_PROVIDERS)}", exit_code=2
            )
    # onnxruntime needs its CPU provider beside the others, for shape arithmetic.
    return list(dict.fromkeys([*(_PROVIDERS[name] for name in providers), CPU]))


def resolve_providers(wanted: list[str], *, allow_fallback: bool) -> list[str]:
    """Returns what to ask onnxruntime for; without a GPU it would print a page about missing libraries.

    Raises:
        UnavailableError: There is no GPU, and no fallback is allowed.
    """
    if wanted[0] == CPU or driver_problem() is None:
        return wanted
    if not allow_fallback:
        raise not_to_be_had(wanted[0], CPU)
    _warn_of_fallback(wanted[0], CPU)
    return [CPU]


def with_options(wanted: list[str], gpu: int) -> list[tuple[str, dict[str, str]]]:
    """Adds each provider's options; float32 is to be float32 on a GPU too, without TensorFloat-32's ten bits.

    https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
    """
    own = {_CUDA: {"use_tf32": "0"}}
    return [(name, {} if name == CPU else {"device_id": str(gpu), **own.get(name, {})}) for name in wanted]


def check_providers(session: Any, wanted: list[str], *, allow_fallback: bool) -> str:
    """Returns the provider that most nodes of the graph were given to.

    Raises:
        UserError: It is not the first of those that were asked for, and no fallback is allowed.
    """
    best = wanted[0]
    runs_on = _busiest(session)
    if runs_on == best and best in session.get_providers():
        return runs_on
    if not allow_fallback:
        raise not_to_be_had(best, runs_on)
    _warn_of_fallback(best, runs_on)
    return runs_on


def _warn_of_fallback(best: str, instead: str) -> None:
    reason = driver_problem() or "see alexnet-fast doctor"
    _log.warning("%s was asked for and is not to be had; %s runs the model (%s)", best, instead, reason)


def _busiest(session: Any) -> str:
    """Returns the provider with the most nodes; a GPU provider may be loaded and yet be given none."""
    # Added in a later version than the oldest that we accept (1.23 is the last for Python 3.10).
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return str(session.get_providers()[0])
    nodes: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes[part.ep_name] = nodes.get(part.ep_name, 0) + len(part.get_nodes())
    return max(nodes, key=lambda name: nodes[name]) if nodes else str(session.get_providers()[0])


def not_to_be_had(best: str, instead: str) -> UnavailableError:
    """Returns the error of a provider that was asked for in vain."""
    problem = driver_problem()
    reason = f": {problem}" if problem else ""
    return UnavailableError(
        f"onnxruntime {onnxruntime.__version__} was asked for {best} and would run on {instead}{reason}",
        "see `alexnet-fast doctor` for what is missing, or allow it with --allow-fallback",
    )
