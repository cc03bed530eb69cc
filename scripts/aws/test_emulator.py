"""The emulator's EMR does what the real one is known to do. Needs one that runs, as scripts/test-infra starts it:

python emulator.py 5000 &
AWS_ENDPOINT_URL=http://127.0.0.1:5000 python -m unittest test_emulator      # in this folder
"""

import json
import os
import time
import unittest
import urllib.request
import uuid

import boto3
from botocore.exceptions import ClientError


def setUpModule():
    # Without it the tests would ask a real account.
    if not os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://127.0.0.1:"):
        raise RuntimeError("AWS_ENDPOINT_URL must name an emulator on 127.0.0.1: start emulator.py, or run scripts/test-infra")


def group(role, count, kind="m5.xlarge"):
    market = "SPOT" if role == "TASK" else "ON_DEMAND"
    return {"Name": role.lower(), "InstanceRole": role, "Market": market, "InstanceType": kind, "InstanceCount": count}


class Clusters(unittest.TestCase):
    def setUp(self):
        self.emr = boto3.client("emr")
        self.cluster = self.start(group("MASTER", 1), group("CORE", 1))
        self.addCleanup(self.emr.terminate_job_flows, JobFlowIds=[self.cluster])
        while self.state() == "STARTING":
            pass

    def state(self, cluster=None):
        return self.emr.describe_cluster(ClusterId=cluster or self.cluster)["Cluster"]["Status"]["State"]

    def start(self, *groups):
        instances = {"InstanceGroups": list(groups), "KeepJobFlowAliveWhenNoSteps": True}
        request = {"Name": "emulated", "ReleaseLabel": "emr-7.12.0", "JobFlowRole": "r", "ServiceRole": "r"}
        return self.emr.run_job_flow(Instances=instances, **request)["JobFlowId"]

    def instances(self, group_id):
        listed = self.emr.list_instances(ClusterId=self.cluster, InstanceGroupId=group_id)["Instances"]
        return {instance["Ec2InstanceId"] for instance in listed}

    def modify(self, group_id, **change):
        self.emr.modify_instance_groups(InstanceGroups=[{"InstanceGroupId": group_id, **change}])

    def step(self, *arguments):
        step = {"Name": "s", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": list(arguments)}}
        return self.emr.add_job_flow_steps(JobFlowId=self.cluster, Steps=[step])["StepIds"][0]

    def ends_as(self, step):
        for _ in range(10):
            state = self.emr.describe_step(ClusterId=self.cluster, StepId=step)["Step"]["Status"]["State"]
            if state not in ("PENDING", "RUNNING"):
                break
        return state

    def test_no_cluster_starts_with_an_empty_group_but_one_may_be_added(self):
        with self.assertRaises(ClientError):
            self.start(group("MASTER", 1), group("CORE", 1), group("TASK", 0))
        added = self.emr.add_instance_groups(JobFlowId=self.cluster, InstanceGroups=[group("TASK", 0)])
        self.assertEqual(self.instances(added["InstanceGroupIds"][0]), set())

    def test_groups_are_added_to_a_cluster_that_runs(self):
        starting = self.start(group("MASTER", 1), group("CORE", 1))
        self.addCleanup(self.emr.terminate_job_flows, JobFlowIds=[starting])
        with self.assertRaises(ClientError):
            self.emr.add_instance_groups(JobFlowId=starting, InstanceGroups=[group("TASK", 0)])
        self.assertEqual([self.state(starting) for _ in range(2)], ["STARTING", "WAITING"])

    def test_groups_grow_and_lose_the_chosen_instance(self):
        added = self.emr.add_instance_groups(JobFlowId=self.cluster, InstanceGroups=[group("TASK", 0)])
        task = added["InstanceGroupIds"][0]
        self.modify(task, InstanceCount=3)
        before = self.instances(task)
        self.assertEqual(len(before), 3)
        chosen = sorted(before)[1]
        self.modify(task, EC2InstanceIdsToTerminate=[chosen])
        self.assertEqual(self.instances(task), before - {chosen})
        listed = self.emr.list_instance_groups(ClusterId=self.cluster)["InstanceGroups"]
        self.assertEqual({g["RunningInstanceCount"] for g in listed if g["Id"] == task}, {2})

    def test_steps_end_and_an_ended_cluster_takes_none(self):
        self.assertEqual(self.ends_as(self.step("true")), "COMPLETED")
        self.assertEqual(self.ends_as(self.step("fail-me")), "FAILED")
        self.emr.terminate_job_flows(JobFlowIds=[self.cluster])
        with self.assertRaises(ClientError):
            self.step("true")

    def test_auto_termination_is_kept(self):
        self.emr.put_auto_termination_policy(ClusterId=self.cluster, AutoTerminationPolicy={"IdleTimeout": 1800})
        found = self.emr.get_auto_termination_policy(ClusterId=self.cluster)["AutoTerminationPolicy"]
        self.assertEqual(found, {"IdleTimeout": 1800})


class Figures(unittest.TestCase):
    def test_lines_that_describe_figures_become_figures(self):
        logs, name = boto3.client("logs"), f"/emulated/{uuid.uuid4()}"
        logs.create_log_group(logGroupName=name)
        logs.create_log_stream(logGroupName=name, logStreamName="s")
        described = {"Namespace": name, "Dimensions": [[]], "Metrics": [{"Name": "Busy", "Unit": "Count"}]}
        now = int(time.time() * 1000)
        line = json.dumps({"_aws": {"Timestamp": now, "CloudWatchMetrics": [described]}, "Busy": 1})
        events = [{"timestamp": now, "message": message} for message in (line, "a line", "{}", "1")]
        logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=events)
        found = boto3.client("cloudwatch").list_metrics(Namespace=name)["Metrics"]
        self.assertEqual([metric["MetricName"] for metric in found], ["Busy"])


class Connections(unittest.TestCase):
    def test_a_request_that_is_sent_again_is_answered_again_and_done_once(self):
        ec2 = boto3.client("ec2")
        group = ec2.create_security_group(GroupName=f"again-{uuid.uuid4()}", Description="d")["GroupId"]
        self.addCleanup(ec2.delete_security_group, GroupId=group)

        def allow(client):
            rule = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
            made = client.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
            return [rule["SecurityGroupRuleId"] for rule in made["SecurityGroupRules"]]

        resending = boto3.client("ec2")
        resending.meta.events.register("before-send", lambda request, **_: lose_the_answer(request))
        first = allow(resending)
        self.assertEqual(len(first), 1)
        with self.assertRaises(ClientError) as refused:
            allow(ec2)
        self.assertEqual(refused.exception.response["Error"]["Code"], "InvalidPermission.Duplicate")


def lose_the_answer(request):
    """Sends the request once more than the client knows."""
    headers = {key: value.decode() if isinstance(value, bytes) else value for key, value in request.headers.items()}
    lost = urllib.request.Request(request.url, data=request.body.encode(), headers=headers, method=request.method)
    urllib.request.urlopen(lost).close()


if __name__ == "__main__":
    unittest.main()
