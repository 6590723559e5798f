"""Running qdstat and qdmanage as people do: as processes."""

import os
import subprocess

from support.deadline import seconds
from support.router import die_with_parent, program

# The outputs compared with are those of this locale; nothing of the caller's surroundings may decide a test.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def run(tool, *arguments, environment=None, stdin="", path=None, limit=30.0):
    """Run a tool to its end. Gives subprocess.CompletedProcess with stdout, stderr as text.

    path: of the script, if not that of the build under test.
    """
    return subprocess.run([str(path or program(tool)), "--timeout", "%g" % seconds(20), *arguments], input=stdin, capture_output=True, encoding="utf-8",
                          env={**ENVIRONMENT, **(environment or {})}, timeout=seconds(limit), preexec_fn=die_with_parent)


def start(tool, *arguments, **popen):
    """Start a tool with its output on a pipe, to meddle with it while it runs. To be used as context manager."""
    return subprocess.Popen([str(program(tool)), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, encoding="utf-8", env={**ENVIRONMENT, "PATH": os.environ["PATH"]},
                            preexec_fn=die_with_parent, **popen)


def output(tool, *arguments, **options):
    """The standard output of a run that succeeds and says nothing on stderr."""
    done = run(tool, *arguments, **options)
    assert (done.returncode, done.stderr) == (0, ""), "%s\n%s" % (done.stdout, done.stderr)
    return done.stdout


def failure(tool, *arguments, **options):
    """The standard output of a run that fails as the tools do: status 1, told in one line on stdout."""
    done = run(tool, *arguments, **options)
    assert (done.returncode, done.stderr) == (1, ""), "%s\n%s" % (done.stdout, done.stderr)
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout


def usage_error(tool, *arguments, **options):
    """The last line on stderr of a run that ends with a usage error, status 2."""
    done = run(tool, *arguments, **options)
    assert (done.returncode, done.stdout) == (2, ""), "%s\n%s" % (done.stdout, done.stderr)
    assert done.stderr.startswith("usage: %s " % tool), done.stderr
    return done.stderr.splitlines()[-1]
