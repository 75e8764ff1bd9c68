"""Connections that transfer all at once while their pipelines are changed again and again.

The content explains itself whatever the pipelines were: numbered records, in which each editor has a letter of its own to
replace. What arrives must be these records, each once and in order, with every letter as it was sent or as its editor makes it.
"""

import json
import multiprocessing
import random
import re
import selectors
import shlex
import signal
import socket
import time

import kit
from daemon import Daemon

PORT = 5000
# By the letter: what it may become. Longer, nothing, as long, binary; and the other thing that `pm set` makes of it.
EDITS = {"a": ("AAAA", "A"), "b": ("", "BB"), "c": ("C", "CCC"), "d": (r"D\x00\xff", "")}
RECORD = re.compile(rb"(\d{6}):(?:a|AAAA|A)(?:b|BB|)(?:c|C|CCC)(?:d|D\x00\xff|)\.{9}\n", re.S)
BATCH = 12
# Seconds in which each stream sends once at the most: all together as much as leaves the processors time for changes.
TURN = 0.025


class Stream:
    """One end of a connection: what it has sent and what of the other's records has arrived."""

    def __init__(self, connection):
        connection.setblocking(False)
        self.connection = connection
        self.sent = self.received = 0
        self.edited = 0
        self.is_ended = self.is_closed = False
        self._out = self._in = b""

    def send(self):
        """Sends a few records more, as far as there is room."""
        if not self._out:
            numbers = range(self.sent, self.sent + BATCH)
            self._out = b"".join(b"%06d:abcd%s\n" % (number, b"." * 9) for number in numbers)
            self.sent += BATCH
        self._push()

    def _push(self):
        try:
            self._out = self._out[self.connection.send(self._out):]
        except BlockingIOError:
            pass

    def end(self):
        """Sends what is left, and then ends; to be called until it is ended."""
        if self._out:
            self._push()
        if not self._out and not self.is_ended:
            self.connection.shutdown(socket.SHUT_WR)
            self.is_ended = True

    def receive(self):
        """Takes what has arrived and sees that it is what it should be."""
        part = self.connection.recv(1 << 16)
        if not part:
            assert not self._in, f"the stream ends with {self._in!r}"
            self.is_closed = True
            return
        content = self._in + part
        whole = content.rfind(b"\n") + 1
        at = 0
        for match in RECORD.finditer(content, 0, whole):
            assert match.start() == at, f"octets that belong nowhere: {content[at:match.start() + 80]!r}"
            assert int(match[1]) == self.received, f"record {int(match[1])} comes where {self.received} is expected"
            self.received += 1
            self.edited += b":abcd." not in match[0]
            at = match.end()
        assert at == whole, f"octets that belong nowhere: {content[at:at + 80]!r}"
        self._in = content[whole:]


class Crowd:
    """Many connections, worked at by one thread until they have all ended."""

    def __init__(self, net, count, *, ipv6_every=4):
        self.pairs = []
        with net.server.listen(PORT) as four, net.server.listen(PORT, ipv6=True) as six:
            for number in range(count):
                ipv6 = number % ipv6_every == 0
                client = net.client.connect(net.server.ipv6 if ipv6 else net.server.ipv4, PORT, timeout=30)
                server, _ = (six if ipv6 else four).accept()
                self.pairs.append((Stream(client), Stream(server)))
        self.streams = [stream for pair in self.pairs for stream in pair]

    def transfer(self, is_over):
        """Has all send until `is_over` says so, then end, and waits for the end of all."""
        selector = selectors.DefaultSelector()
        for stream in self.streams:
            selector.register(stream.connection, selectors.EVENT_READ, stream)
        deadline = None
        while not all(stream.is_closed for stream in self.streams):
            next_turn = time.monotonic() + TURN
            over = is_over()
            if over and deadline is None:
                deadline = time.monotonic() + 60
            assert deadline is None or time.monotonic() < deadline, (
                f"{sum(not stream.is_closed for stream in self.streams)} streams do not end")
            for stream in self.streams:
                if not over:
                    stream.send()
                elif not stream.is_ended:
                    stream.end()
            while True:
                for key, _ in selector.select(max(0, next_turn - time.monotonic())):
                    key.data.receive()
                    if key.data.is_closed:
                        selector.unregister(key.fileobj)
                if time.monotonic() >= next_turn:
                    break
        selector.close()
        for client, server in self.pairs:
            for one, other in ((client, server), (server, client)):
                assert one.received == other.sent, f"{one.received} records have arrived of {other.sent}"

    def close(self):
        for stream in self.streams:
            stream.connection.close()


class Changes:
    """Files of changes by chance; keeps in mind what is attached."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        self._flows = {"up": {}, "down": {}}
        self._count = 0
        self.applied = self.files = 0

    @staticmethod
    def match(flow):
        return f"ip_proto=6,{'tcp_dst' if flow == 'up' else 'tcp_src'}={PORT}"

    def file(self):
        """A few changes that the daemon takes together."""
        return "\n".join(self._change() for _ in range(self._random.randint(1, 4))) + "\n"

    def _change(self):
        choose = self._random.choice
        flow = choose(("up", "down"))
        modules = self._flows[flow]
        verbs = ["attach", "detach", "set", "move", "move", "replace"] if modules else ["attach", "replace"]
        verb = choose(verbs if len(modules) < 6 else verbs[1:])
        if verb in ("set", "move", "detach"):
            name = choose(sorted(modules))
        self.applied += 1
        if verb == "attach":
            self._count += 1
            name = f"m{self._count}"
            kind = choose(("replace", "replace", "replace", "counter", "gather", "ipchecksum"))
            # A reader may join a stage, where there is one.
            joins = kind == "counter" and modules and choose((True, False))
            place = "--stage 1" if joins else "--stage 1 --insert"
            run = choose(("inline", "thread"))
            modules[name] = letter = choose(sorted(EDITS)) if kind == "replace" else None
            words = f"from={letter} 'to={choose(EDITS[letter])}'" if letter else "size=500" if kind == "gather" else ""
            return f"pm attach {flow} {kind} {words} --name {name} --run {run} {place}"
        if verb == "set":
            letter = modules[name]
            return f"pm set {flow} {name} 'to={choose(EDITS[letter])}'" if letter else self._the_same(flow)
        if verb == "move":
            return f"pm move {flow} {name} --stage 1 --insert"
        if verb == "detach":
            del modules[name]
            return f"pm detach {flow} {name}"
        if choose(range(8)):
            return self._the_same(flow)
        modules.clear()
        return f"flow del {flow}\nflow add {flow} {self.match(flow)}"

    def _the_same(self, flow):
        """A change of the flow that leaves it as it is."""
        return f"flow replace {flow} {self.match(flow)}"


def parsed(line):
    """The request that a line of a command file makes, as the protocol has it."""
    noun, verb, *words = shlex.split(line)
    options, arguments, names = {}, {}, []
    words = iter(words)
    for word in words:
        if word == "--insert":
            options["insert"] = True
        elif word.startswith("--"):
            value = next(words)
            options[word[2:]] = int(value) if word == "--stage" else value
        elif noun == "pm" and "=" in word:
            key, value = word.split("=", 1)
            arguments[key] = value
        else:
            names.append(word)
    keys = {"pm": ("flow", "kind" if verb == "attach" else "name"), "flow": ("name", "match")}[noun]
    params = {**dict(zip(keys, names)), **options, **({"arguments": arguments} if arguments else {})}
    return {"method": f"{noun}.{verb}", "params": params}


class Client:
    """A connection to the daemon's socket that stays: a process for each change would take longer than a change."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rwb")

    def apply(self, text):
        steps = [{"line": number, **parsed(line)} for number, line in enumerate(text.splitlines(), start=1)]
        request = {"jsonrpc": "2.0", "id": 1, "method": "transaction", "params": {"changes": steps}}
        self._lines.write(json.dumps(request).encode() + b"\n")
        self._lines.flush()
        answer = json.loads(self._lines.readline())
        assert "result" in answer, f"{answer} for {text}"

    def close(self):
        self._lines.close()
        self._socket.close()


class Reconfiguration:
    """A topology and a daemon, whose configuration changes every 10 ms under the transfers of a crowd."""

    def __init__(self, seed, *, connections=200):
        self.seed, self.connections = seed, connections

    def __enter__(self):
        self.net = kit.Topology().__enter__()
        try:
            self.net.chain("up", "--queues", "0:1")
            self.net.steer("-p", "tcp")
            self.flowos = Daemon(self.net, "--close-timeout", "5").__enter__()
        except BaseException:
            self.net.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.flowos.__exit__()
        self.net.__exit__()

    def run(self, seconds):
        """Transfers and changes for so long; returns what was done. Raises an AssertionError that says what went wrong."""
        try:
            return self._run(seconds)
        except (AssertionError, OSError, EOFError) as error:
            raise AssertionError(f"seed {self.seed}: {error}\n{self.flowos.process.stderr[-4000:]}") from error

    def _start(self, changes, seconds):
        """Begins to change, in a process of its own: here a thread would wait for its turn longer than a change takes.

        Returns what will say what went wrong and what was done, and the process.
        """
        done, end = multiprocessing.Pipe(duplex=False)

        def change():
            # Ctrl-C is for who started it, and what has to be removed is not its own.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            trouble = None
            try:
                client = Client(self.flowos.socket)
                began = time.monotonic()
                while time.monotonic() < began + seconds:
                    client.apply(changes.file())
                    changes.files += 1
                    time.sleep(max(0, began + changes.files * 0.01 - time.monotonic()))
                client.close()
            except (AssertionError, OSError) as error:
                trouble = str(error) or type(error).__name__
            end.send((trouble, changes.files, changes.applied))

        process = multiprocessing.get_context("fork").Process(target=change, daemon=True)
        process.start()
        end.close()
        return done, process

    def _run(self, seconds):
        changes = Changes(self.seed)
        for flow in ("up", "down"):
            self.flowos.ctl("flow", "add", flow, changes.match(flow))
        resting = self.flowos.threads
        crowd = Crowd(self.net, self.connections)
        done, changing = self._start(changes, seconds)
        busiest = 0

        def is_over():
            nonlocal busiest
            busiest = max(busiest, self.flowos.threads)
            return done.poll()

        try:
            crowd.transfer(is_over)
            trouble, changes.files, changes.applied = done.recv()
        finally:
            changing.kill()
            changing.join(10)
            crowd.close()
        if trouble:
            raise AssertionError(trouble)
        counters = self.flowos.counters()
        for name in ("aborted", "cut", "module_failures"):
            assert counters[name] == 0, f"{name}: {counters[name]}"
        kit.wait_until(lambda: self.flowos.ask("stats")["engine"]["connections"] == 0, "the table is empty", timeout=75,
                       interval=0.2)
        # A module for packets has its thread for as long as its flow.
        for flow in ("up", "down"):
            self.flowos.ctl("flow", "del", flow)
        kit.wait_until(lambda: self.flowos.threads <= resting, f"the daemon's threads are {resting} again")
        return {"files": changes.files, "changes": changes.applied, "records": sum(stream.received for stream in crowd.streams),
                "edited": sum(stream.edited for stream in crowd.streams), "threads": busiest - resting}
