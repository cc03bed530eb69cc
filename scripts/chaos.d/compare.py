"""Checks a lake after a case with deltalake and plain file access, without any of pulse's own code."""

import json
import sys
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from cluster import Problem

sys.path.append(str(Path(__file__).parents[1] / "verify"))
from ledger import FINAL, commits_of, disagreements  # noqa: E402

# Run ids differ between lakes.
IGNORED = {"_run_id"}


class Reference:
    """The tables of a clean run, sorted by all columns."""

    def __init__(self, lake):
        self.tables = {name: in_order(rows(lake, name)) for name in tables(lake)}

    def differences(self, lake):
        """Returns the number of compared rows and the differences."""
        found = set(tables(lake))
        compared, differ = 0, []
        for name, wanted in self.tables.items():
            if name not in found:
                if wanted.num_rows:
                    differ.append(f"{name} is missing")
                continue
            got = rows(lake, name)
            compared += got.num_rows
            if got.num_rows != wanted.num_rows:
                differ.append(f"{name} has {got.num_rows} rows instead of {wanted.num_rows}")
            elif not in_order(got).equals(wanted):
                differ.append(f"{name} has other rows")
        differ += [f"{name} should not be there" for name in found - set(self.tables) if rows(lake, name).num_rows]
        return compared, differ


def tables(lake):
    return sorted(f"{log.parent.parent.name}.{log.parent.name}" for log in Path(lake).glob("*/*/_delta_log"))


def folder(lake, name):
    return Path(lake).joinpath(*name.split("."))


def rows(lake, name):
    found = DeltaTable(str(folder(lake, name))).to_pyarrow_table()
    return found.drop_columns([column for column in found.column_names if column in IGNORED])


def in_order(table):
    """Sorts by every column, so that equal tables compare equal."""
    ordered = table.sort_by([(column, "ascending") for column in sorted(table.column_names)])
    return pa.table({column: ordered[column].combine_chunks() for column in sorted(ordered.column_names)})


def ledger(lake, trigger="*"):
    """The newest record of each run; rereads a record that is being written."""
    newest = {}
    # Each driver of a trigger writes to its own numbered folder.
    for path in sorted(Path(lake).glob(f"_pulse/runs/{trigger}/records/*/*.json")):
        for _ in range(5):
            try:
                record = json.loads(path.read_text())
            except (ValueError, OSError):
                continue
            newest[record["run"]] = record
            break
    return list(newest.values())


def commits(lake, name):
    """(run, version) of each commit of a table."""
    entries = [path for path in sorted(folder(lake, name).glob("_delta_log/*.json")) if path.stem.isdigit()]
    return list(commits_of((int(path.stem), path.read_text()) for path in entries))


def check_log(lake):
    """Checks that each run has one commit and that the ledger agrees with the logs."""
    runs = {record["run"]: record for record in ledger(lake)}
    return disagreements(runs, {name: commits(lake, name) for name in tables(lake)})


def orphans(lake):
    """Counts data files that no version of a table refers to, including partial files."""
    count = 0
    for name in tables(lake):
        table = folder(lake, name)
        known = set()
        for path in table.glob("_delta_log/*.json"):
            for line in path.read_text().splitlines():
                action = json.loads(line)
                known.update(action[kind]["path"] for kind in ("add", "remove") if kind in action)
        beside = {"_delta_log", "_pulse_files"}
        present = {str(path.relative_to(table)) for path in table.rglob("*.parquet*") if not beside & set(path.parts)}
        count += len(present - known)
        missing = {path for path in known if path not in present} - removed(table)
        if missing:
            raise Problem(f"{name} refers to files that are not there: {sorted(missing)[:3]}")
    return count


def removed(table):
    gone = set()
    for path in table.glob("_delta_log/*.json"):
        for line in path.read_text().splitlines():
            action = json.loads(line)
            if "remove" in action:
                gone.add(action["remove"]["path"])
    return gone
