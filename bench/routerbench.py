#!/usr/bin/python3
"""routerbench - what a qdrouterd-compatible router costs, measured from outside on loopback.

usage: routerbench.py [--haproxy] [--name LABEL] [--vs 'OTHER COMMAND'] [--only SCENARIO,...] [--scale F] [--json FILE]
                      -- COMMAND

COMMAND starts a router and gets `-c CONF` appended (for instance: -- build/release/bin/qdrouterd).

With --haproxy the load of presettled, unsettled, large and latency also goes through HAProxy in TCP mode, in turn with
the router: a relay that moves the bytes and knows nothing of them is the limit. At the end each figure stands beside
what was set as a must and as an aim, with pass or miss.
With --vs each scenario runs on both commands in turn, and the ratio is printed too.
These machines are noisy: quote ratios of one run rather than single figures. Presettled, unsettled and brokered run
three times (--rounds) and count by their median.

Scenarios (each starts fresh routers):
  startup        milliseconds from exec to the first accepted AMQP connection (median of 5)
  presettled     one sender, one receiver, 100-byte bodies, settled: msgs/s, router CPU us per message, lost
  unsettled      the same, at-least-once
  fan4           4 senders, 4 receivers, 4 addresses, unsettled
  multicast8     one sender, 8 receivers, every message to every receiver
  large          60 kB bodies, unsettled: MB/s and CPU us per MB
  latency        10,000 msgs/s offered: p50/p99/p99.9 in us
  conns          2,000 idle client connections, one link each: RSS per connection, connections per second
  links          20,000 links with distinct addresses on one connection: RSS per link, attaches per second
In front of a broker (bench/amqbroker, a container that keeps messages in memory):
  brokered       unsettled, in turn directly from sender to receiver, by link routes into a queue and out of it, and by
                 autoLinks through the queue of a waypoint: CPU us for each passage through the router (a message passes
                 it once, or twice where there is a queue), and the ratio to the direct one
  configured     5,000 autoLinks and 5,000 link routes: ms from exec to the first accepted connection, then beside a
                 router with ten of each: CPU us to attach a link of an address and one of a link route, and the ratio
Of a network of interior routers:
  hop2 / hop4    unsettled through a chain of 2 / 4 interior routers: msgs/s, CPU us per message, all routers added
  reroute        square mesh of 4 routers, stop and then kill one on the path: seconds until messages flow again
  control        full mesh of 6 routers without clients: CPU of each in 10 s, per cent of a core
When named with --only, and slow:
  instructions   instructions per message, presettled and unsettled, counted by valgrind (callgrind): no noise at all
"""
import argparse, json, os, re, shlex, shutil, signal, socket, statistics, struct, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))


def build(instrument):
    out = os.path.join(tempfile.gettempdir(), "%s-%d" % (instrument, os.getuid()))
    sources = [os.path.join(HERE, name) for name in (instrument + ".c", "amqwire.h")]
    if not os.path.exists(out) or os.path.getmtime(out) < max(map(os.path.getmtime, sources)):
        subprocess.run(["cc", "-O2", "-o", out, sources[0], "-lpthread"], check=True)
    return out


def cpu_seconds(pid):
    """CPU time of a process with all its threads, exact (the clock of clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def wait_listening(port, process, what, timeout=20):
    """Wait until a process listens on a port, without connecting to it: a relay would pass the connection on."""
    end = time.monotonic() + timeout
    line = re.compile(r": [0-9A-F]{8}:%04X [0-9A-F:]+ 0A " % port)
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError("%s exited with %s" % (what, process.returncode))
        if line.search(open("/proc/net/tcp").read()):
            return
        time.sleep(0.005)
    raise RuntimeError("%s did not come up" % what)


def stop(process, sig=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(sig)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    p = s.getsockname()[1]
    s.close()
    return p


def section(kind, **attrs):
    return "%s {\n%s}\n" % (kind, "".join("    %s: %s\n" % (k, v) for k, v in attrs.items()))


COMMON = (section("address", prefix="multicast", distribution="multicast")
          + section("address", prefix="closest", distribution="closest")
          + section("address", prefix="balanced", distribution="balanced"))


class Router:
    def __init__(self, cmd, rid, mode, extra, workdir, threads=4):
        self.port = free_port()
        conf = os.path.join(workdir, rid + ".conf")
        text = section("router", mode=mode, id=rid, workerThreads=threads)
        text += section("listener", host="127.0.0.1", port=self.port, role="normal", saslMechanisms="ANONYMOUS", authenticatePeer="no")
        text += section("log", module="DEFAULT", enable="warning+", outputFile=os.path.join(workdir, rid + ".log"))
        text += COMMON + extra
        open(conf, "w").write(text)
        self.out = open(os.path.join(workdir, rid + ".out"), "w")
        self.t0 = time.monotonic()
        self.p = subprocess.Popen(cmd + ["-c", conf], stdout=self.out, stderr=subprocess.STDOUT)
        self.pid = self.p.pid

    def wait(self, timeout=60):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.p.poll() is not None:
                raise RuntimeError("router exited with %s: %s" % (self.p.returncode, open(self.out.name).read()[-500:]))
            try:
                s = socket.create_connection(("127.0.0.1", self.port), 1)
                s.sendall(b"AMQP\0\1\0\0")
                s.settimeout(30)
                ok = s.recv(8)[:4] == b"AMQP"
                s.close()
                if ok:
                    self.up = time.monotonic() - self.t0
                    return self
            except OSError:
                pass
            time.sleep(0.001)
        raise RuntimeError("router did not come up")

    def cpu(self):
        return cpu_seconds(self.pid)

    def rss_kb(self):
        return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/%d/status" % self.pid).read()).group(1))

    def stop(self, sig=signal.SIGTERM):
        stop(self.p, sig)
        self.out.close()


class Relay:
    """HAProxy in TCP mode between two ports of the loopback: bytes in, bytes out."""

    def __init__(self, workdir):
        self.port, self.sink_port = free_port(), free_port()
        conf = os.path.join(workdir, "haproxy.cfg")
        open(conf, "w").write("global\n    maxconn 1000\ndefaults\n    mode tcp\n    timeout connect 5s\n    timeout client 10m\n"
                              "    timeout server 10m\nlisten relay\n    bind 127.0.0.1:%d\n    server sink 127.0.0.1:%d\n"
                              % (self.port, self.sink_port))
        self.out = open(os.path.join(workdir, "haproxy.out"), "w")
        self.p = subprocess.Popen(["haproxy", "-db", "-f", conf], stdout=self.out, stderr=subprocess.STDOUT)
        self.pid = self.p.pid
        wait_listening(self.port, self.p, "haproxy")

    def stop(self):
        stop(self.p)
        self.out.close()


class Broker:
    """bench/amqbroker on a connection to a listener of role route-container, with so many links that the router has
    attached."""

    def __init__(self, port, links=0):
        self.p = subprocess.Popen([build("amqbroker"), "-p", str(port), "-l", str(links)], stdout=subprocess.PIPE, text=True)
        if self.p.stdout.readline() != "ready\n":
            raise RuntimeError("amqbroker did not come up")

    def stop(self):
        stop(self.p)
        self.p.stdout.close()


class Bench:
    def __init__(self, cmd, scale, rounds=1):
        self.cmd, self.scale, self.rounds = cmd, scale, rounds
        self.amqload = build("amqload")
        self.dir = tempfile.mkdtemp(prefix="routerbench-")
        self.routers = []

    def router(self, rid="A", mode="standalone", extra="", **how):
        r = Router(self.cmd, rid, mode, extra, self.dir, **how)
        self.routers.append(r)
        return r.wait()

    def close(self):
        for r in self.routers:
            r.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def load(self, *args, timeout=150):
        p = subprocess.run([self.amqload] + [str(a) for a in args], capture_output=True, text=True, timeout=timeout)
        line = p.stdout.strip().splitlines()
        if not line:
            raise RuntimeError(p.stderr.strip() or "amqload said nothing")
        return json.loads(line[-1])

    def n(self, count):
        return max(1000, int(count * self.scale))

    # -- scenarios -------------------------------------------------------------------------------
    def startup(self):
        ups = []
        for i in range(5):
            r = self.router("S%d" % i)
            ups.append(r.up)
            r.stop()
        return {"ms": round(statistics.median(ups) * 1000, 1)}

    def _flow(self, *args):
        """Run a load through a router (or, where there is no command, through a relay), warmed up."""
        if self.cmd is None:
            r = Relay(self.dir)
            self.routers.append(r)
            ends = ("-p", r.port, "-q", r.sink_port, "-S")
        else:
            r = self.router()
            ends = ("-p", r.port)
        self.load(*ends, "-A", "closest/warm", "-n", 20000, "-u")
        runs = [self.load(*ends, "-P", r.pid, *args) for _ in range(self.rounds)]
        d = sorted(runs, key=lambda run: run["cpu_us_per_msg"])[len(runs) // 2]
        d["lost"] = sum(run["sent"] - run["received"] for run in runs)
        return {"msgs_per_s": d["msgs_per_s"], "cpu_us_per_msg": d["cpu_us_per_msg"], "lost": d["lost"],
                "p50_us": d["p50_us"], "p99_us": d["p99_us"], "rss_mb": round(d["rss_kb"] / 1024, 1)}, d

    def presettled(self):
        return self._flow("-A", "closest/x", "-n", self.n(1000000))[0]

    def unsettled(self):
        return self._flow("-A", "closest/x", "-n", self.n(600000), "-u")[0]

    def fan4(self):
        return self._flow("-A", "closest/x", "-k", 4, "-s", 4, "-r", 4, "-n", self.n(300000), "-u")[0]

    def multicast8(self):
        out, d = self._flow("-A", "multicast/x", "-r", 8, "-m", "-n", self.n(50000), "-u")
        out["lost"] = d["sent"] * 8 - d["received"]
        return out

    def large(self):
        out, d = self._flow("-A", "closest/x", "-b", 60000, "-n", self.n(20000), "-u", "-c", 100)
        mb = d["received"] * 60000 / 1e6
        return {"mb_per_s": round(mb / d["seconds"]), "cpu_us_per_mb": round(d["cpu_us_per_msg"] * d["received"] / mb, 1),
                "lost": out["lost"], "rss_mb": out["rss_mb"]}

    def latency(self):
        d = self._flow("-A", "closest/x", "-n", self.n(50000), "-R", 10000, "-u")[1]
        return {k: d[k] for k in ("p50_us", "p99_us", "p999_us", "cpu_us_per_msg", "lost")}

    def instructions(self):
        """From the difference of two runs, so that start and stop do not count."""
        out = {}
        for name, flags in (("presettled", ()), ("unsettled", ("-u",))):
            totals = []
            for count in (10000, 40000):
                log = os.path.join(self.dir, "callgrind.%s.%d" % (name, count))
                plain, self.cmd = self.cmd, ["valgrind", "--tool=callgrind", "--log-file=" + log,
                                             "--callgrind-out-file=/dev/null"] + self.cmd
                try:
                    r = self.router()
                finally:
                    self.cmd = plain
                d = self.load("-p", r.port, "-A", "closest/x", "-n", count, *flags)
                if d["received"] != count:
                    raise RuntimeError("%d of %d messages arrived" % (d["received"], count))
                r.stop()
                collected = re.search(r"Collected : (\d+)", open(log).read())
                if not collected:
                    raise RuntimeError("valgrind counted nothing: " + open(log).read()[-500:])
                totals.append(int(collected.group(1)))
            out[name + "_per_msg"] = round((totals[1] - totals[0]) / 30000)
        return out

    def chain(self, count):
        rs, ports = [], [free_port() for _ in range(count)]
        for i in range(count):
            extra = section("listener", host="127.0.0.1", port=ports[i], role="inter-router", saslMechanisms="ANONYMOUS", authenticatePeer="no")
            if i:
                extra += section("connector", name="up", host="127.0.0.1", port=ports[i - 1], role="inter-router")
            rs.append(self.router("R%d" % i, "interior", extra))
        return rs

    def until_flowing(self, args, timeout=30):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                d = self.load(*args, timeout=20)
                if d["accepted"] and d["accepted"] == d["sent"]:
                    return
            except (RuntimeError, subprocess.TimeoutExpired):
                pass
            time.sleep(0.02)
        raise RuntimeError("messages never flowed")

    def _hops(self, count):
        rs = self.chain(count)
        ends = ("-p", rs[0].port, "-q", rs[-1].port)
        self.until_flowing(ends + ("-A", "closest/w", "-n", 100, "-u", "-T", 4))
        cpu = sum(r.cpu() for r in rs)
        d = self.load(*ends, "-A", "closest/x", "-n", self.n(150000), "-u")
        cpu = sum(r.cpu() for r in rs) - cpu
        return {"msgs_per_s": d["msgs_per_s"], "cpu_us_per_msg": round(cpu * 1e6 / max(1, d["received"]), 2), "lost": d["sent"] - d["accepted"], "p50_us": d["p50_us"]}

    def hop2(self):
        return self._hops(2)

    def hop4(self):
        return self._hops(4)

    def broker(self, port, links=0):
        self.routers.insert(0, Broker(port, links))
        return self.routers[0]

    def brokered(self):
        port, kinds = free_port(), {"direct": 1, "linkroute": 2, "waypoint": 2}
        extra = section("listener", name="broker", host="127.0.0.1", port=port, role="route-container", saslMechanisms="ANONYMOUS", authenticatePeer="no")
        extra += section("address", prefix="waypoint", waypoint="yes")
        for direction in ("in", "out"):
            extra += section("linkRoute", prefix="linkroute", direction=direction, connection="broker")
            extra += section("autoLink", address="waypoint", direction=direction, connection="broker")
        # One worker: which connections meet on one would tell more than how they are routed.
        r = self.router(extra=extra, threads=1)
        self.broker(port, 2)
        args = {kind: ("-p", r.port, "-P", r.pid, "-A", kind, "-u") for kind in kinds}
        for kind in kinds:
            self.until_flowing(args[kind] + ("-n", 2000, "-T", 4))
        runs = [{kind: self.load(*args[kind], "-n", self.n(200000)) for kind in kinds} for _ in range(self.rounds)]
        cost = {kind: [run[kind]["cpu_us_per_msg"] / kinds[kind] for run in runs] for kind in kinds}
        out = {kind + "_cpu_us": round(statistics.median(cost[kind]), 3) for kind in kinds}
        for kind in ("linkroute", "waypoint"):
            out[kind + "_ratio"] = round(statistics.median(a / b for a, b in zip(cost[kind], cost["direct"])), 2)
            out[kind + "_msgs_per_s"] = round(statistics.median(run[kind]["msgs_per_s"] for run in runs))
        out["lost"] = sum(run[kind]["sent"] - run[kind]["received"] for run in runs for kind in kinds)
        return out

    def _configured_router(self, rid, count):
        """A router with so many autoLinks and link routes, to a broker that may come."""
        port = free_port()
        extra = section("listener", name="broker", host="127.0.0.1", port=port, role="route-container", saslMechanisms="ANONYMOUS", authenticatePeer="no")
        for i in range(count):
            extra += section("linkRoute", prefix="linkroute/%d" % i, direction=("in", "out")[i % 2], connection="broker")
            extra += section("autoLink", address="auto/%d" % i, direction=("in", "out")[i % 2], connection="broker")
        r = self.router(rid, extra=extra)
        r.broker_port = port
        return r

    def _attach_cost(self, r, address):
        """CPU us of the router for each of 1,000 receivers that attach on one connection."""
        c = MiniClient(r.port, "first")
        c.wait_attached()
        cpu = r.cpu()
        for i in range(1000):
            c.attach(address(i), i + 1)
        c.wait_attached(1001)
        cpu = r.cpu() - cpu
        c.close()
        return cpu * 1000

    def configured(self):
        many, ups = 5000, []
        for i in range(3):
            r = self._configured_router("C%d" % i, many)
            ups.append(r.up)
            if i < 2:
                r.stop()
        few = self._configured_router("F", 10)
        t0 = time.monotonic()
        self.broker(r.broker_port, many)
        attached = time.monotonic() - t0
        self.broker(few.broker_port, 10)
        # receivers: those of link routes with an odd number, whose direction is out
        kinds = {"plain": (lambda i: "closest/%d" % i, lambda i: "closest/%d" % i),
                 "linkroute": (lambda i: "linkroute/%d" % (2 * i + 1), lambda i: "linkroute/%d/%d" % (2 * (i % 5) + 1, i))}
        out = {"startup_ms": round(statistics.median(ups) * 1000), "autolinks_attached_s": round(attached, 2)}
        for kind, (of_many, of_few) in kinds.items():
            pairs = [(self._attach_cost(r, of_many), self._attach_cost(few, of_few)) for _ in range(5)]
            out[kind + "_attach_cpu_us"] = round(statistics.median(a for a, _ in pairs), 1)
            out[kind + "_attach_ratio"] = round(statistics.median(a / b for a, b in pairs), 2)
        return out

    def conns(self):
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(2000, hard - 200)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
        r = self.router()
        before, cpu, t0 = r.rss_kb(), r.cpu(), time.monotonic()
        socks = [MiniClient(r.port, "conns/%d" % i) for i in range(count)]
        for s in socks:
            s.wait_attached()
        secs = time.monotonic() - t0
        out = {"kb_per_conn": round((r.rss_kb() - before) / count, 2), "conns_per_s": round(count / secs), "cpu_us_per_conn": round((r.cpu() - cpu) * 1e6 / count, 1)}
        for s in socks:
            s.close()
        return out

    def links(self):
        count = self.n(20000)
        r = self.router()
        c = MiniClient(r.port, "links/first")
        c.wait_attached()
        before, cpu, t0 = r.rss_kb(), r.cpu(), time.monotonic()
        for i in range(count):
            c.attach("links/%d" % i, i + 1)
            if i % 500 == 499:
                c.wait_attached(i + 2)
        c.wait_attached(count + 1)
        secs = time.monotonic() - t0
        out = {"kb_per_link": round((r.rss_kb() - before) / count, 2), "attaches_per_s": round(count / secs), "cpu_us_per_attach": round((r.cpu() - cpu) * 1e6 / count, 1)}
        c.close()
        return out

    def reroute(self):
        # A-B-D and A-C-D, B cheaper; traffic A -> D, then B dies without a word
        p = {k: free_port() for k in "ABCD"}
        lis = lambda k: section("listener", host="127.0.0.1", port=p[k], role="inter-router", saslMechanisms="ANONYMOUS", authenticatePeer="no")
        con = lambda k, cost: section("connector", name="to" + k, host="127.0.0.1", port=p[k], role="inter-router", cost=cost)
        r = {"A": self.router("A", "interior", lis("A"))}
        r["B"] = self.router("B", "interior", lis("B") + con("A", 1))
        r["C"] = self.router("C", "interior", lis("C") + con("A", 5))
        r["D"] = self.router("D", "interior", con("B", 1) + con("C", 5))
        args = ("-p", r["A"].port, "-q", r["D"].port, "-A", "closest/x", "-n", 50, "-u", "-T", 2)
        self.until_flowing(args)
        os.kill(r["B"].pid, signal.SIGSTOP)  # silent: no FIN, as when a host dies
        t0 = time.monotonic()
        self.until_flowing(args, 90)
        silent = time.monotonic() - t0
        os.kill(r["B"].pid, signal.SIGCONT)
        time.sleep(3)
        self.until_flowing(args)
        t0 = time.monotonic()
        r["B"].stop(signal.SIGKILL)
        self.until_flowing(args, 90)
        return {"silent_seconds": round(silent, 2), "killed_seconds": round(time.monotonic() - t0, 2)}

    def control(self):
        ports = [free_port() for _ in range(6)]
        rs = []
        for i, port in enumerate(ports):
            extra = section("listener", host="127.0.0.1", port=port, role="inter-router", saslMechanisms="ANONYMOUS", authenticatePeer="no")
            for j in range(i):
                extra += section("connector", name="to%d" % j, host="127.0.0.1", port=ports[j], role="inter-router")
            rs.append(self.router("M%d" % i, "interior", extra))
        for far in rs[1:]:
            self.until_flowing(("-p", rs[0].port, "-q", far.port, "-A", "closest/x", "-n", 50, "-u", "-T", 4))
        time.sleep(3)  # what follows a change
        before, t0 = [r.cpu() for r in rs], time.monotonic()
        time.sleep(10)
        seconds = time.monotonic() - t0
        used = [(r.cpu() - b) / seconds * 100 for r, b in zip(rs, before)]
        return {"core_percent_max": round(max(used), 3), "core_percent_mean": round(sum(used) / len(used), 3)}


class MiniClient:
    """One AMQP connection, bytes only: enough to hold receivers open."""

    def __init__(self, port, address):
        self.s = socket.create_connection(("127.0.0.1", port))
        self.buf, self.attached = b"", 0
        self.s.sendall(b"AMQP\0\1\0\0" + self.frame(0x10, [b"\xa1" + bytes([len(address)]) + address.encode()])
                       + self.frame(0x11, [b"\x40", b"\x43", b"\x70\x7f\xff\xff\xff", b"\x70\x7f\xff\xff\xff"]))
        self.attach(address, 0)

    @staticmethod
    def performative(code, fields):
        body = b"".join(fields)
        return b"\0\x53" + bytes([code]) + b"\xd0" + struct.pack(">II", len(body) + 4, len(fields)) + body

    def frame(self, code, fields):
        p = self.performative(code, fields)
        return struct.pack(">IBBH", len(p) + 8, 2, 0, 0) + p

    def attach(self, address, handle):
        a = b"\xa1" + bytes([len(address)]) + address.encode()
        self.s.sendall(self.frame(0x12, [a, b"\x70" + struct.pack(">I", handle), b"\x41", b"\x50\x02", b"\x50\x00",
                                         self.performative(0x28, [a]), self.performative(0x29, [a])]))

    def wait_attached(self, n=1, timeout=60):
        self.s.settimeout(timeout)
        while self.attached < n:
            data = self.s.recv(65536)
            if not data:
                raise RuntimeError("router closed the connection")
            self.buf += data
            if self.buf[:4] == b"AMQP":
                self.buf = self.buf[8:]
            while len(self.buf) >= 8:
                size = struct.unpack(">I", self.buf[:4])[0]
                if len(self.buf) < size:
                    break
                if size > 10 and self.buf[10] == 0x12:
                    self.attached += 1
                self.buf = self.buf[size:]

    def close(self):
        self.s.close()


STANDALONE = ["startup", "presettled", "unsettled", "fan4", "multicast8", "large", "latency", "conns", "links"]
BROKERED = ["brokered", "configured"]
NETWORK = ["hop2", "hop4", "reroute", "control"]
SCENARIOS = STANDALONE + BROKERED + NETWORK + ["instructions"]
# Of the load that makes sense through a relay: one sender, one receiver.
RELAYED = ["presettled", "unsettled", "large", "latency"]
REPEATED = ["presettled", "unsettled", "brokered"]

# What was set: (text, scenario, figure, relative to this figure of HAProxy, must, aim). Figures at most, or where
# must is below aim, at least; where only one was set, both are it.
TARGETS = [
    ("presettled, CPU per message / HAProxy's", "presettled", "cpu_us_per_msg", "presettled", 8, 4),
    ("unsettled, CPU per message / HAProxy's presettled", "unsettled", "cpu_us_per_msg", "presettled", 12, 6),
    ("fan4 unsettled, msgs/s", "fan4", "msgs_per_s", None, 1.5e6, 3e6),
    ("large (60 kB), CPU us per MB", "large", "cpu_us_per_mb", None, 300, 120),
    ("latency at 10,000 msgs/s, p50 us", "latency", "p50_us", None, 80, 40),
    ("latency at 10,000 msgs/s, CPU us per message", "latency", "cpu_us_per_msg", None, 30, 15),
    ("idle connection with a link, kB RSS", "conns", "kb_per_conn", None, 24, 12),
    ("link, kB RSS", "links", "kb_per_link", None, 3.5, 2.5),
    ("link, CPU us to attach", "links", "cpu_us_per_attach", None, 80, 40),
    ("start-up to first accepted connection, ms", "startup", "ms", None, 120, 60),
    ("link-routed, CPU per passage / message-routed", "brokered", "linkroute_ratio", None, 1.3, 1.3),
    ("5,000 autoLinks and link routes, start-up, ms", "configured", "startup_ms", None, 2000, 2000),
    ("5,000 of each / ten of each, CPU to attach", "configured", "plain_attach_ratio", None, 1.1, 1),
    ("the same of a link that is routed", "configured", "linkroute_attach_ratio", None, 1.1, 1),
    ("unsettled over 2 routers, CPU us per message", "hop2", "cpu_us_per_msg", None, 1.2, 1.2),
    ("unsettled over 4 routers, CPU us per message", "hop4", "cpu_us_per_msg", None, 2.5, 2.5),
    ("router on the way falls silent, s until flow", "reroute", "silent_seconds", None, 0.5, 0.5),
    ("router on the way is killed, s until flow", "reroute", "killed_seconds", None, 0.2, 0.2),
    ("idle full mesh of 6, % of a core, most of one", "control", "core_percent_max", None, 0.5, 0.5),
]


def run(cmd, name, scale, rounds):
    """Run a scenario; cmd None means HAProxy."""
    b = Bench(cmd, scale, rounds if name in REPEATED else 1)
    try:
        return getattr(b, name)()
    except Exception as e:  # a scenario that fails is a result, not the end of the run
        return {"failed": "%s: %s" % (type(e).__name__, e)}
    finally:
        b.close()


def judge(result, name):
    """Print each target that was measured with its verdict; return whether every must was met."""
    met = True
    rows = []
    for text, scenario, figure, relative, must, aim in TARGETS:
        measured = result.get(scenario, {}).get(name)
        if measured is None:
            continue
        base = result.get(relative, {}).get("haproxy", {}).get(figure) if relative else 1
        if figure not in measured or not base:
            rows.append((text, "-", must, aim, "FAILED" if "failed" in measured else "not measured"))
            met = met and "failed" not in measured
            continue
        value = measured[figure] / base
        within = (lambda limit: value <= limit) if must >= aim else (lambda limit: value >= limit)
        verdict = "aim" if within(aim) else "must" if within(must) else "MISS"
        met = met and verdict != "MISS"
        rows.append((text, value, must, aim, verdict))
    lost = {scenario: r[name]["lost"] for scenario, r in result.items() if "lost" in r.get(name, {})}
    if lost:
        rows.append(("messages lost, all scenarios", sum(lost.values()), 0, 0, "MISS " + json.dumps(lost) if any(lost.values()) else "aim"))
        met = met and not any(lost.values())
    show = lambda v: v if isinstance(v, str) else "%.4g" % v if v < 1e5 else "%.2f M" % (v / 1e6)
    print("\n| %-50s | %9s | %7s | %7s | reached |\n| --- | --- | --- | --- | --- |" % ("", "measured", "must", "aim"))
    for text, value, must, aim, verdict in rows:
        print("| %-50s | %9s | %7s | %7s | %s |" % (text, show(value), show(must), show(aim), verdict))
    return met


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--name", default="A", help="what the router is called in the output")
    ap.add_argument("--haproxy", action="store_true", help="measure HAProxy too, and judge the figures")
    ap.add_argument("--vs", help="another router's command, measured in turn")
    ap.add_argument("--only", help="scenarios, separated by commas")
    ap.add_argument("--scale", type=float, default=1.0, help="factor on the numbers of messages and links")
    ap.add_argument("--rounds", type=int, default=3, help="runs of presettled, unsettled and brokered, of which the median counts")
    ap.add_argument("--json", help="file for all results")
    ap.add_argument("command", nargs=argparse.REMAINDER)
    a = ap.parse_args()
    cmd = a.command[1:] if a.command[:1] == ["--"] else a.command
    if not cmd:
        ap.error("name the router's command after --")
    if a.haproxy and not shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        ap.error("haproxy is not there: scripts/deps bench installs it")
    os.environ["PATH"] += ":/usr/sbin"
    names = a.only.split(",") if a.only else STANDALONE + BROKERED + NETWORK
    for s in names:
        if s not in SCENARIOS:
            ap.error("no scenario " + s)
    result = {}
    for s in names:
        result[s] = {}
        runs = [(a.name, cmd)]
        if a.haproxy and s in RELAYED:
            runs.insert(0, ("haproxy", None))
        if a.vs:
            runs.append(("vs", shlex.split(a.vs)))
        for label, command in runs:
            result[s][label] = run(command, s, a.scale, a.rounds)
            print("%-12s %-8s %s" % (s, label, json.dumps(result[s][label])), flush=True)
        for other in ("haproxy", "vs"):
            if other in result[s]:
                x, y = result[s][a.name], result[s][other]
                ratio = {k: round(x[k] / y[k], 3) for k in x
                         if isinstance(x[k], (int, float)) and isinstance(y.get(k), (int, float)) and y[k]}
                result[s]["ratio_to_" + other] = ratio
                print("%-12s %-8s %s" % ("", "/ " + other, json.dumps(ratio)), flush=True)
    met = judge(result, a.name) if a.haproxy else True
    if a.json:
        json.dump(result, open(a.json, "w"), indent=1)
    sys.exit(0 if met and not any("failed" in r[a.name] for r in result.values()) else 1)


if __name__ == "__main__":
    main()
