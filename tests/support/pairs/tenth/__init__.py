"""Thirty-six pairs of handlers, three of each of twelve kinds of faults: the tenth set."""
