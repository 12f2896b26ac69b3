"""Where requests may go, by the words of an address alone; and what the SDK is configured for."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from aiobotocore.session import AioSession
from aiohttp import ClientSession
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from hypothesis import example, given
from hypothesis import strategies as st

from harvester.aws.endpoints import check_endpoints, need_certificates
from harvester.aws.transport import session_class
from harvester.errors import SettingsError
from harvester.settings import AwsSettings, Settings, check_settings
from harvester.settings.endpoints import check_endpoint, is_insecure

_LOOPBACK = ("127.0.0.1", "127.255.0.9", "localhost", "LOCALHOST", "[::1]", "[0:0:0:0:0:0:0:1]")
_ELSEWHERE = (
    *("10.0.0.1", "0.0.0.0", "[::]", "[2001:db8::1]", "128.0.0.1", "localhost.evil.example"),  # noqa: S104
    *("127.1", "2130706433", "0x7f.0.0.1", "localhost.", "ip6-localhost", "127.0.0.1.evil.example"),
)


@pytest.mark.parametrize("host", _LOOPBACK)
@pytest.mark.parametrize("rest", ["", ":4566", "/", ":80/path?query"])
def test_http_on_this_machine_is_fine(host: str, rest: str) -> None:
    check_endpoint("x", f"http://{host}{rest}", allow_insecure=False)
    assert is_insecure(f"http://{host}{rest}") is False


@pytest.mark.parametrize("host", _ELSEWHERE)
def test_http_to_what_may_be_another_is_not_unless_allowed(host: str) -> None:
    url = f"http://{host}:80"
    with pytest.raises(SettingsError, match="unencrypted") as caught:
        check_endpoint("AWS_ENDPOINT_URL", url, allow_insecure=False)
    assert str(caught.value).startswith(f"AWS_ENDPOINT_URL: '{url}' ")
    check_endpoint("x", url, allow_insecure=True)
    assert is_insecure(url)
    check_endpoint("x", f"https://{host}", allow_insecure=False)
    assert is_insecure(f"https://{host}") is False


_USELESS = (
    "",
    "host",
    "//host",
    "ftp://host",
    "http://",
    "https://",
    "http://h:0",
    "http://h:99999",
)
_UNCLEAR = (
    "http://[::1",
    "http://localhost\\.evil",
    "http://local host",
    " http://localhost",
    "h\nt",
)


@pytest.mark.parametrize("url", [*_USELESS, *_UNCLEAR])
@pytest.mark.parametrize("allow", [True, False])
def test_what_is_no_address_is_refused_in_any_case(url: str, *, allow: bool) -> None:
    with pytest.raises(SettingsError, match="is not an endpoint"):
        check_endpoint("x", url, allow_insecure=allow)


@given(st.text(st.characters(exclude_categories=())), st.sampled_from(("", "http://", "HTTPS://")))
@example("me:secret@localhost", "http://")
@example("localhost#@evil.example", "http://")
def test_any_text_is_refused_in_one_clean_line_or_fine(text: str, start: str) -> None:
    said = ""
    try:
        check_endpoint("x", start + text, allow_insecure=False)
    except SettingsError as error:
        said = str(error)
    assert said.isprintable()
    assert ":secret" not in said
    assert said or is_insecure(start + text) is False


def test_settings_are_refused_by_the_name_of_the_option() -> None:
    settings = Settings(aws=AwsSettings(endpoint_url="http://h"))
    with pytest.raises(SettingsError, match=r"^--endpoint-url: 'http://h' would send"):
        check_settings(settings, {"aws.endpoint_url": "--endpoint-url"})
    for aws in ({"allow_insecure_endpoint": True, "endpoint_url": "http://h"}, {}):
        check_settings(Settings(aws=AwsSettings(**aws)))  # type: ignore[arg-type]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    return path


def _check(given: str | None = None, *, allow: bool = False) -> dict[str, str]:
    return check_endpoints(AioSession(), given, allow_insecure=allow)


def _need(given: str | None = None) -> bool:
    return need_certificates(_check(given))


def test_certificates_are_needed_unless_all_requests_go_unencrypted(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not config.exists()
    assert _need(), "AWS's own endpoints"
    assert _need("https://localhost")
    assert not _need("HTTP://localhost")
    for service in ("STS", "ORGANIZATIONS", "EC2"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", "http://localhost")
    assert _need(), "Image Builder's own"
    monkeypatch.setenv("AWS_ENDPOINT_URL_IMAGEBUILDER", "https://localhost")
    assert _need()
    monkeypatch.setenv("AWS_ENDPOINT_URL_IMAGEBUILDER", "http://127.0.0.1:1")
    assert not _need()


def test_what_the_sdk_would_not_use_is_not_refused(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(
        "[default]\nendpoint_url = http://h\n[profile other]\nendpoint_url = http://other\n"
    )
    with pytest.raises(SettingsError, match="endpoint_url in the AWS profile: 'http://h'"):
        _check()
    _check("https://h")  # what the settings give beats all of these
    for service in ("STS", "ORGANIZATIONS", "EC2", "IMAGEBUILDER"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", "https://h")
    _check()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://h")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://h")
    _check()
    monkeypatch.delenv("AWS_ENDPOINT_URL_EC2")
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL: 'http://h'"):
        _check()
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    _check()


@pytest.mark.parametrize("text", ["services = absent", "services = s\n[services s]\nsts = odd\n"])
def test_odd_sections_of_services_are_left_to_the_sdk(config: Path, text: str) -> None:
    config.write_text(f"[default]\n{text}\n")
    _check()


async def test_a_session_sends_nothing_without_checking_certificates() -> None:
    """Whatever an SDK of another version, or with another configuration, hands over."""
    request = AWSRequest("POST", "https://localhost:1/", {}, b"").prepare()
    async with session_class(allow_insecure=False)(verify=False) as session:
        with pytest.raises(BotoCoreError, match="certificates would not be checked"):
            await session.send(request)
    async with session_class(allow_insecure=False)() as session:
        inner = await session._get_session(None)
        assert isinstance(inner._session, ClientSession)
        ((context, _),) = [session._build_ssl_contexts(None)]
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


async def test_a_session_sends_nothing_unencrypted() -> None:
    request = AWSRequest("POST", "http://192.0.2.1:1/path", {}, b"").prepare()
    async with session_class(allow_insecure=False)() as session:
        for _ in range(2):
            with pytest.raises(SettingsError, match="unencrypted"):
                await session.send(request)
