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

A system test that fails runs once more, alone, when its stage has nothing else to do. If it passes then it counts as
passed, and as unsteady, which is told. What a sanitizer reports, and a router that crashes, is a failure at once.

The last line is `N passed, M failed`, the sum of all unit, Python, system and fuzz tests. A stage that is no test (a
build, a check) and fails counts as one failure. The exit status is 0 only if nothing failed.
"""
import os
import signal
import sys
import time

from outcome import RESULTS, Outcome
from plan import STAGE, STAGES


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
        needs = [] if name == "system" and "TRUNKLINE_BUILD" in os.environ else STAGE[name].needs
        for step in needs + [name]:
            if step not in plan:
                plan.append(step)
    return plan, chosen, arguments


def run(plan, chosen, arguments):
    """Run the stages of a plan. Gives [(name, seconds, outcome)]."""
    results, failed = [], set()
    for name in plan:
        stage = STAGE[name]
        print("\n=== %s: %s" % (name, stage.text), flush=True)
        start = time.monotonic()
        missing = [build for build in stage.needs if build in failed]
        if missing:
            outcome = Outcome(failed=1, note="not run: build %s failed" % missing[0])
        else:
            outcome = stage.function(arguments if name in chosen else [])
        if outcome.failed:
            failed.add(name)
        results.append((name, time.monotonic() - start, outcome))
        print(line_of(*results[-1]).strip(), flush=True)
    return results


def line_of(name, seconds, outcome):
    return "  %-12s %6.1f s   %s" % (name, seconds, outcome.describe(STAGE[name].is_test))


def main():
    # Started in the background by a shell, interrupts are ignored, and by all children too: tests of them would wait in vain.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    words = sys.argv[1:]
    if "--list" in words:
        print("\n".join(STAGE))
        return 0
    if not set(words).isdisjoint({"-h", "--help"}):
        print(__doc__.format(stages="".join("  %-12s %s\n" % (stage.name, stage.text) for stage in STAGES)))
        return 0
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = run(*choose(words))
    total = sum((outcome for _, _, outcome in results), Outcome())
    print("\n=== summary\n" + "\n".join(line_of(*result) for result in results))
    for test in total.unsteady:
        print("  unsteady: %s" % test)
    print("%d passed, %d failed" % (total.passed, total.failed))
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
