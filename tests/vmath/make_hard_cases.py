"""Write the float64 references of check_vmath.c: ``python make_hard_cases.py > hard_cases_f64.txt`` (needs mpmath).

A line holds a function, its argument, and the exact result as (high + low) * 2**exponent with 1 <= |high| <= 2, the
numbers in hexadecimal: about 32 decimal digits, for subnormal results too.  The arguments are the cutoffs and
reductions of the functions with their neighbours, tiny and subnormal numbers, random ones, and out of many random ones
those whose results come closest to the middle between two doubles.  The output is the same on every machine.
"""

import math
import random

from mpmath import mp, mpf

mp.prec = 400

FUNCTIONS = {
    "exp": mp.exp,
    "log": mp.log,
    "log1p": mp.log1p,
    "expm1": mp.expm1,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "softplus": lambda x: (x if x > 0 else 0) + mp.log1p(mp.exp(-abs(x))),
}

#: Where overflow, underflow or saturation begins, or a method changes.
CUTOFFS = {
    "exp": (709.782712893384, 709.0895657128241, -708.3964185322641, -744.4400719213812, -745.1332191019411, -36.7),
    "log": (89 / 128, 89 / 64, 1.0, 2.0, 2.2250738585072014e-308, 1.7976931348623157e308, 4 / 3, 0.75),
    "log1p": (
        -39 / 128,
        25 / 64,
        0.5,
        -0.5,
        1.0,
        2.0**53,
        1.7976931348623157e308,
        -1 + 2.0**-53,
        2.0**-53,
        -(2.0**-54),
    ),
    "expm1": (709.782712893384, 709.0, 709.436139303104, -37.42994775023705, -36.7, -40.0, 1.0, -1.0, 0.5, -0.5),
    "tanh": (19.06154746539849, 18.7, 20.0, 0.5, 1.0, 0.55, 2.0),
    "sigmoid": (-708.3964185322641, -744.4400719213812, -745.1332191019411, 36.04, 36.73, 37.5, 1.0, -1.0),
    "softplus": (-708.3964185322641, -744.4400719213812, -745.1332191019411, 36.04, 36.73, 37.5, 709.78, -0.69, 0.69),
}

#: Ranges of random arguments.
RANGES = {
    "exp": ((-745.0, 709.7), (-1.0, 1.0)),
    "log": ((0.0, 1000.0), (0.5, 2.0)),
    "log1p": ((-1.0, 10.0), (-0.5, 1.0)),
    "expm1": ((-38.0, 709.7), (-1.0, 1.0)),
    "tanh": ((-20.0, 20.0), (-1.0, 1.0)),
    "sigmoid": ((-745.0, 37.0), (-3.0, 3.0)),
    "softplus": ((-745.0, 37.0), (-3.0, 3.0)),
}


def neighbours(x, count=1):
    """Return x and the ``count`` doubles on either side."""
    found = [x]
    below = above = x
    for _ in range(count):
        below, above = math.nextafter(below, -math.inf), math.nextafter(above, math.inf)
        found += [below, above]
    return [y for y in found if math.isfinite(y)]


def result(name, x):
    """Return (mantissa, exponent) of the exact result, 1 <= abs(mantissa) < 2, or None outside the domain and range."""
    if (name == "log" and x <= 0) or (name == "log1p" and x <= -1):
        return None
    value = FUNCTIONS[name](mpf(x))
    if value == 0:
        return None
    exponent = int(mp.floor(mp.log(abs(value), 2)))
    if not -1080 <= exponent <= 1024:
        return None
    return value * mpf(2) ** -exponent, exponent


def hardness(name, x):
    """Return the distance of the exact result from the nearest middle between two doubles, in ULP."""
    found = result(name, x)
    if found is None:
        return 1
    mantissa, exponent = found
    scaled = abs(mantissa) * mpf(2) ** min(52, exponent + 1074)
    return float(abs(scaled - mp.floor(scaled) - mpf("0.5")))


def arguments(name, generator):
    """Return the arguments of a function, sorted."""
    chosen = []
    for cutoff in CUTOFFS[name]:
        chosen += neighbours(cutoff, 2)
    for exponent in (-1074, -1070, -1022, -500, -100, -60, -54, -53, -52, -40, -27, -20, -10, -4):
        chosen += [2.0**exponent, -(2.0**exponent), 1.375 * 2.0**exponent]
    for n in (0, 1, 2, 3, 7, 25, 26, 52, 53, 511, 1021, 1022):
        middle = float((n + mpf("0.5")) * mp.ln2)
        chosen += [middle, -middle, math.nextafter(middle, math.inf), math.nextafter(-middle, 0.0)]
    for low, high in RANGES[name]:
        pool = [generator.uniform(low, high) for _ in range(4000)]
        pool.sort(key=lambda x: hardness(name, x))
        chosen += pool[:25] + pool[-10:]
    return sorted(x for x in set(chosen) if result(name, x) is not None)


def main():
    """Print the table."""
    generator = random.Random(20240229)
    for name in FUNCTIONS:
        for x in arguments(name, generator):
            mantissa, exponent = result(name, x)
            high = float(mantissa)
            print(name, x.hex(), high.hex(), float(mantissa - mpf(high)).hex(), exponent)


if __name__ == "__main__":
    main()
