"""Fit the polynomials of vmath.h and print them as C.

Run ``python lossfast/kernels/generate_vmath.py`` (needs mpmath, some seconds) and compare or replace the three
``vm_*_tail`` functions of vmath.h, then format the header.  The output is the same on every machine: all arithmetic is
mpmath's.

Each tail is a polynomial q with F(t) = head(t) + t**2 * q(t).  Its constant is exact, 1/2 or -1/2; the others are the
minimax fit (Remez exchange) that makes the largest error of F relative to F least, rounded to the precision of the
kernel, which the factor t**3 makes harmless: the error printed includes it.
"""

from mpmath import mp, mpf

mp.prec = 200


def exp_rest(t):
    """Return q of exp(t) = 1 + t + t**2 / 2 + t**3 * q(t)."""
    return (mp.expm1(t) - t - t**2 / 2) / t**3


def log1p_rest(t):
    """Return q of log(1 + t) = t - t**2 / 2 + t**3 * q(t)."""
    return (mp.log1p(t) - t + t**2 / 2) / t**3


#: Name, number of coefficients in (float32, float64), interval, (value at 0, rest, function), comment.
FITS = (
    (
        "vm_exp_tail",
        (5, 10),
        # A hair wider than ln 2 / 2: the product that chooses n is rounded.
        (-mp.ln2 / 2 * mpf("1.00001"), mp.ln2 / 2 * mpf("1.00001")),
        (mpf("0.5"), exp_rest, mp.exp),
        "q of exp(t) = 1 + t + t^2 q(t), |t| <= ln 2 / 2",
    ),
    (
        "vm_log_tail",
        (9, 20),
        (mpf(89) / 128 - 1, mpf(89) / 64 - 1),
        (mpf("-0.5"), log1p_rest, mp.log1p),
        "q of log(1 + t) = t + t^2 q(t), 89/128 <= 1 + t <= 89/64",
    ),
    (
        "vm_log1p_tail",
        (9, 20),
        (mpf("-0.25"), mpf("0.5")),
        (mpf("-0.5"), log1p_rest, mp.log1p),
        "q of log(1 + t) = t + t^2 q(t), -1/4 <= t <= 1/2",
    ),
)


def rounded(value, bits):
    """Return value rounded to the given number of significand bits."""
    with mp.workprec(bits):
        return +value


def horner(coefficients, t):
    """Return the polynomial with the given coefficients, lowest order first, at t."""
    total = mpf(0)
    for coefficient in reversed(coefficients):
        total = total * t + coefficient
    return total


def remez(points, count):
    """Return the ``count`` coefficients of the best q, lowest order first.

    points: (t, target, weight) triples, a fine grid.
    """
    chosen = [round((1 - mp.cos(mp.pi * i / count)) / 2 * (len(points) - 1)) for i in range(count + 1)]
    while True:
        system, right = mp.zeros(count + 1), mp.zeros(count + 1, 1)
        for row, index in enumerate(chosen):
            t, target, weight = points[index]
            for column in range(count):
                system[row, column] = weight * t**column
            system[row, count] = (-1) ** row
            right[row] = weight * target
        coefficients = list(mp.lu_solve(system, right))[:count]
        # One extremum per run of equal sign; with more runs than needed, drop the smaller end.
        errors = [weight * (horner(coefficients, t) - target) for t, target, weight in points]
        extrema = [0]
        for index, error in enumerate(errors):
            if error * errors[extrema[-1]] < 0:
                extrema.append(index)
            elif abs(error) > abs(errors[extrema[-1]]):
                extrema[-1] = index
        while len(extrema) > count + 1:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        level = [abs(errors[index]) for index in extrema]
        if max(level) < min(level) * mpf("1.001"):
            return coefficients
        chosen = extrema


def fit(interval, count, model, bits):
    """Return the ``count`` rounded coefficients, lowest order first, and the relative error they leave."""
    (low, high), (first, rest, function) = interval, model
    size = 40 * count
    nodes = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / size) for i in range(size + 1)]
    points = [(t, rest(t), abs(t**3 / function(t))) for t in nodes if abs(t) > mpf(10) ** -9]
    coefficients = [rounded(coefficient, bits) for coefficient in remez(points, count - 1)]
    error = max(abs(w * (horner(coefficients, t) - v)) for t, v, w in points)
    return [first, *coefficients], error


def literal(value, bits):
    """Return value as a C literal inside R()."""
    return f"R({float(value).hex() if bits == 53 else mp.nstr(value, 10)})"


def evaluation(coefficients, bits):
    """Return the C lines that evaluate the polynomial: in two independent chains where one would be long."""
    first, *others = [literal(coefficient, bits) for coefficient in coefficients]
    if len(others) < 8:
        lines = [f"REAL q = {others.pop()};"]
        lines.extend(f"q = FMA(q, t, {coefficient});" for coefficient in reversed(others))
    else:
        lines = ["REAL square = t * t;"]
        for name, chain in (("even", others[::2]), ("odd", others[1::2])):
            lines.append(f"REAL {name} = {chain.pop()};")
            lines.extend(f"{name} = FMA({name}, square, {coefficient});" for coefficient in reversed(chain))
        lines.append("REAL q = FMA(odd, t, even);")
    return [*lines, f"return FMA(q, t, {first});"]


def main():
    """Print the three functions."""
    for name, counts, interval, model, text in FITS:
        print(f"/* Internal. {text}. */\nstatic inline REAL {name}(REAL t) {{")
        for branch, count, bits in (("#if LF_REAL_BITS == 32", counts[0], 24), ("#else", counts[1], 53)):
            coefficients, error = fit(interval, count, model, bits)
            print(f"{branch}\n    /* Relative error 2^{mp.nstr(mp.log(error, 2), 4)}. */")
            print("\n".join(f"    {line}" for line in evaluation(coefficients, bits)))
        print("#endif\n}\n")


if __name__ == "__main__":
    main()
