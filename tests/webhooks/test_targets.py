"""Nothing is sent to where the operator has not said, and no name leads into a private network."""

import asyncio
import ipaddress
import socket

import pytest

from service.settings import SettingsError, load_settings
from service.webhooks.targets import TargetRefused, check_url, is_public, look_up, parse_allow_list

ALLOWED = parse_allow_list(
    ["https://hooks.example.com", "https://*.example.org", "http://10.0.0.7:9000", "http://[::1]:9000"]
)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/x?y=1",
        "https://hooks.example.com:443/",
        "https://HOOKS.example.com/",
        "https://a.b.example.org/",
        "http://10.0.0.7:9000/in",
        "http://[::1]:9000/",
    ],
)
def test_listed_origins(url: str) -> None:
    assert check_url(url, ALLOWED).geturl()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "http://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://example.org/",
        "https://evilexample.org/",
        "https://hooks.example.com.evil.com/",
        "https://hooks.example.com@evil.com/",
        "https://user:pass@hooks.example.com/",
        "https://hooks.example.com\\@evil.com/",
        "https://hooks.example.com#@evil.com/",
        "https://hooks.example.com%00.evil.com/",
        "https://hooks.example.com\r\nHost: evil/",
        "https://hooks.exämple.com/",
        "http://10.0.0.8:9000/",
        "http://010.0.0.7:9000/",
        "http://0xa000007:9000/",
        "http://167772167:9000/",
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "gopher://hooks.example.com/",
        "https://hooks.example.com:99999/",
        "https://[::1/",
        "https://" + "a" * 3000 + ".example.org/",
    ],
)
def test_everything_else(url: str) -> None:
    with pytest.raises(TargetRefused):
        check_url(url, ALLOWED)


@pytest.mark.parametrize("entry", ["example.com", "https://a.com/path", "https://*", "https://u@a.com", "ftp://a.com"])
def test_entries_that_are_no_origins_are_refused_at_the_start(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUMIERE_WEBHOOK_ALLOW", f"https://fine.example.com,{entry}")
    with pytest.raises(SettingsError, match="LUMIERE_WEBHOOK_ALLOW"):
        load_settings()


PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


async def looked_up(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a name with these addresses leads to; the resolver is asked through the event loop."""

    async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return (await look_up("https://hooks.example.com/in?a=b", ALLOWED)).pinned_url


async def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await looked_up(["93.184.215.14"], monkeypatch) == "https://93.184.215.14:443/in?a=b"
    assert await looked_up(["2606:2800::1"], monkeypatch) == "https://[2606:2800::1]:443/in?a=b"


@pytest.mark.parametrize("addresses", [[address] for address in PRIVATE] + [["93.184.215.14", "127.0.0.1"], []])
async def test_names_that_lead_inside_are_refused(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetRefused):
        await looked_up(addresses, monkeypatch)


async def test_an_address_in_the_list_is_the_operators_word() -> None:
    assert (await look_up("http://10.0.0.7:9000/in", ALLOWED)).pinned_url == "http://10.0.0.7:9000/in"
    assert (await look_up("http://[::1]:9000/in", ALLOWED)).pinned_url == "http://[::1]:9000/in"
