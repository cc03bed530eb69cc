"""Makes the bucket of Terraform's state where it is missing, and prints its name; with --exists only looks, and ends with 1 if it is missing."""

import json
import sys

from botocore.exceptions import ClientError

from checks import connect, parser


def main():
    made = parser(__doc__)
    made.add_argument("--exists", action="store_true")
    options = made.parse_args()
    environment = connect(options)
    bucket = environment.bucket("state")
    if options.exists:
        return 0 if exists(environment, bucket) else 1
    if not options.dry_run:
        make(environment, bucket)
    print(bucket)
    return 0


def exists(environment, bucket):
    try:
        environment.client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=environment.account)
        return True
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            sys.exit(f"{bucket} is not ours or not open to us ({error}): choose another project name, or ask its owner")
        return False


def make(environment, bucket):
    s3 = environment.client("s3")
    if not exists(environment, bucket):
        place = {} if environment.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": environment.region}}
        s3.create_bucket(Bucket=bucket, **place)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration=dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True),
    )
    # The state lives before the key does, so it is encrypted with S3's own.
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]},
    )
    deny = {
        "Sid": "OnlyEncryptedTransport",
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))


if __name__ == "__main__":
    sys.exit(main())
