"""The rules once more, in plain Python over lists, one bar after the other: slow, and sharing nothing with the package.

Lists are indexed by bar; None is "does not exist yet".
"""

from __future__ import annotations

from math import fsum

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
    v["stoch_k"] = sma(stoch(close, high, low, 14, None), 3)
    v["stoch_d"] = sma(v["stoch_k"], 3)
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
    for name in ["rsi", "cci", "plus_di", "minus_di", "ao", "momentum", "williams_r", "bull_power", "bear_power"]:
        v[f"{name}_prev"] = before(v[name])
    v["ao_prev2"] = before(v["ao"], 2)
    return v


def sign(buy, sell):
    return 1 if buy else -1 if sell else 0


def votes(v):
    """Votes by name."""
    cast = {}

    def vote(name, needs, buy, sell):
        cast[name] = each(lambda *args: sign(buy(*args), sell(*args)), *[v[need] for need in needs])

    averages = [*(f"sma_{n}" for n in MA), *(f"ema_{n}" for n in MA), "vwma_20", "hull_ma_9"]
    for name in averages:
        vote(name, [name, "close"], lambda a, c: a < c, lambda a, c: a > c)
    vote(
        "ichimoku",
        ["lead_a", "lead_b", "close", "base", "conversion", "close_prev"],
        lambda a, b, c, base, line, last: a > b and c > a and c < base and last < line < c,
        lambda a, b, c, base, line, last: a < b and c < a and c > base and last > line > c,
    )
    vote("rsi", ["rsi", "rsi_prev"], lambda r, q: r < 30 and r > q, lambda r, q: r > 70 and r < q)
    vote(
        "stochastic",
        ["stoch_k", "stoch_d"],
        lambda k, d: k < 20 and d < 20 and k > d,
        lambda k, d: k > 80 and d > 80 and k < d,
    )
    vote("cci", ["cci", "cci_prev"], lambda r, q: r < -100 and r > q, lambda r, q: r > 100 and r < q)
    vote(
        "adx",
        ["adx", "plus_di", "minus_di", "plus_di_prev", "minus_di_prev"],
        lambda a, p, m, p1, m1: a > 20 and p > m and p1 <= m1,
        lambda a, p, m, p1, m1: a > 20 and p < m and p1 >= m1,
    )
    vote(
        "awesome",
        ["ao", "ao_prev", "ao_prev2"],
        lambda a, a1, a2: (a > 0 and a1 <= 0) or (a > 0 and a1 > 0 and a2 > a1 and a > a1),
        lambda a, a1, a2: (a < 0 and a1 >= 0) or (a < 0 and a1 < 0 and a2 < a1 and a < a1),
    )
    vote("momentum", ["momentum", "momentum_prev"], lambda m, q: m > q, lambda m, q: m < q)
    vote("macd", ["macd", "macd_signal"], lambda m, s: m > s, lambda m, s: m < s)
    vote(
        "stoch_rsi",
        ["close", "ema_50", "stoch_rsi_k", "stoch_rsi_d"],
        lambda c, e, k, d: c < e and k < 20 and d < 20 and k > d,
        lambda c, e, k, d: c > e and k > 80 and d > 80 and k < d,
    )
    vote(
        "williams_r", ["williams_r", "williams_r_prev"], lambda r, q: r < -80 and r > q, lambda r, q: r > -20 and r < q
    )
    vote(
        "bull_bear",
        ["close", "ema_50", "bull_power", "bear_power", "bull_power_prev", "bear_power_prev"],
        lambda c, e, bull, bear, bull1, bear1: c > e and bear < 0 and bear > bear1,
        lambda c, e, bull, bear, bull1, bear1: c < e and bull > 0 and bull < bull1,
    )
    vote("ultimate", ["ultimate"], lambda u: u > 70, lambda u: u < 30)
    return cast, [*averages, "ichimoku"]


def ratings(high, low, close, volume):
    """Values, votes and the three ratings, each a list by bar."""
    v = values(high, low, close, volume)
    cast, group = votes(v)

    def mean(names, i):
        known = [cast[name][i] for name in names if cast[name][i] is not None]
        return sum(known) / len(known) if known else None

    others = [name for name in cast if name not in group]
    moving = [mean(group, i) for i in range(len(close))]
    other = [mean(others, i) for i in range(len(close))]
    both = each(lambda m, o: (m + o) / 2, moving, other)
    return v, cast, both, moving, other
