"""A real qdrouterd under test: its configuration, its process, its log.

    config = Config()                        # router + one listener on a free port + a log
    config.add("address", prefix="multicast", distribution="multicast")
    with Router(config, tmp_path) as router: # pytest: use the fixtures `router` and `start_router` instead
        connect(router.host, router.port)
"""
import ctypes
import os
import re
import signal
import subprocess
from pathlib import Path

from support.deadline import seconds, wait_until

ROOT = Path(__file__).resolve().parents[3]
# What a sanitizer's report looks like, whichever of them it is.
SANITIZER_REPORT = re.compile(r"ERROR: (Address|Leak|Undefined\w*)Sanitizer|WARNING: ThreadSanitizer|runtime error: ")
# management.md 4.2: `Listening on 127.0.0.1:45123 (name)`; HTTP listeners say `Listening for HTTP on`.
LISTENING = re.compile(r"Listening (?:for HTTP )?on (?P<host>\S*):(?P<port>\d+)(?: \((?P<name>[^)]*)\))?\s*$", re.M)
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def build_dir():
    """The build under test: TRUNKLINE_BUILD, or build/release."""
    return Path(os.environ.get("TRUNKLINE_BUILD", ROOT / "build" / "release")).resolve()


def program(name):
    """Path of one of our programs or tools in the build under test."""
    path = build_dir() / "bin" / name
    if not path.exists():
        raise AssertionError("%s is not built: cmake --preset release && cmake --build --preset release" % path)
    return path


def die_with_parent():
    """In a child, before exec: when the test run is killed, so is the child. Nothing stays behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Config:
    """A configuration file in the making: a list of sections, each a type and its attributes.

    Without `bare`, it starts with a router section, a log section that the Router fills in, and a listener named
    `normal` on a port of the system's choice, with the usual three address prefixes beside.
    """

    def __init__(self, bare=False, **router):
        self.sections = []
        self.listeners = []  # names of those with port 0, in order
        if not bare:
            self.add("router", **{"mode": "standalone", "id": "Test", "workerThreads": 2, **router})
            self.listener("normal")
            for name in ("closest", "balanced", "multicast"):
                self.add("address", prefix=name, distribution=name)

    def add(self, kind, **attributes):
        """Append a section. None leaves an attribute out; booleans become yes and no. Returns self, to chain."""
        self.sections.append((kind, {k: v for k, v in attributes.items() if v is not None}))
        return self

    def listener(self, name, **attributes):
        """Append a listener on a free port of the loopback, without authentication unless attributes say so."""
        self.listeners.append(name)
        return self.add("listener", **{"name": name, "host": "127.0.0.1", "port": 0, "role": "normal",
                                       "saslMechanisms": "ANONYMOUS", "authenticatePeer": False, **attributes})

    def section(self, name):
        """Attributes of the section of that name, to be changed."""
        return next(section for _, section in self.sections if section.get("name") == name)

    def change(self, kind, **attributes):
        """Set attributes of the first section of that type."""
        for name, section in self.sections:
            if name == kind:
                section.update(attributes)
                return self
        raise KeyError(kind)

    @staticmethod
    def _value(value):
        return ("yes" if value else "no") if isinstance(value, bool) else str(value)

    def text(self):
        out = []
        for kind, attributes in self.sections:
            lines = ["    %s: %s\n" % (name, self._value(value)) for name, value in attributes.items()]
            out.append("%s {\n%s}\n" % (kind, "".join(lines)))
        return "\n".join(out)


class Router:
    """One qdrouterd process.

    config      a Config, or the text of a file
    directory   where its files go: NAME.conf, NAME.log (the router's log), NAME.stderr
    arguments   appended to the command line

    It is started at once; wait_ready() waits until every port-0 listener of a Config listens (text: until any does).
    """

    def __init__(self, config, directory, name="router", arguments=(), environment=None):
        self.name, self.directory, self.config = name, Path(directory), config
        self.conf_path = self.directory / (name + ".conf")
        self.log_path = self.directory / (name + ".log")
        self.stderr_path = self.directory / (name + ".stderr")
        text = config if isinstance(config, str) else config.text()
        if not re.search(r"^log \{", text, re.M):
            text += "\nlog {\n    module: DEFAULT\n    enable: info+\n    outputFile: %s\n}\n" % self.log_path
        self.conf_path.write_text(text)
        self.command = [str(program("qdrouterd")), "-c", str(self.conf_path), *map(str, arguments)]
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None
        self.expected_end = False  # the test ended it, or expects it to end
        self.ports = {}
        self.start()

    # -- life

    def start(self):
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                                            env=self.environment, preexec_fn=die_with_parent)
        self.pid = self.process.pid

    def wait_ready(self, limit=15.0):
        """Wait until the listeners listen, and learn their ports."""
        wanted, fixed = [], {}  # the name is logged only where the port is the system's choice
        if isinstance(self.config, Config):
            wanted = self.config.listeners
            fixed = {attributes["port"]: attributes["name"] for kind, attributes in self.config.sections
                     if kind == "listener" and attributes.get("name") in wanted}

        def listening():
            self.assert_running()
            found = list(LISTENING.finditer(self.log()))
            self.ports = {match["name"] or fixed.get(int(match["port"]), str(at)): int(match["port"])
                          for at, match in enumerate(found)}
            return all(name in self.ports for name in wanted) if wanted else bool(found)

        wait_until(listening, limit, lambda: "%s to listen on %s; its log:\n%s" % (self.name, wanted, self.tail()))

    def stop(self, signal_number=signal.SIGTERM, limit=20.0):
        """End it in an orderly way and return its exit status (negative: killed by that signal)."""
        self.expected_end = True
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(seconds(limit))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("%s did not end within %g s of signal %d" % (self.name, seconds(limit), signal_number)
                                 ) from None

    def kill(self):
        """End it as a crash would."""
        self.expected_end = True
        self.process.kill()
        self.process.wait()

    def restart(self):
        """Start the same program with the same file again, after stop() or kill()."""
        assert self.process.poll() is not None, "stop it first"
        for path in (self.log_path, self.stderr_path):
            if path.exists():
                path.rename(path.with_suffix(path.suffix + ".before"))
        self.expected_end = False
        self.start()
        self.wait_ready()

    def finish(self):
        """What every test ends with: it runs still, ends in order with status 0, and no sanitizer has spoken."""
        try:
            if not self.expected_end:
                self.assert_running()
                status = self.stop()
                assert status == 0, "%s ended with status %s\n%s" % (self.name, status, self.tail())
        finally:
            if self.process.poll() is None:
                self.kill()
            self.assert_no_sanitizer_report()

    def __enter__(self):
        self.wait_ready()
        return self

    def __exit__(self, *exception):
        self.finish()

    # -- looking at it

    @property
    def host(self):
        return "127.0.0.1"

    @property
    def port(self):
        """Port of the listener named `normal`, or else of the first."""
        return self.ports.get("normal") or next(iter(self.ports.values()))

    @property
    def address(self):
        return "%s:%d" % (self.host, self.port)

    @property
    def url(self):
        return "amqp://" + self.address

    def log(self):
        """All it has logged: on stderr before the log section took effect, then in its file."""
        parts = [path.read_text(errors="replace") for path in (self.stderr_path, self.log_path) if path.exists()]
        return "".join(parts)

    def wait_log(self, pattern, limit=10.0):
        """Wait until a line of the log matches; return the match."""
        def seen():
            self.assert_running()
            return re.search(pattern, self.log(), re.M)
        return wait_until(seen, limit, "a line like '%s' in the log of %s" % (pattern, self.name))

    def wait_receivers(self, address, count=1, limit=10.0):
        """Wait until the log has told of that many receivers that attached to an address (management.md 8.4)."""
        line = re.compile(r"Link attached: dir=out source=\{%s[ }]" % re.escape(address))

        def attached():
            self.assert_running()
            return len(line.findall(self.log())) >= count
        wait_until(attached, limit, lambda: "%d receivers on %s; the log ends:\n%s" % (count, address, self.tail()))

    def tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])

    def assert_running(self):
        status = self.process.poll()
        assert status is None, "%s died with status %s\n%s" % (self.name, status, self.tail())

    def assert_no_sanitizer_report(self):
        text = self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""
        report = SANITIZER_REPORT.search(text)
        assert not report, "a sanitizer reported on %s:\n%s" % (self.name, text[report.start():][:8000])

    def _status_kb(self, field):
        text = Path("/proc/%d/status" % self.pid).read_text()
        return int(re.search(r"^%s:\s+(\d+) kB" % field, text, re.M).group(1))

    def rss_kb(self):
        return self._status_kb("VmRSS")

    def peak_rss_kb(self):
        return self._status_kb("VmHWM")

    def open_files(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def cpu_seconds(self):
        fields = Path("/proc/%d/stat" % self.pid).read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
