"""The rules once more, in plain Python over lists, one bar after the other: slow, and sharing nothing with the package.

Lists are indexed by bar; None is "does not exist yet".
"""

from __future__ import annotations

from math import fsum, nan

MA = [10, 20, 30, 50, 100, 200]


def sma(x, n):
    """Mean of the last n values, once all exist."""
    out = []
    for i in range(len(x)):
        window = x[max(0, i - n + 1) : i + 1]
        out.append(None if len(window) < n or None in window else fsum(window) / n)
    return out


def smoothed(x, n, alpha):
    """Seeded by the mean of the first n values that exist, then alpha x + (1 - alpha) last."""
    out, last, seen = [], None, []
    for value in x:
        if value is None:
            out.append(None)
            continue
        if last is None:
            seen.append(value)
            last = fsum(seen) / n if len(seen) == n else None
        else:
            last = alpha * value + (1 - alpha) * last
        out.append(last)
    return out


def ema(x, n):
    return smoothed(x, n, 2 / (n + 1))


def wilder(x, n):
    return smoothed(x, n, 1 / n)


def wma(x, n):
    out = []
    for i in range(len(x)):
        window = x[max(0, i - n + 1) : i + 1]
        short = len(window) < n or None in window
        out.append(None if short else fsum(w * v for w, v in enumerate(window, 1)) / (n * (n + 1) / 2))
    return out


def extreme(x, n, pick):
    out = []
    for i in range(len(x)):
        window = x[max(0, i - n + 1) : i + 1]
        out.append(None if len(window) < n or None in window else pick(window))
    return out


def each(function, *series):
    """Apply a function bar by bar where all series exist."""
    return [None if None in values else function(*values) for values in zip(*series, strict=True)]


def before(x, n=1):
    return [None] * n + x[:-n]


def ratio(a, b):
    return None if b == 0 else a / b


def stoch(x, high, low, n, flat):
    lowest, highest = extreme(low, n, min), extreme(high, n, max)
    return each(lambda c, lo, h: flat if h == lo else 100 * (c - lo) / (h - lo), x, lowest, highest)


def cci(price, n):
    mean = sma(price, n)
    out = []
    for i, centre in enumerate(mean):
        if centre is None:
            out.append(None)
            continue
        spread = fsum(abs(value - centre) for value in price[i - n + 1 : i + 1]) / n
        out.append(ratio(price[i] - centre, 0.015 * spread))
    return out


def values(high, low, close, volume):
    """Indicator values by name."""
    v = {"close": close, "close_prev": before(close)}
    for n in MA:
        v[f"sma_{n}"], v[f"ema_{n}"] = sma(close, n), ema(close, n)
    v["vwma_20"] = each(
        lambda a, b: a / b, sma([c * q for c, q in zip(close, volume, strict=True)], 20), sma(volume, 20)
    )
    v["hull_ma_9"] = wma(each(lambda fast, slow: 2 * fast - slow, wma(close, 4), wma(close, 9)), 3)

    def middle(n):
        return each(lambda h, lo: (h + lo) / 2, extreme(high, n, max), extreme(low, n, min))

    v["conversion"], v["base"], v["lead_b"] = middle(9), middle(26), middle(52)
    v["lead_a"] = each(lambda a, b: (a + b) / 2, v["conversion"], v["base"])

    change = each(lambda now, last: now - last, close, before(close))
    gain = wilder(each(lambda d: max(d, 0.0), change), 14)
    loss = wilder(each(lambda d: max(-d, 0.0), change), 14)
    v["rsi"] = each(lambda g, lo: 100.0 if lo == 0 else 100 - 100 / (1 + g / lo), gain, loss)
    for name, n in (("stoch", 14), ("stoch_8", 8)):
        v[f"{name}_k"] = sma(stoch(close, high, low, n, None), 3)
        v[f"{name}_d"] = sma(v[f"{name}_k"], 3)
    v["cci"] = cci([(h + lo + c) / 3 for h, lo, c in zip(high, low, close, strict=True)], 20)

    up = each(lambda now, last: now - last, high, before(high))
    down = each(lambda now, last: last - now, low, before(low))
    spread = each(lambda h, lo, c: max(h - lo, abs(h - c), abs(lo - c)), high, low, before(close))
    span = wilder(spread, 14)
    plus = wilder(each(lambda u, d: u if u > d and u > 0 else 0.0, up, down), 14)
    minus = wilder(each(lambda u, d: d if d > u and d > 0 else 0.0, up, down), 14)
    v["plus_di"] = each(lambda p, t: 100 * p / t, plus, span)
    v["minus_di"] = each(lambda m, t: 100 * m / t, minus, span)
    index = each(lambda p, m: 100 * abs(p - m) / (p + m) if p + m else 0.0, v["plus_di"], v["minus_di"])
    v["adx"] = wilder(index, 14)

    half = [(h + lo) / 2 for h, lo in zip(high, low, strict=True)]
    v["ao"] = each(lambda fast, slow: fast - slow, sma(half, 5), sma(half, 34))
    v["momentum"] = each(lambda now, then: now - then, close, before(close, 10))
    v["macd"] = each(lambda fast, slow: fast - slow, ema(close, 12), ema(close, 26))
    v["macd_signal"] = ema(v["macd"], 9)
    v["stoch_rsi_k"] = sma(stoch(v["rsi"], v["rsi"], v["rsi"], 14, 0.0), 3)
    v["stoch_rsi_d"] = sma(v["stoch_rsi_k"], 3)
    v["williams_r"] = each(
        lambda c, h, lo: -100 * (h - c) / (h - lo) if h != lo else None,
        close,
        extreme(high, 14, max),
        extreme(low, 14, min),
    )
    v["bull_power"] = each(lambda h, e: h - e, high, ema(close, 13))
    v["bear_power"] = each(lambda lo, e: lo - e, low, ema(close, 13))

    pressure = each(lambda c, lo, last: c - min(lo, last), close, low, before(close))

    def share(n):
        return each(ratio, sma(pressure, n), sma(spread, n))

    v["ultimate"] = each(lambda a, b, c: 100 * (4 * a + 2 * b + c) / 7, share(7), share(14), share(28))
    previous = ["rsi", "cci", "adx", "plus_di", "minus_di", "ao", "momentum", "williams_r", "bull_power", "bear_power"]
    for name in ["stoch", "stoch_8", "stoch_rsi"]:
        previous += [f"{name}_k", f"{name}_d"]
    for name in previous:
        v[f"{name}_prev"] = before(v[name])
    v["ao_prev2"] = before(v["ao"], 2)
    return v


def over(a, b, floor=0.0):
    """Above, and by more than rounding; never of what does not exist."""
    return a - b > max(1e-12 * abs(b), floor)


def above(a, b):
    return over(a, b, 1e-10)


def sign(buy, sell):
    return 1 if buy else -1 if sell else 0


def votes(v, edition="2026"):
    """Votes by name."""
    cast = {}

    def vote(name, needs, rule, counted=None):
        """Rule: the inputs to (buy, sell); counted where the named values exist."""
        rows = zip(*[v[need] for need in needs], strict=True)
        counts = zip(*[v[need] for need in counted or needs], strict=True)
        cast[name] = [
            None if None in known else sign(*rule(*[nan if x is None else x for x in args]))
            for args, known in zip(rows, counts, strict=True)
        ]

    def turning(low, high):
        return lambda r, q: (r < low and above(r, q), r > high and above(q, r))

    def extreme_lines(k, d):
        return k < 20 and d < 20 and above(k, d), k > 80 and d > 80 and above(d, k)

    def crossing(k, d, k1, d1):
        buy, sell = extreme_lines(k, d)
        return buy and above(d1, k1), sell and above(k1, d1)

    def awesome(a, a1, a2):
        rises, falls = over(a, a1), over(a1, a)
        buy = a > 0 and (a1 < 0 or (a1 > 0 and rises and over(a2, a1)))
        sell = a < 0 and (a1 > 0 or (a1 < 0 and falls and over(a1, a2)))
        return buy, sell

    def powers(c, e, bull, bull1, bear, bear1):
        return over(c, e) and bear < 0 and over(bear, bear1), over(e, c) and bull > 0 and over(bull1, bull)

    averages = [*(f"sma_{n}" for n in MA), *(f"ema_{n}" for n in MA), "vwma_20", "hull_ma_9"]
    for name in averages:
        vote(name, [name, "close"], lambda a, c: (over(c, a), over(a, c)))
    cloud = ["lead_a", "lead_b", "close", "base", "conversion", "close_prev"]
    k8, k14, krsi = (
        [f"{name}_k", f"{name}_d", f"{name}_k_prev", f"{name}_d_prev"] for name in ("stoch_8", "stoch", "stoch_rsi")
    )
    directions = ["plus_di", "minus_di", "plus_di_prev", "minus_di_prev"]
    strength = ["adx", *directions[2:]]
    if edition == "2026":
        vote("ichimoku", cloud, lambda *_: (False, False))
        vote("stochastic", k8, lambda k, d, *_: extreme_lines(k, d), k8[2:])
        vote(
            "adx",
            ["adx", "adx_prev", *directions],
            lambda a, a1, p, m, *_: (
                a > 20 and above(a, a1) and above(p, m),
                a > 20 and above(a, a1) and above(m, p),
            ),
            strength,
        )
        vote(
            "stoch_rsi",
            ["close", "ema_50", *krsi],
            lambda c, e, k, d, *_: (over(e, c) and extreme_lines(k, d)[0], over(c, e) and extreme_lines(k, d)[1]),
            krsi[2:],
        )
    else:
        vote(
            "ichimoku",
            cloud,
            lambda a, b, c, base, line, last: (
                over(a, b) and over(c, a) and over(base, c) and over(c, line) and over(line, last),
                over(b, a) and over(b, c) and over(c, base) and over(line, c) and over(last, line),
            ),
        )
        vote("stochastic", k14, crossing, k14[2:])
        vote(
            "adx",
            ["adx", *directions],
            lambda a, p, m, p1, m1: (
                a > 20 and above(p, m) and above(m1, p1),
                a > 20 and above(m, p) and above(p1, m1),
            ),
            strength,
        )
        vote(
            "stoch_rsi",
            ["close", "ema_50", *krsi],
            lambda c, e, *lines: (over(e, c) and crossing(*lines)[0], over(c, e) and crossing(*lines)[1]),
            krsi[2:],
        )
    vote("rsi", ["rsi", "rsi_prev"], turning(30, 70))
    vote("cci", ["cci", "cci_prev"], turning(-100, 100))
    vote("awesome", ["ao", "ao_prev", "ao_prev2"], awesome, ["ao_prev"])
    vote("momentum", ["momentum", "momentum_prev"], lambda m, q: (over(m, q), over(q, m)))
    vote("macd", ["macd", "macd_signal"], lambda m, s: (over(m, s), over(s, m)))
    vote("williams_r", ["williams_r", "williams_r_prev"], turning(-80, -20))
    vote(
        "bull_bear",
        ["close", "ema_50", "bull_power", "bull_power_prev", "bear_power", "bear_power_prev"],
        powers,
        ["bull_power_prev"],
    )
    vote("ultimate", ["ultimate"], lambda u: (u > 70, u < 30))
    return cast, [*averages, "ichimoku"]


def ratings(high, low, close, volume, edition="2026"):
    """Values, votes and the three ratings, each a list by bar."""
    v = values(high, low, close, volume)
    cast, group = votes(v, edition)

    def mean(names, i):
        known = [cast[name][i] for name in names if cast[name][i] is not None]
        return sum(known) / len(known) if known else None

    others = [name for name in cast if name not in group]
    moving = [mean(group, i) for i in range(len(close))]
    other = [mean(others, i) for i in range(len(close))]
    pairs = [[x for x in pair if x is not None] for pair in zip(moving, other, strict=True)]
    both = [sum(pair) / len(pair) if pair else None for pair in pairs]
    return v, cast, both, moving, other
