"""Asynchronous checkpoints: the state is copied, and a thread writes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch

from alexnet_fast.training.checkpoint.manager import CheckpointManager, position_of
from alexnet_fast.training.diverged import DivergedError


class CheckpointWriter:
    """Writes one checkpoint at a time; the next call raises its error.

    Args:
        manager: The checkpoints of the run.
        device: The device of the state.
    """

    def __init__(self, manager: CheckpointManager, device: torch.device) -> None:
        self._manager, self._device = manager, device
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, content: dict[str, Any], *, best: bool, hint: str) -> None:
        """Waits for the previous checkpoint, copies the state, and writes it in the background.

        Args:
            content: See `save_checkpoint`; the tensors may change after the call.
            best: Whether it is the best checkpoint so far.
            hint: The hint if the weights are infinite or undefined.

        Raises:
            UserError: The previous checkpoint could not be written.
        """
        self.finish()
        on_host = _copied(content, self._device)
        # Not a daemon: the process finishes the file before it ends.
        self._thread = threading.Thread(target=self._write, args=(on_host, best, hint), name="checkpoint")
        self._thread.start()

    def check(self) -> None:
        """Raises the error of a finished checkpoint.

        Raises:
            UserError: The checkpoint could not be written.
        """
        if not self.busy:
            self.finish()

    def finish(self) -> None:
        """Waits for the checkpoint that is being written.

        Raises:
            UserError: It could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _write(self, on_host: Callable[[], dict[str, Any]], best: bool, hint: str) -> None:
        """Writes a copy; runs in the thread."""
        try:
            content = on_host()
            _check_intact(content, hint)
            self._manager.save(content, best=best)
        # The training thread raises it.
        except BaseException as error:  # noqa: BLE001
            self._error = error


def _copied(content: dict[str, Any], device: torch.device) -> Callable[[], dict[str, Any]]:
    """Copies the tensors on their device, which is quick; returns a function that moves them to the host.

    On a GPU the move runs on a stream of its own, concurrently with the next steps.
    """
    copy = _mapped(content, _Once(lambda tensor: tensor.detach().clone()))
    if device.type != "cuda":
        return lambda: copy
    ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
    ready.record(torch.cuda.current_stream(device))

    def on_host() -> dict[str, Any]:
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_event(ready)
        with torch.cuda.stream(stream):
            moved: dict[str, Any] = _mapped(copy, _Once(torch.Tensor.cpu))
        return moved

    return on_host


class _Once:
    """Applies a function once to each tensor, even if it has two names, as weights may have."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._function = function
        self._done: dict[tuple[Any, ...], torch.Tensor] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """Returns the result for a tensor."""
        key = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if key not in self._done:
            self._done[key] = self._function(tensor)
        return self._done[key]


def _mapped(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Applies a function to every tensor of nested dictionaries and lists."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _mapped(item, function) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, function) for item in value)
    return value


def _check_intact(content: dict[str, Any], hint: str) -> None:
    """Checks the weights, so that the last good checkpoint stays.

    Raises:
        DivergedError: A weight is infinite or undefined.
    """
    broken = [name for name, tensor in content["weights"].items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        place = position_of(content)
        raise DivergedError(
            f"the weights of {broken[0]} hold infinite or undefined values in epoch {place.epoch + 1},"
            f" before step {place.step}",
            hint,
        )
