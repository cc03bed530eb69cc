"""The faults: each has a name, a moment at which it strikes and an effect. Modules that add faults import `fault` from here."""

import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field

from cluster import Problem, wait_until

FAULTS = {}


@dataclass
class Fault:
    name: str
    group: str
    about: str
    strike: object
    # Settings and environment of the fault's own cluster; None uses the suite's shared one.
    own: object = None
    # Error kinds that runs may end with; these are then submitted again without the fault.
    may_fail: tuple = ()
    # `long`: left out of --quick; `concurrent`: no restart is expected; `cancelled`: cancelled runs are submitted again.
    options: dict = field(default_factory=dict)


def fault(name, group, about, own=None, may_fail=(), **options):
    def register(strike):
        FAULTS[name] = Fault(name, group, about, strike, own, may_fail, options)
        return strike

    return register


# Executors that die

def dies(number):
    """Sends SIGKILL, or SIGTERM, on which an executor drains before it exits."""
    def strike(executor):
        if executor is None:
            return
        executor.kill() if number == signal.SIGKILL else executor.signal(number)

    return strike


for word, number in (("kill", signal.SIGKILL), ("term", signal.SIGTERM)):
    die = dies(number)

    @fault(f"{word}_any_time", "executor", f"{number.name} at any moment")
    def any_time(case, die=die):
        case.submit()
        case.some_time()
        die(case.victim())

    @fault(f"{word}_shuffling", "executor", f"{number.name} while it writes shuffled rows")
    def shuffling(case, die=die):
        case.submit()
        die(case.shuffling())

    @fault(f"{word}_stage_done", "executor", f"{number.name} after its stage, before the next stage has read it")
    def stage_done(case, die=die):
        case.submit()
        die(case.stage_done())

    @fault(f"{word}_writing", "executor", f"{number.name} while tables are written")
    def writing(case, die=die):
        case.submit()
        die(case.writing())


def doomed(step):
    """One of three executors kills itself at a step of its work."""
    def strike(case):
        times = case.random.randint(1, 3)
        case.moment = f"at its {times}. {step}"
        case.cluster.extra = {"PULSE_KILL_AT": f"{step}:{times}"}
        victim = case.victim()
        victim.kill()
        doomed = case.cluster.add_executor()
        case.cluster.extra = {}
        case.cluster.executors.remove(victim)
        wait_until(lambda: (case.cluster.registered() or 0) >= 3, 10, "the doomed executor")
        case.submit()
        case.until(case.moment, lambda: not doomed.alive())

    return strike


fault("kill_files_written", "executor", "dies after its files are written, before anybody knows")(doomed("files_written"))
fault("kill_task_ended", "executor", "dies after a task, before the scheduler knows")(doomed("task_ended"))


@fault("kill_two", "executor", "two of three, one after the other")
def kill_two(case):
    case.submit()
    case.some_time(0.6)
    for victim in case.victims(2):
        victim.kill()
        time.sleep(case.random.uniform(0, 2))


@fault("kill_all", "executor", "all of them, then new ones")
def kill_all(case):
    case.submit()
    case.some_time(0.8)
    for victim in case.cluster.alive():
        victim.kill()
    time.sleep(case.random.uniform(0, 4))
    for _ in range(3):
        case.cluster.add_executor()


@fault("freeze", "executor", "stands still and wakes up as a zombie")
def freeze(case):
    case.submit()
    victim = case.random.choice([case.shuffling, case.writing, case.stage_done])()
    if victim is None:
        return
    victim.signal(signal.SIGSTOP)
    wake = case.random.choice(["later", "after the end"])
    case.moment += f", wakes {wake}"
    if wake == "later":
        time.sleep(case.random.uniform(4, 7))
        victim.signal(signal.SIGCONT)
    else:
        case.wait()
        victim.signal(signal.SIGCONT)


@fault("detection", "executor", "stands still, with the default settings: found within 15 s", own={"heartbeat_s": 3, "executor_timeout_s": 12}, long=True)
def detection(case):
    case.submit()
    case.some_time(0.5)
    victim = case.victim()
    victim.signal(signal.SIGSTOP)
    took = wait_until(lambda: case.cluster.registered() == 2, 15, "the frozen executor is found")
    case.moment += f", found within {took:.1f} s"
    case.wait()
    victim.signal(signal.SIGCONT)


@fault("slow", "executor", "works a tenth of the time")
def slow(case):
    case.submit()
    victim = case.victim()
    case.moment = "all the time"
    while not case.ended() and time.monotonic() - case.began < 60:
        victim.signal(signal.SIGSTOP)
        time.sleep(0.45)
        victim.signal(signal.SIGCONT)
        time.sleep(0.05)


@fault("slow_speculation", "executor", "works a tenth of the time, slow tasks are tried a second time", own={"speculation_factor": 2})
def slow_speculation(case):
    slow(case)
    attempts = case.cluster.scheduler.words().count("tries it too")
    case.moment += f", {attempts} second attempts"


@fault("other_build", "executor", "an executor of another build wants to join")
def other_build(case):
    other = case.cluster.folder / "pulse-other"
    data = bytearray(open(case.cluster.binary, "rb").read())
    mark = data.find(b"GNU\0", data.find(b"\x14\0\0\0\x03\0\0\0GNU\0") + 8)
    data[mark + 4] ^= 0xFF
    other.write_bytes(data)
    other.chmod(0o755)
    case.submit()
    stranger = case.cluster.add_executor(binary=str(other))
    case.cluster.executors.remove(stranger)
    case.moment = "during the run"
    if stranger.wait(20) != 2 or "same binary" not in stranger.words():
        raise Problem(f"the stranger was not refused: {stranger.words()[-300:]}")
    other.unlink()


# Limits

class Small:
    """A two MiB file system for one executor's shuffles."""

    def __init__(self, cluster):
        self.folder = cluster.folder / f"small-{cluster.number}"
        self.folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", self.folder], capture_output=True)
        self.mounted = done.returncode == 0

    def end(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=False)


@fault("full_disk", "limits", "one executor's disk for shuffles is full", may_fail=("exhausted",))
def full_disk(case):
    small = Small(case.cluster)
    case.on_end = small.end
    if not small.mounted:
        case.moment = "not possible here: no right to mount"
        case.submit()
        return
    victim = case.victim()
    victim.kill()
    case.cluster.executors.remove(victim)
    full = case.cluster.add_executor(work_dir=small.folder)
    case.cluster.wait_for_executors(3)
    case.gone = [full]
    case.moment = "from the start"
    case.submit()
    case.wait()
    full.kill()


@fault("low_memory", "limits", "a pool that nothing fits into", own={"executor": {"memory_mib": 4}}, may_fail=("exhausted",))
def low_memory(case):
    case.moment = "from the start"
    case.submit()


# The scheduler

def scheduler_dies(case, wait):
    """The scheduler is restarted and resumes; if it does not, the suite submits again and reports that."""
    cluster = case.cluster
    wait()
    cluster.scheduler.kill()
    time.sleep(case.random.uniform(0, 2))
    cluster.start_scheduler(**cluster.scheduler_settings)


@fault("scheduler_any_time", "scheduler", "kill -9 at any moment, started again", own={})
def scheduler_any_time(case):
    case.submit()
    scheduler_dies(case, case.some_time)


def scheduler_step(step):
    def strike(case):
        times = case.random.randint(1, 4)
        case.moment = f"at its {times}. {step}"
        cluster = case.cluster
        cluster.scheduler.kill()
        cluster.extra = {"PULSE_KILL_AT": f"{step}:{times}"}
        cluster.start_scheduler()
        cluster.extra = {}
        cluster.wait_for_executors(3)
        case.submit()
        scheduler_dies(case, lambda: case.until(case.moment, lambda: not cluster.scheduler.alive()))

    return strike


for step, about in (
    ("planned", "after planning"),
    ("staged", "after all files are written"),
    ("quarantine_committed", "between the two commits"),
    ("table_committed", "after the commit, before the ledger knows"),
):
    fault(f"scheduler_{step}", "scheduler", f"dies {about}, started again", own={})(scheduler_step(step))


@fault("scheduler_registering", "scheduler", "dies while executors register, started again", own={})
def scheduler_registering(case):
    cluster = case.cluster
    for process in [cluster.scheduler, *cluster.alive()]:
        process.kill()
    cluster.executors = []
    for _ in range(3):
        cluster.add_executor()
    cluster.start_scheduler()
    count = case.random.randint(1, 3)
    case.moment = f"when it knows {count}"
    # A pending registration is recorded; its answer may still be in flight.
    wait_until(lambda: (cluster.registered() or 0) >= count, 30, case.moment, every=0)
    cluster.scheduler.kill()
    cluster.start_scheduler()
    cluster.wait_for_executors(3)
    case.submit()


@fault("two_schedulers", "scheduler", "two clusters over one lake, one submit each", own={}, concurrent=True)
def two_schedulers(case):
    from cluster import Cluster

    other = Cluster(
        case.cluster.binary, case.cluster.project, case.cluster.raw, case.cluster.folder / "other", executors=1
    )
    case.on_end = other.end
    case.moment = "at once"
    second = []
    thread = threading.Thread(target=lambda: second.append(other.submit(case.lake)))
    thread.start()
    case.submit()
    thread.join(30)
    case.also = second


# The client

@fault("client_gone", "client", "the client that waits is killed")
def client_gone(case):
    client = waiting_client(case)
    case.some_time(0.8)
    client.kill()


@fault("client_interrupt", "client", "Ctrl-C while waiting: the client leaves, the runs go on")
def client_interrupt(case):
    client = waiting_client(case)
    case.some_time(0.7)
    client.signal(signal.SIGINT)
    if client.wait(20) is None:
        raise Problem("the client does not end after Ctrl-C")


@fault("cancel", "client", "`pulse runs cancel`: everything stops, and is submitted again", cancelled=True)
def cancel(case):
    client = waiting_client(case)
    case.some_time(0.7)
    asked = case.cluster.pulse(case.lake, "runs", "cancel", case.trigger)
    if asked.wait(20) not in (0, 1):
        raise Problem(f"the cancel is refused: {asked.words()[-300:]}")
    case.wait(20)
    case.settle()
    if client.wait(20) is None:
        raise Problem("the client does not end when its trigger is cancelled")


def waiting_client(case):
    client = case.cluster.pulse(case.lake, "submit", "--wait", "--all")
    wait_until(lambda: client.words().strip(), 20, "the trigger's id", every=0.005)
    case.trigger = client.words().split()[0]
    return client


@fault("submit_twice", "client", "the same submit twice at once", concurrent=True)
def submit_twice(case):
    clients = [case.cluster.pulse(case.lake, "submit", "--all") for _ in range(2)]
    case.moment = "at once"
    triggers = []
    for client in clients:
        if client.wait(30) != 0:
            raise Problem(f"submit failed: {client.words()[-300:]}")
        triggers.append(client.words().split()[0])
    case.trigger, *case.also = triggers


@fault("submit_same_key", "client", "the same submit with the same key, twice at once: one run of each job")
def submit_same_key(case):
    key = f"chaos-{case.seed}-{case.number}"
    clients = [case.cluster.pulse(case.lake, "submit", "--all", "--key", key) for _ in range(2)]
    case.moment = "at once"
    triggers = set()
    for client in clients:
        if client.wait(30) != 0:
            raise Problem(f"submit failed: {client.words()[-300:]}")
        triggers.add(client.words().split()[0])
    if len(triggers) != 1:
        raise Problem(f"one key, and triggers {sorted(triggers)}")
    case.trigger = triggers.pop()


# A Spot notice that the instance will be interrupted

@fault("spot_notice", "executor", "the instance's metadata says that it will be taken away")
def spot_notice(case):
    from proxy import Metadata

    metadata = Metadata()
    case.on_end = metadata.end
    victim = case.victim()
    victim.kill()
    case.cluster.executors.remove(victim)
    leaving = case.cluster.add_executor(spot_notice_url=metadata.url)
    case.cluster.wait_for_executors(3)
    case.submit()
    case.some_time(0.5)
    metadata.notice = True
    if leaving.wait(40) != 0:
        raise Problem("the executor did not leave by itself")
