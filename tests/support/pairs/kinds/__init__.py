"""Thirty-six pairs of handlers, broken and right: three for each of twelve kinds."""

from . import bounds, content, flow, texts

KINDS = {
    1: "numbers that the language takes",
    2: "accumulation without a bound",
    3: "state that clients share",
    4: "recursion as deep as the message",
    5: "a swallowed cause",
    6: "effects of one read",
    7: "a deadline that starts anew with each byte",
    8: "duplicates, and a count that is never reset",
    9: "off by one at the largest",
    10: "smuggling",
    11: "quadratic work",
    12: "slips in states",
}
PAIRS = [*content.PAIRS, *flow.PAIRS, *bounds.PAIRS, *texts.PAIRS]
