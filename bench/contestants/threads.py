"""The SDK's paginator in boto3, a session per account, a client per target, the targets in threads."""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import boto3
from botocore.config import Config

from bench.contestants.lines import to_lines


class Sweep:
    """A sweep of the organization into one file."""

    def __init__(self, job: dict[str, Any], output: BinaryIO) -> None:
        self._job = job
        self._output = output
        self._writing = Lock()
        self._config = Config(
            retries={"mode": "standard", "max_attempts": 10},
            max_pool_connections=job["concurrency"],
        )

    def run(self) -> None:
        """Read every account and region."""
        own = boto3.Session()
        sts = own.client("sts", config=self._config)
        caller = sts.get_caller_identity()["Account"]
        pages = own.client("organizations").get_paginator("list_accounts").paginate()
        accounts = [
            account["Id"]
            for page in pages
            for account in page["Accounts"]
            if account["Status"] == "ACTIVE"
        ]
        with ThreadPoolExecutor(self._job["concurrency"]) as pool:
            assumed: list[Future[boto3.Session]] = [
                pool.submit(self._session, account, caller, sts) for account in accounts
            ]
            targets = [
                pool.submit(self._target, session, lock, region)
                for session, lock in ((future.result(), Lock()) for future in assumed)
                for region in self._job["regions"]
            ]
            for target in targets:
                target.result()

    def _session(self, account: str, caller: str, sts: Any) -> boto3.Session:
        if account == caller:
            return boto3.Session()
        answer = sts.assume_role(
            RoleArn=f"arn:aws:iam::{account}:role/{self._job['role']}", RoleSessionName="bench"
        )
        credentials = answer["Credentials"]
        return boto3.Session(
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )

    def _target(self, session: boto3.Session, lock: Lock, region: str) -> None:
        with lock:  # a session may not make two clients at once
            client = session.client("imagebuilder", region_name=region, config=self._config)
        for page in client.get_paginator("list_image_scan_findings").paginate():
            lines = to_lines(page["findings"])
            with self._writing:
                self._output.write(lines)
        client.close()


def main(job: dict[str, Any]) -> None:
    """Do the job."""
    with Path(job["output"]).open("wb") as output:
        Sweep(job, output).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
