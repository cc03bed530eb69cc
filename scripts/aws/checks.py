"""What the validations share: where to look, and one line per check with what was expected and what was found."""

import argparse
import json
import os
import sys
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

ATTEMPTS = 3
# Programs there read tables without pulse; they need scripts/verify/requirements.txt.
LAKE_READERS = str(Path(__file__).parents[1] / "verify")


class Environment:
    """Names and clients of one environment, such as `pulse-dev`; all names follow from it (docs/guide/operate.md)."""

    def __init__(self, name):
        self.name = name
        self.path = "/" + name.replace("-", "/")
        self.session = boto3.Session()
        self.region = self.session.region_name
        # The partition as well: GovCloud and China have others.
        caller = self.client("sts").get_caller_identity()
        self.account, self.partition = caller["Account"], caller["Arn"].split(":")[1]

    def client(self, service):
        style = {"s3": {"addressing_style": "path"}} if os.environ.get("AWS_ENDPOINT_URL") else {}
        return self.session.client(service, config=Config(retries={"max_attempts": ATTEMPTS}, **style))

    def arn(self, service, resource, region="", account=""):
        return f"arn:{self.partition}:{service}:{region}:{account}:{resource}"

    def databases(self):
        """Name of each layer's database in the catalog, found by where its tables lie: it may have a prefix."""
        layers = {}
        for page in self.client("glue").get_paginator("get_databases").paginate():
            for database in page["DatabaseList"]:
                bucket, _, folder = database.get("LocationUri", "").rstrip("/").removeprefix("s3://").partition("/")
                layer = folder.removeprefix("lake/")
                if bucket == self.bucket("gold" if layer == "gold" else "silver"):
                    layers[layer] = database["Name"]
        return layers

    def bucket(self, kind):
        return f"{self.name}-{self.account}-{kind}"

    def key(self):
        return self.client("kms").describe_key(KeyId=f"alias/{self.name}")["KeyMetadata"]

    def key_arn(self):
        """None while there is no such key."""
        try:
            return self.key()["Arn"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NotFoundException":
                raise
            return None


class Report:
    def __init__(self):
        self.held = self.broken = 0

    def check(self, what, expected, find, holds=None):
        """`find` looks; what it raises is a finding as well, so that one thing missing hides nothing else."""
        try:
            found = find()
            good = bool(holds(found)) if holds else found == expected
        except ClientError as error:
            found, good = error.response["Error"].get("Code", "error"), False
        except Exception as error:
            found, good = f"{type(error).__name__}: {error}", False
        self.held, self.broken = self.held + good, self.broken + (not good)
        print(f"{'ok   ' if good else 'WRONG'} {what}: expected {show(expected)}, found {show(found)}", flush=True)
        return found if good else None

    def add(self, report):
        """The counts of another report, which has printed its lines."""
        self.held, self.broken = self.held + report.checks - report.differences, self.broken + report.differences

    def end(self):
        print(f"{self.held + self.broken} checks: {self.held} hold, {self.broken} do not")
        return 1 if self.broken else 0


def show(value):
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 160 else text[:157] + "..."


def statements(policy):
    """Of a policy as text or object, each with lists where one entry may stand alone."""
    policy = json.loads(policy) if isinstance(policy, str) else policy
    listed = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    return [{**s, **{key: as_list(s[key]) for key in ("Action", "Resource") if key in s}} for s in listed]


def as_list(value):
    return value if isinstance(value, list) else [value]


def read_specification(environment, report):
    name, found = f"{environment.path}/cluster", {}

    def read():
        found.update(json.loads(environment.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]))
        return found["run_job_flow"]["Name"]

    return found if report.check(f"specification in {name}", environment.name, read) else None


def parser(what):
    made = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("environment", nargs="?", default="dev", help="such as dev or prod (default: dev)")
    made.add_argument("--project", default="pulse", help="first part of every name (default: pulse)")
    made.add_argument("--dry-run", action="store_true", help="say what would be looked at or started, and end")
    return made


def connect(options):
    """The environment that was asked for; ends the program with the remedy where AWS does not let us in."""
    try:
        return Environment(f"{options.project}-{options.environment}")
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        print(f"no access to AWS: {error}", file=sys.stderr)
        print(
            "set AWS_PROFILE or credentials, and AWS_REGION, until `aws sts get-caller-identity` answers",
            file=sys.stderr,
        )
        sys.exit(2)


def run(what, validate, add_options=lambda _: None):
    made = parser(what)
    add_options(made)
    options = made.parse_args()
    if options.dry_run:
        print(
            f"would look at {options.project}-{options.environment} in {os.environ.get('AWS_REGION')}. {what.strip()}"
        )
        return 0
    environment = connect(options)
    print(f"{environment.name} in account {environment.account}, {environment.region}")
    report = Report()
    validate(environment, report, options)
    return report.end()
