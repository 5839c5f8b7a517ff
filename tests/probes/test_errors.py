import pytest

from monitor.probes.errors import ModelMissing, models_here


@pytest.mark.parametrize("error", [OSError, ImportError])
def test_a_library_that_does_not_load_is_told_in_its_own_words(error: type[Exception]) -> None:
    why = "libc.so.6: version `GLIBC_2.38' not found (required by libgomp.so.1)"
    with (
        pytest.raises(ModelMissing, match="it cannot be loaded here: libc"),
        models_here("minilm"),
    ):
        raise error(why)
