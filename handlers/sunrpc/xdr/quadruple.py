"""The quadruple-precision float of RFC 4506, section 4.8 (IEEE 754 binary128), as a `decimal.Decimal`.

A float of Python has 53 bits of precision, a quadruple has 113, so each quadruple is read as the decimal number that
is exactly its value, and a number is rounded to the nearest quadruple, or to the even one of two, when it is written.
"""

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from fractions import Fraction

from .errors import Error

_BIAS = 16383
_FRACTION = 112  # bits
_INFINITE = 0x7FFF
_EXACT = Context(prec=20_000, Emax=MAX_EMAX, Emin=MIN_EMIN)  # the least quadruple has 11,514 digits
assert _EXACT.prec < MAX_PREC


def unpack_quadruple(data: bytes) -> Decimal:
    """The exact value of the 16 bytes."""
    bits = int.from_bytes(data, "big")
    sign, exponent, fraction = bits >> 127, bits >> _FRACTION & _INFINITE, bits & ((1 << _FRACTION) - 1)
    if exponent == _INFINITE:
        return Decimal(("-" if sign else "") + ("NaN" if fraction else "Infinity"))
    if exponent:
        fraction |= 1 << _FRACTION
    power = max(exponent, 1) - _BIAS - _FRACTION
    if power >= 0:
        value = Decimal(fraction << power)
    else:
        trailing = min((fraction & -fraction).bit_length() - 1, -power) if fraction else -power
        fraction, power = fraction >> trailing, power + trailing
        value = _EXACT.scaleb(_EXACT.multiply(Decimal(fraction), Decimal(5**-power)), power)
    return value.copy_negate() if sign else value


def pack_quadruple(value: Decimal | float) -> bytes:
    """The quadruple nearest to the number, which may be of any of Python's types."""
    if not isinstance(value, (Decimal, float, int)):
        raise TypeError(f"{type(value).__name__} is no number")
    number = Decimal(value)
    sign = int(number.is_signed())
    if number.is_nan():
        bits = _INFINITE << _FRACTION | 1 << (_FRACTION - 1)
    elif number.is_infinite():
        bits = _INFINITE << _FRACTION
    elif not number or number.adjusted() < -5000:  # the least quadruple is about 6E-4966
        bits = 0
    elif number.adjusted() > 5000 or (bits := _nearest(Fraction(number.copy_abs()))) >= _INFINITE << _FRACTION:
        raise Error(f"{number:.6g} is too large for a quadruple")
    return (sign << 127 | bits).to_bytes(16, "big")


def _nearest(number: Fraction) -> int:
    """The bits of the quadruple nearest to a positive number, without a sign."""
    exponent = number.numerator.bit_length() - number.denominator.bit_length()  # of 2, or one too large
    if number < Fraction(2) ** exponent:
        exponent -= 1
    exponent = max(exponent, 1 - _BIAS)
    scaled = round(number / Fraction(2) ** (exponent - _FRACTION))  # to even; a carry into the exponent is right
    return ((exponent + _BIAS - 1) << _FRACTION) + scaled
