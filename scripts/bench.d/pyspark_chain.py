"""Files to indicators as `scripts/bench pipeline` measures it, in PySpark on this machine's cores, with Parquet tables.

    python pyspark_chain.py RAW LAKE SESSIONS

RAW is the folder of generated CSV files, LAKE the folder for the tables, SESSIONS the Delta table silver.sessions; Spark reads its
Parquet files. Indicators are recursive and Spark's windows are not, so pandas computes them, symbol by
symbol, in Python workers that receive whole symbols as Arrow. Prints the peak memory of the JVM, which the parent cannot measure;
the workers are not counted.
"""

import os
import sys
from pathlib import Path

import pandas as pd
from deltalake import DeltaTable, convert_to_deltalake
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

PRICES = ["open", "high", "low", "close"]
CSV = "timestamp string, open double, high double, low double, close double, volume bigint"
GOLD = "symbol string, ts timestamp, close double, " + ", ".join(
    f"{name} double" for name in "sma_20 ema_12 ema_26 rsi_14 macd macd_signal macd_hist vwap".split()
)


def main():
    raw, lake, sessions = sys.argv[1:]
    spark = session()
    bronze = write(read(spark, f"{raw}/intraday/av_1min_2020q4"), f"{lake}/bronze/bars_1m")
    days = spark.read.parquet(*DeltaTable(sessions).file_uris())
    silver = write(validate(bronze, days), f"{lake}/silver/bars_1m")
    regular = silver.where("session = 'regular'")
    write(regular.groupBy("symbol").applyInPandas(indicators, GOLD), f"{lake}/gold/indicators_1m")
    # Adds only the Delta log, so that the results can be compared; takes a second.
    convert_to_deltalake(f"{lake}/gold/indicators_1m")
    print(f"peak {peak_kib(spark)} KiB", file=sys.stderr)
    spark.stop()


def session():
    # Workers use this Python and its packages.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[*]").appName("pulse-bench")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "6g",
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def peak_kib(spark):
    status = Path(f"/proc/{spark.sparkContext._gateway.proc.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def write(frame, path):
    frame.write.mode("overwrite").parquet(path)
    return frame.sparkSession.read.parquet(path)


def read(spark, folder):
    stamp = F.to_utc_timestamp(F.to_timestamp("timestamp", "yyyy-MM-dd HH:mm:ss"), "America/New_York")
    return spark.read.csv(folder, schema=CSV, header=True).select(
        (stamp - F.expr("interval 1 minute")).alias("ts"),
        *PRICES,
        "volume",
        F.lit("av_1min_2020q4").alias("feed"),
        F.regexp_extract(F.input_file_name(), r"intraday_1min_(.+)\.csv$", 1).alias("symbol"),
        F.input_file_name().alias("source_file"),
    )


def validate(bars, days):
    """Valid bars without duplicates, with the part of the session of each."""
    right = F.expr(
        "open > 0 and high > 0 and low > 0 and close > 0 and high >= greatest(open, low, close) - 1e-9 "
        "and low <= least(open, high, close) + 1e-9 and volume >= 0"
    )
    part = F.expr("case when ts < open_ts then 'pre' when ts < close_ts then 'regular' else 'post' end")
    first = Window.partitionBy("symbol", "ts").orderBy(F.desc("source_file"))
    return (
        bars.where(right)
        .withColumn("session_date", F.to_date(F.from_utc_timestamp("ts", "America/New_York")))
        .join(F.broadcast(days.select("session_date", "open_ts", "close_ts")), "session_date")
        .withColumn("place", F.row_number().over(first))
        .where("place = 1")
        .select("symbol", "ts", "session_date", part.alias("session"), *PRICES, "volume", "feed")
    )


def seeded(values, first, length, alpha):
    """An exponential average that begins at row `first` + `length` - 1 with the mean of the rows up to there."""
    begin = first + length - 1
    seed = values.copy()
    seed.iloc[:begin] = float("nan")
    if len(values) > begin:
        seed.iloc[begin] = values.iloc[first : begin + 1].mean()
    return seed.ewm(alpha=alpha, adjust=False).mean()


def indicators(bars):
    bars = bars.sort_values("ts").reset_index(drop=True)
    close = bars["close"]
    step = close.diff()
    gain, loss = seeded(step.clip(lower=0), 1, 14, 1 / 14), seeded((-step).clip(lower=0), 1, 14, 1 / 14)
    rsi = (100 * gain / (gain + loss)).mask(gain + loss == 0, 0.0)
    ema_12, ema_26 = seeded(close, 0, 12, 2 / 13), seeded(close, 0, 26, 2 / 27)
    macd = ema_12 - ema_26
    signal = seeded(macd, 25, 9, 2 / 10)
    worth = (bars["high"] + bars["low"] + close) / 3 * bars["volume"]
    volume = bars["volume"].groupby(bars["session_date"]).cumsum()
    vwap = (worth.groupby(bars["session_date"]).cumsum() / volume).where(volume > 0)
    columns = {
        "sma_20": close.rolling(20).mean(),
        "ema_12": ema_12,
        "ema_26": ema_26,
        "rsi_14": rsi,
        "macd": macd,
        "macd_signal": signal,
        "macd_hist": macd - signal,
        "vwap": vwap,
    }
    return pd.DataFrame({"symbol": bars["symbol"], "ts": bars["ts"], "close": close, **columns})


if __name__ == "__main__":
    main()
