"""Generate the motion of requests that arrive at the same time side by side."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from mambatalk.motion.clip import SmplxMotion
from mambatalk.synthesis.layout import Speech
from mambatalk.synthesis.synthesizer import Synthesizer

LARGEST_BATCH: Final = 8
"""Clips generated side by side, which bounds memory."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    speech: Speech
    motion: "asyncio.Future[SmplxMotion]"


class Batcher:
    """Collects requests while a batch is generated, and generates them as the next one.

    Args:
        synthesizer: The model.

    """

    def __init__(self, synthesizer: Synthesizer) -> None:
        self._synthesizer = synthesizer
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Generate batches while the block runs."""
        worker = asyncio.create_task(self._run())
        try:
            yield
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker

    async def generate(self, speech: Speech) -> SmplxMotion:
        """Return the motion of a speech whose audio and speaker are known to be good."""
        waiting = _Waiting(speech, asyncio.get_running_loop().create_future())
        await self._waiting.put(waiting)
        return await waiting.motion

    async def _run(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < LARGEST_BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            # A request may have been cancelled while it waited.
            batch = [one for one in batch if not one.motion.done()]
            try:
                motions = await asyncio.to_thread(
                    self._synthesizer.generate_batch, [one.speech for one in batch]
                )
            except Exception as error:
                # The worker goes on: the next batch may be fine.
                for one in batch:
                    if not one.motion.done():
                        one.motion.set_exception(error)
                continue
            for one, motion in zip(batch, motions, strict=True):
                if not one.motion.done():
                    one.motion.set_result(motion)
