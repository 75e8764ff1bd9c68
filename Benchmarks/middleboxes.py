"""What stands between the client and the server, each in a topology of its own: nothing is switched between two measurements."""

import contextlib
import json
import pathlib
import tempfile

import daemon
import kit
import link
import web

TOOLS = kit.ROOT / ".build" / "bench"
# A flowos that has the module `reader` too.
READING_FLOWOS = kit.ROOT / "Benchmarks" / ".build" / "release" / "flowos-reader"

_SERVER = """
daemon off; worker_processes 1; worker_rlimit_nofile 8192; user root; pid {{directory}}/nginx.pid;
error_log {{directory}}/error.log;
events {{{{ worker_connections 4096; }}}}
http {{{{
  types {{{{ text/html html; application/octet-stream bin; }}}}
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  client_body_temp_path {{directory}}/body; proxy_temp_path {{directory}}/proxy;
  fastcgi_temp_path {{directory}}/fastcgi; uwsgi_temp_path {{directory}}/uwsgi; scgi_temp_path {{directory}}/scgi;
  {server}
}}}}
"""
_FILES = "server {{{{ listen 80; root {pages}; }}}}"
_PROXY = """
  upstream origin {{{{ server {origin}; keepalive 64; }}}}
  server {{{{
    listen 80;
    location / {{{{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Accept-Encoding "";
      {options}
    }}}}
  }}}}
"""
# nginx has no patterns: it looks for words, and cannot remove the elements around them. One word is its best case; eight are
# those that `adblock` looks for.
_WORDS = ("doubleclick", "googlesyndication", "googletagservices", "googleadservices", "adservice.google", "google_ad",
          "adsbygoogle", "pagead")


def _sub_filter(words):
    return "sub_filter_once off; " + " ".join(f"sub_filter '{word}' '';" for word in words)


_LARGE_BUFFERS = "proxy_buffers 16 256k; proxy_buffer_size 64k; proxy_busy_buffers_size 2m;"


class Middlebox:
    """A client, a server that has `pages`, and a router that forwards and does nothing else."""

    def __init__(self, name, pages, *, emulated=False, offloads=True):
        self.name = name
        self._pages, self._is_emulated, self._has_offloads = pages, emulated, offloads

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.net = stack.enter_context(kit.Topology(emulated=self._is_emulated))
            if not self._has_offloads:
                for namespace, interface in ((self.net.client, "eth0"), (self.net.server, "eth0"),
                                             (self.net.router, "client0"), (self.net.router, "server0")):
                    namespace.inside(lambda: link.switch_offloads_off(interface))
            stack.enter_context(web.Nginx(self.net.server, _configuration(_FILES.format(pages=self._pages))))
            self.address = self.net.server.ipv4
            self.set_up(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def set_up(self, stack):
        """Puts what it is onto the router; what has to be undone goes onto the `stack`."""

    def http(self, *words, timeout=120):
        """Runs the tool `http` on the client, and returns what it says."""
        command, *rest = words
        return json.loads(self.net.client.run(
            TOOLS / "http", command, self.address, 80, *rest, timeout=timeout).stdout)

    def download(self, name):
        """What curl gets as `name`."""
        [download] = web.download(self.net.client, self.address, name)
        return download.content


def _configuration(server):
    return _SERVER.format(server=server)


class Reader(Middlebox):
    """The tightest loop over NFQUEUE: mode `accept`, `headers` or `mangle`, see Benchmarks/Tools/queue.c.

    segmented: the kernel cuts long packets before it queues them. chain: behind the target FLOWOS, with the rules and the
    connection tracking that FlowOS has, where else there is one rule.
    """

    def __init__(self, name, pages, mode, *, segmented=False, chain=False, match=("-p", "tcp"), **options):
        super().__init__(name, pages, **options)
        self._mode, self._is_segmented, self._has_chain, self._match = mode, segmented, chain, match

    def set_up(self, stack):
        if self._has_chain:
            self.net.chain("up")
            self.net.steer(*self._match)
        else:
            self.net.router.run(
                "iptables", "-w", "-t", "mangle", "-A", "FORWARD", *self._match, "-j", "NFQUEUE", "--queue-num", "0")
        process = self.net.router.start(TOOLS / "queue", self._mode, 0, *["segmented"] * self._is_segmented)
        kit.wait_until(lambda: "ready" in process.stdout or not process.is_running, "the reference reads")
        if not process.is_running:
            raise AssertionError(f"the reference ended at once:\n{process.stderr}")


class Sender(Middlebox):
    """The same loop for one road out of three: mode `mangle`, `packet` or `tun`, see Benchmarks/Tools/queue.c.

    size: octets of the longest packets that the server sends.
    """

    def __init__(self, name, pages, mode, size):
        super().__init__(name, pages, offloads=size > 1500)
        self._mode, self._size = mode, size

    def set_up(self, stack):
        router = self.net.router
        if self._size > 1500:
            kit.run(["ip", "-n", self.net.server.name, "link", "set", "eth0", "gso_max_size", self._size])
        # What has been sent anew comes in by one of these.
        for interface in ("lo", "flowos0"):
            router.run("iptables", "-w", "-t", "mangle", "-A", "FORWARD", "-i", interface, "-j", "ACCEPT")
        router.run("iptables", "-w", "-t", "mangle", "-A", "FORWARD", "-p", "tcp", "-j", "NFQUEUE", "--queue-num", "0")
        process = router.start(TOOLS / "queue", self._mode, 0)
        kit.wait_until(lambda: "ready" in process.stdout or not process.is_running, "the reference reads")
        if not process.is_running:
            raise AssertionError(f"the reference ended at once:\n{process.stderr}")


class FlowOS(Middlebox):
    """`flowos run` with one flow.

    modules: the words of a `pm attach` behind the flow's name, for each of them. match: of the flow; steer: of the rules.
    program: the daemon.
    """

    def __init__(self, name, pages, *modules, match="tcp,tcp_src=80", steer=("-p", "tcp"), queues="0", program=daemon.FLOWOS,
                 **options):
        super().__init__(name, pages, **options)
        self._modules, self._match, self._steer, self._queues, self._program = modules, match, steer, queues, program

    def set_up(self, stack):
        self.net.chain("up", "--queues", self._queues)
        self.net.steer(*self._steer)
        self.daemon = stack.enter_context(daemon.Daemon(self.net, queues=self._queues, program=self._program))
        self.daemon.ctl("flow", "add", "bench", self._match)
        for words in self._modules:
            self.daemon.ctl("pm", "attach", "bench", *words)


class Proxy(Middlebox):
    """nginx on the router, which ends both connections. options: more of its configuration."""

    plain = ""
    one_word = _sub_filter(_WORDS[:1])
    one_word_large = one_word + _LARGE_BUFFERS
    eight_words_large = _sub_filter(_WORDS) + _LARGE_BUFFERS

    def __init__(self, name, pages, options, **more):
        super().__init__(name, pages, **more)
        self._options = options

    def set_up(self, stack):
        proxy = _PROXY.format(origin=self.net.server.ipv4, options=self._options)
        stack.enter_context(web.Nginx(self.net.router, _configuration(proxy)))
        self.address = self.net.router.ipv4


class Mitmproxy(Middlebox):
    """mitmproxy on the router as a reverse proxy, with the same edit as `adblock` in Python."""

    def __init__(self, name, pages, program):
        super().__init__(name, pages)
        self._program = program

    def set_up(self, stack):
        script = pathlib.Path(__file__).with_name("mitmproxy_adblock.py")
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="flowos-mitmproxy-"))
        process = self.net.router.start(
            self._program, "-q", "--mode", f"reverse:http://{self.net.server.ipv4}:80", "--listen-port", 80,
            "--set", f"confdir={directory}", "-s", script)
        kit.wait_until(lambda: self._answers() or not process.is_running, "mitmproxy answers", timeout=30, interval=0.5)
        if not process.is_running:
            raise AssertionError(f"mitmproxy ended at once:\n{process.stdout}{process.stderr}")
        self.address = self.net.router.ipv4

    def _answers(self):
        with contextlib.suppress(OSError):
            self.net.client.connect(self.net.router.ipv4, 80, timeout=1).close()
            return True
        return False


def module_kinds():
    """The kinds of modules that this FlowOS has."""
    with kit.Topology() as net, daemon.Daemon(net, queues="0") as flowos:
        return {kind["kind"] for kind in flowos.ask("pm", "types")["kinds"]}
