"""Compares a lake's run ledger with the logs of its tables."""

import json
from collections import Counter

FINAL = {"succeeded", "unchanged", "failed", "cancelled", "skipped"}


def disagreements(runs, commits):
    """What is wrong of `runs`, the newest record of each, and `commits`: (run, version) of each, by table."""
    wrong = [f"{run} is still {record['state']}" for run, record in runs.items() if record["state"] not in FINAL]
    committed = {}
    for name, found in commits.items():
        for run, count in Counter(run for run, _ in found).items():
            # A run that died between its two commits is taken up, and replaces what it had put there.
            # Commits of other writers have no run.
            if run is not None and count > 1 and not name.endswith("__quarantine"):
                wrong.append(f"{name} has {count} commits of run {run}")
        if not name.endswith("__quarantine"):
            committed.update(dict(found))
    for run, record in runs.items():
        succeeded = record["state"] == "succeeded"
        if succeeded and committed.get(run) != record.get("version"):
            wrong.append(f"the ledger says {run} is version {record.get('version')}, the log {committed.get(run)}")
        if not succeeded and run in committed and record["state"] in FINAL:
            wrong.append(f"{run} is {record['state']}, and the log has its version {committed[run]}")
    return wrong


def commits_of(entries):
    """(run, version) of each commit of a log, of (version, text) of its entries."""
    for version, text in entries:
        for line in text.splitlines():
            if info := json.loads(line).get("commitInfo"):
                yield info.get("pulse.runId"), version
