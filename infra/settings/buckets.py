"""Create the team's buckets that are missing in an S3 store: `python buckets.py`.

It reads AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and needs only boto3.
"""

from contextlib import suppress

import boto3

BUCKETS = ("dvc", "mlflow", "backups")


def main() -> None:
    """Create the buckets."""
    client = boto3.client("s3")
    for bucket in BUCKETS:
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=bucket)


if __name__ == "__main__":
    main()
