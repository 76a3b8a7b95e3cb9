"""Writes checkpoints beside the training: the state is copied, a thread does the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch

from alexnet_fast.training.checkpoint.manager import CheckpointManager, position_of
from alexnet_fast.training.diverged import DivergedError


class CheckpointWriter:
    """One checkpoint at a time; an error surfaces at the next call.

    Args:
        directory: Where they go.
        device: Where the state is.
    """

    def __init__(self, directory: CheckpointManager, device: torch.device) -> None:
        self._dir, self._device = directory, device
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether one is being written."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, content: dict[str, Any], *, best: bool, hint: str) -> None:
        """Copies the state, and writes it while the caller goes on; waits for the one before.

        Args:
            content: See `checkpoint.save_checkpoint`; the tensors may change after the call.
            best: Whether it is the best one so far.
            hint: What to do if the weights turn out to be no numbers.

        Raises:
            UserError: The one before could not be written.
        """
        self.finish()
        take = _copied(content, self._device)
        # Not a daemon: a process that ends by itself finishes its file first.
        self._thread = threading.Thread(target=self._write, args=(take, best, hint), name="checkpoint")
        self._thread.start()

    def check(self) -> None:
        """Raises the error of one that could not be written.

        Raises:
            UserError: There was one.
        """
        if not self.busy:
            self.finish()

    def finish(self) -> None:
        """Waits until nothing is being written.

        Raises:
            UserError: The last one could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _write(self, take: Callable[[], dict[str, Any]], best: bool, hint: str) -> None:
        """Writes a copy; runs in the thread."""
        try:
            content = take()
            _check_intact(content, hint)
            self._dir.save(content, best=best)
        # Whatever it is, it belongs to the training, which raises it.
        except BaseException as error:  # noqa: BLE001
            self._error = error


def _copied(content: dict[str, Any], device: torch.device) -> Callable[[], dict[str, Any]]:
    """Copies the tensors where they are, which is quick; the function it returns brings them to the host.

    On a GPU that happens on a stream of its own, beside the steps that follow.
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
    """Applies a function to each tensor once, also to one that has two names, as the weights may have."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._function = function
        self._done: dict[tuple[Any, ...], torch.Tensor] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """Returns what the function gave for a tensor."""
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
    """Refuses weights that hold something that is no number: the good checkpoint before must stay the last.

    Raises:
        DivergedError: They do.
    """
    broken = [name for name, tensor in content["weights"].items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        place = position_of(content)
        raise DivergedError(
            f"the weights of {broken[0]} hold infinite or undefined values in epoch {place.epoch + 1},"
            f" before step {place.step}",
            hint,
        )
