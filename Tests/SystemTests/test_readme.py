"""The tour of README.md, run as it stands there."""

import re
import subprocess
import unittest

import kit
from web import Nginx

PAGE = b"<html>\n" + b"".join(
    b'<p>Paragraph %d</p>\n<script src="https://ad.doubleclick.net/%d.js"></script>\n' % (number, number)
    for number in range(3)) + b"</html>\n"
BLOCK = re.compile(r"^```sh tour ?(client|daemon)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def setUpModule():
    kit.require_kernel()


class Shell:
    """A shell in a namespace that is there for the whole tour, with a /run/flowos that only it sees."""

    # Printed behind a command, with its exit code.
    _END = "that was it"

    def __init__(self, namespace, environment):
        # `ip netns exec` gives it mounts of its own.
        start = f"mkdir -p /run/flowos && mount -t tmpfs none /run/flowos && cd {kit.ROOT} && exec sh 2>&1"
        assignments = [f"{name}={value}" for name, value in environment.items()]
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace.name, "env", *assignments, "sh", "-c", start],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()

    def run(self, command):
        """Runs a command; returns its exit code and what it printed, errors too."""
        self._process.stdin.write(f"{command}\ncode=$?; echo; echo '{self._END}' $code\n")
        self._process.stdin.flush()
        said = ""
        for line in self._process.stdout:
            if line.startswith(self._END):
                return int(line.split()[-1]), said.removesuffix("\n")
            said += line
        raise AssertionError(f"the shell ended: {said}")


class Tour(unittest.TestCase):
    def test_every_command_works(self):
        net = self.enterContext(kit.Topology())
        self.enterContext(Nginx(net.server)).put("news.html", PAGE)
        router = self.enterContext(Shell(net.router, {}))
        client = self.enterContext(Shell(net.client, {"SERVER": net.server.ipv4}))
        blocks = BLOCK.findall((kit.ROOT / "README.md").read_text())
        self.assertGreater(len(blocks), 5)
        for place, block in blocks:
            if place == "daemon":
                router.run(f"{block.strip()} 2>/dev/null &")
                kit.wait_until(lambda: router.run("flowctl ping")[0] == 0, "the daemon answers")
                continue
            for command, wanted in self.commands(block):
                with self.subTest(command):
                    code, said = (client if place == "client" else router).run(command)
                    self.assertEqual(code, 0, said)
                    if wanted:
                        self.assertEqual(said, wanted)

    @staticmethod
    def commands(block):
        """The commands of a block, each with what it shall print: nothing where that is not said."""
        found = []
        for line in block.splitlines():
            if line.startswith("#> "):
                found[-1][1] += line[3:] + "\n"
            elif line:
                found.append([line, ""])
        return found
