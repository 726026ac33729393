"""Makes an image of one static program and serves it on 127.0.0.1:5000 under every name: the container runtimes pull it as the
sandbox's image and as a pod's. The program prints the files that it is given, and waits."""
import hashlib
import http.server
import io
import json
import platform
import subprocess
import tarfile

SOURCE = r"""
#include <fcntl.h>
#include <unistd.h>
int main(int count, char **arguments) {
    char buffer[4096];
    for (int i = 1; i < count; i++) {
        int file = open(arguments[i], O_RDONLY);
        for (ssize_t got; (got = read(file, buffer, sizeof buffer)) > 0;)
            if (write(1, buffer, got) < 0) return 1;
    }
    for (;;) pause();
}
"""
KIND = "application/vnd.oci.image."
blobs = {}


def blob(kind, content):
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": KIND + kind, "digest": digest, "size": len(content)}


subprocess.run(["cc", "-static", "-Os", "-s", "-x", "c", "-", "-o", "/srv/reader"], input=SOURCE.encode(), check=True)
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as archive:
    archive.add("/srv/reader", "reader")
layer = blob("layer.v1.tar", layer.getvalue())
config = {
    "architecture": {"aarch64": "arm64"}.get(platform.machine(), "amd64"),
    "os": "linux",
    "config": {"Entrypoint": ["/reader"]},
    "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
}
config = blob("config.v1+json", json.dumps(config).encode())
manifest = {"schemaVersion": 2, "mediaType": KIND + "manifest.v1+json", "config": config, "layers": [layer]}
manifest = blob("manifest.v1+json", json.dumps(manifest).encode())


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        content, kind, digest = b"{}", "application/json", None
        if len(parts) > 2:
            digest = parts[-1] if parts[-1] in blobs else manifest["digest"]
            content = blobs[digest]
            kind = manifest["mediaType"] if parts[-2] == "manifests" else "application/octet-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET


http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Registry).serve_forever()
