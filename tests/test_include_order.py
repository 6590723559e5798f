"""The check of includes finds each kind of offence, and only those."""
import include_order
import pytest


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """tree({path: text}) makes a source tree; the result is what the check says of a path in it."""
    monkeypatch.setattr(include_order, "ROOT", tmp_path)

    def make(files, checked):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return [text for _, text in include_order.check(tmp_path / checked)]

    return make


def test_include_from_folder_before_is_fine(tree):
    files = {"include/trunkline/base/list.h": "", "include/trunkline/amqp/frame.h": "",
             "lib/amqp/frame.c": '#include "trunkline/amqp/frame.h"\n#include "trunkline/base/list.h"\n#include <stdio.h>\n'}
    assert tree(files, "lib/amqp/frame.c") == []


def test_include_from_folder_after_is_found(tree):
    files = {"router/route/link.h": "", "router/mesh/lsdb.c": '#include "router/route/link.h"\n'}
    assert tree(files, "router/mesh/lsdb.c") == ["router/mesh may not include from router/route (router/route/link.h)"]


def test_library_including_a_later_library_is_found(tree):
    files = {"include/trunkline/worker.h": "", "lib/io/worker.c": "", "lib/base/log.c": "#include <trunkline/worker.h>\n"}
    assert tree(files, "lib/base/log.c") == ["lib/base may not include from lib/io (trunkline/worker.h)"]


def test_tool_including_the_router_is_found(tree):
    files = {"router/route/link.h": "", "tools/qdsend.c": '#include "router/route/link.h"\n'}
    assert tree(files, "tools/qdsend.c") == ["tools may not include from router/route (router/route/link.h)"]


def test_private_header_is_for_its_folder_only(tree):
    files = {"lib/amqp/link_priv.h": "", "lib/amqp/link_flow.c": '#include "link_priv.h"\n',
             "lib/io/worker.c": "#include <lib/amqp/link_priv.h>\n"}
    assert tree(files, "lib/amqp/link_flow.c") == []
    assert tree(files, "lib/io/worker.c") == ["lib/amqp/link_priv.h is private to its own folder"]


def test_proton_is_for_the_endpoint_and_for_tools(tree):
    for name, offences in (("lib/amqp/endpoint_sasl.c", 0), ("tools/qdsend.c", 0), ("lib/amqp/peer_test.c", 0),
                           ("lib/amqp/session.c", 1), ("router/route/x.c", 1)):
        assert len(tree({name: "#include <proton/engine.h>\n"}, name)) == offences, name


def test_own_header_not_first_is_found(tree):
    files = {"router/mesh/lsr.h": "", "router/mesh/lsdb.h": "", "router/mesh/lsdb.c": '#include "lsr.h"\n#include "lsdb.h"\n'}
    assert tree(files, "router/mesh/lsdb.c") == ["includes lsr.h before its own lsdb.h"]


def test_missing_header_is_found(tree):
    assert tree({"lib/base/log.c": '#include "nowhere.h"\n'}, "lib/base/log.c") == ['there is no "nowhere.h"']
