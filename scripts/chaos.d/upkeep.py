"""Tables are looked after while runs write them: optimize and vacuum beside merges and appends, some of it killed."""

import os
import shutil
import time
import uuid
from collections import Counter
from pathlib import Path

import compare
from cluster import Problem
from faults import fault

# Beyond the retention that vacuum has by itself.
DAYS = 10 * 24 * 3600


def in_two_parts(case):
    """A run of half of the files; then the rest is there, and a run that merges into full tables begins."""
    raw, own = Path(case.cluster.raw), case.cluster.folder / f"raw-{case.number}"
    files = sorted(path for path in raw.rglob("*.csv"))

    def arrive(part):
        for path in part:
            target = own / path.relative_to(raw)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)

    case.cluster.raw = own
    arrive(files[::2])
    case.submit()
    case.wait()
    arrive(files[1::2])


def beside(case, what):
    """Does it to one table after the other until the runs have ended; what came of it."""
    came = Counter()
    while not case.ended():
        client = case.cluster.pulse(case.lake, "table", what, case.random.choice(case.jobs))
        if case.random.random() < 0.25:
            time.sleep(case.random.uniform(0, 0.2))
            client.kill()
            came["killed"] += 1
        elif client.wait(60) == 0:
            came["done"] += 1
        elif "overtaken" in client.words():
            came["gave way"] += 1
        else:
            raise Problem(f"{what}: {client.words()[-300:]}")
    case.moment = ", ".join(f"{count} {what} {word}" for word, count in sorted(came.items()))


def once_each(case, what):
    for table in case.jobs:
        client = case.cluster.pulse(case.lake, "table", what, table)
        if client.wait(60) != 0:
            raise Problem(f"{what} {table}: {client.words()[-300:]}")


def data_files(case, table):
    return [path for path in compare.folder(case.lake, table).rglob("*.parquet") if "_delta_log" not in path.parts]


def age(case):
    """What nobody refers to is deleted by its age; what is referred to, never."""
    long_ago = time.time() - DAYS
    for table in case.jobs:
        for path in data_files(case, table):
            os.utime(path, (long_ago, long_ago))


@fault("optimize", "upkeep", "files are optimized beside a run that merges into them", own={})
def optimize(case):
    in_two_parts(case)
    case.submit()
    beside(case, "optimize")
    once_each(case, "optimize")


@fault("vacuum", "upkeep", "old files are deleted beside a run that merges, and an executor dies", own={})
def vacuum(case):
    in_two_parts(case)
    for table in case.jobs:
        lost = data_files(case, table)[0]
        shutil.copy(lost, lost.with_name(f"part-00000-{uuid.uuid4()}-c000.zstd.parquet"))
    age(case)
    case.submit()
    case.victim().kill()
    beside(case, "vacuum")
    age(case)
    once_each(case, "vacuum")
    left = compare.orphans(case.lake)
    if left:
        raise Problem(f"vacuum left {left} files that no log refers to")
