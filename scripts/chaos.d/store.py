"""An object store that misbehaves: a proxy in front of an S3 emulator, and the faults that it injects."""

import asyncio
import random
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cluster import Problem, Process, free_port, wait_until
from faults import fault

BUCKET = "chaos"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "chaos", "AWS_SECRET_ACCESS_KEY": "chaos", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
}


class Store:
    """moto, the proxy in front of it, and a folder that mirrors the bucket."""

    def __init__(self, folder):
        import boto3

        Path(folder).mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.proxy = Proxy(port)
        self.log = Path(folder, "moto.log")
        self.moto = Process("moto", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], {}, self.log)
        self.client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id="chaos", aws_secret_access_key="chaos", region_name="us-east-1"
        )
        wait_until(self.ready, 30, "the emulator of S3", every=0.2)
        self.proxy.start()
        self.environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxy.port}", "AWS_ALLOW_HTTP": "true"}

    def ready(self):
        try:
            self.client.create_bucket(Bucket=BUCKET)
            return True
        except Exception:  # noqa: BLE001  not up yet; the error differs
            return False

    def objects(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def pull(self, prefix, folder):
        """Copies the bucket's objects below a prefix to files."""
        keys = self.objects(prefix)
        for key in keys:
            path = Path(folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.with_name(path.name + "~")
            try:
                written.write_bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
            except self.client.exceptions.NoSuchKey:
                continue  # a released lease; a missing file of a table would be noticed when the table is read
            written.replace(path)
        return keys

    def uploads(self):
        """Multipart uploads that were neither completed nor aborted."""
        return self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])

    def end(self):
        self.proxy.end()
        self.moto.kill()


@dataclass
class Request:
    method: str
    path: str
    headers: dict
    head: bytes
    body: bytes

    def conditional(self):
        return "if-none-match" in self.headers or "if-match" in self.headers


class Proxy:
    """Handles HTTP/1.1 requests one after the other on each connection. `play` decides how a request is answered."""

    def __init__(self, target):
        self.target, self.port = target, free_port()
        self.play = None
        self.played = 0
        self.loop = asyncio.new_event_loop()
        self.lock = threading.Lock()

    def start(self):
        async def serve():
            self.server = await asyncio.start_server(self.connection, "127.0.0.1", self.port, limit=1 << 20)

        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(serve(), self.loop).result(5)

    def end(self):
        self.loop.call_soon_threadsafe(self.server.close)

    async def connection(self, reader, writer):
        try:
            while request := await read_request(reader):
                answer = await self.answer(request, writer)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()

    async def answer(self, request, writer):
        if self.play is None:
            return await self.forward(request)
        return await self.play(self, request, writer)

    async def forward(self, request):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target, limit=1 << 20)
        try:
            writer.write(request.head + request.body)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            headers = headers_of(head)
            body = b""
            if request.method != "HEAD" and head.split(b" ", 2)[1] not in (b"204", b"304"):
                if "content-length" in headers:
                    body = await reader.readexactly(int(headers["content-length"]))
                elif headers.get("transfer-encoding") == "chunked":
                    body = await chunks(reader)
                else:
                    body = await reader.read()
                    head = head[:-2] + f"Content-Length: {len(body)}\r\n\r\n".encode()
            return head.replace(b"Connection: close\r\n", b"") + body
        finally:
            writer.close()


async def read_request(reader):
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    headers = headers_of(head)
    method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, head, body)


def headers_of(head):
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


async def chunks(reader):
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line, 16)
        body += line + await reader.readexactly(size + 2)
        if size == 0:
            return body


def refusal(status, code):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>made up</Message></Error>".encode()
    return f"HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


# The faults that the proxy injects. `dice` is the case's own random generator.

def sometimes(share, matches, what):
    """Injects `what` into a share of the matching requests."""
    def make(dice):
        async def play(proxy, request, writer):
            if matches(request) and dice.random() < share:
                proxy.played += 1
                return await what(proxy, request, writer)
            return await proxy.forward(request)

        return play

    return make


def every(_):
    return True


def is_put(request):
    return request.method == "PUT"


def is_get(request):
    return request.method == "GET" and ".parquet" in request.path


def answers(status, code):
    async def what(*_):
        return refusal(status, code)

    return what


async def hangs(proxy, request, writer):
    await asyncio.sleep(30)
    return None


async def done_but_fails(proxy, request, writer):
    await proxy.forward(request)
    return refusal(500, "InternalError")


async def done_but_breaks_off(proxy, request, writer):
    await proxy.forward(request)
    writer.transport.abort()
    return None


async def done_twice(proxy, request, writer):
    await proxy.forward(request)
    return await proxy.forward(request)


async def breaks_off(proxy, request, writer):
    writer.transport.abort()
    return None


async def trickles(proxy, request, writer):
    answer = await proxy.forward(request)
    for start in range(0, len(answer), 1 << 16):
        writer.write(answer[start : start + (1 << 16)])
        await writer.drain()
        await asyncio.sleep(0.05)
    return b""


async def is_cut_off(proxy, request, writer):
    answer = await proxy.forward(request)
    writer.write(answer[: max(len(answer) // 2, answer.find(b"\r\n\r\n") + 5)])
    await writer.drain()
    writer.transport.abort()
    return None


def expired(dice):
    """Refuses all requests for some seconds in the middle of a run: after the client has submitted it."""
    begin, wait = float("inf"), dice.uniform(0.5, 2.5)

    async def play(proxy, request, writer):
        nonlocal begin
        if begin == float("inf") and request.method == "PUT" and request.path.endswith("/trigger.json"):
            begin = time.monotonic() + wait
        if begin < time.monotonic() < begin + 3:
            proxy.played += 1
            return refusal(403, "ExpiredToken")
        return await proxy.forward(request)

    return play


def store_fault(name, about, make, **options):
    def strike(case):
        store = case.suite.store()
        case.store = store
        case.bucket = f"s3://{BUCKET}/{Path(case.lake).name}"
        store.proxy.played = 0
        store.proxy.play = make(case.random)
        case.on_end = lambda: finish(case)
        case.submit()
        case.wait()
        store.proxy.play = None
        case.moment = f"{store.proxy.played} requests"

    fault(name, "store", about, own="store", **options)(strike)


def finish(case):
    case.store.proxy.play = None


store_fault("s3_none", "nothing: the emulator and the proxy themselves", lambda dice: None, long=True)
store_fault("s3_500", "5 % of requests: 500", sometimes(0.05, every, answers(500, "InternalError")))
store_fault("s3_slow_down", "15 % of requests: 503 SlowDown", sometimes(0.15, every, answers(503, "SlowDown")))
store_fault("s3_time_out", "2 % of requests are never answered", sometimes(0.02, every, hangs), long=True)
store_fault("s3_reset", "5 % of connections break off", sometimes(0.05, every, breaks_off), long=True)
store_fault("s3_put_done_500", "10 % of PUTs are done and answered 500", sometimes(0.1, is_put, done_but_fails))
store_fault("s3_put_done_reset", "10 % of PUTs are done and not answered", sometimes(0.1, is_put, done_but_breaks_off), long=True)
store_fault("s3_put_twice", "20 % of PUTs are done twice", sometimes(0.2, is_put, done_twice))
store_fault("s3_412", "a third of conditional PUTs: 412, and nobody was there", sometimes(0.34, Request.conditional, answers(412, "PreconditionFailed")))
store_fault("s3_409", "a third of conditional PUTs: 409", sometimes(0.34, Request.conditional, answers(409, "ConditionalRequestConflict")), long=True)
store_fault("s3_slow_reads", "half of the reads trickle", sometimes(0.5, is_get, trickles), long=True)
store_fault("s3_cut_reads", "10 % of the reads are cut off", sometimes(0.1, is_get, is_cut_off))
store_fault("s3_expired", "credentials expire for three seconds", expired, may_fail=("unavailable",))
