"""One run of the project with one fault."""

import random
import time

import compare
from cluster import Problem, wait_until

# Longer than detection and a second attempt at everything; a case that takes longer is stuck.
LIMIT = 90
# Time limit for a restarted scheduler to resume the triggers of the first one.
TAKEN_UP = 30
# Time limit for the deletion of shuffle and spill files after their job has ended.
CLEAN_UP = 8


class Case:
    def __init__(self, seed, number, fault, lake, clean_seconds, jobs):
        self.seed, self.number, self.fault, self.lake, self.jobs = seed, number, fault, lake, jobs
        self.clean_seconds = clean_seconds
        self.random = random.Random(f"{seed}/{number}/{fault.name}")
        self.cluster = None
        self.trigger = None
        # For a lake in an object store: the store and the lake's URL. `lake` is then a local copy.
        self.store, self.bucket = None, None
        self.moment = ""
        self.notes = []
        self.began = time.monotonic()
        self.seconds = 0.0
        self.rows = 0
        self.orphans = 0

    # Used by faults

    def submit(self, *arguments):
        self.trigger = self.cluster.submit(self.bucket or self.lake, *arguments)
        return self.trigger

    def victim(self, among=None):
        return self.random.choice(among or self.cluster.alive())

    def victims(self, count):
        return self.random.sample(self.cluster.alive(), count)

    def some_time(self, most=1.0):
        """Sleeps for a fraction of a clean run's time."""
        wait = self.random.uniform(0, most * self.clean_seconds)
        self.moment = f"after {wait:.1f} s"
        time.sleep(wait)

    def until(self, what, holds):
        """Waits for a condition; returns False if the run ended first."""
        wanted = time.monotonic() + LIMIT / 2
        while time.monotonic() < wanted:
            found = holds()
            if found:
                self.moment = what
                return found
            if self.ended():
                break
            time.sleep(0.004)
        self.moment = f"{what}: never came"
        return None

    def shuffling(self):
        """Waits for an executor that writes shuffled rows; skips a random number of the first jobs that do."""
        skip, seen = self.random.randrange(3), []

        def holds():
            for executor in self.cluster.alive():
                for job, _ in executor.stages():
                    if job not in seen:
                        seen.append(job)
                    if seen.index(job) >= skip:
                        return executor
            return None

        return self.until("while shuffling", holds)

    def stage_done(self):
        """Waits for an executor that holds a finished stage's rows while the next stage has begun."""
        def holds():
            stages = {executor: executor.stages() for executor in self.cluster.alive()}
            newest = {}
            for job, stage in set().union(*stages.values()):
                newest[job] = max(stage, newest.get(job, 0))
            for executor, own in stages.items():
                if any(stage < newest[job] for job, stage in own):
                    return executor
            return None

        return self.until("after its stage, before the next has read it", holds)

    def writing(self):
        """Returns an executor once data files of a table appear."""
        wanted = self.random.choice(self.jobs)
        folder = compare.folder(self.lake, wanted)
        found = self.until(f"while writing {wanted}", lambda: any(folder.glob("*.parquet*")))
        return self.victim() if found else None

    # After the run

    def records(self):
        if self.store:
            self.store.pull(f"{self.lake.name}/_pulse/runs", self.lake.parent)
        return compare.ledger(self.lake, self.trigger)

    def ended(self):
        records = self.records()
        return len(records) >= len(self.jobs) and all(record["state"] in compare.FINAL for record in records)

    def wait(self, patience=LIMIT):
        """Waits until every run of the trigger has ended."""
        def states():
            return ", ".join(f"{record['job']} {record['state']}" for record in self.records())

        try:
            wait_until(self.ended, patience, "the end")
        except Problem:
            raise Problem(f"stuck: {states()}") from None

    def failed(self):
        return [record for record in self.records() if record["state"] not in ("succeeded", "unchanged")]

    def submit_again(self, why):
        self.notes.append(why)
        self.submit()
        self.wait()

    def settle(self):
        """Checks that executors hold no files of the case."""
        def left():
            return [path for executor in self.cluster.alive() for path in executor.left_over()]

        try:
            wait_until(lambda: not left(), CLEAN_UP, "", every=0.1)
        except Problem:
            raise Problem(f"files are left on executors: {', '.join(str(path) for path in left()[:3])}") from None

    def check(self, reference):
        if self.store:
            self.store.pull(f"{self.lake.name}/", self.lake.parent)
        wrong = [f"{record['job']} {record['state']}: {text(record)}" for record in self.failed()]
        if wrong:
            raise Problem("; ".join(wrong))
        wrong = compare.check_log(self.lake)
        self.rows, differ = reference.differences(self.lake)
        if wrong or differ:
            raise Problem("; ".join(wrong + differ))
        self.orphans = compare.orphans(self.lake)


def text(record):
    error = record.get("error") or {}
    return f"{error.get('kind', '')} {error.get('message', record.get('reason') or '')}".strip()[:300]
