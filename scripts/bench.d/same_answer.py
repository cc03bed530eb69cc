"""Checks that two Delta tables of indicators hold the same values, so that the timed work is the same.

    python same_answer.py TABLE_A TABLE_B

Compares the row counts, and for each numeric column the number of values and their sum; sums may differ by a relative 1e-9.
"""

import sys
from math import isclose

import polars as pl


def summary(path):
    frame = pl.scan_delta(path)
    numbers = [name for name, kind in frame.collect_schema().items() if kind == pl.Float64]
    counts = [pl.col(name).count().alias(f"values of {name}") for name in numbers]
    sums = [pl.col(name).sum().alias(f"sum of {name}") for name in numbers]
    return frame.select(pl.len().alias("rows"), *counts, *sums).collect().row(0, named=True)


def main():
    first, second = (summary(path) for path in sys.argv[1:])
    wrong = [name for name in first if not isclose(first[name], second.get(name, float("nan")), rel_tol=1e-9)]
    for name in wrong:
        print(f"{name}: {first[name]} and {second.get(name)}", file=sys.stderr)
    print("the same answer" if not wrong else "the answers differ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
