"""Checks milestone M6: one commit a run, a ledger that says what the tables' logs say, nothing cut off, no file missing. Reads only."""

import json
import sys
import time

from checks import LAKE_READERS, read_specification, run

sys.path.append(LAKE_READERS)
from lake import Lake  # noqa: E402
from ledger import commits_of, disagreements  # noqa: E402

# A scheduler renews its leases while it lives, and the next one takes up what it left.
LATE_SECONDS = 600


def validate(environment, report, _):
    storage = (read_specification(environment, report) or {}).get("storage")
    if not storage:
        return
    lake = Lake(storage["lake"])
    paths, names = lake.paths(), lake.tables()
    report.check("runs in the ledger", "some", lambda: len(records(lake, paths)), bool)
    report.check("tables", "some", lambda: len(names), bool)
    logs = lambda: {name: commits(lake, paths, name) for name in names}  # noqa: E731
    report.check("where ledger and logs disagree", [], lambda: disagreements(ended(lake, paths), logs()))
    report.check("submissions that nobody carries on", [], lambda: abandoned(lake, paths))
    for name in names:
        report.check(f"{name}: files that are missing", [], lambda n=name: sorted(set(lake.files(n)) - set(paths)))


def of_triggers(paths, kind):
    """(trigger, path) of files of the ledger, oldest first."""
    parts = ((path.split("/"), path) for path in sorted(paths) if path.startswith("_pulse/runs/"))
    return [(part[2], path) for part, path in parts if len(part) > 4 and part[3] == kind]


def records(lake, paths):
    """The newest record of each run: each driver of a trigger writes to a folder of its own, which are numbered."""
    found = (json.loads(lake.text(path)) for _, path in of_triggers(paths, "records"))
    return {record["run"]: record for record in found}


def ended(lake, paths):
    """What runs at this moment has not ended for a good reason."""
    running = open_triggers(paths)
    return {run: record for run, record in records(lake, paths).items() if record["trigger"] not in running}


def open_triggers(paths):
    ended = {trigger for trigger, _ in of_triggers(paths, "ended")}
    return {trigger for trigger, _ in of_triggers(paths, "lease")} - ended


def abandoned(lake, paths):
    leases = dict(of_triggers(paths, "lease"))
    late = (time.time() - LATE_SECONDS) * 1000
    return [trigger for trigger in sorted(open_triggers(paths)) if json.loads(lake.text(leases[trigger]))["expires"] < late]


def commits(lake, paths, table):
    log = "{}/{}/_delta_log/".format(*table.split("."))
    entries = [path for path in paths if path.startswith(log) and path.removeprefix(log).removesuffix(".json").isdigit()]
    return list(commits_of((int(path.removeprefix(log).removesuffix(".json")), lake.text(path)) for path in sorted(entries)))


if __name__ == "__main__":
    sys.exit(run(__doc__, validate))
