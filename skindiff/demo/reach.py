"""Whether a generator of the Hub can be had at all, found out before its client tries for many seconds."""

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.utils import get_session

from skindiff.errors import GeneratorError
from skindiff.generators.adapter import TOKENS_FILE
from skindiff.generators.models import INDEX, model_file, model_folder, split_revision

_SECONDS = 3.0


def refuse_out_of_reach(word: str) -> None:
    """Refuse a Hub id that is not kept on this machine, where the Hub does not answer within seconds.

    Everything else about a generator is said by who loads it.

    Raises:
        GeneratorError: it is out of reach.
    """
    model, revision = split_revision(word)
    here = model_file(model) or model_folder(model)
    if constants.HF_HUB_OFFLINE or "/" not in model or here is not None:
        return
    if any(
        isinstance(try_to_load_from_cache(model, name, revision=revision), str)
        for name in (INDEX, TOKENS_FILE)
    ):
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception as error:  # of whichever client the Hub's library has
        raise GeneratorError(
            f"generator {word!r} is not on this machine, and the Hub does not answer within {_SECONDS:g} s; "
            "check the network, or give a folder"
        ) from error
