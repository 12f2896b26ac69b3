"""The SDK's paginator in aiobotocore, one client per target, the targets in tasks."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

from bench.contestants.lines import to_lines

_OWN: dict[str, str] = {}


class Sweep:
    """A sweep of the organization into one file."""

    def __init__(self, job: dict[str, Any], session: AioSession, output: BinaryIO) -> None:
        self._job = job
        self._session = session
        self._output = output
        self._gate = asyncio.Semaphore(job["concurrency"])
        self._config = AioConfig(
            retries={"mode": "standard", "max_attempts": 10},
            max_pool_connections=job["concurrency"],
        )

    async def run(self) -> None:
        """Read every account and region."""
        create = self._session.create_client
        async with (
            create("organizations") as organizations,
            create("sts", config=self._config) as sts,
        ):
            caller = (await sts.get_caller_identity())["Account"]
            pages = organizations.get_paginator("list_accounts").paginate()
            accounts = [
                account["Id"]
                async for page in pages
                for account in page["Accounts"]
                if account["Status"] == "ACTIVE"
            ]
            await asyncio.gather(*(self._account(one, caller, sts) for one in accounts))

    async def _account(self, account: str, caller: str, sts: Any) -> None:
        keys = _OWN if account == caller else await self._assume(account, sts)
        await asyncio.gather(*(self._target(region, keys) for region in self._job["regions"]))

    async def _assume(self, account: str, sts: Any) -> dict[str, str]:
        async with self._gate:
            answer = await sts.assume_role(
                RoleArn=f"arn:aws:iam::{account}:role/{self._job['role']}", RoleSessionName="bench"
            )
        credentials = answer["Credentials"]
        return {
            "aws_access_key_id": credentials["AccessKeyId"],
            "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials["SessionToken"],
        }

    async def _target(self, region: str, keys: dict[str, str]) -> None:
        async with (
            self._gate,
            self._session.create_client(
                "imagebuilder", region_name=region, config=self._config, **keys
            ) as client,
        ):
            async for page in client.get_paginator("list_image_scan_findings").paginate():
                self._output.write(to_lines(page["findings"]))


async def main(job: dict[str, Any]) -> None:
    """Do the job."""
    with Path(job["output"]).open("wb") as output:  # noqa: ASYNC230  # a local file, as most do
        await Sweep(job, get_session(), output).run()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
