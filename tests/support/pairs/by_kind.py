"""The sets that have three pairs for each of twelve kinds of faults, one of eight kinds, and reported faults."""

from . import (
    eighth,
    eleventh,
    fifteenth,
    fifth,
    fourteenth,
    fourth,
    kinds,
    ninth,
    reported,
    seventeenth,
    seventh,
    sixteenth,
    sixth,
    tenth,
    third,
    thirteenth,
    twelfth,
)

SETS = {
    "kinds": kinds.PAIRS,
    "third": third.PAIRS,
    "fourth": fourth.PAIRS,
    "fifth": fifth.PAIRS,
    "sixth": sixth.PAIRS,
    "seventh": seventh.PAIRS,
    "eighth": eighth.PAIRS,
    "ninth": ninth.PAIRS,
    "tenth": tenth.PAIRS,
    "eleventh": eleventh.PAIRS,
    "twelfth": twelfth.PAIRS,
    "thirteenth": thirteenth.PAIRS,
    "fourteenth": fourteenth.PAIRS,
    "fifteenth": fifteenth.PAIRS,
    "sixteenth": sixteenth.PAIRS,
}
PAIRS = [*(pair for pairs in SETS.values() for pair in pairs), *seventeenth.PAIRS, *reported.PAIRS]
