"""Stop signals during a training: held back until a step has ended and its state is written."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class HeldSignals:
    """Hold back SIGTERM and SIGINT within a block.

    A handler that raises would otherwise end a step halfway, when the state is not consistent. What
    was received is delivered by `deliver` or at the end of the block: the handlers from before the
    block are called. Outside the main thread, and for signals that are ignored, nothing changes.

    Attributes:
        received: The first signal that is held back, or None.

    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "HeldSignals":
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hold)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error is None:
            self.deliver()

    def deliver(self, default: int | None = None) -> None:
        """Call the earlier handler of the signal that is held back.

        Args:
            default: Signal to deliver if none is held back. If None, nothing happens then.

        """
        number = self.received or default
        self.received = None
        if number is None:
            return
        handler = self._before.get(number, signal.SIG_IGN)
        if callable(handler):
            handler(number, None)
        elif handler != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
