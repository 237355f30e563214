"""Script and style, as `make assets` built them: read once, compressed once, kept by browsers for as long as they like.

The address of a file holds the hash of what is in it, so a new one has a new address.
"""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

STATIC: Final = "/dashboard/static"
FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}


class Files:
    """The files, by name and version. Browsers ask for brotli only over TLS, so there is none."""

    def __init__(self) -> None:
        self._whole = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
        self._small = {name: gzip.compress(content, 9, mtime=0) for name, content in self._whole.items()}
        versions = {name: sha256(content).hexdigest()[:16] for name, content in self._whole.items()}
        self.addresses = {name: f"{STATIC}/{version}/{name}" for name, version in versions.items()}

    async def serve(self, request: Request) -> Response:
        """The file, if it is this version of it."""
        name = request.path_params["name"]
        if self.addresses.get(name) != request.url.path:
            return Response(status_code=404)
        headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
        content = self._whole[name]
        if "gzip" in request.headers.get("accept-encoding", ""):
            content = self._small[name]
            headers["content-encoding"] = "gzip"
        return Response(content, headers=headers, media_type=TYPES[Path(name).suffix])
