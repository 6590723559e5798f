"""Commands of stages: where they run, what they find in their environment, and that they end."""
import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
STAGE_LIMIT_S = 1500  # a stage that hangs ends here, so that the whole run always ends

# How much slower than release a build under a sanitizer may be before a deadline in a test is missed.
SLOWNESS = {"release": 1, "clang": 1, "debug": 2, "asan": 4, "tsan": 8}


def slowness(build):
    return SLOWNESS.get(build.name, 1)


def test_environment(build):
    """Where tests find what was built, and options that make every sanitizer's report fatal. Suppressions name code of others only, never our own."""
    folder = ROOT / "tests" / "sanitizers"
    return {
        "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:quarantine_size_mb=8",
        "LSAN_OPTIONS": "suppressions=%s:print_suppressions=0" % (folder / "lsan.supp"),
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "TSAN_OPTIONS": "suppressions=%s:halt_on_error=0:exitcode=66:second_deadlock_stack=1" % (folder / "tsan.supp"),
        "TRUNKLINE_BUILD": str(build),
        "TRUNKLINE_PYTHON": str(build / "lib" / "trunkline" / "python"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TRUNKLINE_SLOWNESS": str(slowness(build)),
    }


def execute(command, build=None):
    """Run a command in the root of the tree, output to ours; kill it with its children when it takes too long."""
    environment = dict(os.environ)
    if build is not None:
        environment.update(test_environment(build))
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        return process.wait(STAGE_LIMIT_S)
    except subprocess.TimeoutExpired:
        print("killed: took longer than %d s: %s" % (STAGE_LIMIT_S, command[0]), flush=True)
        return 124
    finally:
        # Ours alone: the session was made for this command. Gone already when it ended by itself.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
