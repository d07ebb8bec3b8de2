"""A Hugging Face hub on the loopback interface: the few addresses that huggingface_hub asks of any hub, over a folder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    fetched: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        words = unquote(urlsplit(self.path).path).strip("/").split("/")
        if words[:2] == ["api", "models"] and len(words) >= 4:
            self._send(json.dumps(self._listing("/".join(words[2:4]), words[4:5])).encode(), {}, body)
        elif len(words) > 4 and words[2] == "resolve":
            name = "/".join(words[4:])
            file = self.root / words[0] / words[1] / name
            if not file.is_file():
                return self._send(b"Entry not found", {"X-Error-Code": "EntryNotFound"}, body, 404)
            data = file.read_bytes()
            if body:
                self.fetched.append(name)
            etag = hashlib.sha256(data).hexdigest()
            self._send(data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body)
        else:
            self._send(b"{}", {}, body, 404)

    def _listing(self, name: str, kind: list[str]) -> object:
        folder = self.root / name
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        paths = [file.relative_to(folder).as_posix() for file in files]
        if kind == ["tree"]:
            return [
                {
                    "type": "file",
                    "path": path,
                    "size": file.stat().st_size,
                    "oid": hashlib.sha1(path.encode()).hexdigest(),
                }
                for path, file in zip(paths, files)
            ]
        siblings = [{"rfilename": path} for path in paths]
        known = {"private": False, "disabled": False, "gated": False, "downloads": 0, "likes": 0, "tags": []}
        return {"_id": "0", "id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, **known}

    def _send(self, data: bytes, headers: dict[str, str], body: bool, status: int = 200) -> None:
        self.send_response(status)
        for key, value in {
            **headers,
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@contextmanager
def hub(root: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub whose repository "a/b" is the folder root/a/b: its address, and the names of the files that were fetched."""
    fetched: list[str] = []
    handler = type("Hub", (_Hub,), {"root": root, "fetched": fetched})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", fetched
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
