"""Makes the bucket of Terraform's state where it is missing, and prints its name; with --exists only looks, and ends with 1 if it is missing."""

import json
import sys

from botocore.exceptions import ClientError

from checks import connect, parser

# Of the state that was replaced: at least so many versions, and none older than so many days beyond them.
VERSIONS_KEPT, VERSIONS_DAYS = 20, 90


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
        place = (
            {}
            if environment.region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": environment.region}}
        )
        s3.create_bucket(Bucket=bucket, **place)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration=dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        ),
    )
    # The state lives before the key does, so it is encrypted with S3's own.
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    # What an apply replaced is looked at within days, if at all.
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "replaced-versions",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": VERSIONS_DAYS, "NewerNoncurrentVersions": VERSIONS_KEPT},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                }
            ]
        },
    )
    deny = [
        {
            "Sid": name,
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "s3:*",
            "Resource": [environment.arn("s3", bucket), environment.arn("s3", f"{bucket}/*")],
            "Condition": condition,
        }
        for name, condition in {
            "OnlyEncryptedTransport": {"Bool": {"aws:SecureTransport": "false"}},
            "OnlyRecentTls": {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        }.items()
    ]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": deny}))


if __name__ == "__main__":
    sys.exit(main())
