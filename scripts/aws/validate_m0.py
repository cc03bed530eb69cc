"""Checks milestone M0: the network is private, and Terraform's state is safe. Reads only."""

import sys

from checks import run, statements

GATEWAYS = ["dynamodb", "s3"]
INTERFACES = ["elasticmapreduce", "glue", "logs"]
# For a shell, for parameters, and for what a cluster is given beyond pulse.
FURTHER = ["ec2", "kms", "monitoring", "ssm", "ssmmessages", "sts"]
NODES = ["primary", "workers"]


def validate(environment, report, _):
    check_state(environment, report)
    ec2 = environment.client("ec2")
    found = ec2.describe_vpcs(Filters=[{"Name": "tag:Name", "Values": [environment.name]}])["Vpcs"]
    report.check("one network with the name", 1, lambda: len(found))
    if found:
        vpc = found[0]["VpcId"]
        check_subnets(environment, report, ec2, vpc)
        check_endpoints(environment, report, ec2, vpc)
        check_groups(environment, report, ec2, vpc)


def check_state(environment, report):
    s3, bucket = environment.client("s3"), environment.bucket("state")
    report.check("state bucket is versioned", "Enabled", lambda: s3.get_bucket_versioning(Bucket=bucket).get("Status"))
    report.check("state bucket is closed to the public", [True] * 4, lambda: public_block(s3, bucket))
    report.check("state bucket refuses plain HTTP", True, lambda: refuses_http(environment, s3, bucket))
    report.check(
        "state is encrypted",
        ["AES256", "aws:kms"],
        lambda: s3.head_object(Bucket=bucket, Key="terraform.tfstate")["ServerSideEncryption"],
        lambda kind: kind in ("AES256", "aws:kms"),
    )
    report.check(
        "nobody holds the state's lock",
        [],
        lambda: [
            entry["Key"]
            for entry in s3.list_objects_v2(Bucket=bucket, Prefix="terraform.tfstate.tflock").get("Contents", [])
        ],
    )


def public_block(s3, bucket):
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    return [block[key] for key in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")]


def refuses_http(environment, s3, bucket):
    policy = statements(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    return any(
        s["Effect"] == "Deny"
        and s.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
        and {environment.arn("s3", bucket), environment.arn("s3", f"{bucket}/*")} <= set(s["Resource"])
        for s in policy
    )


def check_subnets(environment, report, ec2, vpc):
    mine = [{"Name": "vpc-id", "Values": [vpc]}]
    for attribute in ("enableDnsSupport", "enableDnsHostnames"):
        report.check(
            f"network: {attribute}",
            True,
            lambda a=attribute: ec2.describe_vpc_attribute(VpcId=vpc, Attribute=a)[a[0].upper() + a[1:]]["Value"],
        )
    subnets = [s for s in ec2.describe_subnets(Filters=mine)["Subnets"] if "-private-" in tag(s, "Name")]
    report.check("private subnets lie in two zones", 2, lambda: len({s["AvailabilityZone"] for s in subnets}))
    report.check(
        "private subnets give no public addresses", [False, False], lambda: [s["MapPublicIpOnLaunch"] for s in subnets]
    )
    report.check(
        "private subnets have room for nodes (/20)",
        "at least 4000 addresses each",
        lambda: [s["AvailableIpAddressCount"] for s in subnets],
        lambda counts: counts and min(counts) >= 4000,
    )
    report.check(
        "private subnets carry EMR's tag",
        ["true", "true"],
        lambda: [tag(s, "for-use-with-amazon-emr-managed-policies") for s in subnets],
    )
    tables = [
        t
        for t in ec2.describe_route_tables(Filters=mine)["RouteTables"]
        if {a.get("SubnetId") for a in t["Associations"]} & {s["SubnetId"] for s in subnets}
    ]
    report.check(
        "private subnets have their own routes",
        len(subnets),
        lambda: sum(a.get("SubnetId") in {s["SubnetId"] for s in subnets} for t in tables for a in t["Associations"]),
    )
    report.check(
        "no route leads to the internet",
        [],
        lambda: [
            r.get("DestinationCidrBlock")
            for t in tables
            for r in t["Routes"]
            if r.get("GatewayId", "").startswith("igw-")
            or r.get("NatGatewayId")
            or r.get("DestinationCidrBlock") == "0.0.0.0/0"
        ],
    )
    report.check(
        "no NAT gateway",
        [],
        lambda: [
            n["NatGatewayId"]
            for n in ec2.describe_nat_gateways(Filters=mine)["NatGateways"]
            if n["State"] not in ("deleted", "deleting")
        ],
    )
    report.check(
        "flow logs go to the logs bucket",
        [["ACTIVE", "ALL", environment.arn("s3", environment.bucket("logs"))]],
        lambda: [
            [f["FlowLogStatus"], f["TrafficType"], f["LogDestination"]]
            for f in ec2.describe_flow_logs(Filters=[{"Name": "resource-id", "Values": [vpc]}])["FlowLogs"]
        ],
    )


def tag(thing, key):
    return next((t["Value"] for t in thing.get("Tags", []) if t["Key"] == key), "")


def check_endpoints(environment, report, ec2, vpc):
    endpoints = {
        e["ServiceName"].rsplit(".", 1)[1]: e
        for e in ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["VpcEndpoints"]
        if e["State"].lower() in ("available", "pending")
    }
    for service in GATEWAYS + INTERFACES:
        kind = "Gateway" if service in GATEWAYS else "Interface"
        report.check(
            f"endpoint {service}",
            [kind, "available"],
            lambda s=service: [endpoints[s]["VpcEndpointType"], endpoints[s]["State"].lower()],
        )
    report.check(
        "interface endpoints answer under the services' names",
        [],
        lambda: [s for s in INTERFACES + FURTHER if s in endpoints and not endpoints[s]["PrivateDnsEnabled"]],
    )
    report.check(
        "interface endpoints admit this account only",
        [],
        lambda: [
            s
            for s in INTERFACES + FURTHER
            if s in endpoints
            and not all(
                account_only(statement, environment.account) for statement in statements(endpoints[s]["PolicyDocument"])
            )
        ],
    )
    needed = [
        f"al2023-repos-{environment.region}-de612dc2",
        f"repo.{environment.region}.emr.amazonaws.com",
        f"{environment.region}.elasticmapreduce",
    ]
    # Where EMR's agents put logs for AWS's support; in one region it is named without it.
    region = "" if environment.region == "us-east-1" else f"-{environment.region}"
    written = [f"aws157-logs-prod{region}", f"prod.{environment.region}.appinfo.src"]
    own = [environment.bucket(kind) for kind in ("artifacts", "gold", "logs", "raw", "silver")]

    def missing():
        policy = statements(endpoints["s3"]["PolicyDocument"])
        free = {r for s in policy if "Condition" not in s for r in s["Resource"]}
        bound = {r for s in policy if account_only(s, environment.account) for r in s["Resource"]}
        put = {r for s in policy if "Condition" not in s and "s3:Put*" in s["Action"] for r in s["Resource"]}
        found = {"read": free, "written": put, "own": bound}
        asked = {"read": needed, "written": written, "own": own}
        return [b for kind in asked for b in asked[kind] if environment.arn("s3", f"{b}/*") not in found[kind]]

    report.check("S3 endpoint admits EMR's buckets and ours", [], missing)


def account_only(statement, account):
    return statement.get("Condition", {}).get("StringEquals", {}).get("aws:PrincipalAccount") == account


def check_groups(environment, report, ec2, vpc):
    groups = {
        g["GroupName"]: g
        for g in ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
    }
    report.check(
        "the default group has no rules",
        [0, 0],
        lambda: [len(groups["default"][key]) for key in ("IpPermissions", "IpPermissionsEgress")],
    )
    report.check(
        "no group lets an address range in",
        [],
        lambda: sorted(
            name
            for name, group in groups.items()
            for rule in group["IpPermissions"]
            if rule.get("IpRanges") or rule.get("Ipv6Ranges")
        ),
    )
    group = {kind: groups.get(f"{environment.name}-{kind}", {}) for kind in [*NODES, "service", "endpoints"]}
    for source, target, port in [
        ("service", "primary", 8443),
        ("service", "workers", 8443),
        ("primary", "service", 9443),
        ("primary", "endpoints", 443),
        ("workers", "endpoints", 443),
        ("workers", "primary", 50050),
        ("primary", "workers", 50051),
    ]:
        report.check(
            f"{source} reaches {target} on {port}",
            True,
            lambda s=source, t=target, p=port: admits(group[t], group[s], p),
        )


def admits(target, source, port):
    return any(
        rule.get("IpProtocol") in ("tcp", "-1")
        and rule.get("FromPort", 0) <= port <= rule.get("ToPort", 65535)
        and source["GroupId"] in [pair["GroupId"] for pair in rule.get("UserIdGroupPairs", [])]
        for rule in target["IpPermissions"]
    )


if __name__ == "__main__":
    sys.exit(run(__doc__, validate))
