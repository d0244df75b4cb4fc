"""A stand-in for the Hub: keeps one data set in memory, as ``datasets`` and ``huggingface_hub`` ask for it.

Files are uploaded as the small ones of the Hub are: their content is in the commit.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

_COMMIT = "a" * 40


@contextmanager
def serving(name: str, files: Mapping[str, bytes], made: dict[str, Any] | None = None) -> Iterator[str]:
    """Serve a data set, and yield the address that ``HF_ENDPOINT`` is to be set to.

    :param name: ``OWNER/NAME``. :param files: content by path. :param made: if given, there is no data set yet; it gets
        what the client asks for when it creates one, and then its files.
    """
    settings = {"name": name, "files": dict(files), "made": made}
    handler = type("Handler", (_Handler,), settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    name: str
    files: dict[str, bytes]
    made: dict[str, Any] | None

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        path, api = unquote(urlparse(self.path).path), f"/api/datasets/{self.name}"
        if self.made == {}:
            self._refuse("RepoNotFound")
        elif path == api or path.startswith(f"{api}/revision/"):
            siblings = [{"rfilename": file} for file in self.files]
            self._answer({"_id": "1", "id": self.name, "sha": _COMMIT, "siblings": siblings, "tags": []})
        elif path.startswith(f"{api}/tree/"):
            self._answer(self._listed(path.removeprefix(f"{api}/tree/").partition("/")[2] or "."))
        elif path.startswith(f"/datasets/{self.name}/resolve/"):
            self._send(path.removeprefix(f"/datasets/{self.name}/resolve/").partition("/")[2])
        else:
            self._refuse("RepoNotFound")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.made is not None and self._is_upload(body):
            return
        if "/paths-info/" not in self.path:
            self._refuse("RepoNotFound")
            return
        try:
            names = json.loads(body)["paths"]
        except ValueError:
            names = parse_qs(body.decode()).get("paths", [])
        self._answer([self._info(name) for name in names if name in self.files])

    def _is_upload(self, body: bytes) -> bool:
        """Answer what creates a data set and commits files, or return that it is something else."""
        assert self.made is not None
        api, here = f"/api/datasets/{self.name}", f"http://{self.headers['Host']}"
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            if self.made == {}:
                self.made.update(asked)
            self._answer({"url": f"{here}/datasets/{self.name}", "id": self.name})
        elif self.path == "/api/validate-yaml":  # of the card
            self._answer({"errors": [], "warnings": []})
        elif self.path.startswith(f"{api}/preupload/"):
            paths = [file["path"] for file in json.loads(body)["files"]]
            answer = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            self._answer({"files": answer})
        elif self.path.startswith(f"{api}/commit/"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del self.files[line["value"]["path"]]
            self.made["files"] = dict(self.files)
            self._answer({"commitUrl": f"{here}/datasets/{self.name}/commit/{_COMMIT}", "commitOid": _COMMIT})
        else:
            return False
        return True

    def _info(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        here = [self._info(name) for name in self.files if str(PurePosixPath(name).parent) == folder]
        inner = {PurePosixPath(name).parts[0] for name in self.files if "/" in name} if folder == "." else set()
        return here + [{"type": "directory", "path": name, "size": 0, "oid": "b" * 40} for name in sorted(inner)]

    def _send(self, name: str) -> None:
        if name not in self.files:
            self._refuse("EntryNotFound")
            return
        content = self.files[name]
        first, last = 0, len(content) - 1
        if asked := self.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        self.send_response(206 if asked else 200)
        etag = hashlib.sha1(content).hexdigest()
        headers = {
            "Content-Range": f"bytes {first}-{last}/{len(content)}",
            "Accept-Ranges": "bytes",
            "ETag": f'"{etag}"',
        }
        self._finish(content[first : last + 1], headers | {"X-Repo-Commit": _COMMIT})

    def _answer(self, value: object) -> None:
        self.send_response(200)
        self._finish(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self._finish(b"", {"X-Error-Code": code, "X-Repo-Commit": _COMMIT})

    def _finish(self, body: bytes, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
