"""Where a Tiled catalogue is asked, and how, by the addresses and profiles that Tiled's own client takes."""

import asyncio
import ssl

import certificates
import httpx
import pytest

from agent_service.documents.sources.tiled_catalogue import TiledCatalogue

API = "http://a:8000/api/v1"


@pytest.mark.parametrize(
    ("uri", "path", "root", "node"),
    [
        ("http://a:8000", "", API, ""),
        ("http://a:8000/", "raw", API, "raw"),
        ("http://a:8000/api", "", API, ""),
        ("http://a:8000/api/v1/", "/raw/", API, "raw"),
        ("http://a:8000/api/v1/metadata", "raw", API, "raw"),
        ("http://a:8000/api/v1/metadata/", "", API, ""),
        ("http://a:8000/api/v1//metadata/bl/raw", "", API, "bl/raw"),
        ("http://a:8000/api/v1/metadata/bl/?api_key=secret", "raw/", API, "bl/raw"),
        ("https://a/tiled", "", "https://a/tiled/api/v1", ""),
        ("https://a/tiled/api/v1/metadata/bl", "", "https://a/tiled/api/v1", "bl"),
    ],
)
async def test_an_address_is_of_a_server_or_of_a_node(uri, path, root, node):
    async with TiledCatalogue(uri, path=path, api_key="other") as catalogue:
        assert (catalogue._root, catalogue._path) == (root, node)
        assert catalogue.stream.startswith(f"{root.replace('http', 'ws', 1)}/stream/single/{node}?")
        key = "secret" if "secret" in uri else "other"
        assert catalogue.headers == {"Authorization": f"Apikey {key}"}
        assert (catalogue.tls is None) == root.startswith("http:")


async def test_a_certificate_has_to_be_good_unless_a_profile_says_otherwise(tmp_path):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    _, context = certificates.write(tmp_path)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        uri = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with TiledCatalogue(uri, verify=False) as catalogue:
            await catalogue.ask()
            assert catalogue.tls.verify_mode is ssl.CERT_NONE, "of its websocket, too"
        async with TiledCatalogue(uri) as catalogue:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await catalogue.ask()
