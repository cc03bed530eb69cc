"""The whole way of a deployment: from nothing to tables, larger and smaller, to nothing. Called by scripts/test-flow, which starts
the emulator and nodes.py.

    python flow.py PULSE FOLDER --factor FACTOR     # the binary, a folder for all that is made, and that of nodes.py
"""

import argparse
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import redirect_stdout
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
from deltalake import DeltaTable

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/verify"))
from compare import compare_table  # noqa: E402
from lake import Lake  # noqa: E402
from report import Report  # noqa: E402

PATIENCE_S = 180
TOKEN = "/pulse/dev/api-token"
# Waits that minutes are too long for; otherwise nodes get what Terraform gives them.
SETTINGS = {
    "PULSE_API_TOKEN_SOURCE": f"ssm:{TOKEN}",
    "PULSE_SCALE_OUT_AFTER_S": "5",
    "PULSE_SCALE_IN_AFTER_S": "5",
    "PULSE_SCALE_COOLDOWN_S": "5",
    # What takes long here must be cut off soon when it is cancelled, and must leave a core to the scheduler.
    "PULSE_BATCH_ROWS": "1024",
    "PULSE_SLOTS": "1",
}
MOST_EXECUTORS = 3
# What Terraform gives the cluster; and the most that EMR takes, with which no pause between two checks ends it, however busy the machine is.
IDLE_SECONDS, NEVER_IDLE_SECONDS = 1800, 604_800
# Periods of the heartbeat's timer and of those who look, on a busy machine.
HEARTBEAT_SECONDS = 20
VARIABLES = ["-var", f"settings={json.dumps(SETTINGS)}", "-var", f'scaling={{"min_units":2,"max_units":{MOST_EXECUTORS}}}']
# Minutes of computing from small files. It is cancelled after it has been looked at, and a cancelled task ends with its batch: in a
# build without optimization, a batch has to end well within the 40 s that a leaving node has.
LOAD_JOBS, LOAD_REPEAT = 3, 70
LOAD = """select source_file, line, levenshtein(repeat(cast(close as varchar), {0}), repeat(cast(open as varchar), {0})) as distance
from raw.bars_1m
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pulse", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--factor", type=float, required=True)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, leave)
    flow = Flow(parser.parse_args())
    try:
        for part in [deploy, release, start, submit, catalog, validate, scale_out, scale_in, idle, teardown]:
            began = time.monotonic()
            print(f"== {part.__name__.replace('_', ' ')}", flush=True)
            part(flow, flow.report)
            print(f"      {time.monotonic() - began:.0f} s", flush=True)
    except (Missing, subprocess.TimeoutExpired) as error:
        # What comes after cannot hold either.
        flow.report.line(str(error), "to go on", "an end", False)
    finally:
        flow.stop()
    print(flow.report.summary())
    sys.exit(0 if flow.report.passed() else 1)


def leave(*_):
    """Once: a second signal must not cut off what ends the processes."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)
    sys.exit(130)


class Missing(Exception):
    """What the rest of the way needs."""


class Flow:
    def __init__(self, options):
        self.pulse, self.folder, self.factor = options.pulse, options.folder, options.factor
        self.nodes = options.folder / "nodes"
        self.report, self.started = Report(), []
        self.s3, self.emr, self.glue, self.ssm = (boto3.client(name) for name in ("s3", "emr", "glue", "ssm"))
        os.environ.update(AWS_ALLOW_HTTP="true", PULSE_CLUSTER_SPEC="ssm:/pulse/dev/cluster", PULSE_CATALOG="glue")

    def begin(self, *command):
        pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process = subprocess.Popen([str(part) for part in command], cwd=ROOT, start_new_session=True, **pipes)
        self.started.append(process)
        return process

    def run(self, *command):
        """Exit code, stdout, stderr."""
        began, process = time.monotonic(), self.begin(*command)
        out, words = process.communicate(timeout=2 * PATIENCE_S)
        with (self.folder / "commands.log").open("a") as log:
            log.write(f"{time.monotonic() - began:.1f} s, code {process.returncode}: {' '.join(map(str, command))}\n{out}{words}\n")
        return process.returncode, out, words

    def client(self, *arguments):
        return self.run(self.pulse, "--project", "jobs", *arguments)

    def must(self, name, outcome):
        code, out, words = outcome
        self.report.equal(name, 0, code)
        if code:
            raise Missing(f"{name}: {(out + words)[-3000:]}")
        return out

    def output(self, name):
        return self.must(f"output {name}", self.run("terraform", "-chdir=infra/envs/dev", "output", "-raw", name)).strip()

    def wait(self, what, look, seconds=PATIENCE_S):
        end = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > end:
                raise Missing(f"{what} within {seconds:.0f} s")
            time.sleep(0.5)
        return found

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                # With its children, such as Terraform's of a script.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def states_of(self, trigger):
        """Of a submission's runs, as the ledger has them."""
        out = self.client("--lake", self.lake, "--output", "json", "runs", "show", trigger)[1]
        return [json.loads(line)["state"] for line in out.splitlines()]

    # ---- what nodes know

    def instances(self):
        """Kind of group of each instance with an executor, by its id."""
        groups = self.emr.list_instance_groups(ClusterId=self.cluster)["InstanceGroups"]
        kinds = {group["Id"]: group["InstanceGroupType"] for group in groups}
        listed = self.emr.list_instances(ClusterId=self.cluster, InstanceStates=["RUNNING"])["Instances"]
        found = {instance["Ec2InstanceId"]: kinds[instance["InstanceGroupId"]] for instance in listed}
        return {name: kind for name, kind in found.items() if kind != "MASTER"}

    def primary(self):
        listed = self.emr.list_instances(ClusterId=self.cluster, InstanceGroupTypes=["MASTER"])["Instances"]
        return self.nodes / listed[0]["Ec2InstanceId"]

    def settings(self):
        lines = (self.primary() / "etc/pulse/pulse.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def registered(self):
        """Executors that the scheduler knows; -1 when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings()['PULSE_API_PORT']}/healthz", timeout=5) as answer:
                return int(answer.read())
        except (OSError, urllib.error.URLError):
            return -1

    def said(self, instance, unit):
        log = instance / "var/log" / f"pulse-{unit}.service"
        return log.read_text(errors="replace") if log.exists() else ""

    def processes(self):
        """(id, what, instance, exit code or None) of each that nodes.py started."""
        lines = [line.split() for line in (self.nodes / "processes").read_text().splitlines()]
        ended = {line[1]: int(line[-1]) for line in lines if line[0] == "ended"}
        return [(pid, what, where, ended.get(pid)) for word, pid, what, where, *_ in lines if word == "began"]

    def active(self):
        """When EMR's file of activity was touched last."""
        return (self.primary() / "emr/metricscollector/isbusy").stat().st_mtime

    def end_when_idle_for(self, seconds):
        self.emr.put_auto_termination_policy(ClusterId=self.cluster, AutoTerminationPolicy={"IdleTimeout": seconds})

    def state(self):
        return self.emr.describe_cluster(ClusterId=self.cluster)["Cluster"]["Status"]["State"]


# ---- from nothing to a lake


def deploy(flow, report):
    """While Terraform works, the same project runs in one process: what the cluster's tables are compared with."""
    flow.must("build-release takes the binary", flow.run("scripts/build-release", "--binary", flow.pulse))
    flow.must("deploy what the account has once", flow.run("scripts/deploy", "account", "--yes"))
    deployment = ("scripts/deploy", "dev", "--yes", "--", "-parallelism=20", *VARIABLES)
    deploying = flow.begin(*deployment)
    local = ("--lake", flow.folder / "local", "--var", "raw=sample", "--set", "catalog=local", "run", "--all")
    flow.must("the project in one process", flow.client(*local))
    out, words = deploying.communicate(timeout=2 * PATIENCE_S)
    # A busy emulator breaks connections; what a failed apply has made stays in the state, and the second goes on from there.
    done = (0, out, words) if deploying.returncode == 0 else flow.run(*deployment)
    out = flow.must("deploy", done)
    report.equal("deploy says what it costs", True, "standing" in out)
    flow.lake, flow.raw = flow.output("lake_url"), flow.output("raw_url")


def release(flow, report):
    out = flow.must("build-release uploads", flow.run("scripts/build-release", "--upload", "dev"))
    report.equal("binary and project", True, "/releases/" in out and "/projects/market-data/project.toml" in out)
    bucket, _, prefix = flow.raw.removeprefix("s3://").partition("/")
    for path in sorted((ROOT / "sample").rglob("*.csv")):
        flow.s3.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(ROOT / 'sample')}")
    flow.ssm.put_parameter(Name=TOKEN, Type="SecureString", KeyId="alias/pulse-dev", Value=os.urandom(32).hex())


def start(flow, report):
    flow.cluster = flow.must("cluster up", flow.client("cluster", "up")).strip()
    report.equal("its id", True, flow.cluster.startswith("j-"))
    policy = flow.emr.get_auto_termination_policy(ClusterId=flow.cluster)["AutoTerminationPolicy"]
    report.equal("idle seconds after which EMR ends it", IDLE_SECONDS, policy["IdleTimeout"])
    flow.end_when_idle_for(NEVER_IDLE_SECONDS)
    report.equal("up again finds it", flow.cluster, flow.client("cluster", "up")[1].strip())
    flow.wait("two executors register", lambda: flow.registered() == 2)
    report.equal("a core and a task node", ["CORE", "TASK"], sorted(flow.instances().values()))
    settings = flow.settings()
    found = {name: settings.get(name) for name in ("PULSE_LAKE", "PULSE_SCALER", "PULSE_CATALOG", "PULSE_CLUSTER_ID", "PULSE_NODE_ROLE")}
    wanted = dict(PULSE_LAKE=flow.lake, PULSE_SCALER="emr", PULSE_CATALOG="glue", PULSE_CLUSTER_ID=flow.cluster, PULSE_NODE_ROLE="scheduler")
    report.equal("settings of Terraform and of the bootstrap action on the primary node", wanted, found)
    key = f"http://127.0.0.1:{settings['PULSE_API_PORT']}/v1/triggers"
    try:
        code = urllib.request.urlopen(urllib.request.Request(key, data=b"{}", method="POST"), timeout=10).status
    except urllib.error.HTTPError as error:
        code = error.code
    report.equal("a submission without the token", 401, code)


# ---- tables


def submit(flow, report):
    code, out, words = flow.client("submit", "--cluster", flow.cluster, "--all", "--wait")
    report.equal("submit --all as a step", 0, code)
    if code:
        raise Missing(words[-2000:] + last_step(flow))
    step = flow.emr.describe_step(ClusterId=flow.cluster, StepId=out.split()[0])["Step"]["Status"]["State"]
    report.equal("EMR's word on it", "COMPLETED", step)
    report.equal("tables", local_tables(flow), Lake(flow.lake).tables())
    for table in local_tables(flow):
        same(flow, report, table)
    flow.wait("figures arrive", lambda: figure(flow, "Executors") == 2)
    ran = [name for name in flow.instances() if cpu_seconds(flow, name) > 0.1]
    report.equal("executors that worked", 2, len(ran))


def local_tables(flow):
    return Lake(flow.folder / "local").tables()


def same(flow, report, table):
    """A line for a table; those of its columns if they differ."""
    words, both = io.StringIO(), Report()
    with redirect_stdout(words):
        compare_table(both, table, Lake(flow.folder / "local"), Lake(flow.lake), ["_run_id"])
    rows = Lake(flow.lake).count(table)
    report.line(f"{table}: {rows} rows, bit for bit", f"{both.checks} equal", both.checks - both.differences, both.passed())
    if not both.passed():
        print(words.getvalue())


def figure(flow, name):
    """The largest that the primary node has told CloudWatch."""
    now = datetime.now(timezone.utc)
    times = ("--start-time", (now - timedelta(hours=1)).isoformat(), "--end-time", (now + timedelta(minutes=1)).isoformat())
    asked = ("--namespace", "pulse-dev", "--metric-name", name, *times, "--period", "60", "--statistics", '["Maximum"]')
    code, out, _ = flow.run(flow.nodes / "programs/aws", "cloudwatch", "get-metric-statistics", *asked)
    return max([point["Maximum"] for point in json.loads(out)["Datapoints"]], default=None) if code == 0 else None


def last_step(flow):
    logs = sorted((flow.primary() / "var/log").glob("step-*"), key=lambda path: path.stat().st_mtime)
    return logs[-1].read_text()[-2000:] if logs else "no step ran"


def cpu_seconds(flow, instance):
    pids = [pid for pid, what, where, code in flow.processes() if where == instance and "executor" in what and code is None]
    fields = Path(f"/proc/{pids[-1]}/stat").read_text().rpartition(")")[2].split() if pids else ["0"] * 14
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def catalog(flow, report):
    lake = ("--lake", flow.lake, "catalog")
    registered = {
        f"{layer}.{table['Name']}" for layer in ("bronze", "silver", "gold") for table in flow.glue.get_tables(DatabaseName=layer)["TableList"]
    }
    # A quarantine table is registered by the first run that finds it there.
    missing = set(Lake(flow.lake).tables()) - registered
    report.equal("tables that Glue lacks after the first run, but for quarantine", [], [t for t in sorted(missing) if "__quarantine" not in t])
    flow.client(*lake, "sync")
    report.equal("catalog check", (0, ""), flow.client(*lake, "check")[:2])
    flow.glue.delete_table(DatabaseName="gold", Name="trends")
    code, out, _ = flow.client(*lake, "check")
    report.equal("check with a registration that is gone", (1, True), (code, "gold.trends" in out))
    report.equal("catalog sync", 0, flow.client(*lake, "sync")[0])
    report.equal("check after it", (0, ""), flow.client(*lake, "check")[:2])


# ---- milestones of tables and operations


def validate(flow, report):
    for milestone, (code, wrong, count) in validations(flow, "m3", "m4", "m5", "m6", "m7").items():
        report.line(f"validate-{milestone}", "all holds", f"{count} {wrong}", code == 0 and not wrong)
    # Rows that somebody deletes by hand, and a submission whose scheduler never came back.
    trends = DeltaTable(Lake(flow.lake).location("gold.trends"))
    trends.delete(f"symbol = '{trends.to_pyarrow_table()['symbol'][0]}'")
    bucket, _, root = flow.lake.removeprefix("s3://").partition("/")
    lease = dict(Bucket=bucket, Key=f"{root}/_pulse/runs/20200101T000000-00000000/lease/00000001.json")
    flow.s3.put_object(**lease, Body=b'{"epoch":1,"owner":"nobody","expires":1577836800000}')
    planted = {"m5": "gold.trends rows", "m6": "submissions that nobody carries on", "m7": "gold.trends in Glue"}
    for milestone, (code, wrong, _) in validations(flow, *planted).items():
        report.line(f"validate-{milestone} finds what is broken", planted[milestone], wrong, code == 1 and planted[milestone] in wrong)
    flow.s3.delete_object(**lease)


def validations(flow, *milestones):
    """Exit code, what does not hold, and the last line of each; side by side."""
    running = {milestone: flow.begin(f"scripts/validate-{milestone}", "dev") for milestone in milestones}
    found = {}
    for milestone, process in running.items():
        out, words = process.communicate(timeout=2 * PATIENCE_S)
        lines = out.splitlines() or [words[-1000:]]
        wrong = [line.split(": expected ")[0] for line in lines if line.startswith(("WRONG", "DIFF"))]
        found[milestone] = process.returncode, "; ".join(wrong), lines[-1] if process.returncode in (0, 1) else words[-1000:]
    return found


# ---- larger and smaller


def scale_out(flow, report):
    """More tasks than slots for longer than the scheduler waits: it asks EMR for a machine itself."""
    project = flow.folder / "load"
    for number in range(LOAD_JOBS):
        job = project / f"gold/load_{number}"
        job.mkdir(parents=True)
        (job / "job.toml").write_text('grain = ["source_file", "line"]\n[sink.append]\n')
        (job / "query.sql").write_text(LOAD.format(LOAD_REPEAT))
    (project / "project.toml").write_text('name = "load"\n[defaults]\nowner = "test"\n')
    (project / "sources.toml").write_text((ROOT / "jobs/sources.toml").read_text())
    before = set(flow.instances())
    step = flow.begin(flow.pulse, "--project", project, "submit", "--cluster", flow.cluster, "--all", "--wait")
    flow.wait("the scheduler asks for a machine", lambda: len(flow.instances()) > 2 or check_alive(step))
    added = set(flow.instances()) - before
    report.equal("machines added", ["TASK"], [flow.instances()[name] for name in added])
    flow.wait("the new executor registers", lambda: flow.registered() == 3)
    report.equal("executors that the scheduler knows", 3, flow.registered())
    flow.grown = flow.instances()
    flow.wait("the new executor works", lambda: cpu_seconds(flow, next(iter(added))) > 1)
    report.equal("who asked", True, "more machines were asked for" in flow.said(flow.primary(), "scheduler"))
    report.equal("never more than the most", True, len(flow.instances()) <= MOST_EXECUTORS)
    listed = [json.loads(line) for line in flow.client("--lake", flow.lake, "--output", "json", "runs", "list")[1].splitlines()]
    trigger = next(run["trigger"] for run in listed if "load_" in json.dumps(run))
    flow.must("runs cancel", flow.client("--lake", flow.lake, "runs", "cancel", trigger))
    _, words = step.communicate(timeout=PATIENCE_S)
    report.equal("the step of what was cancelled fails", (1, True), (step.returncode, "failed" in words))


def check_alive(step):
    if step.poll() is not None:
        raise Missing(f"the load ended before anything was added: {step.stderr.read()[-2000:]}")


def submit_to_the_scheduler(flow):
    """Work that no step knows of and that needs no executor: now the heartbeat alone keeps EMR from ending the cluster."""
    settings = (f"api_port={flow.settings()['PULSE_API_PORT']}", f"api_token_source=ssm:{TOKEN}")
    options = [part for setting in settings for part in ("--set", setting)]
    place = ("--project", flow.folder / "load", "--lake", flow.lake, "--var", f"raw={flow.raw}")
    return flow.must("submit with the token", flow.run(flow.pulse, *place, *options, "submit", "--on", "local", "gold.load_0")).strip()


def scale_in(flow, report):
    """The executors have nothing to do; those beyond the least go."""
    began, trigger = time.time(), submit_to_the_scheduler(flow)
    flow.wait("the heartbeat sees the work", lambda: flow.active() > began)
    flow.end_when_idle_for(IDLE_SECONDS)
    flow.wait("a machine is given back", lambda: len(flow.instances()) == 2)
    left = flow.instances()
    gone = set(flow.grown) - set(left)
    report.equal("kinds of machines that went", ["TASK"], [flow.grown[name] for name in gone])
    report.equal("the core node stays", True, "CORE" in left.values())
    name = next(iter(gone))
    executor = lambda: [code for _, what, where, code in flow.processes() if where == name and "executor" in what]  # noqa: E731
    flow.wait("its executor ends", lambda: executor()[-1] is not None)
    report.equal("its executor ended by itself", 0, executor()[-1])
    said = flow.said(flow.nodes / name, "executor")
    report.equal("it had nothing left to do", False, "made again elsewhere" in said)
    report.equal("who gave it back", True, "drained machines were given back" in flow.said(flow.primary(), "scheduler"))
    flow.wait("two executors are left", lambda: flow.registered() == 2)
    flow.wait("its last lines are shipped", lambda: shipped(flow))
    report.equal("the cluster lives by its heartbeat", "WAITING", flow.state())
    flow.must("runs cancel", flow.client("--lake", flow.lake, "runs", "cancel", trigger))
    flow.wait("the run is cancelled", lambda: flow.states_of(trigger) == ["cancelled"])
    flow.ended = time.time()


def shipped(flow):
    logs = boto3.client("logs").describe_log_streams(logGroupName="/pulse/dev/executor")["logStreams"]
    return any(stream["logStreamName"].startswith(flow.cluster) for stream in logs)


# ---- to nothing


def idle(flow, report):
    flow.wait("the heartbeat sees no work", lambda: time.time() - flow.active() > HEARTBEAT_SECONDS)
    seconds, last = IDLE_SECONDS / flow.factor, flow.active()
    late = last - flow.ended
    is_near = abs(late) <= HEARTBEAT_SECONDS
    report.line("seconds from the end of work to the last activity", f"{HEARTBEAT_SECONDS} or less", f"{late:.0f}", is_near)
    flow.wait("EMR ends the idle cluster", lambda: flow.state().startswith("TERMINAT"), seconds + 60)
    lasted = time.time() - last
    most = 2 * seconds
    report.line("idle seconds until the end", f"{seconds:.0f} to {most:.0f}", f"{lasted:.0f}", seconds <= lasted <= most)
    report.equal("activity in the meantime", 0.0, flow.active() - last)
    flow.wait("all processes of the cluster end", lambda: not alive(flow))
    report.equal("processes that are left", [], alive(flow))
    code, _, words = flow.client("cluster", "status", flow.cluster)
    report.equal("status of the cluster", (0, True), (code, bool(re.search(f"{flow.cluster} .* is TERMINATED", words))))
    code, _, words = flow.client("cluster", "status")
    report.equal("status without a cluster", (2, True), (code, "start one with `pulse cluster up`" in words))
    code, _, words = flow.client("submit", "--cluster", flow.cluster, "--all")
    report.equal("a step for the ended cluster", (1, True), (code, "pulse cluster up" in words))


def alive(flow):
    return [f"{what} {pid}" for pid, what, *_ in flow.processes() if Path(f"/proc/{pid}").exists()]


def teardown(flow, report):
    code, out, words = flow.run("scripts/teardown", "dev", "--yes")
    report.equal("teardown refuses while tables are there", (True, True), (code != 0, "hold data" in out + words))
    tables = Lake(flow.lake).tables()
    report.equal("and deletes nothing", local_tables(flow), [table for table in tables if "load_" not in table])
    destroy = ("scripts/teardown", "dev", "--yes", "--delete-data")
    done = flow.run(*destroy)
    flow.must("teardown with its data", done if done[0] == 0 else flow.run(*destroy))
    report.equal("left in the state", "", flow.run("terraform", "-chdir=infra/envs/dev", "state", "list")[1])
    # The state of what the account has once, and that of the environment.
    buckets = sorted(bucket["Name"] for bucket in flow.s3.list_buckets()["Buckets"])
    expected = [("pulse-account", "state"), ("pulse-dev", "state")]
    report.equal("left of buckets", expected, [(name.rsplit("-", 2)[0], name.rsplit("-", 1)[1]) for name in buckets])


if __name__ == "__main__":
    main()
