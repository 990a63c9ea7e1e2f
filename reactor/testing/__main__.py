"""``python3 -m reactor.testing probe``; see `reactor.testing.probe`."""

import sys

from .probe.command import main

sys.exit(main())
