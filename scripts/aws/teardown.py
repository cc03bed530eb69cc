"""Shows which buckets and tables of an environment hold data; empties the buckets when told."""

import sys

from botocore.exceptions import ClientError

from account import live_clusters
from checks import connect, parser

KINDS = ["raw", "silver", "gold", "logs", "artifacts"]
OURS = {"logs", "artifacts"}  # can be made again or is only about what was
LAYERS_FILE = "lake/_pulse/layers.json"  # Terraform's own
BATCH = 1000


def main():
    made = parser(__doc__)
    made.add_argument("--delete-data", action="store_true")
    options = made.parse_args()
    environment = connect(options)
    s3 = environment.client("s3")
    holds = {kind: count(s3, environment.bucket(kind)) for kind in KINDS}
    for kind, (objects, size, versions) in holds.items():
        print(f"{environment.bucket(kind)}: {objects} objects, {size / 2**20:.1f} MiB, {versions} older versions")
    if encrypts_catalog(environment):
        print(
            f"the account's Glue Data Catalog is encrypted with the key of {environment.name}, which would be deleted: everybody in the "
            "account would lose their tables' metadata. Run scripts/deploy account first, which gives the catalog a key of its own",
            file=sys.stderr,
        )
        return 1
    end_clusters(environment, options)
    full = [kind for kind in KINDS if holds[kind][0] + holds[kind][2]]
    if not full or options.dry_run:
        return 0
    if not options.delete_data and any(kind not in OURS for kind in full):
        print(
            "these buckets hold data: nothing was deleted. Copy what you need, then: scripts/teardown --delete-data",
            file=sys.stderr,
        )
        return 1
    for kind in full:
        empty(s3, environment.bucket(kind))
        print(f"emptied {environment.bucket(kind)}")
    return 0


def count(s3, bucket):
    objects = size = versions = 0
    for page in pages(s3, bucket):
        for version in page.get("Versions", []):
            if version["Key"] == LAYERS_FILE:
                continue
            objects, size = objects + version["IsLatest"], size + version["Size"]
            versions += not version["IsLatest"]
        versions += len(page.get("DeleteMarkers", []))
    return objects, size, versions


def pages(s3, bucket):
    try:
        yield from s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise


def empty(s3, bucket):
    """From the start again after each page: what is listed behind a version that is gone by now differs from store to store."""
    while found := first_versions(s3, bucket):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
        if errors := answer.get("Errors"):
            sys.exit(f"{bucket}: {errors[0].get('Key')} cannot be deleted: {errors[0].get('Message')}")


def first_versions(s3, bucket):
    page = next(pages(s3, bucket), {})
    found = page.get("Versions", []) + page.get("DeleteMarkers", [])
    return [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in found[:BATCH]]


def end_clusters(environment, options):
    """A cluster holds interfaces in the network, which could not be deleted then."""
    emr = environment.client("emr")
    running = live_clusters(environment)
    for cluster in running:
        print(f"cluster {cluster} {'would be' if options.dry_run else 'is being'} terminated")
    if running and not options.dry_run:
        emr.terminate_job_flows(JobFlowIds=running)
        for cluster in running:
            emr.get_waiter("cluster_terminated").wait(ClusterId=cluster)


def encrypts_catalog(environment):
    """Environments were once the owners of the account's setting."""
    settings = environment.client("glue").get_data_catalog_encryption_settings()["DataCatalogEncryptionSettings"]
    used = {
        settings.get("EncryptionAtRest", {}).get("SseAwsKmsKeyId"),
        settings.get("ConnectionPasswordEncryption", {}).get("AwsKmsKeyId"),
    } - {None, ""}
    return bool(used) and environment.key_arn() in used


if __name__ == "__main__":
    sys.exit(main())
