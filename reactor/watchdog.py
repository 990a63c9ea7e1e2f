"""`Watchdog` under its public name; it is in `reactor.monitor.watchdog`."""

from .monitor.watchdog import Watchdog

__all__ = ["Watchdog"]
