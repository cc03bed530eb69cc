"""Concurrent work on tables while runs write them: optimize, vacuum, other runs, other writers; some of it is killed."""

import json
import os
import random
import shutil
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import compare
from cluster import Problem
from faults import fault

# The shortest retention that `pulse table vacuum` accepts if a run may take an hour.
OWN = {"run_timeout_s": 3600}
VACUUM = ("vacuum", "--retain", "1", "--force")
LONG_AGO = 2 * 3600
TABLE = "silver.bars"


class Arrivals:
    """Delivers the input in parts, so that later runs find rows in their tables."""

    def __init__(self, case, parts):
        self.raw, self.own = Path(case.cluster.raw), case.cluster.folder / f"raw-{case.number}"
        files = sorted(path for path in self.raw.rglob("*.csv"))
        self.parts = [files[part::parts] for part in range(parts)]
        case.cluster.raw = self.own

    def next(self):
        """Delivers the next part; returns the names of its files."""
        part = self.parts.pop(0)
        for path in part:
            target = self.own / path.relative_to(self.raw)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
        return {path.name for path in part}


def arrived(case, parts, before):
    """Runs over the first parts, then delivers the next one without a run."""
    arrivals = Arrivals(case, parts)
    for _ in range(before):
        arrivals.next()
        case.submit()
        case.wait()
        if case.failed():
            raise Problem("a run before the fault failed")
    arrivals.next()
    return arrivals


def call(case, dice, table, *what):
    """One client command, often killed halfway; returns its outcome."""
    client = case.cluster.pulse(case.lake, "table", what[0], table, *what[1:])
    if dice.random() < 0.3:
        if client.wait(dice.uniform(0, 0.25)) is None:
            client.kill()
            return "killed"
    elif client.wait(60) is None:
        client.kill()
        raise Problem(f"{what[0]} {table} does not end")
    code, words = client.wait(0), client.words()
    if code == 0:
        return "idle" if "nothing was committed" in words or " 0 files," in words else "done"
    if what[0] == "optimize" and "were overtaken by runs" in words:
        return "gave way"
    raise Problem(f"{what[0]} {table} ended with {code}: {words[-300:]}")


def beside(case, *whats):
    """Applies each command to one table after the other until the runs have ended."""
    came, troubles = Counter(), []

    def keep_on(what, dice):
        try:
            while not case.ended():
                came[f"{what[0]} {call(case, dice, dice.choice(case.jobs), *what)}"] += 1
        except Exception as error:  # noqa: BLE001  raised by the waiting thread
            troubles.append(error)

    threads = [threading.Thread(target=keep_on, args=(what, random.Random(case.random.random()))) for what in whats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    case.moment = ", ".join(f"{count} {word}" for word, count in sorted(came.items()))
    if troubles:
        raise troubles[0]


def once_each(case, *what):
    for table in case.jobs:
        client = case.cluster.pulse(case.lake, "table", what[0], table, *what[1:])
        code = client.wait(60)
        if code != 0:
            raise Problem(f"{what[0]} {table} ended with {code}: {client.words()[-300:]}")


# What a vacuum may delete

def present(case, table):
    """All files of a table except its log, including partial files."""
    folder = compare.folder(case.lake, table)
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "_delta_log" not in path.parts}


def back_in_time(paths):
    for path in paths:
        then = path.stat().st_mtime - LONG_AGO
        os.utime(path, (then, then))


def age(case):
    """Makes all files of the lake look old. Returns the newest version of each table."""
    newest = {}
    for table in case.jobs:
        folder = compare.folder(case.lake, table)
        entries = sorted(folder.glob("_delta_log/*.json"))
        back_in_time([folder / name for name in present(case, table)] + entries)
        newest[table] = int(entries[-1].stem)
    return newest


def needed(case, table, newest):
    """Files and bookmarks of the version that was newest when the retention began, and all added since."""
    files, levels, since = set(), {}, set()
    for path in sorted(compare.folder(case.lake, table).glob("_delta_log/*.json")):
        for action in map(json.loads, path.read_text().splitlines()):
            if "add" in action:
                files.add(action["add"]["path"])
            elif "remove" in action and int(path.stem) <= newest:
                files.discard(action["remove"]["path"])
            elif action.get("txn", {}).get("appId", "").startswith("pulse/files/"):
                number = action["txn"]["version"]
                levels[action["txn"]["appId"]] = number
                if int(path.stem) > newest:
                    since.add(number)
        if int(path.stem) == newest:
            since.update(levels.values())
    return files | {f"_pulse_files/{number:016x}.parquet" for number in since if number >= 0}


def vacuumed(case, newest):
    """Checks that no needed file was deleted, and that exactly the others are deleted once they are old."""
    for table in case.jobs:
        gone = needed(case, table, newest[table]) - present(case, table)
        if gone:
            raise Problem(f"vacuum took {len(gone)} files of {table} that its log refers to: {sorted(gone)[:2]}")
        folder = compare.folder(case.lake, table)
        back_in_time(folder / name for name in present(case, table))
    once_each(case, *VACUUM)
    for table in case.jobs:
        here, wanted = present(case, table), needed(case, table, newest[table])
        if here != wanted:
            raise Problem(f"after vacuum {table} lacks {sorted(wanted - here)[:2]} and still has {sorted(here - wanted)[:2]}")


def lose(case, table):
    """Adds a file as an attempt that was lost long ago leaves it."""
    folder = compare.folder(case.lake, table)
    file = next(folder.glob("part-*.parquet"))
    shutil.copy(file, file.with_name(f"part-00000-{uuid.uuid4()}-c000.zstd.parquet"))


@fault("optimize", "upkeep", "optimize beside runs that append, merge and overwrite", own={})
def optimize(case):
    arrived(case, 2, 1)
    case.submit()
    beside(case, ("optimize",))
    once_each(case, "optimize")
    case.check(case.suite.reference)
    # A table of one file is sorted, and plans rely on that: run its readers once more, in a lake that lacks their tables.
    anew = case.lake.with_name(f"{case.lake.name}-anew")
    for layer in ("bronze", "silver"):
        shutil.copytree(case.lake / layer, anew / layer)
    shutil.rmtree(case.lake)
    case.lake = anew
    case.submit()


@fault("vacuum", "upkeep", "vacuum beside runs, and an executor dies with files that nobody knows", own=OWN)
def vacuum(case):
    arrived(case, 3, 2)
    for table in case.jobs:
        lose(case, table)
    newest = age(case)
    step = case.random.choice(["files_written", "task_ended"])
    case.cluster.extra = {"PULSE_KILL_AT": f"{step}:{case.random.randint(1, 3)}"}
    case.victim().kill()
    case.cluster.heal()
    case.cluster.extra = {}
    case.submit()
    beside(case, VACUUM)
    vacuumed(case, newest)


@fault("optimize_vacuum", "upkeep", "optimize and vacuum at once, beside runs, and an executor dies", own=OWN, long=True)
def optimize_vacuum(case):
    arrived(case, 3, 2)
    newest = age(case)
    case.submit()
    killer = threading.Timer(case.random.uniform(0, case.clean_seconds), case.victim().kill)
    killer.start()
    beside(case, ("optimize",), VACUUM)
    killer.join()
    once_each(case, "optimize")
    vacuumed(case, newest)


# Other writers

@fault("append_merge", "upkeep", "a run appends what an earlier run's merge reads, and merges as well", own={}, concurrent=True)
def append_merge(case):
    arrivals = arrived(case, 3, 1)
    first = case.submit()
    case.some_time()
    arrivals.next()
    case.also = [case.submit()]
    case.trigger = first


@fault("local_run", "upkeep", "the cluster and a process of its own run the same jobs into full tables", own={}, concurrent=True)
def local_run(case):
    arrived(case, 2, 1)
    alone = case.cluster.pulse(case.lake, "run", "--all", "--on", "local")
    case.some_time(0.3)
    case.submit()
    if alone.wait(60) != 0:
        alone.kill()
        raise Problem(f"the run in one process: {alone.words()[-300:]}")


@fault("foreign_append", "upkeep", "another writer appends to a table that a run merges into", own={})
def foreign_append(case):
    arrivals = Arrivals(case, 2)
    arrivals.next()
    case.submit()
    case.wait()
    pattern = sample(case)
    keys = keys_of(case, arrivals.next())
    case.submit()
    versions = []
    while not case.ended() and keys:
        versions.append(append(case, pattern, len(versions), *keys.pop()))
        time.sleep(case.random.uniform(0, 1))
    case.wait()
    survived(case, versions)
    # Deletes the other writer's remaining rows; downstream tables follow.
    opened(case).delete("source_file like 'foreign-%'")
    case.submit()


def opened(case):
    from deltalake import DeltaTable

    return DeltaTable(str(compare.folder(case.lake, TABLE)))


def sample(case):
    """A row with all columns of the table."""
    return opened(case).to_pyarrow_table().slice(0, 1)


def keys_of(case, files):
    """Some keys that a run over these files will merge."""
    table = case.suite.reference.tables[TABLE].select(["symbol", "ts", "source_file"])
    rows = [row for row in table.to_pylist() if Path(row["source_file"]).name in files]
    return [(row["symbol"], row["ts"]) for row in case.random.sample(rows, min(case.random.randint(2, 6), len(rows)))]


def append(case, pattern, number, symbol, ts):
    """Appends two rows: one with a key that the run merges, one with a new key. Returns the version of the append."""
    import pyarrow as pa
    from deltalake import write_deltalake

    name, folder = f"foreign-{number}", compare.folder(case.lake, TABLE)
    row = pattern.to_pylist()[0]
    rows = [{**row, "symbol": one, "ts": ts, "source_file": name} for one in (symbol, name)]
    write_deltalake(str(folder), pa.Table.from_pylist(rows, schema=pattern.schema), mode="append")
    for entry in sorted(folder.glob("_delta_log/*.json")):
        if f'{name}\\"' in entry.read_text():
            return int(entry.stem)
    raise Problem("what another writer appended is not in the log")


def survived(case, versions):
    """Checks that a merge replaces earlier rows with its keys, and no others."""
    merged = max(version for run, version in compare.commits(case.lake, TABLE) if run)
    rows = opened(case).to_pyarrow_table(columns=["source_file", "symbol"]).to_pylist()
    found = Counter((row["source_file"], row["symbol"] == row["source_file"]) for row in rows)
    for number, version in enumerate(versions):
        own, shared = found[f"foreign-{number}", True], found[f"foreign-{number}", False]
        if own != 1 or shared != (version > merged):
            raise Problem(f"merged at version {merged}: of another writer's rows of version {version} are {own} and {shared} left")
    before = sum(version < merged for version in versions)
    case.moment = f"{before} appends before the merge's commit, {len(versions) - before} after"
