"""The selectors under their public name; they are in `reactor.loop.selecting`."""

from .loop import selecting as _selecting
from .loop.selecting import EVENT_HANGUP, EVENT_URGENT, DefaultSelector, SelectSelector, UrgentSelector, events_of

__all__ = ["EVENT_HANGUP", "EVENT_URGENT", "DefaultSelector", "SelectSelector", "UrgentSelector", "events_of"]

if hasattr(_selecting, "PollSelector"):
    from .loop.selecting import PollSelector as PollSelector

    __all__ += ["PollSelector"]

if hasattr(_selecting, "EpollSelector"):
    from .loop.selecting import EpollSelector as EpollSelector

    __all__ += ["EpollSelector"]
