"""qdrouterd as a process: options, exit statuses, signals, failures of its start, daemon (management.md sections 6 and 7)."""
import os
import re
import select
import signal
import socket
import subprocess

import pytest

from support.deadline import seconds, wait_until
from support.router import ROOT, Config, die_with_parent, program

LIMIT = 20


def run(*arguments, environment=None):
    """Run qdrouterd to its end."""
    return subprocess.run([program("qdrouterd"), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=seconds(LIMIT), env=dict(os.environ, **(environment or {})), preexec_fn=die_with_parent)


def write(path, text):
    path.write_text(text)
    return path


def log_to(path):
    return "log {\n    module: DEFAULT\n    outputFile: %s\n}\n" % path


# -- options


def test_process_version_is_alone():
    result = run("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", result.stdout)
    assert run("-v").stdout == result.stdout


def test_process_help_is_usage():
    for option in ("-h", "--help"):
        result = run(option)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("Usage: %s [OPTIONS]\n\n" % program("qdrouterd"))


def test_process_wrong_command_lines_end_with_1():
    result = run("a", "b")
    assert result.returncode == 1
    assert result.stderr == "Unexpected arguments: a b\n\n"
    assert result.stdout.startswith("Usage: ")
    assert run("--nonsense").returncode == 1
    assert run("-I", "/no/such/directory", "--check").returncode == 1


# -- --check


def test_process_check_of_a_right_file_is_silent(tmp_path):
    result = run("--check", "-c", write(tmp_path / "right.conf", Config().text()))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_process_check_of_the_shipped_file_is_silent():
    result = run("--check", "-c", ROOT / "etc" / "qdrouterd.conf")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_process_check_names_each_error_with_its_place(tmp_path):
    path = write(tmp_path / "wrong.conf", "router {\n    mode: nonsense\n}\nlistener {\n    port: none-such\n}\n")
    result = run("--check", "-c", path)
    assert result.returncode == 1
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == ["%s:2:5" % path, "%s:5:5" % path]


def test_process_check_starts_nothing(tmp_path):
    log = tmp_path / "check.log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = Config(bare=True).add("listener", host="127.0.0.1", port=taken.getsockname()[1]).add(
            "log", module="DEFAULT", outputFile=log)
        assert run("--check", "-c", write(tmp_path / "a.conf", config.text())).returncode == 0
    assert not log.exists()


# -- start


@pytest.mark.parametrize("text, message", [
    (None, "Not found: Configuration file could not be opened: {path}: No such file or directory"),
    ("", "Configuration: Configuration file was empty"),
    ("router {\n    mode: nonsense\n}\n", "Python: Exception: Cannot load configuration file {path}: "),
    (log_to("/no/such/directory/file"), "Configuration: Failed to open log file '/no/such/directory/file'"),
])
def test_process_start_failure_is_said_on_stderr_and_in_the_log(tmp_path, text, message):
    path = tmp_path / "router.conf"
    if text is not None:
        write(path, text)
    result = run("-c", path)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    said = lines[-1].removeprefix("%s: " % program("qdrouterd"))
    assert message.format(path=path) in said
    assert re.search(r"^\d{4}-\d\d-\d\d \S+ \S+ ERROR \(error\) " + re.escape(said) + "$", result.stderr, re.M)
    assert lines[-2].endswith(" MAIN (critical) Router start-up failed: " + said)
    assert "Traceback" not in result.stderr


def test_process_listener_on_a_taken_port_is_fatal(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = Config(bare=True).add("listener", host="127.0.0.1", port=port)
        result = run("-c", write(tmp_path / "router.conf", config.text()))
    assert result.returncode == 1
    assert re.search(r"SERVER \(error\) Listener error on 127\.0\.0\.1:%d: .*in use" % port, result.stderr)
    assert "SERVER (critical) Shutting down, required listener failed 127.0.0.1:%d" % port in result.stderr


def test_process_relative_config_is_found(tmp_path, monkeypatch):
    write(tmp_path / "relative.conf", Config().text())
    monkeypatch.chdir(tmp_path)
    assert run("--check", "-c", "relative.conf").returncode == 0


def test_process_start_says_what_scripts_wait_for(start_router):
    router = start_router(Config(id="Named", workerThreads=3))
    router.wait_log(r"SERVER \(notice\) Operational, 3 Threads Running \(process ID %d\)$" % router.pid)
    router.wait_log(r"SERVER \(notice\) Process VmSize [\d.]+ \w+ \([\d.]+ \w+ available memory\)$")
    router.wait_log(r"SERVER \(info\) Container Name: Named$")
    router.wait_log(r"ROUTER \(info\) Router started in Standalone mode$")
    version = run("--version").stdout.strip()
    router.wait_log(r"ROUTER \(info\) Version: %s$" % re.escape(version))


def test_process_another_python_and_its_variables_do_not_matter(start_router, tmp_path):
    for name in ("python3", "python", "python3.11"):
        write(tmp_path / name, "#!/bin/sh\nexit 3\n").chmod(0o755)
    start_router(environment={"PATH": "%s:%s" % (tmp_path, os.environ["PATH"]), "PYTHONHOME": str(tmp_path),
                              "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "/nonsense", "LC_ALL": "nonsense"})


def test_process_runs_from_any_directory_and_through_a_link(tmp_path, monkeypatch):
    link = tmp_path / "linked"
    link.symlink_to(program("qdrouterd"))
    monkeypatch.chdir("/")
    result = subprocess.run([link, "--check", "-c", ROOT / "etc" / "qdrouterd.conf"], timeout=seconds(LIMIT))
    assert result.returncode == 0


def test_process_idle_options_are_said(start_router, tmp_path):
    router = start_router(arguments=["-P", tmp_path / "pid"])
    router.wait_log(r"MAIN \(warning\) --pidfile and --user have no effect without --daemon$")
    assert not (tmp_path / "pid").exists()


# -- signals


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 0), (signal.SIGQUIT, 0), (signal.SIGINT, -signal.SIGINT)])
def test_process_signal_ends_it_in_order(start_router, number, status):
    router = start_router()
    assert router.stop(number) == status
    assert router.log().rstrip().endswith("SERVER (notice) Shut Down")


def test_process_hangup_is_ignored_and_leaves_it_able_to_end(start_router):
    router = start_router()
    router.process.send_signal(signal.SIGHUP)
    router.wait_log(r"SERVER \(notice\) SIGHUP is ignored")
    assert router.stop() == 0


def test_process_with_open_connections_ends_in_order(start_router):
    router = start_router()
    with socket.create_connection((router.host, router.port)) as silent:
        router.wait_log(r"Accepted connection")
        assert router.stop() == 0
        assert silent.recv(1) == b""


# -- daemon


class Daemon:
    """The process that wrote the pid file; ended with the test."""

    def __init__(self, pidfile):
        self.pid = int(pidfile.read_text())
        self.handle = os.pidfd_open(self.pid)

    def end(self, number=signal.SIGTERM):
        signal.pidfd_send_signal(self.handle, number)
        wait_until(self.has_ended, LIMIT, "the daemon to end")

    def has_ended(self):
        return bool(select.select([self.handle], [], [], 0)[0])

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if not self.has_ended():
            self.end(signal.SIGKILL)
        os.close(self.handle)


def test_process_daemon_is_up_when_the_command_returns(tmp_path):
    log, pidfile = tmp_path / "daemon.log", tmp_path / "pid"
    config = Config().add("log", module="DEFAULT", outputFile=log)
    path = write(tmp_path / "daemon.conf", config.text())
    result = run("-d", "-P", pidfile, "-c", path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    with Daemon(pidfile) as daemon:
        port = int(re.search(r"Listening on 127\.0\.0\.1:(\d+)", log.read_text())[1])
        socket.create_connection(("127.0.0.1", port)).close()
        assert pidfile.read_text() == "%d\n" % daemon.pid
        assert os.readlink("/proc/%d/cwd" % daemon.pid) == "/"
        assert os.readlink("/proc/%d/fd/1" % daemon.pid) == "/dev/null"
        assert os.getsid(daemon.pid) not in (os.getsid(0), daemon.pid)
        daemon.end()
    assert log.read_text().rstrip().endswith("SERVER (notice) Shut Down")


@pytest.mark.parametrize("arguments, message", [
    (["-c", "/no/such/file"], "Not found: Configuration file could not be opened: /no/such/file: No such file or directory"),
    (["-P", "/no/such/directory/pid"], "Cannot write pid file /no/such/directory/pid: No such file or directory"),
    (["-U", "no-such-user"], "Cannot become user no-such-user: there is no such user"),
])
def test_process_daemon_that_cannot_start_says_why(tmp_path, arguments, message):
    path = write(tmp_path / "daemon.conf", Config().text())
    result = run("-d", "-c", path, *arguments)
    assert (result.returncode, result.stderr) == (1, "%s: %s\n" % (program("qdrouterd"), message))
