"""Our bytes are those of C: a program made by ``rpcgen`` of the same file reads them, and writes them again."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from handlers.sunrpc import xdr
from handlers.sunrpc.calling import Calls
from handlers.sunrpc.client import VersionClient
from handlers.sunrpc.language import load, translate
from handlers.sunrpc.program import Version
from tests.support.programs import needed
from tests.support.rpcgen import Filter
from tests.support.xdr import values

EVERY = Path(__file__).with_name("every.x")
INSTALLED = Path("/usr/include")

BUILT = [
    "bootparam_prot", "key_prot", "klm_prot", "mount", "nfs_prot", "nis_object", "nlm_prot", "rex", "rquota", "rstat",
    "rusers", "sm_inter", "spray", "yp", "yppasswd",
]  # fmt: skip
OTHERS = ["rpcsvc/nis", "rpcsvc/nis_callback", "tirpc/rpc/rpcb_prot", "tirpc/rpcsvc/crypt"]
"""Those of which rpcgen or gcc makes no program."""


def installed(name):
    """The path of a file that Debian's packages install."""
    path = INSTALLED / f"{name}.x"
    return needed(path if path.exists() else None, "rpcsvc-proto, libnsl-dev or libtirpc-dev")


def compare(path, folder, examples):
    """Compare random values of each type of the file; return the names of the types."""
    module = load(path)
    with Filter(path, folder) as filter_c:
        for name in filter_c.types:
            compare_type(filter_c, name, getattr(module, name, None) or getattr(module, f"{name}_"), examples)
        return filter_c.types


def compare_type(filter_c, name, kind, examples):
    codec = xdr.codec(kind)

    @settings(max_examples=examples, database=None, suppress_health_check=[*HealthCheck])
    @given(values(kind))
    def agree(value):
        encoded = codec.pack(value)
        written = filter_c(name, encoded)
        assert written == encoded
        assert repr(codec.unpack(written)) == repr(value)

    agree()


@pytest.mark.slow
def test_each_type_and_form_has_the_bytes_of_c(tmp_path):
    assert len(compare(EVERY, tmp_path, 20)) > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT)
def test_the_files_of_debian_have_the_bytes_of_c(name, tmp_path):
    assert compare(installed(f"rpcsvc/{name}"), tmp_path, 15)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(f"rpcsvc/{name}" for name in BUILT), *OTHERS])
def test_the_files_of_debian_compile_and_each_of_their_types_has_a_codec(name):
    path = installed(name)
    module = load(path)
    assert translate(path) == translate(path)
    kinds = [kind for name, kind in vars(module).items() if getattr(kind, "__module__", "") == module.__name__]
    for kind in kinds:
        if hasattr(kind, "versions"):
            for version in kind.versions.values():
                for procedure in version.procedures.values():
                    for used in (*procedure.arguments, procedure.result):
                        xdr.codec(used)
        elif not (isinstance(kind, type) and issubclass(kind, (Version, VersionClient, Calls))):
            xdr.codec(kind)
    assert kinds
