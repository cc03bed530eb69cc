"""Runs the shipped project on an S3 emulator and checks that it leaves the rows that it leaves on disk.

    python s3.py PULSE LAKE RAW [--cluster]

PULSE is the binary, LAKE the local lake to compare with, RAW the local folder of input that it was made of. The emulator
is moto's server, on loopback and a free port; it ends with this script. With --cluster the project also runs on a
scheduler and two executors, started by scripts/dev-cluster with the ports of the environment. Exits with 1 if a check
does not hold.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

from compare import compare_lakes
from lake import Lake
from report import Report

BUCKET = "pulse"
AT_ONCE = 4
ATTEMPTS = 5
PATIENCE_S = 80
DEV_CLUSTER = Path(__file__).resolve().parents[1] / "dev-cluster"


def main():
    arguments = parse_arguments()
    emulator = Emulator()
    try:
        report = verify(arguments, emulator)
    finally:
        emulator.stop()
    print(report.summary())
    sys.exit(0 if report.passed() else 1)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pulse", type=Path)
    parser.add_argument("lake", type=Path)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--cluster", action="store_true")
    return parser.parse_args()


class Emulator:
    """moto's server as a process of its own, and the environment in which S3 clients find it."""

    def __init__(self):
        command = [sys.executable, "-c", "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"]
        self.log = Path(os.environ.get("TMPDIR", "/tmp")) / f"pulse-s3-{os.getpid()}.log"
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log.open("wb"))
        try:
            os.environ.update(
                AWS_ENDPOINT_URL=self._address(),
                AWS_ACCESS_KEY_ID="emulator",
                AWS_SECRET_ACCESS_KEY="emulator",
                AWS_REGION="us-east-1",
                AWS_ALLOW_HTTP="true",
            )
            self.client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")
            self.client.create_bucket(Bucket=BUCKET)
        except BaseException:
            self.stop()
            raise

    def _address(self):
        """The port that the kernel chose, as the server tells it."""
        for _ in range(PATIENCE_S * 5):
            for word in self.log.read_text(errors="replace").split():
                if word.startswith("http://127.0.0.1:"):
                    return word
            if self.process.poll() is not None:
                raise RuntimeError(f"the emulator ended: {self.log.read_text(errors='replace')}")
            time.sleep(0.2)
        raise RuntimeError("the emulator does not say where it listens")

    def upload(self, folder, prefix):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.client.upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(folder)}")

    def refused(self, key):
        """How many requests to write `key` it refused because the object was there."""
        lines = self.log.read_text(errors="replace").splitlines()
        return sum(f"PUT /{BUCKET}/{key} " in line and line.endswith('" 412 -') for line in lines)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)
        self.log.unlink(missing_ok=True)


def verify(arguments, emulator):
    report = Report()
    emulator.upload(arguments.raw, "raw")
    check_conditional_put(report, emulator)
    here = Lake(arguments.lake)
    pulse(arguments.pulse, "lake", "run", "--all")
    compare_lakes(report, here, Lake(url("lake")), ["_run_id"])
    again = pulse(arguments.pulse, "lake", "run", "--all")
    report.equal("a second run on S3 commits nothing", {"unchanged"}, {run["state"] for run in again})
    check_commits_at_once(report, arguments.pulse, emulator)
    if arguments.cluster:
        on_cluster(arguments.pulse)
        compare_lakes(report, here, Lake(url("cluster")), ["_run_id"])
    return report


def url(name):
    return f"s3://{BUCKET}/{name}"


def check_conditional_put(report, emulator):
    """Otherwise the emulator could prove nothing about commits."""
    put = {"Bucket": BUCKET, "Key": "once", "IfNoneMatch": "*"}
    emulator.client.put_object(**put, Body=b"first")
    try:
        emulator.client.put_object(**put, Body=b"second")
        code = "accepted"
    except ClientError as error:
        code = error.response["Error"]["Code"]
    report.equal("the emulator refuses a second object of one name", "PreconditionFailed", code)


def check_commits_at_once(report, binary, emulator):
    """Processes that commit the same version at once: one succeeds, the others see it and have nothing left to do."""
    entry = "_delta_log/00000000000000000000.json"
    for attempt in range(ATTEMPTS):
        lake = f"at-once-{attempt}"
        running = [start(binary, lake, "run", "silver.sessions") for _ in range(AT_ONCE)]
        states = sorted(run["state"] for process in running for run in answer(process))
        wanted = ["succeeded", *["unchanged"] * (AT_ONCE - 1)]
        report.equal(f"{AT_ONCE} runs of one job at once on S3", wanted, states)
        if emulator.refused(f"{lake}/silver/sessions/{entry}"):
            report.equal("versions that they committed", 1, len(Lake(url(lake)).versions("silver.sessions")))
            return
    report.line("commits that met", "at least one", 0, False)


def on_cluster(binary):
    environment = os.environ | {"LAKE": url("cluster"), "RAW": url("raw")}
    subprocess.run([DEV_CLUSTER, "up", "--executors", "2"], check=True)
    try:
        submit = [DEV_CLUSTER.parent / "submit", "--all"]
        subprocess.run(submit, check=True, env=environment, timeout=PATIENCE_S, stdout=subprocess.DEVNULL)
    finally:
        subprocess.run([DEV_CLUSTER, "down"], check=True)


def pulse(binary, lake, *arguments):
    return answer(start(binary, lake, *arguments))


def start(binary, lake, *arguments):
    project = Path(__file__).resolve().parents[2] / "jobs"
    options = ["--project", project, "--lake", url(lake), "--var", f"raw={url('raw')}", "--output", "json"]
    return subprocess.Popen([binary, *options, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def answer(process):
    """The runs' records."""
    try:
        out, words = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"pulse ended with {process.returncode}: {words.decode(errors='replace')}")
    return [json.loads(line) for line in out.splitlines()]


if __name__ == "__main__":
    main()
