"""Checks milestones M3 to M5: the tables of one layer against the vendors' files, which are read and computed anew. Reads only."""

import sys
import tempfile
from pathlib import Path

from checks import LAKE_READERS, read_specification, run

sys.path.append(LAKE_READERS)
import raw  # noqa: E402
import tables  # noqa: E402
from lake import Lake  # noqa: E402


def options(made):
    made.add_argument("--layer", choices=tables.LAYERS, required=True)
    made.add_argument("--raw", type=Path, metavar="FOLDER", help="the raw bucket's files (default: they are fetched)")
    made.add_argument(
        "--calendar", type=Path, metavar="CSV", help="sessions of the exchange (default: silver.sessions is taken as given)"
    )


def validate(environment, report, asked):
    storage = (read_specification(environment, report) or {}).get("storage")
    if not storage:
        return
    with tempfile.TemporaryDirectory() as folder:
        files = asked.raw or fetch(environment, storage["raw"], Path(folder))
        found = report.check("files of the feeds", "some", lambda: len(list(files.rglob("*.csv"))), bool)
        if found:
            calendar = asked.calendar or tables.default_calendar(files)
            report.add(tables.verify(Lake(storage["lake"]), files, calendar, [asked.layer]))


def fetch(environment, root, folder):
    """What the feeds bring, and no other files."""
    s3 = environment.client("s3")
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    for feed in raw.MINUTE_FEEDS + raw.DAILY_FEEDS:
        listed = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/{feed.folder}/")
        for key in (found["Key"] for page in listed for found in page.get("Contents", [])):
            path = folder / key.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, key, str(path))
    return folder


if __name__ == "__main__":
    sys.exit(run(__doc__, validate, options))
