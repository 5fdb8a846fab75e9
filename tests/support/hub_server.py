"""A stand-in for the Hugging Face hub on this machine, for its real client.

It serves folders as repositories at named commits: small files itself, large ones (by their ending) by
a redirect to another host, as the hub does with git-lfs. It keeps a list of what was asked.
"""

import hashlib
import json
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

LARGE = (".tar.gz", ".safetensors", ".pth")


@dataclass
class Hub:
    """Repositories, and how the server behaves; change it at any time.

    ``repositories``: ("model" or "dataset", "owner/name") to commit to folder.
    """

    repositories: dict[tuple[str, str], dict[str, Path]]
    asked: list[tuple[str, str]] = field(default_factory=list)  # (method, path)
    gated: bool = False
    down: bool = False  # answers 503
    plain: bool = False  # answers as a web server that knows nothing of hubs
    cut_after: int | None = None  # bytes of a large file until the connection breaks
    endpoint: str = ""

    def files_asked(self) -> list[str]:
        """Names within repositories of which content was asked for, sorted."""
        paths = {path for method, path in self.asked if method == "GET" and "/resolve/" in path}
        return sorted(path.split("/resolve/", 1)[1].split("/", 1)[1] for path in paths)

    def environment(self, home: Path, offline: bool = False) -> dict[str, str]:
        """For a process whose client asks this server and keeps its cache in ``home``."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("HF_") and not name.lower().endswith("_proxy")
        }
        return kept | {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "1" if offline else "0",
        }


@contextmanager
def running(hub: Hub):
    """Serve ``hub`` until the block ends."""

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Quiet."""

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        path = urlsplit(self.path).path
        self.served.asked.append((self.command, path))
        if self.served.down:
            return self._send(503)
        if self.served.plain:
            return self._send(200, b"Welcome")
        parts = path.strip("/").split("/")
        large, api = parts[0] == "large", parts[0] == "api"
        parts = parts[1:] if large else parts
        if api:
            kind, parts = parts[1].rstrip("s"), parts[2:]
        else:
            kind = "dataset" if parts[0] == "datasets" else "model"
            parts = parts[1:] if kind == "dataset" else parts
        repository, action, revision, name = "/".join(parts[:2]), *parts[2:4], "/".join(parts[4:])
        commits = self.served.repositories.get((kind, repository))
        if commits is None:  # of what is not public, the hub does not say whether it is there
            return self._send(401, code="RepoNotFound", message="Invalid username or password.")
        if self.served.gated:
            return self._send(403, code="GatedRepo", message="Access is restricted.")
        folder = commits.get(revision)
        if folder is None:
            return self._send(404, code="RevisionNotFound", message="Invalid rev id")
        if api:
            return self._send_list(folder, revision, action)
        if large:
            return self._send_large(folder / name)
        return self._send_file(folder / name, revision)

    def _send_list(self, folder: Path, revision: str, action: str):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in files]
        if action == "tree":
            content = [
                {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path)}
                for name, path in zip(names, files, strict=True)
            ]
        else:
            content = {
                "id": "a/b",
                "sha": revision,
                "siblings": [{"rfilename": name} for name in names],
            }
        return self._send(200, json.dumps(content).encode())

    def _send_file(self, path: Path, revision: str):
        headers = {"X-Repo-Commit": revision}
        if not path.is_file():
            return self._send(404, headers=headers, code="EntryNotFound", message="Entry not found")
        headers["ETag"] = f'"{_etag(path)}"'
        if path.name.endswith(LARGE):
            port = self.server.server_port
            headers |= {
                "Location": f"http://localhost:{port}/large{urlsplit(self.path).path}",
                "X-Linked-Etag": f'"{_etag(path)}"',
                "X-Linked-Size": str(path.stat().st_size),
            }
            return self._send(302, headers=headers)
        return self._send(200, path.read_bytes(), headers)

    def _send_large(self, path: Path):
        content, begin = path.read_bytes(), 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            begin = int(asked.removeprefix("bytes=").split("-")[0])
        if self.served.cut_after is not None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            self.wfile.write(content[: self.served.cut_after])
            self.close_connection = True
            return
        headers = {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
        self._send(206 if begin else 200, content[begin:], headers if begin else {})

    def _send(self, status, content=b"", headers=None, code=None, message=None):
        self.send_response(status)
        headers = {"Content-Length": str(len(content)), "Accept-Ranges": "bytes"} | (headers or {})
        if code:
            headers["X-Error-Code"] = code
        if message:
            headers["X-Error-Message"] = message
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _etag(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
