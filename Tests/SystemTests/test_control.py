"""What is asked of the daemon about one connection, and what is done to it, while both ends live."""

import os
import pathlib
import signal
import unittest

import kit
from daemon import FLOWCTL, FLOWOS, Daemon, DaemonTest
from transfer import MIB, End, cats, open_pair


def setUpModule():
    kit.require_kernel()


class Control(DaemonTest):
    def connection(self):
        """The only one in the table."""
        connections = self.flowos.ask("conn", "list")["connections"]
        self.assertEqual(len(connections), 1)
        return connections[0]

    def test_what_a_module_holds_is_shown(self):
        self.attach("tcp,tcp_dst=5000", "counter")
        self.attach("tcp,tcp_dst=5000", "gather", "size=65536")
        client, server = open_pair(self.net)
        with client, server:
            client.sendall(b"x" * 1000)
            number = self.connection()["id"]
            kit.wait_until(lambda: self.connection()["to_server"]["octets_held"] == 1000, "the octets are held")
            modules = [(m["name"], m["stage"], m["direction"], m["state"], m["head"], m["tail"], m["octets_held"])
                       for m in self.flowos.ask("conn", "show", number)["modules"]]
            self.assertEqual(modules, [("counter", 1, "to-server", "working", 1000, 1000, 0),
                                       ("gather", 2, "to-server", "working", 0, 1000, 1000)])
            held = {m["name"]: m["octets_held"] for m in self.flowos.ask("pm", "list")["modules"]}
            self.assertEqual(held, {"counter": 0, "gather": 1000})
            client.sendall(b"y" * 64536)
            self.assertEqual(kit.receive_exactly(server, 65536), b"x" * 1000 + b"y" * 64536)

    def test_a_killed_connection_is_reset_at_both_ends(self):
        self.attach("tcp,tcp_dst=5000", "replace", "from=cat", "to=caterpillar")
        client, server = open_pair(self.net)
        with client, server:
            client.sendall(b"a cat")
            self.assertEqual(kit.receive_exactly(server, 13), b"a caterpillar")
            number = self.connection()["id"]
            self.flowos.ctl("conn", "kill", number)
            for end in client, server:
                with self.assertRaises(ConnectionResetError):
                    end.recv(1)
            self.assertEqual(self.flowos.ask("conn", "show", number)["connection"]["state"], "cut")
        self.assertEqual(self.flowos.ctl("conn", "kill", number + 100, check=False).returncode, 3)

    def test_what_is_only_read_is_reset_too(self):
        content = cats(MIB, seed=1)
        for ipv6 in (False, True):
            for is_busy in (False, True):
                with self.subTest(ipv6=ipv6, is_busy=is_busy):
                    client, server = open_pair(self.net, ipv6=ipv6)
                    with client, server:
                        # It was open before the flow was there.
                        self.attach("ip_proto=6,tcp_dst=5000", "counter")
                        if is_busy:
                            receiver = End(server, (content for _ in range(10_000)))
                            sender = End(client, (content for _ in range(10_000)))
                            kit.wait_until(lambda: min(sender.count, receiver.count) > 8 * MIB, "both send")
                        else:
                            client.sendall(b"hello")
                            self.assertEqual(server.recv(100), b"hello")
                        connection, = (one for one in self.flowos.connections() if one["state"] == "midstream")
                        self.flowos.ctl("conn", "kill", connection["id"])
                        for end in (sender, receiver) if is_busy else (client, server):
                            if is_busy:
                                self.assertRaisesRegex(AssertionError, "cut off", end.finish, 5)
                            else:
                                self.assertRaises(ConnectionResetError, end.recv, 1)
                    self.flowos.ctl("flow", "del", "web")

    def test_monitoring_ends_with_the_user_and_with_the_daemon(self):
        run = self.monitor()
        run.signal(signal.SIGINT)
        self.assertEqual(run.wait(), 0, run.stderr)
        run = self.monitor()
        self.flowos.ctl("shutdown")
        self.assertEqual(run.wait(), 5, run.stderr)
        # It lets go of its queues last.
        self.flowos.process.wait()
        self.flowos.start()

    def monitor(self):
        """`flowctl monitor`, once it speaks to the daemon."""
        run = kit.Background([FLOWCTL, "monitor"], env={"FLOWOS_SOCKET": str(self.flowos.socket)})
        self.addCleanup(run.close)
        # The only socket that it opens.
        kit.wait_until(
            lambda: not run.is_running or "socket:" in kit.run(["ls", "-l", f"/proc/{run.pid}/fd"]).stdout, "it asks")
        return run


class Processors(unittest.TestCase):
    def bound(self, daemon):
        """The lists of processors that the threads of a daemon keep to."""
        tasks = pathlib.Path(f"/proc/{daemon.process.pid}/task")
        return sorted(line.split()[1] for task in tasks.iterdir() for line in (task / "status").read_text().splitlines()
                      if line.startswith("Cpus_allowed_list"))

    def test_each_worker_keeps_to_a_processor(self):
        cpus = sorted(os.sched_getaffinity(0))
        with kit.Topology() as net, Daemon(net, "--cpus", f"{cpus[0]},{cpus[-1]}", queues="0:3") as flowos:
            bound = self.bound(flowos)
            for cpu in {cpus[0], cpus[-1]}:
                self.assertGreaterEqual(bound.count(str(cpu)), 4 if len(cpus) == 1 else 2)
            flowos.ctl("flow", "add", "all", "tcp,tcp_dst=5000")
            net.chain("up", "--queues", "0:3")
            net.steer("-p", "tcp")
            flowos.ctl("pm", "attach", "all", "counter", "--run", "thread")
            before = len(bound)
            client, server = open_pair(net)
            with client, server:
                client.sendall(b"x")
                self.assertEqual(kit.receive_exactly(server, 1), b"x")
                threads = self.bound(flowos)
                # A module on a thread runs wherever the daemon may.
                self.assertEqual(len(threads), before + 1)
                if len(cpus) > 1:
                    self.assertLess(sum(threads.count(str(cpu)) for cpu in cpus), len(threads))
                    self.assertEqual(sum(threads.count(str(cpu)) for cpu in cpus), 4)

    def test_a_processor_that_is_not_there_is_refused(self):
        run = kit.run([FLOWOS, "run", "--cpus", "0-9999"], check=False)
        self.assertEqual(run.returncode, 2)
        run = kit.run([FLOWOS, "run", "--cpus", "1000"], check=False)
        self.assertEqual(run.returncode, 2)
        self.assertIn("--cpus names 1000; flowos may run on", run.stderr)
