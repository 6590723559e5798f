"""Fixtures of all system tests: real routers, looked at from outside."""
import itertools

import pytest

from support.mesh import Mesh
from support.peers import Peers
from support.programs import Program
from support.relay import Relays
from support.router import Config, Router


@pytest.fixture
def start_router(tmp_path, request):
    """start_router(config=None, wait=True, **Router's arguments): a Router that is checked and ended after the test."""
    routers, numbers = [], itertools.count()

    def start(config=None, wait=True, **arguments):
        number = next(numbers)
        arguments.setdefault("name", "router%d" % number if number else "router")
        made = Router(config if config is not None else Config(), tmp_path, **arguments)
        routers.append(made)  # from here on it is ended, whatever happens
        if wait:
            made.wait_ready()
        return made

    request.node.trunkline_routers = routers
    yield start
    failures = []
    for router in routers:
        try:
            router.finish()
        except AssertionError as e:
            failures.append(str(e))
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)


@pytest.fixture
def peers():
    with Peers() as peers:
        yield peers


@pytest.fixture
def relays():
    with Relays() as relays:
        yield relays


@pytest.fixture
def start_mesh(start_router):
    """start_mesh("AB BC", **Mesh's arguments): a Mesh whose routers are checked and ended after the test."""
    meshes = []

    def start(links, converge=True, **arguments):
        meshes.append(Mesh(start_router, links, **arguments))
        if converge:
            meshes[-1].wait_converged()
        return meshes[-1]

    yield start
    for mesh in meshes:
        mesh.close()


@pytest.fixture
def router(start_router):
    """A standalone router with one listener, and the address prefixes closest, balanced and multicast."""
    return start_router()


def pytest_runtest_setup(item):
    """JUnit files tell by which name a test can be run again (tests/stages/again.py)."""
    item.user_properties.append(("nodeid", item.nodeid))


@pytest.fixture
def patient(start_router):
    """The same, which does not mind clients that say nothing for long: those written by hand send no heartbeats."""
    return start_router(Config().change("listener", idleTimeoutSeconds=0))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of its routers' logs."""
    report = (yield).get_result()
    if report.failed:
        for router in getattr(item, "trunkline_routers", []):
            report.sections.append(("log of %s" % router.name, router.tail()))


@pytest.fixture
def start_program(tmp_path):
    """start_program(command..., environment=None): a Program that is ended after the test."""
    programs = []

    def start(*command, environment=None):
        name = "program%d-%s" % (len(programs), str(command[0]).rsplit("/", 1)[-1])
        programs.append(Program(command, tmp_path, name, environment))
        return programs[-1]

    yield start
    for program in programs:
        program.end()
