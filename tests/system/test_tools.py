"""What qdstat and qdmanage have in common: where they find themselves, how they connect, how they end."""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

from pathlib import Path

import pytest

from proton import SSLDomain

from support.deadline import seconds, wait_until
from support.fake_router import FakeRouter, Tables, server_tls
from support.router import build_dir, program
from support.tool import failure, output, run, start

pytestmark = pytest.mark.python_only

TOOLS = [("qdstat", ["-c"]), ("qdmanage", ["query", "--type=connection"])]
each_tool = pytest.mark.parametrize("tool, arguments", TOOLS, ids=["qdstat", "qdmanage"])


# Finding the library

@each_tool
def test_runs_without_environment_and_with_another_python_first(tool, arguments, tmp_path):
    for name in ("python3", "python", "env"):
        (tmp_path / name).write_text("#!/bin/sh\necho wrong interpreter; exit 9\n")
        (tmp_path / name).chmod(0o755)
    with FakeRouter(Tables.of("A")) as router:
        assert output(tool, "-b", router.address, *arguments, environment={"PATH": "%s:/usr/bin:/bin" % tmp_path})
        bare = subprocess.run([str(program(tool)), "-b", router.address, *arguments], env={}, capture_output=True,
                              timeout=seconds(30))
        assert (bare.returncode, bare.stderr) == (0, b"")


@each_tool
def test_runs_wherever_its_tree_is_and_through_a_link(tool, arguments, tmp_path):
    prefix = tmp_path / "some prefix"
    (prefix / "bin").mkdir(parents=True)
    shutil.copy(program(tool), prefix / "bin")
    shutil.copytree(build_dir() / "lib/trunkline/python", prefix / "lib/trunkline/python")
    link = tmp_path / "link"
    link.symlink_to(prefix / "bin" / tool)
    assert output(tool, "--version", path=link) == output(tool, "--version")


@each_tool
def test_library_where_the_variable_says_and_clear_words_without(tool, arguments, tmp_path):
    alone = tmp_path / "bin" / tool
    alone.parent.mkdir()
    shutil.copy(program(tool), alone)
    lost = run(tool, "--version", path=alone)
    assert lost.returncode == 1
    assert "its library is not in %s/lib/trunkline/python" % tmp_path in lost.stderr
    home = tmp_path / "home"
    shutil.copytree(build_dir() / "lib/trunkline/python", home / "python")
    assert output(tool, "--version", path=alone, environment={"QPID_DISPATCH_HOME": str(home)})
    # Left over from a router of another make: no reason to fail.
    assert output(tool, "--version", environment={"QPID_DISPATCH_HOME": str(tmp_path / "nowhere")})


# The end

@each_tool
@pytest.mark.parametrize("option", [(), ("-r", "B")])
def test_interrupted_ends_at_once_with_an_empty_line(tool, arguments, option):
    with FakeRouter(Tables.of("A", mute={"GET-MGMT-NODES", "QUERY"})) as router:
        with start(tool, "-b", router.address, "-t", "60", *arguments, *option) as process:
            wait_until(lambda: router.requests, what="a request")
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=seconds(20)) == ("\n", "")
            assert process.returncode == 1
        router.wait_closed()


@each_tool
def test_reader_that_goes_away_is_no_reason_for_a_trace(tool, arguments):
    with FakeRouter(Tables.of("A")) as router:
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.run([str(program(tool)), "-b", router.address, *arguments], stdout=writing,
                                 stderr=subprocess.PIPE, timeout=seconds(30))
        os.close(writing)
        assert (process.returncode, process.stderr) == (1, b"")


def test_output_that_cannot_be_written_is_told():
    with FakeRouter(Tables.of("A")) as router, open("/dev/full", "w") as full:
        process = subprocess.run([str(program("qdstat")), "-b", router.address], stdout=full, stderr=subprocess.PIPE,
                                 encoding="utf-8", timeout=seconds(30))
        assert process.returncode == 1
        assert "No space left on device" in process.stderr and "Traceback" not in process.stderr


def test_names_that_the_terminal_cannot_show_are_escaped():
    book = Tables.of("A")
    table = next(iter(book.tables.values()))
    table["results"][0][table["attributeNames"].index("container")] = "caf\u00e9 \u6f22"
    with FakeRouter(book) as router:
        text = output("qdstat", "-c", "-b", router.address, environment={"PYTHONIOENCODING": "ascii:strict"})
        assert "  caf\\xe9 \\u6f22  " in text


# Time

class Stopping:
    """A relay to a router that can stop passing on anything, as a router that is suspended."""

    def __init__(self, port):
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._passing = threading.Event()
        self._passing.set()
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def stop(self):
        self._passing.clear()

    def __exit__(self, *_):
        self._passing.set()
        for end in self._sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        for end in self._sockets:
            end.close()

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        router = socket.create_connection(("127.0.0.1", self._to))
        self._sockets += [client, router]
        for pair in ((client, router), (router, client)):
            self._threads.append(threading.Thread(target=self._relay, args=pair))
            self._threads[-1].start()

    def _relay(self, source, sink):
        try:
            while octets := source.recv(65536):
                self._passing.wait()
                sink.sendall(octets)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # closed by the test


def test_router_that_stops_in_the_middle_ends_in_a_time_out():
    with FakeRouter(Tables.of("A")) as router, Stopping(router.port) as relay:
        answer = router.book

        def stop_at_query(address, properties, body):
            if properties["operation"] == "QUERY":
                relay.stop()
            return answer(address, properties, body)

        router.book = stop_at_query
        began = time.monotonic()
        assert failure("qdstat", "-b", relay.address, "-t", "1").startswith("Timeout: ")
        assert 1 <= time.monotonic() - began < 1 + seconds(8)


# TLS

@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """An authority, a server certificate for the name localhost alone, and a client certificate with a protected key."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=seconds(60))

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    openssl("req", "-x509", *key, "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    for name, protection in (("localhost", ["-nodes"]), ("client", ["-passout", "pass:secret"])):
        openssl("req", *key, *protection, "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
        (folder / "san").write_text("subjectAltName=DNS:%s\n" % name)
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", name + ".pem", "-extfile", "san")
    (folder / "password").write_text("  secret\n")
    return folder


@pytest.fixture
def tls_router(pki):
    with FakeRouter(Tables.of("A"), ssl=server_tls(pki / "localhost.pem", pki / "localhost.key")) as router:
        yield router


@each_tool
def test_tls_by_scheme_or_by_trust_file(tool, arguments, pki, tls_router):
    trust = ["--ssl-trustfile", str(pki / "ca.pem")]
    for bus in ("amqps://localhost:%d", "localhost:%d", "amqp://localhost:%d"):
        output(tool, "-b", bus % tls_router.port, *trust, *arguments)
    assert all(request.authenticated for request in tls_router.requests), "over TLS SASL is used"


def test_tls_certificate_of_an_unknown_authority_is_refused(tls_router):
    line = failure("qdstat", "-b", "amqps://localhost:%d" % tls_router.port)
    assert re.match(r"ConnectionException: Connection amqps://localhost:\d+ disconnected: .*certificate verify failed", line)


def test_tls_name_is_verified_unless_disabled(pki, tls_router):
    arguments = ["-b", "amqps://127.0.0.1:%d" % tls_router.port, "--ssl-trustfile", str(pki / "ca.pem")]
    assert failure("qdstat", *arguments).startswith("ConnectionException: ")
    output("qdstat", *arguments, "--ssl-disable-peer-name-verify")
    assert failure("qdstat", "-b", "amqps://127.0.0.1:%d" % tls_router.port, "--ssl-disable-peer-name-verify").startswith(
        "ConnectionException: "), "the authority is verified all the same"


def test_tls_client_certificate(pki):
    domain = server_tls(pki / "localhost.pem", pki / "localhost.key")
    domain.set_trusted_ca_db(str(pki / "ca.pem"))
    domain.set_peer_authentication(SSLDomain.VERIFY_PEER, str(pki / "ca.pem"))
    with FakeRouter(Tables.of("A"), ssl=domain) as router:
        base = ["-b", "localhost:%d" % router.port, "--ssl-trustfile", str(pki / "ca.pem")]
        assert failure("qdstat", *base).startswith("ConnectionException: ")
        certificate = [*base, "--ssl-certificate", str(pki / "client.pem"), "--ssl-key", str(pki / "client.key")]
        output("qdstat", *certificate, "--ssl-password", "secret")
        output("qdstat", *certificate, "--ssl-password", "wrong", "--ssl-password-file", str(pki / "password"))
        line = failure("qdstat", *certificate, "--ssl-password", "wrong")
        assert line.startswith("SSLException: Cannot use %s with %s: " % (pki / "client.pem", pki / "client.key"))


@pytest.mark.parametrize("option", ["--ssl-trustfile", "--ssl-certificate", "--sasl-password-file"])
def test_file_that_is_not_there_is_named(option):
    assert failure("qdstat", "-b", "127.0.0.1:1", option, "/no/such/file") == (
        "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'\n")


# SASL

def sasl_init(*arguments):
    """What a tool with these arguments says to a router that offers PLAIN and ANONYMOUS: (mechanism, response)."""
    got = []

    def serve(listener):
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            got.append(stream.read(8))
            # SASL header; mechanisms [PLAIN, ANONYMOUS] (AMQP 1.0 part 5.3.3.1, SASL Mechanisms)
            names = b"\x05PLAIN\x09ANONYMOUS"
            array = b"\xe0" + bytes([2 + len(names), 2]) + b"\xa3" + names
            body = b"\x00\x53\x40\xc0" + bytes([1 + len(array), 1]) + array
            connection.sendall(b"AMQP\x03\x01\x00\x00" + struct.pack(">IBBH", 8 + len(body), 2, 1, 0) + body)
            size = struct.unpack(">I", stream.read(4))[0]
            got.append(stream.read(size - 4))
            # outcome 1: authentication failed
            body = b"\x00\x53\x44\xc0\x03\x01\x50\x01"
            connection.sendall(struct.pack(">IBBH", 8 + len(body), 2, 1, 0) + body)
            stream.read()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        bus = "%s127.0.0.1:%d" % (arguments[0], listener.getsockname()[1])
        line = failure("qdstat", "-b", bus, *arguments[1:])
        thread.join(20)
        assert not thread.is_alive()
    assert line.startswith("ConnectionException: Connection amqp://127.0.0.1:"), line
    assert "secret" not in line
    assert got[0] == b"AMQP\x03\x01\x00\x00"
    found = re.search(rb"\xa3.(PLAIN|ANONYMOUS)\xa0.(.*?)(\xa1.*)?\Z", got[1], re.DOTALL)
    return found[1].decode(), found[2]


@pytest.mark.parametrize("arguments", [
    ["alice:secret@"],
    ["amqp://alice:secret@"],
    ["", "--sasl-username", "alice", "--sasl-password", "secret"],
    ["", "--sasl-username=alice", "--sasl-password=wrong", "--sasl-password-file=%s"],
    ["bob:other@", "--sasl-username=alice", "--sasl-password=secret", "--sasl-mechanisms=PLAIN"],
])
def test_sasl_plain_from_url_or_options(arguments, tmp_path):
    file = tmp_path / "password"
    file.write_text("secret\n")
    arguments = [argument % file if "%s" in argument else argument for argument in arguments]
    assert sasl_init(*arguments) == ("PLAIN", b"\0alice\0secret")


def test_sasl_mechanisms_limit_the_choice():
    mechanism, _ = sasl_init("", "--sasl-mechanisms", "ANONYMOUS", "--sasl-username", "alice", "--sasl-password", "secret")
    assert mechanism == "ANONYMOUS"


def test_installed_tree_has_the_tools(tmp_path):
    for part in ("tools", "python"):
        subprocess.run(["cmake", "--install", str(build_dir() / part), "--prefix", str(tmp_path)], check=True,
                       capture_output=True, timeout=seconds(60))
    for tool, _ in TOOLS:
        path = Path(tmp_path, "bin", tool)
        assert output(tool, "--version", path=path) == output(tool, "--version")
