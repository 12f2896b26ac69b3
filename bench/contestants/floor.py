"""The floor: the same calls by hand, signed, their bodies read and neither parsed nor written."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_PAGE: Final = 100
_TOKEN: Final = b'"nextToken":"'
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
_JSON: Final = {"Content-Type": "application/json"}
_TARGET: Final = {
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": "AWSOrganizationsV20161128.ListAccounts",
}


class Floor:
    """A sweep of the organization into nothing."""

    def __init__(self, job: dict[str, Any], http: aiohttp.ClientSession) -> None:
        self._job = job
        self._http = http
        self._url = os.environ["AWS_ENDPOINT_URL"]
        self._home = os.environ["AWS_REGION"]
        self._gate = asyncio.Semaphore(job["concurrency"])
        self._own = Credentials(
            os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        )

    async def run(self) -> None:
        """Read every account and region."""
        own = SigV4Auth(self._own, "sts", self._home)
        identity = await self._post(own, "/", _sts("GetCallerIdentity"), _FORM)
        caller = _element("Account", identity)
        await asyncio.gather(
            *(self._account(account, caller, own) for account in await self._accounts())
        )

    async def _accounts(self) -> list[str]:
        signer = SigV4Auth(self._own, "organizations", self._home)
        accounts: list[str] = []
        following: dict[str, str] = {}
        while True:
            answer = json.loads(
                await self._post(signer, "/", json.dumps(following).encode(), _TARGET)
            )
            accounts += [one["Id"] for one in answer["Accounts"] if one["Status"] == "ACTIVE"]
            if "NextToken" not in answer:
                return accounts
            following = {"NextToken": answer["NextToken"]}

    async def _account(self, account: str, caller: str, own: SigV4Auth) -> None:
        credentials = self._own
        if account != caller:
            role = f"arn:aws:iam::{account}:role/{self._job['role']}"
            query = _sts("AssumeRole", RoleArn=role, RoleSessionName="bench")
            async with self._gate:
                answer = await self._post(own, "/", query, _FORM)
            names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
            credentials = Credentials(*(_element(name, answer) for name in names))
        await asyncio.gather(
            *(self._target(region, credentials) for region in self._job["regions"])
        )

    async def _target(self, region: str, credentials: Credentials) -> None:
        signer = SigV4Auth(credentials, "imagebuilder", region)
        async with self._gate:
            query = b'{"maxResults":%d}' % _PAGE
            while True:
                body = await self._post(signer, "/ListImageScanFindings", query, _JSON)
                start = body.rfind(_TOKEN)
                if start < 0:
                    return
                start += len(_TOKEN)
                token = body[start : body.index(b'"', start)]
                query = b'{"maxResults":%d,"nextToken":"%b"}' % (_PAGE, token)

    async def _post(
        self, signer: SigV4Auth, path: str, body: bytes, headers: dict[str, str]
    ) -> bytes:
        url = self._url + path
        request = AWSRequest(method="POST", url=url, data=body, headers=headers)
        signer.add_auth(request)
        signed = dict(request.headers.items())
        async with self._http.post(url, data=body, headers=signed) as response:
            response.raise_for_status()
            return await response.read()


def _sts(action: str, **parameters: str) -> bytes:
    return urlencode({"Action": action, "Version": "2011-06-15", **parameters}).encode()


def _element(name: str, answer: bytes) -> str:
    match = re.search(f"<{name}>([^<]*)</{name}>", answer.decode())
    if match is None:
        raise ValueError(f"the answer holds no {name}")
    return match[1]


async def main(job: dict[str, Any]) -> None:
    """Do the job."""
    connector = aiohttp.TCPConnector(limit=job["concurrency"])
    async with aiohttp.ClientSession(connector=connector) as http:
        await Floor(job, http).run()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
