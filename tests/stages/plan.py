"""The stages, in their order, and what each of them does."""
import os
from collections import namedtuple
from pathlib import Path

from again import try_again
from command import PYTHON, ROOT, execute, slowness
from outcome import RESULTS, as_check, count_results

CORES = os.cpu_count() or 2
SOURCE_FOLDERS = ("include", "lib", "router", "broker", "tools", "tests", "bench", "fuzz")

# needs     names of stages that build what this one tests
# is_test   it counts tests; else it only succeeds or fails
# function  of (arguments for its tool): gives an Outcome
Stage = namedtuple("Stage", "name needs text function is_test")


def build(preset):
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


def check_format(arguments):
    return as_check(execute(["clang-format", "--dry-run", "-Werror"] + arguments + list(sources())))


def check_reference(arguments):
    return as_check(execute([PYTHON, "scripts/make-reference", "--check"] + arguments))


def check_includes(arguments):
    return as_check(execute([PYTHON, "tests/include_order.py"] + arguments))


# What ctest knows as python/..., the stages python and reference run by themselves, to count each test.
UNIT = ["-LE", "fuzz", "-E", "^python/"]
UNIT_OF_THREADS = ["-LE", "fuzz|one-thread", "-E", "^python/"]  # what ThreadSanitizer can say something of
FUZZ = ["-L", "fuzz"]


def ctest(name, preset, selection):
    def stage(arguments):
        results = RESULTS / ("ctest-%s.xml" % name)
        results.unlink(missing_ok=True)
        status = execute(["ctest", "--test-dir", "build/" + preset] + selection + ["--parallel", CORES,
                          "--output-on-failure", "--output-junit", results] + arguments, ROOT / "build" / preset)
        return count_results(results, status)
    return stage


def python_tests(arguments):
    """Where Python tests stand beside what they test. System tests have stages of their own."""
    results = RESULTS / "pytest-python.xml"
    results.unlink(missing_ok=True)
    folders = [folder for folder in ("python", "tools", "tests", "scripts", "bench") if (ROOT / folder).is_dir()]
    options = ["--ignore=tests/system", "--ignore=tests/browser", "--junitxml", results]
    status = execute([PYTHON, "-m", "pytest", "-q"] + folders + options + arguments, ROOT / "build" / "release")
    return count_results(results, status)


def system_tests(name, preset, more, selection=()):
    """more: so many more tests than there are cores run beside each other, because most wait more than they compute."""
    def stage(arguments):
        results = RESULTS / ("pytest-%s.xml" % name)
        results.unlink(missing_ok=True)
        tested = ROOT / "build" / preset
        if name == "system" and "TRUNKLINE_BUILD" in os.environ:
            tested = Path(os.environ["TRUNKLINE_BUILD"]).resolve()
        # pytest's limit per test is in pytest.ini; under a sanitizer everything takes longer.
        command = [PYTHON, "-m", "pytest", "-q", "--timeout", str(120 * slowness(tested))]
        # Who has failed is listed when it has run a second time: not by pytest's own summary.
        status = execute(command + ["-rsxX", "-n", CORES + more, "tests/system", "--junitxml", results, *selection, *arguments],
                         tested)
        status = try_again(results, status, lambda tests, path: execute(command + ["--junitxml", path, *tests], tested))
        return count_results(results, status)
    return stage


# Markers: pytest.ini.
UNDER_ASAN = ["-m", "not heavy and not python_only"]
UNDER_TSAN = ["-m", "not heavy and not python_only and not one_thread"]

STAGES = [
    Stage("format", [], "clang-format has nothing to say about any .c or .h", check_format, False),
    Stage("includes", [], "folders include only what design.md lets them", check_includes, False),
    Stage("reference", [], "the reference manual says what the schema says", check_reference, False),
    Stage("release", [], "build with gcc, warnings are errors", build("release"), False),
    Stage("unit", ["release"], "unit tests (ctest)", ctest("unit", "release", UNIT), True),
    Stage("python", ["release"], "tests of what is written in Python", python_tests, True),
    Stage("system", ["release"], "system tests: real daemons, clients of others", system_tests("system", "release", 1), True),
    Stage("run", ["release"], "scripts/run shows messages going through a router", show_run, False),
    Stage("clang", [], "build with clang: thread-safety analysis, warnings are errors", build("clang"), False),
    Stage("asan", [], "build with AddressSanitizer and UndefinedBehaviorSanitizer", build("asan"), False),
    Stage("asan-unit", ["asan"], "unit tests under them", ctest("asan-unit", "asan", UNIT), True),
    Stage("fuzz", ["asan"], "a short run of each fuzz target", ctest("fuzz", "asan", FUZZ), True),
    Stage("asan-system", ["asan"], "system tests under them, where there is something to find",
          system_tests("asan-system", "asan", 2, UNDER_ASAN), True),
    Stage("tsan", [], "build with ThreadSanitizer", build("tsan"), False),
    Stage("tsan-unit", ["tsan"], "unit tests under it, where there are threads", ctest("tsan-unit", "tsan", UNIT_OF_THREADS), True),
    Stage("tsan-system", ["tsan"], "system tests under it, where there are threads",
          system_tests("tsan-system", "tsan", 2, UNDER_TSAN), True),
]
STAGE = {stage.name: stage for stage in STAGES}
