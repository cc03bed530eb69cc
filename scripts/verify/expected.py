"""What the tables must hold, computed from the vendors' rows with pandas and TA-Lib alone."""

import numpy as np
import pandas as pd
import talib

from raw import PRICES

TOLERANCE = 1e-9
TREND_WINDOWS = {
    "distance_sma": (20, 50, 200),
    "drawdown": (20, 60, 252),
    "volatility": (20, 60),
    "volume_zscore": (20, 60),
}


def read_calendar(path):
    """`session_date`, `open_ts`, `close_ts`, `early_close` of a file as in the shared calendar folder."""
    days = pd.read_csv(path)
    return pd.DataFrame(
        {
            "session_date": pd.to_datetime(days["session"]).dt.date,
            "open_ts": pd.to_datetime(days["open_utc"]).astype("datetime64[us, UTC]"),
            "close_ts": pd.to_datetime(days["close_utc"]).astype("datetime64[us, UTC]"),
            "early_close": days["early_close"] == 1,
        }
    )


def silver_minutes(bars, sessions):
    """The rows of silver.bars_1m and the number of bars quarantined and dropped."""
    bars = bars.assign(session_date=bars["ts"].dt.tz_convert("America/New_York").dt.date)
    bars = bars.merge(sessions, on="session_date", how="left")
    is_pre, is_post = bars["ts"] < bars["open_ts"], bars["ts"] >= bars["close_ts"]
    bars["session"] = np.select([is_pre, is_post], ["pre", "post"], "regular")
    good, quarantined = _without_wrong(bars, bars["open_ts"].notna())
    once, dropped = _once(good, ["symbol", "ts"])
    return once[["symbol", "ts", "session_date", "session", *PRICES, "volume", "feed"]], quarantined, dropped


def silver_days(bars, sessions):
    """The rows of silver.bars_1d and the number of bars quarantined and dropped."""
    good, quarantined = _without_wrong(bars, bars["session_date"].isin(set(sessions["session_date"])))
    once, dropped = _once(good, ["symbol", "session_date"])
    return once[["symbol", "session_date", *PRICES, "volume", "feed"]], quarantined, dropped


def _without_wrong(bars, is_session):
    prices = bars[PRICES]
    is_complete = prices.notna().all(axis=1) & bars["volume"].notna()
    is_positive = (prices > 0).all(axis=1) & (bars["volume"].fillna(-1) >= 0)
    is_ordered = (bars["high"] >= prices.max(axis=1) - TOLERANCE) & (bars["low"] <= prices.min(axis=1) + TOLERANCE)
    good = bars[is_complete & is_positive & is_ordered & is_session]
    return good.astype({"volume": "int64"}), len(bars) - len(good)


def _once(bars, grain):
    """Of bars with one grain the file whose name sorts last stays, and in it the first line."""
    bars = bars.sort_values([*grain, "source_file", "line"], ascending=[True] * len(grain) + [False, True])
    once = bars.drop_duplicates(grain).reset_index(drop=True)
    return once, len(bars) - len(once)


def regular_minutes(minutes):
    return minutes[minutes["session"] == "regular"].sort_values(["symbol", "ts"]).reset_index(drop=True)


def quarters(regular, sessions):
    """gold.bars_15m: fifteen minutes at a time, counted from the open."""
    opens = regular["session_date"].map(sessions.set_index("session_date")["open_ts"])
    since_open = (regular["ts"] - opens) // pd.Timedelta(minutes=15)
    bars = regular.assign(ts=opens + since_open * pd.Timedelta(minutes=15))
    return _roll_up(bars, ["symbol", "ts", "session_date"])


def daily_summary(regular, sessions):
    """gold.daily_summary; the return is null unless the symbol has bars in the session before."""
    value = (regular["high"] + regular["low"] + regular["close"]) / 3 * regular["volume"]
    days = _roll_up(regular.assign(value=value), ["symbol", "session_date"], value=("value", "sum"))
    days["vwap"] = (days.pop("value") / days["volume"]).where(days["volume"] > 0)
    calendar = sessions.sort_values("session_date").reset_index(drop=True)
    minutes = (calendar["close_ts"] - calendar["open_ts"]) // pd.Timedelta(minutes=1)
    days["expected_bars"] = days["session_date"].map(pd.Series(minutes.values, index=calendar["session_date"]))
    days["missing_bars"] = days["expected_bars"] - days["bars"]
    number = days["session_date"].map(pd.Series(calendar.index, index=calendar["session_date"]))
    by_symbol = days.groupby("symbol")
    is_next = number - number.groupby(days["symbol"]).shift(1) == 1
    days["return_1d"] = (days["close"] / by_symbol["close"].shift(1) - 1).where(is_next)
    order = ["open", "high", "low", "close", "volume", "vwap", "bars", "expected_bars", "missing_bars", "return_1d"]
    return days[["symbol", "session_date", *order]]


def _roll_up(bars, keys, **more):
    grouped = bars.sort_values(["symbol", "ts"], kind="stable").groupby(keys, as_index=False)
    return grouped.agg(
        open=("open", "first"),
        high=("high", "max"),
        low=("low", "min"),
        close=("close", "last"),
        volume=("volume", "sum"),
        bars=("close", "size"),
        **more,
    )


def indicators_1m(regular):
    volume = regular["volume"].astype("float64")
    value = (regular["high"] + regular["low"] + regular["close"]) / 3 * volume
    keys = [regular["symbol"], regular["session_date"]]
    volume, value = volume.groupby(keys).cumsum(), value.groupby(keys).cumsum()
    return _indicators(regular, "ts").assign(vwap=(value / volume).where(volume > 0))


def indicators_1d(days):
    return _indicators(days.sort_values(["symbol", "session_date"]).reset_index(drop=True), "session_date")


def _indicators(bars, time):
    frame = bars[["symbol", time, "close"]]
    chains = [_chain(close.to_numpy()).set_index(close.index) for _, close in frame.groupby("symbol")["close"]]
    return frame.join(pd.concat(chains)) if chains else frame


def _chain(close):
    """Each moving average of macd starts from its own first closes, which is not how talib.MACD starts."""
    fast, slow = talib.EMA(close, 12), talib.EMA(close, 26)
    macd = fast - slow
    signal = _after_nulls(macd, lambda values: talib.EMA(values, 9))
    columns = {"sma_20": talib.SMA(close, 20), "ema_12": fast, "ema_26": slow, "rsi_14": talib.RSI(close, 14)}
    return pd.DataFrame({**columns, "macd": macd, "macd_signal": signal, "macd_hist": macd - signal})


def _after_nulls(values, function):
    result = np.full(len(values), np.nan)
    start = int(np.isnan(values).sum())
    if start < len(values):
        result[start:] = function(values[start:])
    return result


def trends(days):
    days = days.sort_values(["symbol", "session_date"]).reset_index(drop=True)
    frame = days[["symbol", "session_date", "close"]]
    parts = [_trend(group).set_index(group.index) for _, group in days.groupby("symbol")]
    return frame.join(pd.concat(parts)) if parts else frame


def _trend(days):
    close, volume = days["close"].to_numpy(), days["volume"].to_numpy(dtype="float64")
    returns = np.append(np.nan, np.diff(np.log(close)))
    formulas = {
        "distance_sma": lambda n: close / _rolling(close, n, np.mean) - 1,
        "drawdown": lambda n: close / _rolling(close, n, np.max) - 1,
        "volatility": lambda n: _after_nulls(returns, lambda known: _rolling(known, n, _deviation)),
        "volume_zscore": lambda n: _score(volume, n),
    }
    return pd.DataFrame(
        {f"{name}_{n}": formulas[name](n) for name, windows in TREND_WINDOWS.items() for n in windows}
    )


def _rolling(values, length, function):
    """Each window computed afresh; null until one is full."""
    result = np.full(len(values), np.nan)
    if len(values) >= length:
        windows = np.lib.stride_tricks.sliding_window_view(values, length)
        result[length - 1 :] = function(windows, axis=1)
    return result


def _deviation(windows, axis):
    return windows.std(axis=axis, ddof=1)


def _score(values, length):
    deviation = _rolling(values, length, _deviation)
    deviation[deviation == 0] = np.nan
    return (values - _rolling(values, length, np.mean)) / deviation
