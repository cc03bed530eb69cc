"""Checks a lake of the shipped project against the vendors' files, which are read and computed anew.

    python tables.py LAKE RAW [--calendar CSV]

Prints one line per check and exits with 1 if one differs. LAKE is a folder or an s3:// URL, RAW a folder. Without --calendar the
file RAW/calendar/xnys_sessions_1998_2026.csv is taken; where there is none, silver.sessions is taken as given.
"""

import argparse
import sys
from math import isclose
from pathlib import Path

import expected
import raw
from lake import Lake
from report import Report

SCHEMAS = {
    "bronze.bars_1m": "ts timestamp, open double, high double, low double, close double, volume long, feed string, "
    "symbol string, source_file string, line long",
    "bronze.bars_1d": "session_date date, open double, high double, low double, close double, volume long, "
    "name string, feed string, symbol string, source_file string, line long",
    "silver.bars_1m": "symbol string, ts timestamp, session_date date, session string, open double, high double, "
    "low double, close double, volume long, feed string",
    "silver.bars_1d": "symbol string, session_date date, open double, high double, low double, close double, "
    "volume long, feed string",
    "silver.sessions": "session_date date, open_ts timestamp, close_ts timestamp, early_close boolean",
    "gold.bars_15m": "symbol string, ts timestamp, session_date date, open double, high double, low double, "
    "close double, volume long, bars long",
    "gold.daily_summary": "symbol string, session_date date, open double, high double, low double, close double, "
    "volume long, vwap double, bars long, expected_bars long, missing_bars long, return_1d double",
    "gold.indicators_1m": "symbol string, ts timestamp, close double, sma_20 double, ema_12 double, ema_26 double, "
    "rsi_14 double, macd double, macd_signal double, macd_hist double, vwap double",
    "gold.indicators_1d": "symbol string, session_date date, close double, sma_20 double, ema_12 double, "
    "ema_26 double, rsi_14 double, macd double, macd_signal double, macd_hist double",
    "gold.trends": "symbol string, session_date date, close double, "
    + ", ".join(f"{name}_{n} double" for name, windows in expected.TREND_WINDOWS.items() for n in windows),
}

LAYERS = ("bronze", "silver", "gold")

# Below this share of its scale a number is rounding: of the price for differences of prices, of 100 for the rsi.
ROUNDING = 1e-12
OF_PRICE = dict.fromkeys(["sma_20", "ema_12", "ema_26", "macd", "macd_signal", "macd_hist", "vwap"], "close")


def main():
    arguments = parse_arguments()
    report = verify(Lake(arguments.lake), arguments.raw, arguments.calendar or default_calendar(arguments.raw))
    print(report.summary())
    sys.exit(0 if report.passed() else 1)


def verify(lake, raw_folder, calendar, layers=LAYERS):
    """Values are only compared once every table has its columns."""
    report = Report()
    for table, schema in SCHEMAS.items():
        if table.split(".")[0] in layers:
            check_layout(report, lake, table, schema)
    if report.passed():
        minutes, days = raw.read_minutes(raw_folder), raw.read_days(raw_folder)
        if "bronze" in layers:
            check_bronze(report, lake, "bronze.bars_1m", *minutes, "ts")
            check_bronze(report, lake, "bronze.bars_1d", *days, "session_date")
        if "silver" in layers or "gold" in layers:
            sessions = find_sessions(report, lake, calendar, layers)
            check_minutes(report, lake, minutes[0], sessions, layers)
            check_days(report, lake, days[0], sessions, layers)
    return report


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake")
    parser.add_argument("raw", type=Path)
    parser.add_argument("--calendar", type=Path)
    return parser.parse_args()


def default_calendar(raw_folder):
    path = raw_folder / "calendar" / "xnys_sessions_1998_2026.csv"
    return path if path.exists() else None


def same_sums(expected, found):
    """Counts are equal; two readers add in different orders, so sums differ by rounding."""
    pairs = zip(expected[1:], found[1:], strict=True)
    return expected[0] == found[0] and all(a[0] == b[0] and isclose(a[1], b[1], rel_tol=1e-9) for a, b in pairs)


def check_layout(report, lake, table, schema):
    """Columns, and that a second reader sees what deltalake sees; DuckDB's for S3 is a download, and left out."""
    report.equal(f"{table} columns", schema, lake.schema(table))
    if lake.exists(table):
        report.equal(f"{table} without NaN", 0, lake.count_nan(table))
    if lake.is_local() and lake.exists(table):
        expected, found = lake.sums(table), lake.sums_in_duckdb(table)
        report.line(f"{table} rows and sums in DuckDB", expected, found, same_sums(expected, found))


def find_sessions(report, lake, calendar, layers):
    if calendar is None:
        print("note  silver.sessions is taken as given: there is no calendar file")
        return lake.read("silver.sessions")
    sessions = expected.read_calendar(calendar)
    if "silver" in layers:
        report.frames("silver.sessions", sessions, lake.read("silver.sessions"), ["session_date"])
    return sessions


def check_minutes(report, lake, bars, sessions, layers):
    minutes, quarantined, dropped = expected.silver_minutes(bars, sessions)
    if "silver" in layers:
        check_silver(report, lake, "silver.bars_1m", minutes, quarantined, dropped, ["symbol", "ts"])
    if "gold" in layers:
        regular = expected.regular_minutes(minutes)
        quarters = expected.quarters(regular, sessions)
        report.frames("gold.bars_15m", quarters, lake.read("gold.bars_15m"), ["symbol", "ts"])
        check_gold(report, lake, "gold.daily_summary", expected.daily_summary(regular, sessions), "session_date")
        check_gold(report, lake, "gold.indicators_1m", expected.indicators_1m(regular), "ts")


def check_days(report, lake, bars, sessions, layers):
    days, quarantined, dropped = expected.silver_days(bars, sessions)
    if "silver" in layers:
        check_silver(report, lake, "silver.bars_1d", days, quarantined, dropped, ["symbol", "session_date"])
    if "gold" in layers:
        check_gold(report, lake, "gold.indicators_1d", expected.indicators_1d(days), "session_date")
        check_gold(report, lake, "gold.trends", expected.trends(days), "session_date")


def check_bronze(report, lake, table, bars, files, time):
    """Lines add up file by file, and what was kept says what the files say."""
    found = lake.read(table)
    names = list(files["source_file"])
    found["source_file"] = found["source_file"].map(lambda path: below_root(path, names))
    rejected = lake.count_by_file(f"{table}__quarantine", lambda path: below_root(path, names))
    kept = found.groupby("source_file").size()
    for file in files.itertuples():
        counts = (int(kept.get(file.source_file, 0)), int(rejected.get(file.source_file, 0)))
        wanted = (file.kept, file.read - file.kept)
        report.equal(f"{table} kept + quarantined of {file.source_file}", wanted, counts)
    report.equal(f"{table} lines in all", int(files["read"].sum()), len(found) + int(sum(rejected.values())))
    keys = ["source_file", time]
    values = [c for c in bars.columns if c != "line"] + ["_repeat"]
    report.frames(table, in_line_order(bars, keys)[values], in_line_order(found, keys)[values], [*keys, "_repeat"])


def in_line_order(bars, keys):
    """Numbers the bars that repeat a key, so that numbering of lines itself need not be compared."""
    bars = bars.sort_values(["source_file", "line"]).reset_index(drop=True)
    return bars.assign(_repeat=bars.groupby(keys).cumcount())


def below_root(path, names):
    """A table may hold whole URLs; the name below the input folder identifies the file."""
    return next((name for name in names if path == name or path.endswith("/" + name)), path)


def check_silver(report, lake, table, rows, quarantined, dropped, grain):
    read = len(rows) + quarantined + dropped
    print(f"note  {table}: {read} read = {len(rows)} kept + {quarantined} quarantined + {dropped} repeated")
    report.equal(f"{table} quarantined", quarantined, lake.count(f"{table}__quarantine"))
    report.frames(table, rows, lake.read(table), grain)


def check_gold(report, lake, table, rows, time):
    scales = {name: rows[column] for name, column in OF_PRICE.items() if name in rows} | {"rsi_14": 100.0}
    exact = {"open", "high", "low", "close"}
    computed = [c for c in rows.select_dtypes("float") if c not in exact]
    floors = {column: ROUNDING * scales.get(column, 1.0) for column in computed}
    report.frames(table, rows, lake.read(table), ["symbol", time], floors)


if __name__ == "__main__":
    main()
