"""The checks themselves: a right lake passes, and each planted error is found.

    python -m unittest test_verify      # in this folder
"""

import io
import json
import os
import shutil
import tempfile
import unittest
from contextlib import redirect_stdout
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

import compare
import expected
import files
import raw
import tables
from lake import Lake

SHARED = Path(os.environ.get("PULSE_SHARED_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
REFERENCES = SHARED / "indicator_references" / "stock_indicators"
TYPES = {
    "string": pa.string(),
    "double": pa.float64(),
    "long": pa.int64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "boolean": pa.bool_(),
}

EXTRA_LINES = [
    "2020-11-25 16:30:00,10,11,9,10,0",  # after the close
    "2020-11-25 10:30:00,,2,1,1,5",  # silver: no open
    "2020-11-25 10:40:00,10,9,11,10,5",  # silver: high below low
    "2020-11-28 10:30:00,1,1,1,1,1",  # silver: a Saturday
    "2020-11-25 10:50:00,NaN,1,1,1,1",  # bronze
    '"Error Message",,,,,',  # bronze
    "x,y",  # bronze
]
KEYS = {
    "bronze.bars_1m": ["ts"],
    "bronze.bars_1d": ["session_date"],
    "silver.sessions": ["session_date"],
    "silver.bars_1m": ["symbol", "ts"],
    "silver.bars_1d": ["symbol", "session_date"],
    "gold.bars_15m": ["symbol", "ts"],
    "gold.daily_summary": ["symbol", "session_date"],
    "gold.indicators_1m": ["symbol", "ts"],
    "gold.indicators_1d": ["symbol", "session_date"],
    "gold.trends": ["symbol", "session_date"],
}


def setUpModule():
    global folder
    folder = Path(tempfile.mkdtemp())
    write_raw(folder / "raw")
    write_lake(folder / "lake", folder / "raw")


def tearDownModule():
    shutil.rmtree(folder)


def write_raw(root):
    """Two symbols over two sessions with bad lines, and one symbol over 300 days."""
    days = [date(2020, 1, 1) + timedelta(n) for n in range(366)]
    days = [day for day in days if day.weekday() < 5]
    sessions = [f"{day},{day}T14:30:00Z,{day}T21:00:00Z,09:30,16:00,390,0,-0500" for day in days]
    header = "session,open_utc,close_utc,open_ny,close_ny,minutes,early_close,utc_offset"
    write(root / "calendar/xnys_sessions_1998_2026.csv", [header, *sessions])
    dice = np.random.default_rng(7)
    for symbol in ("AAPL", "BRK-B"):
        lines = [minute(day, n, dice) for day in ("2020-11-24", "2020-11-25") for n in range(40)]
        lines += [lines[0], *EXTRA_LINES]
        name = f"intraday/av_1min_2020q4/intraday_1min_{symbol}.csv"
        write(root / name, ["timestamp,open,high,low,close,volume", *reversed(lines)])
    lines = [f"{day},{bar(dice)},O" for day in days] + ["2020-12-25,5,,4,4,0,O"]
    write(root / "daily/sp500_5yr/O_data.csv", ["date,open,high,low,close,volume,Name", *lines])


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def minute(day, n, dice):
    return f"{day} {(571 + n) // 60:02d}:{(571 + n) % 60:02d}:00,{bar(dice)}"


def bar(dice):
    first, last = dice.uniform(90, 110, 2).round(4)
    return f"{first},{max(first, last) + 1:.4f},{min(first, last) - 1:.4f},{last},{dice.integers(1, 999)}"


def write_lake(root, raw_folder):
    sessions = expected.read_calendar(tables.default_calendar(raw_folder))
    minutes, minute_files = raw.read_minutes(raw_folder)
    days, day_files = raw.read_days(raw_folder)
    silver_minutes, wrong_minutes, _ = expected.silver_minutes(minutes, sessions)
    silver_days, wrong_days, _ = expected.silver_days(days, sessions)
    regular = expected.regular_minutes(silver_minutes)
    frames = {
        "silver.sessions": sessions,
        "bronze.bars_1m": minutes,
        "bronze.bars_1d": days,
        "silver.bars_1m": silver_minutes,
        "silver.bars_1d": silver_days,
        "gold.bars_15m": expected.quarters(regular, sessions),
        "gold.daily_summary": expected.daily_summary(regular, sessions),
        "gold.indicators_1m": expected.indicators_1m(regular),
        "gold.indicators_1d": expected.indicators_1d(silver_days),
        "gold.trends": expected.trends(silver_days),
    }
    for table, frame in frames.items():
        put(root, table, to_arrow(frame, tables.SCHEMAS[table]))
    put_rejected(root, "bronze.bars_1m", minute_files)
    put_rejected(root, "bronze.bars_1d", day_files)
    put(root, "silver.bars_1m__quarantine", pa.table({"n": list(range(wrong_minutes))}))
    put(root, "silver.bars_1d__quarantine", pa.table({"n": list(range(wrong_days))}))


def to_arrow(frame, schema):
    fields = [tuple(field.split()) for field in schema.split(", ")]
    schema = pa.schema([(name, TYPES[kind]) for name, kind in fields])
    return pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)


def put_rejected(root, table, files):
    paths = [file.source_file for file in files.itertuples() for _ in range(file.read - file.kept)]
    if paths:
        put(root, f"{table}__quarantine", pa.table({"source_file": paths}))


def put(root, table, rows):
    write_deltalake(str(root.joinpath(*table.split("."))), rows, mode="overwrite")


def with_value(rows, column, row, value):
    values = rows[column].to_pylist()
    values[row] = value
    index = rows.column_names.index(column)
    return rows.set_column(index, column, pa.array(values, rows.schema.field(column).type))


class PlantedErrors(unittest.TestCase):
    def setUp(self):
        self.lake = folder / self.id()
        shutil.copytree(folder / "lake", self.lake)

    def verify(self):
        output = io.StringIO()
        with redirect_stdout(output):
            report = tables.verify(Lake(self.lake), folder / "raw", tables.default_calendar(folder / "raw"))
        return report, output.getvalue()

    def compare(self):
        output = io.StringIO()
        with redirect_stdout(output):
            report = compare.compare(Lake(folder / "lake"), Lake(self.lake))
        return report, output.getvalue()

    def change(self, table, change):
        put(self.lake, table, change(Lake(self.lake).arrow(table)))

    def assert_found(self, line):
        report, output = self.verify()
        self.assertFalse(report.passed())
        differing = [found for found in output.splitlines() if found.startswith("DIFF")]
        self.assertTrue(any(line in found for found in differing), differing)

    def test_a_right_lake_passes(self):
        report, output = self.verify()
        self.assertTrue(report.passed(), output)
        self.assertIn("kept + quarantined of intraday/av_1min_2020q4/intraday_1min_AAPL.csv: expected (85, 3)", output)
        self.assertIn("silver.bars_1m: 170 read = 162 kept + 6 quarantined + 2 repeated", output)
        self.assertTrue(self.compare()[0].passed())

    def test_a_value_of_any_column_of_any_table(self):
        for table, keys in KEYS.items():
            rows = Lake(self.lake).arrow(table)
            columns = [column for column in rows.column_names if column not in {*keys, "source_file", "line"}]
            wrong = rows
            for column in columns:
                row = next(n for n, value in enumerate(rows[column].to_pylist()) if value is not None)
                wrong = with_value(wrong, column, row, changed(rows[column][row].as_py()))
            put(self.lake, table, wrong)
            output = self.verify()[1]
            for column in columns:
                self.assertIn(f"DIFF  {table}.{column}:", output)
            self.assertFalse(self.compare()[0].passed())
            put(self.lake, table, rows)

    def test_a_value_of_a_key(self):
        for table, keys in KEYS.items():
            rows = Lake(self.lake).arrow(table)
            put(self.lake, table, with_value(rows, keys[0], 0, changed(rows[keys[0]][0].as_py())))
            self.assertIn(f"DIFF  {table} rows that are missing: expected 0, found 1", self.verify()[1])
            put(self.lake, table, rows)

    def test_a_value_that_should_be_null(self):
        self.change("gold.indicators_1m", lambda rows: with_value(rows, "sma_20", 0, 100.0))
        self.assert_found("gold.indicators_1m.sma_20")

    def test_a_null_that_should_be_a_value(self):
        self.change("gold.trends", lambda rows: with_value(rows, "drawdown_252", rows.num_rows - 1, None))
        self.assert_found("gold.trends.drawdown_252")

    def test_nan_in_place_of_null(self):
        self.change("gold.indicators_1m", lambda rows: with_value(rows, "sma_20", 0, float("nan")))
        self.assert_found("gold.indicators_1m without NaN")

    def test_a_ten_millionth_of_an_indicator(self):
        scaled = lambda rows: with_value(rows, "rsi_14", 30, rows["rsi_14"][30].as_py() * (1 + 1e-7))
        self.change("gold.indicators_1d", scaled)
        self.assert_found("gold.indicators_1d.rsi_14")

    def test_rounding_of_an_indicator_passes_but_lakes_are_compared_exactly(self):
        scaled = lambda rows: with_value(rows, "rsi_14", 30, rows["rsi_14"][30].as_py() * (1 + 1e-13))
        self.change("gold.indicators_1d", scaled)
        self.assertTrue(self.verify()[0].passed())
        self.assertFalse(self.compare()[0].passed())

    def test_a_column_that_is_left_out_of_the_comparison(self):
        self.change("silver.sessions", lambda rows: with_value(rows, "early_close", 0, True))
        with redirect_stdout(io.StringIO()):
            report = compare.compare(Lake(folder / "lake"), Lake(self.lake), ["early_close"])
        self.assertTrue(report.passed())
        self.assertFalse(self.compare()[0].passed())

    def test_a_lost_row(self):
        self.change("silver.bars_1m", lambda rows: rows.slice(1))
        self.assert_found("silver.bars_1m rows that are missing: expected 0, found 1")

    def test_a_doubled_row(self):
        self.change("gold.bars_15m", lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]))
        self.assert_found("gold.bars_15m repeated symbol, ts: expected 0, found 1")

    def test_a_lost_line_although_another_is_doubled(self):
        self.change("bronze.bars_1m", lambda rows: pa.concat_tables([rows.slice(1), rows.slice(5, 1)]))
        self.assert_found("bronze.bars_1m rows that are missing: expected 0, found 1")

    def test_a_lost_quarantined_line(self):
        self.change("bronze.bars_1m__quarantine", lambda rows: rows.slice(1))
        self.assert_found("intraday_1min_AAPL.csv: expected (85, 3), found (85, 2)")

    def test_a_lost_quarantined_bar(self):
        self.change("silver.bars_1d__quarantine", lambda rows: rows.slice(1))
        self.assert_found("silver.bars_1d quarantined: expected 1, found 0")

    def test_rows_in_another_order_are_the_same(self):
        self.change("silver.bars_1m", lambda rows: rows.take(pc.sort_indices(rows, [("close", "descending")])))
        self.assertTrue(self.verify()[0].passed())
        self.assertTrue(self.compare()[0].passed())

    def test_whole_urls_as_source_files(self):
        for table in ("bronze.bars_1m", "bronze.bars_1m__quarantine"):
            rows = Lake(self.lake).arrow(table)
            urls = pc.binary_join_element_wise("file:///somewhere", rows["source_file"], "/")
            put(self.lake, table, rows.set_column(rows.column_names.index("source_file"), "source_file", urls))
        self.assertTrue(self.verify()[0].passed())

    def test_another_type(self):
        shutil.rmtree(self.lake / "silver/bars_1d")
        rows = Lake(folder / "lake").arrow("silver.bars_1d")
        index = rows.column_names.index("volume")
        put(self.lake, "silver.bars_1d", rows.set_column(index, "volume", rows["volume"].cast(pa.float64())))
        self.assert_found("silver.bars_1d columns")

    def test_a_missing_table(self):
        shutil.rmtree(self.lake / "gold/trends")
        self.assert_found("gold.trends columns")
        self.assertFalse(self.compare()[0].passed())

    def test_a_file_that_is_not_the_one_the_log_names(self):
        table = DeltaTable(str(self.lake / "gold/trends"))
        [path] = [Path(uri.removeprefix("file://")) for uri in table.file_uris()]
        pd.read_parquet(path).iloc[:-1].to_parquet(path)
        with self.assertRaises(pa.ArrowInvalid):
            self.verify()

    def test_two_empty_lakes_are_not_equal(self):
        with redirect_stdout(io.StringIO()):
            self.assertFalse(compare.compare(Lake(folder / "none"), Lake(folder / "none")).passed())


def changed(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "?"
    if isinstance(value, int):
        return value + 1
    return value * 1.001 + 0.001 if isinstance(value, float) else value + timedelta(days=1)


@unittest.skipUnless(REFERENCES.is_dir(), "the shared data is not at hand: set PULSE_SHARED_DATA")
class References(unittest.TestCase):
    """What is computed here against what others published."""

    def test_indicators(self):
        quotes = pd.read_csv(REFERENCES / "quotes/default.csv")
        quotes.columns = [name.strip().lower() for name in quotes.columns]
        chain = expected._chain(quotes["close"].to_numpy(dtype="float64"))
        for column, file, field in [
            ("sma_20", "sma", "sma"),
            ("rsi_14", "rsi", "rsi"),
            ("macd", "macd", "macd"),
            ("macd_signal", "macd", "signal"),
            ("macd_hist", "macd", "histogram"),
            ("ema_12", "macd", "fastEma"),
            ("ema_26", "macd", "slowEma"),
        ]:
            rows = json.loads((REFERENCES / f"results/{file}.standard.json").read_text())
            wanted = np.array([row[field] for row in rows], dtype="float64")
            with self.subTest(column):
                np.testing.assert_allclose(chain[column].to_numpy(), wanted, rtol=1e-9, atol=1e-9, equal_nan=True)


class Files(unittest.TestCase):
    def test_another_value_of_any_column(self):
        rows = files.Values(1).rows(40)
        self.assertEqual(files.differences(rows, [dict(row) for row in rows], files.ALL), [])
        for name, _, kind in files.COLUMNS:
            others = [row[name] for row in rows if files.plain(row[name], kind) != files.plain(rows[0][name], kind)]
            for other in others:
                wrong = files.differences(rows, [{**rows[0], name: other}, *rows[1:]], files.ALL)
                self.assertEqual(len(wrong), 1, name)

    def test_rows_too_many_and_too_few(self):
        rows = files.Values(2).rows(3)
        for found in (rows[1:], rows + rows[:1], []):
            self.assertTrue(files.differences(rows, found, files.ALL))

    def test_bits(self):
        for kind, one, other in [(pa.float64(), 0.0, -0.0), (pa.float64(), 0.1, 0.1 + 2**-56), (pa.decimal128(9, 2), Decimal("1.10"), Decimal("1.11"))]:
            self.assertNotEqual(files.plain(one, kind), files.plain(other, kind))


if __name__ == "__main__":
    unittest.main()
