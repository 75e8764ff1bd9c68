"""Every capture through `flowos replay`. Needs neither root nor NFQUEUE."""

import concurrent.futures
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

import captures
import kit
from daemon import FLOWCTL, FLOWOS

# Captures that contradict themselves, with why their packets cannot all stay as they are.
INCONSISTENT = {
    "overlap__eve-overlap-payload-01__tcp-overlap.pcap": "the second copy of an octet differs from the first",
    "overlap__eve-overlap-payload-02-policy-oldlinux__tcp-overlap.pcap": "the second copy differs from the first",
    "overlap__eve-payload-03-tcp-exact-overlap-ips__tcp-overlap.pcap": "the second copy differs from the first",
    "overlap__eve-payload-04-partial-overlap__tcp-overlap2.pcap": "the second copy differs from the first",
    "tcp__firewall__tcp-session-stream-out-of-window__input.pcap": "data beyond the window: not read, so it does not pass",
    "urg__issue-3341-tcphdr-01__urgent11_cve_2019_12260.pcap": "data after a reset begins in the place of the SYN",
}
COUNT = "flow add all any\npm attach all counter\n"
EDITS = {
    "replace": "flow add all any\npm attach all replace from=e to=EEE\npm attach all replace from=a to=\n",
    "adblock": "flow add all any\npm attach all adblock\n",
    "an editor that finds nothing": "flow add all any\npm attach all replace 'from=not in any capture' to=x\n",
}


class Replay(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="flowos-replay-")))
        self.captures = sorted(captures.DIRECTORY.glob("*.pcap"))
        self.assertGreater(len(self.captures), 80)

    def replay(self, commands, capture, number=0):
        """Replays a capture; returns the capture written, and the counters by name."""
        file, output = self.directory / f"{number}.flowos", self.directory / f"{number}.pcap"
        file.write_text(commands)
        printed = kit.run([FLOWOS, "replay", "--apply", file, capture, output], timeout=10).stdout.strip()
        counters = dict(pair.rsplit(" ", 1) for pair in printed.split(", ") if pair)
        return output, {name: int(value) for name, value in counters.items()}

    def replay_all(self, commands, check):
        """Replays all captures, and calls `check` with each, what it became and what was counted."""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(self.replay, commands, capture, number)
                    for number, capture in enumerate(self.captures)]
            for capture, job in zip(self.captures, jobs):
                with self.subTest(capture.name):
                    check(capture, *job.result())

    def check_verdicts(self, capture, _, counters):
        """Every packet has exactly one."""
        def count(name):
            return counters.get(name, 0)

        self.assertEqual(count("packets"), len(captures.packets(capture)))
        self.assertEqual(count("packets"), count("accepted") + count("mangled") + count("dropped"))

    def test_nothing_changes_where_nothing_edits(self):
        def check(capture, output, counters):
            self.check_verdicts(capture, output, counters)
            if capture.name in INCONSISTENT:
                # So that the list gets no longer than it must be.
                self.assertNotEqual(captures.frames(output), captures.frames(capture))
            else:
                self.assertTrue(captures.frames(output) == captures.frames(capture), "packets differ")

        self.replay_all(COUNT, check)

    def test_edits(self):
        for name, commands in EDITS.items():
            with self.subTest(name):
                self.replay_all(commands, self.check_verdicts)

    def test_packets_that_modules_edit_are_sound(self):
        def check(capture, output, counters):
            self.check_verdicts(capture, output, counters)
            for number, packet in enumerate(captures.packets(output)):
                self.assertTrue(captures.is_sound(packet), f"packet {number} of {output}")

        self.replay_all("flow add all any\npm attach all ipchecksum mend=true\n", check)

        def check_translated(capture, output, counters):
            self.check_verdicts(capture, output, counters)
            for number, packet in enumerate(captures.packets(output)):
                if packet[0] >> 4 == 4 and packet[12:16] == bytes((192, 0, 2, 1)):
                    self.assertTrue(captures.is_sound(packet), f"packet {number} of {output}")

        # In front of an editor, and behind it.
        nat, editor = "pm attach all nat source=192.0.2.1\n", "pm attach all replace from=e to=EEE\n"
        for modules in (nat + editor, editor + nat):
            self.replay_all("flow add all any\n" + modules, check_translated)

    def test_pcapng(self):
        capture = captures.DIRECTORY / "http-protocol-inspect-v2__http.pcap"
        link, frames = captures.frames(capture)
        blocks = [struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28),
                  struct.pack("<IIHHII", 1, 20, link, 0, 0, 20)]
        for frame in frames:
            padded = frame + bytes(-len(frame) % 4)
            size = 32 + len(padded)
            blocks.append(struct.pack("<IIIIIII", 6, size, 0, 0, 0, len(frame), len(frame)) + padded
                          + struct.pack("<I", size))
        path = self.directory / "input.pcapng"
        path.write_bytes(b"".join(blocks))
        output, _ = self.replay(COUNT, path)
        self.assertEqual(captures.frames(output), (link, frames))

    def test_what_is_no_capture(self):
        for content in (b"", b"no capture", (captures.DIRECTORY / "dns__bug-990__input.pcap").read_bytes()[:50]):
            path = self.directory / "bad.pcap"
            path.write_bytes(content)
            command = [FLOWOS, "replay", "--apply", "/dev/null", path, self.directory / "out.pcap"]
            with self.subTest(content):
                result = kit.run(command, check=False)
                self.assertEqual(result.returncode, 2, result)
                self.assertIn(str(path), result.stderr)

    def test_the_input_is_not_overwritten(self):
        content = (captures.DIRECTORY / "http-protocol-inspect-v2__http.pcap").read_bytes()
        path, link, copy = (self.directory / name for name in ("input.pcap", "link.pcap", "hard.pcap"))
        path.write_bytes(content)
        link.symlink_to(path)
        copy.hardlink_to(path)
        for output in (path, link, copy):
            with self.subTest(output.name):
                result = kit.run([FLOWOS, "replay", "--apply", "/dev/null", path, output], check=False)
                self.assertEqual(result.returncode, 2, result)
                self.assertIn("another name", result.stderr)
                self.assertEqual(path.read_bytes(), content)
        self.assertEqual(len(list(self.directory.iterdir())), 3)

    def test_a_replay_that_fails_leaves_the_output_as_it_was(self):
        content = (captures.DIRECTORY / "http-protocol-inspect-v2__http.pcap").read_bytes()
        path, output = self.directory / "input.pcap", self.directory / "output.pcap"
        path.write_bytes(content[:-5])
        command = [FLOWOS, "replay", "--apply", "/dev/null", path, output]
        self.assertEqual(kit.run(command, check=False).returncode, 2)
        self.assertEqual(list(self.directory.iterdir()), [path])
        output.write_bytes(b"before")
        self.assertEqual(kit.run(command, check=False).returncode, 2)
        self.assertEqual(output.read_bytes(), b"before")
        path.write_bytes(content)
        kit.run(command)
        self.assertEqual(captures.frames(output), captures.frames(path))
        self.assertEqual(sorted(self.directory.iterdir()), [path, output])

    def test_what_is_no_regular_file_is_written_itself(self):
        path = captures.DIRECTORY / "http-protocol-inspect-v2__http.pcap"
        kit.run([FLOWOS, "replay", "--apply", "/dev/null", path, "/dev/null"])
        self.assertTrue(pathlib.Path("/dev/null").is_char_device())
        result = kit.run([FLOWOS, "replay", "--apply", "/dev/null", path, "/dev/full"], check=False)
        self.assertEqual(result.returncode, 1, result)
        self.assertIn("No space left", result.stderr)

    def test_words_that_are_not_utf8(self):
        for command in ([FLOWCTL, "pm", "attach", "web", "replace", b"from=\xff", "to="],
                        [FLOWCTL, "-j", "flow", "show", b"\xc3"], [FLOWOS, "check", b"\xff.flowos"]):
            with self.subTest(command):
                result = subprocess.run(command, capture_output=True, text=True, timeout=10)
                self.assertEqual(result.returncode, 2, result)
                self.assertIn("xNN", result.stderr)
