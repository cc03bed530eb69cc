"""An emulator of AWS on a loopback port: moto's server, with what moto lacks of EMR.

    python emulator.py PORT [--nodes FACTOR]     # until it is ended; nothing is kept

Bucket policies are kept but not enforced: ours refuse plain HTTP, which is all that a loopback port speaks.

Added: what Terraform asks back of budgets, keys and rules of security groups; figures out of lines of logs, topics as targets of rules; of EMR auto-termination policies, progress and
cancelling of steps, instances of groups that grow, shrink and lose chosen ones, their states, and three refusals of the real
service (empty groups at the start, groups for a cluster that does not run yet, steps on ended clusters).
A step whose arguments hold `fail-me` fails; each look at a step moves the cluster's steps on by one state.

With --nodes nothing moves by itself: clusters boot, instances come up and steps end when somebody says so (nodes.py), by tags of
the cluster which are not kept: `emulator:cluster` STATE, `emulator:step:ID` STATE, `emulator:instance:ID` STATE ADDRESS. Instances
then age FACTOR times as fast as clocks go.
"""

import argparse
import json
import os
import threading

# Policies that AWS keeps, such as EMR's for its service role; moto reads this when it is imported.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

from moto.budgets.responses import BudgetsResponse  # noqa: E402
from moto.cloudwatch.models import cloudwatch_backends  # noqa: E402
from moto.core.responses import ActionResult, EmptyResult  # noqa: E402
from moto.core.utils import utcnow  # noqa: E402
from moto.ec2.models.security_groups import SecurityGroupRule  # noqa: E402
from moto.emr.models import Instance, InstanceGroup  # noqa: E402
from moto.emr.responses import ElasticMapReduceResponse, ValidationException  # noqa: E402
from moto.events.models import Rule  # noqa: E402
from moto.iam.access_control import PermissionResult  # noqa: E402
from moto.kms.responses import KmsResponse  # noqa: E402
from moto.logs.responses import LogsResponse  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402
from moto.s3.models import FakeBucket  # noqa: E402
from moto.sns.models import sns_backends  # noqa: E402
from werkzeug.serving import run_simple  # noqa: E402

ENDED = ("TERMINATING", "TERMINATED")
policies = {}  # auto-termination policy of each cluster
looked_at = set()  # clusters that start
budget_tags = {}
rotation_days = {}
gone = set()  # EC2 ids of instances that were taken out of a group
ageing = None  # how much faster than clocks instances age; a number if nodes stand behind them
told = {}  # state, address, moment of readiness and group of each instance of which nodes have told


def refuse(message):
    raise ValidationException(message)


def find(response):
    cluster = response.backend.clusters.get(response._get_param("ClusterId"))
    if cluster is None:
        refuse(f"Cluster id '{response._get_param('ClusterId')}' is not valid.")
    return cluster


# ---- starting


def run_job_flow(response):
    groups = response._get_param("Instances.InstanceGroups", []) or []
    if any(int(group["InstanceCount"]) < 1 for group in groups):
        refuse("An instance group must have at least one instance.")
    before = set(response.backend.clusters)
    answer = original["run_job_flow"](response)
    for cluster_id in set(response.backend.clusters) - before:
        policies[cluster_id] = response._get_param("AutoTerminationPolicy")
        cluster = response.backend.clusters[cluster_id]
        cluster.instance_collection_type = "INSTANCE_GROUP"
        cluster.scale_down_behavior = response._get_param("ScaleDownBehavior")
        cluster.state = "BOOTSTRAPPING" if ageing else "STARTING"
    return answer


def describe_cluster(response):
    """A cluster starts for as long as the first look at it."""
    cluster = response.backend.clusters.get(response._get_param("ClusterId"))
    if cluster and cluster.state == "STARTING":
        if cluster.id in looked_at:
            cluster.state = "WAITING"
        looked_at.add(cluster.id)
    return original["describe_cluster"](response)


def add_instance_groups(response):
    cluster = response.backend.clusters.get(response._get_param("JobFlowId"))
    if cluster is None or cluster.state not in ("RUNNING", "WAITING"):
        refuse("Instance groups are added to a cluster that runs.")
    groups, answer = response._get_param("InstanceGroups", []), original["add_instance_groups"](response)
    cluster_id = response._get_param("JobFlowId")
    for group, made in zip(groups, answer.result["InstanceGroups"]):
        if made.num_instances:
            request = {"instance_count": made.num_instances, "instance_type": made.instance_type}
            response.backend.run_instances(cluster_id, request, made)
    return ActionResult(
        {"JobFlowId": cluster_id, "InstanceGroupIds": [group.id for group in answer.result["InstanceGroups"]]}
    )


# ---- groups


def modify_instance_groups(response):
    """Chosen instances go at once; beyond that a group grows, or loses those that came last."""
    for change in response._get_param("InstanceGroups", []):
        group = response.backend.instance_groups[change["InstanceGroupId"]]
        cluster = response.backend.clusters[group.cluster_id]
        chosen = set(change.get("EC2InstanceIdsToTerminate") or [])
        present = [
            i for i in cluster.ec2_instances if i.instance_group.id == group.id and i.ec2_instance_id not in gone
        ]
        if chosen - {instance.ec2_instance_id for instance in present}:
            refuse("One or more of the instances to terminate are not in the instance group.")
        gone.update(chosen)
        present = [instance for instance in present if instance.ec2_instance_id not in chosen]
        count = int(change["InstanceCount"]) if change.get("InstanceCount") is not None else len(present)
        gone.update(instance.ec2_instance_id for instance in present[count:])
        if count > len(present):
            request = {"instance_count": count - len(present), "instance_type": group.instance_type}
            response.backend.run_instances(cluster.id, request, group)
        group.set_instance_count(count)
    return EmptyResult()


def list_instances(response):
    answer = original["list_instances"](response)
    states = response._get_param("InstanceStates") or []
    listed = [instance for instance in answer.result["Instances"] if instance.ec2_instance_id not in gone]
    return ActionResult({"Instances": [i for i in listed if not states or i.status["State"] in states]})


def list_instance_fleets(response):
    find(response)
    refuse(
        "Instance fleets and instance groups are mutually exclusive. The EMR cluster specified in the request uses instance groups."
    )


def volumes_of(group):
    """As moto's own, with the throughput that it forgets."""
    configs = (group.ebs_configuration or {}).get("ebs_block_device_configs", [])
    fields = {"VolumeType": "volume_type", "Iops": "iops", "SizeInGB": "size_in_gb", "Throughput": "throughput"}
    return [
        {
            "Device": f"/dev/sd{number}",
            "VolumeSpecification": {key: config["volume_specification"].get(name) for key, name in fields.items()},
        }
        for config in configs
        for number in range(config.get("volumes_per_instance") or 1)
    ]


# ---- nodes that stand behind instances


def add_tags(response):
    """What nodes tell of themselves, and tags."""
    cluster = response.backend.clusters.get(response._get_param("ResourceId"))
    if cluster is None:
        refuse(f"Cluster id '{response._get_param('ResourceId')}' is not valid.")
    for tag in response._get_param("Tags", []):
        sender, _, rest = tag["Key"].partition(":")
        what, _, name = rest.partition(":")
        if sender != "emulator":
            cluster.add_tags({tag["Key"]: tag["Value"]})
        elif what == "instance":
            state, address = tag["Value"].split()
            ready = told[name][2] if name in told else None
            place = next(i.instance_group.id for i in cluster.ec2_instances if i.ec2_instance_id == name)
            told[name] = (state, address, ready or (utcnow() if state == "RUNNING" else None), place)
        elif cluster.state not in ENDED and what == "step":
            for step in cluster.steps:
                step.state = tag["Value"] if step.id == name else step.state
            follow_steps(cluster)
        elif cluster.state not in ENDED:
            cluster.state = tag["Value"]
    return EmptyResult()


def status_of(instance):
    """As moto's own, but of the instance itself: moto tells its group's."""
    status = original["status"](instance)
    if ageing:
        state, _, ready, _ = told.get(instance.ec2_instance_id, ("PROVISIONING", None, None, None))
        status["State"] = state
        status["Timeline"]["ReadyDateTime"] = ready and utcnow() - (utcnow() - ready) * ageing
    return status


def address_of(instance):
    return told.get(instance.ec2_instance_id, (None, instance.ec2_instance.private_ip))[1]


def running_of(group):
    if not ageing:
        return group.num_instances
    return sum(place == group.id and state == "RUNNING" and name not in gone for name, (state, _, _, place) in told.items())


# ---- auto-termination


def put_auto_termination_policy(response):
    policies[find(response).id] = response._get_param("AutoTerminationPolicy")
    return EmptyResult()


def get_auto_termination_policy(response):
    policy = policies.get(find(response).id)
    return ActionResult({"AutoTerminationPolicy": policy} if policy else {})


def remove_auto_termination_policy(response):
    policies.pop(find(response).id, None)
    return EmptyResult()


def get_managed_scaling_policy(response):
    find(response)
    return ActionResult({})


# ---- steps


def add_job_flow_steps(response):
    cluster = response.backend.clusters.get(response._get_param("JobFlowId"))
    if cluster and cluster.state in ENDED:
        refuse("A job flow that is shutting down, terminated, or finished may not be modified.")
    known, state = len(cluster.steps) if cluster else 0, cluster and cluster.state
    answer = original["add_job_flow_steps"](response)
    if ageing:
        # moto takes the first one for running at once, and its cluster with it.
        cluster.state = state
        for step in cluster.steps[known:]:
            step.state = "PENDING"
    return answer


def describe_step(response):
    answer = original["describe_step"](response)
    advance(find(response))
    return answer


def list_steps(response):
    answer = original["list_steps"](response)
    advance(find(response))
    return answer


def advance(cluster):
    if ageing:
        return
    for step in cluster.steps:
        if step.state == "RUNNING":
            step.state = "FAILED" if "fail-me" in step.args else "COMPLETED"
            break
    for step in cluster.steps:
        if step.state == "PENDING":
            step.state = "RUNNING"
            break
    follow_steps(cluster)


def follow_steps(cluster):
    open_steps = any(step.state in ("PENDING", "RUNNING") for step in cluster.steps)
    if cluster.state in ("RUNNING", "WAITING"):
        cluster.state = "RUNNING" if open_steps else "WAITING"


def cancel_steps(response):
    asked, answers = response._get_param("StepIds"), []
    for step in find(response).steps:
        if step.id in asked:
            answers.append({"StepId": step.id, "Status": "SUBMITTED" if step.state == "PENDING" else "FAILED"})
            step.state = "CANCELLED" if step.state == "PENDING" else step.state
    return ActionResult({"CancelStepsInfoList": answers})


# ---- other services


def put_log_events(response):
    """Lines that describe figures become figures (CloudWatch's embedded metric format); moto keeps the lines alone."""
    answer = original["put_log_events"](response)
    for event in response._get_param("logEvents"):
        try:
            line = json.loads(event["message"])
            described = line["_aws"]["CloudWatchMetrics"]
        except (ValueError, TypeError, KeyError):
            continue
        backend = cloudwatch_backends[response.current_account][response.region]
        for group in described:
            data = [{"MetricName": m["Name"], "Value": line[m["Name"]], "Unit": m["Unit"]} for m in group["Metrics"]]
            backend.put_metric_data(group["Namespace"], data)
    return answer


def describe_subscribers_for_notification(response):
    budget = response.backend.budgets[response._get_param("AccountId")][response._get_param("BudgetName")]
    asked = response._get_param("Notification")
    for notification in budget.notifications:
        if all(notification.details.get(key) == asked[key] for key in ("NotificationType", "Threshold")):
            return json.dumps({"Subscribers": notification.subscribers})
    return json.dumps({"Subscribers": []})


def create_budget(response):
    arn = f"arn:aws:budgets::{response._get_param('AccountId')}:budget/{response._get_param('Budget')['BudgetName']}"
    budget_tags[arn] = response._get_param("ResourceTags", []) or []
    return original["create_budget"](response)


def list_tags_for_resource(response):
    return json.dumps({"ResourceTags": budget_tags.get(response._get_param("ResourceARN"), [])})


def make_rule(rule, *arguments, **named):
    """moto keeps the description of a rule only if it names an address range."""
    original["rule"](rule, *arguments, **named)
    source, prefix = [*arguments, *[None] * 8][6:8]
    rule.why = (rule.ip_range or source or prefix or {}).get("Description")


def enable_key_rotation(response):
    rotation_days[response._get_param("KeyId")] = response._get_param("RotationPeriodInDays") or 365
    return original["enable_key_rotation"](response)


def get_key_rotation_status(response):
    status = json.loads(original["get_key_rotation_status"](response))
    if status["KeyRotationEnabled"]:
        status["RotationPeriodInDays"] = rotation_days.get(response._get_param("KeyId"), 365)
    return json.dumps(status)


def send_to_targets(rule, event, *arguments, **named):
    """moto's rules know no topics."""
    targets, rule.targets = rule.targets, [t for t in rule.targets if ":sns:" not in t["Arn"]]
    try:
        original["send_to_targets"](rule, event, *arguments, **named)
    finally:
        rule.targets = targets
    for target in targets:
        if ":sns:" in target["Arn"] and rule.event_pattern.matches_event(event):
            _, _, _, region, account, _ = target["Arn"].split(":", 5)
            sns_backends[account][region].publish(message=json.dumps(event), arn=target["Arn"])


ADDED = {
    ElasticMapReduceResponse: [
        run_job_flow,
        describe_cluster,
        add_instance_groups,
        modify_instance_groups,
        list_instances,
        list_instance_fleets,
        add_tags,
        put_auto_termination_policy,
        get_auto_termination_policy,
        remove_auto_termination_policy,
        get_managed_scaling_policy,
        add_job_flow_steps,
        describe_step,
        list_steps,
        cancel_steps,
    ],
    BudgetsResponse: [create_budget, describe_subscribers_for_notification, list_tags_for_resource],
    KmsResponse: [enable_key_rotation, get_key_rotation_status],
    LogsResponse: [put_log_events],
}
original = {}


def install():
    for service, calls in ADDED.items():
        for call in calls:
            original[call.__name__] = getattr(service, call.__name__, None)
            setattr(service, call.__name__, call)
    original["rule"] = SecurityGroupRule.__init__
    SecurityGroupRule.__init__ = make_rule
    original["send_to_targets"] = Rule.send_to_targets
    Rule.send_to_targets = send_to_targets
    SecurityGroupRule.description = property(lambda rule: rule.why)
    InstanceGroup.ebs_block_devices = property(volumes_of)
    InstanceGroup.running_instance_count = property(running_of)
    original["status"] = Instance.status.fget
    Instance.status = property(status_of)
    Instance.private_ip_address = property(address_of)
    FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL


class OneAtATime:
    """moto's stores are not made for threads: rules of a group, say, get lost when two requests change it at once.

    A client whose connection broke sends its request again, under the same id: what that asked for is done, and it gets the answer
    that it missed, not the refusal of a second rule.
    """

    REMEMBERED = 1000

    def __init__(self, application):
        self.application, self.lock, self.answers = application, threading.Lock(), {}

    def __call__(self, environment, start_response):
        with self.lock:
            request = environment.get("HTTP_AMZ_SDK_INVOCATION_ID")
            status, headers, body = self.answers.get(request) or self.answer(environment)
            if request and environment["REQUEST_METHOD"] not in ("GET", "HEAD") and not status.startswith("5"):
                self.answers[request] = status, headers, body
                for oldest in list(self.answers)[: -self.REMEMBERED]:
                    del self.answers[oldest]
        start_response(status, headers)
        return body

    def answer(self, environment):
        told = []
        body = list(self.application(environment, lambda status, headers, *_: told.append((status, headers))))
        return *told[-1], body


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--nodes", type=float, metavar="FACTOR")
    options = parser.parse_args()
    ageing = options.nodes
    install()
    run_simple(
        "127.0.0.1", options.port, OneAtATime(DomainDispatcherApplication(create_backend_app)), threaded=True
    )
