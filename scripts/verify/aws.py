"""Runs pulse against an emulator of AWS: tables registered in Glue, clusters and steps of EMR, the API's token.

    python aws.py PULSE RAW [--emulator PATH]

PULSE is the binary, RAW a local folder of input. The emulator runs on loopback and a free port, and ends with this script.
Exits with 1 if a check does not hold.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
from deltalake import DeltaTable

from ports import free_port
from report import Report

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "pulse"
LAKE = f"s3://{BUCKET}/lake"
PATIENCE_S = 120
TOKEN = "0123456789abcdef0123456789abcdef"
# Types of Delta in the words of Glue, as Athena's documentation has them.
TYPES = {"long": "bigint", "integer": "int", "double": "double", "string": "string", "date": "date", "timestamp": "timestamp", "boolean": "boolean"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pulse", type=Path)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--emulator", type=Path, default=ROOT / "scripts/aws/emulator.py")
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        aws = Emulator(arguments.emulator, Path(folder))
        try:
            aws.upload(arguments.raw)
            pulse = Pulse(arguments.pulse, Path(folder))
            check_catalog(report, pulse, aws)
            check_encryption(report, pulse, aws)
            check_cluster(report, pulse, aws)
            check_steps(report, pulse, aws)
            check_bad_input(report, pulse)
            check_scheduler(report, pulse, aws, Path(folder))
            check_tls(report, pulse, Path(folder))
        finally:
            aws.stop()
    print(report.summary())
    sys.exit(0 if report.passed() else 1)


class Emulator:
    def __init__(self, program, folder):
        port = free_port()
        self.log = folder / "emulator.log"
        self.process = subprocess.Popen([sys.executable, program, str(port)], stdout=subprocess.DEVNULL, stderr=self.log.open("wb"))
        os.environ.update(
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
            AWS_ACCESS_KEY_ID="emulator",
            AWS_SECRET_ACCESS_KEY="emulator",
            AWS_REGION="us-east-1",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_ALLOW_HTTP="true",
            # What the emulator cannot do, it answers with 500, which would be asked for again and again.
            AWS_MAX_ATTEMPTS="1",
        )
        try:
            wait_for(lambda: answers(port), "the emulator")
        except BaseException:
            self.stop()
            raise
        self.s3, self.glue, self.emr, self.ssm, self.kms = (boto3.client(name) for name in ("s3", "glue", "emr", "ssm", "kms"))
        self.s3.create_bucket(Bucket=BUCKET)

    def upload(self, folder):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.s3.upload_file(str(path), BUCKET, f"raw/{path.relative_to(folder)}")

    def table(self, name):
        database, table = name.split(".")
        return self.glue.get_table(DatabaseName=database, Name=table)["Table"]

    def tables(self):
        databases = [database["Name"] for database in self.glue.get_databases()["DatabaseList"]]
        return {f"{name}.{table['Name']}" for name in databases for table in self.glue.get_tables(DatabaseName=name)["TableList"]}

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)


class Pulse:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def start(self, *arguments, lake=LAKE, variables=True, **environment):
        """Variables of the environment that are None are taken out."""
        both = {key: value for key, value in os.environ.items() if not key.startswith("PULSE_")} | environment
        options = ["--project", str(ROOT / "jobs"), "--lake", lake]
        options += ["--var", f"raw=s3://{BUCKET}/raw"] if variables else []
        return subprocess.Popen(
            [str(self.binary), *options, *arguments],
            env={key: value for key, value in both.items() if value is not None},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, **options):
        """Exit code, stdout, stderr."""
        process = self.start(*arguments, **options)
        try:
            out, words = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return process.returncode, out, words


# ---- catalog


def check_catalog(report, pulse, aws):
    glue = {"PULSE_CATALOG": "glue"}
    code, _, words = pulse.run("run", "--all", **glue)
    report.equal("a run without databases ends well", 0, code)
    report.equal("and warns with the remedy", True, "is committed and not registered" in words and "catalog_databases" in words)
    code, out, _ = pulse.run("catalog", "check", **glue)
    lake = [line.split()[0] for line in pulse.run("--output", "csv", "table", "list")[1].splitlines()[1:]]
    lake = {line.split(",")[0] for line in lake}
    report.equal("check without registrations", 1, code)
    report.equal("a line for each table", len(lake), out.count("not registered"))
    for database in ("bronze", "silver", "gold"):
        aws.glue.create_database(DatabaseInput={"Name": database})
    code, _, words = pulse.run("run", "--all", **glue)
    report.equal("an unchanged run registers what was cut off", (0, False), (code, "warning" in words))
    report.equal("a second run registers the quarantine tables too", lake, aws.tables())
    report.equal("check after it", (0, ""), pulse.run("catalog", "check", **glue)[:2])
    for name in sorted(lake):
        check_entry(report, aws.table(name), name)
    check_drift(report, pulse, aws, glue, lake)
    check_prefix(report, pulse, aws, glue)
    code, _, words = pulse.run("run", "silver.sessions", lake=str(pulse.folder / "local"), **glue)
    report.equal("a local lake with Glue", (0, True), (code, "s3:// only" in words))
    report.equal("no catalog, nothing to check", 2, pulse.run("catalog", "check")[0])


def check_entry(report, entry, name):
    """Against what an independent reader says of the table."""
    storage = {key: os.environ[key] for key in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ALLOW_HTTP")}
    location = f"{LAKE}/{name.replace('.', '/')}/"
    delta = DeltaTable(location, storage_options=storage)
    keys = delta.metadata().partition_columns
    fields = [(field.name.lower(), TYPES[field.type.type]) for field in delta.schema().fields]
    columns = [(column["Name"], column["Type"]) for column in entry["StorageDescriptor"]["Columns"]]
    report.equal(f"{name}: columns in Glue", [field for field in fields if field[0] not in keys], columns)
    report.equal(f"{name}: partition keys", sorted(keys), sorted(key["Name"] for key in entry["PartitionKeys"]))
    report.equal(f"{name}: location", location, entry["StorageDescriptor"]["Location"])
    parameters = entry["Parameters"]
    found = (parameters["table_type"], parameters["EXTERNAL"], parameters["delta.lastUpdateVersion"])
    report.equal(f"{name}: parameters", ("delta", "TRUE", str(delta.version())), found)
    parts = int(parameters["spark.sql.sources.schema.numParts"])
    schema = "".join(parameters[f"spark.sql.sources.schema.part.{part}"] for part in range(parts))
    names = [field["name"] for field in json.loads(schema)["fields"]]
    report.equal(f"{name}: schema for Spark", [field.name for field in delta.schema().fields], names)


def check_drift(report, pulse, aws, glue, lake):
    """Broken in four ways; each is told, and mended."""
    aws.glue.delete_table(DatabaseName="silver", Name="sessions")
    change(aws, "gold.trends", lambda table: table["StorageDescriptor"]["Columns"][1].update(Type="float"))
    change(aws, "silver.bars_1d", lambda table: table["Parameters"].pop("table_type"))
    gone = change(aws, "gold.trends", lambda table: table.update(Name="gone") or table["StorageDescriptor"].update(Location=f"{LAKE}/gold/gone/"), make=True)
    elsewhere = change(aws, "gold.trends", lambda table: table.update(Name="other") or table["StorageDescriptor"].update(Location="s3://other/gold/other/"), make=True)
    code, out, _ = pulse.run("catalog", "check", **glue)
    report.equal("check of a broken catalog", 1, code)
    report.equal("tables that it names", ["gold.gone", "gold.trends", "silver.bars_1d", "silver.sessions"], [line.split()[0] for line in out.splitlines()[1:]])
    report.equal("it tells which column", True, "is registered as float, the table has" in out)
    # A run of one job mends its own entry, although it finds nothing to do.
    pulse.run("run", "gold.trends", **glue)
    report.equal("the run has mended its own", "gold.trends" in pulse.run("catalog", "check", **glue)[1], False)
    code, out, _ = pulse.run("catalog", "sync", **glue)
    report.equal("sync", (0, 3), (code, len(out.splitlines()) - 1))
    report.equal("what is gone stays without --prune", True, gone in aws.tables())
    report.equal("sync --prune", 0, pulse.run("catalog", "sync", "--prune", **glue)[0])
    report.equal("entries of other lakes stay", lake | {elsewhere}, aws.tables())
    report.equal("check of the mended catalog", (0, ""), pulse.run("catalog", "check", **glue)[:2])
    aws.glue.delete_table(DatabaseName="gold", Name="other")


def change(aws, name, edit, make=False):
    table = aws.table(name)
    fields = ("Name", "TableType", "Parameters", "PartitionKeys", "StorageDescriptor")
    table = {field: table[field] for field in fields if field in table}
    edit(table)
    call = aws.glue.create_table if make else aws.glue.update_table
    call(DatabaseName=name.split(".")[0], TableInput=table)
    return f"{name.split('.')[0]}.{table['Name']}"


def check_prefix(report, pulse, aws, glue):
    """Two lakes in one account."""
    other = f"s3://{BUCKET}/other"
    code, _, words = pulse.run("run", "silver.sessions", lake=other, **glue)
    report.equal("another lake does not take the entry", (0, True), (code, "set another `catalog_prefix`" in words))
    report.equal("the entry is still of the first", f"{LAKE}/silver/sessions/", aws.table("silver.sessions")["StorageDescriptor"]["Location"])
    own = glue | {"PULSE_CATALOG_PREFIX": "dev_", "PULSE_CATALOG_DATABASES": "create"}
    code, _, words = pulse.run("run", "silver.sessions", lake=other, **own)
    report.equal("with a prefix it is registered", (0, False), (code, "warning" in words))
    report.equal("in a database of its own", f"{other}/silver/sessions/", aws.table("dev_silver.sessions")["StorageDescriptor"]["Location"])
    report.equal("check with the prefix", 0, pulse.run("catalog", "check", lake=other, **own)[0])


def check_encryption(report, pulse, aws):
    key = aws.kms.create_key()["KeyMetadata"]["Arn"]
    lake = f"s3://{BUCKET}/encrypted"
    pulse.run("run", "silver.sessions", lake=lake, AWS_SERVER_SIDE_ENCRYPTION="aws:kms", AWS_SSE_KMS_KEY_ID=key)
    objects = aws.s3.list_objects_v2(Bucket=BUCKET, Prefix="encrypted/")["Contents"]
    heads = [aws.s3.head_object(Bucket=BUCKET, Key=found["Key"]) for found in objects]
    report.equal("every object asks for the key", {("aws:kms", key)}, {(head.get("ServerSideEncryption"), head.get("SSEKMSKeyId")) for head in heads})


# ---- cluster


def specification():
    spec = json.loads((ROOT / "aws/tests/specification.json").read_text())
    spec["storage"]["projects"] = f"s3://{BUCKET}/projects"
    return spec


def check_cluster(report, pulse, aws):
    where = {"PULSE_CLUSTER_SPEC": "ssm:/pulse/dev/cluster"}
    code, _, words = pulse.run("cluster", "up", **where)
    report.equal("up without its parameter", (2, True), (code, "there is none in us-east-1" in words))
    aws.ssm.put_parameter(Name="/pulse/dev/cluster", Type="String", Value=json.dumps(specification()))
    code, _, words = pulse.run("cluster", "status", **where)
    report.equal("status without a cluster", (2, True), (code, "start one with `pulse cluster up`" in words))
    code, out, words = pulse.run("cluster", "up", **where)
    cluster = out.strip()
    report.equal("up", (0, True), (code, cluster.startswith("j-")))
    told = aws.emr.describe_cluster(ClusterId=cluster)["Cluster"]
    report.equal("its name and release", ("pulse-dev", "emr-7.12.0"), (told["Name"], told["ReleaseLabel"]))
    report.equal("EMR ends it when idle", 1800, aws.emr.get_auto_termination_policy(ClusterId=cluster)["AutoTerminationPolicy"]["IdleTimeout"])
    report.equal("its groups", ["core 1", "primary 1", "task-m6a-xlarge 0", "task-m6i-xlarge 1", "task-m7i-xlarge 0", "task-ondemand 0"], groups(aws, cluster))
    bootstrap = aws.emr.list_bootstrap_actions(ClusterId=cluster)["BootstrapActions"]
    report.equal("its bootstrap action", "s3://pulse-dev-artifacts/node/1/bootstrap.sh", bootstrap[0]["ScriptPath"])
    again = pulse.run("cluster", "up", **where)
    report.equal("up again finds it", (0, cluster, True), (again[0], again[1].strip(), "is up already" in again[2]))
    report.equal("and adds no groups", 6, len(groups(aws, cluster)))
    (pulse.folder / "other.json").write_text(json.dumps(specification() | {"scaling": {"min_units": 2, "max_units": 4, "task_groups": []}}))
    code, _, words = pulse.run("cluster", "up", PULSE_CLUSTER_SPEC="other.json")
    report.equal("up from another specification", (1, True), (code, f"pulse cluster down {cluster}" in words))
    check_resize(report, pulse, aws, cluster, where)


def check_resize(report, pulse, aws, cluster, where):
    report.equal("scale out", 0, pulse.run("cluster", "scale", "6", **where)[0])
    spread = ["core 1", "primary 1", "task-m6a-xlarge 2", "task-m6i-xlarge 2", "task-m7i-xlarge 1", "task-ondemand 0"]
    report.equal("machines are spread, and on Spot", spread, groups(aws, cluster))
    code, _, words = pulse.run("cluster", "scale", "11", **where)
    report.equal("scale beyond the most", (2, True), (code, "between 2 and 10" in words))
    code, _, words = pulse.run("cluster", "scale", "2", **where)
    report.equal("scale in asks", (2, True), (code, "--yes" in words))
    report.equal("scale in", 0, pulse.run("cluster", "scale", "2", "--yes", **where)[0])
    report.equal("machines left", 2, sum(int(group.split()[1]) for group in groups(aws, cluster)) - 1)
    code, out, words = pulse.run("cluster", "status", **where)
    report.equal("status tells groups and the end", (0, True, True), (code, "task-m6a-xlarge" in out, "30 idle minutes" in words))
    status = json.loads(pulse.run("--output", "json", "cluster", "status", cluster)[1])
    report.equal("status as JSON", (cluster, 6), (status["id"], len(status["groups"])))


def groups(aws, cluster):
    found = aws.emr.list_instance_groups(ClusterId=cluster)["InstanceGroups"]
    return sorted(f"{group['Name']} {group['RequestedInstanceCount']}" for group in found)


def check_steps(report, pulse, aws):
    where = {"PULSE_CLUSTER_SPEC": "ssm:/pulse/dev/cluster"}
    cluster = pulse.run("cluster", "up", **where)[1].strip()
    submit = ("submit", "--cluster", cluster)
    code, out, _ = pulse.run(*submit, "--wait", "silver.sessions", **where)
    report.equal("a step that ends well", 0, code)
    step = aws.emr.describe_step(ClusterId=cluster, StepId=out.split()[0])["Step"]
    arguments = step["Config"]["Args"]
    report.equal("its arguments", (["/opt/pulse/bin/pulse-node", "step"], ["submit", "--wait", "--on", "cluster", "silver.sessions"]), (arguments[:2], arguments[-5:]))
    keys = {found["Key"] for found in aws.s3.list_objects_v2(Bucket=BUCKET, Prefix="projects/")["Contents"]}
    folder = arguments[2].removeprefix(f"s3://{BUCKET}/")
    report.equal("its project was uploaded", True, f"{folder}/silver/sessions/query.sql" in keys and f"{folder}/project.toml" in keys)
    code, _, words = pulse.run(*submit, "--wait", "--key", "fail-me", "--all", **where)
    report.equal("a step that fails", (1, True), (code, f"s3://pulse-dev-logs/emr/{cluster}/steps/" in words))
    code, _, words = pulse.run(*submit, "no.such", **where)
    report.equal("a job that does not exist makes no step", 2, code)
    code, _, words = pulse.run(*submit, "--all", "--var", "raw=sample", variables=False, **where)
    report.equal("a folder of this machine", (2, True), (code, "s3:// URL" in words))
    check_cancelled(report, pulse, aws, cluster, submit, where)
    code, _, words = pulse.run("submit", "--cluster", "j-0000000000000", "--all", **where)
    report.equal("a step for an unknown cluster", (2, True), (code, "there is no cluster j-0000000000000 in us-east-1" in words))
    code, _, words = pulse.run("cluster", "down", **where)
    report.equal("down asks", (2, True), (code, "--yes" in words))
    report.equal("down", 0, pulse.run("cluster", "down", "--yes", **where)[0])
    report.equal("it has ended", "TERMINAT", aws.emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"][:8])
    code, _, words = pulse.run(*submit, "--all", **where)
    report.equal("a step for an ended cluster", (1, True), (code, "pulse cluster up" in words))
    new = pulse.run("cluster", "up", **where)[1].strip()
    report.equal("up after down is another cluster", True, new.startswith("j-") and new != cluster)


def check_cancelled(report, pulse, aws, cluster, submit, where):
    """Cancelled by somebody else while others are before it; each look at a step moves one on."""
    before = {"Name": "before", "ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]}}
    aws.emr.add_job_flow_steps(JobFlowId=cluster, Steps=[before] * 20)
    process = pulse.start(*submit, "--wait", "--all", **where)
    step = process.stdout.readline().strip()
    aws.emr.cancel_steps(ClusterId=cluster, StepIds=[step])
    _, words = process.communicate(timeout=PATIENCE_S)
    report.equal("a step that is cancelled", (130, True), (process.returncode, f"step {step} of cluster {cluster} was cancelled" in words))


# ---- bad input


def check_bad_input(report, pulse):
    """One error with its remedy."""
    bare = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(pulse.folder)}
    glue = {"PULSE_CATALOG": "glue"}
    status = ("cluster", "status", "j-0000000000000")
    cases = [
        ("no credentials", status, bare, 2, "there are no AWS credentials"),
        ("no region", status, bare | {"AWS_REGION": None, "AWS_DEFAULT_REGION": None}, 2, "set AWS_REGION"),
        ("an endpoint that does not answer", status, {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}, 1, "check AWS_ENDPOINT_URL and AWS_REGION"),
        ("a cluster of another region", status, {"AWS_REGION": "eu-west-1"}, 2, "there is no cluster j-0000000000000 in eu-west-1"),
        ("no specification", ("cluster", "up"), {}, 2, "`cluster_spec` says no cluster"),
        ("a specification that is none", ("cluster", "up"), {"PULSE_CLUSTER_SPEC": str(ROOT / "jobs/project.toml")}, 2, "is not a cluster's specification"),
        ("a bucket that does not exist", ("cluster", "up"), {"PULSE_CLUSTER_SPEC": "s3://nobody/spec.json"}, 1, "s3://nobody/spec.json"),
        ("sync without databases", ("catalog", "sync"), glue | {"PULSE_CATALOG_PREFIX": "nobody_"}, 1, "no database `nobody_"),
    ]
    for name, arguments, environment, wanted, text in cases:
        code, _, words = pulse.run(*arguments, **environment)
        report.equal(name, (wanted, True, False), (code, text in words, "panicked" in words))


# ---- scheduler


def check_scheduler(report, pulse, aws, folder):
    """Its token, its scaler and its file of activity."""
    where = {"PULSE_CLUSTER_SPEC": "ssm:/pulse/dev/cluster"}
    cluster = pulse.run("cluster", "up", **where)[1].strip()
    aws.ssm.put_parameter(Name="/pulse/dev/token", Type="SecureString", Value=TOKEN)
    busy = folder / "isbusy"
    ports = {"PULSE_API_PORT": str(free_port()), "PULSE_SCHEDULER_PORT": str(free_port())}
    token = {"PULSE_API_TOKEN_SOURCE": "ssm:/pulse/dev/token"}
    scaler = {"PULSE_SCALER": "emr", "PULSE_CLUSTER_ID": cluster, "PULSE_SCALE_LEAST_NODES": "4"}
    scheduler = pulse.start("serve", "scheduler", PULSE_ALLOWED_LAKES="*", PULSE_ALLOWED_ROOTS="*", PULSE_BUSY_FILE=str(busy), PULSE_CATALOG="glue", **ports, **token, **scaler)
    try:
        wait_for(lambda: answers(int(ports["PULSE_API_PORT"])), "the scheduler")
        health = urllib.request.urlopen(f"http://127.0.0.1:{ports['PULSE_API_PORT']}/healthz", timeout=10).read()
        report.equal("health needs no token", b"0", health)
        code, _, words = pulse.run("submit", "--on", "local", "silver.sessions", **ports)
        # On this machine, the account's own certificate is shown where none is set, which such a scheduler does not know.
        report.equal("a submission without the token", (2, True), (code, "`api_token_source` must lead to" in words))
        code, _, words = pulse.run("submit", "--on", "local", "silver.sessions", X="f" * 32, PULSE_API_TOKEN_SOURCE="env:X", **ports)
        report.equal("a submission with another token", (2, True), (code, "does not know this token" in words))
        aws.glue.delete_table(DatabaseName="silver", Name="sessions")
        code, _, words = pulse.run("submit", "--on", "local", "--wait", "silver.sessions", **ports, **token)
        report.equal("a submission with the token", 0, code)
        report.equal("the scheduler registers tables", True, "silver.sessions" in aws.tables())
        wait_for(busy.exists, "EMR's file of activity")
        report.equal("EMR's file of activity was touched", True, busy.exists())
        wait_for(lambda: sum(int(group.split()[1]) for group in groups(aws, cluster)) == 5, "the scaler")
        report.equal("the scaler fills up to the least", 4, sum(int(group.split()[1]) for group in groups(aws, cluster)) - 1)
    finally:
        scheduler.terminate()
        _, words = scheduler.communicate(timeout=PATIENCE_S)
    report.equal("the token is in no log", False, TOKEN in words)


def check_tls(report, pulse, folder):
    """With a certificate made for this test."""
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    for file in ("own", "other"):
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name, "-keyout", f"{file}.key", "-out", f"{file}.pem"]
        subprocess.run(make, cwd=folder, check=True, capture_output=True)
    ports = {"PULSE_API_PORT": str(free_port()), "PULSE_SCHEDULER_PORT": str(free_port())}
    (folder / "token").write_text(TOKEN + "\n")
    token = {"PULSE_API_TOKEN_SOURCE": "file:token"}
    scheduler = pulse.start("serve", "scheduler", PULSE_ALLOWED_LAKES="*", PULSE_ALLOWED_ROOTS="*", PULSE_API_CERTIFICATE="own.pem", PULSE_API_KEY="own.key", **ports, **token)
    try:
        wait_for(lambda: answers(int(ports["PULSE_API_PORT"])), "the scheduler")
        submit = ("submit", "--on", "local", "--wait", "silver.sessions")
        # A client that says nothing must not hold up the others.
        with socket.create_connection(("127.0.0.1", int(ports["PULSE_API_PORT"]))):
            code = pulse.run(*submit, PULSE_API_AUTHORITY="own.pem", **ports, **token)[0]
        report.equal("a submission over TLS", 0, code)
        for name, authority in (("with another authority", "other.pem"), ("with the system's authorities", "system")):
            code, _, words = pulse.run(*submit, PULSE_API_AUTHORITY=authority, **ports, **token)
            report.equal(f"a submission {name}", (1, True), (code, "no scheduler answers" in words))
        code, _, words = pulse.run(*submit, PULSE_API_AUTHORITY="", **ports, **token)
        report.equal("a submission without an authority", (2, True), (code, "set `api_authority`" in words))
    finally:
        scheduler.terminate()
        _, words = scheduler.communicate(timeout=PATIENCE_S)
    code, _, words = pulse.run("serve", "scheduler", PULSE_API_CERTIFICATE="own.pem", PULSE_API_KEY="other.key", **ports)
    report.equal("a key of another certificate", (2, True), (code, "do not fit together" in words))


def answers(port):
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_for(is_there, what):
    end = time.monotonic() + PATIENCE_S
    while not is_there():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} does not answer")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
