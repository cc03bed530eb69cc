"""Runs a project on a cluster again and again, each time with a fault, and compares what is left with a clean run.

Exit code 0 when every case came right by itself, 1 otherwise. `--seed` and the number of a case decide everything random.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import compare
import report
from case import TAKEN_UP, Case, text
from cluster import Cluster, Problem, Process, wait_until
import net  # noqa: F401  adds its faults
import store
import upkeep  # noqa: F401  as well
from faults import FAULTS, Fault

HERE = Path(__file__).parent
KEPT = Path(".pulse/chaos")
JOBS = ("bronze.bars", "silver.bars", "silver.tops", "gold.days", "gold.minutes", "gold.ranks")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=600, help="no further case begins after so long")
    parser.add_argument("--faults", help="only these, or of these groups; separated by commas")
    parser.add_argument("--each", action="store_true", help="each fault once, whatever --cases says")
    parser.add_argument("--quick", action="store_true", help="as --each, without those that take long")
    parser.add_argument("--only", type=int, help="only the case of this number")
    parser.add_argument("--symbols", type=int, default=24)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--list", action="store_true", help="list the faults")
    parser.add_argument("--keep", action="store_true", help="keep the logs of cases that came right, too")
    return parser.parse_args()


def kept(case):
    return KEPT / f"{case.seed}-{case.number}"


class Suite:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, Path(folder)
        self.binary = os.environ["PULSE_BINARY"]
        self.raw = self.folder / "raw"
        self.shared = None
        self.clean_seconds = 0.0
        self.of_store = None
        self.done = []

    def store(self):
        """The emulated object store, started when the first case needs it."""
        if self.of_store is None:
            self.of_store = store.Store(self.folder / "store")
        return self.of_store

    def pulse(self, *arguments):
        log = self.folder / "local.log"
        process = Process("local", [str(part) for part in (self.binary, *arguments)], {}, log)
        if process.wait(300) != 0:
            raise Problem(f"pulse {arguments[0]}: {process.words()[-500:]}")

    def prepare(self):
        """Input, reference, and the time of a clean run on the cluster."""
        options = self.arguments
        self.pulse(
            "generate", "bars", "--symbols", options.symbols, "--sessions", options.sessions, "--defects", "0.002",
            "--feeds", "intraday", "--seed", 7, "--out", self.raw,
        )
        lake = self.folder / "reference"
        self.pulse("--project", HERE / "jobs", "--lake", lake, "--var", f"raw={self.raw}", "run", "--all", "--on", "local")
        self.reference = compare.Reference(lake)
        total = sum(rows.num_rows for rows in self.reference.tables.values())
        print(f"reference: {len(self.reference.tables)} tables, {total:,} rows", flush=True)
        none = Fault("none", "none", "no fault", lambda case: case.submit())
        seconds = []
        for number in range(3):
            case = self.run(-number, none)
            if not case[1].startswith("right"):
                raise Problem(f"a clean run on the cluster is not right: {case[1]}")
            seconds.append(case[0].seconds)
        self.clean_seconds = statistics.median(seconds)
        print(f"clean run on the cluster: {self.clean_seconds:.1f} s ({', '.join(f'{s:.1f}' for s in seconds)})", flush=True)

    def cluster(self, fault, number):
        if fault.own == "store":
            environment = self.store().environment
            return Cluster(self.binary, HERE / "jobs", self.raw, self.folder / f"own-{number}", environment=environment)
        if fault.own is not None:
            return Cluster(self.binary, HERE / "jobs", self.raw, self.folder / f"own-{number}", **fault.own)
        if self.shared is None or not self.shared.scheduler.alive():
            self.shared = Cluster(self.binary, HERE / "jobs", self.raw, self.folder / f"shared-{number}")
        self.shared.heal()
        return self.shared

    def run(self, number, fault):
        case = Case(self.arguments.seed, number, fault, self.folder / f"lake-{number}", self.clean_seconds, JOBS)
        case.suite, case.on_end, case.also, case.gone = self, lambda: None, [], []
        try:
            case.cluster = self.cluster(fault, number)
            marks = {process.log: process.log.stat().st_size for process in [case.cluster.scheduler, *case.cluster.executors]}
            outcome = self.strike(case)
        except Problem as problem:
            outcome = f"WRONG: {problem}"
        except Exception as error:  # noqa: BLE001  the suite goes on, and says what broke
            outcome = f"BROKEN: {type(error).__name__}: {error}"
        finally:
            case.on_end()
        if not outcome.startswith("right") or self.arguments.keep:
            self.keep(case, outcome)
        if not outcome.startswith("right") or fault.own is not None:
            self.throw_away(case, fault)
        shutil.rmtree(case.lake, ignore_errors=True)
        return case, outcome

    def strike(self, case):
        fault = case.fault
        case.began = time.monotonic()
        fault.strike(case)
        if fault.group == "scheduler" and not fault.options.get("concurrent"):
            self.taken_up(case)
        case.wait()
        for trigger in case.also:
            first, case.trigger = case.trigger, trigger
            case.wait()
            case.trigger = first
        case.seconds = time.monotonic() - case.began
        failed = case.failed()
        if failed and all((record.get("error") or {}).get("kind") in fault.may_fail or record["state"] == "skipped" for record in failed):
            self.remedied(case, failed)
        elif failed and fault.options.get("cancelled") and all(record["state"] in ("cancelled", "skipped") for record in failed):
            case.submit()
            case.wait()
        if not case.failed():
            case.settle()
        case.check(self.reference)
        return "right" + "".join(f", {note}" for note in case.notes)

    def remedied(self, case, failed):
        """A run that ended for want of memory or disk says what to raise; with it, it comes right."""
        for record in failed:
            words = text(record)
            if record["state"] == "failed" and "memory_mib" not in words and "work_dir" not in words:
                raise Problem(f"{record['job']} does not say what to raise: {words}")
        for executor in case.cluster.alive():
            executor.kill()
        case.cluster.executor_settings = {}
        case.cluster.heal()
        case.notes.append("refused with its remedy")
        case.submit()
        case.wait()

    def taken_up(self, case):
        """The scheduler that was started again goes on by itself, or somebody submits again."""
        try:
            wait_until(case.ended, TAKEN_UP, "")
        except Problem:
            case.cluster.wait_for_executors(3)
            case.submit_again("submitted again by hand")

    def keep(self, case, outcome):
        folder = kept(case)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "outcome").write_text(f"{report.line(case, outcome)}\n")
        cluster = case.cluster or self.shared
        if cluster:
            for log in cluster.folder.glob("*.log"):
                shutil.copy(log, folder)
        if Path(case.lake, "_pulse").is_dir():
            shutil.copytree(Path(case.lake, "_pulse"), folder / "_pulse")

    def throw_away(self, case, fault):
        if case.cluster:
            case.cluster.end()
            shutil.rmtree(case.cluster.folder, ignore_errors=True)
        if fault.own is None:
            self.shared = None

    def chosen(self):
        wanted = set((self.arguments.faults or "").split(",")) - {""}
        unknown = wanted - FAULTS.keys() - {fault.group for fault in FAULTS.values()}
        if unknown:
            raise Problem(f"no such fault: {', '.join(sorted(unknown))}")
        found = [fault for fault in FAULTS.values() if not wanted or fault.name in wanted or fault.group in wanted]
        return [fault for fault in found if not (self.arguments.quick and fault.options.get("long"))]

    def order(self):
        """All chosen faults in an order of chance, again and again."""
        chosen, order = self.chosen(), []
        dice = random.Random(self.arguments.seed)
        count = len(chosen) if self.arguments.each or self.arguments.quick else self.arguments.cases
        while len(order) < count:
            order += dice.sample(chosen, len(chosen))
        return list(enumerate(order[:count], 1))

    def main(self):
        began = time.monotonic()
        self.prepare()
        print(report.head(), flush=True)
        for number, fault in self.order():
            if self.arguments.only not in (None, number):
                continue
            if time.monotonic() - began > self.arguments.minutes * 60:
                print(f"time is up before case {number}", flush=True)
                break
            case, outcome = self.run(number, fault)
            self.done.append((case, outcome))
            print(report.line(case, outcome), flush=True)
        print(report.summary(self.done, self.arguments.seed, self.clean_seconds))
        print(f"{(time.monotonic() - began) / 60:.1f} minutes")
        wrong = [(case, outcome) for case, outcome in self.done if not outcome.startswith("right") or "by hand" in outcome]
        for case, outcome in wrong:
            print(report.wrong(case, outcome, kept(case)))
        return 1 if wrong else 0


def main():
    arguments = parse_arguments()
    if arguments.list:
        for fault in FAULTS.values():
            print(f"{fault.name:<24} {fault.group:<10} {fault.about}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="pulse-chaos-") as folder:
        try:
            return Suite(arguments, folder).main()
        except Problem as problem:
            print(f"scripts/chaos: {problem}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
        finally:
            Process.end_all()


if __name__ == "__main__":
    sys.exit(main())
