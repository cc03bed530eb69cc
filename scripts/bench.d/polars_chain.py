"""Files to indicators as `scripts/bench pipeline` measures it, in Polars: bronze, silver and gold as Delta tables.

    python polars_chain.py RAW LAKE SESSIONS

RAW is the folder of generated CSV files, LAKE the folder for the tables, SESSIONS the Delta table silver.sessions. Each
table is kept in memory for the next one and written as a whole. Prints the number of rows of each.
"""

import sys
from pathlib import Path

import polars as pl

PRICES = ["open", "high", "low", "close"]
SCHEMA = {"timestamp": pl.String, **dict.fromkeys(PRICES, pl.Float64), "volume": pl.Int64}


def main():
    raw, lake, sessions = sys.argv[1:]
    bronze = write(read(Path(raw) / "intraday/av_1min_2020q4"), f"{lake}/bronze/bars_1m")
    silver = write(validate(bronze, pl.read_delta(sessions)), f"{lake}/silver/bars_1m")
    del bronze
    write(indicators(silver), f"{lake}/gold/indicators_1m")


def write(frame, path):
    frame.write_delta(path, mode="overwrite")
    print(f"{path}: {frame.height} rows", file=sys.stderr)
    return frame


def read(folder):
    files = pl.scan_csv(folder / "*.csv", schema=SCHEMA, include_file_paths="source_file")
    wall_clock = pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")
    start = wall_clock.dt.replace_time_zone("America/New_York").dt.convert_time_zone("UTC") - pl.duration(minutes=1)
    return files.select(
        start.alias("ts"),
        *PRICES,
        "volume",
        pl.lit("av_1min_2020q4").alias("feed"),
        pl.col("source_file").str.extract(r"intraday_1min_(.+)\.csv$").alias("symbol"),
        "source_file",
    ).collect()


def validate(bars, sessions):
    """Valid bars without duplicates, with the part of the session of each."""
    session_date = pl.col("ts").dt.convert_time_zone("America/New_York").dt.date()
    right = (
        pl.all_horizontal(pl.col(PRICES).is_not_null() & (pl.col(PRICES) > 0))
        & (pl.col("high") >= pl.max_horizontal("open", "low", "close") - 1e-9)
        & (pl.col("low") <= pl.min_horizontal("open", "high", "close") + 1e-9)
        & (pl.col("volume") >= 0)
    )
    part = (
        pl.when(pl.col("ts") < pl.col("open_ts"))
        .then(pl.lit("pre"))
        .when(pl.col("ts") < pl.col("close_ts"))
        .then(pl.lit("regular"))
        .otherwise(pl.lit("post"))
    )
    return (
        bars.lazy()
        .with_columns(session_date.alias("session_date"))
        .filter(right)
        .join(sessions.lazy().select("session_date", "open_ts", "close_ts"), on="session_date")
        .sort("symbol", "ts", pl.col("source_file"), descending=[False, False, True])
        .unique(["symbol", "ts"], keep="first", maintain_order=True)
        .select("symbol", "ts", "session_date", part.alias("session"), *PRICES, "volume", "feed")
        .collect()
    )


def seeded(value, first, length, alpha):
    """An exponential average that begins at row `first` + `length` - 1 with the mean of the rows up to there."""
    row = pl.int_range(pl.len())
    begin = first + length - 1
    seed = pl.when(row == begin).then(value.rolling_mean(length)).when(row > begin).then(value)
    return seed.ewm_mean(alpha=alpha, adjust=False)


def indicators(bars):
    """One chain per symbol over regular bars."""
    close = pl.col("close")
    ema_12, ema_26 = seeded(close, 0, 12, 2 / 13), seeded(close, 0, 26, 2 / 27)
    step = close.diff()
    gain, loss = seeded(step.clip(lower_bound=0), 1, 14, 1 / 14), seeded((-step).clip(lower_bound=0), 1, 14, 1 / 14)
    rsi = pl.when(gain + loss == 0).then(0.0).otherwise(100 * gain / (gain + loss))
    price = (pl.col("high") + pl.col("low") + close) / 3
    volume = pl.col("volume").cum_sum()
    vwap = pl.when(volume > 0).then((price * pl.col("volume")).cum_sum() / volume)
    row = pl.int_range(pl.len())
    return (
        bars.lazy()
        .filter(pl.col("session") == "regular")
        .with_columns(
            close.rolling_mean(20).over("symbol").alias("sma_20"),
            ema_12.over("symbol").alias("ema_12"),
            ema_26.over("symbol").alias("ema_26"),
            pl.when(row >= 14).then(rsi).over("symbol").alias("rsi_14"),
            vwap.over("symbol", "session_date").alias("vwap"),
        )
        .with_columns((pl.col("ema_12") - pl.col("ema_26")).alias("macd"))
        .with_columns(seeded(pl.col("macd"), 25, 9, 2 / 10).over("symbol").alias("macd_signal"))
        .with_columns((pl.col("macd") - pl.col("macd_signal")).alias("macd_hist"))
        .select(
            "symbol", "ts", "close", "sma_20", "ema_12", "ema_26", "rsi_14", "macd", "macd_signal", "macd_hist", "vwap"
        )
        .collect()
    )


if __name__ == "__main__":
    main()
