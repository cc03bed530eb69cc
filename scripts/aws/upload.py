"""Uploads a binary, or a project's folder, to the artifacts bucket of an environment.

    python upload.py ENVIRONMENT release BINARY SHA256
    python upload.py ENVIRONMENT project FOLDER NAME
"""

import base64
import sys
from pathlib import Path

from checks import connect, parser


def main():
    made = parser(__doc__)
    made.add_argument("kind", choices=["release", "project"])
    made.add_argument("path", type=Path)
    made.add_argument("name")
    options = made.parse_args()
    files = {options.path: f"releases/{options.name}/pulse"} if options.kind == "release" else {
        file: f"projects/{options.name}/{file.relative_to(options.path)}" for file in sorted(options.path.rglob("*")) if file.is_file()}
    environment = connect(options)
    bucket = environment.bucket("artifacts")
    for file, key in files.items():
        if not options.dry_run:
            put(environment.client("s3"), file, bucket, key, options.name if options.kind == "release" else None)
        print(f"{'would upload' if options.dry_run else 'uploaded'} s3://{bucket}/{key}")


def put(s3, file, bucket, key, sha256):
    # S3 compares the checksum itself, and refuses what arrived otherwise.
    checksum = {"ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode()} if sha256 else {}
    with file.open("rb") as content:
        s3.put_object(Bucket=bucket, Key=key, Body=content, **checksum)


if __name__ == "__main__":
    sys.exit(main())
