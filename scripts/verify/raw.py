"""Reads the vendors' files as the contract of the feeds says, without the runner."""

import csv
import math
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

PRICES = ["open", "high", "low", "close"]
NEW_YORK = ZoneInfo("America/New_York")
BIGINT = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Feed:
    name: str
    folder: str
    pattern: str
    stamp: str
    fields: tuple


MINUTE_FIELDS = ("open", "high", "low", "close", "volume")
MINUTE_FEEDS = [
    Feed("av_1min_2020q4", "intraday/av_1min_2020q4", r"intraday_1min_(.+)\.csv", "timestamp", MINUTE_FIELDS),
    Feed("av_week_2019_02_11", "intraday/av_week_2019_02_11", r"(.+)_1min\.csv", "datetime", MINUTE_FIELDS),
]
DAILY_FEEDS = [Feed("sp500_5yr", "daily/sp500_5yr", r"(.+)_data\.csv", "date", (*MINUTE_FIELDS, "Name"))]


def read_minutes(root):
    """Kept lines with `ts`, the bar's start in UTC, and the number of lines read and kept of each file."""
    bars, files = _read_feeds(root, MINUTE_FEEDS, _minute)
    bars["stamp"] = bars["stamp"].astype("datetime64[us, UTC]")
    return bars.rename(columns={"stamp": "ts"}), files


def read_days(root):
    """Kept lines with `session_date`, and the number of lines read and kept of each file."""
    bars, files = _read_feeds(root, DAILY_FEEDS, date.fromisoformat)
    bars = bars.rename(columns={"stamp": "session_date", "Name": "name"})
    return bars, files


def _read_feeds(root, feeds, stamp):
    rows, files = [], []
    for feed in feeds:
        for path in sorted(Path(root, feed.folder).glob("*.csv")):
            if match := re.fullmatch(feed.pattern, path.name):
                kept, read = _read_file(path, feed, stamp)
                source_file = f"{feed.folder}/{path.name}"
                rows += [{**row, "feed": feed.name, "symbol": match[1], "source_file": source_file} for row in kept]
                files.append({"feed": feed.name, "source_file": source_file, "read": read, "kept": len(kept)})
    columns = ["stamp", *feeds[0].fields, "line", "feed", "symbol", "source_file"]
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.astype({**dict.fromkeys(PRICES, "float64"), "volume": "Int64"})
    return frame, pd.DataFrame(files, columns=["feed", "source_file", "read", "kept"])


def _read_file(path, feed, stamp):
    """The rows that keep to the contract, and the number of all rows; empty lines are no rows."""
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        lines = csv.reader(file)
        header = next(lines, [])
        positions = {name: header.index(name) for name in (feed.stamp, *feed.fields) if name in header}
        kept, read = [], 0
        for fields in lines:
            if fields:
                read += 1
                row = _parse(fields, header, positions, feed, stamp)
                kept += [{**row, "line": lines.line_num}] if row else []
    return kept, read


def _parse(fields, header, positions, feed, stamp):
    """None for a row that does not keep to the contract."""
    if len(fields) != len(header) or len(positions) != 1 + len(feed.fields):
        return None
    try:
        "".join(fields).encode("utf-8")
        row = {"stamp": stamp(fields[positions[feed.stamp]])}
        for name in feed.fields:
            text = fields[positions[name]]
            row[name] = FIELD_TYPES.get(name, _number)(text) if text else None
    except (ValueError, OverflowError):
        return None
    return row


def _minute(text):
    """The start of the minute that ends when New York's clocks show `text`, for the first time if they do twice."""
    wall = datetime.fromisoformat(text)
    moment = (wall if wall.tzinfo else wall.replace(tzinfo=NEW_YORK)).astimezone(timezone.utc)
    if wall.tzinfo is None and moment.astimezone(NEW_YORK).replace(tzinfo=None) != wall:
        raise ValueError("the clocks skip this time")
    return moment - timedelta(minutes=1)


def _number(text):
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _whole_number(text):
    try:
        number = int(text)
    except ValueError:
        number = int(_number(text)) if _number(text).is_integer() else None
    if number not in BIGINT:
        raise ValueError("not a 64-bit integer")
    return number


FIELD_TYPES = {"volume": _whole_number, "Name": str}
