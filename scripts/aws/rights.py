"""What each role must be able to do, and what it must not: evaluated over the policies as they are, its own and those of AWS that
are attached, over the key's policy, and over the policies of the endpoints that its calls go through.

Calls of EMR, Glue and Parameter Store are those that the code names (`aws/src`); what a role must not be able to do there is all the rest.
"""

import functools
import json
import re
from pathlib import Path
from urllib.parse import unquote

import boto3

from checks import statements
from policies import Request, admitted, admitted_to_key

CODE = Path(__file__).resolve().parents[2] / "aws/src"
ACTION = re.compile(r'"((?:elasticmapreduce|glue|ssm):\w+)"')
# Databases are made by Terraform; `catalog_databases = "create"` is for catalogs without it.
NOT_ON_AWS = {"glue:CreateDatabase"}
# The scheduler's pool asks for groups through aws/src/emr/cluster.rs.
POOL = {"elasticmapreduce:ListInstanceGroups", "elasticmapreduce:ListInstances", "elasticmapreduce:ModifyInstanceGroups"}
SPOT_ROLE = "role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
SPOT_POLICY = "aws-service-role/AWSEC2SpotServiceRolePolicy"
# Those that are always there; a shell and parameters need further ones.
ENDPOINTS = {"glue", "logs", "elasticmapreduce", "s3"}


@functools.cache
def of_code(*paths):
    """Actions that the code names, so that its errors can say which one is missing."""
    files = [file for path in paths for file in ([CODE / path] if (CODE / path).is_file() else sorted((CODE / path).rglob("*.rs")))]
    return {action for file in files for action in ACTION.findall(file.read_text())}


@functools.cache
def operations(service, prefix):
    """All that a service knows."""
    known = boto3.client(service, region_name="us-east-1").meta.service_model.operation_names
    return {f"{prefix}:{name}" for name in known}


def check(environment, report):
    rights = Rights(environment)
    for role in ("service", "node", "submitter", "reader", "spot"):
        can, cannot = getattr(rights, role)()
        report.check(f"rights: {role} can do what it must", [], lambda r=role, c=can: rights.refused(r, c))
        report.check(f"rights: {role} can do nothing that it must not", [], lambda r=role, c=cannot: rights.granted(r, c))
    node = rights.node()[0]
    report.check("rights: endpoints admit what nodes must do", [], lambda: rights.closed(node))


class Rights:
    def __init__(self, environment):
        self.environment, self.name = environment, environment.name
        self.iam = environment.client("iam")
        self.key = environment.key()["Arn"]
        self.own = environment.arn("elasticmapreduce", "cluster/j-OWN", environment.region, environment.account)
        self.vpc = self.find_vpc()
        self.databases = environment.databases()

    # ---- names

    def find_vpc(self):
        filters = [{"Name": "tag:Name", "Values": [self.name]}]
        found = self.environment.client("ec2").describe_vpcs(Filters=filters)["Vpcs"]
        return found[0]["VpcId"] if found else "none"

    def of(self, service, resource):
        return self.environment.arn(service, resource, self.environment.region, self.environment.account)

    def object(self, kind, key):
        return self.environment.arn("s3", f"{self.environment.bucket(kind)}/{key}")

    def bucket(self, kind):
        return self.environment.arn("s3", self.environment.bucket(kind))

    def role(self, kind):
        return self.environment.arn("iam", f"role/{self.name}-{kind}", account=self.environment.account)

    def via(self, service):
        return {"kms:ViaService": f"{service}.{self.environment.region}.amazonaws.com", "aws:ViaAWSService": "true"}

    def in_catalog(self, actions):
        """An action on a table is asked of the catalog, of the database and of the table."""
        database = self.databases.get("gold", "gold")
        places = ("catalog", f"database/{database}", f"table/{database}/t")
        return [Request(action, self.of("glue", place)) for action in sorted(actions) for place in places]

    def on_cluster(self, actions, name=None, cluster=None):
        context = {"elasticmapreduce:ResourceTag/name": name or self.name}
        return [Request(action, cluster or self.own, context) for action in sorted(actions)]

    def in_store(self, bucket_key, *actions):
        return [Request(f"s3:{action}", bucket_key) for action in actions]

    # ---- what each must and must not

    def service(self):
        use = ("Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo")
        emr_tag = {"aws:ResourceTag/for-use-with-amazon-emr-managed-policies": "true"}
        grant = Request("kms:CreateGrant", self.key, {"kms:GrantIsForAWSResource": "true"})
        can = [Request(f"kms:{action}", self.key) for action in use]
        can += [grant, Request("iam:PassRole", self.role("node"), {"iam:PassedToService": "ec2.amazonaws.com"})]
        can += [Request("ec2:RunInstances", self.of("ec2", "subnet/subnet-1"), emr_tag)]
        cannot = [
            Request("iam:PassRole", self.role("submitter"), {"iam:PassedToService": "ec2.amazonaws.com"}),
            Request("iam:PassRole", self.role("node"), {"iam:PassedToService": "lambda.amazonaws.com"}),
            Request("ec2:RunInstances", self.of("ec2", "subnet/subnet-1")),
            Request("s3:GetObject", self.object("silver", "lake/x")),
            Request("kms:ScheduleKeyDeletion", self.key),
        ]
        return can, cannot

    def node(self):
        glue = of_code("glue") - NOT_ON_AWS
        tables = ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")
        can = [
            *self.in_store(self.object("raw", "files/x"), "GetObject"),
            *self.in_store(self.object("artifacts", "releases/0/pulse"), "GetObject"),
            *self.in_store(self.object("silver", "lake/_pulse/open/x"), *tables),
            *self.in_store(self.object("gold", "lake/gold/t/x"), *tables),
            *self.in_store(self.object("logs", "emr/j-1/node/x.gz"), "PutObject"),
            *[request for kind in ("raw", "silver", "gold", "artifacts") for request in self.in_store(self.bucket(kind), "ListBucket")],
            *[Request(f"kms:{action}", self.key, self.via("s3")) for action in ("Decrypt", "GenerateDataKey")],
            Request("kms:Decrypt", self.key, self.via("ssm")),
            *self.in_catalog(glue),
            *self.on_cluster(POOL),
            *[Request(action, self.of("ssm", f"parameter{self.environment.path}/api-token")) for action in of_code("parameter.rs")],
            Request("ssm:UpdateInstanceInformation", self.of("ec2", "instance/i-1")),
            *[Request(f"ssmmessages:{a}{c}", "*") for a in ("Create", "Open") for c in ("ControlChannel", "DataChannel")],
            *[Request(f"logs:{a}", self.of("logs", f"log-group:{self.environment.path}/node:log-stream:x")) for a in ("CreateLogStream", "PutLogEvents")],
        ]
        foreign = self.of("elasticmapreduce", "cluster/j-OTHER")
        emr = operations("emr", "elasticmapreduce")
        secret = self.of("ssm", "parameter/other/secret")
        cannot = [
            *self.on_cluster(emr - POOL),
            *self.on_cluster(emr, "other", foreign),
            *self.in_catalog(operations("glue", "glue") - glue),
            Request("glue:GetTable", self.of("glue", "table/other/t")),
            *[Request(f"ssm:{action}", secret) for action in ("GetParameter", "GetParameters", "GetParametersByPath", "GetParameterHistory", "PutParameter")],
            Request("ssm:SendCommand", self.of("ec2", "instance/i-1")),
            *[Request(f"kms:{action}", self.key) for action in ("Decrypt", "GenerateDataKey", "CreateGrant", "ReEncryptFrom")],
            Request("kms:CreateGrant", self.key, {"kms:GrantIsForAWSResource": "true"}),
            *self.in_store(self.object("raw", "files/x"), "PutObject", "DeleteObject"),
            *self.in_store(self.object("artifacts", "node/0/bootstrap.sh"), "PutObject", "DeleteObject"),
            *self.in_store(self.object("logs", "emr/j-1/x"), "GetObject", "DeleteObject"),
            *self.in_store(self.bucket("logs"), "ListBucket"),
            *self.in_store(self.bucket("silver"), "PutBucketPolicy", "DeleteBucket", "PutLifecycleConfiguration"),
            *self.in_store(self.environment.arn("s3", "others/x"), "GetObject", "PutObject"),
            Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": self.name}),
            Request("iam:PassRole", self.role("node"), {"iam:PassedToService": "ec2.amazonaws.com"}),
            # Credentials that left their node.
            Request("s3:GetObject", self.object("silver", "lake/x"), {"aws:SourceVpc": None}),
            Request("s3:GetObject", self.object("silver", "lake/x"), {"aws:SourceVpc": "vpc-other"}),
        ]
        return can, cannot

    def submitter(self):
        named = {"elasticmapreduce:RequestTag/name": self.name}
        to_emr = {"iam:PassedToService": "elasticmapreduce.amazonaws.com"}
        # EMR asks for what it does while it starts a cluster on this very ARN.
        new, foreign = self.of("elasticmapreduce", "cluster/*"), self.of("elasticmapreduce", "cluster/j-OTHER")
        starts = {"elasticmapreduce:RunJobFlow", "elasticmapreduce:ListClusters"}
        uses = of_code("emr/cluster.rs", "emr/step.rs") - starts
        can = [
            Request("elasticmapreduce:RunJobFlow", "*", named),
            Request("elasticmapreduce:AddTags", new, named),
            Request("elasticmapreduce:PutAutoTerminationPolicy", new),
            Request("elasticmapreduce:ListClusters", "*"),
            *self.on_cluster(uses | {"elasticmapreduce:ListBootstrapActions", "elasticmapreduce:CancelSteps"}),
            *[Request("iam:PassRole", self.role(kind), to_emr) for kind in ("service", "node")],
            *[Request(action, self.of("ssm", f"parameter{self.environment.path}/cluster")) for action in of_code("parameter.rs")],
            *self.in_store(self.object("artifacts", "projects/p/project.toml"), "GetObject", "PutObject"),
            *self.in_store(self.object("silver", "lake/_pulse/runs/t/trigger.json"), "GetObject"),
            *self.in_store(self.object("silver", "lake/_pulse/runs/t/cancel"), "PutObject"),
            *self.in_store(self.object("logs", "emr/j-1/steps/s/stdout.gz"), "GetObject"),
            *[request for kind in ("silver", "artifacts", "logs") for request in self.in_store(self.bucket(kind), "ListBucket")],
            *[Request(f"kms:{action}", self.key, self.via("s3")) for action in ("Decrypt", "GenerateDataKey")],
        ]
        untagged = {"elasticmapreduce:ResourceTag/name": None}
        cannot = [
            Request("elasticmapreduce:RunJobFlow", "*"),
            Request("elasticmapreduce:RunJobFlow", "*", {"elasticmapreduce:RequestTag/name": "other"}),
            # A tag on another's cluster would make it ours, and steps would run with its role.
            *[Request(f"elasticmapreduce:{a}", c, named) for a in ("AddTags", "RemoveTags") for c in (foreign, self.own)],
            *self.on_cluster(operations("emr", "elasticmapreduce") - starts, "other", foreign),
            *[Request(request.action, foreign, untagged) for request in self.on_cluster(operations("emr", "elasticmapreduce") - starts)],
            Request("iam:PassRole", self.role("node"), {"iam:PassedToService": "lambda.amazonaws.com"}),
            Request("iam:PassRole", self.role("reader"), to_emr),
            Request("ssm:GetParameter", self.of("ssm", "parameter/other/secret")),
            *self.in_store(self.object("silver", "lake/silver/t/x"), "GetObject", "PutObject"),
            *self.in_store(self.object("gold", "lake/gold/t/x"), "GetObject", "PutObject"),
            *self.in_store(self.object("artifacts", "releases/0/pulse"), "PutObject"),
            *[Request(f"kms:{action}", self.key) for action in ("Decrypt", "GenerateDataKey", "CreateGrant")],
        ]
        return can, cannot

    def reader(self):
        query = ("StartQueryExecution", "GetQueryExecution", "GetQueryResults", "StopQueryExecution", "GetWorkGroup")
        results, group = self.object("artifacts", "athena/x.csv"), self.of("athena", f"workgroup/{self.name}")
        can = [
            *[r for kind in ("silver", "gold") for r in self.in_store(self.object(kind, "lake/x"), "GetObject")],
            *[r for kind in ("silver", "gold", "artifacts") for r in self.in_store(self.bucket(kind), "GetBucketLocation")],
            *[r for kind in ("silver", "gold") for r in self.in_store(self.bucket(kind), "ListBucket")],
            *self.in_catalog({"glue:GetTable", "glue:GetTables", "glue:GetDatabase", "glue:GetPartitions"}),
            *[Request(f"athena:{action}", group) for action in query],
            *self.in_store(results, "GetObject", "PutObject", "AbortMultipartUpload"),
            *[Request(f"kms:{action}", self.key, self.via("s3")) for action in ("Decrypt", "GenerateDataKey")],
        ]
        cannot = [
            *[Request(f"athena:{action}", self.of("athena", "workgroup/primary")) for action in query],
            Request("athena:UpdateWorkGroup", group),
            *[r for kind in ("silver", "gold") for r in self.in_store(self.object(kind, "lake/x"), "PutObject", "DeleteObject")],
            *self.in_store(self.object("raw", "files/x"), "GetObject"),
            *self.in_store(self.object("artifacts", "projects/p/x"), "GetObject", "PutObject"),
            *self.in_catalog({"glue:UpdateTable", "glue:DeleteTable", "glue:CreateTable"}),
            *[Request(f"kms:{action}", self.key) for action in ("Decrypt", "CreateGrant")],
            Request("ssm:GetParameter", self.of("ssm", f"parameter{self.environment.path}/cluster")),
            Request("elasticmapreduce:ListClusters", "*"),
        ]
        return can, cannot

    def spot(self):
        """EC2 starts Spot instances as this role, whose volumes our key encrypts."""
        use = ("Decrypt", "DescribeKey", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo")
        can = [Request(f"kms:{action}", self.key) for action in use]
        can += [Request("kms:CreateGrant", self.key, {"kms:GrantIsForAWSResource": "true"})]
        cannot = [
            Request("kms:CreateGrant", self.key),
            Request("kms:ScheduleKeyDeletion", self.key),
            Request("kms:Decrypt", self.key, {"kms:CallerAccount": "999999999999"}),
            Request("kms:Decrypt", self.key, {"aws:PrincipalArn": self.role("other")}),
        ]
        return can, cannot

    # ---- evaluated

    def refused(self, role, requests):
        return shown(request for request in requests if not self.allows(role, request))

    def granted(self, role, requests):
        return shown(request for request in requests if self.allows(role, request))

    def allows(self, role, request):
        arn = self.environment.arn("iam", SPOT_ROLE, account=self.environment.account) if role == "spot" else self.role(role)
        context = {
            "aws:SourceVpc": self.vpc if role == "node" else None,
            "aws:ViaAWSService": "false",
            "aws:PrincipalArn": arn,
            "kms:CallerAccount": self.environment.account,
            **request.context,
        }
        full = Request(request.action, request.resource, {k: v for k, v in lower(context).items() if v is not None}, arn)
        if request.action.startswith("kms:"):
            root = self.environment.arn("iam", "root", account=self.environment.account)
            return admitted_to_key(self.of_key(), self.of_role(role), full, root)
        return admitted(self.of_role(role), full)

    def closed(self, requests):
        """What nodes must do and an endpoint does not admit."""
        ec2 = self.environment.client("ec2")
        filters = [{"Name": "vpc-id", "Values": [self.vpc]}]
        policies = {
            e["ServiceName"].rsplit(".", 1)[1]: statements(e["PolicyDocument"])
            for e in ec2.describe_vpc_endpoints(Filters=filters)["VpcEndpoints"]
        }
        context = {"aws:PrincipalAccount": self.environment.account}
        through = [(r.action.split(":")[0], r) for r in requests if r.action.split(":")[0] in {*ENDPOINTS, *policies}]
        return shown(r for e, r in through if not admitted(policies.get(e, []), Request(r.action, r.resource, {**r.context, **context})))

    def of_key(self):
        if not hasattr(self, "key_statements"):
            kms = self.environment.client("kms")
            self.key_statements = statements(kms.get_key_policy(KeyId=self.key, PolicyName="default")["Policy"])
        return self.key_statements

    def of_role(self, role):
        """Its own policies and those that are attached to it."""
        known = self.__dict__.setdefault("role_statements", {})
        if role not in known:
            name = f"{self.name}-{role}"
            if role == "spot":
                known[role] = self.of_managed(self.environment.arn("iam", f"policy/{SPOT_POLICY}", account="aws"))
            else:
                inline = self.iam.list_role_policies(RoleName=name)["PolicyNames"]
                documents = [self.iam.get_role_policy(RoleName=name, PolicyName=p)["PolicyDocument"] for p in inline]
                attached = self.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
                known[role] = [s for document in documents for s in statements(plain(document))]
                known[role] += [s for policy in attached for s in self.of_managed(policy["PolicyArn"])]
        return known[role]

    def of_managed(self, arn):
        version = self.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        return statements(plain(self.iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]))


def lower(context):
    """Later keys take the place of earlier ones, whatever their case."""
    return {key.lower(): value for key, value in context.items()}


def plain(document):
    return json.loads(unquote(document)) if isinstance(document, str) else document


def shown(requests):
    return sorted({f"{request.action} {request.resource.rsplit(':', 1)[-1]}" for request in requests})
