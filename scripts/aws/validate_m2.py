"""Checks milestone M2: specification, release, security, logs; a cluster, its bootstrap, auto-termination, a job as a step.

Without --cluster and --start it looks at the newest running cluster of the environment. --start starts one from the
specification (this costs money) and ends it afterwards.
"""

import hashlib
import json
import sys
import time

from checks import read_specification, run

RUNNING = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
READY = ["RUNNING", "WAITING"]
POLL_SECONDS, START_MINUTES, STEP_MINUTES = 15, 30, 20
EVENTS = ["cluster-failed", "no-capacity", "step-failed"]
LOG_GROUPS = ["executor", "node", "scheduler"]
ALARMS = ["failed-run", "heartbeat-failed", "queue-age", "scheduler-down", "stuck-run"]


def options(made):
    made.add_argument("--cluster", metavar="ID", help="look at this cluster")
    made.add_argument(
        "--start", action="store_true", help="start a cluster from the specification, and end it afterwards"
    )
    made.add_argument(
        "--project-folder",
        metavar="NAME",
        default="market-data",
        help="project below artifacts/projects (default: market-data)",
    )
    made.add_argument(
        "--job",
        metavar="JOB",
        default="silver.sessions",
        help="job to run as a step; this one reads no files (default: silver.sessions)",
    )


def validate(environment, report, asked):
    specification = read_specification(environment, report)
    check_security(environment, report)
    check_logs(environment, report)
    if not specification:
        return
    check_specification(environment, report, specification)
    check_release(environment, report, specification)
    emr = environment.client("emr")
    started = None
    try:
        if asked.start:
            started = emr.run_job_flow(**specification["run_job_flow"])["JobFlowId"]
            print(f"started {started}; it is ended when the checks are done")
            report.check("the cluster comes up", "RUNNING or WAITING", lambda: add_groups(emr, started, specification), lambda s: s in READY)
        cluster = started or asked.cluster or newest(emr, environment.name)
        report.check(
            "a cluster to look at (--start starts one)",
            "an id",
            lambda: cluster or "none",
            lambda found: found != "none",
        )
        if cluster:
            check_cluster(environment, report, emr, cluster, specification)
            check_step(report, emr, cluster, specification, asked)
    finally:
        if started:
            emr.terminate_job_flows(JobFlowIds=[started])
            report.check(
                "the cluster ends when told",
                "TERMINAT..",
                lambda: state(emr, started),
                lambda found: found.startswith("TERMINAT"),
            )


def check_specification(environment, report, specification):
    request = specification["run_job_flow"]
    groups = request["Instances"]["InstanceGroups"]
    markets = {g["InstanceRole"]: g["Market"] for g in groups}
    report.check("markets", {"MASTER": "ON_DEMAND", "CORE": "ON_DEMAND", "TASK": "SPOT"}, lambda: markets)
    tasks = [g for g in groups + specification["add_instance_groups"]["InstanceGroups"] if g["InstanceRole"] == "TASK"]
    report.check(
        "types of task nodes on Spot",
        "at least 3",
        lambda: sorted({g["InstanceType"] for g in tasks if g["Market"] == "SPOT"}),
        lambda types: len(types) >= 3,
    )
    report.check("task groups for when Spot has none", 1, lambda: sum(g["Market"] == "ON_DEMAND" for g in tasks))
    report.check(
        "types between which the network does not encrypt",
        [],
        lambda: unencrypted(environment, sorted({g["InstanceType"] for g in groups + tasks})),
    )
    report.check("nodes that YARN calls unhealthy are replaced", False, lambda: request["Instances"]["UnhealthyNodeReplacement"])
    report.check(
        "idle seconds before the end",
        "60 to 604800",
        lambda: request["AutoTerminationPolicy"]["IdleTimeout"],
        lambda found: 60 <= found <= 604800,
    )
    report.check(
        "release of EMR",
        "7.12 or newer 7.x",
        lambda: request["ReleaseLabel"],
        lambda label: label.startswith("emr-7.") and int(label.split(".")[1]) >= 12,
    )
    report.check("applications", ["Hadoop"], lambda: [a["Name"] for a in request["Applications"]])


def unencrypted(environment, types):
    found = environment.client("ec2").describe_instance_types(InstanceTypes=types)["InstanceTypes"]
    return sorted(t["InstanceType"] for t in found if not t["NetworkInfo"].get("EncryptionInTransitSupported"))


def check_release(environment, report, specification):
    s3, arguments = (
        environment.client("s3"),
        specification["run_job_flow"]["BootstrapActions"][0]["ScriptBootstrapAction"],
    )
    flags = dict(zip(arguments["Args"][::2], arguments["Args"][1::2]))
    report.check(
        "binary has the checksum that nodes ask for", flags["--sha256"], lambda: sha256(s3, flags["--release"])
    )
    for url in (arguments["Path"], flags["--agent"], flags["--settings"]):
        report.check(
            f"{url.rsplit('/', 1)[1]} has the checksum in its key", url.split("/")[-2], lambda u=url: sha256(s3, u)
        )


def sha256(s3, url):
    bucket, key = url.removeprefix("s3://").split("/", 1)
    digest = hashlib.sha256()
    for part in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
        digest.update(part)
    return digest.hexdigest()


def check_security(environment, report):
    emr = environment.client("emr")
    report.check(
        "no cluster may be open to the world",
        [True, []],
        lambda: [
            emr.get_block_public_access_configuration()["BlockPublicAccessConfiguration"][key]
            for key in ("BlockPublicSecurityGroupRules", "PermittedPublicSecurityGroupRuleRanges")
        ],
        lambda found: found[0] and not found[1],
    )


def check_configuration(environment, report, emr, name):
    configuration = lambda: json.loads(
        emr.describe_security_configuration(Name=name)["SecurityConfiguration"]
    )  # noqa: E731
    report.check(
        "instance metadata of version 2 only",
        2,
        lambda: configuration()["InstanceMetadataServiceConfiguration"]["MinimumInstanceMetadataServiceVersion"],
    )
    report.check(
        "volumes are encrypted with the key",
        [True, environment.key()["Arn"]],
        lambda: [
            configuration()["EncryptionConfiguration"]["AtRestEncryptionConfiguration"][
                "LocalDiskEncryptionConfiguration"
            ][key]
            for key in ("EnableEbsEncryption", "AwsKmsKey")
        ],
    )


def check_logs(environment, report):
    groups = {
        g["logGroupName"]: g
        for g in environment.client("logs").describe_log_groups(logGroupNamePrefix=f"{environment.path}/")["logGroups"]
    }
    for group in LOG_GROUPS:
        report.check(
            f"log group {group}: days, key",
            ["90 or more", environment.key()["Arn"]],
            lambda g=group: [groups[f"{environment.path}/{g}"].get(k) for k in ("retentionInDays", "kmsKeyId")],
            lambda found: (found[0] or 0) >= 90 and found[1] == environment.key()["Arn"],
        )
    alarms = {
        a["AlarmName"]: a
        for a in environment.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{environment.name}-")[
            "MetricAlarms"
        ]
    }
    check_topic(environment, report)
    report.check(
        "alarms that speak",
        [f"{environment.name}-{a}" for a in ALARMS],
        lambda: sorted(n for n, a in alarms.items() if a["AlarmActions"] and not n.endswith("-cost")),
    )


def check_topic(environment, report):
    topic = environment.arn("sns", f"{environment.name}-alarms", environment.region, environment.account)
    pages = lambda: environment.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)  # noqa: E731
    report.check(
        "somebody hears alarms (notify in values.auto.tfvars, and a confirmed first mail)",
        "at least one",
        lambda: [s["Endpoint"] for page in pages() for s in page["Subscriptions"] if s["SubscriptionArn"].startswith("arn:")],
        bool,
    )
    report.check(
        "EMR's own events are heard",
        [f"{environment.name}-{rule}" for rule in EVENTS],
        lambda: heard(environment.client("events"), environment.name, topic),
    )


def heard(events, name, topic):
    rules = [r["Name"] for r in events.list_rules(NamePrefix=f"{name}-")["Rules"] if r["State"] == "ENABLED"]
    return sorted(r for r in rules if topic in [t["Arn"] for t in events.list_targets_by_rule(Rule=r)["Targets"]])


# ---- a cluster


def add_groups(emr, cluster, specification):
    """EMR adds groups to a cluster that runs, and to no other."""
    found = wait(lambda: state(emr, cluster), lambda s: s in READY or s.startswith("TERMINAT"), START_MINUTES)
    groups = specification["add_instance_groups"]["InstanceGroups"]
    if found in READY and groups:
        emr.add_instance_groups(JobFlowId=cluster, InstanceGroups=groups)
    return found


def newest(emr, name):
    return next((c["Id"] for c in emr.list_clusters(ClusterStates=RUNNING)["Clusters"] if c["Name"] == name), None)


def state(emr, cluster):
    return emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"]


def wait(look, done, minutes):
    for _ in range(max(minutes * 60 // POLL_SECONDS, 1)):
        found = look()
        if done(found):
            break
        time.sleep(POLL_SECONDS)
    return found


def check_cluster(environment, report, emr, cluster, specification):
    request = specification["run_job_flow"]
    # A node on which the bootstrap action fails is ended, and too many of them end the cluster.
    report.check(
        "cluster came up, bootstrap included",
        ["RUNNING", "WAITING"],
        lambda: wait(
            lambda: state(emr, cluster), lambda found: found not in ("STARTING", "BOOTSTRAPPING"), START_MINUTES
        ),
        lambda found: found in ("RUNNING", "WAITING"),
    )
    described = emr.describe_cluster(ClusterId=cluster)["Cluster"]
    place = described["Ec2InstanceAttributes"]
    report.check("release", request["ReleaseLabel"], lambda: described["ReleaseLabel"])
    report.check(
        "private subnet",
        specification["subnets"],
        lambda: place["Ec2SubnetId"],
        lambda found: found in specification["subnets"],
    )
    report.check(
        "security groups",
        [
            request["Instances"][k]
            for k in ("EmrManagedMasterSecurityGroup", "EmrManagedSlaveSecurityGroup", "ServiceAccessSecurityGroup")
        ],
        lambda: [
            place[k]
            for k in ("EmrManagedMasterSecurityGroup", "EmrManagedSlaveSecurityGroup", "ServiceAccessSecurityGroup")
        ],
    )
    report.check("security configuration", request["SecurityConfiguration"], lambda: described["SecurityConfiguration"])
    check_configuration(environment, report, emr, described.get("SecurityConfiguration", ""))
    report.check("not protected from its own end", False, lambda: described["TerminationProtected"])
    report.check(
        "bootstrap action",
        request["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"],
        lambda: emr.list_bootstrap_actions(ClusterId=cluster)["BootstrapActions"][0]["Args"],
    )
    report.check(
        "auto-termination after",
        request["AutoTerminationPolicy"]["IdleTimeout"],
        lambda: emr.get_auto_termination_policy(ClusterId=cluster)["AutoTerminationPolicy"]["IdleTimeout"],
    )
    report.check(
        "no managed scaling, which sees YARN only",
        None,
        lambda: emr.get_managed_scaling_policy(ClusterId=cluster).get("ManagedScalingPolicy"),
    )
    groups = emr.list_instance_groups(ClusterId=cluster)["InstanceGroups"]
    report.check(
        "primary and core on demand, task on Spot and on demand",
        ["CORE ON_DEMAND", "MASTER ON_DEMAND", "TASK ON_DEMAND", "TASK SPOT"],
        lambda: sorted({f"{g['InstanceGroupType']} {g['Market']}" for g in groups}),
    )
    report.check(
        "task groups",
        sorted(specification["scaling"]["task_groups"]),
        lambda: sorted(g["Name"] for g in groups if g["InstanceGroupType"] == "TASK"),
    )


def check_step(report, emr, cluster, specification, asked):
    project = f"{specification['storage']['projects']}/{asked.project_folder}"
    step = {
        "Name": f"validate-m2 {asked.job}",
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": specification["step"]["jar"],
            "Args": [*specification["step"]["prefix"], project, "submit", "--wait", asked.job],
        },
    }

    def finish():
        made = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])["StepIds"][0]
        look = lambda: emr.describe_step(ClusterId=cluster, StepId=made)["Step"]["Status"]["State"]  # noqa: E731
        return wait(look, lambda found: found not in ("PENDING", "RUNNING"), STEP_MINUTES)

    report.check(f"step runs {asked.job}", "COMPLETED", finish)


if __name__ == "__main__":
    sys.exit(run(__doc__, validate, options))
