"""Nodes of EMR on one machine: for each instance of the emulator's clusters a folder that stands for its /, in which the
cluster's own bootstrap action runs and whose units are started, so that real schedulers and executors work on loopback.

    python nodes.py FOLDER --factor FACTOR     # until it is ended; needs emulator.py --nodes FACTOR at AWS_ENDPOINT_URL

What EMR does besides is done as well: steps run on the primary node and their exit code counts, instances that leave a group
run their shutdown action, and a cluster whose file of activity is older than its idle timeout, and which has no open step, is ended.
Time of EMR goes FACTOR times as fast as clocks do: idle timeouts, and the periods of timers.
Each node has a loopback address of its own, at which executors see the scheduler's port. FOLDER/processes has a line for each
process that was started and that ended.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "verify"))
from ports import free_port  # noqa: E402
from stand_ins import unit_command  # noqa: E402

LIVE = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
LOOK_SECONDS, RESTART_SECONDS, SHORTEST_TIMER_SECONDS, KILL_SECONDS = 0.5, 1, 5, 100
PROGRAMS = ["aws", "journalctl", "systemctl"]
# Programs that would change the machine, or need another user.
SCRIPTS = {
    "sudo": 'exec "$@"\n',
    "id": "exit 0\n",
    "useradd": "exit 0\n",
    "chown": "exit 0\n",
    # Itself, and not what chooses one and puts programs of its own before ours.
    "python3": f'exec "{sys._base_executable}" "$@"\n',
}
VCORES, MEMORY_MIB = 1, 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--factor", type=float, default=1)
    options = parser.parse_args()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, leave)
    machine = Machine(options.folder.resolve(), options.factor)
    clusters = {}
    try:
        while True:
            try:
                look(machine, clusters)
            except (BotoCoreError, ClientError, ResponseParserError) as error:
                print(f"the emulator: {error}", flush=True)  # busy; the next look comes soon
            time.sleep(LOOK_SECONDS)
    finally:
        for cluster in clusters.values():
            cluster.end(at_once=True)


def leave(*_):
    """Once: a second signal must not cut off what ends the processes."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)
    sys.exit(0)


def look(machine, clusters):
    live = [found["Id"] for found in machine.emr.list_clusters(ClusterStates=LIVE)["Clusters"]]
    for name in live:
        clusters.setdefault(name, Cluster(machine, name))
    for name, cluster in clusters.items():
        cluster.look() if name in live else cluster.end()


class Machine:
    """What all nodes share."""

    def __init__(self, folder, factor):
        self.folder, self.factor, self.nodes = folder, factor, 0
        self.emr, self.s3 = boto3.client("emr"), boto3.client("s3")
        self.programs = folder / "programs"
        self.programs.mkdir(parents=True, exist_ok=True)
        stand_ins = Path(__file__).with_name("stand_ins.py")
        scripts = {name: f'exec "{sys.executable}" "{stand_ins}" {name} "$@"\n' for name in PROGRAMS} | SCRIPTS
        for name, script in scripts.items():
            (self.programs / name).write_text(f"#!/bin/sh\n{script}")
            (self.programs / name).chmod(0o755)
        # Where AWS is, and nothing else of the caller's.
        kept = {name: text for name, text in os.environ.items() if not name.startswith("PULSE_")}
        self.environment = kept | {"PATH": f"{self.programs}:{os.environ['PATH']}", "AWS_ALLOW_HTTP": "true"}

    def address(self):
        self.nodes += 1
        return f"127.30.0.{self.nodes}"

    def note(self, text):
        with (self.folder / "processes").open("a") as file:
            file.write(f"{text}\n")


class Cluster:
    def __init__(self, machine, name):
        self.machine, self.name = machine, name
        self.ports = {"PULSE_SCHEDULER_PORT": free_port(), "PULSE_API_PORT": free_port()}
        self.nodes, self.steps, self.state, self.ended = {}, {}, "BOOTSTRAPPING", False
        described = machine.emr.describe_cluster(ClusterId=name)["Cluster"]
        self.at_once = described.get("StepConcurrencyLevel") or 1
        self.action = machine.emr.list_bootstrap_actions(ClusterId=name)["BootstrapActions"][0]

    def tell(self, what, value):
        self.machine.emr.add_tags(ResourceId=self.name, Tags=[{"Key": f"emulator:{what}", "Value": value}])

    def look(self):
        emr = self.machine.emr
        groups = {group["Id"]: group for group in emr.list_instance_groups(ClusterId=self.name)["InstanceGroups"]}
        listed = {found["Ec2InstanceId"]: found for found in emr.list_instances(ClusterId=self.name)["Instances"]}
        # The primary first, as the first address is its.
        for name in sorted(listed, key=lambda name: groups[listed[name]["InstanceGroupId"]]["InstanceGroupType"] != "MASTER"):
            if name not in self.nodes:
                self.nodes[name] = Node(self, name, groups[listed[name]["InstanceGroupId"]]["InstanceGroupType"])
        for name, node in self.nodes.items():
            if name not in listed:
                node.leave()
            node.look()
        primary = next((node for node in self.nodes.values() if node.role == "MASTER"), None)
        if self.state == "BOOTSTRAPPING" and self.nodes and all(node.state == "RUNNING" for node in self.nodes.values()):
            self.state = "WAITING"
            self.tell("cluster", self.state)
        if primary and primary.state == "RUNNING":
            self.run_steps(primary)
            self.end_when_idle(primary)

    def run_steps(self, primary):
        for name, process in list(self.steps.items()):
            if process and process.poll() is not None:
                self.machine.note(f"ended {process.pid} step {name} code {process.returncode}")
                self.tell(f"step:{name}", "FAILED" if process.returncode else "COMPLETED")
                self.steps[name] = None
        listed = self.machine.emr.list_steps(ClusterId=self.name, StepStates=["PENDING"])["Steps"]
        for step in reversed(listed):
            if step["Id"] not in self.steps and sum(p is not None for p in self.steps.values()) < self.at_once:
                self.steps[step["Id"]] = primary.run_step(step["Id"], step["Config"]["Args"])
                self.tell(f"step:{step['Id']}", "RUNNING")

    def end_when_idle(self, primary):
        """By the policy as it is now: whoever may, puts another on a cluster that runs."""
        policy = self.machine.emr.get_auto_termination_policy(ClusterId=self.name).get("AutoTerminationPolicy")
        idle = time.time() - (primary.root / "emr/metricscollector/isbusy").stat().st_mtime
        if policy and idle > policy["IdleTimeout"] / self.machine.factor and not any(self.steps.values()):
            print(f"{self.name} was idle for {idle:.0f} s and is ended", flush=True)
            self.machine.emr.terminate_job_flows(JobFlowIds=[self.name])

    def end(self, at_once=False):
        if self.ended:
            return
        for process in filter(None, self.steps.values()):
            kill(process)
        self.steps.clear()
        for node in self.nodes.values():
            node.kill() if at_once else node.leave()
            node.look()
        self.ended = all(node.state == "GONE" for node in self.nodes.values())


class Node:
    """One instance: BOOTSTRAPPING, RUNNING, LEAVING, GONE."""

    def __init__(self, cluster, name, role):
        self.cluster, self.machine, self.name, self.role = cluster, cluster.machine, name, role
        self.root, self.address = self.machine.folder / name, self.machine.address()
        self.units, self.timers, self.died, self.door = {}, {}, {}, None
        self.leaving = self.left_at = None
        self.describe()
        self.write_settings()
        script = self.root / "bootstrap.sh"
        bucket, _, key = cluster.action["ScriptPath"].removeprefix("s3://").partition("/")
        self.machine.s3.download_file(bucket, key, str(script))
        self.environment = self.machine.environment | {"PULSE_ROOT": str(self.root)}
        self.state = "BOOTSTRAPPING"
        self.bootstrap = self.start(["bash", str(script), *cluster.action["Args"]], "bootstrap")
        self.tell()

    def tell(self):
        self.cluster.tell(f"instance:{self.name}", f"{self.state} {self.address}")

    def describe(self):
        """EMR's files on a node. Each executor finds the primary's port at its own address."""
        info = self.root / "mnt/var/lib/info"
        info.mkdir(parents=True)
        is_primary = self.role == "MASTER"
        host = "127.0.0.1" if is_primary else self.address
        (info / "instance.json").write_text(json.dumps({"isMaster": is_primary}))
        role = {"MASTER": "Master", "CORE": "Core", "TASK": "Task"}[self.role]
        described = {"instanceRole": role, "masterHost": host, "jobFlowId": self.cluster.name}
        (info / "extraInstanceData.json").write_text(json.dumps(described))

    def write_settings(self):
        """What must differ where one machine is all nodes; put behind the settings of Terraform and of the bootstrap action."""
        settings = {
            **self.cluster.ports,
            "PULSE_EXECUTOR_PORT": 0,
            "PULSE_EXECUTOR_GRPC_PORT": 0,
            "PULSE_WORK_DIR": self.root / "mnt/pulse/work",
            "PULSE_CLUSTER_CERTIFICATES": self.root / "etc/pulse/certs",
            "PULSE_SPILL_DIR": self.root / "mnt/pulse/spill",
            "PULSE_BUSY_FILE": self.root / "mnt/pulse/busy",
            "PULSE_VCORES": VCORES,
            "PULSE_MEMORY_MIB": MEMORY_MIB,
            "PULSE_SPOT_NOTICE_URL": "",
        }
        file = self.root / "etc/pulse/one-machine.env"
        file.parent.mkdir(parents=True)
        file.write_text("".join(f"{name}={text}\n" for name, text in settings.items()))

    def start(self, command, name):
        log = self.root / "var/log" / name
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as said:
            pipes = dict(stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
            process = subprocess.Popen(command, env=self.environment, cwd=self.root, start_new_session=True, **pipes)
        self.machine.note(f"began {process.pid} {name} {self.name}")
        return process

    def look(self):
        if self.state == "BOOTSTRAPPING" and self.bootstrap.poll() is not None:
            self.set_up() if self.bootstrap.returncode == 0 else self.give_up()
        self.reap()
        if self.state == "RUNNING":
            self.restart()
            self.ring()
        if self.state == "LEAVING" and (self.leaving.poll() is not None or time.monotonic() > self.left_at + KILL_SECONDS):
            self.kill()

    def set_up(self):
        if self.role == "MASTER":
            activity = self.root / "emr/metricscollector/isbusy"
            activity.parent.mkdir(parents=True)
            activity.touch()
        else:
            self.door = Door(self.address, self.cluster.ports["PULSE_SCHEDULER_PORT"])
        for unit in (self.root / "run/enabled").read_text().split():
            if unit.endswith(".timer"):
                lines = (self.root / "etc/systemd/system" / unit).read_text().splitlines()
                period = next(float(line.partition("=")[2]) for line in lines if line.startswith("OnUnitActiveSec="))
                period = max(period / self.machine.factor, SHORTEST_TIMER_SECONDS)
                self.timers[unit.replace(".timer", ".service")] = [period, time.monotonic() + period]
            else:
                self.start_unit(unit)
        self.state = "RUNNING"
        self.tell()

    def give_up(self):
        """EMR ends a node whose bootstrap action failed, and its cluster with it."""
        print(f"bootstrap of {self.name} failed: {(self.root / 'var/log/bootstrap').read_text()}", flush=True)
        self.state = "GONE"
        self.machine.emr.terminate_job_flows(JobFlowIds=[self.cluster.name])

    def start_unit(self, unit):
        command = unit_command(self.root, unit, self.environment)
        process = subprocess.Popen(**command, start_new_session=True)
        command["stdout"].close()
        self.machine.note(f"began {process.pid} {unit} {self.name}")
        (self.root / f"run/{unit}.pid").write_text(str(process.pid))
        self.units[unit] = process

    def reap(self):
        for unit, process in list(self.units.items()):
            if process.poll() is not None:
                self.machine.note(f"ended {process.pid} {unit} {self.name} code {process.returncode}")
                (self.root / f"run/{unit}.pid").unlink(missing_ok=True)
                del self.units[unit]
                if unit not in self.timers and not (self.root / f"run/{unit}.stopped").exists():
                    self.died[unit] = time.monotonic()

    def restart(self):
        for unit, moment in list(self.died.items()):
            if time.monotonic() > moment + RESTART_SECONDS:
                del self.died[unit]
                self.start_unit(unit)

    def ring(self):
        for unit, timer in self.timers.items():
            if time.monotonic() > timer[1] and unit not in self.units:
                timer[1] = time.monotonic() + timer[0]
                self.start_unit(unit)

    def run_step(self, name, arguments):
        return self.start([str(self.root / arguments[0].lstrip("/")), *arguments[1:]], f"step-{name}")

    def leave(self):
        """As when EMR takes an instance away: its shutdown action runs, then it is gone with all that still runs."""
        if self.state == "BOOTSTRAPPING":
            self.kill()
        elif self.state == "RUNNING":
            self.state, self.left_at = "LEAVING", time.monotonic()
            action = self.root / "mnt/var/lib/instance-controller/public/shutdown-actions/pulse.sh"
            self.leaving = self.start(["bash", str(action)], "shutdown")

    def kill(self):
        self.reap()
        others = [process for process in (self.bootstrap, self.leaving) if process and process.poll() is None]
        for process in [*self.units.values(), *others]:
            kill(process)
        self.reap()
        if self.door:
            self.door.close()
        shutil.rmtree(self.root / "mnt/pulse", ignore_errors=True)
        self.state = "GONE"


def kill(process):
    """With its children; each began a group of its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Door:
    """Passes connections to a port of this node's address on to the same port of 127.0.0.1, once somebody listens there."""

    def __init__(self, address, port):
        self.place, self.listener, self.closed = (address, port), None, False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.closed and not (server := self.inside()):
            time.sleep(LOOK_SECONDS)
        if self.closed:
            return
        server.close()
        self.listener = socket.create_server(self.place)
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = self.inside()
            for source, target in ((client, server), (server, client)) if server else ():
                threading.Thread(target=pass_on, args=(source, target), daemon=True).start()
            if not server:
                client.close()

    def inside(self):
        try:
            return socket.create_connection(("127.0.0.1", self.place[1]))
        except OSError:
            return None

    def close(self):
        self.closed = True
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()


def pass_on(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


if __name__ == "__main__":
    main()
