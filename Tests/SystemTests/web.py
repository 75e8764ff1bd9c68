"""A real nginx in a namespace, and a real curl."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile

import kit

_CONFIGURATION = """
daemon off; worker_processes 1; user root; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
  types {{ text/html html; application/octet-stream bin; }}
  log_format ends '$remote_addr $remote_port $connection $connection_requests $status';
  access_log {directory}/access.log ends;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  sendfile on; tcp_nopush on; keepalive_requests 1000;
  gzip on; gzip_min_length 1; gzip_http_version 1.0;
  server {{
    listen 80; listen [::]:80; root {directory}/www;
    # Server-side includes have no length beforehand: chunked, and delimited by the end of the connection in HTTP/1.0.
    location /unsized/ {{ ssi on; alias {directory}/www/; }}
  }}
}}
"""


class Nginx:
    """nginx on port 80 of a namespace, both families. `put` gives it pages; `/unsized/NAME` sends them without length.

    configuration: another one than that, in which `{directory}` stands for a directory of its own.
    """

    def __init__(self, namespace, configuration=_CONFIGURATION):
        self._namespace = namespace
        self._configuration = configuration

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        self.directory = pathlib.Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="flowos-nginx-")))
        self.directory.chmod(0o755)
        (self.directory / "www").mkdir()
        configuration = self.directory / "nginx.conf"
        configuration.write_text(self._configuration.format(directory=self.directory))
        self._process = self._namespace.start(
            "nginx", "-e", self.directory / "error.log", "-c", configuration, "-p", self.directory)
        kit.wait_until(lambda: (self.directory / "nginx.pid").exists() or not self._process.is_running, "nginx is up")
        if not self._process.is_running:
            raise AssertionError(f"nginx ended at once:\n{self._process.stderr}")
        return self

    def __exit__(self, *_):
        self._process.stop()
        self._stack.close()

    def put(self, name, content):
        """Serves `content` as `/name`."""
        path = self.directory / "www" / name
        temporary = path.with_suffix(".new")
        temporary.write_bytes(content)
        os.replace(temporary, path)

    def requests(self):
        """Of each request: client address, client port, connection, number in the connection, status."""
        return [line.split() for line in (self.directory / "access.log").read_text().splitlines()]


@dataclasses.dataclass
class Download:
    """What one transfer of curl brought."""

    content: bytes
    # Connections made for it: 0 where one was used again.
    connects: int
    # The client's own end.
    address: str
    port: str


def download(namespace, server, *names, options=(), timeout=60):
    """Downloads `names` from the address `server` with one curl, over one connection where it can."""
    host = f"[{server}]" if ":" in server else server
    command = ["curl", "-sS", "--fail", "-w", "%{num_connects} %{local_ip} %{local_port}\\n", *options]
    with tempfile.TemporaryDirectory(prefix="flowos-curl-") as directory:
        paths = [pathlib.Path(directory) / str(number) for number in range(len(names))]
        for name, path in zip(names, paths):
            command += ["-o", path, f"http://{host}/{name}"]
        lines = namespace.run(*command, timeout=timeout).stdout.splitlines()
        return [
            Download(path.read_bytes(), int(connects), address, port)
            for path, (connects, address, port) in zip(paths, (line.split() for line in lines), strict=True)]
