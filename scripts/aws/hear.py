"""Sends events as EMR does to an environment on the emulator, and looks which of its rules hear them.

python hear.py [ENVIRONMENT]        The rules and the topic are those that are deployed; queues stand for mailboxes.
"""

import json
import os
import sys
import uuid
from urllib.parse import urlparse

from checks import Environment

CLUSTER, STEP, GROUP = "EMR Cluster State Change", "EMR Step Status Change", "EMR Instance Group State Change"
CAPACITY = "EC2 provisioning - Insufficient Instance Capacity"


def said_by_emr(name):
    """Type and detail of an event, in EMR's words, and the rule that must hear it, or none."""
    return [
        (CLUSTER, {"severity": "CRITICAL", "clusterId": "j-1", "name": name, "state": "TERMINATED_WITH_ERRORS"}, "cluster-failed"),
        (CLUSTER, {"severity": "INFO", "clusterId": "j-1", "name": name, "state": "TERMINATED"}, None),
        (CLUSTER, {"severity": "CRITICAL", "clusterId": "j-2", "name": "other", "state": "TERMINATED_WITH_ERRORS"}, None),
        (STEP, {"severity": "ERROR", "clusterId": "j-1", "stepId": "s-1", "name": "pulse: all jobs", "state": "FAILED"}, "step-failed"),
        (STEP, {"severity": "INFO", "clusterId": "j-1", "stepId": "s-2", "name": "pulse: silver.bars", "state": "COMPLETED"}, None),
        (STEP, {"severity": "ERROR", "clusterId": "j-2", "stepId": "s-3", "name": "Setup hadoop debug", "state": "FAILED"}, None),
        (CAPACITY, {"severity": "ERROR", "clusterId": "j-1", "message": "no m6i.xlarge"}, "no-capacity"),
        (GROUP, {"severity": "ERROR", "clusterId": "j-1", "instanceGroupId": "ig-1", "state": "SUSPENDED"}, "no-capacity"),
        (GROUP, {"severity": "INFO", "clusterId": "j-1", "instanceGroupId": "ig-1", "state": "RUNNING"}, None),
    ]


def main():
    if urlparse(os.environ.get("AWS_ENDPOINT_URL", "")).hostname != "127.0.0.1":
        sys.exit("events are made on an emulator on this machine only")
    environment = Environment(f"pulse-{sys.argv[1] if len(sys.argv) > 1 else 'dev'}")
    events, sqs = environment.client("events"), environment.client("sqs")
    rules = [rule["Name"] for rule in events.list_rules(NamePrefix=f"{environment.name}-")["Rules"]]
    queues, arns = {}, {}
    for listener in [*rules, "topic"]:
        queues[listener] = sqs.create_queue(QueueName=f"hear-{uuid.uuid4()}")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=queues[listener], AttributeNames=["QueueArn"])["Attributes"]
        arns[listener] = attributes["QueueArn"]
    for rule in rules:
        events.put_targets(Rule=rule, Targets=[{"Id": "hear", "Arn": arns[rule]}])
    topic = environment.arn("sns", f"{environment.name}-alarms", environment.region, environment.account)
    sns = environment.client("sns")
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["topic"])["SubscriptionArn"]
    wrong = []
    for kind, detail, expected in said_by_emr(environment.name):
        events.put_events(Entries=[{"Source": "aws.emr", "DetailType": kind, "Detail": json.dumps(detail)}])
        heard = [listener for listener, queue in queues.items() if sqs.receive_message(QueueUrl=queue).get("Messages")]
        for listener in heard:
            sqs.purge_queue(QueueUrl=queues[listener])
        if heard != ([f"{environment.name}-{expected}", "topic"] if expected else []):
            wrong.append(f"{kind} {json.dumps(detail)}: expected {expected}, heard by {heard}")
    sns.unsubscribe(SubscriptionArn=subscription)
    for rule in rules:
        events.remove_targets(Rule=rule, Ids=["hear"])
    for queue in queues.values():
        sqs.delete_queue(QueueUrl=queue)
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(said_by_emr(environment.name))} events of EMR: heard by the rules that they are for and by the topic, and by no other")


if __name__ == "__main__":
    main()
