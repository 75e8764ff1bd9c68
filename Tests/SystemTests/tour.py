"""The commands that a page of the documentation shows, run as they stand there.

A block of commands begins with "```sh tour", and says where they are run: nothing for the router, `client` for the client, `daemon`
for what goes on in the background on the router. What follows `#>` is what the command above must print.
"""

import re
import subprocess

import kit

BLOCK = re.compile(r"^```sh tour ?(client|daemon)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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


def walk(test, net, page):
    """Runs all commands of `page` in `net`, each as a part of `test` of its own. The client finds the server in SERVER."""
    router = test.enterContext(Shell(net.router, {}))
    client = test.enterContext(Shell(net.client, {"SERVER": net.server.ipv4}))
    blocks = BLOCK.findall((kit.ROOT / page).read_text())
    test.assertGreater(len(blocks), 5)
    for place, block in blocks:
        if place == "daemon":
            router.run(f"{block.strip()} 2>/dev/null &")
            kit.wait_until(lambda: router.run("flowctl ping")[0] == 0, "the daemon answers")
            continue
        for command, wanted in _commands(block):
            with test.subTest(command):
                code, said = (client if place == "client" else router).run(command)
                test.assertEqual(code, 0, said)
                if wanted:
                    test.assertEqual(said, wanted)


def _commands(block):
    """The commands of a block, each with what it shall print: nothing where that is not said."""
    found = []
    for line in block.splitlines():
        if line.startswith("#> "):
            found[-1][1] += line[3:] + "\n"
        elif line:
            found.append([line, ""])
    return found
