"""Numbers as text, with as many digits as carry meaning, and never rounded towards passing."""

import math
import re

MISSING = "–"
NOT_FINITE = "not finite"
SIGNS = {">=": "≥", "<=": "≤", "==": "="}

# XML 1.0 has no way to write these, escaped or not.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def share(value: float | None, digits: int = 4) -> str:
    """Write an IoU, 0 to 1. It is rounded down, so that 1.0000 means exactly equal masks."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return NOT_FINITE
    scale = 10**digits
    # The small allowance keeps 0.29 at 0.29, which in binary is a little less.
    return f"{math.floor(value * scale + 1e-9) / scale:.{digits}f}"


def drop(value: float | None, digits: int = 4) -> str:
    """Write how much IoU is lost. It is rounded up, so that it and :func:`share` add up to 1."""
    if value is None or not math.isfinite(value):
        return MISSING if value is None else NOT_FINITE
    scale = 10**digits
    rounded = math.ceil(value * scale - 1e-9) / scale
    return f"{'−' if rounded < 0 else ''}{abs(rounded):.{digits}f}"


def error(value: float | None) -> str:
    """Write an error of whatever size with two significant digits."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return NOT_FINITE
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1000:
        return significant(value, 2)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def exact(value: float | None, threshold: float | None = None) -> str:
    """Write four significant digits, or more where fewer would put it across the threshold.

    A value a little below 1 does not become 1: it is rounded down to seven decimal places.
    """
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return NOT_FINITE
    for digits in range(4, 18):
        text = f"{value:.{digits}g}"
        if float(text) == 1 > value:
            text = f"{math.floor(value * 1e7) / 1e7:.7f}".rstrip("0")
        if threshold is None or _order(float(text), threshold) == _order(value, threshold):
            break
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def _order(value: float, threshold: float) -> int:
    """Return -1 below the threshold, 0 at it and 1 above it."""
    return (value > threshold) - (value < threshold)


def limit(threshold: float) -> str:
    """Write a threshold with exactly the digits that it was set with."""
    mantissa, e, exponent = repr(threshold).removesuffix(".0").partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def significant(value: float, digits: int) -> str:
    """Write a value with ``digits`` significant digits, keeping zeros, without an exponent."""
    if value == 0:
        return "0"
    # The exponent after rounding: 0.999 to two digits is 1.0.
    places = digits - 1 - int(f"{value:.{digits - 1}e}".split("e")[1])
    return f"{round(value, places):.{max(0, places)}f}"


def percent(value: float | None) -> str:
    """Write a share of cases as a percentage, rounded down, so that 100 % means all of them."""
    if value is None:
        return MISSING
    return f"{math.floor(value * 1000 + 1e-9) / 10:g} %"


def megabytes(value: float | None) -> str:
    """Write megabytes: one decimal below 100, none above."""
    if value is None:
        return MISSING
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def milliseconds(seconds: float | None) -> str:
    """Write seconds as milliseconds with three significant digits, or as a whole number."""
    if seconds is None:
        return MISSING
    value = seconds * 1000
    return f"{value:.0f}" if value >= 100 else significant(value, 3)


def seconds(value: float | None) -> str:
    """Write seconds with two decimals."""
    return MISSING if value is None else f"{value:.2f}"


def speed(times: float | None, other: str = "") -> str:
    """Write how fast something is compared with something else, as people say it.

    A time ratio of 0.21 is "4.8× as fast", 1.3 is "1.3× as slow", and with the other's name
    "1.3× as slow as fp32". It has two significant digits, or two decimals below 1.05, where what is
    slower is rounded up and what is faster is rounded down: nothing slower is called equal.

    Args:
        times: its time divided by the other's, above 0; None where either was not measured.
        other: name of what it is compared with, unless a title says it.
    """
    if times is None:
        return MISSING
    factor, word = (times, "slow") if times > 1 else (1 / times, "fast")
    text = significant(factor, 2)
    if factor < 1.05:
        hundredths = math.ceil(factor * 100) if word == "slow" else math.floor(factor * 100)
        text = f"{hundredths / 100:.2f}"
    amount = "" if text == "1.00" else f"{text}× "
    return f"{amount}as {word}{f' as {other}' if other else ''}"


def count(value: int | None) -> str:
    """Write a whole number."""
    return MISSING if value is None else str(value)


def decibels(value: float | None) -> str:
    """Write a PSNR in decibels; None is that of equal arrays, which have no error."""
    if value is None:
        return "equal"
    return f"{value:.1f}" if math.isfinite(value) else NOT_FINITE


def bits(value: float | None) -> str:
    """Write bits of float16 headroom with one decimal, rounded down."""
    return MISSING if value is None else f"{math.floor(value * 10 + 1e-9) / 10:.1f}"


def printable(text: str) -> str:
    """Replace characters that XML cannot hold, such as control characters, with U+FFFD."""
    return _UNWRITABLE.sub("\ufffd", text)


def words(name: str) -> str:
    """Write a name from the code as words: ``end_to_end`` as "end to end"."""
    return name.replace("_", " ")


_METRICS = {
    "digest": "altered files",
    "weights_digest": "other weights",
    "finite": "all values finite",
    "not_constant": "spread against reference's",
    "shown_differs": "share of shown masks that differ visibly",
}
_TERMS = {"iou": "IoU", "l2": "L2", "psnr": "PSNR", "db": "dB"}


def whole_percent(part: int, whole: int) -> str:
    """Write a share rounded down to a hundredth of a percent, so that 100 % says all of it."""
    hundredths = 10_000 * part // whole
    return f"{hundredths // 100} %" if not hundredths % 100 else f"{hundredths / 100:.2f} %"


def metric(name: str) -> str:
    """Write a metric's name as words: ``mask_iou_min`` as "mask IoU min"."""
    return _METRICS.get(name) or " ".join(_TERMS.get(word, word) for word in name.split("_"))
