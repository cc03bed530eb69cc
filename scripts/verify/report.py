"""Compares what was expected with what was found, one printed line per comparison."""

import numpy as np
import pandas as pd

RELATIVE = 1e-9


class Report:
    def __init__(self):
        self.checks = 0
        self.differences = 0

    def passed(self):
        return self.differences == 0

    def summary(self):
        return f"{self.checks} checks, {self.differences} differ"

    def equal(self, name, expected, found):
        self.line(name, expected, found, expected == found)

    def line(self, name, expected, found, is_equal, detail=""):
        self.checks += 1
        self.differences += not is_equal
        print(f"{'ok  ' if is_equal else 'DIFF'}  {name}: expected {expected}, found {found}{detail}")

    def frames(self, name, expected, found, keys, floors=None):
        """Row for row by `keys`. Columns in `floors` may differ by RELATIVE, near zero by the floor; others not."""
        self.equal(f"{name} rows", len(expected), len(found))
        self.equal(f"{name} repeated {', '.join(keys)}", 0, int(found.duplicated(keys).sum()))
        expected = expected.assign(**{f"floor of {c}": floor for c, floor in (floors or {}).items()})
        both = expected.merge(found, on=keys, how="outer", suffixes=(" expected", " found"), indicator=True)
        self.equal(f"{name} rows that are missing", 0, int((both["_merge"] == "left_only").sum()))
        self.equal(f"{name} rows too many", 0, int((both["_merge"] == "right_only").sum()))
        both = both[both["_merge"] == "both"]
        for column in [column for column in expected.columns if column not in keys and f"{column} found" in both]:
            self._column(f"{name}.{column}", both, column, keys)

    def _column(self, name, both, column, keys):
        wanted, got = both[f"{column} expected"], both[f"{column} found"]
        floor = both.get(f"floor of {column}")
        is_equal = (wanted == got) if floor is None else is_close(wanted, got, floor)
        is_equal = is_equal.fillna(False).astype(bool) | (wanted.isna() & got.isna())
        detail = ""
        if not is_equal.all():
            first = is_equal.idxmin()
            key = ", ".join(str(both.loc[first, key]) for key in keys)
            detail = f"; first at {key}: expected {wanted[first]}, found {got[first]}"
        self.line(name, f"{len(both)} equal", int(is_equal.sum()), bool(is_equal.all()), detail)


def is_close(wanted, got, floor):
    wanted, got = wanted.astype("float64"), got.astype("float64")
    allowed = np.maximum(RELATIVE * wanted.abs(), floor)
    return pd.Series((wanted - got).abs() <= allowed, index=wanted.index)
