#!/usr/bin/python3
"""What scripts/test runs: stages, one after the other, each with its time, its tests counted from their JUnit files.

usage: scripts/test [STAGE...] [OPTIONS for pytest or ctest]

Without a stage: all of them, in the order below. A stage that tests a build makes that build first.
What follows the stages is handed to the stage's own tool, so `scripts/test system -k drain` runs the system tests
with `drain` in their name and `scripts/test unit -R framer` the unit tests of the framer.

{stages}
  -h, --help   this text
  --list       the names of the stages

System tests find the programs by TRUNKLINE_BUILD (default build/release): TRUNKLINE_BUILD=build/debug scripts/test system
tests that build as it is, without building it again.

The last line is `N passed, M failed`, the sum of all unit, Python, system and fuzz tests. A stage that is no test (a
build, a check) and fails counts as one failure. The exit status is 0 only if nothing failed.
"""
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
RESULTS = ROOT / "build" / "results"
CORES = os.cpu_count() or 2
STAGE_LIMIT_S = 1500  # a stage that hangs ends here, so that the whole run always ends
SOURCE_FOLDERS = ("include", "lib", "router", "broker", "tools", "tests", "bench", "fuzz")

# How much slower than release a build under a sanitizer may be before a deadline in a test is missed.
SLOWNESS = {"release": 1, "clang": 1, "debug": 2, "asan": 4, "tsan": 8}


class Outcome:
    """What a stage came to: test counts, or for a stage that is no test, one failure if it failed."""

    def __init__(self, passed=0, failed=0, skipped=0, note=""):
        self.passed, self.failed, self.skipped, self.note = passed, failed, skipped, note


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
        "TRUNKLINE_SLOWNESS": str(SLOWNESS.get(build.name, 1)),
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


def count_results(path, status):
    """Sum a JUnit file. No file or no test at all is a failure: a stage that tests nothing must not look green."""
    passed = failed = skipped = 0
    if path.exists():
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None or case.get("status") == "fail":
                failed += 1
            elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
                skipped += 1
            else:
                passed += 1
    note = ""
    if passed + failed == 0:
        failed, note = 1, "no test ran"
    elif status and not failed:
        failed, note = 1, "the tool ended with status %d" % status
    return Outcome(passed, failed, skipped, note)


def as_check(status):
    return Outcome(failed=1, note="status %d" % status) if status else Outcome()


def build_preset(preset):
    def stage(arguments):
        status = execute(["cmake", "--preset", preset])
        return as_check(status or execute(["cmake", "--build", "--preset", preset, "--parallel", CORES] + arguments))
    return stage


def show_run(arguments):
    """The README's other command, as a newcomer runs it, but for the port."""
    return as_check(execute(["scripts/run", "--once", "--port", "0"] + arguments))


def sources():
    for folder in SOURCE_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            if "node_modules" not in path.parts:
                yield path


LINE_MAX = 120


def too_long():
    """Lines longer than may be. clang-format leaves comments as they are, so that tables in them stay tables."""
    for path in sources():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if len(line) > LINE_MAX:
                yield "%s:%d: %d columns, at most %d" % (path.relative_to(ROOT), number, len(line), LINE_MAX)


def check_format(arguments):
    long_lines = list(too_long())
    for line in long_lines:
        print(line, flush=True)
    status = execute(["clang-format", "--dry-run", "-Werror"] + arguments + list(sources()))
    return as_check(status or bool(long_lines))


def check_reference(arguments):
    return as_check(execute([PYTHON, "scripts/make-reference", "--check"] + arguments))


def check_includes(arguments):
    return as_check(execute([PYTHON, "tests/include_order.py"] + arguments))


# What ctest knows as python/..., the stages python and reference run by themselves, to count each test.
UNIT = ["-LE", "fuzz", "-E", "^python/"]
FUZZ = ["-L", "fuzz"]


def ctest(name, preset, selection):
    def stage(arguments):
        results = RESULTS / ("ctest-%s.xml" % name)
        results.unlink(missing_ok=True)
        status = execute(["ctest", "--test-dir", "build/" + preset] + selection + ["--parallel", CORES,
                          "--output-on-failure", "--output-junit", results] + arguments, ROOT / "build" / preset)
        return count_results(results, status)
    return stage


def pytest(name, preset, options):
    def stage(arguments):
        results = RESULTS / ("pytest-%s.xml" % name)
        results.unlink(missing_ok=True)
        build = ROOT / "build" / preset
        if name == "system" and "TRUNKLINE_BUILD" in os.environ:
            build = Path(os.environ["TRUNKLINE_BUILD"]).resolve()
        # pytest's limit per test is in pytest.ini; under a sanitizer everything takes longer.
        limit = ["--timeout", str(120 * SLOWNESS.get(build.name, 1))]
        status = execute([PYTHON, "-m", "pytest", "-q", "--junitxml", results] + limit + options + arguments, build)
        return count_results(results, status)
    return stage


def python_test_folders():
    """Where Python tests may stand beside what they test. System tests have a stage of their own."""
    folders = [folder for folder in ("python", "tools", "tests", "scripts", "bench") if (ROOT / folder).is_dir()]
    return folders + ["--ignore=tests/system", "--ignore=tests/browser"]


SYSTEM = ["-n", "2", "tests/system"]

# name, builds it needs, what it does, function of (arguments for its tool)
STAGES = [
    ("format", [], "clang-format has nothing to say about any .c or .h, and no line is too long", check_format),
    ("includes", [], "folders include only what design.md lets them", check_includes),
    ("reference", [], "the reference manual says what the schema says", check_reference),
    ("release", [], "build with gcc, warnings are errors", build_preset("release")),
    ("unit", ["release"], "unit tests (ctest)", ctest("unit", "release", UNIT)),
    ("python", ["release"], "tests of what is written in Python", pytest("python", "release", python_test_folders())),
    ("system", ["release"], "system tests: real daemons, clients of others", pytest("system", "release", SYSTEM)),
    ("run", ["release"], "scripts/run shows messages going through a router", show_run),
    ("clang", [], "build with clang: thread-safety analysis, warnings are errors", build_preset("clang")),
    ("asan", [], "build with AddressSanitizer and UndefinedBehaviorSanitizer", build_preset("asan")),
    ("asan-unit", ["asan"], "unit tests under them", ctest("asan-unit", "asan", UNIT)),
    ("fuzz", ["asan"], "a short run of each fuzz target", ctest("fuzz", "asan", FUZZ)),
    ("asan-system", ["asan"], "system tests under them, but for the heavy ones",
     pytest("asan-system", "asan", SYSTEM + ["-m", "not heavy"])),
    ("tsan", [], "build with ThreadSanitizer", build_preset("tsan")),
    ("tsan-unit", ["tsan"], "unit tests under it", ctest("tsan-unit", "tsan", UNIT)),
    ("tsan-system", ["tsan"], "system tests under it, but for the heavy ones",
     pytest("tsan-system", "tsan", SYSTEM + ["-m", "not heavy"])),
]
STAGE = {name: (needs, text, function) for name, needs, text, function in STAGES}


def choose(words):
    """Split the command line into stages, with the builds they need put before them, and arguments for their tool."""
    chosen = []
    for word in words:
        if word not in STAGE:
            break
        chosen.append(word)
    arguments = words[len(chosen):]
    if arguments and len(chosen) != 1:
        sys.exit("scripts/test: name one stage before '%s'; stages are: %s" % (arguments[0], " ".join(STAGE)))
    if not chosen:
        chosen = list(STAGE)
    plan = []
    for name in chosen:
        # A build dir named by the caller is tested as it stands.
        needs = [] if name == "system" and "TRUNKLINE_BUILD" in os.environ else STAGE[name][0]
        for step in needs + [name]:
            if step not in plan:
                plan.append(step)
    return plan, chosen, arguments


def describe(outcome, is_test):
    if not is_test:
        return "failed (%s)" % outcome.note if outcome.failed else "ok"
    text = "%d passed, %d failed" % (outcome.passed, outcome.failed)
    if outcome.skipped:
        text += ", %d skipped" % outcome.skipped
    return text + (" (%s)" % outcome.note if outcome.note else "")


def main():
    # Started in the background by a shell, interrupts are ignored, and by all children too: tests of them would wait in vain.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    words = sys.argv[1:]
    if "--list" in words:
        print("\n".join(STAGE))
        return 0
    if not set(words).isdisjoint({"-h", "--help"}):
        print(__doc__.format(stages="".join("  %-12s %s\n" % (name, text) for name, _, text, _ in STAGES)))
        return 0
    plan, chosen, arguments = choose(words)
    RESULTS.mkdir(parents=True, exist_ok=True)
    summary, failed_builds = [], set()
    total = Outcome()
    for name in plan:
        needs, text, function = STAGE[name]
        print("\n=== %s: %s" % (name, text), flush=True)
        start = time.monotonic()
        if failed_builds.intersection(needs):
            outcome = Outcome(failed=1, note="not run: build %s failed" % needs[0])
        else:
            outcome = function(arguments if name in chosen else [])
        if outcome.failed and name in ("release", "asan", "tsan"):
            failed_builds.add(name)
        is_test = outcome.passed > 0 or name in ("unit", "python", "system", "fuzz") or "-" in name
        total.passed += outcome.passed
        total.failed += outcome.failed
        summary.append("  %-12s %6.1f s   %s" % (name, time.monotonic() - start, describe(outcome, is_test)))
        print(summary[-1].strip(), flush=True)
    print("\n=== summary\n" + "\n".join(summary))
    print("%d passed, %d failed" % (total.passed, total.failed))
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
