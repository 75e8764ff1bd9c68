"""Runs the system tests with the time that each took: `python3 Tests/SystemTests [NAME...]`, all without a name."""

import pathlib
import sys
import time
import unittest


class TimedResult(unittest.TextTestResult):
    """Writes one line for each test when it has ended."""

    def startTest(self, test):
        unittest.TestResult.startTest(self, test)
        self._began = time.monotonic()
        self._faults = len(self.failures) + len(self.errors)
        self.stream.write(f"{test.id()} ... ")
        self.stream.flush()

    def stopTest(self, test):
        bad = len(self.failures) + len(self.errors) > self._faults
        self.stream.writeln(f"{'FAILED' if bad else 'ok'} ({time.monotonic() - self._began:.1f} s)")
        super().stopTest(test)


def main():
    directory = pathlib.Path(__file__).resolve().parent
    sys.path.insert(0, str(directory))
    loader = unittest.TestLoader()
    names = [name if name.startswith("test_") else f"test_{name}" for name in sys.argv[1:]]
    tests = loader.loadTestsFromNames(names) if names else loader.discover(str(directory))
    result = unittest.TextTestRunner(stream=sys.stdout, resultclass=TimedResult, verbosity=0).run(tests)
    sys.exit(not result.wasSuccessful())


main()
