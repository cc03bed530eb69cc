"""Breaks an environment on the emulator, milestone by milestone, and looks whether the validation says just that.

python break.py m0|m1|m2 [ENVIRONMENT]
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

from checks import Environment


def break_m0(environment):
    ec2 = environment.client("ec2")
    vpc = ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [environment.name]}])["Vpcs"][0]["VpcId"]
    mine = [{"Name": "vpc-id", "Values": [vpc]}]
    endpoints = {
        e["ServiceName"].rsplit(".", 1)[1]: e["VpcEndpointId"]
        for e in ec2.describe_vpc_endpoints(Filters=mine)["VpcEndpoints"]
    }
    groups = {g["GroupName"]: g["GroupId"] for g in ec2.describe_security_groups(Filters=mine)["SecurityGroups"]}

    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoints["glue"]])
    yield "endpoint glue"
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::other/*"]}
            ],
        }
    )
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoints["s3"], PolicyDocument=policy)
    yield "S3 endpoint admits EMR's buckets and ours"
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=groups[f"{environment.name}-primary"], IpPermissions=[ssh])
    yield "no group lets an address range in"
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.describe_route_tables(Filters=[*mine, {"Name": "tag:Name", "Values": [f"{environment.name}-private"]}])[
        "RouteTables"
    ][0]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    yield "no route leads to the internet"
    ec2.delete_flow_logs(
        FlowLogIds=[
            f["FlowLogId"]
            for f in ec2.describe_flow_logs(Filters=[{"Name": "resource-id", "Values": [vpc]}])["FlowLogs"]
        ]
    )
    yield "flow logs go to the logs bucket"
    environment.client("s3").delete_bucket_policy(Bucket=environment.bucket("state"))
    yield "state bucket refuses plain HTTP"


def break_m1(environment):
    s3, iam = environment.client("s3"), environment.client("iam")
    s3.delete_bucket_policy(Bucket=environment.bucket("silver"))
    yield "silver: refuses plain HTTP"
    s3.put_bucket_versioning(Bucket=environment.bucket("gold"), VersioningConfiguration={"Status": "Suspended"})
    yield "gold: versioned"
    s3.delete_public_access_block(Bucket=environment.bucket("raw"))
    yield "raw: closed to the public"
    frozen = {
        "ID": "cold",
        "Status": "Enabled",
        "Filter": {"Prefix": "lake/"},
        "Transitions": [{"Days": 30, "StorageClass": "DEEP_ARCHIVE"}],
    }
    uploads = {
        "ID": "uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    s3.put_bucket_lifecycle_configuration(
        Bucket=environment.bucket("silver"), LifecycleConfiguration={"Rules": [frozen, uploads]}
    )
    yield "silver: age freezes or deletes nothing that is in use"
    plain = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    s3.put_bucket_encryption(Bucket=environment.bucket("artifacts"), ServerSideEncryptionConfiguration=plain)
    yield "artifacts: encrypted"
    # As it once was: the account as a principal, which leaves the decision to policies that the role cannot have.
    kms, key = environment.client("kms"), environment.key()["KeyId"]
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    for statement in policy["Statement"]:
        if statement["Sid"].startswith("Spot"):
            statement["Principal"] = {"AWS": environment.arn("iam", "root", account=environment.account)}
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    yield "key admits EC2's role for Spot, and nobody else by *"
    yield "rights: spot can do what it must"
    environment.client("kms").disable_key_rotation(KeyId=environment.key()["KeyId"])
    yield "key rotates"
    # As it once was: a key that teardown deletes.
    settings = {"EncryptionAtRest": {"CatalogEncryptionMode": "SSE-KMS", "SseAwsKmsKeyId": environment.key()["Arn"]}}
    environment.client("glue").put_data_catalog_encryption_settings(DataCatalogEncryptionSettings=settings)
    yield "the account's catalog does not need this environment's key"
    environment.client("glue").delete_database(Name="bronze")
    yield "database bronze"
    everything = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Sid": "All", "Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    )
    iam.put_role_policy(
        RoleName=f"{environment.name}-node", PolicyName=f"{environment.name}-node", PolicyDocument=everything
    )
    yield "role node: * only where no ARN exists"
    yield "rights: node can do what it must"
    yield "rights: node can do nothing that it must not"
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": "sts:AssumeRole",
                    "Principal": {"Service": "elasticmapreduce.amazonaws.com"},
                }
            ],
        }
    )
    iam.update_assume_role_policy(RoleName=f"{environment.name}-service", PolicyDocument=trust)
    yield "role service: for this account's clusters only"


def break_m2(environment):
    emr, s3 = environment.client("emr"), environment.client("s3")
    cluster = next(
        c["Id"]
        for c in emr.list_clusters(ClusterStates=["RUNNING", "WAITING"])["Clusters"]
        if c["Name"] == environment.name
    )
    specification = json.loads(
        environment.client("ssm").get_parameter(Name=f"{environment.path}/cluster")["Parameter"]["Value"]
    )
    arguments = specification["run_job_flow"]["BootstrapActions"][0]["ScriptBootstrapAction"]
    emr.put_auto_termination_policy(ClusterId=cluster, AutoTerminationPolicy={"IdleTimeout": 86400})
    yield "auto-termination after"
    bucket, key = arguments["Args"][1].removeprefix("s3://").split("/", 1)
    s3.put_object(Bucket=bucket, Key=key, Body=b"another binary")
    yield "binary has the checksum that nodes ask for"
    bucket, key = arguments["Path"].removeprefix("s3://").split("/", 1)
    s3.delete_object(Bucket=bucket, Key=key)
    yield "bootstrap.sh has the checksum in its key"
    environment.client("logs").delete_retention_policy(logGroupName=f"{environment.path}/node")
    yield "log group node: days, key"
    topic = environment.arn("sns", f"{environment.name}-alarms", environment.region, environment.account)
    for found in environment.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        environment.client("sns").unsubscribe(SubscriptionArn=found["SubscriptionArn"])
    yield "somebody hears alarms (notify in values.auto.tfvars, and a confirmed first mail)"
    environment.client("events").disable_rule(Name=f"{environment.name}-cluster-failed")
    yield "EMR's own events are heard"
    environment.client("cloudwatch").delete_alarms(AlarmNames=[f"{environment.name}-heartbeat-failed"])
    yield "alarms that speak"
    # A step whose arguments hold these words fails on the emulator.
    yield "step runs fail-me"


def main():
    milestone = sys.argv[1]
    if urlparse(os.environ.get("AWS_ENDPOINT_URL", "")).hostname != "127.0.0.1":
        sys.exit("only an emulator on this machine is broken")
    environment = Environment(f"pulse-{sys.argv[2] if len(sys.argv) > 2 else 'dev'}")
    broken = sorted({"m0": break_m0, "m1": break_m1, "m2": break_m2}[milestone](environment))
    command = [
        sys.executable,
        Path(__file__).with_name(f"validate_{milestone}.py"),
        *(["--job", "fail-me"] if milestone == "m2" else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(
        line.removeprefix("WRONG ").split(": expected ")[0]
        for line in done.stdout.splitlines()
        if line.startswith("WRONG")
    )
    if done.returncode != 1 or found != broken:
        sys.exit(f"{milestone}: broken {broken}\nfound  {found}\nexit code {done.returncode}\n{done.stderr}")
    print(f"{milestone}: {len(broken)} things broken, all found and nothing else")


if __name__ == "__main__":
    main()
