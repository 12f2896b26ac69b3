from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from harvester.simulator import Identity, Simulator

    Connect = Callable[..., Awaitable[Any]]


@pytest.fixture(autouse=True)
def no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def session() -> AioSession:
    """One for all tests: it keeps the service models, which are slow to read."""
    return AioSession()


@pytest.fixture
async def connect(session: AioSession) -> AsyncIterator[Connect]:
    """Makes a client of a simulator: `connect(simulator, "sts", account=…, region=…)`."""
    async with AsyncExitStack() as stack:

        async def make(
            simulator: Simulator,
            service: str,
            *,
            account: str | None = None,
            region: str | None = None,
            caller: Identity | None = None,
            retries: int = 1,
        ) -> Any:
            caller = caller or simulator.credentials(account)
            client = session.create_client(
                service,
                region_name=region or simulator.organization.regions[0],
                endpoint_url=simulator.url,
                aws_access_key_id=caller.access_key_id,
                aws_secret_access_key=caller.secret_key,
                aws_session_token=caller.session_token,
                config=AioConfig(
                    retries={"total_max_attempts": retries}, connect_timeout=5, read_timeout=5
                ),
            )
            return await stack.enter_async_context(client)

        yield make
