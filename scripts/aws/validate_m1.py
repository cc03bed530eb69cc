"""Checks milestone M1: buckets, key, catalog and roles. Reads only."""

import json
import sys
from urllib.parse import unquote

import account
import rights
from checks import as_list, run, statements
from validate_m0 import public_block, refuses_http

# Results of queries are copies of rows.
RESULTS = "athena/"
KINDS = ["raw", "silver", "gold", "logs", "artifacts"]
SPOT_ROLE = "role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
LAYERS = ["bronze", "silver", "gold"]
ROLES = {"service": "elasticmapreduce.amazonaws.com", "node": "ec2.amazonaws.com", "submitter": None, "reader": None}
# AWS's own policies that are attached; rights.py looks at what they admit.
MANAGED = {"service": ["AmazonEMRServicePolicy_v2"], "node": [], "submitter": [], "reader": []}
# These actions know no resources.
WITHOUT_RESOURCE = {
    *("ec2:DescribeInstances", "ec2:DescribeTags", "ec2:DescribeVolumes", "elasticmapreduce:ListClusters", "ssm:UpdateInstanceInformation"),
    *(f"ssmmessages:{action}{channel}" for action in ("Create", "Open") for channel in ("ControlChannel", "DataChannel")),
}


def validate(environment, report, _):
    check_key(environment, report)
    for kind in KINDS:
        check_bucket(environment, report, kind)
    check_catalog(environment, report)
    for role in ROLES:
        check_role(environment, report, role)
    rights.check(environment, report)
    profile = f"{environment.name}-node"
    report.check(
        "instance profile",
        [profile],
        lambda: [
            r["RoleName"]
            for r in environment.client("iam").get_instance_profile(InstanceProfileName=profile)["InstanceProfile"][
                "Roles"
            ]
        ],
    )


def check_key(environment, report):
    kms = environment.client("kms")
    report.check(
        "key is enabled, ours, for encryption",
        ["Enabled", "CUSTOMER", "ENCRYPT_DECRYPT"],
        lambda: [environment.key()[key] for key in ("KeyState", "KeyManager", "KeyUsage")],
    )
    report.check(
        "key rotates", True, lambda: kms.get_key_rotation_status(KeyId=environment.key()["KeyId"])["KeyRotationEnabled"]
    )
    policy = lambda: statements(
        kms.get_key_policy(KeyId=environment.key()["KeyId"], PolicyName="default")["Policy"]
    )  # noqa: E731
    report.check(
        "key admits EMR's role to volumes",
        [f"{environment.name}-service"],
        lambda: sorted(
            {
                arn.rsplit("/", 1)[1]
                for s in policy()
                if "kms:CreateGrant" in as_list(s["Action"])
                for arn in as_list(s["Principal"].get("AWS", []))
                if ":role/" in arn
            }
        ),
    )
    # Nobody can attach a policy to a role of a service: the key must name it, and the account as a principal names nobody.
    report.check(
        "key admits EC2's role for Spot, and nobody else by *",
        {"kms:CallerAccount": environment.account, "aws:PrincipalArn": environment.arn("iam", SPOT_ROLE, account=environment.account)},
        lambda: [by_star(s) for s in policy() if by_star(s) is not None],
        lambda found: found
        and all(
            conditions.get("kms:CallerAccount") == environment.account
            and conditions.get("aws:PrincipalArn") == environment.arn("iam", SPOT_ROLE, account=environment.account)
            for conditions in found
        ),
    )


def by_star(statement):
    """The conditions of a statement for everybody; none of another."""
    principal = statement["Principal"]
    if "*" not in as_list(principal if isinstance(principal, str) else principal.get("AWS", [])):
        return None
    return {key: value for operator in statement.get("Condition", {}).values() for key, value in operator.items()}


def check_bucket(environment, report, kind):
    s3, bucket = environment.client("s3"), environment.bucket(kind)
    report.check(f"{kind}: versioned", "Enabled", lambda: s3.get_bucket_versioning(Bucket=bucket).get("Status"))
    report.check(f"{kind}: closed to the public", [True] * 4, lambda: public_block(s3, bucket))
    report.check(f"{kind}: refuses plain HTTP", True, lambda: refuses_http(environment, s3, bucket))
    # S3 delivers no access logs to a bucket with SSE-KMS.
    expected = ["AES256", None, False] if kind == "logs" else ["aws:kms", environment_key(environment), True]
    report.check(f"{kind}: encrypted", expected, lambda: encryption(s3, bucket))
    if kind != "logs":
        report.check(
            f"{kind}: logs its accesses",
            [environment.bucket("logs"), f"s3-access/{kind}/"],
            lambda: [
                s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"][key] for key in ("TargetBucket", "TargetPrefix")
            ],
        )
    rules = lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]  # noqa: E731
    report.check(
        f"{kind}: incomplete uploads are aborted",
        7,
        lambda: max(r.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation", 0) for r in rules()),
    )
    if kind == "logs":
        report.check(
            "logs: kept for a while, and not for ever",
            "90 days or more",
            lambda: max(r.get("Expiration", {}).get("Days", 0) for r in rules()),
            lambda days: days >= 90,
        )
    else:
        report.check(
            f"{kind}: age freezes or deletes nothing that is in use",
            [],
            lambda: [
                r["ID"]
                for r in rules()
                if ("Days" in r.get("Expiration", {}) and prefix_of(r) != RESULTS) or any(freezes(kind, r, t) for t in r.get("Transitions", []))
            ],
        )


def prefix_of(rule):
    return rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))


def freezes(kind, rule, transition):
    prefix = prefix_of(rule)
    return kind != "raw" or not (
        prefix == "archive/" or (prefix == "files/" and transition["StorageClass"] == "STANDARD_IA")
    )


def environment_key(environment):
    try:
        return environment.key()["Arn"]
    except Exception:  # the key's own check says why
        return None


def encryption(s3, bucket):
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    default = rule["ApplyServerSideEncryptionByDefault"]
    return [default["SSEAlgorithm"], default.get("KMSMasterKeyID") or None, bool(rule.get("BucketKeyEnabled"))]


def check_catalog(environment, report):
    # By place: where several environments share an account, names have prefixes.
    for layer in LAYERS:
        report.check(
            f"database {layer}",
            "one whose name ends so, where the layer's tables lie",
            lambda n=layer: environment.databases().get(n, "none"),
            lambda found, n=layer: found == n or found.endswith(f"_{n}"),
        )
    # Teardown deletes that key, and with it the whole account's metadata.
    report.check(
        "the account's catalog does not need this environment's key",
        "another key, or none",
        lambda: environment.client("glue")
        .get_data_catalog_encryption_settings()["DataCatalogEncryptionSettings"]
        .get("EncryptionAtRest", {})
        .get("SseAwsKmsKeyId", "none"),
        lambda found: found != environment_key(environment),
    )
    report.check(
        "roles of services without which no cluster starts",
        sorted(account.ROLES),
        lambda: account.roles(environment),
    )


def check_role(environment, report, role):
    iam, name = environment.client("iam"), f"{environment.name}-{role}"
    trust = lambda: statements(document(iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]))[
        0
    ]  # noqa: E731
    if ROLES[role]:
        report.check(f"role {role}: taken by", ROLES[role], lambda: trust()["Principal"]["Service"])
    else:
        report.check(
            f"role {role}: taken by principals of accounts, not by anybody",
            "ARNs",
            lambda: as_list(trust()["Principal"]["AWS"]),
            lambda arns: all(":iam::" in arn or ":sts::" in arn for arn in arns),
        )
    if role == "service":
        report.check(
            "role service: for this account's clusters only",
            environment.account,
            lambda: trust()["Condition"]["StringEquals"]["aws:SourceAccount"],
        )
    report.check(
        f"role {role}: managed policies",
        MANAGED[role],
        lambda: [p["PolicyName"] for p in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]],
    )
    policy = lambda: statements(
        document(iam.get_role_policy(RoleName=name, PolicyName=name)["PolicyDocument"])
    )  # noqa: E731
    report.check(
        f"role {role}: * only where no ARN exists",
        [],
        lambda: [
            s["Sid"]
            for s in policy()
            if s["Effect"] == "Allow"
            and (
                any("*" in action for action in s["Action"])
                or ("*" in s["Resource"] and "Condition" not in s and not set(s["Action"]) <= WITHOUT_RESOURCE)
            )
        ],
    )


def document(policy):
    return json.loads(unquote(policy)) if isinstance(policy, str) else policy


if __name__ == "__main__":
    sys.exit(run(__doc__, validate))
