"""Ends with 0 if the bucket named exists and is ours, else with 1."""

import sys

import boto3
from botocore.exceptions import ClientError

try:
    boto3.client("s3").head_bucket(Bucket=sys.argv[1])
except ClientError:
    sys.exit(1)
