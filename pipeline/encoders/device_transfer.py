"""Batches to a GPU and rows back, beside what it computes.

    transfers = Transfers("cuda")
    future = transfers.submit(batch, lambda pictures: model.encode_image(pictures))
    ...                             # the GPU works; another batch may be submitted
    rows = future.result()

Each direction has a stream of its own and memory that is pinned, so that the copies of one batch run while another is
computed, and the process waits for rows only when it asks for them. On a CPU all is done when `submit` returns.
"""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray

from pipeline.encoders.base import Future, completed


class Transfers:
    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        if self._device.type == "cuda":
            self._upload, self._download = (torch.cuda.Stream(self._device) for _ in range(2))  # type: ignore[no-untyped-call]

    def submit(self, batch: NDArray[Any], compute: Callable[[torch.Tensor], torch.Tensor]) -> Future:
        """Rows [B, dim] that `compute` makes of the batch on its device, as float32. `batch` may be overwritten."""
        if self._device.type != "cuda":
            return completed(compute(torch.from_numpy(batch)).float().numpy())
        computing = torch.cuda.current_stream(self._device)
        pinned = torch.from_numpy(batch).pin_memory()
        with torch.cuda.stream(self._upload):
            moved = pinned.to(self._device, non_blocking=True)
        computing.wait_stream(self._upload)
        moved.record_stream(computing)      # its memory is the other stream's, and is kept until this one has finished
        rows = compute(moved).float()
        self._download.wait_stream(computing)
        with torch.cuda.stream(self._download):
            host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
            host.copy_(rows, non_blocking=True)
        rows.record_stream(self._download)
        # Blocking: a thread that waits sleeps. Otherwise it would spin on a core that the decoders could use.
        finished = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        finished.record(self._download)

        def result() -> NDArray[Any]:
            finished.synchronize()
            return host.numpy()

        return Future(result, finished.query)
