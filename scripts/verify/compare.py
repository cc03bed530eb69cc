"""Checks that two lakes hold the same tables with the same rows, bit for bit.

    python compare.py LAKE_A LAKE_B [--ignore COLUMN]...

A lake is a folder or an s3:// URL, with the usual variables of the environment. Prints one line per check and exits with
1 if one differs. Rows are put in order first, as tables have none. A column
that names the run, such as one of a quarantine table, can be left out.
"""

import argparse
import sys

from lake import Lake
from report import Report


def main():
    arguments = parse_arguments()
    report = compare(Lake(arguments.first), Lake(arguments.second), arguments.ignore)
    print(report.summary())
    sys.exit(0 if report.passed() else 1)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", metavar="LAKE_A")
    parser.add_argument("second", metavar="LAKE_B")
    parser.add_argument("--ignore", metavar="COLUMN", action="append", default=[])
    return parser.parse_args()


def compare(first, second, ignored=()):
    report = Report()
    compare_lakes(report, first, second, ignored)
    return report


def compare_lakes(report, first, second, ignored=()):
    report.equal("tables", first.tables(), second.tables())
    report.equal("there are tables", True, bool(first.tables()))
    for table in sorted(set(first.tables()) & set(second.tables())):
        compare_table(report, table, first, second, ignored)


def compare_table(report, table, first, second, ignored):
    report.equal(f"{table} columns", first.schema(table), second.schema(table))
    rows, others = without(first.arrow(table), ignored), without(second.arrow(table), ignored)
    report.equal(f"{table} rows", rows.num_rows, others.num_rows)
    if rows.schema.equals(others.schema) and rows.num_rows == others.num_rows:
        rows, others = in_order(rows), in_order(others)
        for column in rows.column_names:
            equal = count_equal(rows[column], others[column])
            report.line(f"{table}.{column}", f"{rows.num_rows} equal", equal, equal == rows.num_rows)


def without(rows, ignored):
    return rows.drop_columns([column for column in rows.column_names if column in ignored])


def in_order(rows):
    """By every column, so that no knowledge of a table's grain is needed; all rows equal means all columns equal."""
    return rows.sort_by([(column, "ascending") for column in rows.column_names])


def count_equal(column, other):
    left, right = column.combine_chunks(), other.combine_chunks()
    if left.equals(right):
        return len(left)
    pairs = zip(left.to_pylist(), right.to_pylist())
    return sum(a == b for a, b in pairs)


if __name__ == "__main__":
    main()
