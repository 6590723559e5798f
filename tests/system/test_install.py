"""What `cmake --install` puts into a folder is complete: it runs from there, and names no folder of the build."""
import subprocess

import pytest

from support.deadline import seconds
from support.router import ROOT, Config, Router, build_dir

PROGRAMS = {"sbin/qdrouterd", "bin/qdstat", "bin/qdmanage", "bin/qdsend", "bin/qdrecv"}
PAGES = {"share/man/man%s/%s" % (page.name[-1], page.name) for page in (ROOT / "docs" / "man").glob("*.[158]")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    manifest = build_dir() / "install_manifest.txt"
    before = manifest.read_bytes() if manifest.exists() else None
    subprocess.run(["cmake", "--install", build_dir(), "--prefix", prefix], check=True, stdout=subprocess.DEVNULL,
                   timeout=seconds(60))
    if before is None:
        manifest.unlink(missing_ok=True)
    else:
        manifest.write_bytes(before)
    return prefix


def test_installed_files_are_those_that_are_needed(installed):
    files = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert PROGRAMS | PAGES | {"etc/qpid-dispatch/qdrouterd.conf"} <= files
    examples = {str(path.relative_to(ROOT / "etc")) for path in (ROOT / "etc" / "examples").rglob("*") if path.is_file()}
    assert {"share/doc/trunkline/" + name for name in examples} <= files
    modules = {path.stem for path in (ROOT / "python" / "trunkline").rglob("*.py")} | {"_schema", "_schema_text"}
    compiled = {path.name.split(".")[0] for path in (installed / "lib" / "trunkline").rglob("*.pyc")}
    assert compiled == modules


def test_installed_library_names_no_folder_of_the_build(installed):
    for path in (installed / "lib" / "trunkline").rglob("*"):
        assert not path.is_file() or str(build_dir()).encode() not in path.read_bytes(), path


def test_installed_router_and_tools_run(installed, tmp_path, monkeypatch):
    checked = subprocess.run([installed / "sbin" / "qdrouterd", "--check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, timeout=seconds(20))
    assert (checked.returncode, checked.stdout) == (0, "")
    monkeypatch.setattr("support.router.program", lambda name: installed / ("sbin" if name == "qdrouterd" else "bin") / name)
    with Router(Config(), tmp_path) as router:
        router.wait_ready()
        shown = subprocess.run([installed / "bin" / "qdstat", "-b", router.address], stdout=subprocess.PIPE, text=True,
                               timeout=seconds(20), check=True).stdout
        assert "Router Statistics" in shown
