"""Programs of others that a test runs: started, waited for with a deadline, never left behind."""
import fcntl
import os
import re
import subprocess
from pathlib import Path

from support.deadline import seconds, wait_until
from support.router import ROOT, die_with_parent

EXAMPLES = Path("/usr/share/proton/examples")
# Debian's development package names only the whole library; of its parts it ships the run-time names.
PROTON_LIBRARIES = {
    ".cpp": ["-lqpid-proton-cpp", "-l:libqpid-proton-core.so.10", "-l:libqpid-proton-proactor.so.1", "-lpthread"],
    ".c": ["-l:libqpid-proton-core.so.10", "-l:libqpid-proton-proactor.so.1", "-lpthread"],
}
COMPILERS = {".cpp": "g++", ".c": "gcc"}


def proton_example(name):
    """Path of one of proton's own examples, for instance cpp/simple_send; compiled when it is asked for first, once for
    all builds of ours: it has nothing of them."""
    for ending in COMPILERS:
        source = (EXAMPLES / name).with_suffix(ending)
        if source.exists():
            break
    else:
        raise AssertionError("no example %s: scripts/deps test installs libqpid-proton11-dev-examples" % name)
    folder = ROOT / "build" / "proton-examples"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / name.replace("/", "-")
    with open(folder / (binary.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in parallel
        if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
            subprocess.run([COMPILERS[ending], "-O0", "-o", str(binary), str(source)] + PROTON_LIBRARIES[ending],
                           check=True, timeout=120)
    return binary


class Program:
    """A running program, its output in a file."""

    def __init__(self, command, directory, name, environment=None):
        self.name, self.output_path = name, Path(directory) / (name + ".output")
        with open(self.output_path, "wb") as output:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, env=dict(os.environ, **(environment or {})),
                                            preexec_fn=die_with_parent)

    def output(self):
        return self.output_path.read_text(errors="replace")

    def lines(self):
        return self.output().splitlines()

    def wait_output(self, pattern, limit=15.0):
        """Wait until its output has a line that matches; return the match."""
        def seen():
            found = re.search(pattern, self.output(), re.M)
            assert found or self.process.poll() is None, "%s ended without '%s':\n%s" % (self.name, pattern, self.output())
            return found
        return wait_until(seen, limit, lambda: "'%s' from %s:\n%s" % (pattern, self.name, self.output()))

    def wait(self, limit=30.0):
        """Wait for its end, which must be a good one; return its lines."""
        try:
            status = self.process.wait(seconds(limit))
        except subprocess.TimeoutExpired:
            raise AssertionError("%s did not end:\n%s" % (self.name, self.output())) from None
        assert status == 0, "%s ended with status %s:\n%s" % (self.name, status, self.output())
        return self.lines()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
