"""What is asked of the daemon about one connection, and what is done to it, while both ends live."""

import signal

import kit
from daemon import FLOWCTL, DaemonTest
from transfer import open_pair


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

    def test_monitoring_ends_with_the_user_and_with_the_daemon(self):
        run = self.monitor()
        run.signal(signal.SIGINT)
        self.assertEqual(run.wait(), 0, run.stderr)
        run = self.monitor()
        self.flowos.ctl("shutdown")
        self.assertEqual(run.wait(), 5, run.stderr)
        self.flowos.start()

    def monitor(self):
        """`flowctl monitor`, once it speaks to the daemon."""
        run = kit.Background([FLOWCTL, "monitor"], env={"FLOWOS_SOCKET": str(self.flowos.socket)})
        self.addCleanup(run.close)
        # The only socket that it opens.
        kit.wait_until(
            lambda: not run.is_running or "socket:" in kit.run(["ls", "-l", f"/proc/{run.pid}/fd"]).stdout, "it asks")
        return run
