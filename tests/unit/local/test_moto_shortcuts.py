from hypothesis import given
from hypothesis import strategies as st
from moto.core.serialize import JSONSerializer, XFormedAttributePicker
from moto.core.utils import get_service_model

from local.aws.moto.shortcuts import AttributeValues

SCALARS = st.one_of(
    st.fixed_dictionaries({"S": st.text()}),
    st.fixed_dictionaries({"N": st.integers().map(str)}),
    st.fixed_dictionaries({"B": st.binary()}),
    st.fixed_dictionaries({"BOOL": st.booleans()}),
    st.just({"NULL": True}),
    st.fixed_dictionaries({"SS": st.lists(st.text(), min_size=1)}),
    st.fixed_dictionaries({"NS": st.lists(st.integers().map(str), min_size=1)}),
    st.fixed_dictionaries({"BS": st.lists(st.binary(), min_size=1)}),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"L": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"M": st.dictionaries(st.text(), inner, max_size=3)}),
    ),
    max_leaves=10,
)


def written(serializer, item):
    operation = get_service_model("dynamodb").operation_model("GetItem")
    writer = serializer(
        operation_model=operation, pretty_print=False, value_picker=XFormedAttributePicker()
    )
    return writer.serialize({"Item": item})["body"]


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_the_shortcut_writes_what_moto_writes(item):
    assert written(AttributeValues, item) == written(JSONSerializer, item)
