"""Processes of a cluster on loopback, which are started, disturbed and ended by their ids, never by name."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "verify"))
from ports import free_port  # noqa: E402

EXECUTORS = 3
# Short timeouts keep cases short: a silent executor is declared lost after at most four seconds.
SETTINGS = {
    "heartbeat_s": 1,
    "executor_timeout_s": 3,
    "drain_timeout_s": 20,
    "vcores": 1,
    "memory_mib": 256,
    "target_partition_mib": 1,
    "store_retries": 6,
    "store_timeout_s": 5,
    "lease_s": 2,
    "clock_margin_ms": 200,
    "run_backoff_ms": 500,
}


class Problem(Exception):
    """A guarantee is violated."""


class Process:
    """One process of pulse in its own process group, with its output in a file."""

    started = []

    def __init__(self, name, command, environment, log):
        self.name, self.log = name, Path(log)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PULSE_")}
        with open(self.log, "ab") as words:
            self.child = subprocess.Popen(
                command, env={**kept, **environment}, stdin=subprocess.DEVNULL, stdout=words, stderr=words, start_new_session=True
            )
        Process.started.append(self)

    def alive(self):
        return self.child.poll() is None

    def signal(self, number):
        if self.alive():
            os.kill(self.child.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.child.wait(10)

    def wait(self, seconds):
        """The exit code; None if it still runs."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self, patience=5):
        """Sends SIGTERM, then SIGKILL."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.wait(patience) is None:
            self.kill()

    def words(self):
        return self.log.read_text(errors="replace")

    @classmethod
    def end_all(cls):
        for process in cls.started:
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGKILL)
        for process in cls.started:
            process.wait(10)
        cls.started.clear()


class Executor(Process):
    def __init__(self, cluster, number, machine, binary=None, **settings):
        self.port, self.grpc_port, self.machine = free_port(), free_port(), machine
        self.spill = cluster.folder / f"spill-{machine}"
        settings = {"work_dir": cluster.folder / f"work-{machine}", **settings}
        self.work = Path(settings["work_dir"])
        environment = cluster.environment(
            executor_port=self.port, executor_grpc_port=self.grpc_port, spill_dir=self.spill, **settings
        )
        log = cluster.folder / f"executor-{number}.log"
        super().__init__(f"executor-{number}", [binary or cluster.binary, "serve", "executor", "-v"], environment, log)

    def stages(self):
        """(job, stage) pairs whose shuffled rows it holds."""
        jobs = [self.work / own / job for own in names(self.work) for job in names(self.work / own)]
        return {(job.name, int(stage)) for job in jobs for stage in names(job) if stage.isdigit()}

    def left_over(self):
        """Shuffle and spill files, including those of earlier executors on this machine."""
        walks = (walk for folder in (self.work, self.spill) for walk in os.walk(folder))
        return [Path(folder, name) for folder, _, files in walks for name in files]


def names(folder):
    """Entries of a folder that may be deleted at any moment."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


class Cluster:
    """A scheduler and its executors."""

    def __init__(self, binary, project, raw, folder, executors=EXECUTORS, scheduler=None, executor=None, environment=None, **settings):
        self.binary, self.project, self.raw, self.folder = binary, Path(project), raw, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = {**SETTINGS, **settings}
        self.home = self.folder / "home"
        self.scheduler_settings, self.executor_settings = scheduler or {}, executor or {}
        self.scheduler_port, self.api_port = free_port(), free_port()
        self.number = 0
        self.executors = []
        self.fixed, self.extra = environment or {}, {}
        self.start_scheduler(**self.scheduler_settings)
        for _ in range(executors):
            self.add_executor()
        self.wait_for_executors(executors)

    def environment(self, **settings):
        merged = {"scheduler_port": self.scheduler_port, "api_port": self.api_port, **self.settings, **settings}
        environment = {f"PULSE_{key.upper()}": str(value) for key, value in merged.items()}
        return {**environment, **self.fixed, **self.extra}

    def start_scheduler(self, **settings):
        log = self.folder / "scheduler.log"
        command = [self.binary, "serve", "scheduler", "-v"]
        environment = {**self.environment(**settings), "PULSE_LAKE": str(self.home), "PULSE_ALLOWED_LAKES": "*", "PULSE_ALLOWED_ROOTS": "*"}
        self.scheduler = Process("scheduler", command, environment, log)

    def add_executor(self, **settings):
        self.number += 1
        used = {executor.machine for executor in self.alive()}
        machine = next(machine for machine in itertools.count() if machine not in used)
        executor = Executor(self, self.number, machine, **{**self.executor_settings, **settings})
        self.executors.append(executor)
        return executor

    def registered(self):
        """The number of executors that accept tasks; None while the scheduler does not answer."""
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{self.api_port}/healthz", timeout=2) as answer:
                found = json.load(answer)
                return found if isinstance(found, int) else found.get("executors")
        except (OSError, ValueError):
            return None

    def wait_for_executors(self, count, patience=30):
        try:
            return wait_until(lambda: self.registered() == count, patience, "")
        except Problem:
            raise Problem(f"not within {patience} s: {count} executors, there are {self.registered()}") from None

    def alive(self):
        return [executor for executor in self.executors if executor.alive()]

    def is_whole(self):
        return self.scheduler.alive() and len(self.alive()) == EXECUTORS == self.registered()

    def heal(self, patience=30):
        """Restores three executors with this cluster's own settings; waits for one that is about to leave."""
        def healed():
            self.executors = self.alive()
            while len(self.executors) < EXECUTORS:
                self.add_executor()
            return self.registered() == EXECUTORS

        wait_until(healed, patience, f"{EXECUTORS} executors")

    def pulse(self, lake, *arguments):
        """Starts a client command without waiting for it."""
        command = [self.binary, "--project", self.project, "--lake", lake, "--var", f"raw={self.raw}", *arguments]
        log = self.folder / f"client-{time.monotonic_ns()}.log"
        return Process("client", [str(part) for part in command], self.environment(), log)

    def submit(self, lake, *arguments):
        """Submits everything and returns the trigger's id."""
        client = self.pulse(lake, "submit", *(arguments or ["--all"]))
        if client.wait(30) != 0:
            raise Problem(f"submit failed: {client.words().strip()[-300:]}")
        return client.words().split()[0]

    def end(self):
        for process in [*self.executors, self.scheduler]:
            process.kill()


def wait_until(holds, patience, what, every=0.05):
    """Returns the seconds it took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > patience:
            raise Problem(f"not within {patience:.0f} s: {what}")
        time.sleep(every)
    return time.monotonic() - began
