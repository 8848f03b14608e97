"""nirs4all's ids and chains: what they parse to, and that every artifact has its own place."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store import CorruptionError, InvalidInputError, parse_artifact_id
from n4a_store.integrations.nirs4all.addresses import Address, is_address
from n4a_store.integrations.nirs4all.chains import (
    CHAIN,
    ID,
    NAME,
    SOURCE_STRIDE,
    STRIDE,
    ChainNode,
    ForeignId,
    chain_id,
    component,
    last_node,
    notes_of,
    parse_foreign_id,
    place,
)
from n4a_store.objects.oid import ObjectId
from n4a_store.refs.names import check_name_component

CHAIN_TEXT = "s1.SNV>s4.PCA[br=0.1,src=0,sub=2]>s5.Ridge[br=0.1]"


def test_an_id_has_three_parts() -> None:
    digest = hashlib.sha256(CHAIN_TEXT.encode()).hexdigest()[:12]
    assert chain_id("0001_pls", CHAIN_TEXT, 2) == f"0001_pls${digest}:2"
    assert parse_foreign_id(f"0001_pls${digest}:2") == ForeignId("0001_pls", digest, 2)
    assert parse_foreign_id(chain_id("p", CHAIN_TEXT, None)).fold is None


@pytest.mark.parametrize("text", ["", "p", "p$", "p$abc", "p$abc:", "$abc:0", "p$:0", "p$abc:x"])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(InvalidInputError, match="no nirs4all artifact id"):
        parse_foreign_id(text)


def test_a_chain_ends_somewhere() -> None:
    assert last_node(CHAIN_TEXT) == ChainNode(5, "Ridge", (0, 1))
    assert last_node("s4.PCA[br=0.1,src=0,sub=2]") == ChainNode(4, "PCA", (0, 1), 0, 2)
    assert last_node("s2.y_MinMaxScaler[sub=1]").sub_index == 1
    assert last_node("s2.Scaler").sub_index is None
    assert last_node("s2.Scaler[src=3,sub=1]").sub_index == 3 * SOURCE_STRIDE + 1


@pytest.mark.parametrize("chain", ["x", "s.PCA", "s1", "s1.PCA[", "s1.PCA[br=a]", "s1.A>"])
def test_what_is_no_chain(chain: str) -> None:
    with pytest.raises(InvalidInputError, match="malformed chain"):
        last_node(chain)


def test_a_place_is_an_execution_path() -> None:
    path = place(chain_id("p", CHAIN_TEXT, 1), CHAIN_TEXT, ())
    assert path.artifact_id == "p:0:1:5:1"
    assert place("p:0:3:all", "", ()).artifact_id == "p:0:3:all"
    taken = {"0:1:5:1"}
    other = place(chain_id("p", CHAIN_TEXT, 1), CHAIN_TEXT, taken)
    assert other.key == f"0:1:5.{STRIDE}:1"
    taken.add(other.key)
    assert place(chain_id("p", CHAIN_TEXT, 1), CHAIN_TEXT, taken).sub_index == 2 * STRIDE


nodes = st.builds(
    "s{}.{}[br={},src={},sub={}]".format,
    st.integers(1, 99),
    st.sampled_from(["PCA", "Ridge", "y_MinMaxScaler"]),
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(lambda b: ".".join(map(str, b))),
    st.integers(0, 5),
    st.integers(0, 20),
)


@given(st.lists(nodes, min_size=1, max_size=12, unique=True), st.none() | st.integers(0, 9))
def test_every_chain_of_a_pipeline_has_a_key_of_its_own(
    chains: list[str], fold: int | None
) -> None:
    taken: set[str] = set()
    for chain in [*chains, *("s1.SNV>" + chain for chain in chains)]:
        path = place(chain_id("p", chain, fold), chain, taken)
        assert path.key not in taken
        assert parse_artifact_id(path.artifact_id) == path
        taken.add(path.key)


def test_notes_hold_what_the_path_does_not() -> None:
    name = chain_id("p", CHAIN_TEXT, 1)
    path = place(name, CHAIN_TEXT, ())
    assert notes_of(name, CHAIN_TEXT, path) == {CHAIN: CHAIN_TEXT}
    assert notes_of(name, CHAIN_TEXT, path, "PLS_10")[NAME] == "PLS_10"
    assert notes_of("odd id", CHAIN_TEXT, path)[ID] == "odd id"


@given(st.text(min_size=1, max_size=300))
def test_every_name_becomes_one_that_a_store_takes(name: str) -> None:
    assert check_name_component(component(name), what="dataset")


def test_names_that_differ_stay_different() -> None:
    assert component("corn_m5") == "corn_m5"
    assert component("corn m5") != component("corn:m5") != component("corn/m5")


def test_addresses_come_back() -> None:
    plain = Address("corn", "p", "0:1:5:1")
    handed = Address("corn", "p", "5:all", ObjectId(bytes(32)))
    for address in (plain, handed):
        assert Address.parse(str(address)) == address
        assert is_address(str(address))
    assert plain.artifact_id == "p:0:1:5:1"
    assert not is_address("f1/transformer_PCA_f1.joblib")
    assert not is_address(None)
    for text in ("n4a_store/corn/p", "n4a_store/a/b/c/d", "f1/x.joblib"):
        with pytest.raises(CorruptionError, match="no place in a store"):
            Address.parse(text)
